package scan_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode"

	"portolan/internal/ldaptest"
	"portolan/internal/scan"
	"portolan/ldap"
)

const (
	suffix = "dc=example,dc=org"
	alice  = "uid=alice,ou=people," + suffix
	people = `dn: dc=example,dc=org
objectClass: organization
objectClass: dcObject
dc: example
o: Example

dn: ou=people,dc=example,dc=org
objectClass: organizationalUnit
ou: people

dn: uid=alice,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
uid: alice
cn: Alice
sn: Alice
userPassword: alice-secret

dn: uid=bob,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
uid: bob
cn: Bob
sn: Bob
userPassword: bob-secret
`
)

func run(t *testing.T, o scan.Options) *scan.Report {
	t.Helper()
	r, err := scan.Run(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	worded(t, r)
	return r
}

// worded demands that every finding has its words.
func worded(t *testing.T, r *scan.Report) {
	t.Helper()
	for _, f := range r.Findings {
		if bad := f.Severity == scan.Warn || f.Severity == scan.Fail; f.Seen == "" || f.Group == "" || bad && (f.Means == "" || f.Do == "") {
			t.Errorf("a finding without words: %+v", f)
		}
	}
}

// text is what the report says, for messages.
func text(t *testing.T, r *scan.Report) string {
	t.Helper()
	var b bytes.Buffer
	if err := r.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func port(t *testing.T, address string) int {
	t.Helper()
	_, p, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(p)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestPortolan holds that a server of this module, as it is out of the box and seen from another host, gives nothing up.
func TestPortolan(t *testing.T) {
	ca := newAuthority(t)
	s := ldaptest.Start(t, ldaptest.Options{LDIF: people, TLS: ca.sign(t, nil, nil), Afar: true})
	var r *scan.Report
	// How long passwords take is measured on this machine's clock. Where nothing is given up the scan says otherwise once in 20,000
	// times (both rounds at p < 0.01, in one direction); three times in a row, with fresh measurements, less than once in 10^12. Where
	// no hash is computed for nobody it says so each time.
	for range 3 {
		r = run(t, scan.Options{
			URL: "ldap://" + s.Addr, LDAPSPort: port(t, s.Secure), Roots: ca.pool, User: alice, BindDN: alice, BindPassword: []byte("alice-secret"), Samples: 12, Dial: afar,
			Limit: time.Hour, Timeout: time.Minute,
		})
		f := r.Find("enumeration-time")
		if f == nil || f.Severity == scan.OK {
			break
		}
		t.Logf("%+v", f)
	}
	if r.Bad() {
		t.Errorf("findings:\n%s", text(t, r))
	}
	for _, id := range []string{
		"starttls", "ldaps", "starttls-injection", "tls-starttls", "tls-versions", "tls-ciphers", "tls-key-exchange", "certificate-chain", "certificate-name",
		"certificate-validity", "certificate-key", "certificate-signature", "clear-text-bind", "unauthenticated-bind", "anonymous-schema",
		"anonymous-internals", "anonymous-tree", "anonymous-secrets", "enumeration-search", "enumeration-answer", "enumeration-time", "user-secrets", "udp-amplification",
	} {
		if f := r.Find(id); f == nil || f.Severity != scan.OK {
			t.Errorf("%s: %+v", id, f)
		}
	}
}

// TestPortolanGuessing holds that a server of this module does something about guesses, and that a login is still taken then.
func TestPortolanGuessing(t *testing.T) {
	ca := newAuthority(t)
	s := ldaptest.Start(t, ldaptest.Options{LDIF: people, TLS: ca.sign(t, nil, nil), Config: "[guard]\nenabled = true\n"})
	r := run(t, scan.Options{
		URL: "ldap://" + s.Addr, LDAPSPort: port(t, s.Secure), Roots: ca.pool, BindDN: alice, BindPassword: []byte("alice-secret"), Active: true,
		Limit: time.Hour, Timeout: time.Minute,
	})
	if f := r.Find("guessing"); f == nil || f.Severity != scan.OK || !strings.Contains(f.Seen, "busy") {
		t.Errorf("%+v", f)
	}
	if f := r.Find("user-secrets"); f == nil || f.Severity != scan.OK {
		t.Errorf("%+v", f)
	}
}

// TestSecretsOfUsers opens the test server's rules and demands that a login finds it.
func TestSecretsOfUsers(t *testing.T) {
	ca := newAuthority(t)
	s := ldaptest.Start(t, ldaptest.Options{LDIF: people, TLS: ca.sign(t, nil, nil), Config: "[[access]]\nallow = [\"read\", \"search\"]\nwho = \"users\"\nattrs = \"userPassword\"\n"})
	o := scan.Options{URL: "ldap://" + s.Addr, Roots: ca.pool, BindDN: alice, BindPassword: []byte("alice-secret"), Timeout: time.Minute}
	r := run(t, o)
	if f := r.Find("user-secrets"); f == nil || f.Severity != scan.Fail || !strings.Contains(f.Seen, "userPassword of uid=bob") {
		t.Errorf("%+v", f)
	}
	if f := r.Find("anonymous-secrets"); f == nil || f.Severity != scan.OK {
		t.Errorf("%+v", f)
	}
	if strings.Contains(text(t, r), "ARGON2") {
		t.Error("the report shows a secret")
	}
	// Whom the scan does not trust it gives no password.
	o.Roots = nil
	if f := run(t, o).Find("user-secrets"); f == nil || f.Severity != scan.Info || !strings.Contains(f.Seen, "not asked") {
		t.Errorf("%+v", f)
	}
	o.Roots, o.BindPassword = ca.pool, []byte("wrong")
	if f := run(t, o).Find("user-secrets"); f == nil || f.Severity != scan.Info || !strings.Contains(f.Seen, "invalidCredentials") {
		t.Errorf("%+v", f)
	}
}

// TestBadServers lets servers misbehave, one thing at a time.
func TestBadServers(t *testing.T) {
	ca := newAuthority(t)
	// but answers politely, unless other has an answer.
	but := func(other func(m *ldap.Message) []ldap.Op) func(*ldap.Message) []ldap.Op {
		return func(m *ldap.Message) []ldap.Op {
			if a := other(m); a != nil {
				return a
			}
			return polite(m)
		}
	}
	search := func(f func(q *ldap.SearchRequest) []ldap.Op) func(*ldap.Message) []ldap.Op {
		return but(func(m *ldap.Message) []ldap.Op {
			if q, ok := m.Op.(*ldap.SearchRequest); ok {
				return f(q)
			}
			return nil
		})
	}
	onBind := func(f func(q *ldap.BindRequest) []ldap.Op) func(*ldap.Message) []ldap.Op {
		return but(func(m *ldap.Message) []ldap.Op {
			if q, ok := m.Op.(*ldap.BindRequest); ok {
				return f(q)
			}
			return nil
		})
	}
	rootDSE := func(pairs ...string) func(*ldap.Message) []ldap.Op {
		return search(func(q *ldap.SearchRequest) []ldap.Op {
			if len(q.Base) == 0 && q.Scope == ldap.ScopeBase {
				return []ldap.Op{entryOf("", pairs...), &ldap.SearchResultDone{}}
			}
			return nil
		})
	}
	weakKey, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	shortKey, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	with := func(key crypto.Signer, change func(*tls.Config)) *tls.Config {
		c := ca.sign(t, key, nil)
		if change != nil {
			change(c)
		}
		return c
	}
	good := ca.sign(t, nil, nil)
	changed := func(change func(c *x509.Certificate)) *tls.Config { return ca.sign(t, nil, change) }

	for _, x := range []struct {
		name string
		fake fake
		// options changes how the scan is done.
		options func(o *scan.Options)
		want    string // "ID SEVERITY words of Seen", one line each
	}{
		{name: "a polite server", fake: fake{answer: polite, tls: good},
			want: "starttls ok offered\nclear-text-bind fail checked: invalidCredentials\nanonymous-bind info\nanonymous-tree ok\nenumeration-answer ok\nguessing info not asked\nuser-secrets absent"},
		{name: "no TLS", fake: fake{answer: polite},
			want: "starttls fail refused: protocolError\ntls-versions absent\ncertificate-chain absent\nstarttls-injection absent\nanonymous-tree ok"},

		{name: "serves what was slipped in", fake: fake{answer: polite, tls: good, behind: serveUnderTLS}, want: "starttls-injection fail answered under TLS"},
		{name: "answers in clear what was slipped in", fake: fake{answer: polite, tls: good, behind: serveInClear}, want: "starttls-injection warn in clear text"},
		{name: "drops what was slipped in", fake: fake{answer: polite, tls: good, behind: dropOctets}, want: "starttls-injection ok not answered"},
		{name: "ends when something was slipped in", fake: fake{answer: polite, tls: good}, want: "starttls-injection ok refuses"},

		{name: "old TLS", fake: fake{answer: polite, tls: with(rsaKey, func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS12 })},
			want: "tls-versions fail TLS 1.2, TLS 1.1, TLS 1.0\ntls-key-exchange absent"},
		{name: "TLS 1.2 alone", fake: fake{answer: polite, tls: with(nil, func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 })}, want: "tls-versions warn speaks TLS 1.2\ntls-ciphers ok"},
		{name: "TLS 1.3 alone", fake: fake{answer: polite, tls: with(nil, func(c *tls.Config) { c.MinVersion = tls.VersionTLS13 })}, want: "tls-versions ok speaks TLS 1.3\ntls-ciphers ok\ntls-key-exchange ok X25519MLKEM768"},
		{name: "no hybrid", fake: fake{answer: polite, tls: with(nil, func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.X25519} })}, want: "tls-key-exchange info no post-quantum\ntls-versions ok"},
		{name: "RC4", fake: fake{answer: polite, tls: with(rsaKey, func(c *tls.Config) {
			c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_ECDHE_RSA_WITH_RC4_128_SHA, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
		})}, want: "tls-ciphers fail TLS_ECDHE_RSA_WITH_RC4_128_SHA"},
		{name: "no forward secrecy", fake: fake{answer: polite, tls: with(rsaKey, func(c *tls.Config) {
			c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
		})}, want: "tls-ciphers warn without forward secrecy are accepted: TLS_RSA_WITH_AES_128_GCM_SHA256"},

		{name: "an unknown authority", fake: fake{answer: polite, tls: newAuthority(t).sign(t, nil, nil)}, want: "certificate-chain fail not trusted\ncertificate-name ok"},
		{name: "another name", fake: fake{answer: polite, tls: good}, options: func(o *scan.Options) { o.Name = "ldap.example.org" }, want: "certificate-name fail it is for localhost, 127.0.0.1\ncertificate-chain ok"},
		{name: "no name", fake: fake{answer: polite, tls: changed(func(c *x509.Certificate) { c.DNSNames, c.IPAddresses = nil, nil })}, want: "certificate-name fail no subjectAltName"},
		{name: "expired", fake: fake{answer: polite, tls: changed(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })}, want: "certificate-validity fail expired\ncertificate-chain ok"},
		{name: "not yet", fake: fake{answer: polite, tls: changed(func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) })}, want: "certificate-validity fail valid only from"},
		{name: "soon", fake: fake{answer: polite, tls: changed(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(13 * 24 * time.Hour) })}, want: "certificate-validity warn expires on"},
		{name: "for clients", fake: fake{answer: polite, tls: changed(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })}, want: "certificate-chain fail not trusted"},
		{name: "short key", fake: fake{answer: polite, tls: with(weakKey, nil)}, want: "certificate-key fail RSA, 1024 bits is too short"},
		{name: "short curve", fake: fake{answer: polite, tls: with(shortKey, nil)}, want: "certificate info cannot be judged"},

		{name: "demands TLS", fake: fake{answer: onBind(func(*ldap.BindRequest) []ldap.Op { return []ldap.Op{bindAnswer(ldap.ConfidentialityRequired)} })},
			want: "clear-text-bind ok refused unseen: confidentialityRequired\nunauthenticated-bind ok refused: confidentialityRequired\nanonymous-bind ok refused"},
		{name: "lets everybody in", fake: fake{answer: onBind(func(*ldap.BindRequest) []ldap.Op { return []ldap.Op{bindAnswer(ldap.Success)} })},
			want: "clear-text-bind fail is accepted\nunauthenticated-bind fail empty password is answered success"},
		{name: "says who is unknown", fake: fake{answer: onBind(func(q *ldap.BindRequest) []ldap.Op {
			if strings.Contains(string(q.Name), "portolan-scan") && len(q.Password) > 0 {
				return []ldap.Op{bindAnswer(ldap.NoSuchObject)}
			}
			return nil
		})}, want: "enumeration-answer fail invalidCredentials for one that exists, noSuchObject for one that does not\nclear-text-bind fail noSuchObject"},
		{name: "says it in words", fake: fake{answer: onBind(func(q *ldap.BindRequest) []ldap.Op {
			if string(q.Name) == suffix {
				return []ldap.Op{&ldap.BindResponse{Result: ldap.Result{Code: ldap.InvalidCredentials, Diagnostic: "wrong \x1b[2Jpassword"}}}
			}
			return nil
		})}, want: `enumeration-answer fail "wrong ?[2Jpassword" for one that exists, "" for one`},
		{name: "answers binds with nothing", fake: fake{answer: func(m *ldap.Message) []ldap.Op {
			if _, ok := m.Op.(*ldap.BindRequest); ok {
				return nil
			}
			return polite(m)
		}}, want: "clear-text-bind info does not answer\nunauthenticated-bind info not answered\nenumeration-answer info cannot be told"},

		{name: "weak mechanisms", fake: fake{answer: rootDSE("supportedSASLMechanisms", "DIGEST-MD5")}, want: "mechanisms warn weak mechanisms are offered: DIGEST-MD5"},
		{name: "PLAIN without TLS", fake: fake{answer: rootDSE("supportedSASLMechanisms", "plain")}, want: "mechanisms warn offered without TLS: plain"},
		{name: "good mechanisms", fake: fake{answer: rootDSE("supportedSASLMechanisms", "SCRAM-SHA-256")}, want: "mechanisms ok SCRAM-SHA-256"},
		{name: "names itself", fake: fake{answer: rootDSE("vendorName", "Some\nServer", "vendorVersion", "1.2.3")}, want: "identity info Some?Server, 1.2.3\nanonymous-tree info names no naming context"},

		{name: "shows its people", fake: fake{answer: search(func(q *ldap.SearchRequest) []ldap.Op {
			if q.Scope == ldap.ScopeSub && q.SizeLimit > 0 && len(q.Attributes) == 0 {
				return []ldap.Op{entryOf(alice, "uid", "alice", "mail", "a@example.org"), &ldap.SearchResultDone{}}
			}
			if q.Scope == ldap.ScopeSub && q.SizeLimit == 0 {
				return []ldap.Op{entryOf(alice), &ldap.SearchResultDone{Result: ldap.Result{Code: ldap.SizeLimitExceeded}}}
			}
			return nil
		})}, want: "anonymous-tree fail strangers read entries (1 were taken), with uid, mail\nanonymous-size-limit ok ends after 1 entries: sizeLimitExceeded\nanonymous-secrets ok"},
		{name: "gives all away", fake: fake{answer: search(func(q *ldap.SearchRequest) []ldap.Op {
			if q.Scope != ldap.ScopeSub {
				return nil
			}
			all := make([]ldap.Op, 2500)
			for i := range all {
				all[i] = entryOf(fmt.Sprintf("uid=%d,%s", i, suffix), "userPassword;x-a", "{SSHA}secret", "sambaNTPassword", "secret", "cn", "x")
			}
			return append(all, &ldap.SearchResultDone{})
		})}, want: "anonymous-size-limit warn 2000 entries with one search, and more\nanonymous-secrets fail strangers read sambaNTPassword, userPassword\nanonymous-tree fail (20 were taken)"},
		{name: "finds by secrets", fake: fake{answer: search(func(q *ldap.SearchRequest) []ldap.Op {
			if q.Scope == ldap.ScopeSub && len(q.Attributes) > 5 {
				return []ldap.Op{entryOf(alice), &ldap.SearchResultDone{}}
			}
			return nil
		})}, want: "anonymous-secrets warn find entries by their secrets (1)\nanonymous-size-limit absent"},
		{name: "shows its schema and itself", fake: fake{answer: search(func(q *ldap.SearchRequest) []ldap.Op {
			switch {
			case strings.EqualFold(string(q.Base), "cn=subschema"):
				return []ldap.Op{entryOf("cn=Subschema", "objectClasses", "( 1.2 )"), &ldap.SearchResultDone{}}
			case string(q.Base) == "cn=monitor":
				return []ldap.Op{entryOf("cn=Monitor", "cn", "Monitor"), &ldap.SearchResultDone{}}
			}
			return nil
		})}, want: "anonymous-schema info read the schema\nanonymous-internals warn strangers read cn=monitor"},
		{name: "says what is above", fake: fake{answer: search(func(q *ldap.SearchRequest) []ldap.Op {
			if strings.Contains(string(q.Base), "portolan-scan") {
				return []ldap.Op{&ldap.SearchResultDone{Result: ldap.Result{Code: ldap.NoSuchObject, MatchedDN: suffix}}}
			}
			return nil
		})}, want: "enumeration-search warn which entry above it does: \"dc=example,dc=org\""},
		{name: "gives the entry that is there", fake: fake{answer: search(func(q *ldap.SearchRequest) []ldap.Op {
			if string(q.Base) == alice {
				return []ldap.Op{entryOf(alice), &ldap.SearchResultDone{}}
			}
			return nil
		})}, options: func(o *scan.Options) { o.User = alice }, want: "enumeration-search warn given the entry"},
	} {
		t.Run(x.name, func(t *testing.T) {
			o := scan.Options{URL: "ldap://" + x.fake.listen(t, false), Roots: ca.pool, Dial: afar, Timeout: time.Minute, Limit: time.Hour, Samples: 10}
			if x.options != nil {
				x.options(&o)
			}
			expect(t, run(t, o), x.want)
		})
	}
}

