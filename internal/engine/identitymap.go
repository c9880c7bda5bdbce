package engine

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/ldap"
)

// IdentityMap says which entry a user name, or a certificate, stands for: the entry of a name that is put together, or the
// one entry that a search finds. What is put in is a value of an RDN or of a filter item, whatever octets it has: it cannot
// become more of the name or of the filter.
type IdentityMap struct {
	// Issuer, where not empty, is the canonical name of the issuer of certificates that the map is for.
	Issuer string

	whole  string // the field that is a name by itself
	name   ldap.DN
	base   string
	filter ldap.Filter
	fields []string
}

// Limits of the search behind a map.
const (
	mapTime     = 5 * time.Second
	mapExamined = 10_000
	// mapTries is how many combinations of the values of a certificate are tried.
	mapTries = 16
)

// NewIdentityMap reads a map: a name, or a filter and the base of its search, in which "{field}" stands for a value. Fields
// are those that there are; whole are those that can be a name by themselves.
func NewIdentityMap(dn, base, filter string, fields, whole []string) (*IdentityMap, error) {
	m := &IdentityMap{base: base}
	use := func(value []byte) error {
		rest := string(value)
		for {
			_, after, ok := strings.Cut(rest, "{")
			if !ok {
				return nil
			}
			field, next, ok := strings.Cut(after, "}")
			if !ok || !slices.Contains(fields, field) {
				return fmt.Errorf("%q is no field; there are {%s}", "{"+clip([]byte(field))+"}", strings.Join(fields, "}, {"))
			}
			if !slices.Contains(m.fields, field) {
				m.fields = append(m.fields, field)
			}
			rest = next
		}
	}
	switch {
	case (dn == "") == (filter == ""):
		return nil, fmt.Errorf("write either dn or filter")
	case dn != "" && base != "":
		return nil, fmt.Errorf("base goes with filter; dn is the whole name")
	case strings.HasPrefix(dn, "{") && strings.IndexByte(dn, '}') == len(dn)-1 && slices.Contains(whole, dn[1:len(dn)-1]):
		m.whole = dn[1 : len(dn)-1]
		m.fields = []string{m.whole}
		return m, nil
	case dn != "":
		var err error
		if m.name, err = ldap.ParseDN(dn); err != nil {
			return nil, err
		}
		for _, rdn := range m.name {
			for _, ava := range rdn {
				if err := use(ava.Value); err != nil {
					return nil, err
				}
			}
		}
	default:
		var err error
		if m.filter, err = ldap.ParseFilter(filter); err != nil {
			return nil, err
		}
		for i := range m.filter.Nodes {
			if err := use(m.filter.Nodes[i].Value); err != nil {
				return nil, err
			}
		}
		for i := range m.filter.Subs {
			if err := use(m.filter.Subs[i].Value); err != nil {
				return nil, err
			}
		}
	}
	if len(m.fields) == 0 {
		return nil, fmt.Errorf("there is no field in it: everybody would be the same entry; there are {%s}", strings.Join(fields, "}, {"))
	}
	return m, nil
}

// fill puts the values of fields in.
func fill(text []byte, values map[string]string) []byte {
	if bytes.IndexByte(text, '{') < 0 {
		return text
	}
	var out []byte
	for {
		before, after, ok := bytes.Cut(text, []byte("{"))
		out = append(out, before...)
		if !ok {
			return out
		}
		field, rest, _ := bytes.Cut(after, []byte("}"))
		out = append(out, values[string(field)]...)
		text = rest
	}
}

// errAmbiguous is for names that stand for more than one entry: nobody is to be taken for another.
const errAmbiguous = op.Reason("more than one entry for the identity")

// mapped returns the entry that the maps find for values of fields, asked in their order; nil where none does. A field may
// have several values, of which some may lead to an entry, but not two to different ones.
func (e *Engine) mapped(maps []*IdentityMap, values map[string][]string) (*dit.Entry, dit.Name, error) {
	for _, m := range maps {
		var found *dit.Entry
		var name dit.Name
		for _, one := range combinations(m.fields, values) {
			entry, its, err := e.lookMapped(m, one)
			switch {
			case err != nil:
				return nil, dit.Name{}, err
			case entry != nil && found != nil && found.ID != entry.ID:
				return nil, dit.Name{}, errAmbiguous
			case entry != nil:
				found, name = entry, its
			}
		}
		if found != nil {
			return found, name, nil
		}
	}
	return nil, dit.Name{}, nil
}

// combinations gives each field one of its values, in all ways there are; none where a field has no value.
func combinations(fields []string, values map[string][]string) []map[string]string {
	out := []map[string]string{{}}
	for _, field := range fields {
		var next []map[string]string
		for _, value := range values[field] {
			if value == "" {
				continue
			}
			for _, one := range out {
				with := map[string]string{field: value}
				for k, v := range one {
					with[k] = v
				}
				next = append(next, with)
			}
		}
		out = next
	}
	return out[:min(len(out), mapTries)]
}

