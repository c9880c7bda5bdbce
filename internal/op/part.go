package op

import (
	"fmt"
	"strings"
	"sync/atomic"

	"portolan/internal/dit"
	"portolan/internal/schema"
	"portolan/ldap"
)

// Part is a part of the directory as the table of an overlay describes it: the entries at and beneath a base, in a scope,
// that match a filter. The filter looks at what is stored; computed attributes are absent in it. nil is the whole
// directory. It may be used by any goroutine.
type Part struct {
	base   string
	scope  ldap.Scope
	filter *ldap.Filter // nil: every entry
	known  atomic.Pointer[knownPart]
}

// knownPart is a part under one schema.
type knownPart struct {
	schema *schema.Schema
	base   []byte
	filter *dit.Filter
}

// NewPart returns a part; an empty base is the whole directory, an empty scope the subtree, an empty filter every entry. The
// error says which of the keys base, scope and filter is wrong, and what to write.
func NewPart(base, scope, filter string) (*Part, error) {
	p := &Part{base: base, scope: ldap.ScopeSub}
	if _, err := ldap.ParseDN(base); err != nil {
		return nil, fmt.Errorf("base: %q is not a DN: write one such as ou=people,dc=example,dc=org", base)
	}
	switch scope {
	case "", "sub":
	case "base":
		p.scope = ldap.ScopeBase
	case "one":
		p.scope = ldap.ScopeOne
	case "subordinate":
		p.scope = ldap.ScopeSubordinate
	default:
		return nil, fmt.Errorf("scope: %q is none: write base, one, sub or subordinate", scope)
	}
	if filter != "" {
		f, err := ldap.ParseFilter(filter)
		if err != nil {
			return nil, fmt.Errorf("filter: %w", err)
		}
		p.filter = &f
	}
	return p, nil
}

// PartOfURL returns the part that an LDAP URL of this server describes (RFC 4516): without a host. The scope is base where
// the URL says none.
func PartOfURL(u *ldap.URL) (*Part, error) {
	if u.Host != "" {
		return nil, fmt.Errorf("the URL is of the server %q: write ldap:/// for this one", u.Host)
	}
	p := &Part{base: u.DN, scope: ldap.ScopeBase}
	if u.HasScope {
		p.scope = u.Scope
	}
	if u.Filter != "" {
		f, err := ldap.ParseFilter(u.Filter)
		if err != nil {
			return nil, err
		}
		p.filter = &f
	}
	return p, nil
}

// Base is the name that the part begins at, Scope its scope.
func (p *Part) Base() string { return p.base }

// Scope is the scope of the part.
func (p *Part) Scope() ldap.Scope { return p.scope }

// Filter returns the filter under a schema; nil where there is none.
func (p *Part) Filter(s *schema.Schema) *dit.Filter {
	k, err := p.under(s)
	if err != nil {
		return nil
	}
	return k.filter
}

func (p *Part) under(s *schema.Schema) (*knownPart, error) {
	if k := p.known.Load(); k != nil && k.schema == s {
		return k, nil
	}
	k := &knownPart{schema: s}
	var err error
	if k.base, err = s.NormalizeDN(nil, []byte(p.base)); err != nil {
		return nil, err
	}
	if p.filter != nil {
		k.filter = &dit.Filter{}
		k.filter.Compile(s, p.filter)
	}
	p.known.Store(k)
	return k, nil
}

// Covers reports whether the name is in base and scope.
func (p *Part) Covers(s *schema.Schema, norm string) (bool, error) {
	if p == nil {
		return true, nil
	}
	k, err := p.under(s)
	if err != nil {
		return false, err
	}
	rest, ok := strings.CutSuffix(norm, string(k.base))
	if !ok || len(k.base) > 0 && rest != "" && rest[len(rest)-1] != ',' {
		return false, nil
	}
	switch p.scope {
	case ldap.ScopeBase:
		return rest == "", nil
	case ldap.ScopeOne:
		return rest != "" && strings.IndexByte(rest, ',') == len(rest)-1, nil
	case ldap.ScopeSubordinate:
		return rest != "", nil
	}
	return true, nil
}

// Has reports whether an entry is in the part.
func (p *Part) Has(r Reader, e *dit.Entry) (bool, error) {
	if p == nil {
		return true, nil
	}
	if p.base != "" || p.scope != ldap.ScopeSub {
		name, err := r.Name(e)
		if err != nil {
			return false, err
		}
		if in, err := p.Covers(r.Schema(), name.Norm); err != nil || !in {
			return false, err
		}
	}
	return p.Matches(r, e)
}

// Matches reports whether an entry matches the filter of the part, wherever it stands.
func (p *Part) Matches(r Reader, e *dit.Entry) (bool, error) {
	if p == nil || p.filter == nil {
		return true, nil
	}
	k, err := p.under(r.Schema())
	if err != nil {
		return false, err
	}
	truth, err := k.filter.Eval(&dit.Candidate{Schema: r.Schema(), Entry: e, Large: r})
	return truth == dit.True, err
}

// HasDraft reports whether the entry that a draft will be is in the part.
func (p *Part) HasDraft(r Reader, d *dit.Draft) (bool, error) {
	if p == nil {
		return true, nil
	}
	if p.base != "" || p.scope != ldap.ScopeSub {
		name, err := DraftName(r, d)
		if err != nil {
			return false, err
		}
		if in, err := p.Covers(r.Schema(), name.Norm); err != nil || !in {
			return false, err
		}
	}
	if p.filter == nil {
		return true, nil
	}
	e, err := Preview(r, d)
	if err != nil {
		return false, err
	}
	return p.Matches(r, e)
}

// DraftName is the name that the entry of a draft will have.
func DraftName(r Reader, d *dit.Draft) (dit.Name, error) {
	if d.Parent == 0 {
		return dit.Name{DN: d.RDN, Norm: d.NormRDN}, nil
	}
	parent, err := r.Get(d.Parent)
	if err != nil {
		return dit.Name{}, err
	}
	if parent == nil {
		return dit.Name{}, ldap.Errorf(ldap.NoSuchObject, "the entry above is gone")
	}
	above, err := r.Name(parent)
	if err != nil {
		return dit.Name{}, err
	}
	return dit.Name{DN: d.RDN + "," + above.DN, Norm: d.NormRDN + "," + above.Norm}, nil
}

// Preview makes the entry that a draft would be if it were stored as it is, for looking at. Of large attributes it has what
// is stored.
func Preview(r Reader, d *dit.Draft) (*dit.Entry, error) {
	e, _, err := d.Clone().Seal(dit.NewShapes(r.Schema()), dit.SealOptions{Preview: true})
	return e, err
}
