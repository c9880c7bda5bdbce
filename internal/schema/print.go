package schema

import (
	"strconv"
	"strings"
)

func (u Usage) String() string {
	switch u {
	case DirectoryOperation:
		return "directoryOperation"
	case DistributedOperation:
		return "distributedOperation"
	case DSAOperation:
		return "dSAOperation"
	}
	return "userApplications"
}

func (k Kind) String() string {
	switch k {
	case Abstract:
		return "ABSTRACT"
	case Auxiliary:
		return "AUXILIARY"
	}
	return "STRUCTURAL"
}

func (k RuleKind) String() string {
	switch k {
	case OrderingRule:
		return "ORDERING"
	case SubstringsRule:
		return "SUBSTR"
	}
	return "EQUALITY"
}

// A printer writes the notation of RFC 4512 section 4.1.
type printer struct{ strings.Builder }

func (p *printer) begin(id string, c *Common) {
	p.WriteString("( " + id)
	switch len(c.Names) {
	case 0:
	case 1:
		p.WriteString(" NAME '" + c.Names[0] + "'")
	default:
		p.WriteString(" NAME ( '" + strings.Join(c.Names, "' '") + "' )")
	}
	if c.Desc != "" {
		p.WriteString(" DESC " + quote(c.Desc))
	}
	p.flag("OBSOLETE", c.Obsolete)
}

func (p *printer) end(c *Common) string {
	for _, x := range c.Extensions {
		p.WriteString(" " + x.Name)
		if len(x.Values) == 1 {
			p.WriteString(" " + quote(x.Values[0]))
			continue
		}
		p.WriteString(" (")
		for _, v := range x.Values {
			p.WriteString(" " + quote(v))
		}
		p.WriteString(" )")
	}
	p.WriteString(" )")
	return p.String()
}

// quote writes a qdstring (RFC 4512 section 4.1).
func quote(s string) string { return "'" + quoter.Replace(s) + "'" }

var (
	quoter   = strings.NewReplacer(`\`, `\5C`, `'`, `\27`)
	unquoter = strings.NewReplacer(`\27`, `'`, `\5C`, `\`, `\5c`, `\`)
)

func (p *printer) flag(term string, set bool) {
	if set {
		p.WriteString(" " + term)
	}
}

func (p *printer) word(term, value string) {
	if value != "" {
		p.WriteString(" " + term + " " + value)
	}
}

func (p *printer) list(term string, names []string) {
	switch len(names) {
	case 0:
	case 1:
		p.WriteString(" " + term + " " + names[0])
	default:
		p.WriteString(" " + term + " ( " + strings.Join(names, " $ ") + " )")
	}
}

func namesOf[T interface{ Name() string }](defs []T) []string {
	out := make([]string, len(defs))
	for i, d := range defs {
		out[i] = d.Name()
	}
	return out
}

// String returns the AttributeTypeDescription. What is inherited is not written.
func (a *AttributeType) String() string {
	var p printer
	p.begin(a.OID, &a.Common)
	var sup AttributeType
	if a.Sup != nil {
		sup = *a.Sup
		p.word("SUP", a.Sup.Name())
	}
	rule := func(term string, own, inherited *MatchingRule) {
		if own != nil && own != inherited {
			p.word(term, own.Name())
		}
	}
	rule("EQUALITY", a.Equality, sup.Equality)
	rule("ORDERING", a.Ordering, sup.Ordering)
	rule("SUBSTR", a.Substr, sup.Substr)
	if a.Syntax != sup.Syntax || a.SyntaxLen != sup.SyntaxLen {
		syntax := a.Syntax.OID
		if a.SyntaxLen > 0 {
			syntax += "{" + strconv.Itoa(a.SyntaxLen) + "}"
		}
		p.word("SYNTAX", syntax)
	}
	p.flag("SINGLE-VALUE", a.SingleValue)
	p.flag("COLLECTIVE", a.Collective)
	p.flag("NO-USER-MODIFICATION", a.NoUserModification)
	if a.Usage != UserApplications {
		p.word("USAGE", a.Usage.String())
	}
	return p.end(&a.Common)
}

// String returns the ObjectClassDescription.
func (c *ObjectClass) String() string {
	var p printer
	p.begin(c.OID, &c.Common)
	p.list("SUP", namesOf(c.Sup))
	p.flag(c.Kind.String(), true)
	p.list("MUST", namesOf(c.Must))
	p.list("MAY", namesOf(c.May))
	return p.end(&c.Common)
}

// String returns the DITContentRuleDescription.
func (r *ContentRule) String() string {
	var p printer
	p.begin(r.OID, &r.Common)
	p.list("AUX", namesOf(r.Aux))
	p.list("MUST", namesOf(r.Must))
	p.list("MAY", namesOf(r.May))
	p.list("NOT", namesOf(r.Not))
	return p.end(&r.Common)
}

// Name returns the first short name, or the OID.
func (f *NameForm) Name() string {
	if len(f.Names) > 0 {
		return f.Names[0]
	}
	return f.OID
}

// String returns the NameFormDescription.
func (f *NameForm) String() string {
	var p printer
	p.begin(f.OID, &f.Common)
	p.word("OC", f.Class.Name())
	p.list("MUST", namesOf(f.Must))
	p.list("MAY", namesOf(f.May))
	return p.end(&f.Common)
}

// String returns the DITStructureRuleDescription.
func (r *StructureRule) String() string {
	var p printer
	p.begin(strconv.Itoa(r.ID), &r.Common)
	p.word("FORM", r.Form.Name())
	ids := make([]string, len(r.Sup))
	for i, id := range r.Sup {
		ids[i] = strconv.Itoa(id)
	}
	if len(ids) > 0 {
		p.WriteString(" SUP ( " + strings.Join(ids, " ") + " )")
	}
	return p.end(&r.Common)
}

// String returns the MatchingRuleDescription.
func (r *MatchingRule) String() string {
	var p printer
	p.begin(r.OID, &r.Common)
	p.word("SYNTAX", r.Syntax.OID)
	return p.end(&r.Common)
}

// String returns the SyntaxDescription.
func (y *Syntax) String() string {
	var p printer
	c := y.Common
	c.Names = nil
	p.begin(y.OID, &c)
	return p.end(&c)
}
