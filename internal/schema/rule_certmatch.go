package schema

import (
	"bytes"
	"errors"
	"slices"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// certificateMatch, certificatePairMatch and certificateListMatch (RFC 4523 sections 3.2, 3.4 and 3.6; X.509 clauses
// 11.3.2, 11.3.4 and 11.3.6): an assertion names some of the parts of a value, and all that it names must agree. They
// read the value each time and are served by no index.

var (
	errCertificateParts = errors.New(`the assertion is written { part value, ... } with the parts of RFC 4523 appendix A.2, such as { subject rdnSequence:"CN=name", keyUsage { keyCertSign } }`)
	errPairParts        = errors.New(`the assertion is written { issuedToThisCAAssertion { part value, ... } } with the parts of RFC 4523 appendix A.2`)
	errListParts        = errors.New(`the assertion is written { part value, ... } with the parts of RFC 4523 appendix A.6, such as { issuer rdnSequence:"CN=name", minCRLNumber 7 }`)
)

// keyUsages and reasonFlags are the names of the bits, in order.
var (
	keyUsages = []string{"digitalSignature", "nonRepudiation", "keyEncipherment", "dataEncipherment", "keyAgreement",
		"keyCertSign", "cRLSign", "encipherOnly", "decipherOnly"}
	reasonFlags = []string{"unused", "keyCompromise", "cACompromise", "affiliationChanged", "superseded", "cessationOfOperation",
		"certificateHold", "privilegeWithdrawn", "aACompromise"}
)

// A certTest is one part of an assertion, ready to be asked about a certificate.
type certTest = func(s *Schema, c *certificate) bool

// certificateTests reads a CertificateAssertion (RFC 4523 appendix A.2).
func certificateTests(s *Schema, v []byte) ([]certTest, bool) {
	fields, ok := gserFields(v)
	if !ok {
		return nil, false
	}
	var tests []certTest
	for name, value := range fields {
		test, ok := certificatePart(s, name, value)
		if !ok {
			return nil, false
		}
		tests = append(tests, test)
	}
	return tests, true
}

// certificatePart makes the test of one part.
func certificatePart(s *Schema, name string, v []byte) (certTest, bool) {
	switch name {
	case "serialnumber":
		n, ok := gserInteger(v)
		return func(_ *Schema, c *certificate) bool { return c.serial.String() == n }, ok
	case "issuer", "subject":
		want, ok := s.gserName(v)
		return func(s *Schema, c *certificate) bool {
			of := c.issuer
			if name == "subject" {
				of = c.subject
			}
			have, ok := s.normName(of)
			return ok && have == want
		}, ok
	case "subjectkeyidentifier":
		want, ok := gserOctets(v)
		return func(_ *Schema, c *certificate) bool {
			in, ok := c.extensions.find(extSubjectKeyID)
			var id cryptobyte.String
			return ok && in.ReadASN1(&id, asn1.OCTET_STRING) && bytes.Equal(id, want)
		}, ok
	case "authoritykeyidentifier":
		want, ok := s.gserAuthorityKey(v)
		return func(s *Schema, c *certificate) bool { return want.in(s, c.extensions) }, ok
	case "certificatevalid":
		var at instant
		ok := gserTime(v, &at)
		return func(_ *Schema, c *certificate) bool { return c.validAt(at) }, ok
	case "privatekeyvalid":
		var at instant
		ok := len(v) > 0 && v[0] == '"' && gserTime(v, &at)
		return func(_ *Schema, c *certificate) bool { return c.privateKeyValidAt(at) }, ok
	case "subjectpublickeyalgid":
		oid := string(v)
		return func(_ *Schema, c *certificate) bool { return c.publicKeyAlg == oid }, validOID(v)
	case "keyusage":
		want, ok := gserBits(v, keyUsages)
		return func(_ *Schema, c *certificate) bool { return c.mayBeUsed(want) }, ok
	case "subjectaltname":
		return altNamePart(v)
	case "policy":
		return policyPart(v)
	case "pathtoname":
		want, ok := s.gserName(v)
		return func(s *Schema, c *certificate) bool {
			limits, ok := c.constraints(s)
			return ok && (limits == nil || limits.allow(generalName{"directoryName", want}))
		}, ok
	case "nameconstraints":
		want, ok := s.gserNameConstraints(v)
		return func(s *Schema, c *certificate) bool {
			names, ok := c.subjectNames(s)
			return ok && !slices.ContainsFunc(names, func(n generalName) bool { return !want.allow(n) })
		}, ok
	}
	return nil, false
}

// altNamePart asks for a subject alternative name of a form.
func altNamePart(v []byte) (certTest, bool) {
	kind, form, ok := bytes.Cut(v, []byte{':'})
	want := string(bytes.TrimLeft(form, " "))
	switch {
	case !ok:
		return nil, false
	case strings.EqualFold(string(kind), "otherNameForm"):
		if !validOID(want) {
			return nil, false
		}
		return func(s *Schema, c *certificate) bool {
			return c.hasAltName(s, func(n generalName) bool { return n.form == "otherName" && strings.HasPrefix(n.text, want+":") })
		}, true
	case strings.EqualFold(string(kind), "builtinNameForm"):
		// The grammar writes registeredId here and registeredID elsewhere.
		known := want != "otherName" && slices.ContainsFunc(generalNameForms[:], func(f string) bool { return strings.EqualFold(f, want) })
		return func(s *Schema, c *certificate) bool {
			return c.hasAltName(s, func(n generalName) bool { return strings.EqualFold(n.form, want) })
		}, known
	}
	return nil, false
}

// policyPart asks for one of several policies.
func policyPart(v []byte) (certTest, bool) {
	list, ok := gserList(v)
	if !ok || len(list) == 0 {
		return nil, false
	}
	want := make([]string, len(list))
	for i, e := range list {
		if want[i] = string(e); !validOID(e) {
			return nil, false
		}
	}
	return func(_ *Schema, c *certificate) bool {
		in, ok := c.extensions.find(extPolicies)
		var policies, one cryptobyte.String
		if !ok || !in.ReadASN1(&policies, asn1.SEQUENCE) {
			return false
		}
		if slices.Contains(want, anyPolicy) {
			return true
		}
		for !policies.Empty() {
			var oid encodedOID
			if !policies.ReadASN1(&one, asn1.SEQUENCE) || !oid.read(&one) {
				return false
			}
			if oid.text == anyPolicy || slices.Contains(want, oid.text) {
				return true
			}
		}
		return false
	}, true
}

func (c *certificate) validAt(at instant) bool {
	var from, to instant
	in := c.validity
	return readTime(&in, &from) && readTime(&in, &to) && from.compare(at) <= 0 && at.compare(to) <= 0
}

// privateKeyValidAt looks at the private key usage period; a certificate without one sets no bound.
func (c *certificate) privateKeyValidAt(at instant) bool {
	in, ok := c.extensions.find(extPrivateKeyPeriod)
	if !ok {
		return true
	}
	var seq cryptobyte.String
	if !in.ReadASN1(&seq, asn1.SEQUENCE) {
		return false
	}
	for i := range 2 {
		var text cryptobyte.String
		var present bool
		if !seq.ReadOptionalASN1(&text, &present, plainTag(uint8(i))) {
			return false
		}
		var bound instant
		if present && (!parseTime(text, false, &bound) || i == 0 && at.compare(bound) < 0 || i == 1 && at.compare(bound) > 0) {
			return false
		}
	}
	return true
}

// mayBeUsed reports whether all the usages are set; a certificate without the extension has them all.
func (c *certificate) mayBeUsed(want bitSet) bool {
	in, ok := c.extensions.find(extKeyUsage)
	if !ok {
		return true
	}
	var body cryptobyte.String
	if !in.ReadASN1(&body, asn1.BIT_STRING) {
		return false
	}
	have, ok := readBits(body)
	return ok && want.within(have)
}

func (c *certificate) altNames(s *Schema) ([]generalName, bool) {
	in, ok := c.extensions.find(extSubjectAltName)
	if !ok {
		return nil, true
	}
	var names cryptobyte.String
	if !in.ReadASN1(&names, asn1.SEQUENCE) {
		return nil, false
	}
	return s.readGeneralNames(names)
}

func (c *certificate) hasAltName(s *Schema, of func(generalName) bool) bool {
	names, ok := c.altNames(s)
	return ok && slices.ContainsFunc(names, of)
}

// subjectNames are the subject, if it is not empty, and its alternative names.
func (c *certificate) subjectNames(s *Schema) ([]generalName, bool) {
	names, ok := c.altNames(s)
	subject, ok2 := s.normName(c.subject)
	if subject != "" {
		names = append(names, generalName{"directoryName", subject})
	}
	return names, ok && ok2
}

// constraints reads the name constraints; nil where there are none.
func (c *certificate) constraints(s *Schema) (*nameConstraints, bool) {
	in, ok := c.extensions.find(extNameConstraints)
	if !ok {
		return nil, true
	}
	return s.readNameConstraints(in)
}

func certificateMatch(s *Schema, value, assertion []byte) (bool, error) {
	tests, ok := certificateTests(s, assertion)
	if !ok {
		return false, errCertificateParts
	}
	return passes(s, value, tests)
}

func passes(s *Schema, value []byte, tests []certTest) (bool, error) {
	var c certificate
	if !c.read(value) {
		return false, errCertificate
	}
	return !slices.ContainsFunc(tests, func(t certTest) bool { return !t(s, &c) }), nil
}

// certificatePairMatch asks both halves of a pair, as far as the assertion names them.
func certificatePairMatch(s *Schema, value, assertion []byte) (bool, error) {
	wantTo, wantBy, ok := pairHalves(assertion)
	if !ok {
		return false, errPairParts
	}
	to, by, ok := splitPair(value)
	if !ok {
		return false, errCertificatePair
	}
	all := true
	for _, half := range [2]struct{ value, want []byte }{{to, wantTo}, {by, wantBy}} {
		if half.want == nil {
			continue
		}
		tests, ok := certificateTests(s, half.want)
		if !ok {
			return false, errPairParts
		}
		match := false
		if half.value != nil {
			var err error
			if match, err = passes(s, half.value, tests); err != nil {
				return false, err
			}
		}
		all = all && match
	}
	return all, nil
}

// A listTest is one part of a CertificateListAssertion.
type listTest = func(s *Schema, l *revocationList) bool

// listTests reads a CertificateListAssertion (RFC 4523 appendix A.6).
func listTests(s *Schema, v []byte) ([]listTest, bool) {
	fields, ok := gserFields(v)
	if !ok {
		return nil, false
	}
	var tests []listTest
	for name, value := range fields {
		test, ok := listPart(s, name, value)
		if !ok {
			return nil, false
		}
		tests = append(tests, test)
	}
	return tests, true
}

func listPart(s *Schema, name string, v []byte) (listTest, bool) {
	switch name {
	case "issuer":
		want, ok := s.gserName(v)
		return func(s *Schema, l *revocationList) bool {
			have, ok := s.normName(l.issuer)
			return ok && have == want
		}, ok
	case "mincrlnumber", "maxcrlnumber":
		bound, err := integerOrder(nil, nil, v)
		return func(_ *Schema, l *revocationList) bool {
			number, ok := l.number()
			if !ok {
				return false
			}
			c := bytes.Compare(number, bound)
			return c == 0 || (c > 0) == (name == "mincrlnumber")
		}, err == nil && v[0] != '-'
	case "reasonflags":
		want, ok := gserBits(v, reasonFlags)
		return func(s *Schema, l *revocationList) bool {
			dist, ok := s.readDistribution(l.extensions)
			return ok && (dist == nil || dist.reasons == nil || want.meets(dist.reasons))
		}, ok
	case "dateandtime":
		var at instant
		ok := gserTime(v, &at)
		return func(_ *Schema, l *revocationList) bool {
			return l.hasNext && l.thisUpdate.compare(at) <= 0 && at.compare(l.nextUpdate) < 0
		}, ok
	case "distributionpoint":
		want, ok := s.gserDistributionPoint(v)
		return func(s *Schema, l *revocationList) bool {
			dist, ok := s.readDistribution(l.extensions)
			return ok && dist != nil && want.meets(dist.point)
		}, ok
	case "authoritykeyidentifier":
		want, ok := s.gserAuthorityKey(v)
		return func(s *Schema, l *revocationList) bool { return want.in(s, l.extensions) }, ok
	}
	return nil, false
}

// number is the CRL number as a key that sorts.
func (l *revocationList) number() ([]byte, bool) {
	in, ok := l.extensions.find(extCRLNumber)
	var body cryptobyte.String
	if !ok || !in.ReadASN1(&body, asn1.INTEGER) {
		return nil, false
	}
	text, ok := derInteger(body)
	if !ok {
		return nil, false
	}
	key, err := integerOrder(nil, nil, []byte(text))
	return key, err == nil
}

func certificateListMatch(s *Schema, value, assertion []byte) (bool, error) {
	tests, ok := listTests(s, assertion)
	if !ok {
		return false, errListParts
	}
	var l revocationList
	if !l.read(value) {
		return false, errCertificateList
	}
	return !slices.ContainsFunc(tests, func(t listTest) bool { return !t(s, &l) }), nil
}

// The keys of these rules are the assertions and values themselves: they are made to find out whether they are any.

func certificatePartsKey(s *Schema, dst, v []byte) ([]byte, error) {
	if _, ok := certificateTests(s, v); !ok {
		return dst, errCertificateParts
	}
	return append(dst, v...), nil
}

func pairPartsKey(s *Schema, dst, v []byte) ([]byte, error) {
	to, by, ok := pairHalves(v)
	for _, half := range [2][]byte{to, by} {
		if half != nil && ok {
			_, ok = certificateTests(s, half)
		}
	}
	if !ok {
		return dst, errPairParts
	}
	return append(dst, v...), nil
}

func listPartsKey(s *Schema, dst, v []byte) ([]byte, error) {
	if _, ok := listTests(s, v); !ok {
		return dst, errListParts
	}
	return append(dst, v...), nil
}
