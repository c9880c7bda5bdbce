package schema

import "slices"

// PublishedAttr is one attribute of the subschema subentry (RFC 4512 section 4.2) with its values.
type PublishedAttr struct {
	Name   string
	Values []string
}

// Publish returns the attributes of the subschema subentry: objectClasses, attributeTypes, matchingRules,
// matchingRuleUse, ldapSyntaxes, dITContentRules, dITStructureRules and nameForms, the last three without values where
// nothing is defined. Everything one value names is defined by another. The slices are not to be changed.
//
// The first call writes them all, which takes some milliseconds.
func (s *Schema) Publish() []PublishedAttr { return s.published() }

func (s *Schema) publish() []PublishedAttr {
	use := make([]string, 0, len(s.ruleList))
	for _, r := range s.ruleList {
		if u := s.ruleUse(r); u != "" {
			use = append(use, u)
		}
	}
	return []PublishedAttr{
		{"objectClasses", stringsOf(s.classList)},
		{"attributeTypes", stringsOf(s.attrList)},
		{"matchingRules", stringsOf(s.ruleList)},
		{"matchingRuleUse", use},
		{"ldapSyntaxes", stringsOf(s.syntaxList)},
		{"dITContentRules", stringsOf(s.contentList)},
		{"dITStructureRules", stringsOf(s.structRules)},
		{"nameForms", stringsOf(s.nameForms)},
	}
}

func stringsOf[T interface{ String() string }](defs []T) []string {
	out := make([]string, len(defs))
	for i, d := range defs {
		out[i] = d.String()
	}
	return out
}

// RuleApplies reports whether an extensible match may use the rule with attributes of the type (RFC 4512 section 4.1.4):
// the type names the rule, or the rule is made for values of the type's syntax.
func (s *Schema) RuleApplies(r *MatchingRule, t *AttributeType) bool {
	return t.Equality == r || t.Ordering == r || t.Substr == r ||
		t.Syntax == r.Syntax && len(r.applies) == 0 || slices.Contains(r.applies, t.Syntax.OID)
}

// ruleUse returns the MatchingRuleUseDescription of a rule, empty where no attribute type can use it.
func (s *Schema) ruleUse(r *MatchingRule) string {
	var types []string
	for _, t := range s.attrList {
		if s.RuleApplies(r, t) {
			types = append(types, t.Name())
		}
	}
	if len(types) == 0 {
		return ""
	}
	var p printer
	c := r.Common
	c.Desc, c.Extensions = "", nil
	p.begin(r.OID, &c)
	p.list("APPLIES", types)
	return p.end(&c)
}
