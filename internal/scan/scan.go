// Package scan asks any LDAP server from outside what an attacker would ask: which TLS it speaks, whether it takes
// passwords in clear text, what it shows to strangers, and whether it tells who exists. It writes nothing and guesses no
// password: binds that are meant to fail carry names and passwords made of random octets.
//
// The server is taken for hostile: every read is bounded in octets and time, whatever it sends makes no panic, and its
// texts are shown without control characters.
package scan

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"portolan/internal/client"
	"portolan/ldap"
)

// Options say what is scanned and how.
type Options struct {
	// URL is ldap://HOST[:PORT] or ldaps://HOST[:PORT].
	URL string
	// LDAPPort and LDAPSPort are those of the other listener. 0 is the usual one where the URL has the usual port, and
	// otherwise none: nobody wants another service on that host to be asked.
	LDAPPort, LDAPSPort int
	// Base is a DN to search beneath, besides the naming contexts that the root DSE names.
	Base string
	// User is the DN of an account that exists. Some wrong passwords are tried on it, so that it is best made for this:
	// a server that locks accounts may lock it.
	User string
	// BindDN and BindPassword are a login with which is asked what a user sees. They are sent only over TLS with a
	// certificate that is trusted.
	BindDN       string
	BindPassword []byte
	// Roots are the authorities to trust, nil the system's. Name is what the certificate must be for; empty is the host.
	Roots *x509.CertPool
	Name  string
	// Active allows guesses in numbers, to see whether they are slowed down.
	Active bool
	// Timeout bounds one answer, Limit the whole; 0 is 5 seconds and 3 minutes.
	Timeout, Limit time.Duration
	// Samples is how many binds of each kind are timed in each of two rounds; 0 is 25.
	Samples int
	// Dial connects, over tcp and udp; nil is a net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Now is the clock, nil time.Now. Rand makes names and passwords that nobody has, nil is crypto/rand.
	Now  func() time.Time
	Rand io.Reader
}

// Bounds on what a server may send.
const (
	maxMessage    = 1 << 20 // octets of one message
	maxConnection = 16 << 20
	maxDatagrams  = 64
	maxContexts   = 8
)

const (
	defaultTimeout = 5 * time.Second
	defaultLimit   = 3 * time.Minute
	defaultSamples = 25
)

// Run scans a server. The error says why it cannot be scanned at all.
func Run(ctx context.Context, o Options) (*Report, error) {
	s, err := newScanner(o)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.o.Limit)
	defer cancel()
	s.report.Begun = s.o.Now()
	if err := s.reach(ctx); err != nil {
		return nil, err
	}
	for _, p := range probes() {
		if ctx.Err() != nil {
			s.add(Finding{ID: "scan", Severity: Warn, Seen: "the scan was ended before it was through: " + p.name + " and what follows was not asked",
				Means: "what was not asked is not known to be well", Do: "scan again with more time (--limit)"})
			break
		}
		s.group = p.name
		p.run(s, ctx)
	}
	s.report.Ended = s.o.Now()
	return s.report, nil
}

// probe is one line of the table.
type probe struct {
	name string
	run  func(s *scanner, ctx context.Context)
}

// probes is the table of what is asked, in order: later ones use what earlier ones have learned.
func probes() []probe {
	return []probe{
		{"transport", (*scanner).offered},
		{"transport", (*scanner).injection},
		{"transport", (*scanner).handshakes},
		{"login", (*scanner).logIn},
		{"login", (*scanner).clearTextBind},
		{"login", (*scanner).unauthenticatedBind},
		{"login", (*scanner).anonymousBind},
		{"login", (*scanner).mechanisms},
		{"reading", (*scanner).readRoot},
		{"reading", (*scanner).readSchema},
		{"reading", (*scanner).readSpecial},
		{"reading", (*scanner).readTree},
		{"reading", (*scanner).readSecrets},
		{"reading", (*scanner).sizeLimit},
		{"accounts", (*scanner).asUser}, // before wrong passwords are tried: they may lock the account
		{"accounts", (*scanner).enumerationBySearch},
		{"accounts", (*scanner).enumerationByBind},
		{"accounts", (*scanner).enumerationByTime},
		{"accounts", (*scanner).guessing},
		{"datagrams", (*scanner).datagrams},
	}
}

