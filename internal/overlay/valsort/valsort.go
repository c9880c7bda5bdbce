// Package valsort sends the values of attributes in an order: by text, by number, by weight. What is stored stays as it is.
package valsort

import (
	"bytes"
	"cmp"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/internal/schema"
	"portolan/ldap"
)

// Options is the table [overlay.valsort].
type Options struct {
	Rules []Rule `toml:"rule"`
}

// Rule says how values of some attributes are sorted. Of several for one attribute the first that an entry comes under
// counts.
type Rule struct {
	Attributes []string `toml:"attributes,one"`
	// Base is the subtree that the rule is about, empty for the whole directory.
	Base string `toml:"base"`
	// Order is how values are sorted: those of the same weight, where they are Weighted.
	Order string `toml:"order" enum:"|alpha-ascend|alpha-descend|numeric-ascend|numeric-descend"`
	// Weighted values begin with a whole number in braces, by which they are sorted first, upwards. It is not sent.
	Weighted bool `toml:"weighted"`
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
	rules, err := compile(o.Rules)
	x := valsort{rules}
	out := op.Overlay{
		Name:         "valsort",
		Open:         func(p *op.Ports) (func(), error) { return nil, cmp.Or(err, x.known(p)) },
		Prepare:      x.prepare,
		CheckEntries: x.check,
	}
	if len(rules) > 0 {
		out.Arrange = &op.Arrange{Attributes: x.attributes(), Values: x.arrange}
	}
	return out
}

type valsort struct{ rules []*rule }

// rule is a Rule that was understood.
type rule struct {
	Rule
	part    *op.Part
	numeric bool
	down    bool
}

func compile(in []Rule) ([]*rule, error) {
	out := make([]*rule, len(in))
	for i, r := range in {
		bad := func(format string, args ...any) error {
			return fmt.Errorf("overlay.valsort.rule[%d].%s", i+1, fmt.Sprintf(format, args...))
		}
		if len(r.Attributes) == 0 {
			return nil, bad("attributes: the rule is about none: write for example attributes = [\"ou\"]")
		}
		if r.Order == "" && !r.Weighted {
			return nil, bad("order: the rule sorts by nothing: write alpha-ascend, alpha-descend, numeric-ascend or numeric-descend, or weighted = true")
		}
		part, err := op.NewPart(r.Base, "", "")
		if err != nil {
			return nil, bad("%v", err)
		}
		out[i] = &rule{Rule: r, part: part, numeric: strings.HasPrefix(r.Order, "numeric"), down: strings.HasSuffix(r.Order, "descend")}
	}
	return out, nil
}

// known refuses attributes that the schema does not have, and those whose values are not to be changed on their way.
func (x valsort) known(p *op.Ports) error {
	view := p.Directory.View()
	defer view.Close()
	for i, r := range x.rules {
		for _, name := range r.Attributes {
			t := view.Schema().AttributeTypeString(name)
			switch {
			case t == nil:
				return fmt.Errorf("overlay.valsort.rule[%d]: the schema has no attribute %q", i+1, name)
			case t.NoUserModification || t == view.Schema().Known.ObjectClass:
				return fmt.Errorf("overlay.valsort.rule[%d]: %s is the server's to order", i+1, name)
			}
		}
	}
	return nil
}

func (x valsort) attributes() []string {
	var out []string
	for _, r := range x.rules {
		out = append(out, r.Attributes...)
	}
	return out
}

// of returns the rule for an attribute of an entry, by the entry's canonical name; nil where there is none.
func (x valsort) of(s *schema.Schema, norm string, t *schema.AttributeType) (*rule, error) {
	for _, r := range x.rules {
		if !r.about(s, t) {
			continue
		}
		if in, err := r.part.Covers(s, norm); err != nil || in {
			return r, err
		}
	}
	return nil, nil
}

func (r *rule) about(s *schema.Schema, t *schema.AttributeType) bool {
	return slices.ContainsFunc(r.Attributes, func(name string) bool { return s.AttributeTypeString(name) == t })
}

// arrange sorts values on their way out.
func (x valsort) arrange(req *op.Request, r op.Reader, e *dit.Entry, d schema.Description, values [][]byte) ([][]byte, error) {
	if len(values) == 0 {
		return values, nil
	}
	name, err := r.Name(e)
	if err != nil {
		return nil, err
	}
	rule, err := x.of(r.Schema(), name.Norm, d.Type)
	if err != nil || rule == nil {
		return values, err
	}
	return rule.sort(r.Schema(), d.Type, values, req.Search.Weights), nil
}

// item is a value with what it is sorted by.
type item struct {
	value  []byte
	weight *big.Int // nil: none, behind all
	number *big.Int // nil: none, behind all
	key    []byte
}

