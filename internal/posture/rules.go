package posture

import (
	"fmt"
	"slices"
	"strings"

	"portolan/internal/access"
	"portolan/internal/config"
)

const (
	reading = access.Read | access.Search | access.Compare
	writing = access.Add | access.Delete | access.Modify | access.Rename
	acting  = access.Proxy | access.Control
)

// anonymousUse looks at what strangers may do at all.
func anonymousUse(r *review) {
	if r.Config.Security.Anonymous != "read" {
		return
	}
	severity, means := Warn, "whoever reaches the server may search, as far as the access rules of the file let anonymous clients"
	if r.Config.Security.BuiltinAccess {
		severity, means = Fail, "whoever reaches the server reads everything that is not secret: the built-in rules let anonymous clients read as users do"
	}
	r.setting("security.anonymous", Finding{Severity: severity, Seen: `anonymous is "read"`, Means: means})
}

// eachGrant calls f for what rules of the file give.
func (r *review) eachGrant(f func(g *access.Grant, rule *config.AccessRule)) {
	for _, g := range r.Policy.Grants() {
		if g.Rule != access.Builtin {
			f(&g, &r.Config.Access[g.Rule])
		}
	}
}

// rule adds a finding about a rule. key is the one to change, and value what to write there; where that is empty the rule
// is to go.
func (r *review) rule(n int, key string, value []string, f Finding) {
	rule := &r.Config.Access[n]
	f.Subject = rule.Name
	if f.Subject == "" {
		f.Subject = fmt.Sprintf("rule %d", n+1)
	}
	f.Key = fmt.Sprintf("access[%d].%s", n, key)
	if len(value) == 0 {
		f.Fix = "remove this [[access]] table"
	} else {
		f.Fix, f.Write = "in this [[access]]", key+" = "+list(value)
	}
	r.add(rule.At(key), f)
}

// list writes a list that may be a text where it has one element.
func list(values []string) string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = config.Quote(v)
	}
	if len(out) == 1 {
		return out[0]
	}
	return "[" + strings.Join(out, ", ") + "]"
}

// authenticated are the clients of a rule without anonymous ones.
func authenticated(who []string) []string {
	var out []string
	for _, w := range who {
		switch w {
		case "anonymous":
		case "*":
			out = append(out, "users")
		default:
			out = append(out, w)
		}
	}
	return out
}

// but says on one line that a rule gives something under conditions only.
func but(g *access.Grant) string {
	if g.Narrowed {
		return ", under its conditions"
	}
	return ""
}

func anonymousRules(r *review) {
	use := r.Config.Security.Anonymous == "read"
	r.eachGrant(func(g *access.Grant, rule *config.AccessRule) {
		if g.To != access.ToAnonymous || (g.Entry|g.Attrs)&(reading|access.Disclose) == 0 {
			return
		}
		f := Finding{Severity: Fail, Seen: "this rule lets anonymous clients read" + but(g), Means: "whoever reaches the server reads what the rule is about"}
		switch {
		case !use && !slices.Contains(rule.Who, "anonymous"):
			return // "*" with nobody but users to be
		case !use:
			f.Severity, f.Means = Warn, "it does nothing while security.anonymous is \"rootdse\", and opens what it is about on the day that is changed"
		case g.Narrowed:
			f.Severity = Warn
		}
		r.rule(g.Rule, "who", authenticated(rule.Who), f)
	})
}

func secretRules(r *review) {
	r.eachGrant(func(g *access.Grant, rule *config.AccessRule) {
		if g.SecretRights&reading == 0 {
			return
		}
		f := Finding{
			Severity: Fail, Seen: fmt.Sprintf("this rule lets %s %s %s%s", audience(g.To), verbs(g.SecretRights), strings.Join(g.Secrets, ", "), but(g)),
			Means: "whoever gets the hashes or keys can guess passwords without being held back, or use them as they are",
		}
		if g.To == access.ToSome {
			f.Severity = Warn
			f.Means += "; where an application cannot do without, give it from its own network alone, and accept this finding"
		}
		left := slices.DeleteFunc(slices.Clone(rule.Attrs), func(a string) bool {
			name, _, _ := strings.Cut(a, ";")
			return slices.ContainsFunc(g.Secrets, func(s string) bool { return r.same(s, name) })
		})
		if slices.Equal(left, rule.Attrs) {
			left = nil
		}
		r.rule(g.Rule, "attrs", left, f)
	})
}

