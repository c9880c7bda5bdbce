package app

import (
	"context"
	"errors"
	"fmt"
	"io"

	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/internal/schema"
	"portolan/internal/store"
	"portolan/ldap"
	"portolan/ldif"
)

// ExportOptions say what to export.
type ExportOptions struct {
	// Base is the entry to begin with; empty is the whole directory.
	Base string `json:"base,omitempty"`
	// Filter selects entries (RFC 4515); empty is all.
	Filter string `json:"filter,omitempty"`
	// Secrets writes secret attributes too, such as password hashes.
	Secrets bool `json:"secrets,omitempty"`
	// Operational writes the operational attributes that are stored, such as entryUUID and modifyTimestamp, but never
	// those that are computed.
	Operational bool `json:"operational,omitempty"`
}

// ExportSummary is what an export has written.
type ExportSummary struct {
	Entries int64 `json:"entries"`
	// Live counts the definitions of the schema that were made through LDAP: an export has entries only.
	Live int `json:"live,omitempty"`
	// Withheld counts values of secret attributes that were left out.
	Withheld int64 `json:"withheld"`
	// CSN is the newest change that the export has.
	CSN string `json:"csn,omitempty"`
}

// exportPause is how many entries are looked at between looks at the context.
const exportPause = 256

// Export implements Verbs. What is written is the directory at one moment, parents before children.
func (a *Admin) Export(ctx context.Context, o ExportOptions, w io.Writer, progress Progress) (*ExportSummary, error) {
	view := a.d.Store.View()
	defer view.Close()
	if err := view.Pin(); err != nil {
		return nil, err
	}
	x := &export{ctx: ctx, o: o, view: view, w: ldif.NewWriter(w, ldif.WriterOptions{Version: true}), sum: &ExportSummary{Live: len(view.Schema().Live())}}
	if csn := view.CSN(); !csn.IsZero() {
		x.sum.CSN = csn.String()
	}
	if err := x.compile(a.d.overlays); err != nil {
		return nil, err
	}
	base, err := x.base()
	if err != nil {
		return nil, err
	}
	x.total = a.d.Store.Metrics()["store_entries"]
	x.progress = progress
	if err := x.walk(base); err != nil {
		return nil, err
	}
	if err := x.w.Close(); err != nil {
		return nil, err
	}
	progress.tell(x.seen, x.seen)
	return x.sum, nil
}

// export is one export under way.
type export struct {
	ctx       context.Context
	o         ExportOptions
	view      *store.View
	w         *ldif.Writer
	sum       *ExportSummary
	filter    *dit.Filter // nil: everything
	candidate dit.Candidate
	progress  Progress
	seen      int64
	total     int64
	name      []byte // scratch
}

// compile makes the filter. One that cannot match for its form alone is an error: an export that is empty because of a
// misspelt attribute would be taken for a backup.
func (x *export) compile(overlays []op.Overlay) error {
	if x.o.Filter == "" {
		return nil
	}
	in, err := ldap.ParseFilter(x.o.Filter)
	if err != nil {
		return fmt.Errorf("the filter: %w", err)
	}
	s := x.view.Schema()
	x.filter = &dit.Filter{}
	x.filter.Compile(s, &in)
	for i := range x.filter.Nodes {
		switch n := &x.filter.Nodes[i]; {
		case n.Undefined:
			return fmt.Errorf("the filter: the part on %q can match nothing: the schema does not know the attribute or the rule, or the value is none of its syntax", in.Nodes[i].Attr)
		case n.Rule != nil && n.Rule.Transitive:
			return fmt.Errorf("the filter: an export cannot follow %s; use a search for that", n.Rule.Name())
		}
	}
	virtual := virtualAttributes(s, x.view, overlays)
	x.candidate = dit.Candidate{
		Schema: s, Large: x.view,
		Virtual: func(e *dit.Entry, t *schema.AttributeType, f func([]byte) bool) (bool, error) {
			values := virtual[t]
			if values == nil {
				return false, nil
			}
			return true, values(e, f)
		},
		Name: func(e *dit.Entry) (ldap.DN, error) {
			name, err := x.view.Name(e)
			if err != nil {
				return nil, err
			}
			return ldap.ParseDN(name.DN)
		},
	}
	return nil
}

