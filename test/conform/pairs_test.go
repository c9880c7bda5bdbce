package conform

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"portolan/ber"
	"portolan/internal/ldaptest"
	"portolan/internal/op"
	"portolan/ldap"
)

// sample is a control with a valid value, for the requests of pairs. The value may depend on the transaction that is open on
// the connection.
type sample struct {
	name  string
	value []byte
	has   bool
}

func text(s string) []byte { return []byte(s) }

func sequence(parts ...[]byte) []byte {
	return ber.AppendBytes(nil, ber.Sequence, slices.Concat(parts...))
}

func octetString(s string) []byte { return ber.AppendString(nil, ber.OctetString, s) }

func number(n int64) []byte { return ber.AppendInt(nil, ber.Integer, n) }

// samples has one for every wired control: a control without one fails the test.
func samples() map[string]sample {
	anything := ldap.Filter{Nodes: []ldap.FilterNode{{Op: ldap.FilterAnd, First: ldap.None, Next: ldap.None}}}
	return map[string]sample{
		"1.3.6.1.4.1.21008.108.63.1": {"tracking", sequence(octetString(""), octetString("app"), octetString("1.2.3"), octetString("x")), true},
		"1.3.6.1.1.21.2":             {"txn", text("1"), true},
		"2.16.840.1.113730.3.4.18":   {"proxy", text("u:bob"), true},
		"2.16.840.1.113730.3.4.16":   {"authzid", nil, false},
		"1.3.6.1.1.22":               {"dontusecopy", nil, false},
		"2.16.840.1.113730.3.4.2":    {"manageDsaIT", nil, false},
		"1.3.6.1.4.1.4203.1.10.1":    {"subentries", ber.AppendBool(nil, ber.Boolean, false), true},
		"1.3.6.1.4.1.4203.666.5.12":  {"relax", nil, false},
		"1.2.840.113556.1.4.1413":    {"permissive", nil, false},
		"1.2.840.113556.1.4.805":     {"treedelete", nil, false},
		"1.3.6.1.4.1.4203.666.5.2":   {"noop", nil, false},
		"1.3.6.1.1.12":               {"assert", anything.AppendBER(nil), true},
		"1.3.6.1.1.13.1":             {"preread", sequence(octetString("cn")), true},
		"1.3.6.1.1.13.2":             {"postread", sequence(octetString("cn")), true},
		"1.2.840.113556.1.4.473":     {"sort", sequence(sequence(octetString("cn"))), true},
		"2.16.840.1.113730.3.4.9":    {"vlv", sequence(number(0), number(5), ber.AppendBytes(nil, 0xa0, slices.Concat(number(1), number(0)))), true},
		"1.2.840.113556.1.4.319":     {"paged", sequence(number(2), octetString("")), true},
		"1.3.6.1.4.1.4203.666.5.14":  {"valsort", sequence(ber.AppendBool(nil, ber.Boolean, true)), true},
		"1.2.826.0.1.3344810.2.3":    {"matchedvalues", sequence(ber.AppendString(nil, 0x87, "cn")), true},
		"1.3.6.1.4.1.4203.666.5.16":  {"deref", sequence(sequence(octetString("member"), sequence(octetString("cn")))), true},
		"1.3.6.1.4.1.42.2.27.9.5.2":  {"rights", nil, false},
		"1.3.6.1.4.1.42.2.27.8.5.1":  {"ppolicy", nil, false},
		"1.3.6.1.4.1.42.2.27.9.5.8":  {"usability", nil, false},
		"1.3.6.1.4.1.4203.1.9.1.1":   {"sync", sequence(ber.AppendInt(nil, ber.Enumerated, 1)), true},
		"2.16.840.1.113730.3.4.3":    {"psearch", sequence(number(15), ber.AppendBool(nil, ber.Boolean, true), ber.AppendBool(nil, ber.Boolean, true)), true},
	}
}

