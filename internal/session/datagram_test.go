package session

import (
	"bytes"
	"context"
	"net/netip"
	"testing"

	"portolan/internal/op"
	"portolan/ldap"
)

// rootOf answers every search with an entry whose one value has so many octets; attributes that are asked for choose another
// behaviour.
func rootOf(octets int) op.Handler {
	return op.HandlerFunc(func(_ context.Context, req *op.Request, w op.Writer) error {
		q := req.Op.(*ldap.SearchRequest)
		for _, a := range q.Attributes {
			switch string(a) {
			case "panic":
				w.Begin()
				panic("on purpose")
			case "refuse":
				w.End(ldap.AppendMessage(w.Begin(), req.ID, &ldap.SearchResultEntry{}, nil))
				return ldap.Errorf(ldap.InsufficientAccessRights, "%s", bytes.Repeat([]byte("n"), octets))
			}
		}
		if len(req.Controls) != 0 || !req.Identity.IsAnonymous() || req.Conn.Transport != op.UDP {
			return ldap.Errorf(ldap.Other, "controls, an identity or another transport")
		}
		req.Trace.Entries = 1
		return w.End(ldap.AppendMessage(w.Begin(), req.ID, &ldap.SearchResultEntry{
			Attributes: []ldap.Attribute{{Type: []byte("cn"), Values: [][]byte{make([]byte, octets)}}},
		}, nil))
	})
}

func datagramConn() *op.Conn {
	return &op.Conn{ID: 1, Listener: "cldap://x", Transport: op.UDP, Remote: netip.MustParseAddrPort("192.0.2.1:999")}
}

func rootSearch(attributes ...string) *ldap.SearchRequest {
	q := &ldap.SearchRequest{Scope: ldap.ScopeBase, Filter: ldap.Present("objectClass")}
	for _, a := range attributes {
		q.Attributes = append(q.Attributes, []byte(a))
	}
	return q
}

// messages decodes a datagram of several messages.
func messages(t testing.TB, datagram []byte) (all []ldap.Message) {
	t.Helper()
	for len(datagram) > 0 {
		n := 2 + int(datagram[1])
		if datagram[1] == 0x81 {
			n = 3 + int(datagram[2])
		} else if datagram[1] == 0x82 {
			n = 4 + int(datagram[2])<<8 + int(datagram[3])
		}
		m, err := ldap.Decode(datagram[:n])
		if err != nil {
			t.Fatalf("%x: %v", datagram, err)
		}
		all = append(all, m)
		datagram = datagram[n:]
	}
	return all
}