// virtualAttributes are the computed attributes that a filter may ask for.
func virtualAttributes(s *schema.Schema, view *store.View, overlays []op.Overlay) map[*schema.AttributeType]func(*dit.Entry, func([]byte) bool) error {
	out := map[*schema.AttributeType]func(*dit.Entry, func([]byte) bool) error{
		s.Known.EntryDN: func(e *dit.Entry, f func([]byte) bool) error {
			name, err := view.Name(e)
			if err == nil {
				f([]byte(name.DN))
			}
			return err
		},
		s.Known.HasSubordinates: func(e *dit.Entry, f func([]byte) bool) error {
			has, err := view.HasChildren(e.ID)
			if err == nil {
				f(map[bool][]byte{true: []byte("TRUE"), false: []byte("FALSE")}[has])
			}
			return err
		},
		s.Known.NumSubordinates: func(e *dit.Entry, f func([]byte) bool) error {
			n, err := view.NumChildren(e.ID)
			if err == nil {
				f(fmt.Append(nil, n))
			}
			return err
		},
	}
	for i := range overlays {
		v := overlays[i].View
		if v == nil {
			continue
		}
		for _, name := range v.Attributes {
			if t := s.AttributeTypeString(name); t != nil {
				out[t] = func(e *dit.Entry, f func([]byte) bool) error { return v.Values(view, e, t, nil, f) }
			}
		}
	}
	return out
}

// base returns the id of the entry to begin with; 0 is the whole directory.
func (x *export) base() (dit.ID, error) {
	if x.o.Base == "" {
		return 0, nil
	}
	norm, err := x.view.Schema().NormalizeDNString(nil, x.o.Base)
	if err != nil {
		return 0, fmt.Errorf("the base: %w", err)
	}
	e, _, err := x.view.Lookup(string(norm))
	if err != nil {
		return 0, err
	}
	if e == nil {
		return 0, fmt.Errorf("the base: there is no entry %s", x.o.Base)
	}
	return e.ID, nil
}

// walk goes through the tree, siblings in the order of their names.
func (x *export) walk(base dit.ID) error {
	todo := []dit.ID{base}
	for len(todo) > 0 {
		id := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if id != 0 {
			if err := x.entry(id); err != nil {
				return err
			}
		}
		from := len(todo)
		if err := x.view.Children(id, func(child dit.ID) bool {
			todo = append(todo, child)
			return true
		}); err != nil {
			return err
		}
		for i, j := from, len(todo)-1; i < j; i, j = i+1, j-1 {
			todo[i], todo[j] = todo[j], todo[i]
		}
	}
	return nil
}

func (x *export) entry(id dit.ID) error {
	if x.seen++; x.seen%exportPause == 0 {
		if err := x.ctx.Err(); err != nil {
			return err
		}
		x.progress.tell(x.seen, max(x.total, x.seen))
	}
	e, err := x.view.Get(id)
	if err != nil {
		return err
	}
	if e == nil {
		return fmt.Errorf("entry %d has a position but does not exist: run \"portolan check\"", id)
	}
	if x.filter != nil {
		x.candidate.Entry = e
		truth, err := x.filter.Eval(&x.candidate)
		if err != nil || truth != dit.True {
			return err
		}
	}
	name, err := x.view.Name(e)
	if err != nil {
		return err
	}
	if err := x.w.BeginEntry(name.DN); err != nil {
		return err
	}
	shape := e.Shape()
	for slot, d := range shape.Slots {
		switch {
		case slot >= shape.Users && !x.o.Operational:
			continue
		case d.Type.Secret && !x.o.Secrets:
			x.sum.Withheld += int64(e.Count(slot))
			continue
		}
		if err := x.slot(e, slot, d); err != nil {
			return err
		}
	}
	x.sum.Entries++
	return x.w.EndEntry()
}

// slot writes the values of one attribute as they are read.
func (x *export) slot(e *dit.Entry, slot int, d schema.Description) error {
	x.name = append(append(x.name[:0], d.Type.Name()...), d.Options...)
	var failed error
	err := op.EachValue(x.view, e, slot, func(value []byte) bool {
		failed = x.w.WriteValue(x.name, value)
		return failed == nil
	})
	return errors.Join(err, failed)
}
