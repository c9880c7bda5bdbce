package audit

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// tampered is a closed log of one file whose lines can be changed.
type tampered struct {
	*site
	text []string // of the file, without ends of lines
}

// newTampered makes a log of 20 lines: header, 18 writes, checkpoint.
func newTampered(t *testing.T) *tampered {
	s := newSite(t)
	trail := s.open()
	for i := range 18 {
		s.write(trail, fmt.Sprintf("cn=%d", i))
	}
	s.close(trail)
	if r := s.sound(); r.Lines != 20 {
		t.Fatalf("%d lines", r.Lines)
	}
	return &tampered{s, s.lines()}
}

// put writes changed lines.
func (s *tampered) put(lines []string) {
	s.t.Helper()
	if err := os.WriteFile(s.o.File, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// found returns findings in short: kind, line of the file, numbers.
func found(r *Report) (out []string) {
	for _, f := range r.Findings {
		note := ""
		if f.Note {
			note = "note "
		}
		out = append(out, fmt.Sprintf("%s%s :%d %d-%d", note, f.Kind, f.Line, f.From, f.To))
	}
	return out
}

func TestVerifyFindsTampering(t *testing.T) {
	s := newTampered(t)
	forge := func(n int) string { // a line by somebody without the key
		return strings.Replace(s.text[n-1], `"dn":"cn=`, `"dn":"cn=x`, 1)
	}
	mac := func(l string) string { return l[len(l)-macText-2 : len(l)-2] }
	swap := func(l []string, i, j int) []string { l[i-1], l[j-1] = l[j-1], l[i-1]; return l }
	move := func(l []string, from, to int) []string {
		x := l[from-1]
		return slices.Insert(slices.Delete(l, from-1, from), to-1, x)
	}
	for _, c := range []struct {
		name   string
		change func(l []string) []string
		want   []string
	}{
		{"nothing", func(l []string) []string { return l }, nil},
		{"a line altered", func(l []string) []string { l[9] = forge(10); return l }, []string{"altered :10 10-10"}},
		{"two lines altered", func(l []string) []string { l[9], l[10] = forge(10), forge(11); return l }, []string{"altered :10 10-11"}},
		{"the first line altered", func(l []string) []string {
			l[0] = strings.Replace(l[0], `"journal":0`, `"journal":9`, 1)
			return l
		}, []string{"altered :1 1-1"}},
		{"the last line altered", func(l []string) []string {
			l[19] = strings.Replace(l[19], `"journal":18`, `"journal":8`, 1)
			return l
		}, []string{"altered :20 20-20", "cut off :20 20-20"}},
		{"a MAC altered", func(l []string) []string { l[9] = strings.Replace(l[9], mac(l[9]), mac(l[3]), 1); return l },
			[]string{"altered :10 10-10"}},
		{"a number altered", func(l []string) []string { l[9] = strings.Replace(l[9], `"n":10`, `"n":11`, 1); return l },
			[]string{"stray :10 11-11", "missing :11 10-10"}},
		{"a line made unreadable", func(l []string) []string { l[9] = "garbage"; return l },
			[]string{"stray :10 0-0", "missing :11 10-10"}},
		{"a line removed", func(l []string) []string { return slices.Delete(l, 9, 10) }, []string{"missing :10 10-10"}},
		{"lines removed", func(l []string) []string { return slices.Delete(l, 9, 14) }, []string{"missing :10 10-14"}},
		{"the beginning removed", func(l []string) []string { return slices.Delete(l, 0, 5) },
			[]string{"missing :2 0-0", "missing :0 1-6"}},
		{"the end removed", func(l []string) []string { return l[:15] }, []string{"cut off :15 16-20"}},
		{"all but the first removed", func(l []string) []string { return l[:1] }, []string{"cut off :1 2-20"}},
		{"two lines exchanged", func(l []string) []string { return swap(l, 10, 11) },
			[]string{"stray :10 11-11", "missing :12 11-11"}},
		{"two lines far apart exchanged", func(l []string) []string { return swap(l, 6, 14) },
			[]string{"stray :6 14-14", "missing :7 6-6", "stray :14 6-6", "missing :15 14-14"}},
		{"a line moved to the back", func(l []string) []string { return move(l, 6, 14) }, []string{"missing :6 6-6", "stray :14 6-6"}},
		{"a line repeated", func(l []string) []string { return slices.Insert(l, 14, l[5]) }, []string{"stray :15 6-6"}},
		{"a line repeated at once", func(l []string) []string { return slices.Insert(l, 6, l[5]) }, []string{"stray :7 6-6"}},
		{"a line inserted", func(l []string) []string { return slices.Insert(l, 10, forge(10)) }, []string{"stray :11 10-10"}},
		{"a line of another kind inserted", func(l []string) []string { return slices.Insert(l, 10, `{"n":11,"event":"x"}`) },
			[]string{"stray :11 0-0"}},
		{"a line appended", func(l []string) []string { return append(l, strings.Replace(forge(10), `"n":10`, `"n":21`, 1)) },
			[]string{"altered :21 21-21"}},
		{"an empty line", func(l []string) []string { return slices.Insert(l, 10, "") }, []string{"stray :11 0-0"}},
		{"a blank at the end", func(l []string) []string { l[9] += " "; return l }, []string{"stray :10 0-0", "missing :11 10-10"}},
		{"everything repeated", func(l []string) []string { return append(l, s.text...) },
			[]string{"stray :21 1-20"}},
		{"everything removed", func([]string) []string { return nil }, []string{"stray :1 0-0", "cut off :1 1-20"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s.put(c.change(slices.Clone(s.text)))
			r := s.verify()
			if got := found(r); fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("got  %v\nwant %v\n%+v", got, c.want, r.Findings)
			}
			if r.Bad() != (c.want != nil) {
				t.Error("the report is not bad, or is for nothing")
			}
		})
	}
}

// verifyText verifies a log that is one text.
func (s *site) verifyText(text []byte) *Report {
	v := newVerifier(s.key())
	seal, err := DecodeSeal(s.seals.b)
	if err != nil {
		s.t.Fatal(err)
	}
	v.hold(seal.Anchor, "the seal")
	for rest := text; len(rest) > 0; {
		raw := rawLine{text: rest, octets: int64(len(rest))}
		if i := bytes.IndexByte(rest, '\n'); i >= 0 {
			raw = rawLine{text: rest[:i], octets: int64(i + 1), whole: true}
		}
		rest = rest[raw.octets:]
		v.at++
		v.line(raw)
	}
	return v.end(s.o.File)
}

// TestVerifyEveryOctet changes every single octet of a log.
func TestVerifyEveryOctet(t *testing.T) {
	s := newSite(t)
	trail := s.open()
	s.write(trail, "cn=a")
	s.close(trail)
	whole, err := os.ReadFile(s.o.File)
	if err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		for _, to := range []byte{whole[i] ^ 1, '\n', '"', 0} {
			if whole[i] == to {
				continue
			}
			changed := bytes.Clone(whole)
			changed[i] = to
			if r := s.verifyText(changed); !r.Bad() {
				t.Errorf("octet %d as %q was not found: %v", i, to, r.Findings)
			}
		}
	}
}

