package scan

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"

	"portolan/internal/client"
	"portolan/ldap"
)

// offered asks for StartTLS and says which listeners there are.
func (s *scanner) offered(ctx context.Context) {
	var refusal error
	if s.plain != "" {
		refusal = s.tryStartTLS(ctx)
		s.startTLS = refusal == nil
	}
	const means = "what clients send over ldap:// can be read and changed on the way, passwords among it"
	const do = "give the server a certificate and let it offer StartTLS and ldaps"
	switch f := (Finding{ID: "starttls", Severity: OK, Seen: "StartTLS is offered on " + s.plain}); {
	case s.plain == "":
		f.Severity, f.Seen = Info, "no ldap listener answers, or none was asked: there is nothing to upgrade"
		s.add(f)
	case refusal != nil:
		f.Severity, f.Seen, f.Means, f.Do = Fail, s.plain+": "+why(refusal), means, do
		s.add(f)
	default:
		s.add(f)
	}
	switch {
	case s.secure != "":
		s.add(Finding{ID: "ldaps", Severity: OK, Seen: "ldaps is offered on " + s.secure})
	case s.report.askedLDAPS == "":
		s.add(Finding{ID: "ldaps", Severity: Info, Seen: "ldaps was not asked for: name its port with --ldaps-port"})
	case s.startTLS:
		s.add(Finding{ID: "ldaps", Severity: Info, Seen: s.report.askedLDAPS + " does not answer; StartTLS is there",
			Means: "clients that know ldaps alone cannot use TLS, and a client that forgets to ask for StartTLS is not held up by the transport"})
	default:
		s.add(Finding{ID: "ldaps", Severity: Fail, Seen: s.report.askedLDAPS + " does not answer, and there is no StartTLS", Means: means, Do: do})
	}
}

func (s *scanner) tryStartTLS(ctx context.Context) error {
	nc, err := s.dial(ctx, "tcp", s.plain)
	if err != nil {
		return err
	}
	defer nc.Close()
	if err := s.bound(ctx, nc); err != nil {
		return err
	}
	_, err = askStartTLS(nc, nil)
	return err
}

// injection sends a request behind a StartTLS request, in clear text. A server that answers it later, under TLS, takes what
// somebody on the way has slipped in for the client's own.
func (s *scanner) injection(ctx context.Context) {
	if !s.startTLS {
		return
	}
	const slipped, own = 2, 3
	const messageTag = 0x30 // every LDAPMessage begins with it, and no record of TLS
	const inClear = "the server answers in clear text what was sent behind StartTLS, and goes on to TLS"
	f := Finding{ID: "starttls-injection", Severity: OK, Seen: "a request slipped in behind StartTLS is not answered",
		Means: "somebody on the way can put requests into a connection that the client takes for protected", Do: "update the server: what came before TLS must not be taken for what comes under it (RFC 4511 section 4.14.1)"}
	defer func() { s.add(f) }()
	nc, err := s.dial(ctx, "tcp", s.plain)
	if err != nil {
		f.Severity, f.Seen = Info, "cannot be told: "+why(err)
		return
	}
	defer nc.Close()
	if err := s.bound(ctx, nc); err != nil {
		f.Severity, f.Seen = Info, "cannot be told: "+why(err)
		return
	}
	rest, err := askStartTLS(nc, ldap.AppendMessage(nil, slipped, rootRequest(), nil))
	var no refused
	switch {
	case errors.As(err, &no):
		f.Seen = "the server refuses a StartTLS that something follows: " + answer{Result: no.result}.text()
		return
	case err != nil:
		f.Seen = "the server refuses a StartTLS that something follows: " + why(err)
		return
	case len(rest) > 0 && rest[0] == messageTag:
		f.Severity, f.Seen = Warn, inClear
		return
	}
	tc := tls.Client(nc, s.anyTLS())
	if err := tc.HandshakeContext(ctx); err != nil {
		f.Seen = "the server ends the connection when something follows StartTLS"
		var odd tls.RecordHeaderError
		if errors.As(err, &odd) && odd.RecordHeader[0] == messageTag {
			f.Severity, f.Seen = Warn, inClear
		}
		return
	}
	if _, err := tc.Write(ldap.AppendMessage(nil, own, rootRequest(), nil)); err != nil {
		f.Seen = "the server ends the connection when something follows StartTLS"
		return
	}
	r := bufio.NewReader(tc)
	for range 64 {
		frame, err := client.ReadMessage(r, maxMessage)
		if err != nil {
			f.Seen = "the server ends the connection when something follows StartTLS"
			return
		}
		m, err := ldap.Decode(frame)
		if err != nil {
			f.Severity, f.Seen = Info, "cannot be told: "+why(err)
			return
		}
		if m.ID == slipped {
			f.Severity, f.Seen = Fail, "a request slipped in behind StartTLS is answered under TLS"
			return
		}
		if _, done := m.Op.(*ldap.SearchResultDone); done && m.ID == own {
			return
		}
	}
}

