package remoteauth_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"portolan/ber"
	"portolan/internal/app"
	"portolan/internal/ldaptest"
	"portolan/internal/op"
	"portolan/ldap"
)

const top = "dn: dc=example,dc=org\nobjectClass: organization\nobjectClass: dcObject\ndc: example\no: Example\n\n"

func person(uid, more string) string {
	return "dn: uid=" + uid + ",dc=example,dc=org\nobjectClass: inetOrgPerson\nuid: " + uid + "\ncn: " + uid + "\nsn: X\n" + more + "\n"
}

// table is the configuration of a server, with TLS that trusts the authority.
func table(t *testing.T, a *ldaptest.Authority, address, more string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, a.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("[[overlay.remoteauth.server]]\nurl = \"ldaps://%s\"\nca_file = %q\n%s", address, file, more)
}

func bind(s *ldaptest.Server, uid, password string) error {
	return s.Engine.Serve(context.Background(), &op.Request{
		Conn: &op.Conn{Transport: op.Unix, Loopback: true}, ID: 1,
		Op: &ldap.BindRequest{Version: 3, Name: []byte("uid=" + uid + ",dc=example,dc=org"), Password: []byte(password)},
	}, nil)
}

func want(t *testing.T, what string, err error, code ldap.ResultCode) {
	t.Helper()
	if ldap.CodeOf(err) != code {
		t.Errorf("%s: %v, want %v", what, err, code)
	}
}

func status(t *testing.T, s *ldaptest.Server) string {
	t.Helper()
	st, err := app.NewAdmin(s.Directory, "test").Status(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(st.Overlays, "\n")
}

// TestCapture: the old server is asked about who has no password here, and once a password is kept never again.
func TestCapture(t *testing.T) {
	a := ldaptest.NewAuthority(t)
	var asked atomic.Int32
	old := ldaptest.Start(t, ldaptest.Options{Authority: a, LDIF: top + person("old-alice", "userPassword: alice-secret\n") +
		person("old-bob", "userPassword: x\n") + person("old-carol", "userPassword: carol-secret\n")})
	next := old.Handler
	old.Handler = op.HandlerFunc(func(ctx context.Context, req *op.Request, w op.Writer) error {
		if _, ok := req.Op.(*ldap.BindRequest); ok {
			asked.Add(1)
		}
		return next.Serve(ctx, req, w)
	})
	s := ldaptest.Start(t, ldaptest.Options{
		LDIF: top + person("alice", "") + person("bob", "userPassword: bob-secret\n") + person("carol", "portolanAccountDisabled: TRUE\n") + person("dave", ""),
		Config: table(t, a, old.Secure, "dn = \"uid=old-{uid},dc=example,dc=org\"\n") +
			"[overlay.ppolicy.policy]\nmax_failure = 3\nmin_length = 30\nlockout_duration = 0\n",
	})
	if got := status(t, s); !strings.Contains(got, "3 of 4 accounts") {
		t.Errorf("status: %s", got)
	}
	n := func(what string, n int32) {
		t.Helper()
		if got := asked.Swap(0); got != n {
			t.Errorf("%s: the old server was asked %d times, not %d", what, got, n)
		}
	}
	want(t, "a wrong password", bind(s, "alice", "wrong"), ldap.InvalidCredentials)
	n("a wrong password", 1)
	want(t, "an empty one", bind(s, "alice", ""), ldap.UnwillingToPerform)
	n("an empty one", 0)
	want(t, "the right one", bind(s, "alice", "alice-secret"), ldap.Success)
	n("the right one", 1)
	want(t, "again", bind(s, "alice", "alice-secret"), ldap.Success)
	want(t, "a wrong one again", bind(s, "alice", "wrong"), ldap.InvalidCredentials)
	n("what is kept", 0)
	want(t, "who has one here", bind(s, "bob", "x"), ldap.InvalidCredentials)
	want(t, "who is disabled", bind(s, "carol", "carol-secret"), ldap.InvalidCredentials)
	want(t, "who is nobody", bind(s, "nobody", "x"), ldap.InvalidCredentials)
	n("all others", 0)
	if got := status(t, s); !strings.Contains(got, "2 of 4 accounts") {
		t.Errorf("status: %s", got)
	}
	// Guesses are counted, and those at a locked account do not get through.
	for i := range 3 {
		want(t, "a guess", bind(s, "dave", fmt.Sprint("guess", i)), ldap.InvalidCredentials)
	}
	n("guesses", 3)
	want(t, "a guess at a locked account", bind(s, "dave", "guess"), ldap.InvalidCredentials)
	n("a locked account", 0)
}

// TestForwardOnly keeps nothing.
func TestForwardOnly(t *testing.T) {
	a := ldaptest.NewAuthority(t)
	old := ldaptest.Start(t, ldaptest.Options{Authority: a, LDIF: top + person("alice", "userPassword: alice-secret\n")})
	s := ldaptest.Start(t, ldaptest.Options{LDIF: top + person("alice", ""), Config: table(t, a, old.Secure, "forward_only = true\n")})
	for range 2 {
		want(t, "bind", bind(s, "alice", "alice-secret"), ldap.Success)
	}
	if got := status(t, s); !strings.Contains(got, "1 of 1") {
		t.Error(got)
	}
}

// TestHostile: whatever an old server does instead of answering is unavailable, in bounded time, and never a login.
func TestHostile(t *testing.T) {
	answer := func(id int64, code int64) []byte {
		b, message := ber.Begin(nil, ber.Sequence)
		b = ber.AppendInt(b, ber.Integer, id)
		b, response := ber.Begin(b, 0x61)
		b = ber.AppendInt(b, ber.Enumerated, code)
		b = ber.AppendString(ber.AppendString(b, ber.OctetString, ""), ber.OctetString, "")
		return ber.End(ber.End(b, response), message)
	}
	a, other := ldaptest.NewAuthority(t), ldaptest.NewAuthority(t)
	for name, x := range map[string]struct {
		authority *ldaptest.Authority
		send      []byte
		hang      bool
		code      ldap.ResultCode
	}{
		"right":                     {a, answer(1, 0), false, ldap.Success},
		"wrong":                     {a, answer(1, 49), false, ldap.InvalidCredentials},
		"no such entry":             {a, answer(1, 32), false, ldap.InvalidCredentials},
		"a lock of 389":             {a, answer(1, 19), false, ldap.InvalidCredentials},
		"a step of SASL":            {a, answer(1, 14), false, ldap.Unavailable},
		"a referral":                {a, answer(1, 10), false, ldap.Unavailable},
		"busy":                      {a, answer(1, 51), false, ldap.Unavailable},
		"compareTrue":               {a, answer(1, 6), false, ldap.Unavailable},
		"success of something else": {a, answer(7, 0), true, ldap.Unavailable},
		"an unsolicited success":    {a, answer(0, 0), true, ldap.Unavailable},
		"rubbish":                   {a, []byte("HTTP/1.1 200 OK\r\n\r\n"), false, ldap.Unavailable},
		"half an answer":            {a, answer(1, 0)[:5], false, ldap.Unavailable},
		"half an answer and no end": {a, answer(1, 0)[:5], true, ldap.Unavailable},
		"two gigabytes announced":   {a, []byte{0x30, 0x84, 0x7f, 0xff, 0xff, 0xff, 2, 1, 1}, true, ldap.Unavailable},
		"nothing":                   {a, nil, false, ldap.Unavailable},
		"nothing for ever":          {a, nil, true, ldap.Unavailable},
		"another's certificate":     {other, answer(1, 0), false, ldap.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := tls.Listen("tcp", "127.0.0.1:0", x.authority.Server())
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			end := make(chan struct{})
			defer close(end)
			go serve(l, x.send, x.hang, end)
			timeout := "1m" // for an answer that comes, however slow the machine is
			if x.hang {
				timeout = "1s"
			}
			s := ldaptest.Start(t, ldaptest.Options{LDIF: top + person("alice", ""), Config: table(t, a, l.Addr().String(), "timeout = \""+timeout+"\"\n")})
			want(t, "bind", bind(s, "alice", "alice-secret"), x.code)
		})
	}
}

