package engine

import (
	"bytes"
	"context"

	"portolan/internal/access"
	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/internal/schema"
	"portolan/ldap"
)

// compare performs RFC 4511 section 4.10. What may not be compared is as good as absent.
func (e *Engine) compare(ctx context.Context, req *op.Request, m *ldap.CompareRequest, set *Settings) error {
	checked := op.BindOutcome{Purpose: op.ForCompare, Password: m.Value, Index: -1}
	err := e.comparing(ctx, req, m, set, &checked)
	return e.conclude(ctx, req, &checked, err)
}

func (e *Engine) comparing(ctx context.Context, req *op.Request, m *ldap.CompareRequest, set *Settings, checked *op.BindOutcome) error {
	s := e.searches.get()
	defer e.searches.put(s)
	s.begin(e, req, &ldap.SearchRequest{}, nil, set)
	defer s.view.Close()
	desc, err := s.schema.Describe(m.Attr)
	if err != nil || desc.Type == nil {
		return ldap.Errorf(ldap.UndefinedAttributeType, "%q: attribute type undefined", clip(m.Attr))
	}
	entry, err := s.comparand(req, m)
	if err != nil {
		return err
	}
	if desc.Type.Equality == nil {
		return ldap.Errorf(ldap.InappropriateMatching, "%s: has no equality rule", desc)
	}
	if s.target.Entry == nil {
		if _, err := s.Look(entry); err != nil {
			return err
		}
	}
	if err := s.shown(); err != nil {
		return err
	}
	if known := s.schema.Known.UserPassword; known != nil && desc.Type.IsA(known) && entry.ID != 0 {
		return s.comparePassword(ctx, entry, desc, checked)
	}
	found, present := false, false
	match, err := s.equals(desc.Type, m.Value)
	if err != nil {
		return err
	}
	for slot, have := range entry.Shape().Slots {
		if !desc.Contains(have) || !s.slots.All && !s.slots.Compare.Has(slot) {
			continue
		}
		present = true
		there, err := s.slotHas(entry, slot, desc.Type, m.Value, match)
		if err != nil {
			return err
		}
		found = found || there
	}
	for _, t := range s.views.beneath[desc.Type] {
		if desc.Options != "" || !s.slots.All && s.rights.AttrRights(&s.target, schema.Description{Type: t})&access.Compare == 0 {
			continue
		}
		view := s.views.of(t)
		if view.Shape != nil && !view.Shape(entry.Shape()) {
			continue
		}
		if view.Holds != nil && t == desc.Type {
			key, err := t.Equality.AssertionKey(s.schema, nil, m.Value)
			if err != nil {
				return ldap.Errorf(ldap.InvalidAttributeSyntax, "%s: the assertion value is not valid: %v", t.Name(), err)
			}
			holds, known, err := view.Holds(s.view, entry, &dit.Node{Op: ldap.FilterEquality, Desc: desc, Rule: t.Equality, Key: key, Value: m.Value}, s.see)
			if err != nil {
				return err
			}
			if known {
				found = found || holds
				if err := view.Values(s.view, entry, t, s.see, func([]byte) bool {
					present = true
					return false
				}); err != nil {
					return err
				}
				present = present || holds
				continue
			}
		}
		if err := view.Values(s.view, entry, t, s.see, func(value []byte) bool {
			present = true
			found = found || match(value)
			return !found
		}); err != nil {
			return err
		}
	}
	switch {
	case !present:
		return ldap.Errorf(ldap.NoSuchAttribute, "%s: no such attribute in the entry", desc)
	case found:
		req.Reply.Code = ldap.CompareTrue
	default:
		req.Reply.Code = ldap.CompareFalse
	}
	return nil
}

