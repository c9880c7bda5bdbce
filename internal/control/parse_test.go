package control

import (
	"bytes"
	"testing"

	"portolan/ber"
	"portolan/internal/op"
	"portolan/ldap"
)

// seq makes a SEQUENCE of elements.
func seq(parts ...[]byte) []byte {
	return ber.AppendBytes(nil, ber.Sequence, bytes.Join(parts, nil))
}

func str(s string) []byte { return ber.AppendString(nil, ber.OctetString, s) }

func num(n int64) []byte { return ber.AppendInt(nil, ber.Integer, n) }

// fuzzValue fuzzes a parser: it takes a value or says protocolError, alters nothing of it, and check holds for what it takes.
func fuzzValue(f *testing.F, parse func(ldap.Control) (any, error), check func(t *testing.T, value []byte, v any), seeds ...[]byte) {
	f.Helper()
	f.Add([]byte(nil), true, true)
	f.Add([]byte(nil), false, false)
	for _, s := range seeds {
		f.Add(s, true, true)
		f.Add(append(bytes.Clone(s), 0), true, false)
	}
	f.Fuzz(func(t *testing.T, value []byte, has, critical bool) {
		before := bytes.Clone(value)
		v, err := parse(ldap.Control{Value: value, HasValue: has, Critical: critical})
		if !bytes.Equal(before, value) {
			t.Fatal("the value was changed")
		}
		if err != nil {
			if ldap.CodeOf(err) != ldap.ProtocolError {
				t.Fatal(err)
			}
			return
		}
		if check != nil {
			check(t, value, v)
		}
	})
}

func FuzzSort(f *testing.F) {
	fuzzValue(f, parseSort, func(t *testing.T, value []byte, v any) {
		keys := v.([]sortKey)
		if len(keys) == 0 || len(keys) > len(value) {
			t.Fatalf("%d keys in %d octets", len(keys), len(value))
		}
		for _, k := range keys {
			if len(k.attr) == 0 {
				t.Fatal("a key without an attribute")
			}
		}
	}, seq(seq(str("cn")), seq(str("sn"), ber.AppendString(nil, 0x80, "2.5.13.3"), ber.AppendBool(nil, 0x81, true))))
}

func FuzzVLV(f *testing.F) {
	target := ber.AppendBytes(nil, 0xa0, append(num(1), num(0)...))
	fuzzValue(f, parseVLV, func(t *testing.T, _ []byte, v any) {
		q := v.(*vlvRequest)
		if q.before < 0 || q.after < 0 {
			t.Fatal("a negative count is taken")
		}
		// Whatever was asked for, the window lies in the list.
		for _, n := range []int{0, 1, 7, 100_000} {
			view := listView{vlvRequest: q}
			if q.byValue {
				view.count, view.position = n, n/2+1
			} else if view.byOffset(n) != nil {
				continue
			}
			if lo, hi := view.window(); lo < 0 || hi < lo || hi > n || view.position < 0 || view.position > n+1 {
				t.Fatalf("%d entries: window %d to %d, target %d", n, lo, hi, view.position)
			}
		}
	}, seq(num(1), num(2), target), seq(num(0), num(1<<31-1), ber.AppendString(nil, 0x81, "a"), str("context")),
		seq(num(1<<31-1), num(1<<31-1), ber.AppendBytes(nil, 0xa0, append(num(1<<31-1), num(1<<31-1)...))))
}

func FuzzAssertion(f *testing.F) {
	and := ldap.And(ldap.Eq("cn", "x"), ldap.Not(ldap.Present("sn")))
	fuzzValue(f, parseAssertion, func(t *testing.T, value []byte, v any) {
		if n := len(v.(*ldap.Filter).Nodes); n == 0 || n > len(value) {
			t.Fatalf("%d nodes in %d octets", n, len(value))
		}
	}, and.AppendBER(nil))
}

