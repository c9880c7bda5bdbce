// Package dynlist computes groups and lists from search URLs: the members of a dynamic group, the values that a dynamic list
// gathers from other entries. Nothing is stored, so that they are right at every moment.
package dynlist

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/internal/schema"
	"portolan/ldap"
)

// Options is the table [overlay.dynlist].
type Options struct {
	// Groups makes entries of Class whose URL names no attributes groups: their members are what the URL finds.
	Groups bool `toml:"groups"`
	// Lists are the attributes that lists may gather, "mail", or under another name "memberUid=uid": what a URL names beyond
	// them is not shown.
	Lists []string `toml:"lists"`
	// Class and URL are the object class and the attribute of the URLs.
	Class string `toml:"class"`
	URL   string `toml:"url"`
	// Identity is whose rights count for what a URL finds; empty is who reads.
	Identity string `toml:"identity"`
	// MaxEntries is how many entries one URL may look at.
	MaxEntries int `toml:"max_entries" min:"1"`
}

// Defaults are the options of a configuration that says nothing: nothing is computed.
func Defaults() Options {
	return Options{Class: "groupOfURLs", URL: "memberURL", MaxEntries: 10_000}
}

// Validate says what in the table cannot be.
func (o *Options) Validate() error {
	if _, err := ldap.ParseDN(o.Identity); err != nil {
		return fmt.Errorf("overlay.dynlist.identity: %q is not a DN: write one such as cn=lists,ou=services,dc=example,dc=org", o.Identity)
	}
	for i, l := range o.Lists {
		to, from, renamed := strings.Cut(l, "=")
		if to == "" || renamed && from == "" {
			return fmt.Errorf("overlay.dynlist.lists[%d]: %q names no attribute: write \"mail\", or \"memberUid=uid\"", i+1, l)
		}
		if o.Groups && strings.EqualFold(to, "member") {
			return fmt.Errorf("overlay.dynlist.lists[%d]: member is what groups compute: leave it out", i+1)
		}
	}
	return nil
}

// New returns the overlay.
func New(o Options) op.Overlay {
	x := &dynlist{o: o}
	invalid := o.Validate()
	var attributes []string
	if o.Groups {
		attributes = append(attributes, "member")
	}
	for _, l := range o.Lists {
		to, from, renamed := strings.Cut(l, "=")
		if !renamed {
			from = to
		}
		x.lists = append(x.lists, list{to, from})
		attributes = append(attributes, to)
	}
	out := op.Overlay{Name: "dynlist", Open: func(p *op.Ports) (func(), error) { return nil, cmp.Or(invalid, x.open(p)) }, CheckEntries: x.check}
	if len(attributes) > 0 {
		out.Equality = []string{"member"}
		out.View = &op.View{Attributes: attributes, Expands: true, Values: x.values, Match: x.match, Shape: x.shape, Holds: x.holds}
	}
	if o.Groups {
		out.Groups = &op.Groups{Is: func(e *dit.Entry) bool { return x.shape(e.Shape()) }, Of: x.groupsOf, Members: x.members}
	}
	return out
}

type dynlist struct {
	o     Options
	lists []list
	ports atomic.Pointer[op.Ports] // nil until opened

	mu     sync.Mutex
	parsed map[string]*search
}

// list is an attribute that lists gather: the values of from are shown as to.
type list struct{ to, from string }

// search is a URL that was understood.
type search struct {
	part       *op.Part
	attributes []string
}

func (x *dynlist) open(p *op.Ports) error {
	view := p.Directory.View()
	defer view.Close()
	s := view.Schema()
	if s.ObjectClass(x.o.Class) == nil {
		return fmt.Errorf("overlay.dynlist.class: the schema has no object class %q", x.o.Class)
	}
	if s.AttributeTypeString(x.o.URL) == nil {
		return fmt.Errorf("overlay.dynlist.url: the schema has no attribute %q", x.o.URL)
	}
	for i, l := range x.lists {
		for _, name := range []string{l.to, l.from} {
			t := s.AttributeTypeString(name)
			switch {
			case t == nil:
				return fmt.Errorf("overlay.dynlist.lists[%d]: the schema has no attribute %q", i+1, name)
			case t.Secret || t.NoUserModification || t == s.Known.ObjectClass:
				return fmt.Errorf("overlay.dynlist.lists[%d]: %s is not to be gathered", i+1, name)
			}
		}
	}
	x.ports.Store(p)
	return nil
}

// shapeKey is under which a shape remembers what shape found.
type shapeKey struct{ url string }

// shape reports whether entries with these attributes can be dynamic.
func (x *dynlist) shape(s *dit.Shape) bool {
	if is, ok := s.Memo.Load(shapeKey{x.o.URL}); ok {
		return is.(bool)
	}
	is := slices.ContainsFunc(s.Slots, func(d schema.Description) bool {
		return d.Options == "" && slices.ContainsFunc(d.Type.Names, func(n string) bool { return strings.EqualFold(n, x.o.URL) })
	})
	s.Memo.Store(shapeKey{x.o.URL}, is)
	return is
}

// maxParsed bounds the URLs that are remembered.
const maxParsed = 10_000

