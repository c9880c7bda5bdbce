package engine

import (
	"context"

	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/internal/schema"
	"portolan/ldap"
)

// Special is an entry that is not stored: the root DSE, the subschema subentry, the monitor. It is made anew for each
// search, from the state of the server at that moment.
type Special struct {
	// DN as it is returned and Norm, its canonical form.
	DN, Norm string
	// Open entries may be read by anonymous, whatever the settings; their attributes are all readable.
	Open bool
	// Attributes returns the content. Operational attributes are sorted out by the schema.
	Attributes func(s *schema.Schema, c *op.Conn) []SpecialAttr
}

// SpecialAttr is one attribute of a Special.
type SpecialAttr struct {
	Name   string
	Values []string
}

// special serves a search whose base is a special entry or in a tree; done says that it was one.
func (s *search) special(ctx context.Context) (done bool, err error) {
	base := s.m.Base
	var found *Special
	switch {
	case len(base) == 0:
		if s.m.Scope != ldap.ScopeBase {
			return false, nil
		}
		found = s.e.special[""]
	case !mayBeSpecial(base):
		return false, nil
	default:
		norm, err := normalize(s.schema, base)
		if err != nil {
			return false, nil // the ordinary way says what is wrong
		}
		if found = s.e.special[norm]; found == nil {
			if t := s.e.treeOf(norm); t != nil {
				return true, s.searchTree(ctx, t, norm)
			}
		}
	}
	if found == nil {
		return false, nil
	}
	if s.req.Search.Instead != nil {
		return true, errComputed
	}
	if s.m.Scope == ldap.ScopeOne || s.m.Scope == ldap.ScopeSubordinate {
		return true, nil
	}
	if !found.Open && s.req.Identity.IsAnonymous() && !s.set.AnonymousRead {
		return true, s.noBase(nil)
	}
	entry, err := found.entry(s.e.shapes(s.schema), s.req.Conn)
	if err != nil {
		return true, err
	}
	s.req.Trace.Plan.Set("special")
	name := dit.Name{DN: found.DN, Norm: found.Norm}
	s.lookAtOpen(entry, name)
	// What is virtual for stored entries is real here.
	s.views = noViews
	if err := s.shown(); err != nil {
		return true, err
	}
	truth, err := s.filter.Eval(&s.candidate)
	if err != nil {
		return true, err
	}
	s.selection.compile(s.schema, s.views, s.m.Attributes)
	if s.req.Search.Order == nil {
		if truth == dit.True {
			err = s.deliver(ctx, entry, name)
		}
		return true, err
	}
	// Sorting one entry is no work, but whoever picks from the result wants to see it.
	s.order = &ordering{}
	if truth == dit.True {
		if err := s.gather(entry, name); err != nil {
			return true, err
		}
	}
	if all, err := s.sorted(); err != nil || len(all) == 0 {
		return true, err
	}
	return true, s.deliver(ctx, entry, name)
}

var errComputed = ldap.Errorf(ldap.UnwillingToPerform, "entries that the server computes cannot be followed: name a base in a naming context")

// entry builds the entry.
func (sp *Special) entry(shapes *dit.Shapes, c *op.Conn) (*dit.Entry, error) {
	s := shapes.Schema
	d := dit.NewDraft()
	for _, a := range sp.Attributes(s, c) {
		desc, err := s.DescribeString(a.Name)
		if err != nil || desc.Type == nil {
			return nil, ldap.Errorf(ldap.Other, "the schema does not define %s", a.Name)
		}
		values := make([][]byte, len(a.Values))
		for i, v := range a.Values {
			values[i] = []byte(v)
		}
		d.Set(desc.Type, values...)
	}
	entry, _, err := d.Seal(shapes, dit.SealOptions{Trusted: true})
	return entry, err
}

// RootDSE returns the special entry of RFC 4512 section 5.1. What it lists is derived from what is wired.
func (e *Engine) RootDSE(info RootInfo) Special {
	return Special{Open: true, Attributes: func(s *schema.Schema, c *op.Conn) []SpecialAttr {
		attrs := []SpecialAttr{
			{"objectClass", []string{"top"}},
			{"structuralObjectClass", []string{"top"}},
			{"namingContexts", info.NamingContexts},
			{"subschemaSubentry", []string{SubschemaDN}},
			{"supportedLDAPVersion", []string{"3"}},
			{"supportedControl", e.SupportedControls()},
			{"supportedExtension", append(e.SupportedExtensions(), info.Extensions...)},
			{"supportedFeatures", info.Features},
			{"supportedSASLMechanisms", e.SupportedMechanisms(c)},
			{"vendorName", []string{info.VendorName}},
			{"vendorVersion", []string{info.VendorVersion}},
			{"altServer", info.AltServers},
			{"entryDN", []string{""}},
		}
		var more []func() []op.TreeAttr
		for _, t := range e.trees {
			more = append(more, t.RootDSE)
		}
		for i := range e.o.Overlays {
			more = append(more, e.o.Overlays[i].RootDSE)
		}
		for _, list := range more {
			if list == nil {
				continue
			}
			for _, a := range list() {
				values := make([]string, len(a.Values))
				for i, v := range a.Values {
					values[i] = string(v)
				}
				attrs = append(attrs, SpecialAttr{a.Name, values})
			}
		}
		kept := attrs[:0]
		for _, a := range attrs {
			if len(a.Values) > 0 && s.AttributeTypeString(a.Name) != nil {
				kept = append(kept, a)
			}
		}
		return kept
	}}
}

// RootInfo is what the root DSE says beyond what is wired into the engine.
type RootInfo struct {
	NamingContexts            []string
	Extensions                []string // served outside the engine: StartTLS
	Features                  []string
	AltServers                []string
	VendorName, VendorVersion string
}

// AddSpecial adds a special entry; only before the engine serves.
func (e *Engine) AddSpecial(sp Special) { e.special[sp.Norm] = &sp }