// scanner is one scan.
type scanner struct {
	o      Options
	report *Report
	group  string // of the probes at work

	host          string
	plain, secure string // addresses of the listeners; empty: not known, or nobody there
	loopback      bool   // both ends are on this host
	startTLS      bool   // is offered
	over          string // how handshakes are begun: overLDAPS or overStartTLS
	trusted       bool   // the certificate that best and verified meet is good

	root     map[string][]string // attributes of the root DSE, by lower-case name; what strangers see
	rootTLS  map[string][]string // the same over TLS
	contexts []string            // naming contexts, those of the server and Options.Base
	readable []string            // of these, those that strangers read
}

func newScanner(o Options) (*scanner, error) {
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	if o.Limit <= 0 {
		o.Limit = defaultLimit
	}
	if o.Samples <= 0 {
		o.Samples = defaultSamples
	}
	if o.Dial == nil {
		o.Dial = new(net.Dialer).DialContext
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	if !strings.HasPrefix(strings.ToLower(o.URL), "ldap://") && !strings.HasPrefix(strings.ToLower(o.URL), "ldaps://") {
		return nil, fmt.Errorf("%s: a scan asks over the network: write ldap://HOST or ldaps://HOST", o.URL)
	}
	u, err := ldap.ParseURL(o.URL)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.URL, err)
	}
	s := &scanner{o: o, report: &Report{URL: o.URL}}
	port := ""
	s.host = u.Host
	if h, p, err := net.SplitHostPort(u.Host); err == nil {
		s.host, port = h, p
	} else if n := len(s.host); n > 1 && s.host[0] == '[' {
		s.host = s.host[1 : n-1]
	}
	if s.host == "" {
		s.host = "localhost"
	}
	const plainPort, securePort = "389", "636"
	other := func(flag int, usual bool, port string) string {
		switch {
		case flag > 0:
			return net.JoinHostPort(s.host, strconv.Itoa(flag))
		case usual:
			return net.JoinHostPort(s.host, port)
		}
		return ""
	}
	switch u.Scheme {
	case "ldap":
		usual := port == "" || port == plainPort
		if port == "" {
			port = plainPort
		}
		s.plain, s.secure = net.JoinHostPort(s.host, port), other(o.LDAPSPort, usual, securePort)
	default: // ldaps
		usual := port == "" || port == securePort
		if port == "" {
			port = securePort
		}
		s.secure, s.plain = net.JoinHostPort(s.host, port), other(o.LDAPPort, usual, plainPort)
	}
	if s.o.Name == "" {
		s.o.Name = s.host
	}
	return s, nil
}

// reach finds out which listeners are there and reads the root DSE. Somebody must answer as LDAP servers do.
func (s *scanner) reach(ctx context.Context) error {
	var errs []string
	try := func(address *string, dial func(context.Context) (*client.Conn, error), into *map[string][]string) {
		if *address == "" {
			return
		}
		root, err := s.readRootDSE(ctx, dial)
		if err != nil {
			_, text, named := strings.Cut(why(err), "://"+*address+": ")
			if !named {
				text = why(err)
			}
			errs = append(errs, *address+": "+text)
			*address = ""
			return
		}
		*into = root
	}
	asked := s.secure
	try(&s.plain, s.clear, &s.root)
	try(&s.secure, s.ldaps, &s.rootTLS)
	if s.plain == "" && s.secure == "" {
		return errors.New("no LDAP server answers: " + strings.Join(errs, "; "))
	}
	s.report.LDAP, s.report.LDAPS, s.report.askedLDAPS = s.plain, s.secure, asked
	return nil
}

// bounded is a connection that ends when the server has sent too much.
type bounded struct {
	net.Conn
	left int64
}

