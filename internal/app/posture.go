package app

import (
	"io/fs"
	"os"
	"syscall"
	"time"

	"portolan/internal/config"
	"portolan/internal/posture"
)

// PostureOptions say what of a configuration is reviewed.
type PostureOptions struct {
	// SettingsOnly leaves out what the configuration names on this host: certificates, passwords, modes of files, the
	// server's user. The schema files are needed either way.
	SettingsOnly bool
	Now          time.Time
}

// Posture returns what of a configuration, and of what it names, is weaker than the secure defaults. The error holds
// mistakes of the configuration, as CheckConfig has them, or says what could not be looked at.
func Posture(c *config.Config, o PostureOptions) ([]posture.Finding, error) {
	in := posture.Input{Config: c}
	if !o.SettingsOnly {
		if _, err := CheckConfig(c); err != nil {
			return nil, err
		}
		in.Host = &posture.Host{
			Stat: os.Stat, ReadFile: os.ReadFile, ReadSecret: config.ReadSecretFile, Now: o.Now,
			ServerUID: func() (int, string, bool) { return serverUID(c) },
		}
	}
	if _, err := makeOverlays(c); err != nil {
		return nil, err
	}
	var err error
	if in.Schema, err = LoadSchema(c); err != nil {
		return nil, err
	}
	if err := checkNames(c, in.Schema); err != nil {
		return nil, err
	}
	if in.Policy, err = compileAccess(c, in.Schema); err != nil {
		return nil, err
	}
	return posture.Review(in)
}

// serverUID returns the user that the server of a configuration runs as: whose its control socket is, or where it does
// not run, whose the store is.
func serverUID(c *config.Config) (uid int, from string, known bool) {
	for _, name := range []string{ControlSocket(c), StoreDir(c)} {
		info, err := os.Lstat(name)
		if err != nil {
			continue
		}
		if uid, ok := owner(info); ok {
			return uid, name, true
		}
	}
	return 0, "", false
}

func owner(info fs.FileInfo) (uid int, ok bool) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return int(stat.Uid), true
}
