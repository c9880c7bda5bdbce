package ldaptest

import (
	"fmt"
	"strconv"
	"strings"

	"portolan/ber"
	"portolan/ldap"
)

// request is a request line taken apart: options are "name=value" words of which the name is one of the verb's.
type request struct {
	step    *step
	args    []string
	changes [][]string // what stands behind each ";"
	options map[string]string
	id      int32 // 0: the next one
	ctl     []ldap.Control
	flags   map[string]bool
}

// verbs are the requests with their options. Options of all: id, ctl.
var verbs = map[string][]string{
	"open":     {"as", "uid", "gid"},
	"starttls": {"as"},
	"bind":     {"version"},
	"sasl":     {"name", "creds", "version"},
	"scram":    {"authz", "binding", "forged"},
	"unbind":   nil,
	"search":   {"base", "scope", "deref", "size", "time", "filter", "attrs"},
	"find":     {"base", "scope", "deref", "size", "time"},
	"modify":   nil,
	"add":      nil,
	"delete":   nil,
	"modrdn":   {"superior"},
	"compare":  nil,
	"abandon":  nil,
	"extended": {"value"},
	"whoami":   nil,
	"passwd":   {"user", "old", "new"},
	"cancel":   nil,
	"txn":      nil,
	"refresh":  nil,
}

// flagWords are words that are flags of a verb.
var flagWords = map[string][]string{
	"search": {"typesonly"},
	"modrdn": {"keep"},
}

// names of extended operations.
const (
	whoAmIOID   = "1.3.6.1.4.1.4203.1.11.3"
	passwdOID   = "1.3.6.1.4.1.4203.1.11.1"
	cancelOID   = "1.3.6.1.1.8"
	refreshOID  = "1.3.6.1.4.1.1466.101.119.1"
	startOID    = "1.3.6.1.1.21.1"
	endOID      = "1.3.6.1.1.21.3"
	noticeOID   = "1.3.6.1.4.1.1466.20036"
	startTLSOID = "1.3.6.1.4.1.1466.20037"
)

// take sorts the words of a request.
func (d *dialogue) take(s *step) (*request, error) {
	r := &request{step: s, options: map[string]string{}, flags: map[string]bool{}}
	known := append([]string{"id", "ctl"}, verbs[s.verb]...)
	for _, w := range s.words {
		if w.is(";") {
			r.changes = append(r.changes, nil)
			continue
		}
		text, err := d.expand(w)
		if err != nil {
			return nil, err
		}
		if n := len(r.changes); n > 0 {
			r.changes[n-1] = append(r.changes[n-1], text)
			continue
		}
		if name, value, ok := strings.Cut(text, "="); ok && contains(known, name) {
			switch name {
			case "id":
				n, err := strconv.ParseInt(value, 10, 32)
				if err != nil {
					return nil, fmt.Errorf("id %q is no message id", value)
				}
				r.id = int32(n)
			case "ctl":
				c, err := control(value)
				if err != nil {
					return nil, err
				}
				r.ctl = append(r.ctl, c)
			default:
				r.options[name] = value
			}
			continue
		}
		if contains(flagWords[s.verb], text) && !w.quoted {
			r.flags[text] = true
			continue
		}
		r.args = append(r.args, text)
	}
	// Indented lines beneath a request without words of its own begin without a mark.
	return r, nil
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

// want checks the number of words.
func (r *request) want(names ...string) error {
	if len(r.args) != len(names) {
		return fmt.Errorf("%s wants %d words (%s), not %d: %q", r.step.verb, len(names), strings.Join(names, ", "), len(r.args), r.args)
	}
	return nil
}

func (r *request) int(name string, to *int32) error {
	text, ok := r.options[name]
	if !ok {
		return nil
	}
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		return fmt.Errorf("%s=%q is not a number", name, text)
	}
	*to = int32(n)
	return nil
}

