package store

import (
	"bytes"
	"slices"
	"sync"

	"portolan/internal/dit"
	"portolan/internal/kv"
	"portolan/internal/schema"
)

// indexer has the scratch memory of what turns entries into index keys. One goroutine uses it at a time.
type indexer struct {
	set *indexSet

	before, after keyList
	gramsB        []uint32
	gramsA        []uint32
	key           []byte
	posting       []byte
	operand       [3]byte
}

var indexers = sync.Pool{New: func() any { return new(indexer) }}

func (s *indexSet) indexer() *indexer {
	w := indexers.Get().(*indexer)
	w.set = s
	return w
}

func (w *indexer) release() {
	w.set = nil
	indexers.Put(w)
}

// apply writes to w what the change of an entry means for the indexes. before is nil for an add, after for a removal.
// large are the value changes of large attributes, in whose Delete all values that go are named with key and value; src
// shows large attributes as they were before.
func (s *indexSet) apply(w kv.Writer, src dit.LargeSource, before, after *dit.Entry, large []dit.LargeDelta) error {
	if len(s.list) == 0 {
		return nil
	}
	x := s.indexer()
	defer x.release()
	c := entryChange{before: before, after: after, large: large, src: src}
	var b, a []sources
	if before != nil {
		b = s.sources(before.Shape())
		c.id = before.ID
	}
	if after != nil {
		a = s.sources(after.Shape())
		c.id = after.ID
	}
	for i, idx := range s.list {
		c.slotsB, c.slotsA = nil, nil
		if b != nil {
			c.slotsB = b[i]
		}
		if a != nil {
			c.slotsA = a[i]
		}
		if c.untouched(idx) {
			continue
		}
		if err := x.change(w, idx, &c); err != nil {
			return err
		}
	}
	return nil
}

// entryChange is one entry's change in the eyes of one index.
type entryChange struct {
	id             dit.ID
	before, after  *dit.Entry
	slotsB, slotsA sources
	large          []dit.LargeDelta
	src            dit.LargeSource
}

// untouched reports whether the index has nothing to do: the slots it covers are the same octets before and after.
func (c *entryChange) untouched(x *index) bool {
	if len(c.slotsB) != len(c.slotsA) {
		return false
	}
	for i, slot := range c.slotsB {
		if !bytes.Equal(c.before.Wire(slot, slot+1), c.after.Wire(c.slotsA[i], c.slotsA[i]+1)) {
			return false
		}
	}
	for i := range c.large {
		if x.covers(c.large[i].Desc) {
			return false
		}
	}
	return true
}

func (w *indexer) change(to kv.Writer, x *index, c *entryChange) error {
	if x.kind == IndexEquality || x.kind == IndexPresence {
		if had, has := len(c.slotsB) > 0, len(c.slotsA) > 0; had != has {
			if err := w.put(to, x, IndexPresence, nil, c.id, has); err != nil {
				return err
			}
		}
	}
	switch x.kind {
	case IndexEquality, IndexOrdering:
		return w.changeKeys(to, x, c)
	case IndexSubstring:
		return w.changeGrams(to, x, c)
	}
	return nil
}

// put writes one operand.
func (w *indexer) put(to kv.Writer, x *index, kind IndexKind, key []byte, id dit.ID, add bool) error {
	chunk, low := splitID(id)
	w.posting = appendChunkNumber(appendPosting(w.posting[:0], x, kind, key), chunk)
	if add {
		return to.Merge(w.posting, appendAdd(w.operand[:0], low))
	}
	return to.Merge(w.posting, appendRemove(w.operand[:0], low))
}

// changeKeys keeps an equality or ordering index.
func (w *indexer) changeKeys(to kv.Writer, x *index, c *entryChange) error {
	w.inlineKeys(&w.before, x, c.before, c.slotsB)
	w.inlineKeys(&w.after, x, c.after, c.slotsA)
	for i := range c.large {
		d := &c.large[i]
		if !x.covers(d.Desc) {
			continue
		}
		for _, v := range d.Delete {
			w.addLargeKey(&w.before, x, d.Desc, v)
		}
		for _, v := range d.Add {
			w.addLargeKey(&w.after, x, d.Desc, v)
		}
	}
	w.before.sort()
	w.after.sort()
	return diff(&w.before, &w.after, func(key []byte, add bool) error {
		if !add {
			if there, err := w.stillThere(x, c, key); there || err != nil {
				return err
			}
		}
		return w.put(to, x, x.kind, key, c.id, add)
	})
}

