package holes

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"portolan/ber"
	"portolan/internal/client"
	"portolan/internal/ldaptest"
	"portolan/ldap"
)

// TestHole_SecretsInTheLogs has a reader of the change log and the access log ask about changes of passwords in every way that
// there is: by sort keys, list views, dereference, matched values, filters, assertions. Two directories are the same but for
// which account has which password; what the reader is told of them must be the same, octet for octet, and no hash in it.
func TestHole_SecretsInTheLogs(t *testing.T) {
	const rule = "[overlay.accesslog]\nchangelog = \"cn=changelog\"\naccesslog = \"cn=accesslog\"\n[[access]]\nallow = [\"disclose\", \"read\", \"search\", \"compare\"]\n" +
		"who = \"dn:" + alice + "\"\non = [\"subtree:cn=changelog\", \"subtree:cn=accesslog\"]\n"
	low, high := hashLike('A'), hashLike('z')
	one, other := logged(t, rule, low, high), logged(t, rule, high, low)

	// The hashes are in the logs: the administrator sees them. Otherwise this test would show nothing.
	admin := as(t, one, ldaptest.AdminDN, ldaptest.AdminPassword)
	all, err := found(t, admin, &ldap.SearchRequest{Base: []byte("cn=changelog"), Scope: ldap.ScopeSub, Filter: ldap.Present("objectClass")})
	if err != nil || !strings.Contains(strings.Join(all, ""), low) || !strings.Contains(strings.Join(all, ""), high) {
		t.Fatalf("the hashes are not in the log: %v\n%s", err, all)
	}
	seen := "seen by all"
	reader := [2]*client.Conn{as(t, one, alice, "alice-secret"), as(t, other, alice, "alice-secret")}
	asked := 0
	for _, log := range []struct{ base, number, dn, values string }{
		{"cn=changelog", "changeNumber", "targetDN", "changes"}, {"cn=accesslog", "reqType", "reqDN", "reqMod"}, {"cn=accesslog", "reqType", "reqDN", "reqOld"},
	} {
		ways := map[string][]ldap.Control{"nothing more": nil}
		if log.values == "reqOld" {
			seen = "nobody's manager"
		}
		for _, reverse := range []bool{false, true} {
			for _, by := range []string{log.values, "userPassword", "2.5.4.35"} {
				for _, rule := range []string{"", "octetStringOrderingMatch", "caseExactOrderingMatch"} {
					order := sortControl(by, rule, reverse)
					ways[fmt.Sprint("sorted by ", by, rule, reverse)] = []ldap.Control{order}
					for _, value := range []string{"userPassword:= {SSHA}M", "delete: userPassword", "{SSHA}M", "M"} {
						ways[fmt.Sprint("a view of ", by, rule, reverse, " at ", value)] = []ldap.Control{order, viewControl(value)}
					}
				}
			}
		}
		for _, item := range []string{"(userPassword=*)", "(" + log.values + "=*{SSHA}*)", "(" + log.values + "=*" + low + "*)", "(" + log.values + ">=userPassword:= {SSHA}M)"} {
			f := filterOf(t, item)
			ways["the values that match "+item] = []ldap.Control{{OID: []byte("1.2.826.0.1.3344810.2.3"), Critical: true, HasValue: true, Value: ber.AppendBytes(nil, 0x30, f.AppendBER(nil))}}
			ways["an assertion of "+item] = []ldap.Control{{OID: []byte("1.3.6.1.1.12"), Critical: true, HasValue: true, Value: f.AppendBER(nil)}}
		}
		for _, through := range []string{log.dn, "reqDN", "entryDN"} {
			ways["dereferenced by "+through] = []ldap.Control{derefControl(through, "userPassword", "portolanScramKeys", "description")}
		}
		filters := []string{"(objectClass=*)", "(" + log.values + "=*{SSHA}*)", "(" + log.values + "=*userPassword*)", "(!(" + log.values + "=*" + low + "*))", "(userPassword=*)", "(" + log.values + "<=userPassword:= {SSHA}M)"}
		for way, controls := range ways {
			for _, f := range filters {
				if controls != nil && f != filters[0] && !strings.HasPrefix(way, "sorted by "+log.values) {
					continue
				}
				var told [2]string
				for i, c := range reader {
					told[i] = everything(t, c, &ldap.SearchRequest{
						Base: []byte(log.base), Scope: ldap.ScopeSub, Filter: filterOf(t, f), Attributes: [][]byte{[]byte(log.number), []byte(log.dn), []byte(log.values), []byte("userPassword")},
					}, controls)
				}
				asked++
				if told[0] != told[1] {
					t.Errorf("%s, %s, filter %s: where one account has the password\n%s\nwhere the other has it\n%s", log.base, way, f, told[0], told[1])
				}
				for _, secret := range []string{low, high, "{SSHA}"} {
					if strings.Contains(told[0], secret) {
						t.Errorf("%s, %s, filter %s: %s is in\n%s", log.base, way, f, secret, told[0])
					}
				}
				if way == "nothing more" && f == filters[0] && !strings.Contains(told[0], seen) {
					t.Errorf("%s: the reader sees nothing: %s", log.base, told[0])
				}
			}
		}
	}
	if asked < 100 {
		t.Errorf("only %d questions", asked)
	}
}

