// Package constraint holds values to rules beyond their syntax: a pattern, a size, a number, a set expression, entries that
// must exist. It looks inside the transaction, so that what a rule refers to cannot go meanwhile.
package constraint

import (
	"cmp"
	"fmt"
	"regexp"
	"strings"

	"portolan/internal/op"
	"portolan/ldap"
)

// Options is the table [overlay.constraint].
type Options struct {
	Rules []Rule `toml:"rule"`
}

// Rule is one rule: all that it says must hold for the entries that base, scope and filter describe.
type Rule struct {
	// Name stands in errors.
	Name string `toml:"name"`
	// Attributes are what the rule is about, subtypes and options included.
	Attributes []string `toml:"attributes,one"`

	// Regex are patterns of which each value must match all, NotRegex those of which it must match none (RE2).
	Regex    []string `toml:"regex,one"`
	NotRegex []string `toml:"not_regex,one"`
	// MinSize and MaxSize bound a value in octets; 0 is no bound.
	MinSize int64 `toml:"min_size,size"`
	MaxSize int64 `toml:"max_size,size"`
	// MaxCount bounds the number of values of all the attributes of the rule together; nil is no bound.
	MaxCount *int `toml:"max_count"`
	// Exists is an LDAP URL: each value must be a value of one of its attributes in an entry that it finds. Without
	// attributes, or with entryDN, it must be the name of such an entry.
	Exists string `toml:"exists"`
	// Set is an expression that must not be empty: see the README.
	Set string `toml:"set"`

	// Base, Scope and Filter say which entries the rule is about.
	Base   string `toml:"base"`
	Scope  string `toml:"scope"`
	Filter string `toml:"filter"`
}

// Defaults are the options of a configuration that says nothing: no rule.
func Defaults() Options { return Options{} }

// Validate says what in the table cannot be.
func (o *Options) Validate() error {
	_, err := compile(o.Rules)
	return err
}

// New returns the overlay.
func New(o Options) op.Overlay {
	x := &constraint{}
	rules, err := compile(o.Rules)
	x.rules = rules
	return op.Overlay{
		Name:         "constraint",
		Equality:     indexed(rules),
		Open:         func(p *op.Ports) (func(), error) { return nil, cmp.Or(err, x.known(p)) },
		Prepare:      x.prepare,
		CheckEntries: x.check,
	}
}

type constraint struct{ rules []*rule }

// known refuses attributes that the schema does not have: a rule that looks right and holds nothing is worse than none.
func (x *constraint) known(p *op.Ports) error {
	view := p.Directory.View()
	defer view.Close()
	for i, r := range x.rules {
		for _, list := range [][]string{r.Attributes, r.found, r.set.attributes()} {
			for _, a := range list {
				if view.Schema().AttributeTypeString(a) == nil {
					return fmt.Errorf("overlay.constraint.rule[%d]: the schema has no attribute %q", i+1, a)
				}
			}
		}
		for _, a := range r.found {
			if view.Schema().AttributeTypeString(a).Equality == nil {
				return fmt.Errorf("overlay.constraint.rule[%d].exists: values of %s cannot be looked for: it has no equality rule", i+1, a)
			}
		}
	}
	return nil
}

// rule is a Rule that was understood.
type rule struct {
	Rule
	label    string // "rule NAME"
	match    []*regexp.Regexp
	refuse   []*regexp.Regexp
	exists   *op.Part
	found    []string // attributes of Exists; none: the name
	set      *expression
	part     *op.Part
	narrowed bool // part is not the whole directory
}

// compile understands the rules. The error names the rule and the key.
func compile(in []Rule) ([]*rule, error) {
	out := make([]*rule, 0, len(in))
	for i := range in {
		r, err := in[i].compile(i)
		if err != nil {
			return nil, fmt.Errorf("overlay.constraint.rule[%d].%w", i+1, err)
		}
		out = append(out, r)
	}
	return out, nil
}

func (r *Rule) compile(i int) (*rule, error) {
	out := &rule{Rule: *r, label: fmt.Sprintf("rule %q", r.Name), narrowed: r.Base != "" || r.Filter != ""}
	if r.Name == "" {
		out.label = fmt.Sprintf("rule %d", i+1)
	}
	if len(r.Attributes) == 0 {
		return nil, fmt.Errorf("attributes: the rule is about none: write for example attributes = [\"mail\"]")
	}
	var err error
	if out.match, err = patterns("regex", r.Regex); err != nil {
		return nil, err
	}
	if out.refuse, err = patterns("not_regex", r.NotRegex); err != nil {
		return nil, err
	}
	if r.MaxSize > 0 && r.MinSize > r.MaxSize {
		return nil, fmt.Errorf("min_size: %d is above max_size, which is %d", r.MinSize, r.MaxSize)
	}
	if r.Exists != "" {
		if err := out.compileExists(r.Exists); err != nil {
			return nil, err
		}
	}
	if r.Set != "" {
		if out.set, err = parseSet(r.Set); err != nil {
			return nil, fmt.Errorf("set: %w", err)
		}
	}
	if len(r.Regex)+len(r.NotRegex) == 0 && r.MinSize == 0 && r.MaxSize == 0 && r.MaxCount == nil && r.Exists == "" && r.Set == "" {
		return nil, fmt.Errorf("attributes: the rule asks nothing of them: add regex, not_regex, min_size, max_size, max_count, exists or set")
	}
	out.part, err = op.NewPart(r.Base, r.Scope, r.Filter)
	return out, err
}

func patterns(key string, texts []string) ([]*regexp.Regexp, error) {
	out := make([]*regexp.Regexp, len(texts))
	for i, text := range texts {
		re, err := regexp.Compile(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		out[i] = re
	}
	return out, nil
}

func (r *rule) compileExists(text string) error {
	u, err := ldap.ParseURL(text)
	if err != nil {
		return fmt.Errorf("exists: %w", err)
	}
	if r.exists, err = op.PartOfURL(&u); err != nil {
		return fmt.Errorf("exists: %w", err)
	}
	for _, a := range u.Attributes {
		switch {
		case a == "*" || a == "+" || a == "1.1":
			return fmt.Errorf("exists: %q selects attributes: write the names of those whose values are meant", a)
		case strings.EqualFold(a, "entryDN"):
			if len(u.Attributes) > 1 {
				return fmt.Errorf("exists: entryDN stands alone: give the other attributes a rule of their own")
			}
			return nil
		}
		r.found = append(r.found, a)
	}
	return nil
}

// indexed lists the attributes that rules look values up in.
func indexed(rules []*rule) []string {
	var out []string
	for _, r := range rules {
		out = append(out, r.found...)
	}
	return out
}
