// Package overlay_test runs the examples in the READMEs of the overlays.
package overlay_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"portolan/ber"
	"portolan/internal/ldaptest"
	"portolan/internal/op"
	"portolan/ldap"
)

// block returns the contents of the fenced blocks of a kind, one after another.
func block(text, kind string) string {
	var out strings.Builder
	for rest := text; ; {
		_, after, ok := strings.Cut(rest, "\n```"+kind+"\n")
		if !ok {
			return out.String()
		}
		body, tail, _ := strings.Cut(after, "\n```")
		out.WriteString(body + "\n")
		rest = tail
	}
}

func TestReadmes(t *testing.T) {
	files, err := filepath.Glob("*/README.md")
	if err != nil || len(files) < 3 {
		t.Fatal(files, err)
	}
	folders, err := filepath.Glob("*/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range folders {
		if readme := filepath.Join(filepath.Dir(f), "README.md"); !slices.Contains(files, readme) {
			t.Errorf("%s has no README.md", filepath.Dir(f))
		}
	}
	for _, file := range files {
		t.Run(filepath.Dir(file), func(t *testing.T) {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			text := string(raw)
			steps := block(text, "example")
			if steps == "" {
				t.Fatal("there is no example")
			}
			// The configuration shown is the one the example runs with; the set needs its base.
			s := ldaptest.Start(t, ldaptest.Options{Config: block(text, "toml"), LDIF: block(text, "ldif")})
			run(t, s, steps)
		})
	}
}

// run performs an example: commands, each with the lines that are expected of it.
func run(t *testing.T, s *ldaptest.Server, steps string) {
	lines := strings.Split(strings.TrimSpace(steps), "\n")
	made := map[string]string{}
	for i := 0; i < len(lines); {
		command := lines[i]
		var want []string
		for i++; i < len(lines) && (lines[i][0] == '>' || lines[i][0] == '!'); i++ {
			want = append(want, lines[i])
		}
		words := strings.Fields(command)
		for n, w := range words {
			// NAME of what was made, the first line of it; it may stand at the end of a word.
			if head, name, ok := strings.Cut(w, "$"); ok {
				words[n] = w
				if text, ok := made[name]; ok {
					line, _, _ := strings.Cut(text, "\n")
					words[n] = head + line
				}
			}
		}
		var got []string
		if words[0] == "issue" { // as the entry itself: issue WHO ENTRY NAME, which stands for what was made from then on
			made[words[3]], got = issue(t, s, words[1], words[2])
		} else if words[0] == "code" { // what a token shows now: code URI NAME
			var err error
			if made[words[2]], err = ldaptest.Code(words[1], s.Clock().Now(), 0); err != nil {
				t.Fatal(err)
			}
		} else {
			got = perform(t, s, words)
		}
		if !strings.HasPrefix(command, "sorted ") {
			slices.Sort(want)
			slices.Sort(got)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s\ngot  %q\nwant %q", command, got, want)
		}
	}
}

