package schema

import (
	"errors"
	"slices"
	"strings"
)

// syn is the OID arc of the syntaxes of RFC 4517 and its predecessors.
const syn = "1.3.6.1.4.1.1466.115.121.1."

// x509Arc and pmiArc are the arcs of the assertion syntaxes of RFC 4523 and of slapd's syntaxes for attribute certificates.
const (
	x509Arc = "1.3.6.1.1.15."
	pmiArc  = "1.3.6.1.4.1.4203.666.11.10.2."
)

// keyFunc makes the key of a value or an assertion value.
type keyFunc = func(s *Schema, dst, value []byte) ([]byte, error)

// A ruleDef is one line of the table of matching rules.
type ruleDef struct {
	oid, name string
	kind      RuleKind
	syntax    string // of the assertion value
	applies   []string
	MatchingRule
}

// Syntaxes of attribute values that several rules can be used with.
var (
	stringSyntaxes  = []string{syn + "15", syn + "44", syn + "11", syn + "50"}
	integerSyntaxes = []string{syn + "27"}
	noSyntax        = []string{"-"}
	describedByOID  = []string{syn + "3", syn + "16", syn + "30", syn + "31", syn + "35", syn + "37", syn + "54",
		"1.3.6.1.4.1.4203.666.11.5.3.1"}
)

