package ppolicy_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"portolan/internal/ldaptest"
	"portolan/internal/op"
	"portolan/ldap"
)

// BenchmarkBind is a simple bind of an account whose password was right a moment ago: what a mail server does all day. The
// policy and the last bind are part of it, a hash and a write to the disk are not.
func BenchmarkBind(b *testing.B) {
	var ldif strings.Builder
	ldif.WriteString("dn: dc=example,dc=org\nobjectClass: organization\nobjectClass: dcObject\ndc: example\no: Example\n")
	const accounts = 64
	for i := range accounts {
		fmt.Fprintf(&ldif, "\ndn: uid=u%d,dc=example,dc=org\nobjectClass: inetOrgPerson\nuid: u%d\ncn: U\nsn: U\nuserPassword: a-secret-%d\n", i, i, i)
	}
	for _, x := range []struct{ name, config string }{
		{"default", ""},
		{"rules", "[[overlay.ppolicy.rule]]\nbase = \"ou=x,dc=example,dc=org\"\npolicy = \"cn=p,dc=example,dc=org\"\n[[overlay.ppolicy.rule]]\ngroup = \"cn=g,dc=example,dc=org\"\npolicy = \"cn=p,dc=example,dc=org\"\n"},
		{"everything", "[overlay.ppolicy.policy]\nmax_age = \"30d\"\nexpire_warning = \"1d\"\nmax_idle = \"10d\"\nmust_change = true\nmin_delay = \"1s\"\nmax_delay = \"8s\"\n"},
	} {
		b.Run(x.name, func(b *testing.B) {
			text := ldif.String()
			if x.name == "rules" {
				text += "\ndn: cn=p,dc=example,dc=org\nobjectClass: applicationProcess\nobjectClass: pwdPolicy\ncn: p\npwdAttribute: userPassword\n\n" +
					"dn: cn=g,dc=example,dc=org\nobjectClass: groupOfNames\ncn: g\nmember: uid=u1,dc=example,dc=org\n"
			}
			s := ldaptest.Start(b, ldaptest.Options{LDIF: text, Config: x.config})
			requests := make([]*op.Request, accounts)
			for i := range requests {
				requests[i] = &op.Request{
					Conn: &op.Conn{Transport: op.Unix, Loopback: true}, ID: 1,
					Op: &ldap.BindRequest{Version: 3, Name: fmt.Appendf(nil, "uid=u%d,dc=example,dc=org", i), Password: fmt.Appendf(nil, "a-secret-%d", i)},
				}
				if err := s.Engine.Serve(context.Background(), requests[i], nil); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				req := requests[i%accounts]
				i++
				req.Identity, req.Policy = nil, nil
				if err := s.Engine.Serve(context.Background(), req, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
