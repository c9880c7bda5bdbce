package access

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"portolan/internal/dit"
	"portolan/internal/schema"
	"portolan/ldap"
)

// Compile makes a Policy of rules and, with o.Builtin, of those of Default. The error joins all mistakes of all rules,
// one line each: where, what is wrong, what to write instead.
func Compile(rules []Rule, o Options) (*Policy, error) {
	c := &compiler{schema: o.Schema, policy: &Policy{schema: o.Schema, classes: make(map[string]*class)}, virtual: make(map[*schema.AttributeType]bool)}
	known := &o.Schema.Known
	for _, t := range []*schema.AttributeType{known.EntryDN, known.SubschemaSubentry, known.HasSubordinates, known.NumSubordinates, known.ContextCSN, known.MemberOf} {
		c.virtual[t] = true
	}
	for _, name := range o.Virtual {
		c.virtual[o.Schema.AttributeTypeString(name)] = true
	}
	delete(c.virtual, nil)
	for _, suffix := range o.Suffixes {
		norm, err := o.Schema.NormalizeDNString(nil, suffix)
		if err != nil {
			return nil, fmt.Errorf("access rules: the suffix %s is not a DN: %s", show(suffix), diagnostic(err))
		}
		c.suffixes = append(c.suffixes, string(norm))
	}
	if o.AdminDN != "" {
		norm, err := o.Schema.NormalizeDNString(nil, o.AdminDN)
		if err != nil {
			return nil, fmt.Errorf("access rules: the administrator's name %s is not a DN: %s", show(o.AdminDN), diagnostic(err))
		}
		c.admin = string(norm)
	}
	if o.Builtin {
		builtin, err := Default(o)
		if err != nil {
			return nil, err
		}
		c.builtin = true
		for i := range builtin {
			c.rule(&builtin[i], i)
		}
		c.builtin = false
	}
	for i := range rules {
		c.rule(&rules[i], i)
	}
	if len(c.errs) > 0 {
		return nil, errors.Join(c.errs...)
	}
	return c.policy, nil
}

// compiler compiles rules, one at a time.
type compiler struct {
	schema   *schema.Schema
	policy   *Policy
	suffixes []string // canonical
	admin    string
	virtual  map[*schema.AttributeType]bool
	errs     []error

	in      *Rule
	index   int
	builtin bool // in is one of Default
	out     *rule
}

// bad reports a mistake about a key of the rule. hint says what to write instead.
func (c *compiler) bad(key, hint, format string, args ...any) {
	c.errs = append(c.errs, errors.New(c.line(key, fmt.Sprintf(format, args...)+"; "+hint)))
}

func (c *compiler) warn(key, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	c.policy.warnings = append(c.policy.warnings, c.line(key, text))
	c.policy.remarks = append(c.policy.remarks, Remark{Rule: c.place(), Key: key, Text: text})
}

// place is where the rule stands among those that Compile was given.
func (c *compiler) place() int {
	if c.builtin {
		return Builtin
	}
	return c.index
}

func (c *compiler) line(key, text string) string {
	at := c.in.Origin
	if c.in.At != nil {
		if exact := c.in.At(key); exact != "" {
			at = exact
		}
	}
	label := fmt.Sprintf("access rule %d", c.index+1)
	if c.in.Name != "" {
		label = "access rule " + show(c.in.Name)
	}
	if at != "" {
		label = at + ": " + label
	}
	return label + ": " + text
}

func (c *compiler) rule(in *Rule, index int) {
	c.in, c.index = in, index
	c.out = &rule{name: in.Name, origin: in.Origin, place: c.place(), tls: in.TLS, digest: in.digest()}
	if c.out.name == "" {
		c.out.name = fmt.Sprintf("rule %d", index+1)
	}
	before := len(c.errs)
	c.effect()
	c.subjects()
	c.places()
	c.filter()
	c.connection()
	if len(c.errs) == before {
		c.policy.rules = append(c.policy.rules, c.out)
	}
}

