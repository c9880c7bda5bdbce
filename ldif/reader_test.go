package ldif

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"portolan/ldap"
)

func values(ss ...string) [][]byte {
	out := make([][]byte, len(ss))
	for i, s := range ss {
		out[i] = []byte(s)
	}
	return out
}

// clone copies a record out of the storage of a Reader.
func clone(r *Record) Record {
	c := *r
	c.Attributes, c.Mods, c.Controls = nil, nil, nil
	keep := func(vs [][]byte) [][]byte {
		out := make([][]byte, len(vs))
		for i, v := range vs {
			out[i] = bytes.Clone(v)
		}
		return out
	}
	for _, a := range r.Attributes {
		c.Attributes = append(c.Attributes, Attr{a.Name, keep(a.Values)})
	}
	for _, m := range r.Mods {
		c.Mods = append(c.Mods, Mod{m.Op, m.Name, keep(m.Values)})
	}
	for _, x := range r.Controls {
		x.OID, x.Value = bytes.Clone(x.OID), bytes.Clone(x.Value)
		c.Controls = append(c.Controls, x)
	}
	return c
}

func readAll(r io.Reader, opts Options) ([]Record, error) {
	in := NewReader(r, opts)
	var out []Record
	for {
		rec, err := in.Next()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return out, err
		}
		out = append(out, clone(rec))
	}
}

