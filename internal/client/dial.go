package client

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"

	"portolan/ldap"
)

// Options say how to connect. The zero Options are good: they verify certificates against the system's authorities.
type Options struct {
	// TLS is used with ldaps and StartTLS. nil is the default of crypto/tls; where ServerName is empty it is the host of the
	// URL. At least TLS 1.2 is asked for unless MinVersion says otherwise.
	TLS *tls.Config
	// StartTLS upgrades an ldap connection before anything else is sent (RFC 4511 section 4.14).
	StartTLS bool
	// Dial makes the connection; nil is a net.Dialer. network is "tcp" or "unix".
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// MaxMessage bounds one message of the server, in octets; 0 is DefaultMaxMessage.
	MaxMessage int
}

func (o *Options) maxMessage() int {
	if o.MaxMessage <= 0 {
		return DefaultMaxMessage
	}
	return o.MaxMessage
}

// oidStartTLS is RFC 4511 section 4.14.
const oidStartTLS = "1.3.6.1.4.1.1466.20037"

// Dial connects to the server of an LDAP URL: ldap://host[:389], ldaps://host[:636] or ldapi://PATH with the path of the
// socket percent-encoded; see SocketURL. An ldap or ldaps URL without a host means localhost. ctx bounds the connecting
// and the TLS handshake, not the life of the connection.
func Dial(ctx context.Context, ldapURL string, o Options) (*Conn, error) {
	nc, err := Connect(ctx, ldapURL, o)
	if err != nil {
		return nil, err
	}
	return New(nc, o), nil
}

// Connect does what Dial does and returns the connected socket, with TLS under way where it is wanted, for callers that
// speak LDAP themselves. It is the caller's to close.
func Connect(ctx context.Context, ldapURL string, o Options) (net.Conn, error) {
	t, err := parseTarget(ldapURL)
	if err != nil {
		return nil, err
	}
	if o.StartTLS && t.scheme != "ldap" {
		return nil, fmt.Errorf("%s: StartTLS is for ldap URLs: leave it out, %s needs none", ldapURL, t.scheme)
	}
	dial := o.Dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	nc, err := dial(ctx, t.network, t.address)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", ldapURL, err)
	}
	layered, err := establish(ctx, nc, t, &o)
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("%s: %w", ldapURL, err)
	}
	return layered, nil
}

// target is where a URL leads to.
type target struct {
	scheme, network, address, host string
}

func parseTarget(text string) (target, error) {
	u, err := ldap.ParseURL(text)
	if err != nil {
		return target{}, fmt.Errorf("%s: %w", text, err)
	}
	t := target{scheme: u.Scheme, network: "tcp"}
	port := "389"
	switch u.Scheme {
	case "ldapi":
		if u.Host == "" {
			return target{}, fmt.Errorf("%s: the URL must name the socket, as in %s", text, SocketURL("/run/portolan/ldapi"))
		}
		t.network, t.address = "unix", u.Host
		return t, nil
	case "ldaps":
		port = "636"
	case "cldap":
		return target{}, fmt.Errorf("%s: LDAP over UDP is not offered by this client; use ldap or ldaps", text)
	}
	host := u.Host
	if h, p, err := net.SplitHostPort(host); err == nil {
		host, port = h, p
	} else if len(host) > 1 && host[0] == '[' {
		host = host[1 : len(host)-1]
	}
	if host == "" {
		host = "localhost"
	}
	t.host, t.address = host, net.JoinHostPort(host, port)
	return t, nil
}

// SocketURL returns the ldapi URL of a Unix socket.
func SocketURL(path string) string { return "ldapi://" + url.PathEscape(path) }

// establish makes the layers over a connected socket.
func establish(ctx context.Context, nc net.Conn, t target, o *Options) (net.Conn, error) {
	if t.scheme == "ldaps" || o.StartTLS {
		if deadline, ok := ctx.Deadline(); ok {
			if err := nc.SetDeadline(deadline); err != nil {
				return nil, err
			}
		}
		stop := context.AfterFunc(ctx, func() { nc.SetDeadline(time.Unix(1, 0)) })
		defer stop()
		if o.StartTLS {
			if err := startTLS(nc, o.maxMessage()); err != nil {
				return nil, cause(ctx, err)
			}
		}
		tc := tls.Client(nc, tlsConfig(o.TLS, t.host))
		if err := tc.HandshakeContext(ctx); err != nil {
			return nil, fmt.Errorf("TLS: %w", cause(ctx, err))
		}
		if !stop() {
			return nil, ctx.Err()
		}
		if err := nc.SetDeadline(time.Time{}); err != nil {
			return nil, err
		}
		nc = tc
	}
	return nc, nil
}

// cause prefers the reason of the caller to the time-out that it has brought about.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

func tlsConfig(c *tls.Config, host string) *tls.Config {
	if c == nil {
		c = &tls.Config{MinVersion: tls.VersionTLS12}
	} else {
		c = c.Clone()
	}
	if c.MinVersion == 0 {
		c.MinVersion = tls.VersionTLS12
	}
	if c.ServerName == "" {
		c.ServerName = host
	}
	return c
}

// startTLS asks for TLS on a connection on which nothing else goes on.
func startTLS(nc net.Conn, limit int) error {
	const id = 1
	request := &ldap.ExtendedRequest{Name: []byte(oidStartTLS)}
	if _, err := nc.Write(ldap.AppendMessage(nil, id, request, nil)); err != nil {
		return err
	}
	r := bufio.NewReader(nc)
	f, err := readFrame(r, min(limit, smallFrame))
	if err != nil {
		return fmt.Errorf("StartTLS: %w", err)
	}
	m, err := ldap.Decode(f.b)
	if err != nil {
		return fmt.Errorf("StartTLS: the server does not speak LDAP as it should: %v", err)
	}
	x, ok := m.Op.(*ldap.ExtendedResponse)
	switch {
	case !ok || m.ID != id && m.ID != 0:
		return errors.New("StartTLS: the server has answered something else")
	case x.Code != ldap.Success || m.ID == 0:
		return fmt.Errorf("StartTLS: %w", &ldap.Error{Result: x.Result})
	case r.Buffered() > 0:
		// What came in clear text behind the answer must not be taken for what came through TLS.
		return errors.New("StartTLS: there is clear text behind the server's answer; somebody may be meddling with the connection")
	}
	return nil
}