func (e *Engine) lookMapped(m *IdentityMap, values map[string]string) (*dit.Entry, dit.Name, error) {
	if m.filter.Nodes != nil {
		return e.searchMapped(m, values)
	}
	var name ldap.DN
	if m.whole != "" {
		var err error
		if name, err = ldap.ParseDN(values[m.whole]); err != nil || len(name) == 0 {
			return nil, dit.Name{}, nil
		}
	} else {
		name = make(ldap.DN, len(m.name))
		for i, rdn := range m.name {
			for _, ava := range rdn {
				name[i] = append(name[i], ldap.AVA{Type: ava.Type, Value: fill(ava.Value, values)})
			}
		}
	}
	view := e.o.Store.View()
	defer view.Close()
	entry, _, err := view.Lookup(string(view.Schema().NormalizeParsed(nil, name)))
	if err != nil || entry == nil || entry.Alias || entry.Referral {
		return nil, dit.Name{}, err
	}
	its, err := view.Name(entry)
	return entry, its, err
}

// searchMapped finds the one entry that the filter of a map matches.
func (e *Engine) searchMapped(m *IdentityMap, values map[string]string) (*dit.Entry, dit.Name, error) {
	filter := ldap.Filter{Nodes: slices.Clone(m.filter.Nodes), Subs: slices.Clone(m.filter.Subs)}
	for i := range filter.Nodes {
		filter.Nodes[i].Value = fill(filter.Nodes[i].Value, values)
	}
	for i := range filter.Subs {
		filter.Subs[i].Value = fill(filter.Subs[i].Value, values)
	}
	q := &ldap.SearchRequest{Base: []byte(m.base), Scope: ldap.ScopeSub, SizeLimit: 2, Filter: filter, Attributes: [][]byte{[]byte("1.1")}}
	req := &op.Request{Conn: internalConn, Op: q, Identity: &op.Identity{Admin: true, Method: "internal"}, Start: e.o.Now()}
	req.Limits = op.Limits{Size: 2, Time: mapTime, Examined: mapExamined}
	var found *dit.Entry
	count := 0
	req.Search.EachEntry = append(req.Search.EachEntry, func(_ context.Context, _ op.Reader, entry *dit.Entry, _ dit.Name, controls []ldap.Control) ([]ldap.Control, error) {
		count++
		found = entry
		return controls, nil
	})
	err := e.search(context.Background(), req, q, &discard{}, e.Settings())
	switch code := ldap.CodeOf(err); {
	case count > 1:
		return nil, dit.Name{}, errAmbiguous
	case code == ldap.AdminLimitExceeded || code == ldap.TimeLimitExceeded:
		e.o.Log.Warn("a user name cannot be looked up: no index serves the filter of [[sasl.user]] or [[sasl.certificate]]; add one under [index]", "error", err)
		return nil, dit.Name{}, nil
	case err != nil && code != ldap.NoSuchObject:
		return nil, dit.Name{}, err
	case found == nil:
		return nil, dit.Name{}, nil
	}
	// A search knows of names no more than it sends.
	view := e.o.Store.View()
	defer view.Close()
	name, err := view.Name(found)
	return found, name, err
}

// discard is an op.Writer for searches of the server itself.
type discard struct{ buf []byte }

// Begin implements op.Writer.
func (d *discard) Begin() []byte { return d.buf[:0] }

// End implements op.Writer.
func (d *discard) End(buf []byte) error { d.buf = buf; return nil }

// IdentifyCertificate returns the entry that a client certificate stands for, by the maps for certificates, or without any by
// its subject; nil where there is none, or more than one. values are those of its fields, issuer is its issuer's name.
func (e *Engine) IdentifyCertificate(issuer ldap.DN, values map[string][]string, method string) (*op.Identity, error) {
	set := e.Settings()
	if len(set.CertificateMaps) == 0 {
		if len(values["subject"]) == 0 {
			return nil, nil
		}
		return e.IdentifyDN(values["subject"][0], method)
	}
	norm := string(e.Schema().NormalizeParsed(nil, issuer))
	var maps []*IdentityMap
	for _, m := range set.CertificateMaps {
		if m.Issuer == "" || m.Issuer == norm {
			maps = append(maps, m)
		}
	}
	return e.identityMapped(maps, values, method)
}

// identityMapped is the identity of the entry that maps find; nil where there is none, or more than one.
func (e *Engine) identityMapped(maps []*IdentityMap, values map[string][]string, method string) (*op.Identity, error) {
	entry, name, err := e.mapped(maps, values)
	switch admin := e.Settings().Admin; {
	case err == errAmbiguous || entry == nil && err == nil:
		return nil, nil
	case err != nil:
		return nil, err
	case name.Norm == admin.Norm:
		return &op.Identity{Name: admin, Admin: true, Method: method}, nil
	}
	return &op.Identity{Name: name, Entry: entry.ID, UUID: entry.UUID, Method: method}, nil
}