// effect compiles allow, deny and attrs.
func (c *compiler) effect() {
	in, out := c.in, c.out
	key, rights := "allow", in.Allow
	switch {
	case len(in.Allow) > 0 && len(in.Deny) > 0:
		c.bad("deny", "write two rules", "a rule has allow or deny, not both")
		return
	case len(in.Deny) > 0:
		key, rights, out.deny = "deny", in.Deny, true
	case len(in.Allow) == 0:
		c.bad("", `write for example allow = ["read", "search", "compare"]`, "a rule needs allow or deny")
		return
	}
	ofEntry, ofAttrs := c.attributes()
	for i, name := range rights {
		entry, attrs, ok := rightsOf(name, out.deny)
		at := fmt.Sprintf("%s[%d]", key, i)
		switch {
		case !ok:
			c.bad(at, "write "+strings.Join(rightNames[:], ", ")+", write (= modify) or all", "%s: %s is not a right", key, show(name))
			continue
		case name == "all":
		case !ofEntry && attrs == 0:
			c.bad(at, `add "entry" to attrs, or leave attrs out`, "%s: %q is a right on entries, and attrs has attributes only", key, name)
		case !ofAttrs && entry == 0:
			c.bad(at, "name attributes in attrs", `%s: %q is a right on attributes, and attrs has the "entry" only`, key, name)
		}
		if ofEntry {
			out.entry |= entry
		}
		if ofAttrs {
			out.attrs |= attrs
		}
	}
	if len(c.ownNames()) > 0 && (out.deny || out.attrs&^writing != 0 || out.entry != 0) {
		c.bad("attrs", `write a rule of its own: allow = ["add", "delete"] and attrs = ["member:self"]`,
			"attrs: %s gives away one value, which goes with allow and the rights add, delete and modify on attributes only", show(c.ownNames()[0]))
	}
	switch {
	case out.deny && out.entry&Disclose != 0:
		// What may not be known cannot be read, changed or moved either.
		out.entry = ofEntries
	case !out.deny && out.entry != 0:
		out.entry |= Disclose
	}
}

// rightsOf returns what a name of rights means on an entry and on attributes.
func rightsOf(name string, deny bool) (entry, attrs Right, ok bool) {
	switch name {
	case "all":
		if deny {
			return ofEntries, ofAttributes, true
		}
		return ofEntries & ordinary, ofAttributes, true
	case "write", "modify":
		return 0, writing, true
	}
	i := slices.Index(rightNames[:], name)
	if i < 0 {
		return 0, 0, false
	}
	return 1 << i & ofEntries, 1 << i & ofAttributes, true
}

// ownNames are the elements of attrs that are about the subject's own name as a value.
func (c *compiler) ownNames() []string {
	var out []string
	for _, a := range c.in.Attrs {
		if strings.HasSuffix(a, ownSuffix) {
			out = append(out, a)
		}
	}
	return out
}

// ownSuffix behind an attribute in attrs limits the rule to the subject's own name as the value.
const ownSuffix = ":self"

// attributes compiles attrs and reports whether the rule is about the entry, and whether about attributes.
func (c *compiler) attributes() (ofEntry, ofAttrs bool) {
	var but cover
	cover := &c.out.cover
	cover.types = make(Mask, len(c.schema.AttributeTypes())/64+1)
	wildcard := func(want func(t *schema.AttributeType) bool) {
		for _, t := range c.schema.AttributeTypes() {
			if !t.Secret && want(t) {
				cover.types.set(t.Ordinal)
			}
		}
		ofAttrs = true
	}
	if len(c.in.Attrs) == 0 {
		wildcard(func(*schema.AttributeType) bool { return true })
		return true, true
	}
	for i, a := range c.in.Attrs {
		at := fmt.Sprintf("attrs[%d]", i)
		switch {
		case strings.HasPrefix(a, exceptPrefix):
			c.except(at, a[len(exceptPrefix):], &but)
		case a == "entry":
			ofEntry = true
		case a == "*":
			wildcard(func(*schema.AttributeType) bool { return true })
		case a == "+":
			wildcard((*schema.AttributeType).Operational)
		case strings.HasPrefix(a, "@"):
			ofAttrs = true
			class := c.schema.ObjectClass(a[1:])
			if class == nil {
				c.bad(at, "write @ and the name of an object class, as in @posixAccount", "attrs: the schema has no object class %s", show(a[1:]))
				continue
			}
			wildcard(func(t *schema.AttributeType) bool { return allows(c.schema, class, t) })
		case strings.HasSuffix(a, ownSuffix):
			ofAttrs = true
			name := strings.TrimSuffix(a, ownSuffix)
			if t := c.named(at, name, &c.out.own); t != nil && !holdsNames(t) {
				c.bad(at, "write an attribute such as member", "attrs: values of %s are not names of entries", show(name))
			}
		default:
			ofAttrs = true
			c.named(at, a, cover)
		}
	}
	for i := range but.types {
		cover.types[i] &^= but.types[i]
	}
	return ofEntry, ofAttrs
}

