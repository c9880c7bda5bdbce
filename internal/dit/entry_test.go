package dit

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"portolan/internal/schema"
	"portolan/ldap"
)

var shapes = NewShapes(schema.Default())

// draft makes a draft of "name: value" pairs.
func draft(t testing.TB, rdn string, pairs ...string) *Draft {
	t.Helper()
	s := shapes.Schema
	d := NewDraft()
	d.Parent, d.UUID, d.RDN = 1, uuid.MustParse("11111111-2222-3333-4444-555555555555"), rdn
	parsed, err := ldap.ParseRDN(rdn)
	if err != nil {
		t.Fatal(err)
	}
	d.NormRDN = string(s.NormalizeRDN(nil, parsed))
	for i := 0; i < len(pairs); i += 2 {
		if err := d.Add(s, describe(t, pairs[i]), [][]byte{[]byte(pairs[i+1])}, false); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

func describe(t testing.TB, name string) schema.Description {
	t.Helper()
	desc, err := shapes.Schema.DescribeString(name)
	if err != nil || desc.Type == nil {
		t.Fatalf("%s: %v", name, err)
	}
	return desc
}

func seal(t testing.TB, d *Draft) *Entry {
	t.Helper()
	e, _, err := d.Seal(shapes, SealOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func alice(t testing.TB) *Draft {
	return draft(t, "uid=alice", "objectClass", "inetOrgPerson", "cn", "Alice", "cn;lang-de", "Alicia", "sn", "Archer", "mail", "alice@example.org",
		"userPassword", "{SSHA}x", "telephoneNumber", "+49 30 1234")
}

func valuesOf(e *Entry, slot int) (out []string) {
	for v := e.Values(slot); ; {
		b, ok := v.Next()
		if !ok {
			return out
		}
		out = append(out, string(b))
	}
}

func TestSealCompletesAnEntry(t *testing.T) {
	e := seal(t, alice(t))
	got := map[string][]string{}
	for i, d := range e.Shape().Slots {
		got[d.String()] = valuesOf(e, i)
	}
	if !slices.Equal(got["uid"], []string{"alice"}) {
		t.Errorf("the naming attribute: %v", got["uid"])
	}
	if !slices.Equal(got["objectClass"], []string{"inetOrgPerson", "organizationalPerson", "person", "top"}) {
		t.Errorf("objectClass: %v", got["objectClass"])
	}
	if !slices.Equal(got["structuralObjectClass"], []string{"inetOrgPerson"}) {
		t.Errorf("structuralObjectClass: %v", got["structuralObjectClass"])
	}
	shape := e.Shape()
	for i, d := range shape.Slots {
		class := 0
		if d.Type.Operational() {
			class = 2
		} else if d.Type.Secret {
			class = 1
		}
		if in := map[bool]int{i < shape.Open: 0}; (i < shape.Open) != (class == 0) || (i >= shape.Users) != (class == 2) {
			t.Errorf("slot %d (%s) is out of order: open %d, users %d, %v", i, d, shape.Open, shape.Users, in)
		}
	}
	if seal(t, alice(t)).Shape() != shape {
		t.Error("two entries with the same attributes have two shapes")
	}
}

func TestSealRefuses(t *testing.T) {
	for _, c := range []struct {
		name string
		d    *Draft
		code ldap.ResultCode
	}{
		{"a missing attribute", draft(t, "cn=x", "objectClass", "person"), ldap.ObjectClassViolation},
		{"an attribute of no class", draft(t, "cn=x", "objectClass", "person", "sn", "x", "mail", "x@example.org"), ldap.ObjectClassViolation},
		{"no structural class", draft(t, "cn=x", "objectClass", "posixAccount"), ldap.ObjectClassViolation},
		{"an operational name", draft(t, "entryUUID=11111111-2222-3333-4444-555555555555", "objectClass", "person", "sn", "x", "cn", "x"), ldap.NamingViolation},
		{"two values of one attribute in a name", draft(t, "cn=x+sn=y+commonName=z", "objectClass", "person"), ldap.NamingViolation},
	} {
		_, _, err := c.d.Seal(shapes, SealOptions{})
		if ldap.CodeOf(err) != c.code {
			t.Errorf("%s: %v, want %v", c.name, err, c.code)
		}
	}
	refused := errors.New("refused")
	_, _, err := alice(t).Seal(shapes, SealOptions{CheckSecret: func(at *schema.AttributeType, _ []byte) error {
		if at.Name() != "userPassword" {
			t.Errorf("asked about %s", at.Name())
		}
		return refused
	}})
	if !errors.Is(err, refused) {
		t.Errorf("a secret that is refused: %v", err)
	}
}

func TestModifyOperations(t *testing.T) {
	s := shapes.Schema
	cn := describe(t, "cn")
	bytesOf := func(values ...string) (out [][]byte) {
		for _, v := range values {
			out = append(out, []byte(v))
		}
		return out
	}
	for _, c := range []struct {
		name string
		do   func(d *Draft) error
		code ldap.ResultCode
	}{
		{"add a value that is there, in other case", func(d *Draft) error { return d.Add(s, cn, bytesOf("ALICE"), false) }, ldap.AttributeOrValueExists},
		{"the same, permissive", func(d *Draft) error { return d.Add(s, cn, bytesOf("ALICE"), true) }, ldap.Success},
		{"add twice in one go", func(d *Draft) error { return d.Add(s, cn, bytesOf("x", " X"), false) }, ldap.AttributeOrValueExists},
		{"an option is an attribute of its own", func(d *Draft) error { return d.Add(s, describe(t, "cn;lang-fr"), bytesOf("Alice"), false) }, ldap.Success},
		{"delete what is not there", func(d *Draft) error { return d.Delete(s, cn, bytesOf("Bob"), false) }, ldap.NoSuchAttribute},
		{"delete an attribute that is not there", func(d *Draft) error { return d.Delete(s, describe(t, "title"), nil, false) }, ldap.NoSuchAttribute},
		{"delete by the rule", func(d *Draft) error { return d.Delete(s, cn, bytesOf("aLICE"), false) }, ldap.Success},
		{"delete a value without an equality rule", func(d *Draft) error {
			photo := describe(t, "jpegPhoto")
			if err := d.Add(s, photo, bytesOf("\xff\xd8\xff"), false); err != nil {
				return err
			}
			return d.Delete(s, photo, bytesOf("\xff\xd8\xff"), false)
		}, ldap.InappropriateMatching},
		{"a value that its syntax refuses", func(d *Draft) error { return d.Add(s, describe(t, "manager"), bytesOf("not a name"), false) }, ldap.InvalidAttributeSyntax},
		{"replace what is not there by nothing", func(d *Draft) error { return d.Replace(s, describe(t, "title"), nil, false) }, ldap.Success},
		{"increment text", func(d *Draft) error { return d.Increment(s, cn, bytesOf("1")) }, ldap.ConstraintViolation},
		{"increment what is not there", func(d *Draft) error { return d.Increment(s, describe(t, "uidNumber"), bytesOf("1")) }, ldap.NoSuchAttribute},
		{"increment by two values", func(d *Draft) error { return d.Increment(s, describe(t, "uidNumber"), bytesOf("1", "2")) }, ldap.ProtocolError},
	} {
		d := seal(t, alice(t)).Edit(nil)
		if err := c.do(d); ldap.CodeOf(err) != c.code {
			t.Errorf("%s: %v, want %v", c.name, err, c.code)
		}
	}
	d := NewDraft()
	d.Set(describe(t, "uidNumber").Type, []byte("9223372036854775807"))
	if err := d.Increment(s, describe(t, "uidNumber"), bytesOf("-10")); err != nil || string(d.First(describe(t, "uidNumber").Type)) != "9223372036854775797" {
		t.Errorf("increment: %s %v", d.First(describe(t, "uidNumber").Type), err)
	}
}

// A draft that is used again has nothing of the entry before, and what was sealed does not change with it.
func TestDraftIsUsedAgain(t *testing.T) {
	s := shapes.Schema
	d := NewDraft()
	fill := func(rdn string, values ...string) *Entry {
		d.Reset()
		d.RDN, d.NormRDN = rdn, rdn
		for i := 0; i < len(values); i += 2 {
			if err := d.Add(s, describe(t, values[i]), [][]byte{[]byte(values[i+1])}, false); err != nil {
				t.Fatal(err)
			}
		}
		e, _, err := d.Seal(shapes, SealOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	first := fill("cn=a", "objectClass", "person", "cn", "a", "sn", "A", "telephoneNumber", "1", "description", "first")
	second := fill("cn=b", "objectClass", "person", "cn", "b", "sn", "B")
	if v := second.First(describe(t, "description")); v != nil {
		t.Errorf("the second entry has the description %q of the first", v)
	}
	if v := first.First(describe(t, "sn")); string(v) != "A" {
		t.Errorf("the first entry's sn is %q now", v)
	}
}

// Values that came by Set are checked when the entry is sealed, also beside others that came by Add.
func TestSealChecksWhatAddDidNot(t *testing.T) {
	s := shapes.Schema
	number := describe(t, "uidNumber")
	for name, change := range map[string]func(d *Draft) error{
		"set": func(d *Draft) error { d.Set(number.Type, []byte("x")); return nil },
		"set, then add": func(d *Draft) error {
			d.Set(describe(t, "telephoneNumber").Type, []byte(""))
			return d.Add(s, describe(t, "telephoneNumber"), [][]byte{[]byte("1")}, false)
		},
		"add, then set": func(d *Draft) error {
			err := d.Add(s, number, [][]byte{[]byte("1")}, false)
			d.Set(number.Type, []byte("x"))
			return err
		},
		"add, delete, set": func(d *Draft) error {
			err := errors.Join(d.Add(s, number, [][]byte{[]byte("1")}, false), d.Delete(s, number, [][]byte{[]byte("1")}, false))
			d.Set(number.Type, []byte("x"))
			return err
		},
	} {
		d := draft(t, "cn=a", "objectClass", "person", "objectClass", "posixAccount", "cn", "a", "sn", "A", "uid", "a", "gidNumber", "1", "homeDirectory", "/", "uidNumber", "2")
		d.Delete(s, number, nil, false)
		if name == "set, then add" {
			d.Add(s, number, [][]byte{[]byte("2")}, false)
		}
		if err := change(d); err != nil {
			t.Fatal(name, err)
		}
		if _, _, err := d.Seal(shapes, SealOptions{}); ldap.CodeOf(err) != ldap.InvalidAttributeSyntax {
			t.Errorf("%s: sealed with %v", name, err)
		}
	}
}

// TestDraftAgainstModel runs random changes of one attribute, inline and large, against a map.
func TestDraftAgainstModel(t *testing.T) {
	s := shapes.Schema
	member := describe(t, "member")
	rapid.Check(t, func(t *rapid.T) {
		stored := map[string]string{}
		d := NewDraft()
		if rapid.Bool().Draw(t, "large") {
			for i := range rapid.IntRange(1, 30).Draw(t, "stored") {
				dn := fmt.Sprintf("cn=%d", i)
				stored[dn] = dn
			}
			before := maps(stored)
			d.Attrs = []DraftAttr{{Desc: member, Large: &DraftLarge{count: len(before), has: func(k []byte) (bool, error) { return before[string(k)] != "", nil }}}}
		}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			dn := fmt.Sprintf("cn=%d", rapid.IntRange(0, 40).Draw(t, "n"))
			switch rapid.IntRange(0, 9).Draw(t, "op") {
			case 0, 1, 2, 3, 4:
				err := d.Add(s, member, [][]byte{[]byte(dn)}, false)
				if (stored[dn] != "") != (ldap.CodeOf(err) == ldap.AttributeOrValueExists) {
					t.Fatalf("add %s: %v, there: %v", dn, err, stored[dn] != "")
				}
				stored[dn] = dn
			case 5, 6, 7, 8:
				err := d.Delete(s, member, [][]byte{[]byte(dn)}, false)
				if (stored[dn] == "") != (ldap.CodeOf(err) == ldap.NoSuchAttribute) {
					t.Fatalf("delete %s: %v, there: %v", dn, err, stored[dn] != "")
				}
				delete(stored, dn)
			case 9:
				if err := d.Replace(s, member, [][]byte{[]byte(dn)}, false); err != nil {
					t.Fatal(err)
				}
				stored = map[string]string{dn: dn}
			}
			count := 0
			if a := d.Attr(member); a != nil {
				count = a.Count()
			}
			if count != len(stored) {
				t.Fatalf("%d values, want %d", count, len(stored))
			}
			there, err := d.Has(s, member, []byte(dn))
			if err != nil || there != (stored[dn] != "") {
				t.Fatalf("has %s: %v %v", dn, there, err)
			}
		}
	})
}

func maps(m map[string]string) map[string]string {
	out := make(map[string]string, len(m))
	for k, v := range m {
		out[k] = v
	}
	return out
}

func TestLargeAttributes(t *testing.T) {
	s := shapes.Schema
	member := describe(t, "member")
	d := draft(t, "cn=g", "objectClass", "groupOfNames")
	for i := range 20 {
		if err := d.Add(s, member, [][]byte{fmt.Appendf(nil, "cn=%d", i)}, false); err != nil {
			t.Fatal(err)
		}
	}
	e, large, err := d.Seal(shapes, SealOptions{LargeThreshold: 10})
	if err != nil {
		t.Fatal(err)
	}
	slot := e.Shape().Find(member)
	if n, is := e.Large(slot); !is || n != 20 || e.Count(slot) != 20 || len(valuesOf(e, slot)) != 0 {
		t.Fatalf("large: %v %d", is, n)
	}
	if len(large) != 1 || !large[0].Clear || len(large[0].Add) != 20 {
		t.Fatalf("delta: %+v", large)
	}
	back, err := DecodeEntry(shapes, 7, e.AppendRecord(nil))
	if err != nil {
		t.Fatal(err)
	}
	if n, is := back.Large(slot); !is || n != 20 {
		t.Errorf("after decoding: %v %d", is, n)
	}
	d = back.Edit(largeMap{"cn=3": true})
	if err := d.Delete(s, member, [][]byte{[]byte("CN=3")}, false); err != nil {
		t.Fatal(err)
	}
	if err := d.Add(s, member, [][]byte{[]byte("cn=new")}, false); err != nil {
		t.Fatal(err)
	}
	after, large, err := d.Seal(shapes, SealOptions{LargeThreshold: 10})
	if err != nil || len(large) != 1 || large[0].Clear || len(large[0].Delete) != 1 || len(large[0].Add) != 1 || after.Count(slot) != 20 {
		t.Errorf("delta: %+v %v", large, err)
	}
	d = back.Edit(largeMap{})
	if err := d.Delete(s, describe(t, "objectClass"), nil, false); err != nil {
		t.Fatal(err)
	}
	d.Set(s.Known.ObjectClass, []byte("applicationProcess"))
	if err := d.Delete(s, member, nil, false); err != nil {
		t.Fatal(err)
	}
	if _, large, err = d.Seal(shapes, SealOptions{LargeThreshold: 10}); err != nil || len(large) != 1 || !large[0].Clear || len(large[0].Add) != 0 {
		t.Errorf("a large attribute that goes: %+v %v", large, err)
	}
}

// largeMap answers for the values of a large attribute by key.
type largeMap map[string]bool

func (m largeMap) LargeHas(_ *Entry, _ int, key []byte) (bool, error) { return m[string(key)], nil }

func TestRecordRoundTrip(t *testing.T) {
	d := alice(t)
	e := seal(t, d)
	e.ID, e.Seq = 42, 7
	e.CSN = CSN{Micros: time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC).UnixMicro(), Count: 1, SID: 2, Mod: 3}
	record := e.AppendRecord(nil)
	back, err := DecodeEntry(shapes, 42, record)
	if err != nil {
		t.Fatal(err)
	}
	if back.RDN != e.RDN || back.NormRDN != e.NormRDN || back.UUID != e.UUID || back.CSN != e.CSN || back.Seq != 7 || back.Parent != 1 ||
		back.Shape() != e.Shape() || !bytes.Equal(back.Wire(0, len(e.Shape().Slots)), e.Wire(0, len(e.Shape().Slots))) {
		t.Errorf("%+v\n%+v", back, e)
	}
	for n := range record {
		if _, err := DecodeEntry(shapes, 1, record[:n]); n < 51 && err == nil {
			t.Errorf("a record of %d octets is taken", n)
		}
	}
}

func FuzzDecodeEntry(f *testing.F) {
	f.Add(seal(f, alice(f)).AppendRecord(nil))
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, record []byte) {
		e, err := DecodeEntry(shapes, 1, record)
		if err != nil {
			if !errors.Is(err, ErrRecord) {
				t.Fatalf("%v", err)
			}
			return
		}
		if _, err := DecodeEntry(shapes, 1, e.AppendRecord(nil)); err != nil {
			t.Fatalf("what was decoded does not decode again: %v", err)
		}
		for slot := range e.Shape().Slots {
			e.Count(slot)
		}
	})
}

func TestCSN(t *testing.T) {
	now := time.Date(2026, 1, 31, 12, 0, 0, 123456000, time.UTC)
	c := CSN{}.Next(now, 1)
	if c.String() != "20260131120000.123456Z#000000#001#000000" {
		t.Error(c)
	}
	back, err := ParseCSN([]byte(c.String()))
	if err != nil || back != c {
		t.Error(back, err)
	}
	later := c.Next(now.Add(-time.Hour), 1)
	if later.Compare(c) <= 0 || later.Micros != c.Micros {
		t.Errorf("after a step back of the clock: %v, before %v", later, c)
	}
	full := CSN{Micros: c.Micros, Count: 0xffffff}
	if next := full.Next(now, 1); next.Compare(full) <= 0 || next.Count != 0 {
		t.Error(next)
	}
	for _, bad := range []string{"", "x", "20260131120000.123456Z#000000#001#00000g", "20261331120000.123456Z#000000#001#000000", c.String() + "0"} {
		if _, err := ParseCSN([]byte(bad)); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

// BenchmarkSeal is what a write costs an entry: checked against the schema and encoded.
func BenchmarkSeal(b *testing.B) {
	d := alice(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := d.Seal(shapes, SealOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkEdit is the other way round: a draft of an entry.
func BenchmarkEdit(b *testing.B) {
	e := seal(b, alice(b))
	b.ReportAllocs()
	for b.Loop() {
		if d := e.Edit(nil); len(d.Attrs) == 0 {
			b.Fatal("no attributes")
		}
	}
}

// BenchmarkWire is the encoding of all user attributes of an entry for an answer.
func BenchmarkWire(b *testing.B) {
	e := seal(b, alice(b))
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = append(buf[:0], e.Wire(0, e.Shape().Users)...)
	}
}