// expect compares a report with lines of the form "ID SEVERITY words of Seen"; the severity absent wants no finding.
func expect(t *testing.T, r *scan.Report, want string) {
	t.Helper()
	bad := false
	for line := range strings.Lines(want) {
		id, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		severity, words, _ := strings.Cut(rest, " ")
		f := r.Find(id)
		switch {
		case severity == "absent":
			bad = bad || f != nil
		case f == nil || string(f.Severity) != severity || !strings.Contains(f.Seen, words):
			bad = true
			t.Errorf("%s: got %+v, want %s %q", id, f, severity, words)
		}
	}
	if bad {
		t.Errorf("the report:\n%s", text(t, r))
	}
	if strings.Contains(text(t, r), "secret") && strings.Contains(text(t, r), "{SSHA}") {
		t.Error("the report shows a secret")
	}
}

// TestTime tells a server that takes its time for accounts that exist from one that takes it for all. The clock is the
// test's, so that the machine's load does not decide.
func TestTime(t *testing.T) {
	for _, x := range []struct {
		name          string
		there, absent time.Duration
		want          string
	}{
		{"for those that exist", 20 * time.Millisecond, time.Millisecond, "enumeration-time fail take 2"},
		{"for those that do not", time.Millisecond, 20 * time.Millisecond, "enumeration-time fail where there is none"},
		{"for all", 20 * time.Millisecond, 20 * time.Millisecond, "enumeration-time ok"},
	} {
		t.Run(x.name, func(t *testing.T) {
			var clock, noise atomic.Int64
			f := fake{answer: func(m *ldap.Message) []ldap.Op {
				if q, ok := m.Op.(*ldap.BindRequest); ok {
					d := x.absent
					if string(q.Name) == alice {
						d = x.there
					}
					n := noise.Add(1)
					clock.Add(int64(d) + n*7919%1000*1000) // up to a millisecond, in no order
				}
				return polite(m)
			}}
			r := run(t, scan.Options{
				URL: "ldap://" + f.listen(t, false), User: alice, Dial: afar, Timeout: time.Minute, Limit: time.Hour, Samples: 20,
				Now: func() time.Time { return time.Unix(0, clock.Load()) },
			})
			expect(t, r, x.want)
		})
	}
}

