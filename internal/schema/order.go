package schema

// derivedOrder names the ordering rule that belongs to an equality rule: what types are sorted by whose definition gives them
// an equality rule alone.
var derivedOrder = map[string]string{
	"2.5.13.2":                    "2.5.13.3",  // caseIgnoreMatch
	"2.5.13.5":                    "2.5.13.6",  // caseExactMatch
	"2.5.13.8":                    "2.5.13.9",  // numericStringMatch
	"2.5.13.14":                   "2.5.13.15", // integerMatch
	"2.5.13.17":                   "2.5.13.18", // octetStringMatch
	"2.5.13.27":                   "2.5.13.28", // generalizedTimeMatch
	"2.5.13.25":                   "2.5.13.26", // uTCTimeMatch
	"1.3.6.1.1.16.2":              "1.3.6.1.1.16.3",
	"1.3.6.1.4.1.4203.666.11.2.2": "1.3.6.1.4.1.4203.666.11.2.3",
}

// OrderOf returns the rule by which values of a type are put in order: the ordering rule of its definition, or else one that
// follows from its equality rule, so that uid and mail, which have no ordering rule, can be sorted by as clients in the field
// do. Keys of the rule compare as the values are ordered. It is nil where there is no equality rule either.
func (s *Schema) OrderOf(t *AttributeType) *MatchingRule {
	if t.Ordering != nil {
		return t.Ordering
	}
	if t.Equality == nil || t.Equality.ValueKey == nil || t.Equality.Match != nil {
		return nil
	}
	if name, ok := derivedOrder[t.Equality.OID]; ok {
		if r := s.MatchingRule([]byte(name)); r != nil {
			return r
		}
	}
	return t.Equality
}

// OrderingRule returns the ordering rule of a name or OID as far as values of the type can be compared with it; nil where
// there is no such rule or it does not go with the type.
func (s *Schema) OrderingRule(name []byte, t *AttributeType) *MatchingRule {
	r := s.MatchingRule(name)
	if r == nil || r.Kind != OrderingRule || !s.RuleApplies(r, t) {
		return nil
	}
	return r
}
