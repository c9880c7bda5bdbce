package holes

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"portolan/internal/client"
	"portolan/internal/ldaptest"
	"portolan/ldap"
)

const (
	people = "ou=people,dc=example,dc=org"
	alice  = "uid=alice," + people
	bob    = "uid=bob," + people
	carol  = "uid=carol," + people // has no password
)

// company starts a server with the directory of test/conform.
func company(t *testing.T, more, config string) *ldaptest.Server {
	t.Helper()
	text, err := os.ReadFile("../conform/company.ldif")
	if err != nil {
		t.Fatal(err)
	}
	return ldaptest.Start(t, ldaptest.Options{LDIF: string(text) + "\n" + more, Config: config})
}

// as connects and binds; an empty name stays anonymous.
func as(t *testing.T, s *ldaptest.Server, dn, password string) *client.Conn {
	t.Helper()
	c, err := client.Dial(t.Context(), "ldap://"+s.Addr, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if dn != "" {
		if _, err := c.Bind(t.Context(), dn, password); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// found returns what a search sends, one text for each entry, with its attributes and their values.
func found(t *testing.T, c *client.Conn, m *ldap.SearchRequest, controls ...ldap.Control) ([]string, error) {
	t.Helper()
	var out []string
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	_, err := c.Search(ctx, m, client.Results{Entry: func(e *ldap.SearchResultEntry, _ []ldap.Control) error {
		text := string(e.Name)
		for _, a := range e.Attributes {
			text += fmt.Sprintf(" %s=%q", a.Type, a.Values)
		}
		out = append(out, text)
		return nil
	}}, controls...)
	return out, err
}

func filterOf(t *testing.T, text string) ldap.Filter {
	t.Helper()
	f, err := ldap.ParseFilter(text)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestHole_SecretsThroughSideDoors asks about bob, who has a password, and carol, who has none, in every way: who may not read
// it must not tell one from the other.
func TestHole_SecretsThroughSideDoors(t *testing.T) {
	s := company(t, "", "")
	c := as(t, s, alice, "alice-secret")
	both := func(what string, ask func(dn, uid string) string) {
		t.Helper()
		if with, without := ask(bob, "bob"), ask(carol, "carol"); with != without {
			t.Errorf("%s: with a password %q, without %q", what, with, without)
		}
	}
	tests := []string{"(userPassword=*)", "(userPassword=bob-secret)", "(userPassword={ARGON2}*)", "(userPassword=*a*)", "(userPassword>=a)", "(userPassword<=z)",
		"(!(userPassword=*))", "(!(userPassword=x))", "(userPassword:octetStringMatch:=x)", "(:octetStringMatch:=bob-secret)", "(userPassword:dn:=x)", "(2.5.4.35=*)", "(userPassword;lang-de=*)"}
	for _, f := range tests {
		both("the filter "+f, func(_, uid string) string {
			got, err := found(t, c, &ldap.SearchRequest{Base: []byte(people), Scope: ldap.ScopeSub, Filter: ldap.And(ldap.Eq("uid", uid), filterOf(t, f)), Attributes: [][]byte{[]byte("1.1")}})
			return fmt.Sprint(len(got), err)
		})
		both("an assertion of "+f, func(dn, _ string) string {
			filter := filterOf(t, f)
			got, err := found(t, c, &ldap.SearchRequest{Base: []byte(dn), Filter: ldap.Present("objectClass"), Attributes: [][]byte{[]byte("1.1")}},
				ldap.Control{OID: []byte("1.3.6.1.1.12"), Critical: true, HasValue: true, Value: filter.AppendBER(nil)})
			return fmt.Sprint(len(got), err)
		})
	}
	for _, list := range [][]string{{"userPassword"}, {"*", "userPassword"}, {"*", "+"}, {"@simpleSecurityObject"}, {"2.5.4.35"}, {"userPassword;lang-"}, nil} {
		both(fmt.Sprint("the list ", list), func(dn, _ string) string {
			m := &ldap.SearchRequest{Base: []byte(dn), Filter: ldap.Present("objectClass")}
			for _, a := range list {
				m.Attributes = append(m.Attributes, []byte(a))
			}
			got, err := found(t, c, m)
			return fmt.Sprint(strings.Contains(strings.Join(got, ""), "userPassword"), err)
		})
	}
	both("matched values", func(dn, _ string) string {
		item := ldap.Or(ldap.Present("userPassword"))
		value := item.AppendBER(nil)
		value[0] = 0x30
		got, err := found(t, c, &ldap.SearchRequest{Base: []byte(dn), Filter: ldap.Present("objectClass"), Attributes: [][]byte{[]byte("userPassword")}},
			ldap.Control{OID: []byte("1.2.826.0.1.3344810.2.3"), Critical: true, HasValue: true, Value: value})
		return fmt.Sprint(strings.Contains(strings.Join(got, ""), "userPassword"), err)
	})
	for _, v := range []string{"bob-secret", "x", ""} {
		both("a compare with "+v, func(dn, _ string) string {
			is, err := c.Compare(t.Context(), dn, "userPassword", []byte(v))
			return fmt.Sprint(is, ldap.CodeOf(err))
		})
	}
}

// TestHole_WritesToSpecialEntries has everybody write to what the server maintains itself.
func TestHole_WritesToSpecialEntries(t *testing.T) {
	s := company(t, "", "")
	admin := as(t, s, ldaptest.AdminDN, ldaptest.AdminPassword)
	rootDSE := func() string {
		got, err := found(t, admin, &ldap.SearchRequest{Filter: ldap.Present("objectClass"), Attributes: [][]byte{[]byte("*"), []byte("+")}})
		return fmt.Sprint(got, err)
	}
	before := rootDSE()
	attribute := func(name, value string) ldap.Attribute {
		return ldap.Attribute{Type: []byte(name), Values: [][]byte{[]byte(value)}}
	}
	for who, c := range map[string]*client.Conn{"admin": admin, "alice": as(t, s, alice, "alice-secret"), "anonymous": as(t, s, "", "")} {
		for _, dn := range []string{"", "cn=Subschema"} {
			above := "dc=example,dc=org"
			for what, write := range map[string]func() error{
				"add": func() error {
					_, err := c.Add(t.Context(), dn, []ldap.Attribute{attribute("objectClass", "device"), attribute("cn", "x")})
					return err
				},
				"delete": func() error { _, err := c.Delete(t.Context(), dn); return err },
				"modify": func() error {
					_, err := c.Modify(t.Context(), dn, []ldap.Mod{{Op: ldap.ModReplace, Attribute: attribute("description", "x")}})
					return err
				},
				"rename": func() error { _, err := c.ModifyDN(t.Context(), dn, "cn=x", true, nil); return err },
				"move":   func() error { _, err := c.ModifyDN(t.Context(), dn, "cn=x", true, &above); return err },
			} {
				err := write()
				if err == nil {
					t.Errorf("%s, %s of %q: done", who, what, dn)
				}
				// The administrator is told why; a DN without a part has no RDN, and the subschema may be modified in part.
				if who == "admin" && dn != "" && what != "modify" && ldap.CodeOf(err) != ldap.UnwillingToPerform {
					t.Errorf("%s, %s of %q: %v", who, what, dn, err)
				}
			}
		}
	}
	if after := rootDSE(); after != before {
		t.Errorf("the root DSE was %s\nand is %s", before, after)
	}
}

// TestHole_ManyParts sends requests that are made of more than anybody needs, and walks in circles.
func TestHole_ManyParts(t *testing.T) {
	circle := "dn: cn=one,ou=people,dc=example,dc=org\nobjectClass: alias\nobjectClass: extensibleObject\ncn: one\naliasedObjectName: cn=two,ou=people,dc=example,dc=org\n\n" +
		"dn: cn=two,ou=people,dc=example,dc=org\nobjectClass: alias\nobjectClass: extensibleObject\ncn: two\naliasedObjectName: cn=one,ou=people,dc=example,dc=org\n\n" +
		"dn: cn=up,ou=people,dc=example,dc=org\nobjectClass: alias\nobjectClass: extensibleObject\ncn: up\naliasedObjectName: dc=example,dc=org\n"
	s := company(t, circle, "[limits]\nmax_examined = 2\nmax_controls = 8\n")
	c := as(t, s, alice, "alice-secret")
	all := &ldap.SearchRequest{Base: []byte(people), Scope: ldap.ScopeSub, Filter: ldap.Eq("uid", "bob")}
	var controls []ldap.Control
	for i := range 1000 {
		controls = append(controls, ldap.Control{OID: fmt.Appendf(nil, "1.3.6.1.4.1.99999.%d", i)})
	}
	if _, err := found(t, c, all, controls[:20]...); ldap.CodeOf(err) != ldap.AdminLimitExceeded {
		t.Errorf("twenty controls: %v", err)
	}
	if _, err := found(t, as(t, s, alice, "alice-secret"), all, controls...); err == nil {
		t.Error("a thousand controls are taken")
	}
	many := *all
	for i := range 10_000 {
		many.Attributes = append(many.Attributes, fmt.Appendf(nil, "a%d", i))
	}
	if _, err := found(t, c, &many); ldap.CodeOf(err) != ldap.AdminLimitExceeded {
		t.Errorf("ten thousand attributes: %v", err)
	}
	// Lists without elements: nothing, and no error.
	for _, f := range []string{"(|)", "(!(&))", "(&(|)(uid=bob))"} {
		m := *all
		m.Filter = filterOf(t, f)
		if got, err := found(t, c, &m); err != nil || len(got) != 0 {
			t.Errorf("%s: %v %v", f, got, err)
		}
	}
	// A search that no index answers.
	m := *all
	m.Filter = ldap.Eq("description", "x")
	if _, err := found(t, c, &m); ldap.CodeOf(err) != ldap.AdminLimitExceeded {
		t.Errorf("without an index: %v", err)
	}
	// Aliases in circles end; one that leads up shows each entry once.
	m = *all
	m.Deref = ldap.DerefAlways
	got, err := found(t, c, &m)
	if err != nil || len(got) != 1 {
		t.Errorf("aliases in circles: %v %v", got, err)
	}
}

// accounts are people who may not log in, with the same password.
func accounts() string {
	var b strings.Builder
	for uid, more := range map[string]string{
		"good": "", "disabled": "portolanAccountDisabled: TRUE", "elsewhere": "portolanAllowedFrom: 192.0.2.0/24",
		"early": "pwdStartTime: 29990101000000Z", "late": "pwdEndTime: 20000101000000Z", "locked": "pwdAccountLockedTime: 000001010000Z",
	} {
		fmt.Fprintf(&b, "dn: uid=%s,%s\nobjectClass: inetOrgPerson\nuid: %s\ncn: X\nsn: X\nuserPassword: right-secret-9\n%s\n\n", uid, people, uid, more)
	}
	return strings.ReplaceAll(b.String(), "\n\n\n", "\n\n")
}

// TestHole_AuthenticationFailsOpen tries every account that may not log in, on every way.
func TestHole_AuthenticationFailsOpen(t *testing.T) {
	s := company(t, accounts(), "")
	ways := map[string]func(c *client.Conn, uid, password string) error{
		"simple": func(c *client.Conn, uid, password string) error {
			// The client refuses to send an empty password: the server must too.
			_, err := c.Do(t.Context(), &ldap.BindRequest{Version: 3, Name: []byte("uid=" + uid + "," + people), Password: []byte(password)}, nil, nil)
			return err
		},
		"PLAIN": func(c *client.Conn, uid, password string) error {
			_, err := c.BindSASL(t.Context(), "PLAIN", []byte("\x00"+uid+"\x00"+password))
			return err
		},
	}
	for way, bind := range ways {
		if err := bind(as(t, s, "", ""), "good", "right-secret-9"); err != nil {
			t.Fatalf("%s: an account that may log in: %v", way, err)
		}
		for _, uid := range []string{"disabled", "elsewhere", "early", "late", "locked", "carol", "nobody", ""} {
			c := as(t, s, "", "")
			if err := bind(c, uid, "right-secret-9"); err == nil {
				t.Errorf("%s: %q logs in", way, uid)
			}
			refusedAfter(t, c, way+" "+uid)
		}
		for _, password := range []string{"", " ", "wrong", "right-secret-9 ", "right-secret-", "\x00", "right-secret-9\x00", "{CLEARTEXT}right-secret-9", strings.Repeat("x", 10_000)} {
			c := as(t, s, "", "")
			if err := bind(c, "good", password); err == nil {
				t.Errorf("%s: the password %.20q is taken", way, password)
			}
			refusedAfter(t, c, way)
		}
	}
	for _, mechanism := range []string{"", "NONE", "EXTERNAL", "ANONYMOUS", "GSS-SPNEGO", "plain "} {
		c := as(t, s, "", "")
		if _, err := c.BindSASL(t.Context(), mechanism, []byte("\x00good\x00right-secret-9")); err == nil {
			t.Errorf("the mechanism %q succeeds", mechanism)
		}
		refusedAfter(t, c, mechanism)
	}
}

// refusedAfter demands that a connection is still nobody's.
func refusedAfter(t *testing.T, c *client.Conn, after string) {
	t.Helper()
	r, err := c.Extended(t.Context(), "1.3.6.1.4.1.4203.1.11.3", nil, nil)
	if err == nil && len(r.Value) > 0 {
		t.Errorf("after %s the connection is %s", after, r.Value)
	}
}

// TestHole_UserEnumeration compares the answers to those who do not know a password. That each takes the time of a hash is
// shown in internal/credential, and measured by portolan scan.
func TestHole_UserEnumeration(t *testing.T) {
	s := company(t, accounts(), "")
	answers := make(map[string][]string)
	for _, dn := range []string{"uid=good," + people, "uid=disabled," + people, "uid=elsewhere," + people, "uid=locked," + people, "uid=late," + people, carol,
		"uid=nobody," + people, "uid=x,ou=nowhere,dc=example,dc=org", "uid=x,dc=elsewhere", "ou=people,dc=example,dc=org"} {
		c := as(t, s, "", "")
		_, err := c.Bind(t.Context(), dn, "wrong")
		if e := ldap.AsError(err); e != nil {
			answer := fmt.Sprintf("%v, %q, matched %q, referrals %q", e.Code, e.Diagnostic, e.MatchedDN, e.Referrals)
			answers[answer] = append(answers[answer], dn)
		} else {
			t.Errorf("%s: no error", dn)
		}
	}
	if len(answers) != 1 {
		t.Errorf("different answers: %v", answers)
	}
	// Nor does an anonymous search tell.
	c := as(t, s, "", "")
	var errs []string
	for _, dn := range []string{bob, "uid=nobody," + people} {
		_, err := found(t, c, &ldap.SearchRequest{Base: []byte(dn), Filter: ldap.Present("objectClass")})
		errs = append(errs, fmt.Sprint(err))
	}
	if len(slices.Compact(errs)) != 1 {
		t.Errorf("different answers: %v", errs)
	}
}

// TestHole_Relay authenticates over a line in clear text that is not this host's own.
func TestHole_Relay(t *testing.T) {
	text, err := os.ReadFile("../conform/company.ldif")
	if err != nil {
		t.Fatal(err)
	}
	s := ldaptest.Start(t, ldaptest.Options{LDIF: string(text), Afar: true})
	for _, password := range []string{"alice-secret", "wrong"} {
		if _, err := as(t, s, "", "").Bind(t.Context(), alice, password); ldap.CodeOf(err) != ldap.ConfidentialityRequired {
			t.Errorf("a simple bind with the password %s: %v", password, err)
		}
		_, err := as(t, s, "", "").BindSASL(t.Context(), "PLAIN", []byte("\x00alice\x00"+password))
		if ldap.CodeOf(err) != ldap.ConfidentialityRequired {
			t.Errorf("PLAIN with the password %s: %v", password, err)
		}
	}
	got, err := found(t, as(t, s, "", ""), &ldap.SearchRequest{Filter: ldap.Present("objectClass"), Attributes: [][]byte{[]byte("supportedSASLMechanisms")}})
	if err != nil || len(got) != 1 || strings.Contains(got[0], `"PLAIN"`) {
		t.Errorf("what is offered: %v %v", got, err)
	}
}