func FuzzMatchedValues(f *testing.F) {
	cn, sn := ldap.Present("cn"), ldap.Eq("sn", "x")
	fuzzValue(f, parseMatchedValues, func(t *testing.T, _ []byte, v any) {
		for _, n := range v.(*ldap.Filter).Nodes[1:] {
			if n.Op == ldap.FilterAnd || n.Op == ldap.FilterOr || n.Op == ldap.FilterNot || n.DNAttrs {
				t.Fatalf("an item that is not simple: %+v", n)
			}
		}
	}, seq(cn.AppendBER(nil), sn.AppendBER(nil)), seq())
}

func FuzzReadEntry(f *testing.F) {
	fuzzValue(f, parseReadEntry, func(t *testing.T, value []byte, v any) {
		if n := len(v.([][]byte)); n > len(value) {
			t.Fatalf("%d attributes in %d octets", n, len(value))
		}
	}, seq(str("cn"), str("+")), seq())
}

func FuzzDeref(f *testing.F) {
	fuzzValue(f, parseDeref, func(t *testing.T, _ []byte, v any) {
		for _, s := range v.([]derefSpec) {
			if len(s.wants) == 0 {
				t.Fatal("nothing to be fetched")
			}
		}
	}, seq(seq(str("member"), seq(str("cn"), str("mail"))), seq(str("owner"), seq(str("cn")))))
}

func FuzzEffectiveRights(f *testing.F) {
	fuzzValue(f, parseEffectiveRights, func(t *testing.T, _ []byte, v any) {
		if q := v.(*rightsRequest); q.self == (q.authzID != "") {
			t.Fatalf("%+v", q)
		}
	}, []byte("dn:cn=x"), seq(str("dn:cn=x"), seq(str("cn"))), seq(str("")))
}

func FuzzSessionTracking(f *testing.F) {
	parse := SessionTracking().Parse
	f.Add(seq(str("192.0.2.1"), str("app"), str("1.2.3"), str("id")))
	f.Fuzz(func(t *testing.T, value []byte) {
		v, err := parse(ldap.Control{Value: value, HasValue: true})
		if err != nil {
			t.Fatalf("it makes a request fail: %v", err)
		}
		if s, ok := v.(op.TrackedSession); ok && (len(s.SourceIP) > maxSourceIP || s.Format == "") {
			t.Fatalf("%+v", s)
		}
	})
}

func FuzzSubentries(f *testing.F) { fuzzValue(f, Subentries().Parse, nil, []byte{1, 1, 0xff}) }

func FuzzProxyAuthz(f *testing.F) {
	p := &op.Ports{}
	f.Add([]byte("dn:cn=x"), true, true)
	f.Fuzz(func(t *testing.T, value []byte, has, critical bool) {
		_, err := ProxyAuthz(p).Parse(ldap.Control{Value: value, HasValue: has, Critical: critical})
		if (err == nil) != (has && critical) {
			t.Fatal(err)
		}
	})
}

func TestValuesThatMustBeAbsent(t *testing.T) {
	p := &op.Ports{}
	for _, c := range []op.Control{
		ManageDsaIT(), AuthzID(), TreeDelete(), Permissive(), Relax(), NoOp(), DontUseCopy(p),
	} {
		for _, value := range [][]byte{nil, {}} {
			if _, err := c.Parse(ldap.Control{Critical: true, Value: value, HasValue: value != nil}); err != nil {
				t.Errorf("%s: %v", c.Name, err)
			}
		}
		if _, err := c.Parse(ldap.Control{Critical: true, Value: []byte{1}, HasValue: true}); ldap.CodeOf(err) != ldap.ProtocolError {
			t.Errorf("%s takes a value: %v", c.Name, err)
		}
	}
}

func FuzzValSort(f *testing.F) {
	fuzzValue(f, parseValSort, nil, seq(ber.AppendBool(nil, ber.Boolean, true)))
}

func FuzzPersistentSearch(f *testing.F) {
	fuzzValue(f, parsePersistent, func(t *testing.T, _ []byte, v any) {
		if p := v.(*persistentRequest); p.types < 1 || p.types > allChanges {
			t.Fatalf("change types %d", p.types)
		}
	}, []byte{0x30, 9, 2, 1, 15, 1, 1, 0xff, 1, 1, 0xff}, []byte{0x30, 9, 2, 1, 16, 1, 1, 0, 1, 1, 0})
}
