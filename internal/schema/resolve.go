package schema

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// maxChain bounds the length of a chain of supertypes or superclasses.
const maxChain = 100

// resolve turns the collected definitions into the Schema's own.
func (b *builder) resolve() error {
	each := func(kind string, do func(*rawDefinition) error) error {
		for _, d := range b.raw {
			if d.kind == kind {
				if err := do(d); err != nil {
					return err
				}
			}
		}
		return nil
	}
	for _, step := range []func() error{
		func() error { return each("ldapsyntaxes", b.syntax) },
		func() error { return each("matchingrules", b.matchingRule) },
		func() error { return each("attributetypes", b.declareType) },
		func() error { return each("attributetypes", b.linkType) },
		b.orderTypes,
		func() error { return each("objectclasses", b.declareClass) },
		b.compareAgain,
		func() error { return each("objectclasses", b.linkClass) },
		b.orderClasses,
		func() error { return each("ditcontentrules", b.contentRule) },
		func() error { return each("nameforms", b.nameForm) },
		func() error { return each("ditstructurerules", b.structureRule) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	for _, t := range b.attrList {
		for u := t; u != nil; u = u.Sup {
			u.subtypes = append(u.subtypes, t)
		}
	}
	for _, r := range b.structRules {
		for _, sup := range r.Sup {
			if !slices.ContainsFunc(b.structRules, func(q *StructureRule) bool { return q.ID == sup }) {
				return fmt.Errorf("%s: DIT structure rule %d names rule %d in SUP, which nothing defines", r.Origin, r.ID, sup)
			}
		}
	}
	return nil
}

// compareAgain checks that what is defined twice is the same both times.
func (b *builder) compareAgain() error {
	for _, pair := range b.again {
		old, d := pair[0], pair[1]
		term := b.difference(old, d)
		if term != "" && !b.yield(old, d) {
			return fmt.Errorf("%s: %s has the OID of %s at %s, but another %s; remove one of the two, or give this one an OID and a name of its own", d.Origin, d.what(), old.what(), old.Origin, term)
		}
	}
	return nil
}

// lessTerms are the terms that a repeated definition may lack: schemas that came before an RFC's last revision say less
// and mean the same thing. Nothing that was valid under them is invalid without.
var lessTerms = []string{"EQUALITY", "ORDERING", "SUBSTR", "USAGE", "NO-USER-MODIFICATION", "MAY"}

// difference returns the term in which a definition differs from an earlier one of the same OID, or "". Descriptions,
// extensions, length bounds and the order of lists make no difference.
func (b *builder) difference(old, d *rawDefinition) string {
	low := func(names []string) []string {
		out := make([]string, len(names))
		for i, n := range names {
			out[i] = strings.ToLower(n)
		}
		return out
	}
	have := low(old.Names)
	for _, n := range low(d.Names) {
		if !slices.Contains(have, n) && d.kind != "ldapsyntaxes" { // RFC 4512 gives syntaxes no names, some files do
			return "NAME"
		}
	}
	if old.Obsolete != d.Obsolete {
		return "OBSOLETE"
	}
	for _, term := range slices.Sorted(maps.Keys(termForms[d.kind])) {
		was, is := b.refs(d.kind, term, old), b.refs(d.kind, term, d)
		less := slices.Contains(lessTerms, term)
		for _, r := range is {
			if !slices.Contains(was, r) {
				return term
			}
		}
		if len(was) != len(is) && !less {
			return term
		}
	}
	return ""
}

// refs returns the values of a term in a form that can be compared: names as OIDs, defaults left out.
func (b *builder) refs(kind, term string, d *rawDefinition) []string {
	values, present := d.terms[term]
	if !present {
		if sup := b.attrs[strings.ToLower(d.one("SUP"))]; kind == "attributetypes" && term == "SYNTAX" && sup != nil {
			return []string{sup.Syntax.OID} // inherited
		}
		return nil
	}
	switch {
	case term == "STRUCTURAL":
		return nil
	case len(values) == 0:
		return []string{term} // a flag
	}
	var out []string
	for _, v := range values {
		v = strings.ToLower(v)
		var oid string
		switch {
		case term == "SYNTAX":
			oid, _, _ = strings.Cut(v, "{")
		case term == "USAGE" && v == "userapplications":
			continue
		case b.rules[v] != nil && (term == "EQUALITY" || term == "ORDERING" || term == "SUBSTR"):
			oid = b.rules[v].OID
		case b.classes[v] != nil && (kind == "objectclasses" && term == "SUP" || term == "AUX" || term == "OC"):
			oid = b.classes[v].OID
			if oid == topOID && kind == "objectclasses" {
				continue // every class inherits from it
			}
		case b.attrs[v] != nil:
			oid = b.attrs[v].OID
		default:
			oid = v
		}
		out = appendNew(out, oid)
	}
	return out
}

// topOID is the OID of the object class top.
const topOID = "2.5.6.0"

func (d *rawDefinition) one(term string) string {
	if v := d.terms[term]; len(v) > 0 {
		return v[0]
	}
	return ""
}

func (d *rawDefinition) flag(term string) bool { return d.terms[term] != nil }

func (d *rawDefinition) fail(format string, args ...any) error {
	return fmt.Errorf("%s: %s: %s", d.Origin, d.what(), fmt.Sprintf(format, args...))
}

// syntax takes an ldapSyntaxes definition: one that is built in, or one that X-SUBST or the lack of anything better makes
// a copy of another.
func (b *builder) syntax(d *rawDefinition) error {
	if b.syntaxes[d.OID] != nil {
		return nil
	}
	for _, x := range d.Extensions {
		if x.Name != "X-SUBST" || len(x.Values) != 1 {
			continue
		}
		like := b.syntaxes[x.Values[0]]
		if like == nil {
			return d.fail("X-SUBST names the syntax %s, which is not known", clip(x.Values[0]))
		}
		s := *like
		s.Common = d.Common
		b.syntaxes[s.OID] = &s
		b.syntaxList = append(b.syntaxList, &s)
		return nil
	}
	return d.fail("this syntax is not built in; add X-SUBST 'OID' with the OID of the syntax to check its values by, such as 1.3.6.1.4.1.1466.115.121.1.15 for text or 1.3.6.1.4.1.1466.115.121.1.40 for octets")
}

func (b *builder) matchingRule(d *rawDefinition) error {
	if b.rules[d.OID] == nil {
		return d.fail("this matching rule is not built in, and a definition cannot say how it compares; remove it and name another rule in the attribute types that use it")
	}
	return nil
}

func (b *builder) declareType(d *rawDefinition) error {
	t := &AttributeType{Common: d.Common, Ordinal: len(b.attrList)}
	t.lower = strings.ToLower(t.Name())
	b.attrList = append(b.attrList, t)
	b.attrs[t.OID] = t
	for _, n := range t.Names {
		b.attrs[strings.ToLower(n)] = t
	}
	return nil
}

// linkType resolves what a type names; what it inherits comes later, see orderTypes.
func (b *builder) linkType(d *rawDefinition) error {
	t := b.attrs[d.OID]
	if sup := d.one("SUP"); sup != "" {
		if t.Sup = b.attrs[strings.ToLower(sup)]; t.Sup == nil {
			if d.yields && b.gaveWay("attributetypes", sup) {
				b.giveWay(d, sup+", which it inherits from, gave way")
			}
			return d.fail("SUP names the attribute type %s, which nothing defines", clip(sup))
		}
	}
	for _, x := range []struct {
		term string
		kind RuleKind
		to   **MatchingRule
	}{{"EQUALITY", EqualityRule, &t.Equality}, {"ORDERING", OrderingRule, &t.Ordering}, {"SUBSTR", SubstringsRule, &t.Substr}} {
		name := d.one(x.term)
		if name == "" {
			continue
		}
		rule := b.rules[strings.ToLower(name)]
		if rule == nil {
			return d.fail("%s names the matching rule %s, which is not known", x.term, clip(name))
		}
		if rule.Kind != x.kind {
			return d.fail("%s names %s, which is a rule for %s", x.term, rule.Name(), rule.Kind)
		}
		*x.to = rule
	}
	if syntax := d.one("SYNTAX"); syntax != "" {
		oid, length, bounded := strings.Cut(syntax, "{")
		if bounded {
			n, err := strconv.ParseUint(strings.TrimSuffix(length, "}"), 10, 31)
			if err != nil || !strings.HasSuffix(length, "}") {
				return d.fail("SYNTAX %s: write the length as a number in braces, such as %s{64}", clip(syntax), clip(oid))
			}
			t.SyntaxLen = int(n)
		}
		if t.Syntax = b.syntaxes[oid]; t.Syntax == nil {
			return d.fail("SYNTAX names %s, which is not a known syntax; use one of ldapSyntaxes, such as 1.3.6.1.4.1.1466.115.121.1.15 for text", clip(oid))
		}
	} else if t.Sup == nil {
		return d.fail("neither SUP nor SYNTAX is given; write one of them")
	}
	t.SingleValue, t.Collective = d.flag("SINGLE-VALUE"), d.flag("COLLECTIVE")
	t.NoUserModification = d.flag("NO-USER-MODIFICATION")
	switch u := d.one("USAGE"); strings.ToLower(u) {
	case "", "userapplications":
	case "directoryoperation":
		t.Usage = DirectoryOperation
	case "distributedoperation":
		t.Usage = DistributedOperation
	case "dsaoperation":
		t.Usage = DSAOperation
	default:
		return d.fail("USAGE %s is not known; write userApplications, directoryOperation, distributedOperation or dSAOperation", clip(u))
	}
	if t.Collective && (t.SingleValue || t.Operational()) {
		return d.fail("a collective attribute is neither SINGLE-VALUE nor operational (RFC 4512 section 4.1.2); remove COLLECTIVE or the other term")
	}
	t.Secret = isSecret(&t.Common) || b.wasSecret(t)
	return nil
}

// isSecret reports whether a definition says that values are secret.
func isSecret(c *Common) bool {
	return slices.ContainsFunc(c.Extensions, func(x Extension) bool {
		return x.Name == "X-PORTOLAN-SECRET" && len(x.Values) == 1 && strings.EqualFold(x.Values[0], "TRUE")
	})
}

// orderTypes finishes the types once all are linked: it refuses circles and lets each inherit, the supertypes first.
func (b *builder) orderTypes() error {
	done := make([]bool, len(b.attrList))
	for _, t := range b.attrList {
		var chain []*AttributeType
		for u := t; u != nil && !done[u.Ordinal]; u = u.Sup {
			if chain = append(chain, u); len(chain) > maxChain {
				return fmt.Errorf("%s: attribute type %s: the chain of SUP goes in a circle or is longer than %d; break it", t.Origin, t.Name(), maxChain)
			}
		}
		for _, u := range slices.Backward(chain) {
			done[u.Ordinal] = true
			if sup := u.Sup; sup != nil {
				u.inherit(sup)
				if err := u.checkSup(); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// checkSup checks what RFC 4512 section 2.5.1 asks of a subtype. A refined syntax is not told from another.
func (t *AttributeType) checkSup() error {
	switch {
	case t.Usage != t.Sup.Usage:
		return fmt.Errorf("%s: attribute type %s has USAGE %s and inherits from %s, which has %s; a subtype has the usage of its supertype (RFC 4512 section 2.5.1)", t.Origin, t.Name(), t.Usage, t.Sup.Name(), t.Sup.Usage)
	case t.Sup.Collective && !t.Collective:
		return fmt.Errorf("%s: attribute type %s inherits from %s, which is collective; write COLLECTIVE here too (RFC 4512 section 2.5.1)", t.Origin, t.Name(), t.Sup.Name())
	}
	return nil
}

func (t *AttributeType) inherit(sup *AttributeType) {
	if t.Equality == nil {
		t.Equality = sup.Equality
	}
	if t.Ordering == nil {
		t.Ordering = sup.Ordering
	}
	if t.Substr == nil {
		t.Substr = sup.Substr
	}
	if t.Syntax == nil {
		t.Syntax, t.SyntaxLen = sup.Syntax, sup.SyntaxLen
	}
	t.Secret = t.Secret || sup.Secret
}

func (b *builder) declareClass(d *rawDefinition) error {
	c := &ObjectClass{Common: d.Common}
	switch {
	case d.flag("ABSTRACT"):
		c.Kind = Abstract
	case d.flag("AUXILIARY"):
		c.Kind = Auxiliary
	}
	b.classList = append(b.classList, c)
	b.classes[c.OID] = c
	for _, n := range c.Names {
		b.classes[strings.ToLower(n)] = c
	}
	return nil
}

func (b *builder) linkClass(d *rawDefinition) error {
	c := b.classes[d.OID]
	if d.flag("ABSTRACT") && d.flag("AUXILIARY") || d.flag("STRUCTURAL") && c.Kind != Structural {
		return d.fail("more than one of ABSTRACT, STRUCTURAL and AUXILIARY is given; write one of them")
	}
	var err error
	if c.Sup, err = b.classRefs(d, "SUP"); err != nil {
		return err
	}
	if top := b.classes[topOID]; len(c.Sup) == 0 && top != nil && c != top {
		c.Sup = []*ObjectClass{top} // RFC 4512 section 2.4.1: all classes inherit from top
	}
	if c.Must, err = b.typeRefs(d, "MUST"); err != nil {
		return err
	}
	if c.May, err = b.typeRefs(d, "MAY"); err != nil {
		return err
	}
	for _, t := range slices.Concat(c.Must, c.May) {
		if t.Collective {
			return d.fail("the collective attribute %s cannot be in an object class (RFC 3671 section 3); it goes into a subentry of class collectiveAttributeSubentry", t.Name())
		}
	}
	return nil
}

// orderClasses finishes the classes once all are linked, the superclasses first.
func (b *builder) orderClasses() error {
	const (
		fresh = iota
		open
		done
	)
	state := map[*ObjectClass]int{}
	var visit func(c *ObjectClass, depth int) error
	visit = func(c *ObjectClass, depth int) error {
		if state[c] == done {
			return nil
		}
		if state[c] == open || depth > maxChain {
			return fmt.Errorf("%s: object class %s: the chain of SUP goes in a circle or is longer than %d; break it", c.Origin, c.Name(), maxChain)
		}
		state[c] = open
		c.supers = []*ObjectClass{c}
		c.AllMust, c.AllMay = slices.Clone(c.Must), slices.Clone(c.May)
		for _, sup := range c.Sup {
			if err := visit(sup, depth+1); err != nil {
				return err
			}
			if c.Kind == Structural && sup.Kind == Auxiliary || c.Kind == Auxiliary && sup.Kind == Structural || c.Kind == Abstract && sup.Kind != Abstract {
				return fmt.Errorf("%s: object class %s is %s and cannot inherit from %s, which is %s (RFC 4512 section 2.4)", c.Origin, c.Name(), c.Kind, sup.Name(), sup.Kind)
			}
			c.supers = appendNew(c.supers, sup.supers...)
			c.AllMust = appendNew(c.AllMust, sup.AllMust...)
			c.AllMay = appendNew(c.AllMay, sup.AllMay...)
		}
		// What is required is not listed as allowed once more.
		c.AllMay = slices.DeleteFunc(c.AllMay, func(t *AttributeType) bool { return slices.Contains(c.AllMust, t) })
		state[c] = done
		return nil
	}
	for _, c := range b.classList {
		if err := visit(c, 0); err != nil {
			return err
		}
	}
	return nil
}

func appendNew[T comparable](dst []T, more ...T) []T {
	for _, m := range more {
		if !slices.Contains(dst, m) {
			dst = append(dst, m)
		}
	}
	return dst
}

func (b *builder) classRefs(d *rawDefinition, term string) ([]*ObjectClass, error) {
	var out []*ObjectClass
	for _, name := range d.terms[term] {
		c := b.classes[strings.ToLower(name)]
		if c == nil {
			if d.yields && b.gaveWay("objectclasses", name) {
				b.giveWay(d, name+", which it names, gave way")
			}
			return nil, d.fail("%s names the object class %s, which nothing defines", term, clip(name))
		}
		out = appendNew(out, c)
	}
	return out, nil
}

func (b *builder) typeRefs(d *rawDefinition, term string) ([]*AttributeType, error) {
	var out []*AttributeType
	for _, name := range d.terms[term] {
		t := b.attrs[strings.ToLower(name)]
		if t == nil && d.yields && b.gaveWay("attributetypes", name) {
			if term == "MAY" {
				continue // what may be there can be left out
			}
			b.giveWay(d, name+", which it names, gave way")
		}
		if t == nil {
			return nil, d.fail("%s names the attribute type %s, which nothing defines", term, clip(name))
		}
		out = appendNew(out, t)
	}
	return out, nil
}

func (b *builder) contentRule(d *rawDefinition) error {
	c := b.classes[d.OID]
	if c == nil || c.Kind != Structural {
		return d.fail("a DIT content rule has the OID of the structural object class it is for, and %s is not one", d.OID)
	}
	r := &ContentRule{Common: d.Common}
	var err error
	if r.Aux, err = b.classRefs(d, "AUX"); err != nil {
		return err
	}
	for _, a := range r.Aux {
		if a.Kind != Auxiliary {
			return d.fail("AUX names %s, which is not an auxiliary class", a.Name())
		}
	}
	if r.Must, err = b.typeRefs(d, "MUST"); err != nil {
		return err
	}
	if r.May, err = b.typeRefs(d, "MAY"); err != nil {
		return err
	}
	if r.Not, err = b.typeRefs(d, "NOT"); err != nil {
		return err
	}
	b.content[c] = r
	b.contentList = append(b.contentList, r)
	return nil
}

func (b *builder) nameForm(d *rawDefinition) error {
	f := &NameForm{Common: d.Common}
	if f.Class = b.classes[strings.ToLower(d.one("OC"))]; f.Class == nil || f.Class.Kind != Structural {
		return d.fail("OC must name a structural object class, and %q is not one", clip(d.one("OC")))
	}
	var err error
	if f.Must, err = b.typeRefs(d, "MUST"); err != nil {
		return err
	}
	if len(f.Must) == 0 {
		return d.fail("MUST is missing; name the attribute types of the RDN (RFC 4512 section 4.1.7.2)")
	}
	if f.May, err = b.typeRefs(d, "MAY"); err != nil {
		return err
	}
	b.nameForms = append(b.nameForms, f)
	return nil
}

func (b *builder) structureRule(d *rawDefinition) error {
	name := d.one("FORM")
	i := slices.IndexFunc(b.nameForms, func(f *NameForm) bool {
		return f.OID == name || slices.ContainsFunc(f.Names, func(n string) bool { return strings.EqualFold(n, name) })
	})
	if i < 0 {
		return d.fail("FORM must name a name form, and %q is not one", clip(name))
	}
	b.structRules = append(b.structRules, &StructureRule{Common: d.Common, ID: d.ids[0], Form: b.nameForms[i], Sup: d.ids[1:]})
	return nil
}