// together are the pairs, in the order of their names, of which the outcome does not follow from what each control does by
// itself.
var together = map[[2]string]ldap.ResultCode{
	{"sort", "vlv"}:  ldap.Success,       // a view is of a sorted list
	{"proxy", "txn"}: ldap.ProtocolError, // RFC 5805 section 4.4
	{"noop", "txn"}:  ldap.ProtocolError, // it could be neither done nor not done
	// A search without an end is not put in order, nor cut up.
	{"paged", "psearch"}: ldap.ProtocolError,
	{"psearch", "sort"}:  ldap.ProtocolError,
	{"psearch", "vlv"}:   ldap.ProtocolError,
	{"psearch", "sync"}:  ldap.ProtocolError,
	// A synchronization is told neither in order nor in pages, and shows what there is (RFC 4533 section 5).
	{"paged", "sync"}:         ldap.ProtocolError,
	{"sort", "sync"}:          ldap.ProtocolError,
	{"sync", "vlv"}:           ldap.ProtocolError,
	{"matchedvalues", "sync"}: ldap.ProtocolError,
	{"deref", "sync"}:         ldap.ProtocolError,
	{"rights", "sync"}:        ldap.ProtocolError,
	{"sync", "usability"}:     ldap.ProtocolError,
	{"sync", "valsort"}:       ldap.ProtocolError,
}

// weight orders outcomes: of two controls that decide otherwise the heavier outcome is that of both. A control that is not for
// the operation stops everything else.
func weight(code ldap.ResultCode) int {
	switch code {
	case ldap.Success, ldap.CompareTrue:
		return 0
	case ldap.NoOperation:
		return 1
	case ldap.UnavailableCriticalExtension:
		return 3
	}
	return 2
}

// TestPairs attaches every two controls to every kind of request, in both orders, and holds the outcome to what is defined:
// that of together, or else what follows from the two alone.
func TestPairs(t *testing.T) {
	company, err := os.ReadFile("company.ldif")
	if err != nil {
		t.Fatal(err)
	}
	p := &pairs{t: t, s: ldaptest.Start(t, ldaptest.Options{LDIF: string(company)}), samples: samples()}
	wired, _, _ := p.s.Engine.Wired()
	var oids []string
	for _, c := range wired {
		if c.Unadvertised {
			continue
		}
		if _, ok := p.samples[c.OID]; !ok {
			t.Errorf("the control %s (%s) has no sample: add one, and what is special about it and others to together", c.Name, c.OID)
			continue
		}
		oids = append(oids, c.OID)
	}
	for _, kind := range kinds {
		alone := make(map[string]ldap.ResultCode)
		for _, oid := range oids {
			alone[oid] = p.run(kind, oid)
		}
		for i, a := range oids {
			for _, b := range oids[i+1:] {
				want := alone[a]
				if weight(alone[b]) > weight(want) {
					want = alone[b]
				}
				names := [2]string{p.samples[a].name, p.samples[b].name}
				slices.Sort(names[:])
				if special, ok := together[names]; ok && weight(want) < 3 {
					want = special
				}
				for _, order := range [][2]string{{a, b}, {b, a}} {
					if got := p.run(kind, order[0], order[1]); got != want {
						t.Errorf("%s with %s and %s: %v, want %v (alone %v and %v)", kind, p.samples[order[0]].name, p.samples[order[1]].name, got, want, alone[order[0]], alone[order[1]])
					}
				}
			}
		}
	}
}

var kinds = []string{"search", "compare", "add", "delete", "modify", "modifyDN", "bind", "whoami", "passwd"}

// pairs runs requests against one server.
type pairs struct {
	t       *testing.T
	s       *ldaptest.Server
	samples map[string]sample
	next    int
}

