package engine

import (
	"portolan/internal/dit"
	"portolan/internal/schema"
	"portolan/ldap"
)

// errRange is about language ranges, which name no one attribute (RFC 3866 section 3).
func errRange(d schema.Description) error {
	return ldap.Errorf(ldap.UndefinedAttributeType, "%s: a language range selects attributes, it does not name one; write a tag such as lang-de", d)
}

// keepsSuperclasses refuses the deletion of a superclass of a class that stays (RFC 4512 section 3.3). Otherwise a class
// that is not named is added by itself, so that the deletion would do nothing.
func keepsSuperclasses(s *schema.Schema, mods []ldap.Mod, d *dit.Draft) error {
	for i := range mods {
		if mods[i].Op != ldap.ModDelete || s.AttributeType(mods[i].Attribute.Type) != s.Known.ObjectClass {
			continue
		}
		a := d.Attr(schema.Description{Type: s.Known.ObjectClass})
		if a == nil {
			return nil
		}
		for _, v := range mods[i].Attribute.Values {
			gone := s.ObjectClassBytes(v)
			var over *schema.ObjectClass
			for _, have := range a.Values {
				switch c := s.ObjectClassBytes(have); {
				case c == nil:
				case c == gone:
					gone = nil // another modification put it back
				case gone != nil && c.IsA(gone):
					over = c
				}
			}
			if gone != nil && over != nil {
				return ldap.Errorf(ldap.ObjectClassViolation, "the object class %s is a superclass of %s, which the entry keeps; delete that one first", gone.Name(), over.Name())
			}
		}
	}
	return nil
}
