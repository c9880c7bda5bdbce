package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// Address is a listener's URL taken apart.
type Address struct {
	// Scheme is ldap, ldaps, ldapi or cldap.
	Scheme string
	// Network and Addr are what net.Listen and net.ListenPacket take: tcp, udp or unix, and host:port or a path.
	Network, Addr string
	// TLS says that the connection begins with a TLS handshake.
	TLS bool

	host string
	port string
}

// Loopback reports whether only clients on this host can reach the address.
func (a Address) Loopback() bool { return a.Network == "unix" || loopback(a.host) }

// Address takes the URL apart. A port that is left out is 389, for ldaps 636. The path of an ldapi URL is either the
// URL's path (ldapi:///run/ldapi) or, as OpenLDAP writes it, its escaped host (ldapi://%2Frun%2Fldapi).
func (l *Listen) Address() (Address, error) {
	scheme, rest, ok := strings.Cut(l.URL, "://")
	if !ok {
		return Address{}, fmt.Errorf("%s is not a URL", show(l.URL))
	}
	a := Address{Scheme: strings.ToLower(scheme), Network: "tcp"}
	switch a.Scheme {
	case "ldap":
		a.port = "389"
	case "ldaps":
		a.port, a.TLS = "636", true
	case "cldap":
		a.port, a.Network = "389", "udp"
	case "ldapi":
		return a.socket(rest, l.URL)
	default:
		return Address{}, fmt.Errorf("%s begins with none of ldap://, ldaps://, ldapi:// and cldap://", show(l.URL))
	}
	rest = strings.TrimSuffix(rest, "/")
	if strings.ContainsAny(rest, "/?#@") {
		return Address{}, fmt.Errorf("%s has more than an address and a port", show(l.URL))
	}
	if err := a.split(rest); err != nil {
		return Address{}, fmt.Errorf("%s %w", show(l.URL), err)
	}
	a.Addr = net.JoinHostPort(a.host, a.port)
	return a, nil
}

// split reads host and port, each of which may be left out.
func (a *Address) split(s string) error {
	host, port := s, ""
	if strings.HasPrefix(s, "[") {
		end := strings.IndexByte(s, ']')
		if end < 0 {
			return errors.New("lacks a closing bracket")
		}
		host, port = s[1:end], s[end+1:]
		if ip, err := netip.ParseAddr(host); err != nil || !ip.Is6() {
			return errors.New("has no IPv6 address in its brackets")
		}
		if port != "" && port[0] != ':' {
			return errors.New("has something else than a port behind its address")
		}
	} else if i := strings.IndexByte(s, ':'); i >= 0 {
		host, port = s[:i], s[i:]
		if strings.IndexByte(port[1:], ':') >= 0 {
			return errors.New("holds an IPv6 address without brackets")
		}
	}
	if port != "" {
		n, err := strconv.ParseUint(port[1:], 10, 16)
		if err != nil {
			return fmt.Errorf("has a port that is not between 0 and 65535")
		}
		a.port = strconv.FormatUint(n, 10)
	}
	if strings.ContainsFunc(host, func(r rune) bool {
		return r <= ' ' || r > '~' || strings.ContainsRune(`"<>\^{|}%*`+"`", r)
	}) {
		return errors.New("has an address that is none; leave it out to listen on every address")
	}
	a.host = host
	return nil
}

// maxSocket is the longest path that every system takes for a Unix socket, in octets.
const maxSocket = 103

func (a Address) socket(rest, whole string) (Address, error) {
	a.Network = "unix"
	path, err := url.PathUnescape(rest)
	if err != nil {
		return Address{}, fmt.Errorf("%s is escaped wrongly", show(whole))
	}
	if !strings.HasPrefix(path, "/") || path == "/" || strings.HasSuffix(path, "/") || strings.ContainsRune(path, 0) {
		return Address{}, fmt.Errorf("%s names no socket; it looks like ldapi:///run/portolan/ldapi", show(whole))
	}
	if len(path) > maxSocket {
		return Address{}, fmt.Errorf("%s: the path of a socket has at most %d octets", show(whole), maxSocket)
	}
	a.Addr = path
	return a, nil
}

// overlaps reports whether the system would refuse to have both.
func (a Address) overlaps(b Address) bool {
	if a.Network != b.Network {
		return false
	}
	if a.Network == "unix" {
		return a.Addr == b.Addr
	}
	if a.port != b.port || a.port == "0" {
		return false
	}
	if strings.EqualFold(a.host, b.host) || a.host == "" || b.host == "" {
		return true
	}
	x, err1 := netip.ParseAddr(a.host)
	y, err2 := netip.ParseAddr(b.host)
	if err1 != nil || err2 != nil || x.Is4() != y.Is4() {
		return false
	}
	return x == y || x.IsUnspecified() || y.IsUnspecified()
}
