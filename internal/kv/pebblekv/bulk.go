package pebblekv

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/cockroachdb/pebble/v2/objstorage/objstorageprovider"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"portolan/internal/kv"
)

const (
	// bulkTable is the size at which a bulk load begins another table.
	bulkTable  = 64 << 20
	bulkPrefix = "bulk-"
	bulkSuffix = ".tmp"
)

// NewBulk implements kv.DB. The loader writes tables of about 64 MiB into a directory of its own below the store's, and
// Finish moves them in. Keys that exist already are replaced, though then the load is not as quick.
func (db *DB) NewBulk() (kv.Bulk, error) {
	if err := db.beginWrite(); err != nil {
		return nil, err
	}
	defer db.end()
	dir := db.fs.PathJoin(db.dir, fmt.Sprintf("%s%06d%s", bulkPrefix, db.bulks.Add(1), bulkSuffix))
	if err := db.fs.MkdirAll(dir, 0o700); err != nil {
		return nil, db.wrap("bulk load", err)
	}
	return &bulk{db: db, dir: dir}, nil
}

// removeLeftovers removes the directories of bulk loads that a crash cut short.
func (db *DB) removeLeftovers() {
	names, err := db.fs.List(db.dir)
	if err != nil {
		return
	}
	for _, n := range names {
		if strings.HasPrefix(n, bulkPrefix) && strings.HasSuffix(n, bulkSuffix) {
			if err := db.fs.RemoveAll(db.fs.PathJoin(db.dir, n)); err != nil {
				db.trouble.log("warn", fmt.Sprintf("cannot remove the leftover %s of a bulk load: %v", n, err))
			}
		}
	}
}

type bulk struct {
	db    *DB
	dir   string
	paths []string
	w     *sstable.Writer // nil between tables
	last  []byte          // last key
	value []byte          // scratch
	adds  int             // since the size of the table was looked at
	done  bool
	err   error // first error; the load cannot be finished after one
}

var errBulkDone = fmt.Errorf("pebblekv: bulk load was finished or aborted: %w", kv.ErrClosed)

func (b *bulk) Add(key, value []byte) error {
	switch {
	case b.done:
		return errBulkDone
	case b.err != nil:
		return b.err
	case len(key) == 0:
		return errEmptyKey
	case len(b.last) > 0 && bytes.Compare(key, b.last) <= 0:
		return fmt.Errorf("pebblekv: bulk load: key %q does not come after %q; add keys in strictly ascending order", key, b.last)
	}
	b.err = b.add(key, value)
	return b.err
}

func (b *bulk) add(key, value []byte) error {
	if b.w == nil {
		path := b.db.fs.PathJoin(b.dir, fmt.Sprintf("%06d.sst", len(b.paths)))
		f, err := b.db.fs.Create(path, vfs.WriteCategoryUnspecified)
		if err != nil {
			return b.db.wrap("bulk load", err)
		}
		b.paths = append(b.paths, path)
		// Writing goes on in the background, so that the sync at the end of the table is short.
		f = vfs.NewSyncingFile(f, vfs.SyncingFileOptions{BytesPerSync: b.db.eng.BytesPerSync})
		last := len(b.db.eng.Levels) - 1
		b.w = sstable.NewWriter(objstorageprovider.NewFileWritable(f),
			b.db.eng.MakeWriterOptions(last, formatVersion.MaxTableFormat()))
	}
	b.value = append(append(b.value[:0], tagValue), value...)
	if err := b.w.Set(key, b.value); err != nil {
		return b.db.wrap("bulk load", err)
	}
	b.last = append(b.last[:0], key...)
	if b.adds++; b.adds >= 64 || len(value) > 64<<10 {
		b.adds = 0
		if b.w.Raw().EstimatedSize() >= bulkTable {
			return b.endTable()
		}
	}
	return nil
}

// endTable finishes the table under way. The writer syncs the file.
func (b *bulk) endTable() error {
	if b.w == nil {
		return nil
	}
	w := b.w
	b.w = nil
	return b.db.wrap("bulk load", w.Close())
}

// Finish moves the tables into the store, all or none. After an error the load is aborted.
func (b *bulk) Finish() (err error) {
	if b.done {
		return errBulkDone
	}
	if b.err == nil {
		b.err = b.endTable()
	}
	if b.err != nil {
		_ = b.Abort()
		return b.err
	}
	b.done = true
	db := b.db
	if err := db.beginWrite(); err != nil {
		return err
	}
	defer db.end()
	defer db.trouble.catch(&err)
	if len(b.paths) > 0 {
		err = db.p.Ingest(db.ctx, b.paths)
	}
	// The engine has linked the tables in, so what is left here is only names.
	if rerr := db.fs.RemoveAll(b.dir); rerr != nil {
		db.trouble.log("warn", fmt.Sprintf("cannot remove %s after a bulk load: %v", b.dir, rerr))
	}
	return db.wrap("bulk load", err)
}

func (b *bulk) Abort() error {
	if b.done {
		return nil
	}
	b.done = true
	if b.w != nil {
		b.w.Close()
		b.w = nil
	}
	return b.db.wrap("bulk load", b.db.fs.RemoveAll(b.dir))
}
