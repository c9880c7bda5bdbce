package scan_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"testing"
	"time"
	"unicode"

	"portolan/internal/scan"
	"portolan/ldap"
)

// FuzzScan lets a server answer everything with the same octets, whatever they are: the scan ends, does not panic, and
// what it says can be shown.
func FuzzScan(f *testing.F) {
	root := ldap.AppendMessage(nil, 1, entryOf("", "namingContexts", "dc=example,dc=org", "vendorName", "\x1b[2J"), nil)
	done := ldap.AppendMessage(nil, 1, &ldap.SearchResultDone{}, nil)
	f.Add(append(root, done...))
	f.Add(append(done, ldap.AppendMessage(nil, 2, &ldap.BindResponse{}, nil)...))
	f.Add(append(done, ldap.AppendMessage(nil, 1, &ldap.ExtendedResponse{}, nil)...))
	f.Add(append(done, 0x16, 3, 3, 0, 4, 2, 0, 0, 0))
	f.Add([]byte{0x30, 0x84, 0x7f, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, sent []byte) {
		dial := func(context.Context, string, string) (net.Conn, error) {
			here, there := net.Pipe()
			go func() {
				defer there.Close()
				go func() { _, _ = io.Copy(io.Discard, there) }()
				_, _ = there.Write(sent)
			}()
			return here, nil
		}
		r, err := scan.Run(context.Background(), scan.Options{
			URL: "ldap://192.0.2.1", User: alice, BindDN: alice, BindPassword: []byte("x"), Active: true, Samples: 2, Dial: dial, Timeout: 100 * time.Millisecond, Limit: 5 * time.Second,
		})
		var b bytes.Buffer
		if err != nil {
			b.WriteString(err.Error())
			r = &scan.Report{}
		}
		if err := r.WriteText(&b); err != nil {
			t.Fatal(err)
		}
		if b.Len() > 1<<20 {
			t.Fatalf("the report has %d octets", b.Len())
		}
		for _, c := range b.String() {
			if c != '\n' && !unicode.IsPrint(c) {
				t.Fatalf("the report holds %q", c)
			}
		}
		if _, err := json.Marshal(r); err != nil {
			t.Fatal(err)
		}
	})
}