// op makes the protocolOp of a request.
func (r *request) op() (ldap.Op, error) {
	switch r.step.verb {
	case "bind":
		if err := r.want("name", "password"); err != nil {
			return nil, err
		}
		m := &ldap.BindRequest{Version: 3, Name: []byte(r.args[0]), Password: []byte(r.args[1])}
		return m, r.int("version", &m.Version)
	case "sasl":
		if err := r.want("mechanism"); err != nil {
			return nil, err
		}
		m := &ldap.BindRequest{Version: 3, Name: []byte(r.options["name"]), Auth: ldap.AuthSASL, Mechanism: []byte(r.args[0])}
		if creds, ok := r.options["creds"]; ok {
			m.Credentials, m.HasCreds = []byte(creds), true
		}
		return m, r.int("version", &m.Version)
	case "unbind":
		return &ldap.UnbindRequest{}, r.want()
	case "search", "find":
		return r.search()
	case "modify":
		if err := r.want("entry"); err != nil {
			return nil, err
		}
		m := &ldap.ModifyRequest{Object: []byte(r.args[0])}
		for _, c := range r.changes {
			mod, err := change(c)
			if err != nil {
				return nil, err
			}
			m.Changes = append(m.Changes, mod)
		}
		return m, nil
	case "add":
		if err := r.want("entry"); err != nil {
			return nil, err
		}
		m := &ldap.AddRequest{Entry: []byte(r.args[0])}
		for _, c := range r.changes {
			if len(c) == 0 {
				return nil, fmt.Errorf("an attribute without a name")
			}
			m.Attributes = append(m.Attributes, ldap.Attribute{Type: []byte(c[0]), Values: values(c[1:])})
		}
		return m, nil
	case "delete":
		if err := r.want("entry"); err != nil {
			return nil, err
		}
		return &ldap.DelRequest{Entry: []byte(r.args[0])}, nil
	case "modrdn":
		if err := r.want("entry", "newrdn"); err != nil {
			return nil, err
		}
		m := &ldap.ModifyDNRequest{Entry: []byte(r.args[0]), NewRDN: []byte(r.args[1]), DeleteOldRDN: !r.flags["keep"]}
		if superior, ok := r.options["superior"]; ok {
			m.NewSuperior, m.HasNewSuperior = []byte(superior), true
		}
		return m, nil
	case "compare":
		if err := r.want("entry", "attribute", "value"); err != nil {
			return nil, err
		}
		return &ldap.CompareRequest{Entry: []byte(r.args[0]), Attr: []byte(r.args[1]), Value: []byte(r.args[2])}, nil
	case "abandon":
		if err := r.want("message id"); err != nil {
			return nil, err
		}
		n, err := strconv.ParseInt(r.args[0], 10, 32)
		return &ldap.AbandonRequest{ID: int32(n)}, err
	case "extended":
		if err := r.want("name"); err != nil {
			return nil, err
		}
		m := &ldap.ExtendedRequest{Name: []byte(r.args[0])}
		if value, ok := r.options["value"]; ok {
			var err error
			m.HasValue = true
			if m.Value, err = octets(value); err != nil {
				return nil, err
			}
		}
		return m, nil
	case "whoami":
		return &ldap.ExtendedRequest{Name: []byte(whoAmIOID)}, r.want()
	case "passwd":
		return r.passwd(), r.want()
	case "cancel":
		if err := r.want("message id"); err != nil {
			return nil, err
		}
		n, err := strconv.ParseInt(r.args[0], 10, 64)
		value := sequence(func(dst []byte) []byte { return ber.AppendInt(dst, ber.Integer, n) })
		return &ldap.ExtendedRequest{Name: []byte(cancelOID), Value: value, HasValue: true}, err
	case "txn":
		return r.txn()
	case "refresh": // RFC 2589: refresh ENTRY SECONDS
		if err := r.want("entry", "seconds"); err != nil {
			return nil, err
		}
		n, err := strconv.ParseInt(r.args[1], 10, 64)
		value := sequence(func(dst []byte) []byte {
			return ber.AppendInt(ber.AppendString(dst, ber.ContextSpecific, r.args[0]), ber.ContextSpecific|1, n)
		})
		return &ldap.ExtendedRequest{Name: []byte(refreshOID), Value: value, HasValue: true}, err
	}
	return nil, fmt.Errorf("there is no verb %q", r.step.verb)
}

