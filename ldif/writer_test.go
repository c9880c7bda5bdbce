package ldif

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"portolan/ldap"
)

func TestWriteRecord(t *testing.T) {
	for _, tt := range []struct {
		name string
		r    Record
		want string
	}{
		{"entry", Record{DN: "cn=a", Attributes: []Attr{{"cn", values("a", "b")}, {"sn", nil}, {"x;y", values("")}}}, "dn: cn=a\ncn: a\ncn: b\nx;y:\n\n"},
		{"root", Record{}, "dn:\n\n"},
		{"base64", Record{DN: "cn=é", Attributes: []Attr{{"a", values(" x", "x ", ":x", "<x", "\n", "\x00", "a\tb", "a:b <c", "\x7f")}}},
			"dn:: Y249w6k=\na:: IHg=\na:: eCA=\na:: Ong=\na:: PHg=\na:: Cg==\na:: AA==\na:: YQli\na: a:b <c\na:: fw==\n\n"},
		{"add", Record{DN: "cn=a", Kind: Add, Attributes: []Attr{{"cn", values("a")}}}, "dn: cn=a\nchangetype: add\ncn: a\n\n"},
		{"delete with control", Record{DN: "cn=a", Kind: Delete, Controls: []ldap.Control{{OID: []byte("1.2"), Critical: true}, {OID: []byte("1.3"), HasValue: true, Value: []byte("é")}, {OID: []byte("1.4"), HasValue: true}}},
			"dn: cn=a\ncontrol: 1.2 true\ncontrol: 1.3 false:: w6k=\ncontrol: 1.4 false:\nchangetype: delete\n\n"},
		{"modify", Record{DN: "cn=a", Kind: Modify, Mods: []Mod{{ldap.ModReplace, "sn", values("x")}, {ldap.ModDelete, "l", nil}, {ldap.ModIncrement, "n", values("-1")}, {ldap.ModAdd, "o", values("y", "z")}}},
			"dn: cn=a\nchangetype: modify\nreplace: sn\nsn: x\n-\ndelete: l\n-\nincrement: n\nn: -1\n-\nadd: o\no: y\no: z\n-\n\n"},
		{"moddn", Record{DN: "cn=a", Kind: ModDN, NewRDN: "cn=b", DeleteOldRDN: true}, "dn: cn=a\nchangetype: moddn\nnewrdn: cn=b\ndeleteoldrdn: 1\n\n"},
		{"moddn to the root", Record{DN: "cn=a", Kind: ModDN, NewRDN: "cn=b", HasNewSuperior: true}, "dn: cn=a\nchangetype: moddn\nnewrdn: cn=b\ndeleteoldrdn: 0\nnewsuperior:\n\n"},
	} {
		var out bytes.Buffer
		w := NewWriter(&out, WriterOptions{})
		if err := w.WriteRecord(&tt.r); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if err := w.Close(); err != nil || out.String() != tt.want {
			t.Errorf("%s: %v\n%s\nwant:\n%s", tt.name, err, out.String(), tt.want)
		}
	}
}

func TestWriterRefuses(t *testing.T) {
	injected := "cn: x\nuserPassword"
	for name, r := range map[string]Record{
		"attribute name":      {DN: "a=b", Attributes: []Attr{{injected, values("x")}}},
		"empty name":          {DN: "a=b", Attributes: []Attr{{"", values("x")}}},
		"modified attribute":  {DN: "a=b", Kind: Modify, Mods: []Mod{{ldap.ModAdd, injected, nil}}},
		"kind of change":      {DN: "a=b", Kind: Modify, Mods: []Mod{{9, "cn", nil}}},
		"control":             {DN: "a=b", Kind: Delete, Controls: []ldap.Control{{OID: []byte("1.1\n")}}},
		"control on content":  {DN: "a=b", Controls: []ldap.Control{{OID: []byte("1.1")}}},
		"kind of record":      {DN: "a=b", Kind: 9},
		"reserved name":       {DN: "a=b", Attributes: []Attr{{"changetype", values("delete")}}},
		"reserved name, add":  {DN: "a=b", Kind: Add, Attributes: []Attr{{"DN", values("x")}}},
		"add of no attribute": {DN: "a=b", Kind: Add, Attributes: []Attr{{"cn", nil}}},
	} {
		if err := NewWriter(&bytes.Buffer{}, WriterOptions{}).WriteRecord(&r); err == nil {
			t.Errorf("%s: written", name)
		}
	}
	w := NewWriter(&bytes.Buffer{}, WriterOptions{})
	if err := w.WriteEntry("a=b", []ldap.Attribute{{Type: []byte(injected), Values: values("x")}}); err == nil {
		t.Error("WriteEntry: written")
	}
}

