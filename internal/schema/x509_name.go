package schema

import (
	"bytes"
	"encoding/hex"
	"math/big"
	"slices"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"portolan/ldap"
)

// A generalName is a GeneralName in a form in which equal names are equal text (RFC 5280 section 4.2.1.6).
type generalName struct {
	form string // as GSER writes it: rfc822Name, dNSName, ...
	text string
}

// Forms of general names, by their tag.
var generalNameForms = [...]string{"otherName", "rfc822Name", "dNSName", "x400Address", "directoryName", "ediPartyName",
	"uniformResourceIdentifier", "iPAddress", "registeredID"}

// readGeneralName takes the next name.
func (s *Schema) readGeneralName(in *cryptobyte.String) (generalName, bool) {
	var body cryptobyte.String
	var tag asn1.Tag
	if !in.ReadAnyASN1(&body, &tag) {
		return generalName{}, false
	}
	n := int(tag & 0x1f)
	if tag&0xc0 != 0x80 || n >= len(generalNameForms) {
		return generalName{}, false
	}
	name := generalName{form: generalNameForms[n], text: hex.EncodeToString(body)}
	ok := true
	switch n {
	case 0: // otherName: its type and value as they are encoded
		var id encodedOID
		rest := body
		if ok = id.read(&rest); ok {
			name.text = id.text + ":" + hex.EncodeToString(rest)
		}
	case 1, 2, 6:
		name.text = foldGeneralName(name.form, string(body))
	case 4:
		var rdns cryptobyte.String
		if ok = body.ReadASN1(&rdns, asn1.SEQUENCE) && body.Empty(); ok {
			name.text, ok = s.normName(rdns)
		}
	case 8:
		var id encodedOID
		ok = id.decode(body)
		name.text = id.text
	}
	return name, ok
}

// readGeneralNames reads the content of GeneralNames.
func (s *Schema) readGeneralNames(in cryptobyte.String) ([]generalName, bool) {
	var out []generalName
	for !in.Empty() {
		name, ok := s.readGeneralName(&in)
		if !ok {
			return nil, false
		}
		out = append(out, name)
	}
	return out, true
}

// foldGeneralName lowers what does not depend on case: host names.
func foldGeneralName(form, text string) string {
	switch form {
	case "dNSName":
		return strings.ToLower(text)
	case "rfc822Name":
		if i := strings.LastIndexByte(text, '@'); i >= 0 {
			return text[:i] + strings.ToLower(text[i:])
		}
		return strings.ToLower(text)
	}
	return text
}

// gserGeneralName reads a GeneralName in GSER (RFC 4523 appendix A.2). otherName, x400Address and ediPartyName, whose
// values have no single form in GSER, are not read: an assertion that has one is Undefined.
func (s *Schema) gserGeneralName(v []byte) (generalName, bool) {
	kind, value, ok := bytes.Cut(v, []byte{':'})
	if !ok {
		return generalName{}, false
	}
	value = bytes.TrimLeft(value, " ")
	i := slices.IndexFunc(generalNameForms[:], func(f string) bool { return strings.EqualFold(f, string(kind)) })
	if i < 0 {
		return generalName{}, false
	}
	name := generalName{form: generalNameForms[i]}
	switch i {
	case 1, 2, 6:
		text := gserString(value)
		name.text = foldGeneralName(name.form, string(text))
		ok = text != nil && isASCII(text)
	case 4:
		name.text, ok = s.gserName(value)
	case 7:
		var octets []byte
		octets, ok = gserOctets(value)
		name.text = hex.EncodeToString(octets)
	case 8:
		name.text, ok = string(value), validOID(value)
	default:
		ok = false
	}
	return name, ok
}

// gserGeneralNames reads "{ name, name }".
func (s *Schema) gserGeneralNames(v []byte) ([]generalName, bool) {
	list, ok := gserList(v)
	if !ok || len(list) == 0 {
		return nil, false
	}
	out := make([]generalName, len(list))
	for i, e := range list {
		if out[i], ok = s.gserGeneralName(e); !ok {
			return nil, false
		}
	}
	return out, true
}

