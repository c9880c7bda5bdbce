package kvtest

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sort"
	"testing"

	"maps"

	"pgregory.net/rapid"

	"portolan/internal/kv"
)

// testModel drives a store and a Go map with the same random changes and compares all that can be read.
func testModel(t *testing.T, open Open) {
	root, n := t.TempDir(), 0
	rapid.Check(t, func(r *rapid.T) {
		n++
		m := &model{open: open, dir: filepath.Join(root, fmt.Sprint(n)), content: map[string]string{}}
		m.db = open(t, m.dir, Merger{})
		defer m.close(r)
		r.Repeat(map[string]func(*rapid.T){
			"":         m.check,
			"apply":    m.apply,
			"write":    m.write,
			"drop":     m.drop,
			"snapshot": m.snapshot,
			"release":  m.release,
			"walk":     m.walk,
			"bulk":     m.bulk,
			"compact":  m.compact,
			"sync":     func(r *rapid.T) { noErr(r, m.db.Sync()) },
		})
	})
}

// edit is one change as the model keeps it.
type edit struct {
	kind     string
	key, val string
}

type view struct {
	snap    kv.Snapshot
	content map[string]string
}

// model is a store, what must be in it, one batch that is being written, and open snapshots.
type model struct {
	open    Open
	dir     string
	db      kv.DB
	content map[string]string
	batch   kv.Batch
	edits   []edit
	views   []view
}

func noErr(r *rapid.T, err error) {
	if err != nil {
		r.Fatal(err)
	}
}

// Few and short keys, so that changes meet; some are prefixes of others.
var (
	genKey   = rapid.StringMatching(`[a-c]{1,2}`)
	genValue = rapid.StringMatching(`[0-9]{0,3}`)
)

func (e edit) to(m map[string]string) {
	switch e.kind {
	case "set":
		m[e.key] = e.val
	case "delete":
		delete(m, e.key)
	case "range":
		for k := range m {
			if k >= e.key && k < e.val {
				delete(m, k)
			}
		}
	case "merge":
		old, ok := m[e.key]
		if !ok {
			old = "<" + e.key + ">"
		}
		m[e.key] = old + "|" + e.val
	}
}

func drawEdit(r *rapid.T) edit {
	e := edit{kind: rapid.SampledFrom([]string{"set", "set", "merge", "merge", "delete", "range"}).Draw(r, "kind"),
		key: genKey.Draw(r, "key")}
	switch e.kind {
	case "set", "merge":
		e.val = genValue.Draw(r, "value")
	case "range":
		e.val = genKey.Draw(r, "end")
	}
	return e
}

func (e edit) write(r *rapid.T, w kv.Writer) {
	switch k, v := []byte(e.key), []byte(e.val); e.kind {
	case "set":
		noErr(r, w.Set(k, v))
	case "delete":
		noErr(r, w.Delete(k))
	case "range":
		noErr(r, w.DeleteRange(k, v))
	case "merge":
		noErr(r, w.Merge(k, v))
	}
}

// write adds to the batch under way, over which the store may meanwhile change.
func (m *model) write(r *rapid.T) {
	if m.batch == nil {
		m.batch = m.db.NewBatch()
	}
	for _, e := range rapid.SliceOfN(rapid.Custom(drawEdit), 1, 4).Draw(r, "edits") {
		e.write(r, m.batch)
		m.edits = append(m.edits, e)
	}
}

// apply applies the batch under way, or one of its own beside it.
func (m *model) apply(r *rapid.T) {
	if m.batch != nil && rapid.Bool().Draw(r, "the open batch") {
		noErr(r, m.db.Apply(m.batch))
		for _, e := range m.edits {
			e.to(m.content)
		}
		m.batch, m.edits = nil, nil
		return
	}
	b := m.db.NewBatch()
	for _, e := range rapid.SliceOfN(rapid.Custom(drawEdit), 1, 4).Draw(r, "edits") {
		e.write(r, b)
		e.to(m.content)
	}
	noErr(r, m.db.Apply(b))
}

func (m *model) drop(r *rapid.T) {
	if m.batch == nil {
		r.Skip("no batch")
	}
	noErr(r, m.batch.Close())
	m.batch, m.edits = nil, nil
}

func (m *model) snapshot(r *rapid.T) {
	if len(m.views) == 3 {
		r.Skip("enough snapshots")
	}
	s, err := m.db.Snapshot()
	noErr(r, err)
	m.views = append(m.views, view{s, maps.Clone(m.content)})
}

func (m *model) release(r *rapid.T) {
	if len(m.views) == 0 {
		r.Skip("no snapshot")
	}
	i := rapid.IntRange(0, len(m.views)-1).Draw(r, "which")
	noErr(r, m.views[i].snap.Close())
	m.views = slices.Delete(m.views, i, i+1)
}