// How a handshake is begun.
const (
	overLDAPS    = "ldaps"
	overStartTLS = "StartTLS"
)

// handshakes asks for versions, cipher suites and the certificate, over each way there is to TLS: what stands in front of
// ldaps is not always what answers StartTLS. What the second way has in common with the first is said once.
func (s *scanner) handshakes(ctx context.Context) {
	var first []Finding
	for _, over := range []string{overLDAPS, overStartTLS} {
		if over == overLDAPS && s.secure == "" || over == overStartTLS && !s.startTLS {
			continue
		}
		before, trusted := len(s.report.Findings), s.trusted
		s.over = over
		s.versions(ctx)
		s.suites(ctx)
		s.keyExchange(ctx)
		s.certificate(ctx)
		found := slices.Clone(s.report.Findings[before:])
		if first == nil {
			first = found
			continue
		}
		s.trusted = trusted
		s.report.Findings = s.report.Findings[:before]
		same := true
		for i := range found {
			if slices.ContainsFunc(first, func(f Finding) bool {
				return f.ID == found[i].ID && f.Seen == found[i].Seen && slices.Equal(f.Details, found[i].Details)
			}) {
				continue
			}
			same = false
			found[i].Over = over
			s.add(found[i])
		}
		if same {
			s.add(Finding{ID: "tls-starttls", Severity: OK, Seen: "over StartTLS all of this is the same"})
		}
	}
}

var usualGroups = []uint16{groupX25519, groupP256, groupP384, groupP521, groupFFDHE2048, groupFFDHE3072}

// speaks reports whether a version is spoken. err is trouble that says neither yes nor no.
func (s *scanner) speaks(ctx context.Context, version uint16) (yes bool, err error) {
	h := clientHello{version: version, groups: usualGroups}
	for _, suite := range suitesOf(version) {
		h.suites = append(h.suites, suite.id)
	}
	got, err := s.hello(ctx, h)
	switch {
	case err == nil:
		return got.version == version, nil
	case saysNo(err):
		return false, nil
	}
	return false, err
}

// saysNo reports whether an error is how a server refuses a handshake: an alert, or the end of the connection.
func saysNo(err error) bool {
	var a alert
	var operation *net.OpError
	return errors.As(err, &a) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, errNoTLS) ||
		errors.As(err, &operation) && !operation.Timeout()
}

