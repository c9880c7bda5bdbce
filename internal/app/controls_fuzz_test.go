package app

import (
	"bytes"
	"testing"

	"portolan/ber"
	"portolan/internal/config"
	"portolan/internal/op"
	"portolan/ldap"
)

// FuzzControlValues gives values to every control that is wired: each takes them or says in an *ldap.Error what is wrong, changes
// nothing of them, and says the same when asked again.
func FuzzControlValues(f *testing.F) {
	c, err := config.Load("portolan.toml", func(string) ([]byte, error) {
		return []byte("data_dir = \"data\"\n[directory]\nsuffix = \"dc=example,dc=org\"\n"), nil
	})
	if err != nil {
		f.Fatal(err)
	}
	all := controls(c, &op.Ports{})
	if len(all) < 20 {
		f.Fatalf("%d controls", len(all))
	}
	sequence := func(parts ...[]byte) []byte { return ber.AppendBytes(nil, ber.Sequence, bytes.Join(parts, nil)) }
	text := func(s string) []byte { return ber.AppendString(nil, ber.OctetString, s) }
	number := func(n int64) []byte { return ber.AppendInt(nil, ber.Integer, n) }
	filter := ldap.Present("cn")
	seeds := [][]byte{
		nil, {}, {0x30, 0x80, 0, 0}, {0x30, 0x84, 0x7f, 0xff, 0xff, 0xff}, {1, 1, 0xff}, sequence(),
		[]byte("dn:uid=alice,dc=example,dc=org"), []byte("u:alice"),
		sequence(number(10), text("cookie")), sequence(sequence(text("cn"), ber.AppendString(nil, 0x80, "2.5.13.3"))),
		sequence(number(1), number(2), ber.AppendBytes(nil, 0xa0, bytes.Join([][]byte{number(3), number(4)}, nil)), text("id")),
		sequence(text("cn"), text("*")), sequence(sequence(text("member"), sequence(text("cn")))),
		sequence(number(7), []byte{1, 1, 0}, []byte{1, 1, 0xff}), sequence(ber.AppendInt(nil, 0x0a, 3), text("rid=001,csn=x"), []byte{1, 1, 0}),
		sequence(text("10.0.0.1"), text("host"), text("1.3.6.1.4.1.21008.108.63.1.3"), text("alice")),
		filter.AppendBER(nil), sequence(filter.AppendBER(nil)),
	}
	for i := range all {
		for _, s := range seeds {
			f.Add(uint8(i), s, true, true)
		}
		f.Add(uint8(i), []byte(nil), false, false)
	}
	f.Fuzz(func(t *testing.T, which uint8, value []byte, has, critical bool) {
		x := &all[int(which)%len(all)]
		if x.Parse == nil {
			return
		}
		before := bytes.Clone(value)
		for range 2 {
			_, err := x.Parse(ldap.Control{OID: []byte(x.OID), Value: value, HasValue: has, Critical: critical})
			if !bytes.Equal(before, value) {
				t.Fatalf("%s: the value was changed", x.Name)
			}
			if err == nil {
				continue
			}
			if code := ldap.CodeOf(err); code == ldap.Other || code == ldap.Success {
				t.Fatalf("%s: %v", x.Name, err)
			}
		}
	})
}

// TestControlsWithoutAParser names the controls that look at no value: a new one is to say what it does with one.
func TestControlsWithoutAParser(t *testing.T) {
	c, err := config.Load("portolan.toml", func(string) ([]byte, error) {
		return []byte("data_dir = \"data\"\n[directory]\nsuffix = \"dc=example,dc=org\"\n"), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range controls(c, &op.Ports{}) {
		if x.Parse == nil && !x.Unadvertised && x.Around != nil {
			t.Errorf("%s looks at no value", x.Name)
		}
	}
}
