package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"portolan/internal/config"
	"portolan/internal/kv/pebblekv"
	"portolan/internal/schema"
	"portolan/internal/store"
)

// RestoreOptions say how a restore goes about it.
type RestoreOptions struct {
	Dir string // the backup
	// Replace takes the place of a store that holds entries.
	Replace  bool
	Progress Progress
	Version  string
}

// Restore puts the store of a backup into data_dir of a stopped server. The backup is verified first, file by file, and
// the store that is there stays until the new one is whole: the two are exchanged in one step.
func Restore(ctx context.Context, c *config.Config, o RestoreOptions) (*Manifest, error) {
	m, err := ReadManifest(o.Dir)
	if err != nil {
		return nil, err
	}
	if err := m.Verify(ctx, o.Dir, o.Progress); err != nil {
		return nil, err
	}
	// Opening it shows that no server runs, and holds the lock until the exchange.
	d, err := Open(c, OpenOptions{Version: o.Version})
	if err != nil {
		return nil, err
	}
	err = d.restorable(m, o)
	beside := StoreDir(c) + ".restore"
	if err == nil {
		err = copyStore(ctx, m, o.Dir, beside)
	}
	var s *schema.Schema
	if err == nil {
		s, err = d.lookAt(beside)
	}
	if err == nil {
		err = d.beginEpoch(ctx, beside)
	}
	if err = errors.Join(err, d.Close()); err == nil {
		err = exchangeStores(beside, StoreDir(c))
	}
	if err == nil {
		err = d.writeMirror(s)
	}
	return m, errors.Join(err, os.RemoveAll(beside))
}

// lookAt opens a store that is about to be put into place, so that one that this program cannot use is not, and returns
// the schema that it will have.
func (d *Directory) lookAt(dir string) (*schema.Schema, error) {
	db, err := pebblekv.Open(dir, pebblekv.Options{Merger: store.Merger(), ReadOnly: true, CacheBytes: checkCache})
	if err != nil {
		return nil, fmt.Errorf("the backup cannot be opened: %w", err)
	}
	s, err := store.Open(db, store.Options{
		Schema: d.Schema(), Suffixes: d.Config.Directory.AllSuffixes(), CacheBytes: checkCache, ReadOnly: true,
	})
	if err != nil {
		return nil, fmt.Errorf("the backup cannot be used: %w", err)
	}
	return s.Schema(), s.Close()
}

// beginEpoch makes positions in the journal of a store that is about to be put into place mean nothing any more: what
// consumers have seen of either store is no prefix of what will happen in this one.
func (d *Directory) beginEpoch(ctx context.Context, dir string) error {
	db, err := pebblekv.Open(dir, pebblekv.Options{Merger: store.Merger(), CacheBytes: checkCache})
	if err != nil {
		return fmt.Errorf("the backup cannot be opened: %w", err)
	}
	s, err := store.Open(db, d.storeOptions(OpenOptions{Log: d.Log}, nil))
	if err != nil {
		return fmt.Errorf("the backup cannot be used: %w", err)
	}
	return errors.Join(s.NewEpoch(ctx, d.Store.LastCSN()), s.Close())
}

// restorable refuses to throw entries away that nobody said to throw away, and a backup of another directory.
func (d *Directory) restorable(m *Manifest, o RestoreOptions) error {
	served := make(map[string]bool)
	for _, suffix := range d.Config.Directory.AllSuffixes() {
		norm, err := d.Schema().NormalizeDN(nil, []byte(suffix))
		if err != nil {
			return err
		}
		served[string(norm)] = true
	}
	for _, suffix := range m.Suffixes {
		if norm, err := d.Schema().NormalizeDN(nil, []byte(suffix)); err != nil || !served[string(norm)] {
			return fmt.Errorf("the backup is of %s, which this configuration does not serve: add the suffix to it, or name another backup", suffix)
		}
	}
	populated, err := d.populated()
	if err != nil || !populated || o.Replace {
		return err
	}
	return fmt.Errorf("data_dir %s holds entries already: use --replace to have the backup take their place", d.Config.DataDir)
}

// storePrefix is where the store is in a backup.
const storePrefix = storeDir + "/"

// copyStore copies the store's files, durably.
func copyStore(ctx context.Context, m *Manifest, from, to string) error {
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	dirs := map[string]bool{}
	for _, f := range m.Files {
		rest, ok := strings.CutPrefix(f.Path, storePrefix)
		if !ok {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		target := filepath.Join(to, filepath.FromSlash(rest))
		if err := os.MkdirAll(filepath.Dir(target), 0o700); err != nil {
			return err
		}
		dirs[filepath.Dir(target)] = true
		if err := copyDurably(filepath.Join(from, filepath.FromSlash(f.Path)), target); err != nil {
			return err
		}
	}
	if len(dirs) == 0 {
		return fmt.Errorf("the backup %s holds no store", from)
	}
	for dir := range dirs {
		if err := syncDir(dir); err != nil {
			return err
		}
	}
	return syncDir(filepath.Dir(to))
}

func copyDurably(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, fs.FileMode(0o600))
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Sync(), out.Close())
}
