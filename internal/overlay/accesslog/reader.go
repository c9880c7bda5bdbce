package accesslog

import (
	"portolan/internal/access"
	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/internal/schema"
)

// reader makes entries for one who asks: of what the journal says he is told what he may read in the directory itself.
type reader struct {
	*log
	schema *schema.Schema
	view   op.Reader
	admin  bool
	sight  op.Sight

	// of the change that was turned to last
	live  *dit.Entry // the entry as it is now, nil where it has gone
	names []dit.Name // under which the requester must have a right
}

func newReader(l *log, req *op.Request, v op.Snapshot) *reader {
	r := &reader{log: l, schema: v.Schema(), view: v, admin: req.Identity.Admin}
	if !r.admin {
		r.sight = l.Directory.Sight(req, v)
	}
	return r
}

// entry makes the entry of a change, nil where the requester is not to know of the entry that was changed.
func (r *reader) entry(c *change) (*op.TreeEntry, error) {
	if show, err := r.turn(c); err != nil || !show {
		return nil, err
	}
	if r.kind == changelog {
		return r.changelogEntry(c), nil
	}
	return r.accesslogEntry(c), nil
}

// turn reports whether the requester may know of the entry that was changed: today, by the names that it had. Where it
// has gone what rules ask of its attributes is unknown, which counts against him.
func (r *reader) turn(c *change) (bool, error) {
	if r.admin {
		return true, nil
	}
	var err error
	if r.live, err = r.view.ByUUID(c.UUID); err != nil {
		return false, err
	}
	r.names = r.names[:0]
	for _, dn := range [...]string{c.OldDN, c.NewDN} {
		if dn == "" || len(r.names) > 0 && r.names[0].DN == dn {
			continue
		}
		norm, err := r.schema.NormalizeDNString(nil, dn)
		if err != nil {
			return false, nil
		}
		name := dit.Name{DN: dn, Norm: string(norm)}
		if r.look(name); r.sight.EntryRights()&(access.Disclose|access.Read) != access.Disclose|access.Read {
			return false, nil
		}
		r.names = append(r.names, name)
	}
	if r.live != nil {
		name, err := r.view.Name(r.live)
		if err != nil {
			return false, err
		}
		r.names = append(r.names, name)
	}
	return true, nil
}

func (r *reader) look(name dit.Name) {
	if r.live == nil {
		r.sight.LookAtNew(name)
		return
	}
	r.sight.LookAs(r.live, name)
}

// may reports whether the requester may read an attribute of the entry that was turned to.
func (r *reader) may(d schema.Description) bool {
	for i := range r.names {
		if r.look(r.names[i]); r.sight.AttrRights(d)&access.Read == 0 {
			return false
		}
	}
	return true
}

// deltas returns what the requester may read of a change.
func (r *reader) deltas(c *change) []delta {
	var out []delta
	for i := range c.Attrs {
		a := &c.Attrs[i]
		if d, ok := known(r.schema, a.Description); ok && (r.admin || r.may(d)) {
			out = append(out, delta{AttrDelta: a, desc: d})
		}
	}
	return out
}

// delta is the change of an attribute that may be read.
type delta struct {
	*dit.AttrDelta
	desc schema.Description
}

// mod is a modification in the words of LDAP.
type mod struct {
	op     byte // + - =
	name   string
	values [][]byte // none with -: all of them
}

// mods are the modifications that make up a change. The journal knows of values that went and came, not of the request: an
// attribute with one value is replaced.
func mods(deltas []delta) []mod {
	var out []mod
	for i := range deltas {
		a := &deltas[i]
		switch {
		case a.desc.Type.SingleValue && len(a.Added) > 0:
			out = append(out, mod{'=', a.Description, a.Added})
			continue
		case a.Clear, a.desc.Type.SingleValue && len(a.Deleted) > 0:
			out = append(out, mod{'-', a.Description, nil})
		case len(a.Deleted) > 0:
			out = append(out, mod{'-', a.Description, a.Deleted})
		}
		if len(a.Added) > 0 {
			out = append(out, mod{'+', a.Description, a.Added})
		}
	}
	return out
}
