package scan

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"testing"
)

// TestSuites compares the table of cipher suites with the names that crypto/tls knows.
func TestSuites(t *testing.T) {
	seen := map[uint16]bool{}
	for _, s := range allSuites() {
		if seen[s.id] {
			t.Errorf("%#04x stands in the table twice", s.id)
		}
		seen[s.id] = true
	}
	for _, list := range [][]*tls.CipherSuite{tls.CipherSuites(), tls.InsecureCipherSuites()} {
		for _, c := range list {
			if name := suiteName(c.ID); name != c.Name {
				t.Errorf("%#04x is %s, not %s", c.ID, c.Name, name)
			}
		}
	}
	for name, want := range map[string][2]bool{ // broken, forward
		"TLS_AES_128_GCM_SHA256": {false, true}, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": {false, true}, "TLS_DHE_RSA_WITH_AES_128_CBC_SHA": {false, true},
		"TLS_RSA_WITH_AES_128_CBC_SHA": {false, false}, "TLS_ECDH_RSA_WITH_AES_128_CBC_SHA": {false, false}, "TLS_ECDHE_RSA_WITH_NULL_SHA": {true, true},
		"TLS_ECDH_anon_WITH_AES_128_CBC_SHA": {true, false}, "TLS_RSA_WITH_3DES_EDE_CBC_SHA": {true, false}, "TLS_RSA_WITH_DES_CBC_SHA": {true, false},
		"TLS_RSA_WITH_RC4_128_MD5": {true, false}, "TLS_RSA_EXPORT_WITH_RC2_CBC_40_MD5": {true, false},
	} {
		if s := (suite{name: name}); s.broken() != want[0] || s.forward() != want[1] {
			t.Errorf("%s: broken %t, forward secrecy %t", name, s.broken(), s.forward())
		}
	}
}

// record wraps a handshake message.
func record(kind byte, body ...byte) []byte {
	return append([]byte{kind, 3, 3, byte(len(body) >> 8), byte(len(body))}, body...)
}

func serverHelloMessage(extensions ...byte) []byte {
	body := append([]byte{3, 3}, make([]byte, 32)...)
	body = append(body, 0, 0x13, 0x01, 0)
	if extensions != nil {
		body = append(append(body, byte(len(extensions)>>8), byte(len(extensions))), extensions...)
	}
	return append([]byte{typeServerHello, 0, byte(len(body) >> 8), byte(len(body))}, body...)
}

func TestReadServerHello(t *testing.T) {
	retry := serverHelloMessage(0, extSupportedVersions, 0, 2, 3, 4, 0, extKeyShare, 0, 2, 0x11, 0xec)
	for name, x := range map[string]struct {
		in   []byte
		want serverHello
		err  error
	}{
		"no extensions":           {record(recordHandshake, serverHelloMessage()...), serverHello{0x0303, 0x1301, 0}, nil},
		"a retry request":         {record(recordHandshake, retry...), serverHello{0x0304, 0x1301, groupX25519MLKEM768}, nil},
		"in two records":          {append(record(recordHandshake, retry[:10]...), record(recordHandshake, retry[10:]...)...), serverHello{0x0304, 0x1301, groupX25519MLKEM768}, nil},
		"more behind it":          {record(recordHandshake, append(serverHelloMessage(), 11, 0, 0, 0)...), serverHello{0x0303, 0x1301, 0}, nil},
		"behind a warning":        {append(record(recordAlert, 1, 112), record(recordHandshake, serverHelloMessage()...)...), serverHello{0x0303, 0x1301, 0}, nil},
		"an alert":                {record(recordAlert, 2, 40), serverHello{}, alert{40}},
		"the end of it":           {record(recordAlert, 1, 0), serverHello{}, alert{0}},
		"half an alert":           {record(recordAlert, 2), serverHello{}, errNoTLS},
		"another message":         {record(recordHandshake, 1, 0, 0, 0), serverHello{}, errNoTLS},
		"LDAP":                    {[]byte("0\x0c\x02\x01\x01x\x07\n\x01\x02\x04\x00\x04\x00"), serverHello{}, errNoTLS},
		"HTTP":                    {[]byte("HTTP/1.1 400 Bad Request"), serverHello{}, errNoTLS},
		"a record too long":       {[]byte{recordHandshake, 3, 3, 0xff, 0xff}, serverHello{}, errNoTLS},
		"an empty record":         {record(recordHandshake), serverHello{}, errNoTLS},
		"cut off":                 {record(recordHandshake, retry...)[:20], serverHello{}, io.ErrUnexpectedEOF},
		"nothing":                 {nil, serverHello{}, io.EOF},
		"octets behind":           {record(recordHandshake, append([]byte{2, 0, 0, 39}, append(serverHelloMessage()[4:], 9)...)...), serverHello{0x0303, 0x1301, 0}, errNoTLS},
		"an extension too short":  {record(recordHandshake, serverHelloMessage(0, extKeyShare, 0, 1, 9)...), serverHello{0x0303, 0x1301, 0}, errNoTLS},
		"extensions that overrun": {record(recordHandshake, serverHelloMessage(0, extKeyShare, 0, 9, 9)...), serverHello{0x0303, 0x1301, 0}, errNoTLS},
	} {
		got, err := readServerHello(bytes.NewReader(x.in))
		if !errors.Is(err, x.err) || x.err == nil && got != x.want {
			t.Errorf("%s: %+v, %v; want %+v, %v", name, got, err, x.want, x.err)
		}
	}
	// Warnings without end are read up to a bound.
	var flood bytes.Buffer
	for range 100_000 {
		flood.Write(record(recordAlert, 1, 112))
	}
	if _, err := readServerHello(&flood); !errors.Is(err, errNoTLS) {
		t.Errorf("a flood of warnings: %v", err)
	}
}

// FuzzServerHello reads whatever a server may answer to a ClientHello: no panic, and no more than the bound is read.
func FuzzServerHello(f *testing.F) {
	f.Add(record(recordHandshake, serverHelloMessage(0, extSupportedVersions, 0, 2, 3, 4, 0, extKeyShare, 0, 2, 0x11, 0xec)...))
	f.Add(record(recordHandshake, serverHelloMessage()...))
	f.Add(record(recordAlert, 2, 40))
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bytes.NewReader(in)
		_, _ = readServerHello(r)
		if read := len(in) - r.Len(); read > 2*maxHello+1<<15 {
			t.Fatalf("%d octets were read", read)
		}
		_, _ = parseServerHello(in)
	})
}