// The examples of RFC 2849, shortened where they repeat themselves.
var examples = []struct {
	name, in string
	want     []Record
}{
	{"example 1: two entries", `version: 1
dn: cn=Barbara Jensen, ou=Product Development, dc=airius, dc=com
objectclass: top
objectclass: person
cn: Barbara Jensen
cn: Barbara J Jensen
sn: Jensen
description: A big sailing fan.

dn: cn=Bjorn Jensen, ou=Accounting, dc=airius, dc=com
objectclass: top
telephonenumber: +1 408 555 1212
`, []Record{
		{Line: 2, DN: "cn=Barbara Jensen, ou=Product Development, dc=airius, dc=com", Attributes: []Attr{
			{"objectclass", values("top", "person")}, {"cn", values("Barbara Jensen", "Barbara J Jensen")}, {"sn", values("Jensen")},
			{"description", values("A big sailing fan.")}}},
		{Line: 10, DN: "cn=Bjorn Jensen, ou=Accounting, dc=airius, dc=com", Attributes: []Attr{
			{"objectclass", values("top")}, {"telephonenumber", values("+1 408 555 1212")}}},
	}},
	{"example 2: a folded value", `version: 1
dn:cn=Barbara Jensen, ou=Product Development, dc=airius, dc=com
objectclass:top
description:Babs is a big sailing fan, and travels extensively in sea
 rch of perfect sailing conditions.
title:Product Manager, Rod and Reel Division
`, []Record{{Line: 2, DN: "cn=Barbara Jensen, ou=Product Development, dc=airius, dc=com", Attributes: []Attr{
		{"objectclass", values("top")},
		{"description", values("Babs is a big sailing fan, and travels extensively in search of perfect sailing conditions.")},
		{"title", values("Product Manager, Rod and Reel Division")}}}}},
	{"example 3: base64", `version: 1
dn: cn=Gern Jensen, ou=Product Testing, dc=airius, dc=com
description:: V2hhdCBhIGNhcmVmdWwgcmVhZGVyIHlvdSBhcmUhICBUaGlzIHZhbHVl
 IGlzIGJhc2UtNjQtZW5jb2RlZA==
`, []Record{{Line: 2, DN: "cn=Gern Jensen, ou=Product Testing, dc=airius, dc=com", Attributes: []Attr{
		{"description", values("What a careful reader you are!  This value is base-64-encoded")}}}}},
	{"example 4: UTF-8 in a base64 name, options, comments", `version: 1
dn:: b3U95Za25qWt6YOoLG89QWlyaXVz
# dn:: ou=eigyoubu,o=Airius
objectclass: top
ou:: 5Za25qWt6YOo
ou;lang-ja:: 5Za25qWt6YOo
# a comment that is
 folded: not an attribute
ou;lang-ja;phonetic:: 44GI44GE44GO44KH44GG44G2
`, []Record{{Line: 2, DN: "ou=営業部,o=Airius", Attributes: []Attr{
		{"objectclass", values("top")}, {"ou", values("営業部")}, {"ou;lang-ja", values("営業部")}, {"ou;lang-ja;phonetic", values("えいぎょうぶ")}}}}},
	{"example 6: change records", `version: 1
dn: cn=Fiona Jensen, dc=com
changetype: add
objectclass: top
cn: Fiona Jensen

# Delete an existing entry
dn: cn=Robert Jensen, dc=com
changetype: delete

dn: cn=Paul Jensen, dc=com
changetype: modrdn
newrdn: cn=Paula Jensen
deleteoldrdn: 1

dn: ou=PD Accountants, dc=com
changetype: moddn
newrdn: ou=Product Development Accountants
deleteoldrdn: 0
newsuperior: ou=Accounting, dc=com

dn: cn=Paula Jensen, dc=com
changetype: modify
add: postaladdress
postaladdress: 123 Anystreet $ Sunnyvale, CA $ 94086
-
delete: description
-
replace: telephonenumber
telephonenumber: +1 408 555 1234
telephonenumber: +1 408 555 5678
-
delete: facsimiletelephonenumber
facsimiletelephonenumber: +1 408 555 9876
-
replace: postaladdress
-
increment: uidNumber
uidNumber: 1
-
`, []Record{
		{Line: 2, DN: "cn=Fiona Jensen, dc=com", Kind: Add, Attributes: []Attr{{"objectclass", values("top")}, {"cn", values("Fiona Jensen")}}},
		{Line: 8, DN: "cn=Robert Jensen, dc=com", Kind: Delete},
		{Line: 11, DN: "cn=Paul Jensen, dc=com", Kind: ModDN, NewRDN: "cn=Paula Jensen", DeleteOldRDN: true},
		{Line: 16, DN: "ou=PD Accountants, dc=com", Kind: ModDN, NewRDN: "ou=Product Development Accountants", NewSuperior: "ou=Accounting, dc=com", HasNewSuperior: true},
		{Line: 22, DN: "cn=Paula Jensen, dc=com", Kind: Modify, Mods: []Mod{
			{ldap.ModAdd, "postaladdress", values("123 Anystreet $ Sunnyvale, CA $ 94086")},
			{ldap.ModDelete, "description", nil},
			{ldap.ModReplace, "telephonenumber", values("+1 408 555 1234", "+1 408 555 5678")},
			{ldap.ModDelete, "facsimiletelephonenumber", values("+1 408 555 9876")},
			{ldap.ModReplace, "postaladdress", nil},
			{ldap.ModIncrement, "uidNumber", values("1")},
		}},
	}},
	{"example 7: controls", `version: 1
dn: ou=Product Development, dc=airius, dc=com
control: 1.2.840.113556.1.4.805 true
control: 1.1
control: 1.2 false: plain
control: 1.3:: AAE=
control: 1.4 TRUE:
changetype: delete
`, []Record{{Line: 2, DN: "ou=Product Development, dc=airius, dc=com", Kind: Delete, Controls: []ldap.Control{
		{OID: []byte("1.2.840.113556.1.4.805"), Critical: true}, {OID: []byte("1.1")}, {OID: []byte("1.2"), Value: []byte("plain"), HasValue: true},
		{OID: []byte("1.3"), Value: []byte{0, 1}, HasValue: true}, {OID: []byte("1.4"), Critical: true, HasValue: true}}}}},
	{"nothing", "", nil},
	{"blank lines and comments only", "\n\r\n# a\n b\n\n  \n# c", nil},
	{"version only", "version: 1\n", nil},
	{"version, blank, entry, version again", "version: 1\n\ndn: a=b\n\nversion: 1\ndn: c=d\n", []Record{{Line: 3, DN: "a=b"}, {Line: 6, DN: "c=d"}}},
	{"byte order mark, CRLF, no last line end", "\xef\xbb\xbfdn: a=b\r\ncn: x\r\n y\r\n\r\n\r\ndn: c=d\r\ncn: z", []Record{
		{Line: 1, DN: "a=b", Attributes: []Attr{{"cn", values("xy")}}}, {Line: 6, DN: "c=d", Attributes: []Attr{{"cn", values("z")}}}}},
	{"no values and odd ones", "dn:\ncn:\nsn: \nou::\nl:: \no:   x y  \nx: :a\ny: <a\nz:: YQ== \t\nUPPER_case: é\n", []Record{{Line: 1, Attributes: []Attr{
		{"cn", values("")}, {"sn", values("")}, {"ou", values("")}, {"l", values("")}, {"o", values("x y  ")}, {"x", values(":a")}, {"y", values("<a")},
		{"z", values("a")}, {"UPPER_case", values("é")}}}}},
	{"names that differ in case are one, what lies between parts them", "dn: a=b\ncn: 1\nCN: 2\nsn: x\ncn: 3\n", []Record{{Line: 1, DN: "a=b", Attributes: []Attr{
		{"cn", values("1", "2")}, {"sn", values("x")}, {"cn", values("3")}}}}},
	{"folds in names and in the middle of base64", "d\n n: a=\n b\nc\n n:: Y\n Q\n =\n =\n", []Record{{Line: 1, DN: "a=b", Attributes: []Attr{{"cn", values("a")}}}}},
	{"last - of a modify left out", "dn: a=b\nchangetype: modify\nadd: cn\ncn: x", []Record{{Line: 1, DN: "a=b", Kind: Modify, Mods: []Mod{{ldap.ModAdd, "cn", values("x")}}}}},
	{"modify without changes", "dn: a=b\nchangetype: Modify\n", []Record{{Line: 1, DN: "a=b", Kind: Modify}}},
	{"blanks behind -", "dn: a=b\nchangetype: modify\ndelete: cn\n- \nadd: sn\nsn: y\n-\n", []Record{{Line: 1, DN: "a=b", Kind: Modify,
		Mods: []Mod{{ldap.ModDelete, "cn", nil}, {ldap.ModAdd, "sn", values("y")}}}}},
	{"entry of a name only", "dn: a=b\n", []Record{{Line: 1, DN: "a=b"}}},
}