func (m *model) bulk(r *rapid.T) {
	b, err := m.db.NewBulk()
	noErr(r, err)
	load := rapid.MapOfN(genKey, genValue, 0, 5).Draw(r, "load")
	for _, k := range slices.Sorted(maps.Keys(load)) {
		noErr(r, b.Add([]byte(k), []byte(load[k])))
	}
	if rapid.Bool().Draw(r, "abort") {
		noErr(r, b.Abort())
		return
	}
	noErr(r, b.Finish())
	maps.Copy(m.content, load)
}

func (m *model) compact(r *rapid.T) {
	var lo, hi []byte
	if rapid.Bool().Draw(r, "part") {
		lo, hi = []byte(genKey.Draw(r, "lo")), []byte(genKey.Draw(r, "hi"))
	}
	noErr(r, m.db.Compact(lo, hi))
}

// reader picks something to read from, and what must be in it.
func (m *model) reader(r *rapid.T) (kv.Reader, map[string]string) {
	i := rapid.IntRange(-2, len(m.views)-1).Draw(r, "reader")
	switch {
	case i >= 0:
		return m.views[i].snap, m.views[i].content
	case i == -2 && m.batch != nil:
		return m.batch, m.inBatch()
	}
	return m.db, m.content
}

func (m *model) inBatch() map[string]string {
	c := maps.Clone(m.content)
	for _, e := range m.edits {
		e.to(c)
	}
	return c
}

// check compares everything, forward through Iter and key by key through Get.
func (m *model) check(r *rapid.T) {
	compare(r, "store", m.db, m.content)
	for i, v := range m.views {
		compare(r, fmt.Sprintf("snapshot %d", i), v.snap, v.content)
	}
	if m.batch != nil {
		compare(r, "batch", m.batch, m.inBatch())
	}
}

func compare(r *rapid.T, name string, rd kv.Reader, want map[string]string) {
	it, err := rd.Iter(nil, nil)
	noErr(r, err)
	got := map[string]string{}
	last := ""
	for it.Next() {
		v, err := it.Value()
		noErr(r, err)
		if k := string(it.Key()); k <= last {
			r.Fatalf("%s: key %q after %q", name, k, last)
		} else {
			got[k], last = string(v), k
		}
	}
	noErr(r, it.Err())
	noErr(r, it.Close())
	if !maps.Equal(got, want) {
		r.Fatalf("%s holds %v, want %v", name, got, want)
	}
	for _, a := range "abcd" {
		for _, k := range []string{string(a), string(a) + "a", string(a) + "c"} {
			v, err := rd.Get(nil, []byte(k))
			w, ok := want[k]
			if errors.Is(err, kv.ErrNotFound) != !ok || (ok && (err != nil || string(v) != w)) {
				r.Fatalf("%s: Get(%q) = %q, %v; want %q, present %v", name, k, v, err, w, ok)
			}
		}
	}
}

// walk moves an iterator with random bounds at random.
func (m *model) walk(r *rapid.T) {
	rd, content := m.reader(r)
	var lo, hi []byte
	if rapid.Bool().Draw(r, "has lo") {
		lo = []byte(genKey.Draw(r, "lo"))
	}
	if rapid.Bool().Draw(r, "has hi") {
		hi = []byte(genKey.Draw(r, "hi"))
	}
	var keys []string
	for _, k := range slices.Sorted(maps.Keys(content)) {
		if k >= string(lo) && (hi == nil || k < string(hi)) {
			keys = append(keys, k)
		}
	}
	it, err := rd.Iter(lo, hi)
	noErr(r, err)
	defer it.Close()
	at := -1
	for i := range rapid.IntRange(1, 12).Draw(r, "steps") {
		var ok bool
		step := rapid.SampledFrom([]string{"first", "last", "next", "next", "prev", "prev", "seek"}).Draw(r, "step")
		switch step {
		case "first":
			ok, at = it.First(), 0
		case "last":
			ok, at = it.Last(), len(keys)-1
		case "next":
			ok, at = it.Next(), min(at+1, len(keys))
		case "prev":
			ok, at = it.Prev(), max(at-1, -1)
		case "seek":
			k := genKey.Draw(r, "to")
			ok, at = it.SeekGE([]byte(k)), sort.SearchStrings(keys, k)
		}
		on := at >= 0 && at < len(keys)
		if ok != on {
			r.Fatalf("step %d %s: moved %v, want %v (place %d of %v)", i, step, ok, on, at, keys)
		}
		if !on {
			continue
		}
		v, err := it.Value()
		noErr(r, err)
		if string(it.Key()) != keys[at] || string(v) != content[keys[at]] {
			r.Fatalf("step %d %s: stands on %q=%q, want %q=%q", i, step, it.Key(), v, keys[at], content[keys[at]])
		}
	}
	noErr(r, it.Err())
}

func (m *model) close(r *rapid.T) {
	for _, v := range m.views {
		v.snap.Close()
	}
	if m.batch != nil {
		m.batch.Close()
	}
	if err := m.db.Close(); err != nil {
		r.Error(err)
	}
}