// TestGuessing has servers that do something about guesses, and one that does not.
func TestGuessing(t *testing.T) {
	for _, x := range []struct {
		name string
		// guess returns the answer to the nth guess and how long it takes by the test's clock.
		guess func(n int) ([]ldap.Op, time.Duration)
		want  string
	}{
		{"nothing", func(int) ([]ldap.Op, time.Duration) {
			return []ldap.Op{bindAnswer(ldap.InvalidCredentials)}, time.Millisecond
		}, "guessing warn 60 wrong passwords in"},
		{"slower", func(n int) ([]ldap.Op, time.Duration) {
			return []ldap.Op{bindAnswer(ldap.InvalidCredentials)}, time.Duration(n) * 10 * time.Millisecond
		}, "guessing ok slowed down"},
		{"busy", func(n int) ([]ldap.Op, time.Duration) {
			if n > 20 {
				return []ldap.Op{bindAnswer(ldap.Busy)}, 0
			}
			return []ldap.Op{bindAnswer(ldap.InvalidCredentials)}, 0
		}, "guessing ok wrong passwords the answer is busy"},
		{"hung up", func(n int) ([]ldap.Op, time.Duration) {
			if n > 10 {
				return nil, 0
			}
			return []ldap.Op{bindAnswer(ldap.InvalidCredentials)}, 0
		}, "guessing ok there is no answer any more"},
		{"hung up once", func(n int) ([]ldap.Op, time.Duration) {
			if n == 10 {
				return nil, 0
			}
			return []ldap.Op{bindAnswer(ldap.InvalidCredentials)}, time.Millisecond
		}, "guessing warn 60 wrong passwords in"},
	} {
		t.Run(x.name, func(t *testing.T) {
			var clock, n atomic.Int64
			f := fake{answer: func(m *ldap.Message) []ldap.Op {
				if q, ok := m.Op.(*ldap.BindRequest); ok && string(q.Name) == alice {
					answers, took := x.guess(int(n.Add(1)))
					clock.Add(int64(took))
					return answers
				}
				return polite(m)
			}}
			o := scan.Options{
				URL: "ldap://" + f.listen(t, false), User: alice, Active: true, Dial: afar, Timeout: time.Minute, Limit: time.Hour, Samples: 1,
				Now: func() time.Time { return time.Unix(0, clock.Load()) },
			}
			expect(t, run(t, o), x.want)
		})
	}
}