// builtinRules returns the matching rules, which are code and therefore not in files. Every call returns fresh values:
// a rule belongs to one Schema.
func builtinRules() []ruleDef {
	rules := []ruleDef{
		// RFC 4517 section 4.2.
		equality("2.5.13.0", "objectIdentifierMatch", syn+"38", oidKey, oidAssertion),
		{oid: "2.5.13.1", name: "distinguishedNameMatch", syntax: syn + "12", MatchingRule: MatchingRule{ValueKey: dnKey, AssertionKey: dnKey, stable: true, nested: nestedDNKey}},
		textEquality("2.5.13.2", "caseIgnoreMatch", syn+"15", ignoreKey, ignoreKey, stringSyntaxes...),
		ordering("2.5.13.3", "caseIgnoreOrderingMatch", syn+"15", ignoreKey, stringSyntaxes...),
		substrings("2.5.13.4", "caseIgnoreSubstringsMatch", syn+"58", ignoreSub, stringSyntaxes...),
		textEquality("2.5.13.5", "caseExactMatch", syn+"15", exactKey, exactKey, stringSyntaxes...),
		ordering("2.5.13.6", "caseExactOrderingMatch", syn+"15", exactKey, stringSyntaxes...),
		substrings("2.5.13.7", "caseExactSubstringsMatch", syn+"58", exactSub, stringSyntaxes...),
		equality("2.5.13.8", "numericStringMatch", syn+"36", numericKey, numericKey),
		ordering("2.5.13.9", "numericStringOrderingMatch", syn+"36", numericKey),
		substrings("2.5.13.10", "numericStringSubstringsMatch", syn+"58", numericSub, syn+"36"),
		equality("2.5.13.11", "caseIgnoreListMatch", syn+"41", listKey, listKey),
		substrings("2.5.13.12", "caseIgnoreListSubstringsMatch", syn+"58", listSub, syn+"41"),
		equality("2.5.13.13", "booleanMatch", syn+"7", booleanKey, booleanKey),
		equality("2.5.13.14", "integerMatch", syn+"27", integerKey, integerKey),
		ordering("2.5.13.15", "integerOrderingMatch", syn+"27", integerOrder),
		equality("2.5.13.16", "bitStringMatch", syn+"6", bitStringKey, bitStringKey),
		equality("2.5.13.17", "octetStringMatch", syn+"40", octetKey, octetKey),
		ordering("2.5.13.18", "octetStringOrderingMatch", syn+"40", octetKey),
		substrings("2.5.13.19", "octetStringSubstringsMatch", syn+"40", octetSub),
		equality("2.5.13.20", "telephoneNumberMatch", syn+"50", telephoneKey, telephoneKey),
		substrings("2.5.13.21", "telephoneNumberSubstringsMatch", syn+"58", telephoneSub, syn+"50"),
		{oid: "2.5.13.23", name: "uniqueMemberMatch", syntax: syn + "34", MatchingRule: MatchingRule{ValueKey: uidNameKey, AssertionKey: uidNameKey, stable: true, nested: nestedUIDNameKey}},
		// X.520, for the syntax that RFC 4517 keeps and gives no rules.
		{oid: "2.5.13.25", name: "uTCTimeMatch", syntax: syn + "53", MatchingRule: MatchingRule{ValueKey: utcTimeKey, AssertionKey: utcTimeKey}},
		ordering("2.5.13.26", "uTCTimeOrderingMatch", syn+"53", utcTimeOrder),
		equality("2.5.13.27", "generalizedTimeMatch", syn+"24", timeKey, timeKey),
		ordering("2.5.13.28", "generalizedTimeOrderingMatch", syn+"24", timeOrder),
		firstComponent("2.5.13.29", "integerFirstComponentMatch", syn+"27", firstInteger, integerKey, syn+"17", syn+"27"),
		firstComponent("2.5.13.30", "objectIdentifierFirstComponentMatch", syn+"38", firstOID, oidAssertion, describedByOID...),
		// No syntax of RFC 4517 begins with a Directory String: the rule goes with the types that name it.
		firstComponent("2.5.13.31", "directoryStringFirstComponentMatch", syn+"15", firstString, ignoreKey, noSyntax...),
		assertion("2.5.13.32", "wordMatch", syn+"15", ignoreKey, wordKey, wordMatch, stringSyntaxes...),
		assertion("2.5.13.33", "keywordMatch", syn+"15", ignoreKey, keywordKey, keywordMatch, stringSyntaxes...),
		textEquality("1.3.6.1.4.1.1466.109.114.1", "caseExactIA5Match", syn+"26", exactIA5Key, exactIA5Key),
		textEquality("1.3.6.1.4.1.1466.109.114.2", "caseIgnoreIA5Match", syn+"26", ignoreIA5Key, ignoreIA5Key),
		substrings("1.3.6.1.4.1.1466.109.114.3", "caseIgnoreIA5SubstringsMatch", syn+"58", ignoreIA5Sub, syn+"26"),
		// RFC 2252 era and slapd: named by schemas in use.
		substrings("1.3.6.1.4.1.4203.1.2.1", "caseExactIA5SubstringsMatch", syn+"58", exactIA5Sub, syn+"26"),
		equality("2.5.13.22", "presentationAddressMatch", syn+"43", ignoreKey, ignoreKey),
		equality("2.5.13.24", "protocolInformationMatch", syn+"42", ignoreKey, ignoreKey),
		// RFC 4530.
		equality("1.3.6.1.1.16.2", "uuidMatch", "1.3.6.1.1.16.1", uuidKey, uuidKey),
		ordering("1.3.6.1.1.16.3", "uuidOrderingMatch", "1.3.6.1.1.16.1", uuidKey),
		// Change sequence numbers, as slapd has them.
		equality("1.3.6.1.4.1.4203.666.11.2.2", "CSNMatch", "1.3.6.1.4.1.4203.666.11.2.1", csnKey, csnKey),
		ordering("1.3.6.1.4.1.4203.666.11.2.3", "CSNOrderingMatch", "1.3.6.1.4.1.4203.666.11.2.1", csnKey),
		equality("1.3.6.1.4.1.4203.666.4.12", "authzMatch", "1.3.6.1.4.1.4203.666.2.7", exactKey, exactKey),
		// RFC 4523.
		assertion("2.5.13.34", "certificateExactMatch", x509Arc+"1", certificateKey, certificateAssertion, nil, syn+"8"),
		assertion("2.5.13.35", "certificateMatch", x509Arc+"2", octetKey, certificatePartsKey, certificateMatch, syn+"8"),
		assertion("2.5.13.36", "certificatePairExactMatch", x509Arc+"3", pairKey, pairAssertion, pairExactMatch, syn+"10"),
		assertion("2.5.13.37", "certificatePairMatch", x509Arc+"4", octetKey, pairPartsKey, certificatePairMatch, syn+"10"),
		assertion("2.5.13.38", "certificateListExactMatch", x509Arc+"5", listOfRevokedKey, listOfRevokedAssertion, listExactMatch, syn+"9"),
		assertion("2.5.13.39", "certificateListMatch", x509Arc+"6", octetKey, listPartsKey, certificateListMatch, syn+"9"),
		assertion("2.5.13.40", "algorithmIdentifierMatch", x509Arc+"7", algorithmKey, algorithmAssertion, nil, syn+"49"),
		// X.509 attribute certificates, with the OIDs that slapd gave to their syntaxes.
		assertion("2.5.13.45", "attributeCertificateExactMatch", pmiArc+"2", attributeCertKey, attributeCertAssertion, nil, pmiArc+"1"),
		// RFC 3112. authPasswordMatch, which compares a clear password, is left out: it would be a way to guess passwords
		// around the defences of a bind.
		equality("1.3.6.1.4.1.4203.1.2.2", "authPasswordExactMatch", "1.3.6.1.4.1.4203.1.1.2", authPasswordKey, authPasswordKey),
		// Active Directory.
		assertion("1.2.840.113556.1.4.803", "integerBitAndMatch", syn+"27", integerKey, bitsKey, bitAnd, integerSyntaxes...),
		assertion("1.2.840.113556.1.4.804", "integerBitOrMatch", syn+"27", integerKey, bitsKey, bitOr, integerSyntaxes...),
		{oid: "1.2.840.113556.1.4.1941", name: "distinguishedNameInChainMatch", syntax: syn + "12", MatchingRule: MatchingRule{ValueKey: dnKey, AssertionKey: dnKey, Transitive: true}},
	}
	return rules
}

