package op

import (
	"slices"
	"strings"

	"portolan/internal/schema"
)

// Subtree is the part of the directory that a subentry speaks for (RFC 3672 section 2.1).
type Subtree struct {
	// Point is the canonical name of the administrative point, the entry above the subentry.
	Point string

	spec        *schema.SubtreeSpecification
	base        string
	depth       int
	chopBefore  []string
	chopBeneath []string
}

// NewSubtree returns the part that a value of subtreeSpecification describes below an administrative point. The error is that
// of a value that is none.
func NewSubtree(s *schema.Schema, point string, specification []byte) (*Subtree, error) {
	spec, err := schema.ParseSubtreeSpecification(specification)
	if err != nil {
		return nil, err
	}
	beneath := func(local []byte, above string) string {
		switch {
		case len(local) == 0:
			return above
		case above == "":
			return string(local)
		}
		return string(local) + "," + above
	}
	t := &Subtree{Point: point, spec: spec, base: beneath(s.NormalizeParsed(nil, spec.Base), point)}
	t.depth = NameDepth(t.base)
	for _, local := range spec.ChopBefore {
		t.chopBefore = append(t.chopBefore, beneath(s.NormalizeParsed(nil, local), t.base))
	}
	for _, local := range spec.ChopAfter {
		t.chopBeneath = append(t.chopBeneath, beneath(s.NormalizeParsed(nil, local), t.base))
	}
	return t, nil
}

// Covers reports whether the entry of a canonical name is in the part. classes is asked for its object classes, where these
// matter.
func (t *Subtree) Covers(s *schema.Schema, norm string, classes func() [][]byte) bool {
	if !schema.DNUnder([]byte(norm), []byte(t.base)) {
		return false
	}
	if below := NameDepth(norm) - t.depth; below < t.spec.Minimum || t.spec.Maximum >= 0 && below > t.spec.Maximum {
		return false
	}
	if slices.ContainsFunc(t.chopBefore, func(chop string) bool { return schema.DNUnder([]byte(norm), []byte(chop)) }) ||
		slices.ContainsFunc(t.chopBeneath, func(chop string) bool { return norm != chop && schema.DNUnder([]byte(norm), []byte(chop)) }) {
		return false
	}
	return len(t.spec.Filter) == 0 || refined(s, t.spec.Filter, classes())
}

// NameDepth is the number of RDNs of a canonical name.
func NameDepth(norm string) int {
	if norm == "" {
		return 0
	}
	return 1 + strings.Count(norm, ",")
}

// refined decides a specification filter, whose steps are in postfix order.
func refined(s *schema.Schema, steps []schema.RefinementStep, classes [][]byte) bool {
	has := func(name string) bool {
		want := s.ObjectClassBytes([]byte(name))
		return want != nil && slices.ContainsFunc(classes, func(c []byte) bool {
			have := s.ObjectClassBytes(c)
			return have != nil && have.IsA(want)
		})
	}
	var stack []bool
	for _, step := range steps {
		if step.Op == schema.RefineItem {
			stack = append(stack, has(step.Class))
			continue
		}
		at := len(stack) - step.Operands
		if at < 0 {
			return false
		}
		operands := stack[at:]
		var result bool
		switch step.Op {
		case schema.RefineAnd:
			result = !slices.Contains(operands, false)
		case schema.RefineOr:
			result = slices.Contains(operands, true)
		case schema.RefineNot:
			result = len(operands) == 1 && !operands[0]
		}
		stack = append(stack[:at], result)
	}
	return len(stack) == 1 && stack[0]
}