// TestVerifyEveryLength cuts a log at every octet.
func TestVerifyEveryLength(t *testing.T) {
	s := newTampered(t)
	whole, err := os.ReadFile(s.o.File)
	if err != nil {
		t.Fatal(err)
	}
	for n := range whole {
		r := s.verifyText(whole[:len(whole)-n-1])
		// The last end of line alone tells nothing.
		if r.Bad() == (n == 0) {
			t.Errorf("without %d octets: %v", n+1, found(r))
		}
	}
}

func TestVerifyAnchors(t *testing.T) {
	s := newSite(t)
	trail := s.open()
	s.write(trail, "cn=a")
	early, err := trail.Seal()
	if err != nil {
		t.Fatal(err)
	}
	s.write(trail, "cn=b")
	s.close(trail)
	if again, err := ParseAnchor(early.String()); err != nil || again.N != early.N || again.MAC != early.MAC {
		t.Errorf("%s: %v, %v", early, again, err)
	}
	if r := s.verify(early); r.Bad() {
		t.Error(r.Findings)
	}
	// Somebody with the key writes the log anew, and the seal in the store with it: the anchor tells.
	lines := s.lines()
	c := chain{sealer: newSealer(s.key())}
	var out []byte
	for _, text := range lines {
		l, ok := parseLine([]byte(text))
		if !ok {
			t.Fatal(text)
		}
		body := bytes.Replace(l.sealed[bytes.IndexByte(l.sealed, ',')+1:], []byte("cn=a"), []byte("cn=z"), 1)
		out = c.next(out, body)
	}
	if err := os.WriteFile(s.o.File, out, 0o600); err != nil {
		t.Fatal(err)
	}
	seal, err := DecodeSeal(s.seals.b)
	if err != nil {
		t.Fatal(err)
	}
	seal.Anchor = Anchor{N: c.n, MAC: c.mac, Time: seal.Time}
	if s.seals.b = seal.Encode(); s.verify().Bad() {
		t.Fatal("the forgery is no good: ", s.verify().Findings)
	}
	if got := found(s.verify(early)); fmt.Sprint(got) != fmt.Sprintf("[unsealed :%d %d-%d]", early.N, early.N, early.N) {
		t.Error(got)
	}
	late := Anchor{N: 99, MAC: early.MAC}
	if got := found(s.verify(late)); fmt.Sprint(got) != "[cut off :5 6-99]" {
		t.Error(got)
	}
	for _, bad := range []string{"", "x", "portolan-audit-1:0:" + early.MAC.String(), "portolan-audit-1:1:abc", early.String() + "x", early.String() + ":x"} {
		if _, err := ParseAnchor(bad); err == nil {
			t.Errorf("%q is an anchor", bad)
		}
	}
	list, err := ParseAnchors([]byte("# kept by cron\n\n" + early.String() + "\n" + early.String() + "\n"))
	if err != nil || len(list) != 2 {
		t.Error(list, err)
	}
}