// TestDatagrams weighs answers over UDP.
func TestDatagrams(t *testing.T) {
	for _, x := range []struct {
		factor float64
		want   string
	}{{0, "udp-amplification ok nothing"}, {1, "udp-amplification ok no more"}, {2, "udp-amplification warn 2.0 times"}, {50, "udp-amplification fail 50.0 times"}} {
		f := fake{answer: polite}
		address := f.listen(t, false)
		dial := func(ctx context.Context, network, address string) (net.Conn, error) {
			nc, err := new(net.Dialer).DialContext(ctx, network, address)
			if err == nil && network == "udp" {
				nc = &echo{Conn: nc, factor: x.factor}
			}
			return nc, err
		}
		expect(t, run(t, scan.Options{URL: "ldap://" + address, Dial: dial, Timeout: time.Minute, Limit: time.Hour}), x.want)
	}
}

// echo is a socket for datagrams behind which a server answers with so many times what it is asked, in datagrams of a thousand
// octets, and then with nothing for as long as anybody waits. Neither is a matter of time.
type echo struct {
	net.Conn
	factor float64
	left   int
}

func (e *echo) Write(b []byte) (int, error) {
	e.left = int(float64(len(b)) * e.factor)
	return len(b), nil
}

func (e *echo) Read(b []byte) (int, error) {
	if e.left == 0 {
		return 0, os.ErrDeadlineExceeded
	}
	n := min(e.left, 1000)
	e.left -= n
	clear(b[:n])
	return n, nil
}