func TestExamples(t *testing.T) {
	for _, tt := range examples {
		t.Run(tt.name, func(t *testing.T) {
			for name, r := range map[string]io.Reader{
				"whole": strings.NewReader(tt.in), "by octets": iotest.OneByteReader(strings.NewReader(tt.in)), "error with data": iotest.DataErrReader(strings.NewReader(tt.in)),
			} {
				got, err := readAll(r, Options{})
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if diff := cmp.Diff(tt.want, got, cmpopts.EquateEmpty()); diff != "" {
					t.Fatalf("%s (-want +got):\n%s", name, diff)
				}
			}
			rewrite(t, tt.want)
		})
	}
}

// failer is what testing.TB and rapid.T have in common here.
type failer interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// rewrite writes records, reads them, and writes them again.
func rewrite(t failer, records []Record) {
	t.Helper()
	text := write(t, records)
	again, err := readAll(bytes.NewReader(text), Options{})
	if err != nil {
		t.Fatalf("what was written does not read: %v\n%s", err, text)
	}
	lines := cmpopts.IgnoreFields(Record{}, "Line")
	if diff := cmp.Diff(records, again, cmpopts.EquateEmpty(), lines); diff != "" {
		t.Fatalf("written and read (-want +got):\n%s", diff)
	}
	if second := write(t, again); !bytes.Equal(text, second) {
		t.Fatalf("written again:\n%s\nfirst:\n%s", second, text)
	}
}