func FuzzVerify(f *testing.F) {
	key := make([]byte, keySize)
	c := chain{sealer: newSealer(key)}
	var log []byte
	log = c.next(log, []byte(`"time":"2026-01-31T12:00:00.000000Z","event":"file","prev":"`+mac{}.String()+`"`))
	genuine := map[string]bool{}
	for i := range 5 {
		log = c.next(log, fmt.Appendf(nil, `"time":"2026-01-31T12:00:00.000000Z","event":"write","seq":%d`, i))
	}
	for l := range bytes.Lines(log) {
		genuine[string(l)] = true
	}
	f.Add(log)
	f.Add(append(bytes.Clone(log), "torn"...))
	f.Add(bytes.Repeat([]byte("\n"), 100))
	f.Add([]byte(`{"n":1,"event":"file","mac":"` + strings.Repeat("A", macText) + `"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		v := newVerifier(key)
		v.each = func(l *line) {
			if line := string(l.sealed) + macHead + l.mac.String() + lineTail + "\n"; !genuine[line] {
				t.Errorf("a line that nobody wrote: %s", line)
			}
		}
		in := newLineReader(bytes.NewReader(text))
		n := 0
		for {
			raw, err := in.next()
			if err != nil {
				break
			}
			n += int(raw.octets)
			v.at++
			v.line(raw)
		}
		if n != len(text) {
			t.Errorf("%d octets of %d", n, len(text))
		}
		r := v.end("x")
		if !r.Bad() && len(text) > 0 && !bytes.HasPrefix(log, text) && !bytes.HasPrefix(text, log) && len(r.Findings) == 0 {
			t.Errorf("nothing is said about %q", text)
		}
	})
}

func FuzzLine(f *testing.F) {
	f.Add([]byte(`{"n":1,"a":"\"b\\","seq":12,"mac":"` + strings.Repeat("A", macText) + `"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		l, ok := parseLine(text)
		if !ok {
			return
		}
		l.field("seq")
		l.number("seq")
		l.text("problem")
		if again := string(l.sealed) + macHead + l.mac.String() + lineTail; again != string(text) {
			t.Errorf("%q became %q", text, again)
		}
	})
}
