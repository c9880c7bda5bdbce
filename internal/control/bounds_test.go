package control

import (
	"context"
	"testing"

	"portolan/ber"
	"portolan/internal/op"
	"portolan/internal/schema"
	"portolan/ldap"
)

// listOf is a SEQUENCE OF n times the same attribute.
func listOf(n int) []byte {
	var names []byte
	for range n {
		names = append(names, str("cn")...)
	}
	return seq(names)
}

// TestListsOfAttributesAreBounded holds that no control takes more attributes than a search does unless configured otherwise: a
// list is worked through for every entry, that of a read entry control by the one goroutine that writes.
func TestListsOfAttributesAreBounded(t *testing.T) {
	for _, x := range []struct {
		name  string
		parse func(ldap.Control) (any, error)
		value func(n int) []byte
	}{
		{"read entry", parseReadEntry, listOf},
		{"dereference", parseDeref, func(n int) []byte { return seq(seq(str("member"), listOf(n))) }},
		{"dereference, in two parts", parseDeref, func(n int) []byte {
			return seq(seq(str("member"), listOf(n/2)), seq(str("owner"), listOf(n-n/2)))
		}},
		{"effective rights", parseEffectiveRights, func(n int) []byte { return seq(str("dn:"), listOf(n)) }},
	} {
		for n, want := range map[int]ldap.ResultCode{maxListed: ldap.Success, maxListed + 1: ldap.AdminLimitExceeded} {
			_, err := x.parse(ldap.Control{Value: x.value(n), HasValue: true})
			if ldap.CodeOf(err) != want {
				t.Errorf("%s: %d attributes: %v, want %v", x.name, n, err, want)
			}
		}
	}
	var specs [][]byte
	for i := range maxDerefSpecs + 1 {
		specs = append(specs, seq(str("member;x-"+string(rune('a'+i))), listOf(1)))
	}
	if _, err := parseDeref(ldap.Control{Value: seq(specs...), HasValue: true}); ldap.CodeOf(err) != ldap.AdminLimitExceeded {
		t.Errorf("%d attributes to be dereferenced: %v", len(specs), err)
	}
}

// TestMemoryComesBackFromAPanic: a panic ends its connection alone. What it held of the memory that all share must not be gone
// for the others until the server is started again.
func TestMemoryComesBackFromAPanic(t *testing.T) {
	const all = 256 << 10
	panics := func(f func()) {
		defer func() {
			if recover() == nil {
				t.Error("no panic")
			}
		}()
		f()
	}
	ids := []op.Sorted{{ID: 1}, {ID: 2}, {ID: 3}}
	oops := func(req *op.Request) func(context.Context) error {
		return func(context.Context) error {
			if _, err := req.Search.Pick(ids); err != nil {
				t.Error(err)
			}
			panic("oops")
		}
	}
	order := func(dst []byte, _ op.Candidate) ([]byte, error) { return dst, nil }

	p := ports(t, all)
	panics(func() {
		c := ldap.Control{OID: []byte(SortOID), Value: seq(seq(str("cn"))), HasValue: true}
		req := &op.Request{Conn: &op.Conn{}, Op: &ldap.SearchRequest{}, Controls: []ldap.Control{c}}
		s := Sort(10, p)
		value, _ := s.Parse(c)
		_ = s.Around(context.Background(), req, value, func(context.Context) error {
			if _, err := req.Search.Order(nil, op.Candidate{Reader: p.Directory.View(), Values: noValues}); err != nil {
				t.Error(err)
			}
			panic("oops")
		})
	})
	panics(func() {
		req := &op.Request{Conn: &op.Conn{}, Op: &ldap.SearchRequest{Filter: ldap.Present("cn")}}
		req.Search.Order = order
		_ = (&pagedRequest{size: 1}).around(context.Background(), req, oops(req), 4, p.Memory)
	})
	panics(func() {
		value, body := ber.Begin(nil, ber.Sequence)
		value = ber.AppendInt(ber.AppendInt(value, ber.Integer, 0), ber.Integer, 0)
		value, target := ber.Begin(value, ber.ContextSpecific|ber.Constructed)
		value = ber.End(ber.End(ber.AppendInt(ber.AppendInt(value, ber.Integer, 1), ber.Integer, 0), target), body)
		c := ldap.Control{OID: []byte(VLVOID), Value: value, HasValue: true}
		req := &op.Request{Conn: &op.Conn{}, Op: &ldap.SearchRequest{Filter: ldap.Present("cn")}, Controls: []ldap.Control{c}}
		req.Search.Order = order
		v := VLV(4, p)
		parsed, err := v.Parse(c)
		if err != nil {
			t.Fatal(err)
		}
		_ = v.Around(context.Background(), req, parsed, oops(req))
	})
	if !free(p.Memory, all) {
		t.Error("a panic has kept memory")
	}
}

func noValues(schema.Description, func([]byte) bool) error { return nil }
