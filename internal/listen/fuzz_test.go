package listen

import (
	"bytes"
	"net"
	"testing"
	"time"
)

// FuzzProxyHeader reads PROXY headers of both versions from whatever a proxy may send: an address or an error, and of what
// stands behind the header nothing is lost or made up.
func FuzzProxyHeader(f *testing.F) {
	for _, text := range []string{
		"", "PROXY", "PROXY UNKNOWN\r\n", "PROXY TCP4 192.0.2.1 192.0.2.2 1 389\r\nrest", "PROXY TCP6 2001:db8::1 ::1 65535 636\r\n",
		"PROXY TCP4 192.0.2.1 192.0.2.2 99999 389\r\n", "PROXY TCP4 256.0.2.1 192.0.2.2 1 389\r\n",
		"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x01\xc0\x00\x02\x02\x00\x01\x01\x85rest",
		"\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00", "\r\n\r\n\x00\r\nQUIT\n\x21\x21\xff\xff", "\r\n\r\n\x00\r\nQUIT\n\x21\x31\x00\xd8",
		"\x30\x0c\x02\x01\x01\x60\x07\x02\x01\x03\x04\x00\x80\x00",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		here, there := net.Pipe()
		defer here.Close()
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			_, _ = there.Write(data)
			there.Close()
		}()
		s := &Server{cfg: Config{ProxyTimeout: time.Minute}}
		client, rest, err := s.proxyHeader(here)
		here.Close()
		<-sent
		if err != nil {
			if client.addr.IsValid() || client.own || rest != nil {
				t.Fatal("an error, and an answer as well")
			}
			return
		}
		if client.own && client.addr.IsValid() {
			t.Fatal("a proxy that speaks for itself, and for another")
		}
		if a := client.addr.Addr(); a.Is4In6() || a.Zone() != "" {
			t.Fatalf("%s is not the form that rules are written in", a)
		}
		if !bytes.Contains(data, rest) {
			t.Fatal("what stands behind the header was not sent")
		}
	})
}