// TestLoopback does not call a server names that takes passwords in clear text from its own host alone.
func TestLoopback(t *testing.T) {
	f := fake{answer: polite}
	expect(t, run(t, scan.Options{URL: "ldap://" + f.listen(t, false), Timeout: time.Minute, Limit: time.Hour}), "clear-text-bind info between two ends on this host")
}

// TestLDAPS scans a server that has no other listener.
func TestLDAPS(t *testing.T) {
	ca := newAuthority(t)
	f := fake{answer: polite, tls: ca.sign(t, nil, nil)}
	r := run(t, scan.Options{URL: "ldaps://" + f.listen(t, true), Roots: ca.pool, Dial: afar, Timeout: time.Minute, Limit: time.Hour})
	expect(t, r, "ldaps ok\nstarttls info\nclear-text-bind ok no listener for clear text\ntls-versions ok the server speaks\ncertificate-chain ok\nanonymous-tree ok\nudp-amplification absent")
	if r.Bad() {
		t.Errorf("findings:\n%s", text(t, r))
	}
}

// TestTwoWays scans a server whose ldaps is not what its StartTLS is.
func TestTwoWays(t *testing.T) {
	ca := newAuthority(t)
	config := ca.sign(t, nil, nil)
	good := fake{answer: polite, tls: config}
	other := config.Clone()
	other.MaxVersion = tls.VersionTLS12
	old := fake{answer: polite, tls: other}
	r := run(t, scan.Options{URL: "ldap://" + old.listen(t, false), LDAPSPort: port(t, good.listen(t, true)), Roots: ca.pool, Timeout: time.Minute, Limit: time.Hour})
	expect(t, r, "tls-versions ok TLS 1.3, TLS 1.2\ntls-starttls absent")
	var over []string
	for _, f := range r.Findings {
		if f.Over != "" {
			over = append(over, f.Over+" "+f.ID+" "+string(f.Severity))
		}
	}
	if got := strings.Join(over, ", "); got != "StartTLS tls-versions warn, StartTLS tls-ciphers ok" {
		t.Errorf("over one way alone: %s\n%s", got, text(t, r))
	}
	if !strings.Contains(text(t, r), "over StartTLS: the server speaks TLS 1.2\n") {
		t.Errorf("the report:\n%s", text(t, r))
	}
}

