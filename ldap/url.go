package ldap

import (
	"net"
	"strconv"
	"strings"
)

// URL is an LDAP URL (RFC 4516). Its parts are decoded: no percent-encoding is left in them.
type URL struct {
	Scheme     string // ldap, ldaps, ldapi or cldap
	Host       string // host or host:port, IPv6 addresses in brackets; the path of the socket with ldapi; or empty
	DN         string
	Attributes []string
	Scope      Scope // meaningful with HasScope; otherwise the RFC's default is base
	HasScope   bool
	Filter     string // empty: the RFC's default is (objectClass=*)
	Extensions []URLExtension
}

// URLExtension is one extension of an LDAP URL.
type URLExtension struct {
	Critical bool
	Name     string
	Value    string // empty: no value
}

// MaxURLBytes is the greatest length of an LDAP URL.
const MaxURLBytes = 1 << 20

// ParseURL parses an LDAP URL (RFC 4516) with one of the schemes ldap, ldaps, ldapi and cldap. The DN and the filter are
// checked, so that both parse later. The error is an *Error with invalidAttributeSyntax, or the one of ParseDN or
// ParseFilter, with advice.
func ParseURL(s string) (URL, error) {
	var u URL
	if len(s) > MaxURLBytes {
		return URL{}, badURL("it has %d octets; the limit is %d", len(s), MaxURLBytes)
	}
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		return URL{}, badURL("want ldap://host, ldaps://host, ldapi://path or cldap://host")
	}
	u.Scheme = strings.ToLower(scheme)
	switch u.Scheme {
	case "ldap", "ldaps", "ldapi", "cldap":
	default:
		return URL{}, badURL("the scheme %q is not ldap, ldaps, ldapi or cldap", shorten(scheme))
	}
	host, tail := rest, ""
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		if rest[i] == '?' {
			return URL{}, badURL("a / must stand between the host and the first question mark")
		}
		host, tail = rest[:i], rest[i+1:]
	}
	if err := u.setHost(host); err != nil {
		return URL{}, err
	}
	if err := u.setTail(tail); err != nil {
		return URL{}, err
	}
	return u, nil
}

func badURL(format string, args ...any) *Error {
	e := Errorf(InvalidAttributeSyntax, format, args...)
	return Errorf(InvalidAttributeSyntax, "LDAP URL: %s", e.Diagnostic)
}

func (u *URL) setHost(text string) *Error {
	host, err := unpercent(text)
	if err != nil {
		return err
	}
	u.Host = host
	if u.Scheme == "ldapi" {
		if strings.IndexByte(host, 0) >= 0 {
			return badURL("the path of a socket has no NUL in it")
		}
		return nil
	}
	name, port := host, ""
	if strings.HasPrefix(host, "[") {
		inner, after, closed := strings.Cut(host[1:], "]")
		if !closed {
			return badURL("the bracket before the IPv6 address is never closed")
		}
		for i := range len(inner) {
			if c := inner[i]; hexDigit(c) < 0 && !isAlpha(c) && c != ':' && c != '.' && c != '%' && c != '-' && c != '_' {
				return badURL("%q is not an IPv6 address", shorten(inner))
			}
		}
		if name, port = inner, after; inner == "" {
			return badURL("there is no address between the brackets")
		}
		if port != "" && port[0] != ':' {
			return badURL("want a colon and a port after the bracket, as in [::1]:389")
		}
	} else {
		if i := strings.IndexByte(host, ':'); i >= 0 {
			name, port = host[:i], host[i:]
		}
		for i := range len(name) {
			if c := name[i]; c <= ' ' || c == 0x7f || strings.IndexByte(`/?#@[]\"<>`, c) >= 0 {
				return badURL("%q cannot stand in a host name", c)
			}
		}
	}
	if port == "" {
		return nil
	}
	if n, err := strconv.ParseUint(port[1:], 10, 16); err != nil || n == 0 || !isDigit(port[1]) {
		return badURL("the port %q is not a number of 1 to 65535; an IPv6 address stands in brackets", shorten(port[1:]))
	}
	if name == "" {
		return badURL("a port needs a host before it")
	}
	return nil
}