func (r *rule) sort(s *schema.Schema, t *schema.AttributeType, values [][]byte, keepWeights bool) [][]byte {
	items := make([]item, len(values))
	for i, v := range values {
		it := &items[i]
		it.value = v
		text := v
		if r.Weighted {
			if weight, rest, ok := cutWeight(v); ok {
				it.weight, text = weight, rest
				if !keepWeights {
					it.value = rest
				}
			}
		}
		if r.numeric {
			it.number, _ = integer(bytes.ReplaceAll(text, []byte(" "), nil))
		}
		it.key = text
		if rule := s.OrderOf(t); rule != nil && rule.ValueKey != nil && !r.numeric && t.Syntax.OID != integerSyntax {
			if key, err := rule.ValueKey(s, nil, text); err == nil {
				it.key = key
			}
		}
	}
	slices.SortStableFunc(items, func(a, b item) int {
		if r.Weighted {
			if c := lesser(a.weight, b.weight, false); c != 0 {
				return c
			}
		}
		switch {
		case r.numeric:
			return lesser(a.number, b.number, r.down)
		case r.down:
			return bytes.Compare(b.key, a.key)
		case r.Order != "":
			return bytes.Compare(a.key, b.key)
		}
		return 0
	})
	for i := range items {
		values[i] = items[i].value
	}
	return values
}

// integerSyntax is INTEGER (RFC 4517 section 3.3.16): by text, its values are sorted as they are written.
const integerSyntax = "1.3.6.1.4.1.1466.115.121.1.27"

// lesser orders numbers; what is none comes last either way.
func lesser(a, b *big.Int, down bool) int {
	switch {
	case a == nil && b == nil:
		return 0
	case a == nil:
		return 1
	case b == nil:
		return -1
	case down:
		return b.Cmp(a)
	}
	return a.Cmp(b)
}

// maxDigits bounds the numbers that are computed with.
const maxDigits = 1000

func integer(b []byte) (*big.Int, bool) {
	if len(b) == 0 || len(b) > maxDigits || b[0] == '+' {
		return nil, false
	}
	return new(big.Int).SetString(string(b), 10)
}

// cutWeight takes a value apart: {weight}rest.
func cutWeight(v []byte) (weight *big.Int, rest []byte, ok bool) {
	inner, ok := bytes.CutPrefix(v, []byte("{"))
	if !ok {
		return nil, v, false
	}
	digits, rest, ok := bytes.Cut(inner, []byte("}"))
	if !ok {
		return nil, v, false
	}
	if weight, ok = integer(digits); !ok {
		return nil, v, false
	}
	return weight, rest, true
}

// prepare refuses new values without a weight where there must be one, as slapd does.
func (x valsort) prepare(tx op.Tx, _ *op.Request, before *dit.Entry, d *dit.Draft) error {
	s := tx.Schema()
	var norm string
	for i := range d.Attrs {
		a := &d.Attrs[i]
		if !a.Touched() || !slices.ContainsFunc(x.rules, func(r *rule) bool { return r.Weighted && r.about(s, a.Desc.Type) }) {
			continue
		}
		if norm == "" {
			name, err := op.DraftName(tx, d)
			if err != nil {
				return err
			}
			norm = name.Norm
		}
		rule, err := x.of(s, norm, a.Desc.Type)
		if err != nil || rule == nil || !rule.Weighted {
			return err
		}
		n := 0
		if err := a.EachNew(func(value []byte) error {
			if _, rest, ok := cutWeight(value); !ok || len(rest) == 0 {
				if !(before != nil && stored(before, a.Desc, value)) && !names(s, d, a.Desc.Type, value) {
					return ldap.Errorf(ldap.ConstraintViolation,
						"%s: value #%d has no weight, by which the values are sorted here: write {1}text", a.Desc, n)
				}
			}
			n++
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// names reports whether a value is in the name of the entry: names have no weights.
func names(s *schema.Schema, d *dit.Draft, t *schema.AttributeType, value []byte) bool {
	name, err := ldap.ParseDN(d.RDN)
	if err != nil || len(name) == 0 {
		return false
	}
	for _, ava := range name[0] {
		if s.AttributeTypeString(ava.Type) == t && bytes.EqualFold(ava.Value, value) {
			return true
		}
	}
	return false
}

// stored reports whether an entry has the value already: what was there before the rule may stay.
func stored(e *dit.Entry, d schema.Description, value []byte) bool {
	slot := e.Shape().Find(d)
	if slot < 0 {
		return false
	}
	if _, large := e.Large(slot); large {
		return false
	}
	for v := e.Values(slot); ; {
		have, ok := v.Next()
		if !ok || bytes.Equal(have, value) {
			return ok
		}
	}
}

// check reports values without a weight where there must be one.
func (x valsort) check(r op.Reader, report func(op.Finding)) (func(e *dit.Entry) error, error) {
	if !slices.ContainsFunc(x.rules, func(r *rule) bool { return r.Weighted }) {
		return nil, nil
	}
	s := r.Schema()
	return func(e *dit.Entry) error {
		name, err := r.Name(e)
		if err != nil {
			return err
		}
		for slot, d := range e.Shape().Slots {
			rule, err := x.of(s, name.Norm, d.Type)
			if err != nil {
				return err
			}
			if rule == nil || !rule.Weighted {
				continue
			}
			if err := op.EachValue(r, e, slot, func(value []byte) bool {
				if _, rest, ok := cutWeight(value); !ok || len(rest) == 0 {
					report(op.Finding{Where: name.DN, What: fmt.Sprintf("%s %q has no weight", d, value), Advice: "write it as {1}text; without, it comes last"})
				}
				return true
			}); err != nil {
				return err
			}
		}
		return nil
	}, nil
}
