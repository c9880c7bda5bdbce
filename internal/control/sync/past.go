package sync

import (
	"bytes"
	"strings"

	"github.com/google/uuid"

	"portolan/internal/access"
	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/internal/schema"
)

// past works out what entries were like at the beginning of a window, from what they are at its end and from the changes in
// between. It decides whether a client had them: who had not is not told that they have gone.
type past struct {
	s      *session
	now    op.Snapshot
	w      *window
	shapes *dit.Shapes
	sight  op.Sight

	// reader shows the entry in question under the name that it had.
	reader op.Past
	region op.Region
}

func newPast(s *session, now op.Snapshot, w *window) (*past, error) {
	p := &past{s: s, now: now, w: w, shapes: dit.NewShapes(now.Schema())}
	p.reader.Snapshot = now
	p.sight = s.Directory.Sight(s.req, &p.reader)
	norm := ""
	if s.baseID != 0 {
		base, err := now.Get(s.baseID)
		if err != nil {
			return nil, err
		}
		name, err := now.Name(base)
		if err != nil {
			return nil, err
		}
		if norm, err = p.normalize(p.nameBefore(name.DN, len(w.renames))); err != nil {
			return nil, err
		}
	}
	var err error
	p.region, err = op.NewRegion(s.Directory, now.Schema(), norm, s.m.Scope)
	return p, err
}

// nameBefore takes a name back over the first n renames of the window.
func (p *past) nameBefore(dn string, n int) string {
	for i := n - 1; i >= 0; i-- {
		r := &p.w.renames[i]
		if above, ok := strings.CutSuffix(dn, r.new); ok && (above == "" || above[len(above)-1] == ',') {
			dn = above + r.old
		}
	}
	return dn
}

func (p *past) normalize(dn string) (string, error) {
	norm, err := p.now.Schema().NormalizeDN(nil, []byte(dn))
	return string(norm), err
}

// was reports whether an entry was in the content. e is the entry as it is, nil where it is gone; x is its touch, nil where
// only something above it has been renamed.
func (p *past) was(id uuid.UUID, e *dit.Entry, x *touch) (bool, error) {
	if x != nil && x.added {
		return false, nil
	}
	dn, first := "", len(p.w.renames)
	if x != nil {
		dn, first = x.name, x.first
	} else {
		name, err := p.now.Name(e)
		if err != nil {
			return false, err
		}
		dn = name.DN
	}
	name := dit.Name{DN: p.nameBefore(dn, first)}
	var err error
	if name.Norm, err = p.normalize(name.DN); err != nil || !p.region.Has(name.Norm) {
		return false, err
	}
	old, whole, err := p.restore(id, e, x)
	if err != nil {
		return false, err
	}
	p.reader.Entry, p.reader.Called = old, name
	if _, err := p.sight.Look(old); err != nil {
		return false, err
	}
	found, err := p.sight.Found(p.s.filter, p.s.m.Scope)
	if err != nil || found != op.FoundNot || whole {
		return found != op.FoundNot, err
	}
	// A part of it is not known: it may have been what the filter is about. Who may know of the entry is told.
	return p.sight.EntryRights()&access.Disclose != 0, nil
}

// restore makes the entry that there was. whole says that nothing of it is missing.
func (p *past) restore(id uuid.UUID, e *dit.Entry, x *touch) (old *dit.Entry, whole bool, err error) {
	attrs := &attributes{schema: p.now.Schema(), whole: true}
	var changes []dit.JournalChange
	if x != nil {
		changes = x.changes
	}
	if e != nil {
		if err := attrs.read(p.now, e); err != nil {
			return nil, false, err
		}
	}
	for i := len(changes) - 1; i >= 0; i-- {
		attrs.undo(&changes[i])
	}
	d := dit.NewDraft()
	d.UUID = id
	if e != nil {
		d.ID = e.ID
	}
	for i := range attrs.list {
		a := &attrs.list[i]
		d.Attrs = append(d.Attrs, dit.DraftAttr{Desc: a.desc, Values: a.values})
	}
	old, _, err = d.Seal(p.shapes, dit.SealOptions{Trusted: true})
	return old, attrs.whole, err
}

// attributes are those of an entry on its way back.
type attributes struct {
	schema *schema.Schema
	list   []attribute
	// whole is false once values are not known.
	whole bool
}

type attribute struct {
	desc   schema.Description
	values [][]byte
}

// maxRestored bounds the values of one attribute that are worked with.
const maxRestored = 20_000

// read takes the attributes of an entry, large ones included.
func (a *attributes) read(r op.Reader, e *dit.Entry) error {
	for slot, desc := range e.Shape().Slots {
		if e.Count(slot) > maxRestored {
			a.whole = false
			continue
		}
		var values [][]byte
		err := op.EachValue(r, e, slot, func(v []byte) bool {
			values = append(values, bytes.Clone(v))
			return true
		})
		if err != nil {
			return err
		}
		a.list = append(a.list, attribute{desc: desc, values: values})
	}
	return nil
}

// undo takes one change back.
func (a *attributes) undo(c *dit.JournalChange) {
	if c.Kind == dit.ChangeAdd {
		a.list = nil
		return
	}
	for i := range c.Attrs {
		delta := &c.Attrs[i]
		desc, err := a.schema.DescribeString(delta.Description)
		if err != nil || desc.Type == nil {
			continue
		}
		x := a.of(desc)
		if delta.Clear {
			// What a large attribute had before it was cleared is not in the journal.
			x.values = nil
			a.whole = a.whole && inlineBefore(c, delta)
			continue
		}
		x.values = without(x.values, delta.Added)
		x.values = append(x.values, delta.Deleted...)
	}
}

// inlineBefore reports whether the values that a cleared attribute had are in the same change: it became large by it.
func inlineBefore(c *dit.JournalChange, cleared *dit.AttrDelta) bool {
	for i := range c.Attrs {
		if d := &c.Attrs[i]; d != cleared && !d.Large && d.Description == cleared.Description && len(d.Deleted) > 0 {
			return true
		}
	}
	return false
}

func (a *attributes) of(desc schema.Description) *attribute {
	for i := range a.list {
		if a.list[i].desc == desc {
			return &a.list[i]
		}
	}
	a.list = append(a.list, attribute{desc: desc})
	return &a.list[len(a.list)-1]
}

// without returns the values that are not among those to leave out.
func without(values, out [][]byte) [][]byte {
	if len(out) == 0 {
		return values
	}
	gone := make(map[string]bool, len(out))
	for _, v := range out {
		gone[string(v)] = true
	}
	kept := make([][]byte, 0, len(values))
	for _, v := range values {
		if !gone[string(v)] {
			kept = append(kept, v)
		}
	}
	return kept
}