// gserName reads a Name, rdnSequence:"...", into its normalised form. The choice may be left out, as older clients do.
func (s *Schema) gserName(v []byte) (string, bool) {
	text := nameChoice(v)
	if text == nil {
		return "", false
	}
	norm, err := s.NormalizeDN(nil, text)
	return string(norm), err == nil
}

// sameNames reports whether two lists have the same names, in any order.
func sameNames(a, b []generalName) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(n generalName) bool { return !slices.Contains(b, n) }) &&
		!slices.ContainsFunc(b, func(n generalName) bool { return !slices.Contains(a, n) })
}

// A nameSubtree is one GeneralSubtree of name constraints (RFC 5280 section 4.2.1.10).
type nameSubtree struct {
	base     generalName
	min, max int // RDNs below a directoryName; max is -1 where there is no bound
}

// contains reports whether a name of the same form is in the subtree.
func (t *nameSubtree) contains(n generalName) bool {
	base := t.base.text
	switch n.form {
	case "directoryName":
		if !DNUnder([]byte(n.text), []byte(base)) {
			return false
		}
		below := rdnsOf(n.text) - rdnsOf(base)
		return below >= t.min && (t.max < 0 || below <= t.max)
	case "dNSName":
		return underHost(n.text, base)
	case "rfc822Name":
		_, host, _ := strings.Cut(n.text, "@")
		switch {
		case strings.Contains(base, "@"): // one mailbox
			return n.text == base
		case strings.HasPrefix(base, "."): // all hosts of a domain
			return strings.HasSuffix(host, base)
		}
		return host == base // all mailboxes of a host
	case "uniformResourceIdentifier":
		host := uriHost(n.text)
		base = strings.ToLower(base)
		if strings.HasPrefix(base, ".") {
			return strings.HasSuffix(host, base)
		}
		return host == base
	case "iPAddress":
		return underNetwork(n.text, base)
	}
	return n.text == base
}

func rdnsOf(norm string) int {
	if norm == "" {
		return 0
	}
	return 1 + strings.Count(norm, ",")
}

// underHost reports whether a host name is base or has labels before it.
func underHost(host, base string) bool {
	base = strings.TrimPrefix(base, ".")
	return base == "" || host == base || strings.HasSuffix(host, "."+base)
}

func uriHost(uri string) string {
	_, rest, _ := strings.Cut(uri, "://")
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		rest = rest[:i]
	}
	rest = rest[strings.LastIndexByte(rest, '@')+1:]
	if host, _, ok := strings.Cut(rest, ":"); ok && !strings.HasPrefix(rest, "[") {
		rest = host
	}
	return strings.ToLower(rest)
}

// underNetwork compares an address in hexadecimal with an address and its mask.
func underNetwork(address, network string) bool {
	a, err1 := hex.DecodeString(address)
	n, err2 := hex.DecodeString(network)
	if err1 != nil || err2 != nil || len(n) != 2*len(a) {
		return false
	}
	for i, c := range a {
		if mask := n[len(a)+i]; c&mask != n[i]&mask {
			return false
		}
	}
	return true
}

// nameConstraints are the permitted and excluded subtrees of a certificate or an assertion.
type nameConstraints struct{ permitted, excluded []nameSubtree }

// allow reports whether a name is within the constraints: in one of the permitted subtrees of its form, if there are
// any of that form, and in none of the excluded.
func (c *nameConstraints) allow(n generalName) bool {
	in := func(list []nameSubtree) (of, found bool) {
		for i := range list {
			if list[i].base.form == n.form {
				of = true
				found = found || list[i].contains(n)
			}
		}
		return of, found
	}
	of, found := in(c.permitted)
	if of && !found {
		return false
	}
	_, found = in(c.excluded)
	return !found
}

