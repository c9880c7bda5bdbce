package scan

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"golang.org/x/crypto/cryptobyte"

	"portolan/internal/client"
	"portolan/ldap"
)

// A handshake is only begun here: a ClientHello of our own making is sent and the first answer read. That shows what
// crypto/tls does not speak any more, and what it would choose for us.

// Versions of TLS.
const (
	versionSSL3  = 0x0300
	versionTLS10 = 0x0301
	versionTLS11 = 0x0302
	versionTLS12 = 0x0303
	versionTLS13 = 0x0304
)

func versionName(v uint16) string {
	switch v {
	case versionSSL3:
		return "SSL 3.0"
	case versionTLS10:
		return "TLS 1.0"
	case versionTLS11:
		return "TLS 1.1"
	case versionTLS12:
		return "TLS 1.2"
	case versionTLS13:
		return "TLS 1.3"
	}
	return fmt.Sprintf("version %#04x", v)
}

// Groups for the key exchange (RFC 8446 section 4.2.7; X25519MLKEM768 is the hybrid of draft-ietf-tls-ecdhe-mlkem).
const (
	groupP256           = 23
	groupP384           = 24
	groupP521           = 25
	groupX25519         = 29
	groupFFDHE2048      = 256
	groupFFDHE3072      = 257
	groupX25519MLKEM768 = 4588
)

// Numbers of RFC 8446 and RFC 5246.
const (
	recordAlert     = 21
	recordHandshake = 22

	typeClientHello = 1
	typeServerHello = 2

	extServerName          = 0
	extSupportedGroups     = 10
	extPointFormats        = 11
	extSignatureAlgorithms = 13
	extSupportedVersions   = 43
	extKeyShare            = 51

	// suiteRenegotiation says that secure renegotiation is known (RFC 5746 section 3.3). Some servers demand it.
	suiteRenegotiation = 0x00ff
)

// clientHello is what is offered. With TLS 1.3 no key share is sent: the server answers which group it wants, and that is
// all that is asked.
type clientHello struct {
	version uint16
	suites  []uint16
	groups  []uint16
	name    string // for server_name; empty: none
}

// signatures offers all that there are, old ones too: the certificate is judged elsewhere.
var signatures = []uint16{0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0603, 0x0806, 0x0601, 0x0807, 0x0808, 0x0809, 0x080a, 0x080b, 0x0203, 0x0201, 0x0202, 0x0402}

// marshal returns the record with the message. random has 32 octets.
func (h *clientHello) marshal(random []byte) ([]byte, error) {
	legacy := min(h.version, versionTLS12)
	list := func(b *cryptobyte.Builder, values []uint16) {
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
			for _, v := range values {
				b.AddUint16(v)
			}
		})
	}
	var b cryptobyte.Builder
	b.AddUint8(recordHandshake)
	b.AddUint16(min(legacy, versionTLS10)) // RFC 8446 section 5.1: some servers know no other in the first record
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
		b.AddUint8(typeClientHello)
		b.AddUint24LengthPrefixed(func(b *cryptobyte.Builder) {
			b.AddUint16(legacy)
			b.AddBytes(random)
			b.AddUint8(0) // no session
			list(b, append(h.suites[:len(h.suites):len(h.suites)], suiteRenegotiation))
			b.AddBytes([]byte{1, 0}) // no compression
			if h.version == versionSSL3 {
				return // it has no extensions
			}
			b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { h.extensions(b, list) })
		})
	})
	return b.Bytes()
}

func (h *clientHello) extensions(b *cryptobyte.Builder, list func(*cryptobyte.Builder, []uint16)) {
	extension := func(number uint16, f func(b *cryptobyte.Builder)) {
		b.AddUint16(number)
		b.AddUint16LengthPrefixed(f)
	}
	if h.name != "" && net.ParseIP(h.name) == nil {
		extension(extServerName, func(b *cryptobyte.Builder) {
			b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
				b.AddUint8(0) // a host name
				b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte(h.name)) })
			})
		})
	}
	extension(extSupportedGroups, func(b *cryptobyte.Builder) { list(b, h.groups) })
	extension(extPointFormats, func(b *cryptobyte.Builder) { b.AddBytes([]byte{1, 0}) })
	if h.version >= versionTLS12 {
		extension(extSignatureAlgorithms, func(b *cryptobyte.Builder) { list(b, signatures) })
	}
	if h.version >= versionTLS13 {
		extension(extSupportedVersions, func(b *cryptobyte.Builder) {
			b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddUint16(h.version) })
		})
		// RFC 8446 section 4.2.8: an empty list asks the server to say which group it wants.
		extension(extKeyShare, func(b *cryptobyte.Builder) { list(b, nil) })
	}
}

// serverHello is what the server has chosen.
type serverHello struct {
	version, suite uint16
	group          uint16 // with TLS 1.3 only
}

// alert is a server that has said no.
type alert struct{ code byte }

func (a alert) Error() string { return fmt.Sprintf("the server refuses with alert %d", a.code) }

var errNoTLS = errors.New("the server answers with something that is no TLS")

// maxHello bounds what of a server's first answer is read, in octets.
const maxHello = 32 << 10