func serve(l net.Listener, send []byte, hang bool, end chan struct{}) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			if _, err := io.ReadAtLeast(c, make([]byte, 1024), 7); err != nil {
				return
			}
			if _, err := c.Write(send); err != nil || !hang {
				return
			}
			<-end
		}()
	}
}

// TestManyWait: an old server that does not answer takes a bounded number of binds at a time; the others are told so, and
// who has a password here does not notice.
func TestManyWait(t *testing.T) {
	a := ldaptest.NewAuthority(t)
	l, err := tls.Listen("tcp", "127.0.0.1:0", a.Server())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	end := make(chan struct{})
	defer close(end)
	go serve(l, nil, true, end)
	s := ldaptest.Start(t, ldaptest.Options{LDIF: top + person("alice", "") + person("bob", "userPassword: bob-secret\n"),
		Config: table(t, a, l.Addr().String(), "timeout = \"2s\"\nconcurrent = 2\n")})
	results := make(chan error, 10)
	for i := range cap(results) {
		go func() { results <- bind(s, "alice", fmt.Sprint("x", i)) }()
	}
	want(t, "who has a password here", bind(s, "bob", "bob-secret"), ldap.Success)
	for range cap(results) {
		select {
		case err := <-results:
			if c := ldap.CodeOf(err); c != ldap.Unavailable && c != ldap.Busy {
				t.Error(err)
			}
		case <-time.After(3 * time.Minute):
			t.Fatal("a bind waits for ever")
		}
	}
}

// TestConfiguration: nothing that would send a password in clear text, or to nobody knows whom, starts.
func TestConfiguration(t *testing.T) {
	for text, says := range map[string]string{
		"url = \"ldap://old.example.org\"":                                 "clear text",
		"base = \"dc=example\"":                                            "url",
		"url = \"ldaps://old.example.org\"\nstarttls = true":               "starttls",
		"url = \"ldaps://old.example.org\"\npin = \"sha256/AAAA\"":         "pin",
		"url = \"ldaps://old.example.org\"\nca_file = \"/does/not/exist\"": "ca_file",
		"url = \"ldaps://old.example.org\"\ndn = \"{nothing}\"":            "dn",
		"url = \"ldaps://old.example.org\"\ndn = \"uid={uid\"":             "dn",
		"url = \"ldaps://old.example.org\"\ndn = \"{userPassword}\"":       "dn",
		"url = \"ldaps://old.example.org\"\ndn = \"no dn {uid}\"":          "dn",
		"url = \"ldaps://old.example.org\"\nbase = \"no dn\"":              "base",
		"url = \"ldaps://old.example.org\"\nclasses = [\"nothing\"]":       "classes",
		"url = [\"ldaps://old.example.org\", \"ldap://old.example.org\"]":  "clear text",
	} {
		if err := ldaptest.Opens(t, "[[overlay.remoteauth.server]]\n"+text+"\n"); err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "overlay.remoteauth.server") {
			t.Errorf("%s: %v", text, err)
		}
	}
}
