package config

import (
	"path/filepath"
	"time"
)

// Audit is the audit log: see package audit for what is in it.
type Audit struct {
	Enabled bool `toml:"enabled"`
	// File and KeyFile empty are in DataDir; see Config.AuditFile.
	File    string `toml:"file,path"`
	KeyFile string `toml:"key_file,path"`
	// A file is closed when it reaches MaxBytes octets or MaxAge; MaxAge 0 is no bound.
	MaxBytes int64         `toml:"max_bytes,size" min:"1048576" max:"1073741824"`
	MaxAge   time.Duration `toml:"max_age"`
	// Keep is how many closed files stay; 0 is all.
	Keep     int  `toml:"keep"`
	Compress bool `toml:"compress"`
	// OnFailure is "stop-writes" or "continue".
	OnFailure   string `toml:"on_failure" enum:"stop-writes|continue"`
	GatherBinds bool   `toml:"gather_binds"`
}

// AuditFile returns the file of the audit log.
func (c *Config) AuditFile() string {
	if c.Audit.File != "" {
		return c.Audit.File
	}
	return filepath.Join(c.DataDir, "audit", "audit.log")
}

// AuditKeyFile returns the file of the audit log's key.
func (c *Config) AuditKeyFile() string {
	if c.Audit.KeyFile != "" {
		return c.Audit.KeyFile
	}
	return filepath.Join(c.DataDir, "audit.key")
}