// diff calls f for each key that is only in one of two sorted lists: with false for those only in before.
func diff(before, after *keyList, f func(key []byte, add bool) error) error {
	b, a := before.rank, after.rank
	for len(b) > 0 || len(a) > 0 {
		order := 0
		switch {
		case len(b) == 0:
			order = 1
		case len(a) == 0:
			order = -1
		default:
			order = bytes.Compare(before.key(b[0]), after.key(a[0]))
		}
		var err error
		switch {
		case order < 0:
			err = f(before.key(b[0]), false)
			b = b[1:]
		case order > 0:
			err = f(after.key(a[0]), true)
			a = a[1:]
		default:
			b, a = b[1:], a[1:]
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// inlineKeys collects the keys of the values that stand in the entry. A value that the rule cannot read has no key: it
// matches nothing.
func (w *indexer) inlineKeys(l *keyList, x *index, e *dit.Entry, slots sources) {
	l.reset()
	for _, slot := range slots {
		for v := e.Values(slot); ; {
			value, ok := v.Next()
			if !ok {
				break
			}
			w.addKey(l, x, value)
		}
	}
}

func (w *indexer) addKey(l *keyList, x *index, value []byte) {
	from := len(l.buf)
	key, err := x.rule.ValueKey(w.set.schema, l.buf, value)
	if err != nil {
		l.buf = l.buf[:from]
		return
	}
	l.buf = key
	l.seal()
}

// addLargeKey adds the key of a large value. Where the index works with the attribute's own equality rule the key is
// known already.
func (w *indexer) addLargeKey(l *keyList, x *index, d schema.Description, v dit.LargeValue) {
	if x.rule == d.Type.Equality {
		l.buf = append(l.buf, v.Key...)
		l.seal()
		return
	}
	w.addKey(l, x, v.Value)
}

// stillThere reports whether a key that is about to go is also that of a value that stays, in a large attribute.
func (w *indexer) stillThere(x *index, c *entryChange, key []byte) (bool, error) {
	if c.after == nil || !c.after.HasLarge() || c.before == nil || !c.before.HasLarge() {
		return false, nil
	}
	for _, slot := range c.slotsA {
		d := c.after.Shape().Slots[slot]
		was := c.before.Shape().Find(d)
		if _, large := c.after.Large(slot); !large || was < 0 {
			continue
		}
		if _, large := c.before.Large(was); !large {
			continue // then all its values are among the added ones
		}
		there, err := w.stays(x, c, d, was, key)
		if there || err != nil {
			return there, err
		}
	}
	return false, nil
}

// stays looks for a value with the index key among those of a large attribute that were there before and stay.
func (w *indexer) stays(x *index, c *entryChange, d schema.Description, slot int, key []byte) (bool, error) {
	gone := func([]byte) bool { return false }
	for i := range c.large {
		if l := &c.large[i]; l.Desc == d {
			gone = func(k []byte) bool {
				return slices.ContainsFunc(l.Delete, func(v dit.LargeValue) bool { return bytes.Equal(v.Key, k) })
			}
		}
	}
	if x.kind == IndexEquality && x.rule == d.Type.Equality && len(key) <= maxIndexKey {
		if gone(key) {
			return false, nil
		}
		return c.src.LargeHas(c.before, slot, key)
	}
	found := false
	err := c.src.LargeEach(c.before, slot, func(k, value []byte) bool {
		have, err := x.rule.ValueKey(w.set.schema, w.key[:0], value)
		w.key = have
		if err == nil {
			w.key = cutKey(have, 0)
			found = bytes.Equal(w.key, key) && !gone(k)
		}
		return !found
	})
	return found, err
}

// changeGrams keeps a substring index. Of a large attribute that stays, grams are only ever added: which of them are
// used by other values could be known only by reading all of them, and a gram too many is a candidate too many.
func (w *indexer) changeGrams(to kv.Writer, x *index, c *entryChange) error {
	w.gramsB = w.inlineGrams(w.gramsB[:0], x, c.before, c.slotsB)
	w.gramsA = w.inlineGrams(w.gramsA[:0], x, c.after, c.slotsA)
	for i := range c.large {
		d := &c.large[i]
		if !x.covers(d.Desc) {
			continue
		}
		for _, v := range d.Delete {
			w.gramsB = w.valueGrams(w.gramsB, x, v.Value)
		}
		for _, v := range d.Add {
			w.gramsA = w.valueGrams(w.gramsA, x, v.Value)
		}
	}
	keep := c.after != nil && hasLargeSlot(c.after, c.slotsA)
	w.gramsB, w.gramsA = onlyIn(sortGrams(w.gramsB), sortGrams(w.gramsA))
	if keep {
		w.gramsB = w.gramsB[:0]
	}
	if sink, ok := to.(gramSink); ok {
		return sink.Grams(x, c.id, w.gramsA, w.gramsB)
	}
	for _, g := range w.gramsB {
		if err := w.putGram(to, x, g, c.id, false); err != nil {
			return err
		}
	}
	for _, g := range w.gramsA {
		if err := w.putGram(to, x, g, c.id, true); err != nil {
			return err
		}
	}
	return nil
}

// onlyIn leaves in each of two ascending lists what is not in the other.
func onlyIn(b, a []uint32) (inB, inA []uint32) {
	inB, inA = b[:0], a[:0]
	i, j := 0, 0
	for i < len(b) && j < len(a) {
		switch {
		case b[i] < a[j]:
			inB = append(inB, b[i])
			i++
		case a[j] < b[i]:
			inA = append(inA, a[j])
			j++
		default:
			i, j = i+1, j+1
		}
	}
	return append(inB, b[i:]...), append(inA, a[j:]...)
}

func hasLargeSlot(e *dit.Entry, slots sources) bool {
	for _, slot := range slots {
		if _, large := e.Large(slot); large {
			return true
		}
	}
	return false
}

func (w *indexer) putGram(to kv.Writer, x *index, g uint32, id dit.ID, add bool) error {
	w.key = appendGram(w.key[:0], g)
	return w.put(to, x, IndexSubstring, w.key, id, add)
}

func sortGrams(g []uint32) []uint32 {
	slices.Sort(g)
	return slices.Compact(g)
}

func (w *indexer) inlineGrams(dst []uint32, x *index, e *dit.Entry, slots sources) []uint32 {
	for _, slot := range slots {
		for v := e.Values(slot); ; {
			value, ok := v.Next()
			if !ok {
				break
			}
			dst = w.valueGrams(dst, x, value)
		}
	}
	return dst
}

func (w *indexer) valueGrams(dst []uint32, x *index, value []byte) []uint32 {
	key, err := x.rule.ValueKey(w.set.schema, w.key[:0], value)
	if err != nil {
		return dst
	}
	w.key = key
	return appendGrams(dst, key)
}

// each calls f for every posting that an entry belongs in: with the kind and the key, or for grams the gram. f must not
// keep the key. src shows the entry's large attributes.
func (w *indexer) each(src dit.LargeSource, e *dit.Entry, f func(x *index, kind IndexKind, key []byte) error) error {
	for i, slots := range w.set.sources(e.Shape()) {
		if len(slots) == 0 {
			continue
		}
		if err := w.eachOf(w.set.list[i], slots, src, e, f); err != nil {
			return err
		}
	}
	return nil
}

// eachOf is each for one index.
func (w *indexer) eachOf(x *index, slots sources, src dit.LargeSource, e *dit.Entry, f func(x *index, kind IndexKind, key []byte) error) error {
	switch x.kind {
	case IndexEquality, IndexPresence:
		if err := f(x, IndexPresence, nil); err != nil || x.kind == IndexPresence {
			return err
		}
		fallthrough
	case IndexOrdering:
		w.inlineKeys(&w.after, x, e, slots)
		if e.HasLarge() {
			err := eachLarge(src, e, slots, func(d schema.Description, k, v []byte) {
				w.addLargeKey(&w.after, x, d, dit.LargeValue{Key: k, Value: v})
			})
			if err != nil {
				return err
			}
		}
		w.after.sort()
		for _, i := range w.after.rank {
			if err := f(x, x.kind, w.after.key(i)); err != nil {
				return err
			}
		}
	case IndexSubstring:
		grams, err := w.gramsOf(x, slots, src, e)
		if err != nil {
			return err
		}
		for _, g := range grams {
			w.key = appendGram(w.key[:0], g)
			if err := f(x, x.kind, w.key); err != nil {
				return err
			}
		}
	}
	return nil
}

// gramsOf returns the grams of an entry, ascending. The slice is good until the next use of w.
func (w *indexer) gramsOf(x *index, slots sources, src dit.LargeSource, e *dit.Entry) ([]uint32, error) {
	w.gramsA = w.inlineGrams(w.gramsA[:0], x, e, slots)
	if !e.HasLarge() {
		return sortGrams(w.gramsA), nil
	}
	err := eachLarge(src, e, slots, func(_ schema.Description, _, v []byte) { w.gramsA = w.valueGrams(w.gramsA, x, v) })
	return sortGrams(w.gramsA), err
}

func eachLarge(src dit.LargeSource, e *dit.Entry, slots sources, f func(d schema.Description, key, value []byte)) error {
	if !e.HasLarge() {
		return nil
	}
	for _, slot := range slots {
		if _, large := e.Large(slot); !large {
			continue
		}
		d := e.Shape().Slots[slot]
		err := src.LargeEach(e, slot, func(k, v []byte) bool {
			f(d, k, v)
			return true
		})
		if err != nil {
			return err
		}
	}
	return nil
}