// same reports whether an attribute of a rule stands for the one called name: by any of its names, or as a supertype.
func (r *review) same(name, written string) bool {
	t, w := r.Schema.AttributeTypeString(name), r.Schema.AttributeTypeString(written)
	return t != nil && w != nil && slices.Contains(w.Subtypes(), t)
}

func audience(to access.Audience) string {
	switch to {
	case access.ToAnonymous:
		return "anonymous clients"
	case access.ToUsers:
		return "every user"
	}
	return "those that it names"
}

// verbs says in words what can be done with a secret.
func verbs(rights access.Right) string {
	switch {
	case rights&access.Read != 0:
		return "read"
	case rights&access.Search != 0:
		return "search by"
	}
	return "compare"
}

func writeRules(r *review) {
	r.eachGrant(func(g *access.Grant, rule *config.AccessRule) {
		if g.To == access.ToSome {
			return
		}
		who := "every user"
		f := Finding{Severity: Fail}
		if g.To == access.ToAnonymous {
			who = "anonymous clients"
			if r.Config.Security.Anonymous != "read" && !slices.Contains(rule.Who, "anonymous") {
				return
			}
		}
		if g.Narrowed {
			f.Severity = Warn
		}
		switch {
		case (g.Entry|g.Attrs|g.SecretRights)&writing != 0:
			f.Seen = "this rule lets " + who + " " + ((g.Entry | g.Attrs | g.SecretRights) & writing).String() + but(g)
			f.Means = "one stolen password of anybody changes what the rule is about, groups and passwords of others among it where it does not leave them out"
			r.rule(g.Rule, "allow", without(rule.Allow), f)
		case g.Own&access.Add != 0:
			f.Severity = Warn
			f.Seen = "this rule lets " + who + " put themselves into what it is about" + but(g)
			f.Means = "groups that give rights are no longer given by anybody; leave those out of \"on\""
			r.rule(g.Rule, "allow", without(rule.Allow), f)
		}
	})
}

// without takes what changes something out of a list of rights.
func without(rights []string) []string {
	var out []string
	for _, name := range rights {
		switch name {
		case "add", "delete", "modify", "write", "rename":
		case "all":
			return []string{"disclose", "search", "read", "compare"}
		default:
			out = append(out, name)
		}
	}
	return out
}

func proxyRules(r *review) {
	r.eachGrant(func(g *access.Grant, rule *config.AccessRule) {
		if g.Entry&acting == 0 || g.To == access.ToSome {
			return
		}
		left := slices.DeleteFunc(slices.Clone(rule.Allow), func(name string) bool { return name == "proxy" || name == "control" })
		r.rule(g.Rule, "allow", left, Finding{
			Severity: Fail, Seen: "this rule lets " + audience(g.To) + " " + (g.Entry & acting).String(),
			Means: "they may act as the entries that the rule is about, or administrate them",
		})
	})
}

// ruleRemarks passes on what the compiler of the rules has to say.
func ruleRemarks(r *review) {
	for _, m := range r.Policy.Remarks() {
		if m.Rule == access.Builtin {
			continue
		}
		rule := &r.Config.Access[m.Rule]
		f := Finding{
			Severity: Warn, Subject: rule.Name, Key: fmt.Sprintf("access[%d].%s", m.Rule, m.Key), Seen: m.Text,
			Means: "the rule does less than it says; where it denies, something is open that is meant to be closed", Fix: "correct the name, or remove it",
		}
		if f.Subject == "" {
			f.Subject = fmt.Sprintf("rule %d", m.Rule+1)
		}
		r.add(rule.At(m.Key), f)
	}
}