func TestFolding(t *testing.T) {
	for width, want := range map[int]string{
		-1: "dn: abcdefgh\n\n", 0: "dn: abcdefgh\n\n", 12: "dn: abcdefgh\n\n", 11: "dn: abcdefg\n h\n\n", 5: "dn: a\n bcde\n fgh\n\n",
		1: "dn\n :\n  \n a\n b\n c\n d\n e\n f\n g\n h\n\n",
	} {
		var out bytes.Buffer
		w := NewWriter(&out, WriterOptions{Width: width})
		if err := errors.Join(w.WriteRecord(&Record{DN: "abcdefgh"}), w.Flush()); err != nil || out.String() != want {
			t.Errorf("width %d: %v %q, want %q", width, err, out.String(), want)
		}
		got, err := readAll(&out, Options{})
		if err != nil || got[0].DN != "abcdefgh" {
			t.Errorf("width %d reads back as %v, %v", width, got, err)
		}
	}
}

func TestWriteEntryAndComment(t *testing.T) {
	var out bytes.Buffer
	w := NewWriter(&out, WriterOptions{Version: true})
	err := errors.Join(
		w.Comment("two lines\r\ndn: not=this "+strings.Repeat("x", 80)),
		w.WriteEntry("cn=a", []ldap.Attribute{{Type: []byte("cn;lang-en"), Values: values("a", "é")}, {Type: []byte("sn")}}),
		w.Close())
	want := "version: 1\n\n# two lines\n# dn: not=this " + strings.Repeat("x", 61) + "\n " + strings.Repeat("x", 19) +
		"\n\ndn: cn=a\ncn;lang-en: a\ncn;lang-en:: w6k=\n\n"
	if err != nil || out.String() != want {
		t.Errorf("%v\n%s\nwant:\n%s", err, out.String(), want)
	}
	got, err := readAll(&out, Options{})
	if err != nil || len(got) != 1 || got[0].DN != "cn=a" {
		t.Errorf("%v, %v", got, err)
	}
	var empty bytes.Buffer
	if err := NewWriter(&empty, WriterOptions{Version: true}).Close(); err != nil || empty.String() != "version: 1\n\n" {
		t.Errorf("no records: %v %q", err, empty.String())
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("full") }

func TestWriterErrorStays(t *testing.T) {
	w := NewWriter(full{}, WriterOptions{})
	r := Record{DN: "a=b", Attributes: []Attr{{"cn", values(strings.Repeat("x", 200_000))}}}
	for range 2 {
		if err := w.WriteRecord(&r); err == nil || err.Error() != "full" {
			t.Errorf("WriteRecord: %v", err)
		}
	}
	if err := w.Close(); err == nil {
		t.Error("Close: no error")
	}
}

func TestWhatIsWrittenReadsBack(t *testing.T) {
	name := rapid.StringMatching(`[a-z][a-zA-Z0-9-]{2,8}(;x-[a-z]{1,3})?`).Filter(func(s string) bool { return !reserved(s) })
	value := rapid.OneOf(rapid.SliceOf(rapid.Byte()), rapid.Map(rapid.StringMatching(`[ -~]{0,200}`), func(s string) []byte { return []byte(s) }))
	rapid.Check(t, func(t *rapid.T) {
		var records []Record
		for range rapid.IntRange(0, 4).Draw(t, "records") {
			r := Record{DN: string(value.Draw(t, "dn")), Kind: Kind(rapid.IntRange(0, 4).Draw(t, "kind"))}
			if r.Kind != Content {
				for range rapid.IntRange(0, 2).Draw(t, "controls") {
					c := ldap.Control{OID: []byte("1.2.3"), Critical: rapid.Bool().Draw(t, "critical"), HasValue: rapid.Bool().Draw(t, "has")}
					if c.HasValue {
						c.Value = value.Draw(t, "control")
					}
					r.Controls = append(r.Controls, c)
				}
			}
			n := rapid.IntRange(1, 4).Draw(t, "attributes")
			switch r.Kind {
			case Content, Add:
				last := ""
				for range n {
					a := Attr{name.Draw(t, "name"), rapid.SliceOfN(value, 1, 3).Draw(t, "values")}
					if !strings.EqualFold(a.Name, last) {
						r.Attributes = append(r.Attributes, a)
					}
					last = a.Name
				}
			case Modify:
				for range n {
					r.Mods = append(r.Mods, Mod{ldap.ModOp(rapid.IntRange(0, 3).Draw(t, "op")), name.Draw(t, "name"), rapid.SliceOfN(value, 0, 3).Draw(t, "values")})
				}
			case ModDN:
				r.NewRDN, r.DeleteOldRDN = string(value.Draw(t, "rdn")), rapid.Bool().Draw(t, "delete")
				if r.HasNewSuperior = rapid.Bool().Draw(t, "moved"); r.HasNewSuperior {
					r.NewSuperior = string(value.Draw(t, "superior"))
				}
			}
			records = append(records, r)
		}
		rewrite(t, records)
	})
}
