package posture

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"portolan/internal/credential"
)

// Bits of a mode that are about everybody else.
const (
	othersRead  = 0o004
	othersWrite = 0o002
	others      = 0o007
)

// stat looks at a file. What is not there is no finding here: whether it must be there was checked before.
func (r *review) stat(name string) (fs.FileInfo, bool) {
	info, err := r.Host.Stat(name)
	switch {
	case err == nil:
		return info, true
	case !errors.Is(err, fs.ErrNotExist):
		r.failed("%s cannot be looked at: %w; run this as root or as the user that the server runs as", name, unpath(err))
	}
	return nil, false
}

// unpath takes the path out of an error that a message has named already.
func unpath(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

func octal(info fs.FileInfo) string { return fmt.Sprintf("mode %04o", info.Mode().Perm()) }

// openDirectory reports whether everybody can replace what is in a directory.
func openDirectory(info fs.FileInfo) bool {
	return info.IsDir() && info.Mode().Perm()&othersWrite != 0 && info.Mode()&fs.ModeSticky == 0
}

// quoteShell quotes a word for a POSIX shell.
func quoteShell(s string) string {
	if strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-=,:") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// named is a file that the configuration names, or that stands beside one.
type named struct {
	path, what, key string
}

// files lists what the server reads at its start.
func (r *review) files() []named {
	c := r.Config
	list := []named{{c.File(), "the configuration", ""}}
	for _, n := range []named{
		{c.TLS.CertFile, "the certificate", "tls.cert_file"}, {c.TLS.KeyFile, "the private key", "tls.key_file"},
		{c.TLS.ClientCAFile, "the authorities of clients", "tls.client_ca_file"},
		{c.Directory.AdminPasswordFile, "the administrator's password", "directory.admin_password_file"},
	} {
		if n.path != "" {
			list = append(list, n)
		}
	}
	for i, name := range c.Schema.Files {
		list = append(list, named{name, "a schema file", fmt.Sprintf("schema.files[%d]", i)})
	}
	return append(list, r.replicaFiles(false)...)
}

// fileModes looks for files that others can change, themselves or by way of a directory above them.
func fileModes(r *review) {
	const means = "whoever can change it decides what the server does at its next start"
	var seen []string
	for _, n := range r.files() {
		at := r.Config.At(n.key)
		if info, ok := r.stat(n.path); ok && info.Mode().Perm()&othersWrite != 0 {
			r.add(at, Finding{
				Severity: Fail, Subject: n.path, Key: n.key, Seen: fmt.Sprintf("%s, %s, can be changed by every user of this host (%s)", n.path, n.what, octal(info)),
				Means: means, Run: "chmod o-w " + quoteShell(n.path),
			})
		}
		path, err := filepath.Abs(n.path)
		if err != nil {
			r.failed("%s: %w", n.path, err)
			continue
		}
		for dir := filepath.Dir(path); !slices.Contains(seen, dir); dir = filepath.Dir(dir) {
			seen = append(seen, dir)
			if info, ok := r.stat(dir); ok && openDirectory(info) {
				r.add(at, Finding{
					Severity: Fail, Subject: dir, Key: n.key, Seen: fmt.Sprintf("%s, above %s, can be written to by every user of this host (%s)", dir, n.path, octal(info)),
					Means: "any of them can put another file in its place: " + means, Run: "chmod o-w " + quoteShell(dir),
				})
			}
		}
	}
}

// authorityKey is what "portolan init" calls the key of its own authority, beside the certificate.
const authorityKey = "ca.key"

func privateKeyModes(r *review) {
	if r.Config.TLS.KeyFile == "" {
		return
	}
	for _, n := range []named{
		{r.Config.TLS.KeyFile, "can pose as this server, before every client", "tls.key_file"},
		{filepath.Join(filepath.Dir(r.Config.TLS.CertFile), authorityKey), "can make certificates that every client of this server trusts", "tls.cert_file"},
	} {
		if info, ok := r.stat(n.path); ok && info.Mode().IsRegular() && info.Mode().Perm()&others != 0 {
			r.add(r.Config.At(n.key), Finding{
				Severity: Fail, Subject: n.path, Key: n.key, Seen: fmt.Sprintf("%s is open to every user of this host (%s)", n.path, octal(info)),
				Means: "whoever reads the private key " + n.what, Run: "chmod o= " + quoteShell(n.path),
			})
		}
	}
}

func dataModes(r *review) {
	dir := r.Config.DataDir
	info, ok := r.stat(dir)
	if !ok || info.Mode().Perm()&others == 0 {
		return
	}
	f := Finding{
		Severity: Warn, Subject: dir, Key: "data_dir", Seen: fmt.Sprintf("data_dir %s is open to every user of this host (%s)", dir, octal(info)),
		Means: "nobody but the server needs to look into it: entries, hashes of passwords and the control socket are in there",
		Run:   "chmod o= " + quoteShell(dir),
	}
	if info.Mode().Perm()&othersWrite != 0 {
		f.Severity, f.Means = Fail, "any of them can move the data away and put other data in its place"
	}
	r.add(r.Config.At("data_dir"), f)
}

func logModes(r *review) {
	for _, n := range []named{
		{r.Config.Log.File, "the log", "log.file"}, {r.Config.Log.Access.File, "the access log", "log.access.file"},
		{r.Config.AuditFile(), "the audit log", "audit.file"},
	} {
		if n.path == "" {
			continue
		}
		info, ok := r.stat(n.path)
		if !ok || !info.Mode().IsRegular() || info.Mode().Perm()&(othersRead|othersWrite) == 0 {
			continue
		}
		f := Finding{
			Severity: Warn, Subject: n.path, Key: n.key, Seen: fmt.Sprintf("%s, %s, is open to every user of this host (%s)", n.path, n.what, octal(info)),
			Means: "it says who logs in from where, and what they look for", Run: "chmod o= " + quoteShell(n.path),
		}
		if info.Mode().Perm()&othersWrite != 0 {
			f.Severity, f.Means = Fail, "any of them can take lines out of it"
		}
		r.add(r.Config.At(n.key), f)
	}
}

func auditKeyMode(r *review) {
	path := r.Config.AuditKeyFile()
	if info, ok := r.stat(path); ok && info.Mode().IsRegular() && info.Mode().Perm()&others != 0 {
		r.add(r.Config.At("audit.key_file"), Finding{
			Severity: Fail, Subject: path, Key: "audit.key_file", Seen: fmt.Sprintf("%s is open to every user of this host (%s)", path, octal(info)),
			Means: "whoever reads the key of the audit log can write the log anew, and nothing shows it but an anchor that was kept elsewhere",
			Run:   "chmod o= " + quoteShell(path),
		})
	}
}

func runsAsRoot(r *review) {
	uid, from, known := r.Host.ServerUID()
	if !known || uid != 0 {
		return
	}
	r.add(r.Config.At("data_dir"), Finding{
		Severity: Fail, Seen: "the server runs as root: " + from + " is root's",
		Means: "a mistake in the server is a mistake with every right on this host",
		Fix:   "run it as a user of its own, as deploy/portolan.service does, and give that user the data: chown -R portolan " + quoteShell(r.Config.DataDir),
	})
}

// adminPassword looks at how the administrator's password is kept.
func adminPassword(r *review) {
	file := r.Config.Directory.AdminPasswordFile
	if file == "" {
		return
	}
	const key = "directory.admin_password_file"
	secret, _, err := r.Host.ReadSecret(file)
	if err != nil {
		r.failed("%s: %w", file, err)
		return
	}
	f := Finding{Key: key, Run: "portolan passwd --config " + quoteShell(r.Config.File())}
	stored, err := credential.Parse(secret)
	switch {
	case !credential.IsHashed(secret):
		f.Severity, f.Seen = Fail, "the administrator's password stands in clear text in "+file
		f.Means = "whoever sees the file or a backup of it is the administrator"
	case err != nil:
		r.failed("%s: %w", file, err)
		return
	case stored.NeedsRehash(credential.DefaultParams()):
		f.Severity, f.Seen = Warn, fmt.Sprintf("the administrator's password in %s is hashed with %s, not as by default", file, stored.Scheme())
		f.Means = "whoever sees the file or a backup of it guesses the password faster than with the default"
	default:
		return
	}
	r.add(r.Config.At(key), f)
}

func adminPasswordMode(r *review) {
	file := r.Config.Directory.AdminPasswordFile
	if file == "" {
		return
	}
	if info, ok := r.stat(file); ok && info.Mode().IsRegular() && info.Mode().Perm()&others != 0 {
		r.add(r.Config.At("directory.admin_password_file"), Finding{
			Severity: Fail, Subject: file, Key: "directory.admin_password_file", Seen: fmt.Sprintf("%s is open to every user of this host (%s)", file, octal(info)),
			Means: "it holds the administrator's password, as a hash at best", Run: "chmod 600 " + quoteShell(file),
		})
	}
}
