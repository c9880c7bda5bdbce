package replica

import (
	"github.com/google/uuid"

	"portolan/internal/dit"
	"portolan/internal/schema"
	"portolan/ldap"
)

// draft makes the entry of what was told: local, where it is not nil, with what differs changed.
func (r *run) draft(t *told, local *dit.Entry) (*dit.Draft, error) {
	s := r.tx.Schema()
	d := dit.NewDraft()
	if local != nil {
		d = local.Edit(r.tx)
	}
	d.UUID, d.CSN = t.id, dit.CSN{}
	type attribute struct {
		desc   schema.Description
		values [][]byte
	}
	list := make([]attribute, 0, len(t.attrs)+1)
	known := make(map[schema.Description]int, len(t.attrs)+1)
	add := func(desc schema.Description, values [][]byte) {
		if i, twice := known[desc]; twice {
			list[i].values = append(list[i].values[:len(list[i].values):len(list[i].values)], values...)
			return
		}
		known[desc] = len(list)
		list = append(list, attribute{desc, values})
	}
	for i := range t.attrs {
		a := &t.attrs[i]
		desc, err := s.Describe(a.Type)
		switch {
		case err != nil, desc.Type == nil:
			r.skip(string(a.Type), "not in the schema of this server", len(a.Values))
		case r.x.computed[lower(desc.Type.Name())], desc.Type == s.Known.EntryUUID:
		case len(a.Values) > 0:
			add(desc, r.fit(desc.Type, a.Values))
		}
	}
	add(schema.Description{Type: s.Known.EntryUUID}, [][]byte{[]byte(uuid.UUID(t.id).String())})
	for i := range list {
		if list[i].desc.Type == s.Known.EntryCSN && len(list[i].values) == 1 {
			csn, err := dit.ParseCSN(list[i].values[0])
			if err != nil {
				return nil, ldap.Errorf(ldap.InvalidAttributeSyntax, "entryCSN: %v", err)
			}
			d.CSN = csn
		}
	}
	if local != nil {
		for slot, desc := range local.Shape().Slots {
			if _, still := known[desc]; still || local.Count(slot) == 0 {
				continue
			}
			if err := d.Delete(s, desc, nil, true); err != nil {
				return nil, err
			}
		}
	}
	for i := range list {
		if err := r.assign(d, local, list[i].desc, list[i].values); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// fit returns the values that may be stored.
func (r *run) fit(t *schema.AttributeType, values [][]byte) [][]byte {
	if !t.Secret || r.x.o.Unfit == nil {
		return values
	}
	kept := values[:0:0]
	for _, v := range values {
		if why := r.x.o.Unfit(t, v); why != "" {
			r.skip(t.Name(), why, 1)
			continue
		}
		kept = append(kept, v)
	}
	return kept
}

// assign gives an attribute its values; those that the schema of this server does not take are left out.
func (r *run) assign(d *dit.Draft, local *dit.Entry, desc schema.Description, values [][]byte) error {
	s := r.tx.Schema()
	stored := func(f func(key, value []byte) bool) error {
		return r.tx.LargeEach(local, local.Shape().Find(desc), f)
	}
	err := d.Assign(s, desc, values, stored)
	if code := ldap.CodeOf(err); err == nil || code == ldap.Other {
		return err
	}
	good := make([][]byte, 0, len(values))
	try := dit.NewDraft()
	for _, v := range values {
		if try.Add(s, desc, [][]byte{v}, true) != nil {
			r.skip(desc.String(), "a value that the schema of this server does not take", 1)
			continue
		}
		good = append(good, v)
	}
	return d.Assign(s, desc, good, stored)
}

// maxWhat bounds the name of an attribute in Status.Skipped.
const maxWhat = 64

// skip counts values that are left out.
func (r *run) skip(attribute, why string, n int) {
	r.skips[attribute[:min(len(attribute), maxWhat)]+": "+why] += n
}