// readServerHello reads records until the first message is there.
func readServerHello(r io.Reader) (serverHello, error) {
	var message []byte
	for read := 0; read < maxHello; {
		var head [5]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return serverHello{}, err
		}
		n := int(binary.BigEndian.Uint16(head[3:]))
		// RFC 5246 section 6.2.3: a record has at most 2^14 + 2048 octets.
		if head[1] != 3 || n == 0 || n > 1<<14+2048 {
			return serverHello{}, errNoTLS
		}
		read += len(head) + n
		body := make([]byte, n)
		if _, err := io.ReadFull(r, body); err != nil {
			return serverHello{}, err
		}
		switch head[0] {
		case recordAlert:
			if n < 2 {
				return serverHello{}, errNoTLS
			}
			const warning = 1
			if body[0] == warning && body[1] != 0 {
				continue // such as unrecognized_name: the handshake goes on
			}
			return serverHello{}, alert{body[1]}
		case recordHandshake:
			message = append(message, body...)
		default:
			return serverHello{}, errNoTLS
		}
		if len(message) >= 4 {
			size := int(message[1])<<16 | int(message[2])<<8 | int(message[3])
			if message[0] != typeServerHello || size > maxHello {
				return serverHello{}, errNoTLS
			}
			if len(message) >= 4+size {
				return parseServerHello(message[4 : 4+size])
			}
		}
	}
	return serverHello{}, errNoTLS
}

// parseServerHello reads a ServerHello, a HelloRetryRequest among them (RFC 8446 section 4.1.3).
func parseServerHello(b []byte) (serverHello, error) {
	var h serverHello
	s := cryptobyte.String(b)
	var session, extensions cryptobyte.String
	if !s.ReadUint16(&h.version) || !s.Skip(32) || !s.ReadUint8LengthPrefixed(&session) || !s.ReadUint16(&h.suite) || !s.Skip(1) {
		return h, errNoTLS
	}
	if s.Empty() {
		return h, nil
	}
	if !s.ReadUint16LengthPrefixed(&extensions) || !s.Empty() {
		return h, errNoTLS
	}
	for !extensions.Empty() {
		var number uint16
		var body cryptobyte.String
		if !extensions.ReadUint16(&number) || !extensions.ReadUint16LengthPrefixed(&body) {
			return h, errNoTLS
		}
		switch number {
		case extSupportedVersions:
			if !body.ReadUint16(&h.version) {
				return h, errNoTLS
			}
		case extKeyShare:
			if !body.ReadUint16(&h.group) {
				return h, errNoTLS
			}
		}
	}
	return h, nil
}

// beforeTLS returns a stream on which a handshake can begin.
func (s *scanner) beforeTLS(ctx context.Context) (net.Conn, error) {
	address := s.secure
	if s.over == overStartTLS {
		address = s.plain
	}
	nc, err := s.dial(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	if err = s.bound(ctx, nc); err == nil && s.over == overStartTLS {
		_, err = askStartTLS(nc, nil)
	}
	if err != nil {
		nc.Close()
		return nil, err
	}
	return nc, nil
}

// bound gives a connection until the time of one answer has passed.
func (s *scanner) bound(ctx context.Context, nc net.Conn) error {
	deadline := time.Now().Add(s.o.Timeout)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	return nc.SetDeadline(deadline)
}

// oidStartTLS is RFC 4511 section 4.14.
const oidStartTLS = "1.3.6.1.4.1.1466.20037"

// refused is a StartTLS that the server does not take.
type refused struct{ result *ldap.Result }

func (e refused) Error() string { return "StartTLS is refused: " + answer{Result: e.result}.text() }

// askStartTLS asks for TLS. behind is sent with the request, in one write. What the server has sent behind its answer is
// returned.
func askStartTLS(nc net.Conn, behind []byte) (rest []byte, err error) {
	const id = 1
	request := ldap.AppendMessage(nil, id, &ldap.ExtendedRequest{Name: []byte(oidStartTLS)}, nil)
	if _, err := nc.Write(append(request, behind...)); err != nil {
		return nil, err
	}
	r := bufio.NewReader(nc)
	frame, err := client.ReadMessage(r, maxMessage)
	if err != nil {
		return nil, err
	}
	m, err := ldap.Decode(frame)
	if err != nil {
		return nil, err
	}
	x, ok := m.Op.(*ldap.ExtendedResponse)
	switch {
	case !ok || m.ID != id && m.ID != 0:
		return nil, errors.New("the server has answered something else than StartTLS")
	case m.ID == 0 || x.Code != ldap.Success:
		return nil, refused{&x.Result}
	}
	rest, _ = r.Peek(r.Buffered()) // what is buffered is there
	return rest, nil
}

// hello begins a handshake.
func (s *scanner) hello(ctx context.Context, h clientHello) (serverHello, error) {
	nc, err := s.beforeTLS(ctx)
	if err != nil {
		return serverHello{}, err
	}
	defer nc.Close()
	random := make([]byte, 32)
	if _, err := io.ReadFull(s.o.Rand, random); err != nil {
		return serverHello{}, err
	}
	h.name = s.o.Name
	b, err := h.marshal(random)
	if err != nil {
		return serverHello{}, err
	}
	if _, err := nc.Write(b); err != nil {
		return serverHello{}, err
	}
	return readServerHello(nc)
}