// readNameConstraints reads the extension.
func (s *Schema) readNameConstraints(in cryptobyte.String) (*nameConstraints, bool) {
	var seq cryptobyte.String
	if !in.ReadASN1(&seq, asn1.SEQUENCE) || !in.Empty() {
		return nil, false
	}
	out := &nameConstraints{}
	for i, list := range []*[]nameSubtree{&out.permitted, &out.excluded} {
		var trees cryptobyte.String
		var present bool
		if !seq.ReadOptionalASN1(&trees, &present, structTag(uint8(i))) {
			return nil, false
		}
		for !trees.Empty() {
			var one cryptobyte.String
			if !trees.ReadASN1(&one, asn1.SEQUENCE) {
				return nil, false
			}
			tree := nameSubtree{max: -1}
			var ok bool
			if tree.base, ok = s.readGeneralName(&one); !ok || !readDistance(&one, 0, &tree.min) || !readDistance(&one, 1, &tree.max) {
				return nil, false
			}
			*list = append(*list, tree)
		}
	}
	return out, seq.Empty()
}

// readDistance reads an implicitly tagged BaseDistance, if it is there.
func readDistance(in *cryptobyte.String, tag uint8, to *int) bool {
	var body cryptobyte.String
	var present bool
	if !in.ReadOptionalASN1(&body, &present, plainTag(tag)) || len(body) > 4 || present && (len(body) == 0 || body[0]&0x80 != 0) {
		return false
	}
	if present {
		*to = 0
		for _, c := range body {
			*to = *to<<8 | int(c)
		}
	}
	return true
}

// gserNameConstraints reads NameConstraintsSyntax in GSER.
func (s *Schema) gserNameConstraints(v []byte) (*nameConstraints, bool) {
	fields, ok := gserFields(v)
	if !ok {
		return nil, false
	}
	out := &nameConstraints{}
	for name, value := range fields {
		to := &out.permitted
		switch name {
		case "permittedsubtrees":
		case "excludedsubtrees":
			to = &out.excluded
		default:
			return nil, false
		}
		list, ok := gserList(value)
		if !ok || len(list) == 0 {
			return nil, false
		}
		for _, e := range list {
			tree, ok := s.gserSubtree(e)
			if !ok {
				return nil, false
			}
			*to = append(*to, tree)
		}
	}
	return out, true
}

func (s *Schema) gserSubtree(v []byte) (nameSubtree, bool) {
	tree := nameSubtree{max: -1}
	fields, ok := gserFields(v)
	if !ok || fields["base"] == nil {
		return tree, false
	}
	for name, value := range fields {
		switch name {
		case "base":
			tree.base, ok = s.gserGeneralName(value)
		case "minimum":
			tree.min, ok = distance(value)
		case "maximum":
			tree.max, ok = distance(value)
		default:
			ok = false
		}
		if !ok {
			return tree, false
		}
	}
	return tree, true
}

// An authorityKey is an AuthorityKeyIdentifier; what is absent is nil or empty.
type authorityKey struct {
	id     []byte
	issuer []generalName
	serial string
}

// readAuthorityKey reads the extension.
func (s *Schema) readAuthorityKey(in cryptobyte.String) (*authorityKey, bool) {
	var seq, id, issuer, serial cryptobyte.String
	var hasID, hasIssuer, hasSerial bool
	if !in.ReadASN1(&seq, asn1.SEQUENCE) || !in.Empty() || !seq.ReadOptionalASN1(&id, &hasID, plainTag(0)) ||
		!seq.ReadOptionalASN1(&issuer, &hasIssuer, structTag(1)) || !seq.ReadOptionalASN1(&serial, &hasSerial, plainTag(2)) || !seq.Empty() {
		return nil, false
	}
	out := &authorityKey{}
	if hasID {
		out.id = append([]byte{}, id...)
	}
	ok := true
	if hasIssuer {
		out.issuer, ok = s.readGeneralNames(issuer)
	}
	if hasSerial {
		out.serial, ok = derInteger(serial)
	}
	return out, ok
}

// derInteger writes the content of an INTEGER in decimal.
func derInteger(body []byte) (string, bool) {
	if len(body) == 0 || len(body) > maxSerialBits/8 {
		return "", false
	}
	whole := cryptobyte.String(append([]byte{byte(asn1.INTEGER), byte(len(body))}, body...))
	n := new(big.Int)
	if !whole.ReadASN1Integer(n) {
		return "", false
	}
	return n.String(), true
}

