package memkv

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"portolan/internal/kv"
)

// checkpointFile holds, for each key in order, key length (uvarint), key, value length (uvarint), value.
const checkpointFile = "memkv"

// Checkpoint implements kv.DB. The copy is one file, which Load reads.
func (db *DB) Checkpoint(dir string) (err error) {
	if err := db.open(); err != nil {
		return err
	}
	t := db.current.Load()
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("memkv: checkpoint: %w", err)
	}
	defer func() {
		if err != nil {
			os.RemoveAll(dir)
			err = fmt.Errorf("memkv: checkpoint: %w", err)
		}
	}()
	f, err := os.OpenFile(filepath.Join(dir, checkpointFile), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	w := bufio.NewWriter(f)
	var n [binary.MaxVarintLen64]byte
	t.Scan(func(k string, v []byte) bool {
		w.Write(n[:binary.PutUvarint(n[:], uint64(len(k)))])
		w.WriteString(k)
		w.Write(n[:binary.PutUvarint(n[:], uint64(len(v)))])
		w.Write(v)
		return true
	})
	// bufio keeps the first write error until Flush.
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Sync()
}

// Load opens a copy that Checkpoint wrote. Later changes stay in memory.
func Load(dir string, m kv.Merger) (*DB, error) {
	f, err := os.Open(filepath.Join(dir, checkpointFile))
	if err != nil {
		return nil, fmt.Errorf("memkv: load: %w", err)
	}
	defer f.Close()
	t := new(tree)
	r := bufio.NewReader(f)
	for {
		key, err := readString(r)
		if err == io.EOF {
			return newDB(m, t), nil
		}
		if err != nil {
			return nil, fmt.Errorf("memkv: load: %s is damaged: %w", f.Name(), err)
		}
		value, err := readString(r)
		if err != nil {
			return nil, fmt.Errorf("memkv: load: %s ends within the value of key %q", f.Name(), key)
		}
		t.Set(string(key), value)
	}
}

// readString reads one length and that many octets. It returns io.EOF only where nothing follows, and never allocates
// more than the file holds.
func readString(r *bufio.Reader) ([]byte, error) {
	n, err := binary.ReadUvarint(r)
	if err != nil {
		return nil, err
	}
	if n > 1<<31 {
		return nil, fmt.Errorf("length %d", n)
	}
	b, err := io.ReadAll(io.LimitReader(r, int64(n)))
	if err == nil && uint64(len(b)) < n {
		err = io.ErrUnexpectedEOF
	}
	return b, err
}
