package engine_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"portolan/internal/op"
	"portolan/ldap"
)

// BenchmarkServe has what BenchmarkHit has not: operations that need more than one look into an index.
func BenchmarkServe(b *testing.B) {
	s, who := benchServer(b)
	find := func(f ldap.Filter) ldap.Op {
		return &ldap.SearchRequest{Base: []byte("dc=example,dc=org"), Scope: ldap.ScopeSub, Filter: f}
	}
	for _, c := range []struct {
		name    string
		entries int
		request func(uid string) ldap.Op
	}{
		{"none", 0, func(uid string) ldap.Op { return find(ldap.Eq("uid", uid+"x")) }},
		{"substring", 1, func(uid string) ldap.Op { return find(ldap.Substrings("mail", uid+"@", nil, "")) }},
		{"compare", 0, func(uid string) ldap.Op {
			return &ldap.CompareRequest{Entry: []byte("uid=" + uid + ",ou=people,dc=example,dc=org"), Attr: []byte("mail"), Value: []byte(uid + "@example.org")}
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			var ops [64]ldap.Op
			for i := range ops {
				ops[i] = c.request(fmt.Sprintf("u%d", i*13))
			}
			conn := &op.Conn{Transport: op.Unix, Loopback: true}
			conn.SetIdentity(who)
			var req op.Request
			w := &sink{}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				req = op.Request{Conn: conn, ID: 7, Op: ops[i&63], Identity: who, Start: time.Now()}
				if err := s.Engine.Serve(context.Background(), &req, w); err != nil {
					b.Fatal(err)
				}
				if req.Trace.Entries != c.entries {
					b.Fatalf("%d entries, want %d", req.Trace.Entries, c.entries)
				}
			}
		})
	}
}
