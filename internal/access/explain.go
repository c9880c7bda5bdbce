package access

import (
	"fmt"
	"strings"

	"portolan/internal/dit"
	"portolan/internal/schema"
)

// Explanation says what one rule has to do with a decision.
type Explanation struct {
	// Right is what the rule gives (Allowed) or takes (not Allowed) on what was asked about; 0 where it does not apply.
	Right   Right
	Allowed bool
	// Decides is the part of Right on which this rule has the last word. Over all explanations every right is decided
	// exactly once; those decided where Allowed are the rights that the subject has.
	Decides Right
	// Rule and Origin are empty for what follows from no rule.
	Rule, Origin string
	Reason       string
}

// Explain says how the rights of a subject come about: on an attribute of the target, or, where d has no type, on the
// target itself. Every rule is in it, in the order of the policy, and a last line for what no rule allows. It asks the
// same questions as an Evaluator and its verdicts are the Evaluator's.
func (p *Policy) Explain(s *Subject, t *Target, d schema.Description) []Explanation {
	if s.Admin {
		return []Explanation{{Right: Everything, Allowed: true, Decides: Everything, Reason: "the subject is the administrator, to whom no rule applies"}}
	}
	about := ofEntries
	if d.Type != nil {
		about = ofAttributes
	}
	own := *s
	own.evaluator = Evaluator{}
	e := p.Evaluator(&own)
	set := e.applicable(t)
	applies := make(map[*rule]bool, len(set.rules))
	for _, r := range set.rules {
		applies[r] = true
	}
	have := set.entry
	if d.Type != nil {
		have = set.attr(d, false, t.exists())
	}
	var taken Right
	out := make([]Explanation, 0, len(p.rules)+1)
	for _, r := range p.rules {
		x := Explanation{Allowed: !r.deny, Rule: r.name, Origin: r.origin}
		if applies[r] {
			x.Right = r.on(d)
		}
		if r.deny {
			taken |= x.Right
		}
		out = append(out, x)
	}
	hidden := d.Type != nil && t.exists() && set.hidden
	left := about
	for i, r := range p.rules {
		x := &out[i]
		switch {
		case !applies[r]:
			x.Reason = "does not apply: " + e.why(r, t)
			continue
		case x.Right == 0:
			x.Reason = "applies, and is about other things than " + subjectMatter(d)
			if r.own.has(d) {
				x.Reason = "applies, to values that are the subject's own name"
			}
			continue
		case r.deny:
			x.Decides = x.Right & left
			x.Reason = "denies " + x.Right.String()
		case hidden:
			x.Reason = "would allow " + x.Right.String() + ", but the subject may not know of the entry"
			continue
		default:
			x.Decides = x.Right & have & left
			x.Reason = "allows " + x.Right.String()
			if lost := x.Right & taken; lost != 0 {
				x.Reason += "; a rule that denies takes " + lost.String()
			}
		}
		left &^= x.Decides
	}
	if left != 0 {
		reason := "no rule allows " + left.String()
		if hidden {
			reason = "the subject may not know of the entry: it needs disclose, which any right on the entry brings with it"
		}
		out = append(out, Explanation{Right: left, Decides: left, Reason: reason})
	}
	return out
}

// on returns what the rule gives or takes on an attribute, or on the entry where d has no type.
func (r *rule) on(d schema.Description) Right {
	if d.Type == nil {
		return r.entry
	}
	return r.onAttr(d, false)
}

func subjectMatter(d schema.Description) string {
	if d.Type == nil {
		return "the entry itself"
	}
	return d.String()
}

// why names the first condition of a rule that is not met.
func (e *Evaluator) why(r *rule, t *Target) string {
	s := e.subject
	var groups lastGroup
	switch {
	case !r.protected(s) && r.tls > 1:
		return fmt.Sprintf("the connection has %d bits of TLS, the rule wants %d", s.TLSBits, r.tls)
	case !r.protected(s):
		return "the connection is not protected by TLS"
	case !r.near(s):
		if !s.Addr.IsValid() {
			return "the client came over a Unix socket, which is in no network"
		}
		return fmt.Sprintf("the client's address %s is in none of the rule's networks", s.Addr.Unmap())
	case !r.authenticated(s):
		return fmt.Sprintf("the client did not authenticate with %s", strings.Join(r.methods, " or "))
	}
	verdict := r.subject(s, &groups)
	if verdict == never {
		if r.excluded.has(s, &groups) {
			return "the rule excludes the subject"
		}
		return "the rule does not name the subject"
	}
	inScope := r.scopes == nil
	for i := range r.scopes {
		inScope = inScope || r.scopes[i].covers(t.Name.Norm)
	}
	switch {
	case !inScope:
		return "the entry is not where the rule looks"
	case t.Entry == nil:
		return "there is no entry that it could look at"
	case verdict == open && e.among(&r.named, t) == dit.False:
		switch {
		case len(r.named.dnattr) > 0:
		case t.New:
			return "an entry that is being added is nobody's own"
		default:
			return "the entry is not the subject's own"
		}
		return fmt.Sprintf("the entry does not name the subject in %s", names(r.named.dnattr))
	case e.names(r, verdict, t) == dit.False:
		return "the rule excludes the subject on this entry"
	case r.filter != nil && e.matches(r, t) == dit.False:
		return "the entry does not match " + r.text
	}
	return "the entry has too many values to decide"
}

func names(list []*schema.AttributeType) string {
	out := make([]string, len(list))
	for i, t := range list {
		out[i] = t.Name()
	}
	return strings.Join(out, " or ")
}