func perform(t *testing.T, s *ldaptest.Server, words []string) []string {
	var m ldap.Op
	switch words[0] {
	case "search", "sorted":
		return search(t, s, words[1], words[2])
	case "list": // beneath another base: list BASE FILTER ATTRIBUTE
		return searchIn(t, s, words[1], words[2], words[3])
	case "rename":
		m = &ldap.ModifyDNRequest{Entry: []byte(words[1]), NewRDN: []byte(words[2]), DeleteOldRDN: true}
	case "wait": // the clock is put forward
		by, err := time.ParseDuration(words[1])
		if err != nil {
			t.Fatal(err)
		}
		s.Clock().Advance(by)
		return nil
	case "delete":
		m = &ldap.DelRequest{Entry: []byte(words[1])}
	case "bind":
		return bind(s, words[1], words[2])
	case "set": // as the entry itself: set WHO ENTRY ATTRIBUTE=VALUE
		name, value, _ := strings.Cut(words[3], "=")
		err := s.As(words[1], &ldap.ModifyRequest{Object: []byte(words[2]), Changes: []ldap.Mod{{
			Op: ldap.ModReplace, Attribute: ldap.Attribute{Type: []byte(name), Values: [][]byte{[]byte(value)}},
		}}})
		if err != nil {
			return []string{"! " + ldap.CodeOf(err).String()}
		}
		return nil
	case "add":
		add := &ldap.AddRequest{Entry: []byte(words[1]), Attributes: []ldap.Attribute{{Type: []byte("objectClass"), Values: [][]byte{[]byte(words[2])}}}}
		for _, pair := range words[3:] {
			name, value, _ := strings.Cut(pair, "=")
			if name == "objectClass" { // a further one
				add.Attributes[0].Values = append(add.Attributes[0].Values, []byte(value))
				continue
			}
			add.Attributes = append(add.Attributes, ldap.Attribute{Type: []byte(name), Values: [][]byte{[]byte(value)}})
		}
		m = add
	default:
		t.Fatalf("an example has no command %q", words[0])
	}
	if err := s.As(ldaptest.AdminDN, m); err != nil {
		return []string{"! " + ldap.CodeOf(err).String()}
	}
	return nil
}

// issue asks for a generated password (RFC 3062).
func issue(t *testing.T, s *ldaptest.Server, who, entry string) (made string, got []string) {
	value, mark := ber.Begin(nil, ber.Sequence)
	value = ber.End(ber.AppendString(value, ber.ContextSpecific|0, entry), mark)
	id, err := s.Engine.IdentifyDN(who, "internal")
	if err != nil {
		t.Fatal(err)
	}
	req := &op.Request{
		Conn: &op.Conn{Transport: op.Unix, Loopback: true}, ID: 1, Identity: id,
		Op: &ldap.ExtendedRequest{Name: []byte("1.3.6.1.4.1.4203.1.11.1"), Value: value, HasValue: true},
	}
	if err := s.Engine.Serve(context.Background(), req, nil); err != nil {
		return "", []string{"! " + ldap.CodeOf(err).String()}
	}
	r := ber.Reader(req.Reply.Value)
	var seq ber.Reader
	var password []byte
	if !r.Element(ber.Sequence, &seq) || !seq.Bytes(ber.ContextSpecific|0, &password) {
		t.Fatalf("%x is no PasswdModifyResponseValue", req.Reply.Value)
	}
	return string(password), nil
}

// bind binds on a connection of its own.
func bind(s *ldaptest.Server, name, password string) []string {
	req := &op.Request{
		Conn: &op.Conn{Transport: op.Unix, Loopback: true}, ID: 1,
		Op: &ldap.BindRequest{Version: 3, Name: []byte(name), Password: []byte(password)},
	}
	if err := s.Engine.Serve(context.Background(), req, nil); err != nil {
		return []string{"! " + ldap.CodeOf(err).String()}
	}
	return []string{"> bound"}
}

func search(t *testing.T, s *ldaptest.Server, filter, attr string) []string {
	return searchIn(t, s, ldaptest.Suffix, filter, attr)
}

// searchIn returns the values of an attribute over all entries found, or their names where they have none.
func searchIn(t *testing.T, s *ldaptest.Server, base, filter, attr string) (out []string) {
	f, err := ldap.ParseFilter(filter)
	if err != nil {
		t.Fatal(err)
	}
	entries, err := s.Search(context.Background(), ldaptest.AdminDN, &ldap.SearchRequest{
		Base: []byte(base), Scope: ldap.ScopeSub, Filter: f, Attributes: [][]byte{[]byte(attr)},
	})
	if err != nil {
		t.Fatal(err)
	}
	named := len(entries) > 1
	for _, e := range entries {
		if named {
			out = append(out, "> "+string(e.Name))
			continue
		}
		for _, a := range e.Attributes {
			for _, v := range a.Values {
				out = append(out, "> "+string(a.Type)+": "+string(v))
			}
		}
	}
	return out
}