// exceptPrefix before an attribute in attrs leaves it out of what the other elements name.
const exceptPrefix = "!"

// except notes an attribute that is left out, with its subtypes.
func (c *compiler) except(at, name string, but *cover) {
	if !slices.ContainsFunc(c.in.Attrs, func(a string) bool { return a == "*" || a == "+" || strings.HasPrefix(a, "@") }) {
		c.bad(at, `write "*", "+" or "@class" as well`, "attrs: %s says what is left out, but there is nothing that has it", show(exceptPrefix+name))
		return
	}
	if c.named(at, name, but); len(but.descs) > 0 {
		c.bad(at, "leave the attribute out with all its options", "attrs: %s leaves out certain values", show(exceptPrefix+name))
	}
}

// allows reports whether entries of a class may have an attribute.
func allows(s *schema.Schema, class *schema.ObjectClass, t *schema.AttributeType) bool {
	if class == s.Known.ExtensibleObject {
		return !t.Operational()
	}
	return slices.Contains(class.AllMust, t) || slices.Contains(class.AllMay, t)
}

// named puts an attribute and its subtypes into a cover.
func (c *compiler) named(at, name string, into *cover) *schema.AttributeType {
	d, err := c.schema.DescribeString(name)
	switch {
	case err != nil || name == "":
		c.bad(at, `write names of attributes, "entry", "*", "+" or "@class"`, "attrs: %s is not an attribute", show(name))
		return nil
	case d.Type == nil:
		c.bad(at, "correct the name, or load the schema that defines it", "attrs: the schema has no attribute %s", show(name))
		return nil
	}
	// The option that values of some types always have is no choice of certain values.
	if d.Options != "" && !(d.Type.Syntax.TransferBinary && d.Options == ";binary") {
		into.descs = append(into.descs, d)
		return d.Type
	}
	if into.types == nil {
		into.types = make(Mask, len(c.schema.AttributeTypes())/64+1)
	}
	for _, t := range d.Type.Subtypes() {
		// What has no secret in its name does not name the secrets beneath it.
		if !t.Secret || d.Type.Secret {
			into.types.set(t.Ordinal)
		}
	}
	return d.Type
}

// excludes before an element of who takes subjects out of the rule.
const excludes = "!"

// subjects compiles who.
func (c *compiler) subjects() {
	if !slices.ContainsFunc(c.in.Who, func(w string) bool { return !strings.HasPrefix(w, excludes) }) {
		c.bad("", `write who = "users", or who = "*" for everybody`, "who is missing")
	}
	for i, text := range c.in.Who {
		at := fmt.Sprintf("who[%d]", i)
		into := &c.out.named
		text, excluded := strings.CutPrefix(text, excludes)
		if excluded {
			into = &c.out.excluded
		}
		kind, rest, named := strings.Cut(text, ":")
		switch {
		case text == "self":
			into.self = true
		case text == "parent":
			into.above = true
		case named && kind == "dn":
			c.subject(at, into, whoDN, rest)
		case named && kind == "subtree":
			c.subject(at, into, whoSubtree, rest)
		case named && kind == "group":
			c.subject(at, into, whoGroup, rest)
		case named && kind == "dnattr":
			c.dnattr(at, into, rest)
		case excluded:
			c.bad(at, `write "!self", "!parent", "!dn:DN", "!group:DN", "!subtree:DN" or "!dnattr:ATTRIBUTE"`, "who: %s excludes nobody", show(c.in.Who[i]))
		case text == "*":
			into.who = append(into.who, who{kind: whoEverybody})
		case text == "anonymous":
			into.who = append(into.who, who{kind: whoAnonymous})
		case text == "users":
			into.who = append(into.who, who{kind: whoUsers})
		case text == "admin":
			if c.out.deny {
				c.bad(at, "leave it out", "who: rules take nothing away from the administrator")
			}
			into.who = append(into.who, who{kind: whoAdmin})
		default:
			hint := `write "anonymous", "users", "self", "parent", "admin", "*", "dn:DN", "group:DN", "subtree:DN" or "dnattr:ATTRIBUTE"`
			if dn, err := ldap.ParseDN(text); err == nil && len(dn) > 0 {
				hint = `write "dn:` + clip(text) + `"`
			}
			c.bad(at, hint, "who: %s names nobody", show(text))
		}
	}
}

