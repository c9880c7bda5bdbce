package engine_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"portolan/internal/ldaptest"
	"portolan/internal/op"
	"portolan/ldap"
)

// sink is an op.Writer that keeps nothing.
type sink struct{ buf []byte }

func (s *sink) Begin() []byte        { return s.buf[:0] }
func (s *sink) End(buf []byte) error { s.buf = buf; return nil }

// benchServer has people enough that an index matters, and one who asks.
func benchServer(b *testing.B) (*ldaptest.Server, *op.Identity) {
	b.Helper()
	var ldif strings.Builder
	ldif.WriteString("dn: dc=example,dc=org\nobjectClass: organization\nobjectClass: dcObject\ndc: example\no: Example\n\n" +
		"dn: ou=people,dc=example,dc=org\nobjectClass: organizationalUnit\nou: people\n\n")
	for i := range 1000 {
		fmt.Fprintf(&ldif, "dn: uid=u%d,ou=people,dc=example,dc=org\nobjectClass: inetOrgPerson\nuid: u%d\ncn: User %d\nsn: User\nmail: u%d@example.org\n"+
			"telephoneNumber: +49 30 %d\ntitle: Engineer\ndescription: one of many entries of ordinary size\n\n", i, i, i, i, i)
	}
	s := ldaptest.Start(b, ldaptest.Options{LDIF: ldif.String()})
	who, err := s.Engine.IdentifyDN("uid=u0,ou=people,dc=example,dc=org", "simple")
	if err != nil {
		b.Fatal(err)
	}
	return s, who
}

// BenchmarkHit is a request that an index and the caches answer, from the frame to the octets of the answer, without the
// network: what the server itself costs.
func BenchmarkHit(b *testing.B) {
	s, who := benchServer(b)
	frame := func(m ldap.Op) []byte { return ldap.AppendMessage(nil, 7, m, nil) }
	var search, base, and [64][]byte
	for i := range search {
		uid := fmt.Sprintf("u%d", i*13)
		search[i] = frame(&ldap.SearchRequest{Base: []byte("ou=people,dc=example,dc=org"), Scope: ldap.ScopeSub, Filter: ldap.Eq("uid", uid)})
		base[i] = frame(&ldap.SearchRequest{Base: []byte("uid=" + uid + ",ou=people,dc=example,dc=org"), Filter: ldap.Present("objectClass")})
		and[i] = frame(&ldap.SearchRequest{Base: []byte("dc=example,dc=org"), Scope: ldap.ScopeSub,
			Filter: ldap.And(ldap.Eq("objectClass", "inetOrgPerson"), ldap.Eq("uid", uid)), Attributes: [][]byte{[]byte("cn"), []byte("mail")}})
	}
	for _, bench := range []struct {
		name   string
		frames *[64][]byte
	}{{"uid", &search}, {"base", &base}, {"and", &and}} {
		b.Run(bench.name, func(b *testing.B) {
			conn := &op.Conn{Transport: op.Unix, Loopback: true}
			conn.SetIdentity(who)
			var dec ldap.Decoder
			var req op.Request
			w := &sink{}
			out := make([]byte, 0, 4096)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				m, err := dec.Decode(bench.frames[i&63])
				if err != nil {
					b.Fatal(err)
				}
				req = op.Request{Conn: conn, ID: m.ID, Op: m.Op, Controls: m.Controls, Identity: who, Start: time.Now()}
				if err := s.Engine.Serve(context.Background(), &req, w); err != nil {
					b.Fatal(err)
				}
				if req.Trace.Entries != 1 {
					b.Fatalf("%d entries", req.Trace.Entries)
				}
				out = ldap.AppendResult(out[:0], req.ID, ldap.TagSearchResultDone, &req.Reply.Result, nil)
			}
		})
	}
}