// run performs one request of a kind with these controls, critical all of them, on a connection of its own.
func (p *pairs) run(kind string, oids ...string) ldap.ResultCode {
	p.t.Helper()
	p.next++
	dn := fmt.Sprintf("cn=pair%d,ou=people,%s", p.next, ldaptest.Suffix)
	if kind != "add" {
		if err := p.s.As(ldaptest.AdminDN, person(dn)); err != nil {
			p.t.Fatal(err)
		}
	}
	conn := &op.Conn{ID: uint64(p.next), Transport: op.Unix, Loopback: true}
	defer conn.End()
	conn.SetIdentity(p.s.Engine.AdminIdentity("simple"))
	if slices.Contains(oids, "1.3.6.1.1.21.2") {
		start := &op.Request{Conn: conn, ID: 1, Op: &ldap.ExtendedRequest{Name: text("1.3.6.1.1.21.1")}, Start: time.Now()}
		if err := p.s.Engine.Serve(context.Background(), start, nil); err != nil {
			p.t.Fatal(err)
		}
	}
	req := &op.Request{Conn: conn, ID: 2, Op: request(kind, dn), Start: time.Now()}
	for _, oid := range oids {
		s := p.samples[oid]
		req.Controls = append(req.Controls, ldap.Control{OID: text(oid), Critical: true, Value: s.value, HasValue: s.has})
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if slices.Contains(oids, "2.16.840.1.113730.3.4.3") {
		// A persistent search goes on until it is abandoned, which is as soon as it is under way.
		req.DetachFunc = func() context.Context {
			cancel()
			return ctx
		}
	}
	err := p.s.Engine.Serve(ctx, req, discard{})
	if errors.Is(err, context.Canceled) {
		return ldap.Success
	}
	if err != nil {
		if e := ldap.AsError(err); e.Code == ldap.Other {
			p.t.Errorf("%s with %s: %v", kind, oids, e)
		}
		return ldap.CodeOf(err)
	}
	return req.Reply.Code
}

func person(dn string) ldap.Op {
	return &ldap.AddRequest{Entry: text(dn), Attributes: []ldap.Attribute{
		{Type: text("objectClass"), Values: [][]byte{text("inetOrgPerson")}},
		{Type: text("sn"), Values: [][]byte{text("Pair")}},
	}}
}

func request(kind, dn string) ldap.Op {
	switch kind {
	case "compare":
		return &ldap.CompareRequest{Entry: text(dn), Attr: text("sn"), Value: text("Pair")}
	case "add":
		return person(dn)
	case "delete":
		return &ldap.DelRequest{Entry: text(dn)}
	case "modify":
		return &ldap.ModifyRequest{Object: text(dn), Changes: []ldap.Mod{{Op: ldap.ModReplace, Attribute: ldap.Attribute{Type: text("title"), Values: [][]byte{text("x")}}}}}
	case "modifyDN":
		return &ldap.ModifyDNRequest{Entry: text(dn), NewRDN: text("sn=Pair+cn=renamed-" + strings.TrimPrefix(dn[:strings.IndexByte(dn, 44)], "cn=")), DeleteOldRDN: true}
	case "bind":
		return &ldap.BindRequest{Version: 3, Name: text(ldaptest.AdminDN), Password: text(ldaptest.AdminPassword)}
	case "whoami":
		return &ldap.ExtendedRequest{Name: text("1.3.6.1.4.1.4203.1.11.3")}
	case "passwd":
		value := sequence(ber.AppendString(nil, 0x80, dn), ber.AppendString(nil, 0x82, "a new secret of its own"))
		return &ldap.ExtendedRequest{Name: text("1.3.6.1.4.1.4203.1.11.1"), Value: value, HasValue: true}
	}
	filter, err := ldap.ParseFilter("(|(objectClass=groupOfNames)(uid=alice)(uid=bob))")
	if err != nil {
		panic(err)
	}
	return &ldap.SearchRequest{Base: text(ldaptest.Suffix), Scope: ldap.ScopeSub, Filter: filter}
}

// discard is an op.Writer whose output nobody reads.
type discard struct{}

func (discard) Begin() []byte    { return nil }
func (discard) End([]byte) error { return nil }
