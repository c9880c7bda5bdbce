package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"portolan/internal/kv/pebblekv"
	"portolan/internal/store"
)

// maxBackupFile bounds a file beside the store that goes into a backup.
const maxBackupFile = 64 << 20

// Backup implements Verbs. The store goes on serving meanwhile; what was acknowledged before the call is in the backup,
// and some of what came during it. On a failure everything that was written is removed.
//
// Beside the store a backup holds what a server needs to be put up again elsewhere: the configuration file, certificates,
// keys, the administrator's password file, schema files, and the small files in data_dir.
func (a *Admin) Backup(ctx context.Context, dir string, progress Progress) (m *Manifest, err error) {
	b := &backup{a: a, ctx: ctx, dir: dir}
	if err := b.prepare(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("the backup was not made: %w", err), b.remove())
		}
	}()
	if err := a.d.Store.Checkpoint(b.path(backupStore)); err != nil {
		return nil, err
	}
	m = &Manifest{
		Format: manifestFormat, Portolan: a.version, Time: time.Now().UTC().Truncate(time.Second),
		Suffixes: a.d.Config.Directory.AllSuffixes(),
	}
	if err := b.copyFiles(m); err != nil {
		return nil, err
	}
	if err := b.look(m); err != nil {
		return nil, fmt.Errorf("the copy of the store cannot be opened: %w", err)
	}
	if err := b.digests(m, progress); err != nil {
		return nil, err
	}
	if err := m.write(dir); err != nil {
		return nil, err
	}
	b.remember(m)
	return m, nil
}

// backup is one backup being made.
type backup struct {
	a    *Admin
	ctx  context.Context
	dir  string
	made bool // the directory is ours to remove
}

func (b *backup) path(elem ...string) string {
	return filepath.Join(append([]string{b.dir}, elem...)...)
}

// prepare makes the directory and sees that there is room.
func (b *backup) prepare() error {
	if !filepath.IsAbs(b.dir) {
		return fmt.Errorf("the directory of a backup must be an absolute path, not %s", b.dir)
	}
	b.dir = filepath.Clean(b.dir)
	if data, err := filepath.Abs(b.a.d.Config.DataDir); err == nil && (b.dir == data || strings.HasPrefix(b.dir, data+string(filepath.Separator))) {
		return fmt.Errorf("%s lies in data_dir: what destroys the one destroys the other; name a directory elsewhere", b.dir)
	}
	parent := filepath.Dir(b.dir)
	if _, err := os.Stat(parent); err != nil {
		return fmt.Errorf("%s: the directory above it cannot be used: %w", b.dir, reason(err))
	}
	if err := b.room(parent); err != nil {
		return err
	}
	switch err := os.Mkdir(b.dir, 0o700); {
	case err == nil:
		b.made = true
		return nil
	case !errors.Is(err, fs.ErrExist):
		return fmt.Errorf("%s cannot be made by the user that makes the backup: %w", b.dir, reason(err))
	}
	there, err := os.ReadDir(b.dir)
	if err != nil {
		return fmt.Errorf("%s cannot be used: %w", b.dir, reason(err))
	}
	if len(there) > 0 {
		return fmt.Errorf("%s is not empty: name a directory that is, or that does not exist", b.dir)
	}
	return os.Chmod(b.dir, 0o700) // #nosec G302 -- a directory
}

// backupReserve is room for what is not known beforehand.
const backupReserve = 16 << 20

// room checks that the file system has space. On that of the store the tables are linked, not copied, so that little is
// needed; but the space below which the server would refuse writes must stay.
func (b *backup) room(parent string) error {
	from := StoreDir(b.a.d.Config)
	same, err := sameDevice(from, parent)
	if err != nil {
		return err
	}
	need := uint64(backupReserve)
	err = filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || same && strings.HasSuffix(path, ".sst") {
			return ignoreGone(err)
		}
		info, err := d.Info()
		if err != nil {
			return ignoreGone(err)
		}
		need += uint64(info.Size())
		return nil
	})
	if err != nil {
		return err
	}
	if same {
		need += uint64(b.a.d.Config.Limits.MinFreeBytes)
	}
	free, err := freeSpace(parent)
	if err != nil {
		return err
	}
	if free < need {
		return fmt.Errorf("there is too little room in %s: the backup needs about %d MiB, %d MiB are free", parent, (need+1<<20-1)>>20, free>>20)
	}
	return nil
}

// ignoreGone passes over files that the engine removed in the meantime.
func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func sameDevice(a, b string) (bool, error) {
	var x, y syscall.Stat_t
	if err := syscall.Stat(a, &x); err != nil {
		return false, fmt.Errorf("%s: %w", a, err)
	}
	if err := syscall.Stat(b, &y); err != nil {
		return false, fmt.Errorf("%s: %w", b, err)
	}
	return x.Dev == y.Dev, nil
}

// remove removes what was written.
func (b *backup) remove() error {
	if b.made {
		return os.RemoveAll(b.dir)
	}
	return errors.Join(os.RemoveAll(b.path(backupStore)), os.RemoveAll(b.path(backupFiles)),
		os.RemoveAll(b.path(manifestName+".new")), os.RemoveAll(b.path(manifestName)))
}

// source is a file beside the store.
type source struct {
	path, role string
	must       bool // without it the backup would be of no use
}

