package dit

import (
	"testing"

	"portolan/ber"
	"portolan/internal/schema"
	"portolan/ldap"
)

func compile(t testing.TB, text string) *Filter {
	t.Helper()
	in, err := ldap.ParseFilter(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	f := &Filter{}
	f.Compile(shapes.Schema, &in)
	return f
}

func TestFilterLogic(t *testing.T) {
	e := seal(t, draft(t, "uid=alice", "objectClass", "inetOrgPerson", "objectClass", "posixAccount", "cn", "Alice  Archer", "cn;lang-de", "Alicia", "sn", "Müller",
		"mail", "alice@example.org", "uidNumber", "1000", "gidNumber", "6", "homeDirectory", "/home/alice", "userPassword", "{SSHA}x",
		"manager", "uid=bob,ou=People,dc=example,dc=org", "telephoneNumber", "+49 30 12-34"))
	name, err := ldap.ParseDN("uid=alice,ou=people,dc=example,dc=org")
	if err != nil {
		t.Fatal(err)
	}
	c := &Candidate{
		Schema: shapes.Schema, Entry: e,
		May:  func(slot int) bool { return !e.Shape().Slots[slot].Type.Secret },
		Name: func(*Entry) (ldap.DN, error) { return name, nil },
		Virtual: func(_ *Entry, at *schema.AttributeType, f func([]byte) bool) (bool, error) {
			if at.Name() != "memberOf" {
				return false, nil
			}
			f([]byte("cn=g,dc=example,dc=org"))
			return true, nil
		},
	}
	for filter, want := range map[string]Truth{
		"(uid=ALICE)": True, "(uid=bob)": False, "(UID=alice)": True, "(2.5.4.3=alice archer)": True,
		"(cn=alicia)": True, "(cn;lang-de=alicia)": True, "(cn;lang-fr=alicia)": False, "(name=alicia)": True, "(cn;lang-=Alicia)": True,
		"(sn=MÜLLER)": True, "(nosuch=x)": Undefined, "(!(nosuch=x))": Undefined, "(&(uid=alice)(nosuch=x))": Undefined,
		"(|(uid=alice)(nosuch=x))": True, "(&(uid=bob)(nosuch=x))": False, "(|(uid=bob)(nosuch=x))": Undefined,
		"(!(uid=bob))": True, "(title=*)": False, "(!(title=x))": True, "(&)": True, "(|)": False,
		"(userPassword=*)": False, "(!(userPassword=*))": True, "(userPassword={SSHA}x)": False,
		"(uidNumber>=999)": True, "(uidNumber>=1001)": False, "(uidNumber<=1000)": True, "(uidNumber>=abc)": Undefined, "(cn>=a)": Undefined,
		"(cn=al*)": True, "(cn=*archer)": True, "(cn=a*ce*ar*r)": True, "(cn=alice*alice)": False, "(cn=*ice ar*)": True, "(uidNumber=1*)": Undefined,
		"(mail~=ALICE@example.org)": True, "(telephoneNumber=+4930 1234)": True, "(manager=UID=Bob , OU=people, dc=example,dc=org)": True, "(manager=x)": Undefined,
		"(objectClass=top)": True, "(objectClass=2.5.6.6)": True, "(objectClass=nosuch)": Undefined,
		"(uid:caseExactMatch:=alice)": True, "(uid:caseExactMatch:=ALICE)": False, "(uid:nosuchRule:=alice)": Undefined, "(cn:integerMatch:=1)": Undefined,
		"(:caseIgnoreMatch:=alice)": True, "(ou:dn:=people)": True, "(ou:=people)": False, "(:dn:caseIgnoreMatch:=People)": True,
		"(uidNumber:1.2.840.113556.1.4.803:=8)": True, "(gidNumber:1.2.840.113556.1.4.803:=3)": False, "(gidNumber:1.2.840.113556.1.4.804:=3)": True,
		"(memberOf=cn=G,dc=example,dc=org)": True, "(memberOf=cn=h,dc=example,dc=org)": False, "(memberOf=*)": True,
		"(cn:caseIgnoreSubstringsMatch:=al\\2aer)": True, "(cn:caseIgnoreSubstringsMatch:=x\\2ay)": False,
		"(memberOf:1.2.840.113556.1.4.1941:=cn=g,dc=example,dc=org)": Undefined,
	} {
		got, err := compile(t, filter).Eval(c)
		if err != nil || got != want {
			t.Errorf("%s: %v %v, want %v", filter, got, err, want)
		}
	}
}

func TestCompileReusesItsMemory(t *testing.T) {
	in, err := ldap.ParseFilter("(&(objectClass=person)(uid=alice)(cn=a*b*c))")
	if err != nil {
		t.Fatal(err)
	}
	f := &Filter{}
	f.Compile(shapes.Schema, &in)
	if n := testing.AllocsPerRun(100, func() { f.Compile(shapes.Schema, &in) }); n > 0 {
		t.Errorf("%v allocations to compile a filter again", n)
	}
}

func TestUnreadableLargeSlotIsUndefined(t *testing.T) {
	d := draft(t, "cn=g", "objectClass", "groupOfNames", "member", "cn=1", "member", "cn=2", "member", "cn=3")
	e, _, err := d.Seal(shapes, SealOptions{LargeThreshold: 2})
	if err != nil {
		t.Fatal(err)
	}
	for filter, want := range map[string]Truth{"(member=cn=1)": Undefined, "(!(member=cn=1))": Undefined, "(member=*)": True} {
		if got, err := compile(t, filter).Eval(&Candidate{Schema: shapes.Schema, Entry: e}); err != nil || got != want {
			t.Errorf("%s: %v %v, want %v", filter, got, err, want)
		}
	}
}

// FuzzFilter compiles and evaluates whatever the decoder lets through: nothing that a client can send may do harm.
func FuzzFilter(f *testing.F) {
	for _, text := range []string{"(&(uid=a)(!(cn=a*b*c)))", "(ou:dn:caseExactMatch:=x)", "(:1.2.840.113556.1.4.803:=1)", "(uidNumber>=5)", "(cn~=x)", "(&)"} {
		in, err := ldap.ParseFilter(text)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(in.AppendBER(nil))
	}
	f.Add([]byte{0xa3, 0x05, 0x04, 0x00, 0x04, 0x01, 'x'}) // an equality match of no attribute
	e := seal(f, alice(f))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := ber.Reader(b)
		var in ldap.Filter
		if ldap.DecodeFilter(&r, &in) != nil {
			return
		}
		var compiled Filter
		compiled.Compile(shapes.Schema, &in)
		if _, err := compiled.Eval(&Candidate{Schema: shapes.Schema, Entry: e}); err != nil {
			t.Fatal(err)
		}
	})
}

func BenchmarkEval(b *testing.B) {
	e := seal(b, alice(b))
	f := compile(b, "(&(objectClass=inetOrgPerson)(uid=alice))")
	c := &Candidate{Schema: shapes.Schema, Entry: e}
	b.ReportAllocs()
	for b.Loop() {
		if got, err := f.Eval(c); err != nil || got != True {
			b.Fatal(got, err)
		}
	}
}
