package app

import (
	"context"
	"fmt"
	"net/netip"

	"portolan/internal/access"
	"portolan/internal/op"
	"portolan/internal/schema"
)

// AccessQuestion asks which access rules decide.
type AccessQuestion struct {
	// As is the DN of who asks; empty or "anonymous" is anonymous.
	As string `json:"as"`
	// On is the DN of the entry asked about.
	On string `json:"on"`
	// Attribute is what of the entry; empty is the entry itself.
	Attribute string `json:"attribute,omitempty"`
	// From is the client's address. Empty is a Unix socket, which is in no network.
	From string `json:"from,omitempty"`
	// TLS is the strength of the connection in bits; 0 is none.
	TLS int `json:"tls"`
	// Method is how the client authenticated, "simple" where it is empty.
	Method string `json:"method,omitempty"`
}

// AccessAnswer says what the rules give, and why.
type AccessAnswer struct {
	As        string `json:"as"`
	On        string `json:"on"`
	Attribute string `json:"attribute,omitempty"`
	// AsExists and OnExists say whether there are entries of these names; the administrator needs none. Without one rules
	// that look at it do not apply.
	AsExists bool `json:"as_exists"`
	OnExists bool `json:"on_exists"`
	// Rights lists what is allowed, "none" where nothing is.
	Rights string       `json:"rights"`
	Rules  []AccessRule `json:"rules"`
}

// AccessRule says what one rule has to do with the answer.
type AccessRule struct {
	Rule    string `json:"rule,omitempty"`   // empty: what no rule says
	Origin  string `json:"origin,omitempty"` // file:line:column, or where built-in rules are described
	Allows  bool   `json:"allows"`           // the rule allows; otherwise it denies
	Rights  string `json:"rights"`           // what it gives or takes here
	Decides string `json:"decides"`          // the part on which it has the last word
	Reason  string `json:"reason"`
}

// ExplainAccess implements Verbs. The rules are those in force.
func (a *Admin) ExplainAccess(_ context.Context, q AccessQuestion) (*AccessAnswer, error) {
	set := a.d.Engine.Settings()
	if set.Policy == nil {
		return nil, fmt.Errorf("there are no access rules in force")
	}
	id, err := a.who(q)
	if err != nil {
		return nil, err
	}
	subject, err := a.subject(id, q.From, q.TLS)
	if err != nil {
		return nil, err
	}
	var d schema.Description
	if q.Attribute != "" {
		if d, err = a.d.Schema().DescribeString(q.Attribute); err != nil {
			return nil, err
		}
		if d.Type == nil {
			return nil, fmt.Errorf("the schema has no attribute type %q", q.Attribute)
		}
	}
	view := a.d.Store.View()
	defer view.Close()
	if err := view.Pin(); err != nil {
		return nil, err
	}
	name, err := a.d.Engine.NormalizeName(q.On)
	if err != nil {
		return nil, fmt.Errorf("on: %w", err)
	}
	target := &access.Target{Name: name, Large: view}
	if target.Entry, _, err = view.Lookup(name.Norm); err != nil {
		return nil, err
	}
	if target.Entry != nil {
		if target.Name, err = view.Name(target.Entry); err != nil {
			return nil, err
		}
	}
	answer := &AccessAnswer{
		As: id.Name.DN, On: target.Name.DN, Attribute: d.String(),
		AsExists: id.Entry != 0 || id.Admin, OnExists: target.Entry != nil,
	}
	if subject.Anonymous {
		answer.As = "anonymous"
	}
	var rights access.Right
	for _, x := range set.Policy.Explain(subject, target, d) {
		if x.Allowed {
			rights |= x.Decides
		}
		answer.Rules = append(answer.Rules, AccessRule{
			Rule: x.Rule, Origin: x.Origin, Allows: x.Allowed, Rights: x.Right.String(), Decides: x.Decides.String(), Reason: x.Reason,
		})
	}
	answer.Rights = rights.String()
	return answer, nil
}

// subject is a client as the access rules see it: an identity over a connection. Without an address it is a Unix socket.
func (a *Admin) subject(id *op.Identity, from string, bits int) (*access.Subject, error) {
	s := &access.Subject{
		Name: id.Name, Entry: id.Entry, Anonymous: id.IsAnonymous(), Admin: id.Admin,
		Protected: bits > 0 || from == "", TLSBits: bits, Method: id.Method, InGroup: a.d.Engine.InGroup(id),
	}
	if from == "" {
		return s, nil
	}
	addr, err := netip.ParseAddr(from)
	if err != nil {
		return nil, fmt.Errorf("%q is not an IP address", from)
	}
	s.Addr = addr.Unmap()
	s.Protected = s.Protected || s.Addr.IsLoopback()
	return s, nil
}

// who returns the identity that a question is about. A name without an entry is a subject all the same: it may be that of
// a client certificate, or of a process on a Unix socket.
func (a *Admin) who(q AccessQuestion) (*op.Identity, error) {
	if q.As == "" || q.As == "anonymous" {
		return op.Anonymous(), nil
	}
	method := q.Method
	if method == "" {
		method = "simple"
	}
	name, err := a.d.Engine.NormalizeName(q.As)
	if err != nil {
		return nil, fmt.Errorf("as: %w", err)
	}
	if admin := a.d.Engine.AdminIdentity(method); name.Norm == admin.Name.Norm && name.Norm != "" {
		return admin, nil
	}
	id, err := a.d.Engine.Identify(name.Norm, method)
	if err != nil {
		return nil, err
	}
	if id == nil {
		id = &op.Identity{Name: name, Method: method}
	}
	return id, nil
}
