package app

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"portolan/internal/config"
	"portolan/ldap"
)

// TestDatagramsOfAServer asks a whole server over UDP: it gives its root DSE in the octets that it was asked with, and nothing
// else.
func TestDatagramsOfAServer(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "portolan.toml")
	text := "data_dir = \"data\"\n[directory]\nsuffix = \"dc=example,dc=org\"\n[security]\nrequire_tls = \"always\"\n" +
		"[[listen]]\nurl = \"cldap://127.0.0.1:0\"\n[limits]\nmin_free_bytes = \"1MiB\"\n[log.access]\nfile = \"access.log\"\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(file, os.ReadFile)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Start(c, ServeOptions{Stderr: io.Discard, Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	running := true
	defer func() {
		if running {
			s.Shutdown(t.Context())
		}
	}()
	nc, err := net.Dial("udp", s.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	ask := func(base string, attributes ...string) (code ldap.ResultCode, octets []byte) {
		t.Helper()
		q := &ldap.SearchRequest{Base: []byte(base), Filter: ldap.Present("objectClass")}
		for _, a := range attributes {
			q.Attributes = append(q.Attributes, []byte(a))
		}
		request := ldap.AppendMessage(nil, 1, q, nil)
		b := make([]byte, 64<<10)
		nc.SetDeadline(time.Now().Add(3 * time.Minute))
		if _, err := nc.Write(request); err != nil {
			t.Fatal(err)
		}
		n, err := nc.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		if n > len(request) {
			t.Errorf("%d octets for %d", n, len(request))
		}
		const done = 14 // a result without text
		m, err := ldap.Decode(b[max(0, n-done):n])
		if err != nil {
			m, err = ldap.Decode(b[:n])
		}
		if err != nil {
			t.Fatal(err)
		}
		return m.Op.(*ldap.SearchResultDone).Code, b[:n]
	}
	// Short answers, in as many octets as the question has.
	if code, b := ask("", "supportedLDAPVersion"); code != ldap.Success || !strings.Contains(string(b), "supportedLDAPVersion") {
		t.Errorf("%v %q", code, b)
	}
	if code, b := ask("", "namingContexts", "1.1", "1.1", "1.1", "1.1", "1.1", "1.1"); code != ldap.Success || !strings.Contains(string(b), "dc=example,dc=org") {
		t.Errorf("%v %q", code, b)
	}
	if code, _ := ask("", "*", "+"); code != 70 {
		t.Errorf("all of it: %v", code)
	}
	if code, _ := ask("dc=example,dc=org"); code != ldap.UnwillingToPerform {
		t.Errorf("an entry: %v", code)
	}
	if d := s.snapshot().Datagrams; d == nil || d.Received != 4 || d.TooLarge != 1 {
		t.Errorf("counted %+v", d)
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	running = false
	log, err := os.ReadFile(filepath.Join(dir, "access.log"))
	if err != nil || !strings.Contains(string(log), "from=127.0.0.1:") {
		t.Errorf("the access log does not say who asked: %v\n%s", err, log)
	}
}