func (c *compiler) subject(at string, into *people, kind whoKind, dn string) {
	norm, ok := c.dn(at, "who", dn)
	if !ok {
		return
	}
	if kind == whoDN && norm == c.admin && into == &c.out.named {
		if c.out.deny {
			c.bad(at, "leave it out", "who: rules take nothing away from the administrator")
			return
		}
		c.warn(at, "who: %s is the administrator, who needs no rule", show(dn))
	}
	into.who = append(into.who, who{kind: kind, norm: norm})
}

func (c *compiler) dnattr(at string, into *people, name string) {
	t := c.schema.AttributeTypeString(name)
	switch {
	case t == nil:
		c.bad(at, `write for example "dnattr:owner"`, "who: the schema has no attribute %s", show(name))
	case !holdsNames(t):
		c.bad(at, `write an attribute such as owner: "dnattr:owner"`, "who: values of %s are not names of entries", t.Name())
	case c.virtual[t]:
		c.bad(at, "write an attribute that entries store, or group:DN", "who: %s is computed, rules cannot look at it", t.Name())
	default:
		into.dnattr = append(into.dnattr, t)
	}
}

// dn compiles a name.
func (c *compiler) dn(at, key, text string) (string, bool) {
	if strings.TrimSpace(text) == "" {
		c.bad(at, `write a DN, or "*" alone for all`, "%s: the DN is empty", key)
		return "", false
	}
	dn, err := ldap.ParseDN(text)
	if err != nil {
		c.bad(at, "write a DN such as ou=people,dc=example,dc=org", "%s: %s is not a DN: %s", key, show(text), diagnostic(err))
		return "", false
	}
	for _, rdn := range dn {
		for _, ava := range rdn {
			if c.schema.AttributeTypeString(ava.Type) == nil {
				c.bad(at, "correct the name, or load the schema that defines it", "%s: %s: the schema has no attribute %s", key, show(text), show(ava.Type))
				return "", false
			}
		}
	}
	norm := string(c.schema.NormalizeParsed(nil, dn))
	if len(c.suffixes) > 0 && norm != c.admin && !slices.ContainsFunc(c.suffixes, func(s string) bool { return under(norm, s) || under(s, norm) }) {
		c.warn(at, "%s: %s is in no naming context of this server", key, show(text))
	}
	return norm, true
}

// places compiles on.
func (c *compiler) places() {
	for i, text := range c.in.On {
		at := fmt.Sprintf("on[%d]", i)
		kind, dn, named := strings.Cut(text, ":")
		s := scope{kind: scopeAll}
		switch {
		case text == "*":
		case named && kind == "subtree":
			s.kind = scopeSubtree
		case named && kind == "base":
			s.kind = scopeBase
		case named && kind == "one":
			s.kind = scopeOne
		default:
			hint := `write "*", "subtree:DN", "base:DN" or "one:DN"`
			if dn, err := ldap.ParseDN(text); err == nil && len(dn) > 0 {
				hint = `write "subtree:` + clip(text) + `"`
			}
			c.bad(at, hint, "on: %s names no entries", show(text))
			continue
		}
		if s.kind != scopeAll {
			var ok bool
			if s.norm, ok = c.dn(at, "on", dn); !ok {
				continue
			}
		}
		c.out.scopes = append(c.out.scopes, s)
	}
	if slices.Contains(c.out.scopes, scope{kind: scopeAll}) {
		c.out.scopes = nil
	}
}