func write(t failer, records []Record) []byte {
	var out bytes.Buffer
	w := NewWriter(&out, WriterOptions{Version: true})
	for i := range records {
		if err := w.WriteRecord(&records[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(out.Bytes()) {
		if len(bytes.TrimRight(line, "\n")) > 76 {
			t.Fatalf("a line of %d octets: %q", len(line), line)
		}
		for _, c := range line {
			if c >= 0x7f || c < ' ' && c != '\n' {
				t.Fatalf("octet %#x in %q", c, line)
			}
		}
	}
	return out.Bytes()
}

func TestRefusals(t *testing.T) {
	for _, tt := range []struct {
		in   string
		line int
		want string
	}{
		{"cn: x\n", 1, "begins with dn:"},
		{"\n\ndn: a=b\n\ncn: x\n", 5, "remove the blank line"},
		{"version: 2\ndn: a=b\n", 1, "version: 1"},
		{"version:\n 1\ndn: a=b\n", 1, "version: 1"},
		{" dn: a=b\n", 1, "begins with a space"},
		{"# c\n\n dn: a=b\n", 3, "begins with a space"},
		{"\xff\xfed\x00n\x00", 1, "UTF-16"},
		{"dn: a=b\ncn\n", 2, "no colon"},
		{"dn: a=b\ncn x: y\n", 2, "not an attribute"},
		{"dn: a=b\n: y\n", 2, "not an attribute"},
		{"dn: a=b\n;x: y\n", 2, "not an attribute"},
		{"dn: a=b\ncn:: !!!!\n", 2, "octet 1"},
		{"dn: a=b\n# x\ncn:: YQ\n", 3, "not base64"},
		{"dn: a=b\ncn:: YR==\n", 2, "not base64"},
		{"dn: a=b\ncn:: YQ= =\n", 2, "not base64"},
		{"dn: a=b\ncn:: Y\rQ==\n", 2, "not base64"},
		{"dn: a=b\ncn: x\ndn: c=d\n", 3, "second dn:"},
		{"dn: a=b\ncn: x\nchangetype: add\n", 3, "directly after dn:"},
		{"dn: a=b\ncn: x\ncontrol: 1.1\n", 3, "directly after dn:"},
		{"dn: a=b\ncontrol: 1.1\ncn: x\n", 3, "needs a changetype"},
		{"dn: a=b\ncontrol:\nchangetype: delete\n", 2, "an OID"},
		{"dn: a=b\ncontrol: 1.1 true x\nchangetype: delete\n", 2, "an OID"},
		{"dn: a=b\ncontrol: 1.1 yes\nchangetype: delete\n", 2, "true or false"},
		{"dn: a=b\ncontrol: 1.1 true:: ?\nchangetype: delete\n", 2, "base64"},
		{"dn: a=b\n" + strings.Repeat("control: 1.1\n", 65) + "changetype: delete\n", 66, "more than 64 controls"},
		{"dn: a=b\nchangetype: remove\n", 2, "changetype is not"},
		{"dn: a=b\nchangetype: add\n\n", 2, "at least one attribute"},
		{"dn: a=b\nchangetype: delete\ncn: x\n", 3, "nothing follows"},
		{"dn: a=b\nchangetype: modify\ncn: x\n", 3, "want add:"},
		{"dn: a=b\nchangetype: modify\nadd: cn sn\n", 3, "name of an attribute"},
		{"dn: a=b\nchangetype: modify\nadd: cn\nsn: x\n", 4, "want a value of cn"},
		{"dn: a=b\nchangetype: modify\nadd: cn\ncn: x\n-\n-\n", 6, "no colon"},
		{"dn: a=b\nchangetype: modrdn\n", 2, "needs newrdn"},
		{"dn: a=b\nchangetype: modrdn\nnewrdn: a=c\n", 2, "needs newrdn"},
		{"dn: a=b\nchangetype: modrdn\ndeleteoldrdn: 1\n", 3, "in this order"},
		{"dn: a=b\nchangetype: modrdn\nnewrdn: a=c\ndeleteoldrdn: yes\n", 4, "0 or 1"},
		{"dn: a=b\nchangetype: modrdn\nnewrdn: a=c\ndeleteoldrdn: 1\nnewsuperior:\nnewsuperior: x\n", 6, "once each"},
		{"dn: a=b\njpegPhoto:< file:///etc/passwd\n", 2, "not allowed"},
		{"dn: a=b\ncn: x\n # not a fold of a comment\nsn\n", 4, "no colon"},
	} {
		_, err := readAll(strings.NewReader(tt.in), Options{})
		var e *Error
		if !errors.As(err, &e) || e.Line != tt.line || !strings.Contains(e.Msg, tt.want) {
			t.Errorf("%q: %v, want line %d and %q", tt.in, err, tt.line, tt.want)
		}
	}
}

func TestErrorsKeepSecrets(t *testing.T) {
	const canary = "c4nary"
	for _, in := range []string{
		"dn: a=b\nuserPassword:: " + canary + "?\n", "dn: a=b\nuserPassword " + canary + "\n", "dn: a=b\nuserPassword: x\nno colon " + canary + "\n",
		"dn: a=b\nchangetype: modrdn\nnewrdn: x=y\ndeleteoldrdn: " + canary + "\n", "dn: a=b\nchangetype: " + canary + "\n",
		"dn: a=b\nchangetype: modify\nadd: " + canary + " x\n", "dn: a=b\ncontrol: " + canary + " " + canary + " " + canary + "\nchangetype: delete\n",
	} {
		_, err := readAll(strings.NewReader(in), Options{})
		if err == nil || strings.Contains(err.Error(), canary) {
			t.Errorf("%q: %v", in, err)
		}
	}
}

func TestSkip(t *testing.T) {
	in := "dn: a=1\ncn: x\n\ndn: a=2\nbroken\nmore: y\n\n\ndn: a=3\ncn: " + strings.Repeat("x", 500) + "\n\nversion: 7\nrest\n\ndn: a=4\ncn: z\n"
	r := NewReader(strings.NewReader(in), Options{MaxRecord: 200})
	var seen []string
	for {
		rec, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		var e *Error
		if errors.As(err, &e) {
			seen = append(seen, fmt.Sprintf("error %d (raw %q)", e.Line, r.Raw()))
			if _, again := r.Next(); !errors.Is(again, err) {
				t.Fatalf("the error does not stay: %v", again)
			}
			if err := r.Skip(); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		seen = append(seen, rec.DN)
	}
	want := []string{"a=1", `error 5 (raw "dn: a=2\nbroken\nmore: y\n")`, `error 9 (raw "")`, `error 12 (raw "")`, "a=4"}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Error(diff)
	}
	if err := r.Skip(); !errors.Is(err, io.EOF) {
		t.Errorf("Skip at the end: %v", err)
	}
}

func TestStreamErrorIsFinal(t *testing.T) {
	boom := errors.New("boom")
	r := NewReader(io.MultiReader(strings.NewReader("dn: a=b\ncn: x\n\ndn: c=d\ncn"), iotest.ErrReader(boom)), Options{})
	if rec, err := r.Next(); err != nil || rec.DN != "a=b" {
		t.Fatal(rec, err)
	}
	for range 2 {
		if _, err := r.Next(); !errors.Is(err, boom) {
			t.Errorf("Next: %v, want the error of the stream, not half a record", err)
		}
		if err := r.Skip(); !errors.Is(err, boom) {
			t.Errorf("Skip: %v", err)
		}
	}
}

func TestLimits(t *testing.T) {
	entry := func(n int) string { return "dn: a=b\ncn: " + strings.Repeat("x", n) + "\n" }
	exact := len(entry(100))
	if _, err := readAll(strings.NewReader(entry(100)), Options{MaxRecord: exact}); err != nil {
		t.Errorf("a record at the limit: %v", err)
	}
	var e *Error
	if _, err := readAll(strings.NewReader(entry(101)), Options{MaxRecord: exact}); !errors.As(err, &e) || e.Line != 1 {
		t.Errorf("a record above the limit: %v", err)
	}
	folded := "dn: a=b\ncn: " + strings.Repeat("x\n ", 50) + "\n"
	if _, err := readAll(strings.NewReader(folded), Options{MaxLine: 54}); err != nil {
		t.Errorf("a line at the limit: %v", err)
	}
	if _, err := readAll(strings.NewReader(folded), Options{MaxLine: 53}); !errors.As(err, &e) || e.Line != 2 {
		t.Errorf("a line above the limit: %v", err)
	}
	// Lines that do not fit the buffer of the splitter, as comment, as value and as what is refused.
	long := strings.Repeat("y", 1<<20)
	got, err := readAll(strings.NewReader("# "+long+"\n "+long+"\n"+entry(1<<20)+"# "+long+"\n\ndn: c=d\n"), Options{})
	if err != nil || len(got) != 2 || len(got[0].Attributes[0].Values[0]) != 1<<20 || got[1].DN != "c=d" || got[1].Line != 7 {
		t.Errorf("long lines: %d records, %v", len(got), err)
	}
	r := NewReader(strings.NewReader(entry(1<<20)+"\ndn: c=d\n"), Options{MaxRecord: 1000})
	if _, err := r.Next(); !errors.As(err, &e) {
		t.Error(err)
	}
	if err := r.Skip(); err != nil {
		t.Fatal(err)
	}
	if rec, err := r.Next(); err != nil || rec.DN != "c=d" || rec.Line != 4 {
		t.Errorf("after the long one: %v, %v", rec, err)
	}
}

func TestFileURLs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a b.jpg")
	if err := os.WriteFile(path, []byte("\xff\xd8"), 0o600); err != nil {
		t.Fatal(err)
	}
	allow := Options{AllowFileURL: os.ReadFile}
	in := func(u string) io.Reader { return strings.NewReader("dn: a=b\njpegPhoto:< " + u + "\n") }
	escaped := strings.ReplaceAll(path, " ", "%20")
	for _, u := range []string{"file://" + escaped, "file://localhost" + escaped, "FILE://" + escaped + "  "} {
		got, err := readAll(in(u), allow)
		if err != nil || string(got[0].Attributes[0].Values[0]) != "\xff\xd8" {
			t.Errorf("%s: %v, %v", u, got, err)
		}
	}
	for _, u := range []string{"http://localhost/x", "file://elsewhere/x", "file://", "", "file:///no/such/file", "%zz"} {
		var e *Error
		if _, err := readAll(in(u), allow); !errors.As(err, &e) || e.Line != 2 {
			t.Errorf("%q: %v", u, err)
		}
	}
}

// TestParallel parses the blocks of a Splitter in the way of an importer: each in storage of its own, out of order.
func TestParallel(t *testing.T) {
	var in strings.Builder
	for i := range 200 {
		fmt.Fprintf(&in, "# %d\ndn: cn=%d\ncn: %d\ndescription: a\n  b%d\n\n", i, i, i, i)
	}
	split := NewSplitter(strings.NewReader(in.String()), Options{})
	records := make([]*Record, 200)
	done := make(chan error)
	n := 0
	for ; ; n++ {
		block, line, err := split.Next(nil)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		go func(i int) {
			var err error
			records[i], err = ParseRecord(block, line, Options{})
			done <- err
		}(n)
	}
	for range n {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if n != 200 {
		t.Fatalf("%d blocks", n)
	}
	for i, r := range records {
		if r.DN != fmt.Sprintf("cn=%d", i) || r.Line != 6*i+2 || string(r.Attributes[1].Values[0]) != fmt.Sprintf("a b%d", i) {
			t.Errorf("record %d: %+v", i, r)
		}
	}
}

func TestParseRecordAlone(t *testing.T) {
	for in, want := range map[string]string{
		"":                        "empty",
		"\n\n":                    "empty",
		"# only a comment\n":      "empty",
		"dn: a=b\n\ndn: c=d\n":    "blank line in the middle",
		" x\n":                    "begins with a space",
		"\ndn: a=b":               "blank line in the middle",
		"dn: a=b\ncn: x\n\n \n\n": "",
	} {
		_, err := ParseRecord([]byte(in), 10, Options{})
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, want %q", in, err, want)
		}
	}
}

func FuzzLDIF(f *testing.F) {
	for _, tt := range examples {
		f.Add([]byte(tt.in))
	}
	f.Add([]byte("dn: a=b\n\nbroken\n\ndn: c=d\ncontrol: 1.1 true:: AA==\nchangetype: delete\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		r := NewReader(bytes.NewReader(in), Options{MaxRecord: 1 << 16})
		var records []Record
		for {
			rec, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			var e *Error
			if errors.As(err, &e) {
				if e.Line < 1 || e.Line > bytes.Count(in, []byte("\n"))+1 {
					t.Fatalf("%v, but there are no more lines than %d", err, bytes.Count(in, []byte("\n"))+1)
				}
				if err := r.Skip(); err != nil {
					t.Fatal(err)
				}
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			records = append(records, clone(rec))
		}
		if held := cap(r.parse.octets) + 24*cap(r.parse.values) + 40*cap(r.parse.attrs) + 48*cap(r.parse.mods); held > 64*len(in)+4096 {
			t.Fatalf("%d octets held for %d", held, len(in))
		}
		rewrite(t, records)
	})
}

func benchmarkText(n int) []byte {
	var out bytes.Buffer
	for i := range n {
		fmt.Fprintf(&out, "dn: uid=user%d,ou=people,dc=example,dc=org\nobjectClass: top\nobjectClass: person\nobjectClass: organizationalPerson\n"+
			"objectClass: inetOrgPerson\nuid: user%d\ncn: User Number %d\nsn: Number %d\ngivenName: User\nmail: user%d@example.org\n"+
			"telephoneNumber: +49 30 1234567%d\ntitle:: TWFuYWdlciBmw7xyIEFsbGVz\nou: Accounting\nemployeeNumber: %d\nl: Berlin\n"+
			"description: a description that is long enough to be folded once over the li\n ne end\nuserPassword: {SSHA}MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5\n\n", i, i, i, i, i, i, i)
	}
	return out.Bytes()
}

func BenchmarkRead(b *testing.B) {
	const n = 1000
	text := benchmarkText(n)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		r := NewReader(bytes.NewReader(text), Options{})
		for {
			if _, err := r.Next(); err != nil {
				break
			}
		}
	}
	b.ReportMetric(float64(b.N*n)/b.Elapsed().Seconds(), "entries/s")
}

func BenchmarkWrite(b *testing.B) {
	records, err := readAll(bytes.NewReader(benchmarkText(1000)), Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		w := NewWriter(io.Discard, WriterOptions{})
		for i := range records {
			if err := w.WriteRecord(&records[i]); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.N*1000)/b.Elapsed().Seconds(), "entries/s")
}
