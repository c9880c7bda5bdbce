package store

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"os"
	"slices"

	"portolan/internal/dit"
)

// nameTable knows the ids of all entries of a load by name, in bounded memory: it keeps 128-bit hashes, under seeds that
// nobody can know, in a hash table that becomes a sorted file when it is full. Parents come again and again, and come
// mostly from their own table.
type nameTable struct {
	dir     string
	limit   int // entries of the table
	seeds   [2]maphash.Seed
	slots   []nameSlot
	used    int
	files   []*nameFile
	parents map[string]dit.ID
}

type nameSlot struct {
	hash [2]uint64
	id   dit.ID // 0: free
}

const (
	nameSlotBytes = 24
	// maxKnownParents bounds the table of parents.
	maxKnownParents = 10_000
	minNameSlots    = 1 << 10
)

func newNameTable(dir string, memory int) *nameTable {
	t := &nameTable{dir: dir, seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}, parents: make(map[string]dit.ID)}
	// The table doubles; while it does both are there.
	slots := minNameSlots
	for 2*slots*nameSlotBytes*3/2 <= memory {
		slots *= 2
	}
	t.limit = slots
	t.slots = make([]nameSlot, minNameSlots)
	return t
}

func (t *nameTable) hash(name string) [2]uint64 {
	return [2]uint64{maphash.String(t.seeds[0], name), maphash.String(t.seeds[1], name)}
}

func (t *nameTable) slot(h [2]uint64) *nameSlot {
	mask := uint64(len(t.slots) - 1)
	for at := h[0] & mask; ; at = (at + 1) & mask {
		if s := &t.slots[at]; s.id == 0 || s.hash == h {
			return s
		}
	}
}

// add puts a name in. It reports false when the name is there already, as far as that shows without reading files: the
// rest shows when positions are merged.
func (t *nameTable) add(name string, id dit.ID) (bool, error) {
	h := t.hash(name)
	s := t.slot(h)
	if s.id != 0 {
		return false, nil
	}
	*s = nameSlot{h, id}
	if t.used++; 4*t.used < 3*len(t.slots) {
		return true, nil
	}
	if len(t.slots) >= t.limit {
		return true, t.spill()
	}
	old := t.slots
	t.slots = make([]nameSlot, 2*len(old))
	for _, s := range old {
		if s.id != 0 {
			*t.slot(s.hash) = s
		}
	}
	return true, nil
}

// find returns the id of a name, or 0.
func (t *nameTable) find(name string) (dit.ID, error) {
	if id, ok := t.parents[name]; ok {
		return id, nil
	}
	h := t.hash(name)
	id := t.slot(h).id
	for i := len(t.files) - 1; id == 0 && i >= 0; i-- {
		var err error
		if id, err = t.files[i].find(h); err != nil {
			return 0, err
		}
	}
	if id != 0 {
		if len(t.parents) >= maxKnownParents {
			clear(t.parents)
		}
		t.parents[name] = id
	}
	return id, nil
}

// known is find in what is in memory. It changes nothing: several goroutines may ask when nothing is added any more.
func (t *nameTable) known(name string) dit.ID { return t.slot(t.hash(name)).id }

// nameFile is a sorted table in a file.
type nameFile struct {
	f *os.File
	n int64
}

func (t *nameTable) spill() (err error) {
	full := slices.DeleteFunc(t.slots, func(s nameSlot) bool { return s.id == 0 })
	slices.SortFunc(full, func(a, b nameSlot) int { return compareHashes(a.hash, b.hash) })
	f, err := os.CreateTemp(t.dir, "portolan-load-*.names")
	if err != nil {
		return fmt.Errorf("store: a temporary file for names: %w", err)
	}
	t.files = append(t.files, &nameFile{f, int64(len(full))})
	w := bufio.NewWriterSize(f, runBuffer)
	var record [nameSlotBytes]byte
	for _, s := range full {
		binary.BigEndian.PutUint64(record[:], s.hash[0])
		binary.BigEndian.PutUint64(record[8:], s.hash[1])
		binary.BigEndian.PutUint64(record[16:], uint64(s.id))
		if _, err := w.Write(record[:]); err != nil {
			return err
		}
	}
	clear(t.slots)
	t.used = 0
	return w.Flush()
}

func compareHashes(a, b [2]uint64) int {
	for i := range a {
		if a[i] != b[i] {
			if a[i] < b[i] {
				return -1
			}
			return 1
		}
	}
	return 0
}

// find is a binary search in the file.
func (f *nameFile) find(h [2]uint64) (dit.ID, error) {
	var record [nameSlotBytes]byte
	lo, hi := int64(0), f.n
	for lo < hi {
		mid := (lo + hi) / 2
		if _, err := f.f.ReadAt(record[:], mid*nameSlotBytes); err != nil {
			return 0, err
		}
		switch c := compareHashes(h, [2]uint64{binary.BigEndian.Uint64(record[:]), binary.BigEndian.Uint64(record[8:])}); {
		case c == 0:
			return dit.ID(binary.BigEndian.Uint64(record[16:])), nil
		case c < 0:
			hi = mid
		default:
			lo = mid + 1
		}
	}
	return 0, nil
}

func (t *nameTable) remove() error {
	var err error
	for _, f := range t.files {
		err = errors.Join(err, f.f.Close(), os.Remove(f.f.Name()))
	}
	t.files = nil
	return err
}