// gserAuthorityKey reads one in GSER.
func (s *Schema) gserAuthorityKey(v []byte) (*authorityKey, bool) {
	fields, ok := gserFields(v)
	if !ok {
		return nil, false
	}
	out := &authorityKey{}
	for name, value := range fields {
		switch name {
		case "keyidentifier":
			out.id, ok = gserOctets(value)
		case "authoritycertissuer":
			out.issuer, ok = s.gserGeneralNames(value)
		case "authoritycertserialnumber":
			out.serial, ok = gserInteger(value)
		default:
			ok = false
		}
		if !ok {
			return nil, false
		}
	}
	return out, true
}

// in reports whether the extension of a value has all that is in the assertion, and the same.
func (want *authorityKey) in(s *Schema, ext extensions) bool {
	value, ok := ext.find(extAuthorityKeyID)
	if !ok {
		return false
	}
	have, ok := s.readAuthorityKey(value)
	return ok && (want.id == nil || have.id != nil && bytes.Equal(want.id, have.id)) &&
		(want.issuer == nil || have.issuer != nil && sameNames(want.issuer, have.issuer)) &&
		(want.serial == "" || want.serial == have.serial)
}

// A distributionPoint is a DistributionPointName: full names, or an RDN in normalised form.
type distributionPoint struct {
	full     []generalName
	relative string
}

// readDistributionPoint reads the content of the explicitly tagged choice.
func (s *Schema) readDistributionPoint(in cryptobyte.String) (*distributionPoint, bool) {
	var full, relative cryptobyte.String
	var isFull, isRelative bool
	if !in.ReadOptionalASN1(&full, &isFull, structTag(0)) || !in.ReadOptionalASN1(&relative, &isRelative, structTag(1)) || !in.Empty() || isFull == isRelative {
		return nil, false
	}
	out := &distributionPoint{}
	var ok bool
	if isFull {
		out.full, ok = s.readGeneralNames(full)
	} else {
		var rdn ldap.RDN
		rdn, ok = readRDN(relative)
		out.relative = string(s.NormalizeRDN(nil, rdn))
	}
	return out, ok
}

// gserDistributionPoint reads one in GSER.
func (s *Schema) gserDistributionPoint(v []byte) (*distributionPoint, bool) {
	kind, value, ok := bytes.Cut(v, []byte{':'})
	if !ok {
		return nil, false
	}
	value = bytes.TrimLeft(value, " ")
	out := &distributionPoint{}
	switch strings.ToLower(string(kind)) {
	case "fullname":
		out.full, ok = s.gserGeneralNames(value)
		return out, ok
	case "namerelativetocrlissuer":
		rdn, err := ldap.ParseRDN(string(gserString(value)))
		out.relative = string(s.NormalizeRDN(nil, rdn))
		return out, err == nil
	}
	return nil, false
}

// meets reports whether the two have a name in common.
func (want *distributionPoint) meets(have *distributionPoint) bool {
	if have == nil {
		return false
	}
	return want.relative != "" && want.relative == have.relative ||
		slices.ContainsFunc(want.full, func(n generalName) bool { return slices.Contains(have.full, n) })
}

// issuingDistribution is the issuing distribution point extension of a list, as far as rules ask for it.
type issuingDistribution struct {
	point   *distributionPoint
	reasons bitSet // nil: all
}

// readDistribution reads the extension; absent is nil.
func (s *Schema) readDistribution(ext extensions) (*issuingDistribution, bool) {
	in, ok := ext.find(extDistribution)
	if !ok {
		return nil, true
	}
	var seq, point, reasons cryptobyte.String
	var hasPoint, hasReasons bool
	if !in.ReadASN1(&seq, asn1.SEQUENCE) || !seq.ReadOptionalASN1(&point, &hasPoint, structTag(0)) ||
		!seq.SkipOptionalASN1(plainTag(1)) || !seq.SkipOptionalASN1(plainTag(2)) || !seq.ReadOptionalASN1(&reasons, &hasReasons, plainTag(3)) {
		return nil, false
	}
	out := &issuingDistribution{}
	if hasPoint {
		if out.point, ok = s.readDistributionPoint(point); !ok {
			return nil, false
		}
	}
	if hasReasons {
		if out.reasons, ok = readBits(reasons); !ok {
			return nil, false
		}
	}
	return out, true
}