// comparePassword compares a password with the stored hashes, as a bind would: the asserted value is the password itself,
// never a hash, and the password policy counts and refuses (draft-behera-ldap-password-policy section 8.1).
func (s *search) comparePassword(ctx context.Context, entry *dit.Entry, desc schema.Description, b *op.BindOutcome) error {
	for slot, have := range entry.Shape().Slots {
		if !desc.Contains(have) || !s.may(slot, access.Compare) {
			continue
		}
		for v := entry.Values(slot); ; {
			value, ok := v.Next()
			if !ok {
				break
			}
			b.Stored = append(b.Stored, value)
		}
	}
	if len(b.Stored) == 0 {
		return ldap.Errorf(ldap.NoSuchAttribute, "%s: no such attribute in the entry", desc)
	}
	b.Entry, b.Name, b.Reader = entry, s.target.Name, s.r
	b.Identity = &op.Identity{Name: b.Name, Entry: entry.ID, UUID: entry.UUID, Method: "compare"}
	_, err := s.e.prove(ctx, s.req, s.set, b)
	switch {
	case err == nil:
		s.req.Reply.Code = ldap.CompareTrue
	case ldap.CodeOf(err) == ldap.InvalidCredentials:
		s.req.Reply.Code = ldap.CompareFalse
	default:
		return err
	}
	return nil
}

// comparand finds the entry of a compare, special entries included.
func (s *search) comparand(req *op.Request, m *ldap.CompareRequest) (*dit.Entry, error) {
	norm, err := normalize(s.schema, m.Entry)
	if err != nil {
		return nil, err
	}
	if special := s.e.special[norm]; special != nil && (special.Open || !req.Identity.IsAnonymous()) {
		entry, err := special.entry(s.e.shapes(s.schema), req.Conn)
		if err == nil {
			s.lookAtOpen(entry, dit.Name{DN: special.DN, Norm: special.Norm})
		}
		return entry, err
	}
	if t := s.e.treeOf(norm); t != nil {
		return s.inTree(t, norm)
	}
	return s.e.find(s.view, m.Entry, s.rights, findOptions{manage: req.Search.ManageDsaIT})
}

// inTree finds the entry of a compare in a tree.
func (s *search) inTree(t *tree, norm string) (entry *dit.Entry, err error) {
	ts := &treeSearch{search: s, t: t, shapes: s.e.shapes(s.schema)}
	s.views = noViews
	err = t.Each(context.Background(), &op.TreeQuery{Base: norm, Scope: ldap.ScopeBase, Conn: s.req.Conn, Req: s.req}, func(te *op.TreeEntry) error {
		var err error
		entry, _, err = ts.turnTo(te)
		return err
	})
	if err == nil && (entry == nil || s.slots.Entry&access.Disclose == 0) {
		return nil, ldap.Errorf(ldap.NoSuchObject, "")
	}
	return entry, err
}

// equals returns the comparison with an assertion value.
func (s *search) equals(t *schema.AttributeType, assertion []byte) (func(value []byte) bool, error) {
	rule := t.Equality
	key, err := rule.AssertionKey(s.schema, nil, assertion)
	if err != nil {
		return nil, ldap.Errorf(ldap.InvalidAttributeSyntax, "%s: the assertion value is not valid: %v", t.Name(), err)
	}
	if rule.Match != nil {
		return func(value []byte) bool {
			ok, err := rule.Match(s.schema, value, assertion)
			return ok && err == nil
		}, nil
	}
	var scratch []byte
	return func(value []byte) bool {
		k, err := rule.ValueKey(s.schema, scratch[:0], value)
		if err != nil {
			return false
		}
		scratch = k
		return bytes.Equal(k, key)
	}, nil
}

// slotHas looks for the value in a slot; a large one is asked by key.
func (s *search) slotHas(entry *dit.Entry, slot int, t *schema.AttributeType, assertion []byte, match func([]byte) bool) (bool, error) {
	own := entry.Shape().Slots[slot].Type
	if _, large := entry.Large(slot); large && own.Equality == t.Equality && t.Equality.Match == nil {
		key, err := t.Equality.AssertionKey(s.schema, nil, assertion)
		if err != nil {
			return false, nil
		}
		return s.view.LargeHas(entry, slot, key)
	}
	found := false
	err := op.EachValue(s.view, entry, slot, func(value []byte) bool {
		found = match(value)
		return !found
	})
	return found, err
}
