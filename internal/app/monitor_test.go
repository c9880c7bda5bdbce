package app

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	goldap "github.com/go-ldap/ldap/v3"

	"portolan/internal/config"
)

// TestMonitorOfAServer reads cn=Monitor of a running server as an exporter does, and the metrics beside it.
func TestMonitorOfAServer(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "portolan.toml")
	text := "data_dir = \"data\"\n[directory]\nsuffix = \"dc=example,dc=org\"\nadmin_dn = \"cn=admin,dc=example,dc=org\"\n" +
		"[[listen]]\nurl = \"ldap://127.0.0.1:0\"\n[metrics]\nlisten = \"127.0.0.1:0\"\n[limits]\nmin_free_bytes = \"1MiB\"\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(file, os.ReadFile)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Start(c, ServeOptions{Stderr: io.Discard, Quiet: true, AdminPassword: []byte("admin-secret"), Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Shutdown(t.Context())
	l, err := goldap.DialURL("ldap://" + s.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := l.Bind("cn=admin,dc=example,dc=org", "admin-secret"); err != nil {
		t.Fatal(err)
	}
	read := func(filter, attr string) map[string]string {
		t.Helper()
		found, err := l.Search(goldap.NewSearchRequest("cn=Monitor", goldap.ScopeWholeSubtree, goldap.NeverDerefAliases, 0, 0, false, filter, []string{attr}, nil))
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]string{}
		for _, e := range found.Entries {
			out[e.DN] = e.GetAttributeValue(attr)
		}
		return out
	}
	read("(objectClass=*)", "cn") // so that entries were sent
	counters := read("(objectClass=monitorCounterObject)", "monitorCounter")
	for name, least := range map[string]string{
		"cn=Current,cn=Connections,cn=Monitor": "1", "cn=Total,cn=Connections,cn=Monitor": "1",
		"cn=Entries,cn=Statistics,cn=Monitor": "20", "cn=Bytes,cn=Statistics,cn=Monitor": "1",
		"cn=rate_refused,cn=Trouble,cn=Monitor": "0",
	} {
		if got := counters[name]; len(got) < len(least) || len(got) == len(least) && got < least {
			t.Errorf("%s is %q, want %s at least", name, got, least)
		}
	}
	done := read("(objectClass=monitorOperation)", "monitorOpCompleted")
	if done["cn=Bind,cn=Operations,cn=Monitor"] != "1" || done["cn=Search,cn=Operations,cn=Monitor"] != "2" {
		t.Errorf("operations: %v", done)
	}
	who := read("(objectClass=monitorConnection)", "monitorConnectionAuthzDN")
	if len(who) != 1 {
		t.Errorf("connections: %v", who)
	}
	for dn, is := range who {
		if is != "cn=admin,dc=example,dc=org" || !strings.HasPrefix(dn, "cn=Connection ") {
			t.Errorf("%s is bound as %q", dn, is)
		}
	}
	client := http.Client{Timeout: 3 * time.Minute}
	answer, err := client.Get("http://" + s.metrics.Addr + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	page, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`portolan_operations_completed_total{operation="bind"} 1`, "portolan_connections 1", `portolan_info{version="Portolan test"} 1`} {
		if !strings.Contains(string(page), want+"\n") {
			t.Errorf("no %s in\n%s", want, page)
		}
	}
	if strings.Contains(string(page), "admin") || strings.Contains(string(page), "127.0.0.1") {
		t.Errorf("names in\n%s", page)
	}
}
