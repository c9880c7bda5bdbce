package client

import (
	"context"
	"net"
	"runtime"
	"testing"
	"time"

	"portolan/ldap"
)

// FuzzClient lets a server send anything: nothing panics, every operation ends, and memory stays a small multiple of what
// was sent.
func FuzzClient(f *testing.F) {
	done := ldap.AppendMessage(nil, 1, &ldap.SearchResultDone{}, nil)
	f.Add(append(ldap.AppendMessage(nil, 1, entry("a"), nil), done...))
	f.Add(ldap.AppendMessage(nil, 1, &ldap.SearchResultReference{URIs: []string{"ldap://x"}}, nil))
	f.Add(ldap.AppendMessage(nil, 2, &ldap.BindResponse{}, []ldap.Control{{OID: []byte("1.2"), Value: []byte("v"), HasValue: true}}))
	f.Add(ldap.AppendMessage(nil, 0, &ldap.ExtendedResponse{Name: oidNotice}, nil))
	f.Add([]byte{0x30, 0x84, 0x7f, 0xff, 0xff, 0xff, 0x02, 0x01, 0x01})
	f.Add([]byte{0x30, 0x83, 0x20, 0x00, 0x00, 0x02, 0x01, 0x01})
	all, err := ldap.ParseFilter("(objectClass=*)")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, sent []byte) {
		here, there := net.Pipe()
		finished := make(chan struct{})
		go func() {
			defer close(finished)
			defer there.Close()
			var request [512]byte
			if _, err := there.Read(request[:]); err != nil {
				return
			}
			go func() {
				for {
					if _, err := there.Read(request[:]); err != nil {
						return
					}
				}
			}()
			_, _ = there.Write(sent) // the client may have had enough
		}()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		c := New(here, Options{MaxMessage: 16 << 20})
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
		defer cancel()
		_, _ = c.Search(ctx, &ldap.SearchRequest{Filter: all}, Results{Entry: func(e *ldap.SearchResultEntry, _ []ldap.Control) error {
			for _, a := range e.Attributes {
				_ = len(a.Values)
			}
			return nil
		}})
		_, _ = c.Bind(ctx, "cn=a", "secret")
		if ctx.Err() != nil {
			t.Fatal("the operations did not end with the connection")
		}
		c.Close()
		runtime.ReadMemStats(&after)
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 1<<20+64*uint64(len(sent)) {
			t.Fatalf("%d octets of memory for %d octets from the server", grown, len(sent))
		}
		<-finished
	})
}