// hashLike is a stored password that sorts where its letter does.
func hashLike(letter byte) string {
	digest := bytes.Repeat([]byte{letter}, 24)
	return "{SSHA}" + base64.StdEncoding.EncodeToString(digest)
}

// logged is a directory in which bob and carol have been given passwords, and descriptions in the same changes.
func logged(t *testing.T, config, bobs, carols string) *ldaptest.Server {
	t.Helper()
	s := company(t, "", config)
	admin := as(t, s, ldaptest.AdminDN, ldaptest.AdminPassword)
	for _, x := range []struct{ dn, hash string }{{bob, bobs}, {carol, carols}, {bob, carols}, {carol, bobs}} {
		_, err := admin.Modify(t.Context(), x.dn, []ldap.Mod{
			{Op: ldap.ModReplace, Attribute: ldap.Attribute{Type: []byte("userPassword"), Values: [][]byte{[]byte(x.hash)}}},
			{Op: ldap.ModReplace, Attribute: ldap.Attribute{Type: []byte("description"), Values: [][]byte{[]byte("seen by all")}}},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// everything is all that a server says to a search: entries, their controls, the result and its controls, but for the context of a
// list view, which is random.
func everything(t *testing.T, c *client.Conn, m *ldap.SearchRequest, controls []ldap.Control) string {
	t.Helper()
	var b strings.Builder
	show := func(list []ldap.Control) {
		for _, x := range list {
			value := x.Value
			if string(x.OID) == "2.16.840.1.113730.3.4.10" {
				var in ber.Reader
				var position, count, code int64
				if r := ber.Reader(value); !r.Element(0x30, &in) || !in.Int(0x02, &position) || !in.Int(0x02, &count) || !in.Int(0x0a, &code) {
					t.Fatalf("a list view answers % x", value)
				}
				value = fmt.Append(nil, position, count, code)
			}
			fmt.Fprintf(&b, " [%s %q]", x.OID, value)
		}
		b.WriteByte('\n')
	}
	r, err := c.Search(context.Background(), m, client.Results{Entry: func(e *ldap.SearchResultEntry, controls []ldap.Control) error {
		// Names of the access log are times.
		if !bytes.HasSuffix(e.Name, []byte("cn=accesslog")) {
			b.Write(e.Name)
		}
		for _, a := range e.Attributes {
			fmt.Fprintf(&b, " %s=%q", a.Type, a.Values)
		}
		show(controls)
		return nil
	}}, controls...)
	fmt.Fprint(&b, err)
	if r != nil {
		show(r.Controls)
	}
	return ofItsTime.ReplaceAllString(b.String(), "*")
}

// ofItsTime are times, CSNs and UUIDs, which are other ones in each directory.
var ofItsTime = regexp.MustCompile(`\d{14}(\.\d+)?Z(#[0-9a-f#]+)?|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)

func sortControl(by, rule string, reverse bool) ldap.Control {
	key := ber.AppendString(nil, 0x04, by)
	if rule != "" {
		key = ber.AppendString(key, 0x80, rule)
	}
	if reverse {
		key = ber.AppendBool(key, 0x81, true)
	}
	return ldap.Control{OID: []byte("1.2.840.113556.1.4.473"), HasValue: true, Value: ber.AppendBytes(nil, 0x30, ber.AppendBytes(nil, 0x30, key))}
}

// viewControl is a list view of the one entry that a value leads to.
func viewControl(value string) ldap.Control {
	body := ber.AppendInt(ber.AppendInt(nil, 0x02, 0), 0x02, 0)
	return ldap.Control{OID: []byte("2.16.840.1.113730.3.4.9"), HasValue: true, Value: ber.AppendBytes(nil, 0x30, ber.AppendString(body, 0x81, value))}
}

func derefControl(through string, attrs ...string) ldap.Control {
	var list []byte
	for _, a := range attrs {
		list = ber.AppendString(list, 0x04, a)
	}
	spec := ber.AppendBytes(ber.AppendString(nil, 0x04, through), 0x30, list)
	return ldap.Control{OID: []byte("1.3.6.1.4.1.4203.666.5.16"), HasValue: true, Value: ber.AppendBytes(nil, 0x30, ber.AppendBytes(nil, 0x30, spec))}
}