var errTooMuch = errors.New("the server has sent more than a scan reads")

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooMuch
	}
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := b.Conn.Read(p)
	b.left -= int64(n)
	return n, err
}

// dial connects; what is read over the connection is bounded.
func (s *scanner) dial(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	nc, err := s.o.Dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	if network == "tcp" {
		s.loopback = isLoopback(nc.LocalAddr()) && isLoopback(nc.RemoteAddr())
	}
	return &bounded{Conn: nc, left: maxConnection}, nil
}

func isLoopback(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// anyTLS is a configuration that talks to whatever there is. Nothing that is worth anything is sent over it.
func (s *scanner) anyTLS() *tls.Config {
	c := &tls.Config{MinVersion: tls.VersionTLS10, InsecureSkipVerify: true, ServerName: s.o.Name} // #nosec G402 -- what is wrong with it is to be reported
	for _, suites := range [][]*tls.CipherSuite{tls.CipherSuites(), tls.InsecureCipherSuites()} {
		for _, suite := range suites {
			c.CipherSuites = append(c.CipherSuites, suite.ID)
		}
	}
	return c
}

// goodTLS is a configuration that is good enough for a password.
func (s *scanner) goodTLS() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: s.o.Roots, ServerName: s.o.Name}
}

func (s *scanner) open(ctx context.Context, url string, o client.Options) (*client.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	o.Dial, o.MaxMessage = s.dial, maxMessage
	return client.Dial(ctx, url, o)
}

// clear connects in clear text.
func (s *scanner) clear(ctx context.Context) (*client.Conn, error) {
	return s.open(ctx, "ldap://"+s.plain, client.Options{})
}

// ldaps connects with TLS from the first octet.
func (s *scanner) ldaps(ctx context.Context) (*client.Conn, error) {
	return s.open(ctx, "ldaps://"+s.secure, client.Options{TLS: s.anyTLS()})
}

// best connects in the best way that there is: TLS where it can be had.
func (s *scanner) best(ctx context.Context) (c *client.Conn, err error) {
	switch {
	case s.secure != "":
		return s.ldaps(ctx)
	case s.startTLS:
		return s.open(ctx, "ldap://"+s.plain, client.Options{TLS: s.anyTLS(), StartTLS: true})
	}
	return s.clear(ctx)
}

// answer is what came of a request: a result, or no answer.
type answer struct {
	*ldap.Result
	took time.Duration
}

// ask sends a request and waits for its result. The error says why there is none; results that are no success are none.
func (s *scanner) ask(ctx context.Context, c *client.Conn, op ldap.Op, each func(*ldap.Message) error) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	begun := s.o.Now()
	r, err := c.Do(ctx, op, nil, each)
	took := s.o.Now().Sub(begun)
	if r == nil {
		if err == nil {
			err = errors.New("there was no answer")
		}
		return answer{}, err
	}
	return answer{Result: &r.Result, took: took}, nil
}

// once asks one thing over a connection of its own.
func (s *scanner) once(ctx context.Context, dial func(context.Context) (*client.Conn, error), op ldap.Op, each func(*ldap.Message) error) (answer, error) {
	c, err := dial(ctx)
	if err != nil {
		return answer{}, err
	}
	defer c.Close()
	return s.ask(ctx, c, op, each)
}

// random returns n random octets in hexadecimal digits.
func (s *scanner) random(n int) string {
	b := make([]byte, n)
	if _, err := io.ReadFull(s.o.Rand, b); err != nil {
		panic("scan: there are no random numbers: " + err.Error()) // nothing could go on
	}
	return hex.EncodeToString(b)
}

// nobody returns a DN that nobody has.
func (s *scanner) nobody() string {
	return "cn=portolan-scan-" + s.random(8) + "," + s.context()
}

// context is a naming context, or what looks like one where none is known.
func (s *scanner) context() string {
	if len(s.contexts) > 0 {
		return s.contexts[0]
	}
	return "dc=invalid"
}

func bind(dn, password string) *ldap.BindRequest {
	return &ldap.BindRequest{Version: 3, Name: []byte(dn), Password: []byte(password)}
}