// equality is a rule whose keys are text that is itself a value with the same key.
func equality(oid, name, syntax string, value, assertion keyFunc, applies ...string) ruleDef {
	return ruleDef{oid: oid, name: name, kind: EqualityRule, syntax: syntax, applies: applies,
		MatchingRule: MatchingRule{ValueKey: value, AssertionKey: assertion, stable: true}}
}

// textEquality is equality of text as such.
func textEquality(oid, name, syntax string, value, assertion keyFunc, applies ...string) ruleDef {
	d := equality(oid, name, syntax, value, assertion, applies...)
	d.text = true
	return d
}

func ordering(oid, name, syntax string, key keyFunc, applies ...string) ruleDef {
	return ruleDef{oid: oid, name: name, kind: OrderingRule, syntax: syntax, applies: applies,
		MatchingRule: MatchingRule{ValueKey: key, AssertionKey: key}}
}

// pieceFunc makes the key of a value or of a piece of a substring assertion.
type pieceFunc = func(dst, text []byte, at place) ([]byte, error)

var errSubstringAssertion = errors.New("a substrings rule takes pieces, not one assertion value; write it as (attribute=*piece*)")

func substrings(oid, name, syntax string, key pieceFunc, applies ...string) ruleDef {
	return ruleDef{oid: oid, name: name, kind: SubstringsRule, syntax: syntax, applies: applies, MatchingRule: MatchingRule{
		ValueKey: func(_ *Schema, dst, value []byte) ([]byte, error) { return key(dst, value, wholeValue) },
		SubstringKey: func(_ *Schema, dst, piece []byte, kind uint8) ([]byte, error) {
			return key(dst, piece, place(kind))
		},
		AssertionKey: func(_ *Schema, dst, _ []byte) ([]byte, error) { return dst, errSubstringAssertion },
	}}
}

// firstComponent is an equality rule between a description and its first component.
func firstComponent(oid, name, syntax string, value, assertion keyFunc, applies ...string) ruleDef {
	return ruleDef{oid: oid, name: name, syntax: syntax, applies: applies, MatchingRule: MatchingRule{ValueKey: value, AssertionKey: assertion}}
}

// assertion is an equality rule with an assertion syntax of its own, and a comparison of its own where match is not nil.
func assertion(oid, name, syntax string, value, assertion keyFunc, match func(*Schema, []byte, []byte) (bool, error), applies ...string) ruleDef {
	d := firstComponent(oid, name, syntax, value, assertion, applies...)
	d.Match = match
	return d
}

// addBuiltins puts the syntaxes and matching rules of the program into a Schema.
func (s *Schema) addBuiltins() {
	defs := builtinSyntaxes()
	for i := range defs {
		d := &defs[i]
		y := &Syntax{Common: Common{OID: d.oid, Desc: d.desc, Origin: "built in"}, Check: d.check, Binary: d.flags&octets != 0, TransferBinary: d.flags&transfer != 0}
		if y.Binary {
			y.Extensions = append(y.Extensions, Extension{Name: "X-NOT-HUMAN-READABLE", Values: []string{"TRUE"}})
		}
		if y.TransferBinary {
			y.Extensions = append(y.Extensions, Extension{Name: "X-BINARY-TRANSFER-REQUIRED", Values: []string{"TRUE"}})
		}
		s.syntaxes[y.OID] = y
		s.syntaxList = append(s.syntaxList, y)
	}
	rules := builtinRules()
	slices.SortStableFunc(rules, func(a, b ruleDef) int { return compareOIDs(a.oid, b.oid) })
	for i := range rules {
		d := &rules[i]
		r := &d.MatchingRule
		r.Common = Common{OID: d.oid, Names: []string{d.name}, Origin: "built in"}
		r.Kind, r.Syntax, r.applies = d.kind, s.syntaxes[d.syntax], d.applies
		s.rules[r.OID] = r
		s.rules[strings.ToLower(d.name)] = r
		s.ruleList = append(s.ruleList, r)
	}
	for _, name := range sameKeys {
		s.rules[strings.ToLower(name+"Match")].Ordered = s.rules[strings.ToLower(name+"OrderingMatch")]
	}
}

// sameKeys are the equality rules, without "Match", whose ordering rules make the same keys.
var sameKeys = []string{"caseIgnore", "caseExact", "numericString", "octetString", "uuid", "CSN"}

// compareOIDs orders numeric OIDs arc by arc.
func compareOIDs(a, b string) int {
	for a != "" && b != "" {
		var x, y string
		x, a, _ = strings.Cut(a, ".")
		y, b, _ = strings.Cut(b, ".")
		if x != y {
			if len(x) != len(y) {
				return len(x) - len(y)
			}
			return strings.Compare(x, y)
		}
	}
	return len(a) - len(b)
}