// parse understands a URL; nil for what is none, or of another server.
func (x *dynlist) parse(text []byte) *search {
	x.mu.Lock()
	defer x.mu.Unlock()
	if u, ok := x.parsed[string(text)]; ok {
		return u
	}
	if len(x.parsed) >= maxParsed || x.parsed == nil {
		x.parsed = make(map[string]*search)
	}
	// What follows the URL is a label (RFC 2079).
	address, _, _ := strings.Cut(string(text), " ")
	var out *search
	if u, err := ldap.ParseURL(address); err == nil {
		if part, err := op.PartOfURL(&u); err == nil {
			out = &search{part: part, attributes: u.Attributes}
		}
	}
	x.parsed[string(text)] = out
	return out
}

// searches are the URLs of an entry of the class: those of a group (which name no attributes) or of a list.
func (x *dynlist) searches(s *schema.Schema, e *dit.Entry, group bool) (out []*search) {
	if !x.shape(e.Shape()) || !e.IsA(s, s.ObjectClass(x.o.Class)) {
		return nil
	}
	slot := e.Shape().FindType(s.AttributeTypeString(x.o.URL))
	if slot < 0 {
		return nil
	}
	if _, large := e.Large(slot); large {
		return nil // hundreds of URLs are nobody's group
	}
	for v := e.Values(slot); ; {
		text, ok := v.Next()
		if !ok {
			return out
		}
		if u := x.parse(text); u != nil && (len(u.attributes) == 0) == group {
			out = append(out, u)
		}
	}
}

// sight returns what may be read of what URLs find; nil is everything. The server's own questions, for access rules, are not
// asked with the eyes of the identity: its rights are what is being decided.
func (x *dynlist) sight(r op.Reader, see op.Visible) (op.Visible, error) {
	p := x.ports.Load()
	if x.o.Identity == "" || p == nil || see == nil {
		return see, nil
	}
	norm, err := r.Schema().NormalizeDNString(nil, x.o.Identity)
	if err != nil {
		return nothing, nil
	}
	id, err := p.Directory.Identify(string(norm), "dynlist")
	if err != nil || id == nil {
		return nothing, err // nobody may read for an identity that is not there
	}
	req := &op.Request{Conn: &op.Conn{Transport: op.Unix, Loopback: true}, Identity: id, Start: p.Now()}
	return p.Directory.Sight(req, r).Visible(), nil
}

func nothing(*dit.Entry, *schema.AttributeType) bool { return false }

// finds reports whether a URL finds an entry: as a search by who may see so much would.
func (u *search) finds(r op.Reader, e *dit.Entry, see op.Visible) (bool, error) {
	name, err := r.Name(e)
	if err != nil {
		return false, err
	}
	s := r.Schema()
	if in, err := u.part.Covers(s, name.Norm); err != nil || !in {
		return false, err
	}
	return u.matches(r, e, see)
}

// matches is finds for an entry in scope. What may not be read is absent.
func (u *search) matches(r op.Reader, e *dit.Entry, see op.Visible) (bool, error) {
	s := r.Schema()
	if e.Subentry || see != nil && !see(e, s.Known.ObjectClass) {
		return false, nil
	}
	filter := u.part.Filter(s)
	if filter == nil {
		return true, nil
	}
	c := dit.Candidate{Schema: s, Entry: e, Large: r}
	if see != nil {
		c.May = func(slot int) bool { return see(e, e.Shape().Slots[slot].Type) }
		c.MayType = func(t *schema.AttributeType) bool { return see(e, t) }
	}
	truth, err := filter.Eval(&c)
	return truth == dit.True, err
}

// each calls f for the entries that a URL finds, but for the one that it stands in.
func (x *dynlist) each(r op.Reader, own dit.ID, u *search, see op.Visible, f func(*dit.Entry) error) error {
	p := x.ports.Load()
	if p == nil {
		return nil
	}
	return p.Directory.Candidates(r, u.part, x.o.MaxEntries, func(e *dit.Entry) error {
		if e.ID == own {
			return nil
		}
		found, err := u.matches(r, e, see)
		if err != nil || !found {
			return err
		}
		return f(e)
	})
}

// check reports URLs that find nothing because they cannot.
func (x *dynlist) check(r op.Reader, report func(op.Finding)) (func(e *dit.Entry) error, error) {
	if !x.o.Groups && len(x.lists) == 0 {
		return nil, nil
	}
	s := r.Schema()
	class, t := s.ObjectClass(x.o.Class), s.AttributeTypeString(x.o.URL)
	return func(e *dit.Entry) error {
		slot := e.Shape().FindType(t)
		if slot < 0 || !e.IsA(s, class) {
			return nil
		}
		return op.EachValue(r, e, slot, func(text []byte) bool {
			if x.parse(text) != nil {
				return true
			}
			where := e.RDN
			if name, err := r.Name(e); err == nil {
				where = name.DN
			}
			report(op.Finding{Where: where, What: fmt.Sprintf("%s %q is no LDAP URL of this server, and finds nothing", x.o.URL, text),
				Advice: "write ldap:///BASE?ATTRIBUTES?SCOPE?FILTER, without a host"})
			return true
		})
	}, nil
}