func (s *scanner) versions(ctx context.Context) {
	var spoken, old, unknown []string
	s.report.versions = nil
	for _, v := range []uint16{versionTLS13, versionTLS12, versionTLS11, versionTLS10, versionSSL3} {
		switch yes, err := s.speaks(ctx, v); {
		case err != nil:
			unknown = append(unknown, versionName(v)+": "+why(err))
		case yes:
			s.report.versions = append(s.report.versions, v)
			spoken = append(spoken, versionName(v))
			if v < versionTLS12 {
				old = append(old, versionName(v))
			}
		}
	}
	f := Finding{ID: "tls-versions", Severity: OK, Seen: "the server speaks " + strings.Join(spoken, ", "), Details: unknown}
	switch {
	case len(spoken) == 0:
		f.Severity, f.Seen = Warn, "no version of TLS can be agreed upon"
		f.Means, f.Do = "clients cannot use TLS here", "look into the server's log: is its certificate readable, are its cipher suites sensible?"
	case len(old) > 0:
		f.Severity, f.Means, f.Do = Fail, strings.Join(old, " and ")+" can be attacked, and whoever is on the way can talk both sides down to it where clients speak it (RFC 8996)", "demand TLS 1.2 at least"
	case spoken[0] != versionName(versionTLS13):
		f.Severity, f.Means, f.Do = Warn, "without TLS 1.3 the certificate is shown to everybody on the way, and old cipher suites stay possible", "update the server or its TLS library"
	}
	s.add(f)
}

// maxSuites bounds how many suites of one version are found out.
const maxSuites = 48

func (s *scanner) suites(ctx context.Context) {
	var lines []string
	var broken, static []string
	for _, version := range s.report.versions {
		left := suitesOf(version)
		var names []string
		for range maxSuites {
			h := clientHello{version: version, groups: usualGroups}
			for _, suite := range left {
				h.suites = append(h.suites, suite.id)
			}
			got, err := s.hello(ctx, h)
			at := slices.IndexFunc(left, func(suite suite) bool { return suite.id == got.suite })
			if err != nil || got.version != version || at < 0 {
				break // it has nothing else, or answers what was not offered
			}
			chosen := left[at]
			names = append(names, chosen.name)
			switch {
			case chosen.broken() && !slices.Contains(broken, chosen.name):
				broken = append(broken, chosen.name)
			case !chosen.forward() && !slices.Contains(static, chosen.name):
				static = append(static, chosen.name)
			}
			if left = slices.Delete(left, at, at+1); len(left) == 0 {
				break
			}
		}
		lines = append(lines, versionName(version)+": "+strings.Join(names, " "))
	}
	if len(lines) == 0 {
		return
	}
	f := Finding{ID: "tls-ciphers", Severity: OK, Seen: "every cipher suite is sound and keeps recorded traffic secret", Details: lines}
	switch {
	case len(broken) > 0:
		f.Severity, f.Seen = Fail, "broken cipher suites are accepted: "+few(broken, 4)
		f.Means, f.Do = "a client that offers one of them is not protected by TLS", "allow suites with AES-GCM or ChaCha20 and ECDHE alone"
	case len(static) > 0:
		f.Severity, f.Seen = Warn, "cipher suites without forward secrecy are accepted: "+few(static, 4)
		f.Means, f.Do = "who records traffic today and gets the server's key one day reads all of it", "allow suites with ECDHE or DHE alone"
	}
	s.add(f)
}

// keyExchange asks for the hybrid that a quantum computer does not break.
func (s *scanner) keyExchange(ctx context.Context) {
	if !slices.Contains(s.report.versions, versionTLS13) {
		return
	}
	h := clientHello{version: versionTLS13, groups: []uint16{groupX25519MLKEM768}}
	for _, suite := range suitesOf(versionTLS13) {
		h.suites = append(h.suites, suite.id)
	}
	f := Finding{ID: "tls-key-exchange", Severity: OK, Seen: "the post-quantum hybrid X25519MLKEM768 is spoken"}
	switch got, err := s.hello(ctx, h); {
	case err == nil && got.group == groupX25519MLKEM768:
	case err == nil || saysNo(err):
		f.Severity, f.Seen = Info, "no post-quantum hybrid is spoken (X25519MLKEM768)"
		f.Means = "who records traffic today may read it when there is a quantum computer"
	default:
		f.Severity, f.Seen = Info, fmt.Sprintf("whether a post-quantum hybrid is spoken cannot be told: %s", why(err))
	}
	s.add(f)
}