// TestCannotScan demands an error where there is no LDAP server, and soon.
func TestCannotScan(t *testing.T) {
	silence := func(nc net.Conn) { _, _ = io.Copy(io.Discard, nc) } // until the client leaves
	// A connection that is closed with the request unread is reset, and that may overtake what was sent.
	asked := func(nc net.Conn) { _, _ = nc.Read(make([]byte, 1024)) }
	for name, x := range map[string]struct {
		raw     func(nc net.Conn)
		timeout time.Duration
		want    string
	}{
		"another protocol": {func(nc net.Conn) { asked(nc); nc.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")) }, time.Minute, "does not speak LDAP"},
		"silence":          {silence, 200 * time.Millisecond, "deadline"},
		"hangs up":         {asked, time.Minute, "closed the connection"},
		"a huge message":   {func(nc net.Conn) { nc.Write([]byte{0x30, 0x84, 0x7f, 0xff, 0xff, 0xff}); silence(nc) }, time.Minute, "more than"},
	} {
		f := fake{raw: x.raw}
		_, err := scan.Run(context.Background(), scan.Options{URL: "ldap://" + f.listen(t, false), Timeout: x.timeout, Limit: time.Hour})
		if err == nil || !strings.Contains(err.Error(), "no LDAP server answers: ") || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: error %v", name, err)
		}
	}
	for _, url := range []string{"ldapi:///run/x", "http://x", "cldap://x", "x"} {
		if _, err := scan.Run(context.Background(), scan.Options{URL: url}); err == nil {
			t.Errorf("%s is scanned", url)
		}
	}
}

// TestHostileServer floods, stalls and shows control characters; the scan ends in time, with a report that can be shown.
func TestHostileServer(t *testing.T) {
	stop := make(chan struct{})
	var asked atomic.Bool
	f := fake{answer: func(m *ldap.Message) []ldap.Op {
		if q, ok := m.Op.(*ldap.SearchRequest); ok && len(q.Base) == 0 && asked.CompareAndSwap(false, true) {
			return []ldap.Op{
				entryOf("", "namingContexts", "dc=\x1b]0;owned\x07,dc=\u202egro", "vendorName", strings.Repeat("x", 500_000), "supportedSASLMechanisms", "\r\nok  everything"),
				&ldap.SearchResultDone{},
			}
		}
		<-stop
		return nil
	}}
	address := f.listen(t, false)
	t.Cleanup(func() { close(stop) })
	// Its first answer must come in time, and then hardly any time is to be lost with the others: how much is enough for the
	// first is the machine's affair.
	var r *scan.Report
	for timeout := 50 * time.Millisecond; ; timeout *= 4 {
		begun := time.Now()
		var err error
		r, err = scan.Run(context.Background(), scan.Options{URL: "ldap://" + address, Timeout: timeout, Limit: 40 * timeout, Active: true, User: alice})
		if err != nil && timeout < time.Minute && strings.Contains(err.Error(), "deadline") {
			asked.Store(false)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begun); took > time.Minute+1200*timeout {
			t.Errorf("it took %s, with a limit of %s", took, 40*timeout)
		}
		break
	}
	worded(t, r)
	shown := text(t, r)
	for _, c := range shown {
		if c != '\n' && !unicode.IsPrint(c) {
			t.Fatalf("the report holds %q:\n%s", c, shown)
		}
	}
	if len(shown) > 100_000 {
		t.Errorf("the report has %d octets", len(shown))
	}
	if strings.Contains(shown, "\nok  everything") {
		t.Error("the server writes lines of the report")
	}
}

// TestLimit says what was left out when the time is over.
func TestLimit(t *testing.T) {
	f := fake{answer: polite}
	ctx, cancel := context.WithCancel(context.Background())
	f.answer = func(m *ldap.Message) []ldap.Op {
		if _, ok := m.Op.(*ldap.BindRequest); ok {
			cancel()
		}
		return polite(m)
	}
	r, err := scan.Run(ctx, scan.Options{URL: "ldap://" + f.listen(t, false), Timeout: time.Minute, Limit: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Find("scan"); got == nil || got.Severity != scan.Warn || !r.Bad() {
		t.Errorf("%+v\n%s", got, text(t, r))
	}
}