// filter compiles the filter. An item that no entry can ever answer is a mistake: a rule that denies would be without
// effect because of a slip of the pen.
func (c *compiler) filter() {
	if c.in.Filter == "" {
		return
	}
	in, err := ldap.ParseFilter(c.in.Filter)
	if err != nil {
		c.bad("filter", "write a filter such as (objectClass=inetOrgPerson)", "filter: %s", diagnostic(err))
		return
	}
	f := &dit.Filter{}
	f.Compile(c.schema, &in)
	for i := range f.Nodes {
		n := &f.Nodes[i]
		attr := string(in.Nodes[i].Attr)
		switch {
		case n.Rule != nil && n.Rule.Transitive:
			c.bad("filter", `write who = "group:DN", which takes nested groups in`, "filter: the in-chain rule cannot be used in access rules")
		case n.Undefined && attr != "" && n.Desc.Type == nil:
			c.bad("filter", "correct the name, or load the schema that defines it", "filter: the schema has no attribute %s", show(attr))
		case n.Undefined:
			c.bad("filter", "write a comparison that the attribute's syntax allows", "filter: the item on %s (value %s) can never be true or false", show(attr), show(string(n.Value)))
		case c.virtual[n.Desc.Type]:
			c.bad("filter", "write an attribute that entries store, or name groups in who", "filter: %s is computed, rules cannot look at it", n.Desc.Type.Name())
		}
	}
	c.out.filter, c.out.text = f, c.in.Filter
}

// maxTLS bounds the strength that a rule can ask for, in bits.
const maxTLS = 256

// connection compiles from, tls and method.
func (c *compiler) connection() {
	in, out := c.in, c.out
	for i, network := range in.From {
		if !network.IsValid() {
			c.bad(fmt.Sprintf("from[%d]", i), `write for example "10.0.0.0/8"`, "from: this is not a network")
			continue
		}
		// Clients are compared by their IPv4 address where they have one.
		if addr := network.Addr(); addr.Is4In6() && network.Bits() >= 96 {
			network = netip.PrefixFrom(addr.Unmap(), network.Bits()-96)
		}
		out.from = append(out.from, network.Masked())
	}
	switch {
	case in.TLS < 0 || in.TLS > maxTLS:
		c.bad("tls", "write true or a number of bits such as 128", "tls: %d is not a strength in bits", in.TLS)
	case in.TLS > 0 && out.deny:
		c.bad("tls", "allow it with tls = true instead, in place of the rule that allows it without",
			"tls: a deny with tls would take rights from the well protected connections only")
	}
	for i, m := range in.Method {
		if !strings.EqualFold(m, "simple") && !isMechanism(m) {
			c.bad(fmt.Sprintf("method[%d]", i), `write "simple" or a SASL mechanism such as "EXTERNAL"`, "method: %s is not a way to authenticate", show(m))
			continue
		}
		out.methods = append(out.methods, m)
	}
	if len(in.Method) > 0 && len(in.Who) > 0 && !slices.ContainsFunc(in.Who, func(w string) bool { return w != "anonymous" }) {
		c.bad("method", "leave method out", "method: anonymous clients have not authenticated in any way")
	}
}

// isMechanism reports whether m has the form of a SASL mechanism's name (RFC 4422 section 3.1), in either case.
func isMechanism(m string) bool {
	for i := 0; i < len(m); i++ {
		switch c := m[i] &^ 0x20; {
		case 'A' <= c && c <= 'Z', '0' <= m[i] && m[i] <= '9', m[i] == '-', m[i] == '_':
		default:
			return false
		}
	}
	return 0 < len(m) && len(m) <= 20
}

// diagnostic is what an error of package ldap says.
func diagnostic(err error) string { return strings.ReplaceAll(ldap.AsError(err).Diagnostic, "\n", " ") }

// show quotes what was written, bounded and on one line.
func show(text string) string { return fmt.Sprintf("%q", clip(text)) }

func clip(text string) string {
	const most = 80
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "..."
	}
	return text
}
