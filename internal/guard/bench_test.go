package guard

import (
	"context"
	"fmt"
	"net/netip"
	"testing"

	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/ldap"
)

// BenchmarkTrusted is a login with the password that was right last, from the same place: nearly all there are.
func BenchmarkTrusted(b *testing.B) {
	w := newWorld(b, usual)
	names := make([]string, 1000)
	for i := range names {
		names[i] = fmt.Sprintf("uid=u%d,ou=people,dc=example,dc=org", i)
		w.right[names[i]] = "a long enough password"
		if w.bind("192.0.2.1", names[i], w.right[names[i]]) != ldap.Success {
			b.Fatal("not bound")
		}
	}
	password := []byte("a long enough password")
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		req := &op.Request{Conn: &op.Conn{Transport: op.TCP, Remote: netip.MustParseAddrPort("192.0.2.1:999")}}
		for i := 0; pb.Next(); i++ {
			o := op.BindOutcome{Name: dit.Name{Norm: names[i%len(names)]}, Password: password, Index: -1}
			if err := w.g.Attempt(context.Background(), req, &o); err != nil || o.Guarded != trustFresh {
				b.Error("not trusted")
				return
			}
			w.g.Settle(req, &o, nil)
		}
	})
}

// BenchmarkRefused is a guess for which there is no room.
func BenchmarkRefused(b *testing.B) {
	w := newWorld(b, usual)
	w.tries(10, "192.0.2.1", "uid=a")
	req := &op.Request{Conn: w.conn("192.0.2.1")}
	b.ReportAllocs()
	for b.Loop() {
		o := op.BindOutcome{Name: dit.Name{Norm: "uid=b"}, Password: []byte("a guess"), Index: -1}
		if err := w.g.Attempt(context.Background(), req, &o); err == nil {
			b.Fatal("not refused")
		}
	}
}
