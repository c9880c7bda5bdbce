package app

import (
	"context"
	"fmt"

	"portolan/internal/access"
	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/internal/schema"
	"portolan/internal/store"
)

// AccessTest are expectations of access rules.
type AccessTest struct {
	Expectations []access.Expectation `json:"expectations"`
	// InForce asks the rules that a running server goes by. Without it those of the configuration file are asked, as it is now.
	InForce bool `json:"in_force,omitempty"`
}

// AccessVerdict says which expectations are not met.
type AccessVerdict struct {
	Passed   int             `json:"passed"`
	Failures []AccessFailure `json:"failures"`
}

// AccessFailure is an expectation that is not met.
type AccessFailure struct {
	Line int    `json:"line"`
	Text string `json:"text"`
	// Attribute is which of several it is about.
	Attribute string `json:"attribute,omitempty"`
	// Rights are what the rules give; Problem is why they could not be asked.
	Rights  string `json:"rights,omitempty"`
	Problem string `json:"problem,omitempty"`
	// Rules are those that decide about the rights that are not as expected.
	Rules []AccessRule `json:"rules,omitempty"`
}

// TestAccess implements Verbs.
func (a *Admin) TestAccess(ctx context.Context, t AccessTest) (*AccessVerdict, error) {
	policy := a.d.Engine.Settings().Policy
	if !t.InForce && a.Running() {
		c, err := a.currentConfig()
		if err != nil {
			return nil, err
		}
		if policy, err = compileAccess(c, a.d.Schema()); err != nil {
			return nil, err
		}
	}
	view := a.d.Store.View()
	defer view.Close()
	if err := view.Pin(); err != nil {
		return nil, err
	}
	v := &AccessVerdict{Failures: []AccessFailure{}}
	for i := range t.Expectations {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		x := &t.Expectations[i]
		f := AccessFailure{Line: x.Line, Text: x.Text, Attribute: x.Attr}
		met, err := a.expected(policy, view, x, &f)
		switch {
		case err != nil:
			f.Problem = err.Error()
		case met:
			v.Passed++
			continue
		}
		v.Failures = append(v.Failures, f)
	}
	return v, nil
}

// expected asks the rules about one expectation. An error means that they could not be asked.
func (a *Admin) expected(policy *access.Policy, view *store.View, x *access.Expectation, f *AccessFailure) (bool, error) {
	id, err := a.expectedClient(x)
	if err != nil {
		return false, err
	}
	subject, err := a.subject(id, x.From, x.TLS)
	if err != nil {
		return false, err
	}
	target, err := a.expectedEntry(view, x)
	if err != nil {
		return false, err
	}
	var d schema.Description
	if x.Attr != "" {
		if d, err = a.d.Schema().DescribeString(x.Attr); err != nil {
			return false, err
		}
		if d.Type == nil {
			return false, fmt.Errorf("the schema has no attribute type %q", x.Attr)
		}
	}
	have := access.Decide(policy, subject, target, d, x.Value, x.HasValue)
	if x.Met(have) {
		return true, nil
	}
	f.Rights = have.String()
	wrong := x.Wrong(have)
	for _, r := range policy.Explain(subject, target, d) {
		if r.Decides&wrong == 0 && !(x.HasValue && r.Right&wrong != 0) {
			continue
		}
		f.Rules = append(f.Rules, AccessRule{
			Rule: r.Rule, Origin: r.Origin, Allows: r.Allowed, Rights: r.Right.String(), Decides: (r.Decides & wrong).String(), Reason: r.Reason,
		})
	}
	return false, nil
}

// expectedClient finds a client. One that does not exist is a mistake in a test: rules would not apply to it, and it would pass.
func (a *Admin) expectedClient(x *access.Expectation) (*op.Identity, error) {
	switch x.As {
	case "anonymous":
		return op.Anonymous(), nil
	case "admin":
		return a.d.Engine.AdminIdentity(x.Method), nil
	}
	id, err := a.who(AccessQuestion{As: x.As, Method: x.Method})
	if err == nil && id.Entry == 0 && !id.Admin {
		err = fmt.Errorf("there is no entry %s: who is the client?", x.As)
	}
	return id, err
}

func (a *Admin) expectedEntry(view *store.View, x *access.Expectation) (*access.Target, error) {
	name, err := a.d.Engine.NormalizeName(x.On)
	if err != nil {
		return nil, fmt.Errorf("%q is no name of an entry: %w", x.On, err)
	}
	t := &access.Target{Name: name, Large: view}
	if t.Entry, _, err = view.Lookup(name.Norm); err != nil {
		return nil, err
	}
	switch {
	case x.Missing && t.Entry != nil:
		return nil, fmt.Errorf("there is an entry %s", x.On)
	case x.Missing:
		return t, nil
	case t.Entry == nil:
		return nil, fmt.Errorf("there is no entry %s: write \"no\" before it where that is meant", x.On)
	}
	if t.Name, err = view.Name(t.Entry); err != nil {
		return nil, err
	}
	if x.Added {
		e := *t.Entry
		e.ID = dit.ID(0)
		t.Entry, t.New = &e, true
	}
	return t, nil
}