func TestDatagramAnswers(t *testing.T) {
	padding := ldap.Control{OID: []byte("1.2.3.4"), HasValue: true, Value: make([]byte, 500)}
	critical := ldap.Control{OID: []byte("1.2.3.4"), Critical: true}
	long := []string{"cn", "1.1", "1.1", "1.1", "1.1", "1.1", "1.1", "1.1", "1.1", "1.1", "1.1", "1.1", "1.1", "1.1", "1.1", "1.1"}
	sub := rootSearch()
	sub.Scope = ldap.ScopeSub
	elsewhere := rootSearch()
	elsewhere.Base = []byte("dc=x")
	for _, x := range []struct {
		name     string
		octets   int // of the value
		id       int32
		op       ldap.Op
		controls []ldap.Control
		entries  int
		code     ldap.ResultCode // -1: no answer
	}{
		{"fits", 3, 7, rootSearch(), nil, 1, ldap.Success},
		{"the largest ID", 3, ldap.MaxMessageID, rootSearch(long...), nil, 1, ldap.Success},
		{"too large", 30, 7, rootSearch(), nil, 0, resultsTooLarge},
		{"much too large", 100000, 7, rootSearch(), nil, 0, resultsTooLarge},
		{"padded with names", 60, 7, rootSearch(long...), nil, 1, ldap.Success},
		{"padded with a control", 400, 7, rootSearch(), []ldap.Control{padding}, 1, ldap.Success},
		{"a critical control", 3, 7, rootSearch(), []ldap.Control{critical, padding}, 0, ldap.UnavailableCriticalExtension},
		{"below the root", 3, 7, sub, nil, 0, ldap.UnwillingToPerform},
		{"an entry", 3, 7, elsewhere, nil, 0, ldap.UnwillingToPerform},
		{"an error drops the entries, and its text where that is long", 5000, 7, rootSearch("refuse"), nil, 0, ldap.InsufficientAccessRights},
		{"a panic", 3, 7, rootSearch("panic"), nil, 0, ldap.Other},
		{"ID 0", 3, 0, rootSearch(long...), nil, 0, -1},
		{"abandon", 3, 7, &ldap.AbandonRequest{ID: 6}, nil, 0, -1},
		{"unbind", 3, 7, &ldap.UnbindRequest{}, nil, 0, -1},
		{"bind", 3, 7, &ldap.BindRequest{Version: 3}, nil, 0, -1},
		{"delete", 3, 7, &ldap.DelRequest{Entry: []byte("dc=x")}, nil, 0, -1},
		{"compare", 3, 7, &ldap.CompareRequest{Entry: []byte("dc=x"), Attr: []byte("cn"), Value: []byte("x")}, nil, 0, -1},
		{"extended", 3, 7, &ldap.ExtendedRequest{Name: []byte(oidStartTLS)}, nil, 0, -1},
		{"a response", 3, 7, &ldap.SearchResultDone{}, nil, 0, -1},
	} {
		t.Run(x.name, func(t *testing.T) {
			stats := new(Stats)
			d := NewDatagrams(&Config{Handler: rootOf(x.octets), Stats: stats})
			request := ldap.AppendMessage(nil, x.id, x.op, x.controls)
			answer := d.Answer(datagramConn(), request)
			if len(answer) > len(request) {
				t.Errorf("%d octets for %d", len(answer), len(request))
			}
			c := stats.Read()
			if x.code < 0 {
				if answer != nil || c.DatagramsIgnored != 1 {
					t.Errorf("answered %x, %d ignored", answer, c.DatagramsIgnored)
				}
				return
			}
			got := messages(t, answer)
			if len(got) != x.entries+1 {
				t.Fatalf("%d messages, want %d", len(got), x.entries+1)
			}
			done, ok := got[x.entries].Op.(*ldap.SearchResultDone)
			if !ok || done.Code != x.code || got[x.entries].ID != x.id {
				t.Errorf("%d %#v, want %v", got[x.entries].ID, got[x.entries].Op, x.code)
			}
			if c.Datagrams != 1 || c.DatagramsIgnored != 0 || c.Entries != uint64(x.entries) || (c.DatagramsTooLarge == 1) != (x.code == resultsTooLarge) ||
				c.Operations[Search] != 1 || c.Completed[Search] != 1 || c.BytesIn != uint64(len(request)) || c.BytesOut != uint64(len(answer)) {
				t.Errorf("counted %+v", c)
			}
			// Nothing of one request is in the answer to the next.
			again := ldap.AppendMessage(nil, 9, sub, nil)
			if got := messages(t, d.Answer(datagramConn(), again)); len(got) != 1 || got[0].ID != 9 {
				t.Errorf("the next answer is %v", got)
			}
		})
	}
}

// TestDatagramsThatAreNone get no answer, whatever they are.
func TestDatagramsThatAreNone(t *testing.T) {
	d := NewDatagrams(&Config{Handler: rootOf(1)})
	whole := ldap.AppendMessage(nil, 1, rootSearch(), nil)
	huge := ldap.AppendMessage(nil, 1, rootSearch(), []ldap.Control{{OID: []byte("1.2"), HasValue: true, Value: make([]byte, MaxDatagram)}})
	deep := append([]byte{0x30, 0x82, 0x0f, 0x00}, bytes.Repeat([]byte{0xa2, 0x80}, 1900)...)
	for _, b := range [][]byte{nil, {0}, {0x30}, whole[:len(whole)-1], append(bytes.Clone(whole), 0), append(bytes.Clone(whole), whole...), huge, deep} {
		if answer := d.Answer(datagramConn(), b); answer != nil {
			t.Errorf("%d octets are answered with %x", len(b), answer)
		}
	}
	if d.Answer(datagramConn(), whole) == nil {
		t.Error("the search itself is not answered")
	}
}

// FuzzDatagram: no datagram gets an answer that is longer, or that is none of LDAP.
func FuzzDatagram(f *testing.F) {
	for _, octets := range []int{0, 20, 300} {
		for _, q := range []ldap.Op{rootSearch(), rootSearch("cn", "refuse"), rootSearch("panic"), &ldap.AbandonRequest{ID: 1}, &ldap.BindRequest{Version: 3}} {
			f.Add(ldap.AppendMessage(nil, 3, q, []ldap.Control{{OID: []byte("1.2"), HasValue: true, Value: make([]byte, octets)}}), octets)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, octets int) {
		d := NewDatagrams(&Config{Handler: rootOf(max(0, octets) % 5000)})
		answer := d.Answer(datagramConn(), b)
		if len(answer) > len(b) {
			t.Fatalf("%d octets for %d", len(answer), len(b))
		}
		if answer == nil {
			return
		}
		got := messages(t, answer)
		if _, ok := got[len(got)-1].Op.(*ldap.SearchResultDone); !ok {
			t.Fatalf("%x ends without a result", answer)
		}
	})
}
