package replica_test

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"portolan/internal/ldaptest"
	"portolan/internal/replica"
)

// replicator is the entry that a certificate stands for, and the rule by which it reads what a copy needs.
const (
	replicator = "cn=replicator,dc=example,dc=org"
	reads      = "[[access]]\nallow = [\"read\", \"search\", \"disclose\"]\nwho = \"dn:" + replicator + "\"\nmethod = \"EXTERNAL\"\n" +
		"attrs = [\"entry\", \"*\", \"userPassword\", \"userPKCS12\", \"portolanScramKeys\", \"pwdHistory\"]\n"
)

// external is the configuration of a replica that authenticates by a certificate with this subject.
func external(t *testing.T, provider *ldaptest.Server, a *ldaptest.Authority, subject, url string) string {
	t.Helper()
	config, err := a.Client(subject)
	if err != nil {
		t.Fatal(err)
	}
	pair := config.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, text := range map[string][]byte{
		"ca.pem":      a.PEM(),
		"replica.pem": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]}),
		"replica.key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return fmt.Sprintf("[[replica]]\nurl = %q\nca_file = %q\ncert_file = %q\nkey_file = %q\n",
		url, filepath.Join(dir, "ca.pem"), filepath.Join(dir, "replica.pem"), filepath.Join(dir, "replica.key"))
}

// TestExternal: a replica whose certificate is its login copies everything that its entry may read, over ldaps and StartTLS;
// one whose certificate stands for nobody copies nothing, and says why.
func TestExternal(t *testing.T) {
	a := ldaptest.NewAuthority(t)
	p := &pair{t: t, log: &logText{}}
	p.provider = ldaptest.Start(t, ldaptest.Options{
		Authority: a, Config: reads,
		LDIF: people + "\ndn: " + replicator + "\nobjectClass: applicationProcess\ncn: replicator\n",
	})
	start := func(subject, url string) {
		p.log = &logText{}
		p.replica = ldaptest.Start(t, ldaptest.Options{Config: external(t, p.provider, a, subject, url), Log: slog.New(slog.NewTextHandler(p.log, nil))})
	}
	for _, url := range []string{"ldaps://" + p.provider.Secure, "ldap://" + p.provider.Addr} {
		start(replicator, url)
		p.same("a first copy from " + url)
		p.set("uid=bob,ou=people,dc=example,dc=org", "description", url)
		p.same("a change at " + url)
		p.replica.Stop(t)
	}
	start("cn=somebody,dc=example,dc=org", "ldaps://"+p.provider.Secure)
	st := p.replica.Copy(t, "an error", true, func(x *replica.Status) bool { return x.Error != "" })
	if st.State == replica.InStep || !strings.Contains(st.Error, "invalidCredentials") {
		t.Errorf("a certificate of nobody: %+v", st)
	}
}