func (u *URL) setTail(tail string) error {
	parts := strings.SplitN(tail, "?", 6)
	if len(parts) == 6 {
		return badURL("more than four question marks; a question mark inside a part is written %%3f")
	}
	for len(parts) < 5 {
		parts = append(parts, "")
	}
	var err *Error
	if u.DN, err = unpercent(parts[0]); err != nil {
		return err
	}
	if _, err := ParseDN(u.DN); err != nil {
		return err
	}
	if parts[1] != "" {
		for a := range strings.SplitSeq(parts[1], ",") {
			name, err := unpercent(a)
			if err != nil {
				return err
			}
			if !isSelector(name) {
				return badURL("%q is not an attribute", shorten(name))
			}
			u.Attributes = append(u.Attributes, name)
		}
	}
	if parts[2] != "" {
		u.HasScope = true
		switch strings.ToLower(parts[2]) {
		case "base":
			u.Scope = ScopeBase
		case "one":
			u.Scope = ScopeOne
		case "sub":
			u.Scope = ScopeSub
		case "subordinate", "subord", "children":
			u.Scope = ScopeSubordinate
		default:
			return badURL("the scope %q is not base, one, sub or subordinate", shorten(parts[2]))
		}
	}
	if u.Filter, err = unpercent(parts[3]); err != nil {
		return err
	}
	if u.Filter != "" {
		if _, err := ParseFilter(u.Filter); err != nil {
			return err
		}
	}
	if parts[4] != "" {
		for x := range strings.SplitSeq(parts[4], ",") {
			var e URLExtension
			x, e.Critical = strings.CutPrefix(x, "!")
			name, value, _ := strings.Cut(x, "=")
			if e.Name, err = unpercent(name); err != nil {
				return err
			}
			if e.Value, err = unpercent(value); err != nil {
				return err
			}
			if e.Name == "" || strings.HasPrefix(e.Name, "!") {
				return badURL("an extension has no name")
			}
			u.Extensions = append(u.Extensions, e)
		}
	}
	return nil
}

// isSelector accepts an attribute description and the special selectors *, + and @class; OIDs such as 1.1 are
// descriptions.
func isSelector(name string) bool {
	if name == "*" || name == "+" {
		return true
	}
	name = strings.TrimPrefix(name, "@")
	for i := range len(name) {
		if c := name[i]; !isAlpha(c) && !isDigit(c) && strings.IndexByte("-._;=", c) < 0 {
			return false
		}
	}
	return name != ""
}

func unpercent(s string) (string, *Error) {
	if strings.IndexByte(s, '%') < 0 {
		return s, nil
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '%' {
			if i+2 >= len(s) || hexDigit(s[i+1]) < 0 || hexDigit(s[i+2]) < 0 {
				return "", badURL("a percent sign is followed by two hexadecimal digits; the sign itself is %%25")
			}
			c = byte(hexDigit(s[i+1])<<4 | hexDigit(s[i+2]))
			i += 2
		}
		out = append(out, c)
	}
	return string(out), nil
}

// Address returns host:port of an ldap, ldaps or cldap URL with the default port filled in, 389 or 636, and the socket
// path of an ldapi URL. It is empty where the URL names no host.
func (u *URL) Address() string {
	if u.Scheme == "ldapi" || u.Host == "" {
		return u.Host
	}
	if _, _, err := net.SplitHostPort(u.Host); err == nil {
		return u.Host
	}
	port := "389"
	if u.Scheme == "ldaps" {
		port = "636"
	}
	return net.JoinHostPort(strings.Trim(u.Host, "[]"), port)
}

// String returns the URL with what must be percent-encoded so encoded, and with no trailing question marks (RFC 4516).
func (u *URL) String() string {
	dst := append([]byte(u.Scheme), "://"...)
	if u.Scheme == "ldapi" {
		dst = percent(dst, u.Host, "")
	} else {
		dst = percent(dst, u.Host, "[]:!$&'()*+,;=")
	}
	parts := [5][]byte{percent(nil, u.DN, "/:@!$&'()*+,;=")}
	for i, a := range u.Attributes {
		if i > 0 {
			parts[1] = append(parts[1], ',')
		}
		parts[1] = percent(parts[1], a, ":@*+;=")
	}
	if u.HasScope {
		names := [...]string{"base", "one", "sub", "subordinate"}
		if u.Scope >= 0 && int(u.Scope) < len(names) {
			parts[2] = []byte(names[u.Scope])
		}
	}
	parts[3] = percent(nil, u.Filter, "/:@!$&'()*+,;=")
	for i, e := range u.Extensions {
		if i > 0 {
			parts[4] = append(parts[4], ',')
		}
		if e.Critical {
			parts[4] = append(parts[4], '!')
		}
		parts[4] = percent(parts[4], e.Name, "")
		if e.Value != "" {
			parts[4] = percent(append(parts[4], '='), e.Value, "/:@!$&'()*+;=")
		}
	}
	last := len(parts) - 1
	for last >= 0 && len(parts[last]) == 0 {
		last--
	}
	for i := 0; i <= last; i++ {
		dst = append(dst, "/????"[i])
		dst = append(dst, parts[i]...)
	}
	return string(dst)
}

// percent appends s with everything encoded but letters, digits, -._~ and the octets of keep.
func percent(dst []byte, s, keep string) []byte {
	for i := range len(s) {
		c := s[i]
		if isAlpha(c) || isDigit(c) || strings.IndexByte("-._~", c) >= 0 || strings.IndexByte(keep, c) >= 0 {
			dst = append(dst, c)
		} else {
			dst = append(dst, '%', "0123456789ABCDEF"[c>>4], "0123456789ABCDEF"[c&15])
		}
	}
	return dst
}
