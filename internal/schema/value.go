package schema

import (
	"portolan/ldap"
)

// CheckValue checks a value against the syntax of a type; the error is invalidAttributeSyntax.
//
// The length bound of a definition, "SYNTAX ...{64}", is not a maximum: it is the length a server must at least be
// able to hold (RFC 4512 section 4.1.2, "minimum upper bound"), and password hashes and many a description in the
// field are longer. It is published and not enforced.
func (s *Schema) CheckValue(t *AttributeType, value []byte) error {
	if err := t.Syntax.Check(s, value); err != nil {
		return ldap.Errorf(ldap.InvalidAttributeSyntax, "%s: %s", t.Name(), err)
	}
	return nil
}

// EqualityKey appends the key under which a stored value of the type is equal to another. A type without an equality
// rule is an error, inappropriateMatching; a value that the rule cannot read is invalidAttributeSyntax.
func (s *Schema) EqualityKey(t *AttributeType, dst, value []byte) ([]byte, error) {
	return s.valueKey(t, t.Equality, dst, value)
}

// OrderingKey appends the key by which stored values of the type are ordered. Without an ordering rule it fails as
// EqualityKey does.
func (s *Schema) OrderingKey(t *AttributeType, dst, value []byte) ([]byte, error) {
	return s.valueKey(t, t.Ordering, dst, value)
}

// SubstringKey appends the key in which the pieces of a substring assertion are looked for. Without a substrings rule it
// fails as EqualityKey does.
func (s *Schema) SubstringKey(t *AttributeType, dst, value []byte) ([]byte, error) {
	return s.valueKey(t, t.Substr, dst, value)
}

// EqualityAssertion appends the key of an assertion value for the equality rule of the type.
func (s *Schema) EqualityAssertion(t *AttributeType, dst, assertion []byte) ([]byte, error) {
	return s.assertionKey(t, t.Equality, dst, assertion)
}

// OrderingAssertion appends the key of an assertion value for the ordering rule of the type.
func (s *Schema) OrderingAssertion(t *AttributeType, dst, assertion []byte) ([]byte, error) {
	return s.assertionKey(t, t.Ordering, dst, assertion)
}

// SubstringAssertion appends the key of one piece of a substring assertion.
func (s *Schema) SubstringAssertion(t *AttributeType, dst, piece []byte, kind ldap.SubKind) ([]byte, error) {
	if t.Substr == nil {
		return dst, errNoRule(t)
	}
	key, err := t.Substr.SubstringKey(s, dst, piece, uint8(kind))
	if err != nil {
		return dst, errBadValue(t, err)
	}
	return key, nil
}

func (s *Schema) valueKey(t *AttributeType, r *MatchingRule, dst, value []byte) ([]byte, error) {
	if r == nil {
		return dst, errNoRule(t)
	}
	key, err := r.ValueKey(s, dst, value)
	if err != nil {
		return dst, errBadValue(t, err)
	}
	return key, nil
}

func (s *Schema) assertionKey(t *AttributeType, r *MatchingRule, dst, value []byte) ([]byte, error) {
	if r == nil {
		return dst, errNoRule(t)
	}
	key, err := r.AssertionKey(s, dst, value)
	if err != nil {
		return dst, errBadValue(t, err)
	}
	return key, nil
}

func errNoRule(t *AttributeType) error {
	return ldap.Errorf(ldap.InappropriateMatching, "%s has no matching rule of this kind", t.Name())
}

func errBadValue(t *AttributeType, err error) error {
	return ldap.Errorf(ldap.InvalidAttributeSyntax, "%s: %s", t.Name(), err)
}
