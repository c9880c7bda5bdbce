package ldif

import (
	"bytes"
	"testing"

	"portolan/ldap"
)

// TestStreamedEntry compares a record written value by value with one written at once.
func TestStreamedEntry(t *testing.T) {
	attrs := []ldap.Attribute{
		{Type: []byte("cn"), Values: [][]byte{[]byte("a"), []byte("ä"), nil, bytes.Repeat([]byte("long "), 40)}},
		{Type: []byte("jpegPhoto;x-a"), Values: [][]byte{{0xff, 0xd8}}},
	}
	var whole, streamed bytes.Buffer
	w := NewWriter(&whole, WriterOptions{Version: true})
	for range 2 {
		if err := w.WriteEntry("cn=a,dc=x", attrs); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	w = NewWriter(&streamed, WriterOptions{Version: true})
	for range 2 {
		if err := w.BeginEntry("cn=a,dc=x"); err != nil {
			t.Fatal(err)
		}
		for _, a := range attrs {
			for _, v := range a.Values {
				if err := w.WriteValue(a.Type, v); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := w.EndEntry(); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if whole.String() != streamed.String() {
		t.Errorf("streamed:\n%s\nat once:\n%s", streamed.String(), whole.String())
	}
	for _, bad := range []string{"dn", "changetype", "", "a b", "x:"} {
		if err := w.WriteValue([]byte(bad), []byte("v")); err == nil {
			t.Errorf("%q was accepted as a name", bad)
		}
	}
}