// sources lists the files beside the store.
func (b *backup) sources() ([]source, error) {
	c := b.a.d.Config
	var out []source
	add := func(path, role string, must bool) {
		if path == "" {
			return
		}
		if abs, err := filepath.Abs(path); err == nil {
			path = abs
		}
		for _, s := range out {
			if s.path == path {
				return
			}
		}
		out = append(out, source{path, role, must})
	}
	add(c.File(), "configuration", true)
	add(c.Directory.AdminPasswordFile, "directory.admin_password_file", true)
	add(c.TLS.CertFile, "tls.cert_file", true)
	add(c.TLS.KeyFile, "tls.key_file", true)
	add(c.TLS.ClientCAFile, "tls.client_ca_file", true)
	if c.TLS.CertFile != "" {
		// What "portolan init" makes beside the certificate.
		made := certificatePaths(filepath.Dir(c.TLS.CertFile))
		add(made.CA, "certificate authority", false)
		add(made.CAKey, "certificate authority", false)
	}
	for _, name := range c.Schema.Files {
		add(name, "schema.files", true)
	}
	add(c.AuditKeyFile(), "audit.key_file", false)
	there, err := os.ReadDir(c.DataDir)
	if err != nil {
		return nil, err
	}
	for _, d := range there {
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() && info.Size() <= maxBackupFile && !strings.HasSuffix(d.Name(), ".log") {
			add(filepath.Join(c.DataDir, d.Name()), "data_dir", false)
		}
	}
	return out, nil
}

// copyFiles copies the files beside the store; each gets a name of its own.
func (b *backup) copyFiles(m *Manifest) error {
	sources, err := b.sources()
	if err != nil {
		return err
	}
	if err := os.Mkdir(b.path(backupFiles), 0o700); err != nil {
		return err
	}
	taken := make(map[string]bool)
	for _, s := range sources {
		content, err := os.ReadFile(s.path)
		if err != nil {
			if !s.must && errors.Is(err, fs.ErrNotExist) {
				continue
			}
			return err
		}
		if len(content) > maxBackupFile {
			return fmt.Errorf("%s has more than %d octets", s.path, maxBackupFile)
		}
		name := filepath.Base(s.path)
		for n := 2; taken[name]; n++ {
			name = fmt.Sprintf("%d-%s", n, filepath.Base(s.path))
		}
		taken[name] = true
		if err := writeDurably(b.path(backupFiles, name), content); err != nil {
			return err
		}
		path := backupFiles + "/" + name
		if s.role == "configuration" {
			m.Config = path
		}
		m.Files = append(m.Files, BackupFile{Path: path, Origin: s.path, Role: s.role})
	}
	return nil
}

// checkCache is the memory for caches while the copy is looked at.
const checkCache = 8 << 20

// look opens the copy of the store, which shows that it can be opened, and notes what is in it.
func (b *backup) look(m *Manifest) (err error) {
	db, err := pebblekv.Open(b.path(backupStore), pebblekv.Options{Merger: store.Merger(), ReadOnly: true, CacheBytes: checkCache})
	if err != nil {
		return err
	}
	s, err := store.Open(db, store.Options{
		Schema: b.a.d.Schema(), Suffixes: b.a.d.Config.Directory.AllSuffixes(), CacheBytes: checkCache, ReadOnly: true,
	})
	if err != nil {
		return err
	}
	_, last := s.JournalBounds()
	m.Epoch, m.Seq, m.Entries = s.Epoch().String(), last, s.Metrics()["store_entries"]
	if csn := s.LastCSN(); !csn.IsZero() {
		m.CSN = csn.String()
	}
	if err := s.Close(); err != nil {
		return err
	}
	if err := os.Remove(b.path(backupStore, lockName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// digests makes all files durable and completes the manifest.
func (b *backup) digests(m *Manifest, progress Progress) error {
	known := make(map[string]int, len(m.Files))
	for i := range m.Files {
		known[m.Files[i].Path] = i
	}
	var dirs []string
	var total int64
	err := filepath.WalkDir(b.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			dirs = append(dirs, path)
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(b.dir, path)
		if err != nil {
			return err
		}
		at, ok := known[filepath.ToSlash(rel)]
		if !ok {
			at = len(m.Files)
			m.Files = append(m.Files, BackupFile{Path: filepath.ToSlash(rel)})
		}
		m.Files[at].Size = info.Size()
		total += info.Size()
		return nil
	})
	if err != nil {
		return err
	}
	var sofar int64
	for i := range m.Files {
		f := &m.Files[i]
		if f.Size, f.SHA256, err = digest(b.ctx, b.path(filepath.FromSlash(f.Path)), true, func(n int64) { progress.tell(sofar+n, total) }); err != nil {
			return err
		}
		sofar += f.Size
	}
	for _, dir := range append(dirs, filepath.Dir(b.dir)) {
		if err := syncDir(dir); err != nil {
			return err
		}
	}
	return nil
}

// remember notes the backup for status. It is a courtesy: the backup is good without it.
func (b *backup) remember(m *Manifest) {
	value, err := json.Marshal(LastBackup{Time: m.Time, Dir: b.dir})
	if err == nil {
		err = b.a.d.Store.State().Set([]byte(lastBackupKey), value)
	}
	if err != nil {
		b.a.d.Log.Warn("the time of the backup could not be noted", "error", err)
	}
}