func (r *request) search() (ldap.Op, error) {
	m := &ldap.SearchRequest{Base: []byte(Suffix), Scope: ldap.ScopeSub}
	filter := "(objectClass=*)"
	if r.step.verb == "find" {
		if err := r.want("filter"); err != nil {
			return nil, err
		}
		filter = r.args[0]
		m.Attributes = values([]string{"1.1"})
	} else if err := r.want(); err != nil {
		return nil, err
	}
	if base, ok := r.options["base"]; ok {
		m.Base = []byte(base)
	}
	if text, ok := r.options["filter"]; ok {
		filter = text
	}
	switch scope := r.options["scope"]; scope {
	case "":
	case "base":
		m.Scope = ldap.ScopeBase
	case "one":
		m.Scope = ldap.ScopeOne
	case "sub":
		m.Scope = ldap.ScopeSub
	case "subordinate":
		m.Scope = ldap.ScopeSubordinate
	default:
		if err := r.int("scope", (*int32)(&m.Scope)); err != nil {
			return nil, err
		}
	}
	switch deref := r.options["deref"]; deref {
	case "", "never":
	case "searching":
		m.Deref = ldap.DerefSearching
	case "finding":
		m.Deref = ldap.DerefFinding
	case "always":
		m.Deref = ldap.DerefAlways
	default:
		if err := r.int("deref", (*int32)(&m.Deref)); err != nil {
			return nil, err
		}
	}
	if err := r.int("size", &m.SizeLimit); err != nil {
		return nil, err
	}
	if err := r.int("time", &m.TimeLimit); err != nil {
		return nil, err
	}
	m.TypesOnly = r.flags["typesonly"]
	if attrs, ok := r.options["attrs"]; ok {
		m.Attributes = values(strings.Split(attrs, ","))
	}
	var err error
	m.Filter, err = ldap.ParseFilter(filter)
	return m, err
}

// passwd is the password modify operation (RFC 3062).
func (r *request) passwd() ldap.Op {
	m := &ldap.ExtendedRequest{Name: []byte(passwdOID)}
	if len(r.options) == 0 {
		return m
	}
	value, mark := ber.Begin(nil, ber.Sequence)
	for i, name := range []string{"user", "old", "new"} {
		if text, ok := r.options[name]; ok {
			value = ber.AppendString(value, ber.ContextSpecific|byte(i), text)
		}
	}
	m.Value, m.HasValue = ber.End(value, mark), true
	return m
}

// txn is "txn start", "txn commit ID", "txn abort ID" (RFC 5805).
func (r *request) txn() (ldap.Op, error) {
	if len(r.args) == 1 && r.args[0] == "start" {
		return &ldap.ExtendedRequest{Name: []byte(startOID)}, nil
	}
	if err := r.want("commit or abort", "identifier"); err != nil {
		return nil, err
	}
	value := sequence(func(dst []byte) []byte {
		if r.args[0] == "abort" {
			dst = ber.AppendBool(dst, ber.Boolean, false)
		}
		return ber.AppendString(dst, ber.OctetString, r.args[1])
	})
	return &ldap.ExtendedRequest{Name: []byte(endOID), Value: value, HasValue: true}, nil
}

func values(list []string) [][]byte {
	out := make([][]byte, len(list))
	for i, v := range list {
		out[i] = []byte(v)
	}
	return out
}

// change reads "add mail a b", "delete mail", "replace cn x", "increment uidNumber 1", or a number for another operation.
func change(words []string) (ldap.Mod, error) {
	if len(words) < 2 {
		return ldap.Mod{}, fmt.Errorf("a change is an operation, an attribute and values, not %q", words)
	}
	m := ldap.Mod{Attribute: ldap.Attribute{Type: []byte(words[1]), Values: values(words[2:])}}
	switch words[0] {
	case "add":
		m.Op = ldap.ModAdd
	case "delete":
		m.Op = ldap.ModDelete
	case "replace":
		m.Op = ldap.ModReplace
	case "increment":
		m.Op = ldap.ModIncrement
	default:
		n, err := strconv.ParseInt(words[0], 10, 32)
		if err != nil {
			return m, fmt.Errorf("%q is no operation of a modify", words[0])
		}
		m.Op = ldap.ModOp(n)
	}
	return m, nil
}
