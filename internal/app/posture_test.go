package app

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"portolan/internal/config"
	"portolan/internal/posture"
)

// postureFile writes a configuration and what it names as init would leave it, and returns its path. text begins in the
// fourth line, at the top of the file; DIR in it is the directory.
func postureFile(t *testing.T, text string, tls bool) string {
	t.Helper()
	dir := t.TempDir()
	_, err := MakeCertificates(dir, time.Now())
	must(t, err)
	head := "data_dir = \"data\"\ndirectory.suffix = \"dc=example,dc=org\"\n"
	if tls {
		head += "tls = { cert_file = \"server.pem\", key_file = \"server.key\" }\n"
	} else {
		head += "#\n"
	}
	file := filepath.Join(dir, "portolan.toml")
	write(t, file, head+strings.ReplaceAll(text, "DIR", dir), 0o640)
	return file
}

func mustPosture(t *testing.T, file string) []posture.Finding {
	t.Helper()
	c, err := config.Load(file, os.ReadFile)
	if err != nil {
		t.Fatal(err)
	}
	findings, err := Posture(c, PostureOptions{Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	return findings
}

func shortFindings(findings []posture.Finding) []string {
	var out []string
	for _, f := range findings {
		out = append(out, fmt.Sprintf("%d %s %s", f.Line, f.Severity, f.Name()))
	}
	return out
}

// TestPosture goes through every check. Each finding must name the line, and what it says to write or to run must make
// it go away.
func TestPosture(t *testing.T) {
	const rule = "[[access]]\nname = \"r\"\n"
	met := make(map[string]bool)
	for _, x := range []struct {
		name, text string
		prepare    func(t *testing.T, dir string)
		noTLS      bool
		want       string // "LINE SEVERITY NAME" of each finding
	}{
		{name: "what init makes", text: "[[listen]]\nurl = \"ldap://0.0.0.0:389\"\n[[listen]]\nurl = \"ldapi:///run/x/ldapi\"\n"},
		{name: "stricter is no deviation", text: `[security]
require_tls = "always"
[[listen]]
url = "ldaps://0.0.0.0:636"
allow = "10.0.0.0/8"
proxy_protocol_from = ["10.0.0.0/24", "fd00::1", "fd00::/64"]
[limits]
size_limit = 1
max_pdu_unauthenticated = "640KiB"
[[limits.for]]
who = ["dn:cn=x,dc=example,dc=org", "group:cn=y,dc=example,dc=org"]
size_limit = 0
[password.argon2]
memory = "46MiB"
time = 1
[log]
level = "warn"
[journal]
max_age = 0
` + rule + "deny = \"all\"\nwho = \"*\"\nattrs = \"userPassword\"\n" + rule + "allow = \"delete\"\nwho = \"users\"\nattrs = \"member:self\"\n" +
			rule + "allow = [\"all\", \"proxy\"]\nwho = \"group:cn=y,dc=example,dc=org\"\n" + rule + "allow = \"write\"\nwho = \"self\"\nattrs = \"userPassword\"\n"},

		{name: "tls never", text: "[security]\nrequire_tls = \"never\"\n", want: "5 fail require-tls"},
		{name: "anonymous reads what users do", text: "[security]\nanonymous = \"read\"\n", want: "5 fail anonymous"},
		{name: "anonymous reads what rules say", text: "[security]\nanonymous = \"read\"\nbuiltin_access = false\n", want: "5 warn anonymous|6 warn builtin-access"},

		{name: "passwords without a limit on guesses", text: "[overlay.ppolicy.policy]\nlockout = false\nmin_length = 6\nmin_strength = 0\n",
			want: "5 warn password-policy=lockout|6 warn password-policy=min_length|7 warn password-policy=min_strength"},
		{name: "locks that last", text: "[overlay.ppolicy.policy]\nlockout_duration = 0\nmax_failure = 500\ncheck_quality = 0\n",
			want: "5 warn password-policy=lockout_duration|6 warn password-policy=max_failure|7 warn password-policy=check_quality"},
		{name: "delays instead of a lock", text: "[overlay.ppolicy.policy]\nlockout = false\nmin_delay = \"1s\"\nmax_delay = \"1m\"\n"},
		{name: "lists with another's eyes", text: "[overlay.dynlist]\nidentity = \"cn=x,dc=example,dc=org\"\n", want: "5 warn dynlist-identity"},
		{name: "a second factor that is good for long, and one that SCRAM gets around", text: "[overlay.otp]\nwindow = 5\nmechanisms = [\"EXTERNAL\", \"SCRAM-SHA-256\"]\n",
			want: "5 warn otp-window|6 warn otp-mechanisms"},
		{name: "locks that are told", text: "[overlay.ppolicy]\ndisclose_lockout = true\n", want: "5 warn lockout-disclosed"},

		{name: "rule for everybody, nobody but users to be", text: rule + "allow = \"read\"\nwho = \"*\"\n"},
		{name: "rule for anonymous, not in force", text: rule + "allow = \"read\"\nwho = [\"anonymous\", \"users\"]\n", want: "7 warn access-anonymous=r"},
		{name: "rule for everybody", text: rule + "allow = \"read\"\nwho = [\"*\", \"self\"]\n[security]\nanonymous = \"read\"\n", want: "7 fail access-anonymous=r|9 fail anonymous"},
		{name: "rule for everybody near", text: rule + "allow = \"read\"\nfrom = \"10.0.0.0/8\"\nwho = \"anonymous\"\n[security]\nanonymous = \"read\"\n", want: "8 warn access-anonymous=r|10 fail anonymous"},
		{name: "rule for anonymous that is taken back", text: rule + "allow = \"read\"\nwho = [\"anonymous\"]\n" + rule + "deny = \"disclose\"\nwho = \"*\"\n"},

		{name: "secret for users", text: rule + "allow = \"compare\"\nwho = \"users\"\nattrs = [\"cn\", \"userPassword\"]\n", want: "8 fail access-secrets=r"},
		{name: "secret alone", text: "[[access]]\nallow = \"search\"\nwho = \"users\"\nattrs = \"2.5.4.35\"\n", want: "7 fail access-secrets=rule 1"},
		{name: "secret for a service", text: rule + "allow = \"read\"\nwho = \"dn:cn=x,dc=example,dc=org\"\nattrs = [\"userPassword;x-a\", \"uid\"]\n", want: "8 warn access-secrets=r"},

		{name: "users write", text: rule + "allow = [\"read\", \"rename\"]\nwho = \"users\"\n", want: "6 fail access-write=r"},
		{name: "users do all", text: rule + "allow = \"all\"\nwho = \"users\"\nfilter = \"(cn=x)\"\n", want: "6 warn access-write=r"},
		{name: "users set passwords", text: rule + "allow = \"write\"\nwho = \"users\"\nattrs = \"userPassword\"\n", want: "6 fail access-write=r"},
		{name: "anonymous writes", text: rule + "allow = \"write\"\nwho = \"anonymous\"\n", want: "6 fail access-write=r"},
		{name: "users join", text: rule + "allow = \"add\"\nwho = \"users\"\nattrs = \"member:self\"\n", want: "6 warn access-write=r"},
		{name: "users act as others", text: rule + "allow = [\"read\", \"proxy\"]\nwho = \"users\"\n", want: "6 fail access-impersonation=r"},
		{name: "rule without effect", text: rule + "deny = \"read\"\nwho = \"group:cn=x,dc=exmaple,dc=org\"\n", want: "7 warn access-no-effect=r"},

		{name: "copy in clear text", text: "[[replica]]\nurl = \"ldap://ldap1.example.org\"\ntls = \"off\"\n", want: "6 fail replica-tls=ldap://ldap1.example.org"},
		{name: "copy in clear text on this host", text: "[[replica]]\nurl = \"ldap://127.0.0.1:1389\"\ntls = \"off\"\n", want: "6 warn replica-tls=ldap://127.0.0.1:1389"},
		{name: "copy over TLS", text: "[[replica]]\nurl = \"ldap://ldap1.example.org\"\n"},
		{name: "copy with open secrets", text: "[[replica]]\nurl = \"ldaps://ldap1.example.org\"\nbind_dn = \"cn=r\"\npassword_file = \"r.password\"\ncert_file = \"server.pem\"\nkey_file = \"r.key\"\n",
			prepare: func(t *testing.T, dir string) {
				write(t, filepath.Join(dir, "r.password"), "secret\n", 0o644)
				write(t, filepath.Join(dir, "r.key"), "key\n", 0o604)
			}, want: "7 fail replica-secret-mode=r.password|9 fail replica-secret-mode=r.key"},
		{name: "clear text", text: "[security]\nrequire_tls = \"never\"\n[[listen]]\nurl = \"ldap://0.0.0.0:389\"\n", noTLS: true, want: "0 warn no-certificate|5 fail require-tls|7 fail clear-text-listener=ldap://0.0.0.0:389"},
		{name: "no certificate", text: "[[listen]]\nurl = \"ldap://127.0.0.1:389\"\n", noTLS: true, want: "0 warn no-certificate"},
		{name: "no certificate, Unix socket", text: "[[listen]]\nurl = \"ldapi:///run/x/y\"\n", noTLS: true},
		{name: "proxies", text: "[[listen]]\nurl = \"ldap://0.0.0.0:389\"\nproxy_protocol_from = [\"10.0.0.0/23\", \"fd00::/63\", \"0.0.0.0/0\"]\n",
			want: "6 warn proxy-networks=ldap://0.0.0.0:389|6 warn proxy-networks=ldap://0.0.0.0:389|6 fail proxy-networks=ldap://0.0.0.0:389"},
		{name: "datagrams", text: "[[listen]]\nurl = \"cldap://127.0.0.1:389\"\n[[listen]]\nurl = \"cldap://192.0.2.1:389\"\n", want: "7 warn udp-listener=cldap://192.0.2.1:389"},
		{name: "socket in an open place", text: "[[listen]]\nurl = \"ldapi://DIR/s/ldapi\"\n", prepare: func(t *testing.T, dir string) {
			must(t, os.Mkdir(filepath.Join(dir, "s"), 0o700), os.Chmod(filepath.Join(dir, "s"), 0o777))
		}, want: "5 fail socket-directory=ldapi://s/ldapi"},

		{name: "expired", prepare: certificate(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Hour) }, nil), want: "3 fail certificate-validity"},
		{name: "not yet", prepare: certificate(func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) }, nil), want: "3 fail certificate-validity"},
		{name: "soon", prepare: certificate(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(29 * 24 * time.Hour) }, nil), want: "3 warn certificate-validity"},
		{name: "no name", prepare: certificate(func(c *x509.Certificate) { c.DNSNames = nil }, nil), want: "3 fail certificate-name"},
		{name: "short RSA key", prepare: certificate(nil, func() (crypto.Signer, error) { return rsa.GenerateKey(rand.Reader, 1024) }), want: "3 fail certificate-strength"},
		{name: "short EC key", prepare: certificate(nil, func() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P224(), rand.Reader) }), want: "3 fail certificate-strength"},
		{name: "for clients", prepare: certificate(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }, nil), want: "3 fail certificate-purpose"},
		{name: "authority", prepare: certificate(func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true }, nil), want: "3 warn certificate-purpose"},
		{name: "signed by itself", prepare: certificate(func(c *x509.Certificate) { c.Subject.CommonName = "ca" }, nil), want: "3 warn certificate-purpose"},

		{name: "key open", prepare: mode("server.key", 0o644), want: "3 fail private-key-mode=server.key"},
		{name: "authority's key open", prepare: mode("ca.key", 0o604), want: "3 fail private-key-mode=ca.key"},
		{name: "key open to a group", prepare: mode("server.key", 0o640)},
		{name: "configuration open", prepare: mode("portolan.toml", 0o666), want: "0 fail file-mode=portolan.toml"},
		{name: "certificate open", prepare: mode("server.pem", 0o646), want: "3 fail file-mode=server.pem"},
		{name: "directory open", prepare: mode(".", 0o707), want: "0 fail file-mode=."},
		{name: "directory open, but not to be changed by others", prepare: mode(".", 0o777|os.ModeSticky)},
		{name: "data readable", prepare: func(t *testing.T, dir string) { must(t, os.Mkdir(filepath.Join(dir, "data"), 0o755)) }, want: "1 warn data-mode=data"},
		{name: "data writable", prepare: func(t *testing.T, dir string) {
			must(t, os.Mkdir(filepath.Join(dir, "data"), 0o700), os.Chmod(filepath.Join(dir, "data"), 0o703))
		}, want: "1 fail data-mode=data"},
		{name: "logs", text: "[log]\nfile = \"a.log\"\n[log.access]\nfile = \"b.log\"\n", prepare: func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "a.log"), "", 0o644)
			write(t, filepath.Join(dir, "b.log"), "", 0o642)
		}, want: "5 warn log-mode=a.log|7 fail log-mode=b.log"},

		{name: "audit", text: "[audit]\nfile = \"a.log\"\nkey_file = \"a.key\"\nkeep = 29\non_failure = \"continue\"\n", prepare: func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "a.log"), "", 0o644)
			write(t, filepath.Join(dir, "a.key"), "", 0o604)
		}, want: "5 warn log-mode=a.log|6 fail audit-key-mode=a.key|7 warn audit-short|8 warn audit-continues"},
		{name: "audit off", text: "[audit]\nenabled = false\nkeep = 0\n", want: "5 warn audit-off"},
		{name: "password in clear", text: "directory.admin_dn = \"cn=a\"\ndirectory.admin_password_file = \"pw\"\n", prepare: func(t *testing.T, dir string) { write(t, filepath.Join(dir, "pw"), "clear\n", 0o600) }, want: "5 fail admin-password"},
		{name: "password hashed weakly", text: "directory.admin_dn = \"cn=a\"\ndirectory.admin_password_file = \"pw\"\n", prepare: func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "pw"), "{SSHA}1Tx5dpr2CKoGOvNt0Hqz+Obhn2hiYWJi\n", 0o604)
		}, want: "5 warn admin-password|5 fail admin-password-mode=pw"},

		{name: "limits off", text: "[limits]\nsize_limit = 0\ntime_limit = 0\nmax_examined = 0\nmax_connections = 0\nmax_connections_per_address = 0\nidle_timeout = 0\nbind_timeout = 0\nwrite_timeout = 0\nmin_free_bytes = 0\n",
			want: "5 warn limit-off=size_limit|6 warn limit-off=time_limit|7 warn limit-off=max_examined|8 warn limit-off=max_connections|" +
				"9 warn limit-off=max_connections_per_address|10 warn limit-off=idle_timeout|11 warn limit-off=bind_timeout|12 warn limit-off=write_timeout|13 warn no-free-space-floor"},
		{name: "limits off for many", text: "[[limits.for]]\nwho = [\"users\"]\nsize_limit = 0\n[[limits.for]]\nwho = [\"users\", \"anonymous\"]\ntime_limit = 0\nmax_examined = 0\nidle_timeout = 0\n",
			want: "6 warn limit-off-for=users.size_limit|9 fail limit-off-for=anonymous.time_limit|10 fail limit-off-for=anonymous.max_examined|11 fail limit-off-for=anonymous.idle_timeout"},
		{name: "strangers without a rate", text: "[limits]\nrate_unauthenticated = 0\n", want: "5 warn limit-off=rate_unauthenticated"},
		{name: "strangers without a rate, by name", text: "[[limits.for]]\nwho = \"users\"\nrate = 0\n[[limits.for]]\nwho = \"anonymous\"\nrate = 0\n",
			want: "9 warn limit-off-for=anonymous.rate"},
		{name: "limits far", text: "[limits]\nmax_pdu_unauthenticated = \"1MiB\"\nmax_outstanding = 100000\nmax_pdu = \"1GiB\"\nmax_cursors = 1000\nmax_filter_nodes = 1000000\nmax_controls = 1000\nmax_attributes = 20000\ntransaction_changes = 10000000\n",
			want: "5 warn limit-far=max_pdu_unauthenticated|6 warn limit-far=max_outstanding|7 warn limit-far=max_pdu|8 warn limit-far=max_cursors|9 warn limit-far=max_filter_nodes|" +
				"10 warn limit-far=max_controls|11 warn limit-far=max_attributes|12 warn limit-far=transaction_changes"},
		{name: "journal", text: "[journal]\nmax_age = \"23h\"\nmax_bytes = \"16MiB\"\n", want: "5 warn journal-short=max_age|6 warn journal-short=max_bytes"},
		{name: "logs off", text: "[log]\nlevel = \"error\"\n[log.access]\nenabled = false\n", want: "5 warn log-level|7 warn access-log-off"},
		{name: "guard off", text: "[guard]\nenabled = false\n", want: "5 fail guard-off"},
		{name: "filters not observed", text: "[guard]\nobserve_filters = false\n", want: "5 warn filter-shapes-off"},
		{name: "guard far", text: "[guard]\nrelays = [\"10.0.0.5\", \"10.0.0.0/16\", \"::/0\"]\naccount_failures = 101\nsource_failures = 201\nnetwork_failures = 120\npassword_accounts = 500\n",
			want: "5 warn guard-relays=10.0.0.0/16|5 fail guard-relays=::/0|6 warn guard-far=account_failures|7 warn guard-far=source_failures|9 warn guard-far=password_accounts"},
		{name: "scram", text: "[sasl]\nscram_iterations = 4096\n", want: "5 warn scram-iterations"},
		{name: "hashing", text: "[password.argon2]\nmemory = \"18MiB\"\ntime = 1\n", want: "5 warn argon2=memory|6 warn argon2=time"},
	} {
		t.Run(x.name, func(t *testing.T) {
			file := postureFile(t, x.text, !x.noTLS)
			dir := filepath.Dir(file)
			if x.prepare != nil {
				x.prepare(t, dir)
			}
			findings := slices.DeleteFunc(mustPosture(t, file), func(f posture.Finding) bool { return f.ID == "runs-as-root" })
			for _, f := range findings {
				met[f.ID] = true
				if f.Seen == "" || f.Means == "" || f.Fix == "" || f.File != file {
					t.Errorf("a finding without words, or in another file: %+v", f)
				}
			}
			var want []string
			if x.want != "" {
				want = strings.Split(x.want, "|")
			}
			got := shortFindings(findings)
			for i := range got {
				got[i] = strings.ReplaceAll(got[i], dir+"/", "")
				got[i] = strings.ReplaceAll(got[i], dir, ".")
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("-want +got:\n%s", diff)
			}
			for _, f := range findings {
				follow(t, file, f)
			}
		})
	}
	for _, id := range posture.IDs() {
		if !met[id] && id != "runs-as-root" {
			t.Errorf("no case meets %s", id)
		}
	}
}

// follow does what a finding says and demands that it is gone.
func follow(t *testing.T, file string, f posture.Finding) {
	t.Helper()
	switch {
	case f.Write != "":
		before, err := os.ReadFile(file)
		must(t, err)
		lines := strings.Split(string(before), "\n")
		lines[f.Line-1] = f.Write
		must(t, os.WriteFile(file, []byte(strings.Join(lines, "\n")), 0o640))
		defer func() { must(t, os.WriteFile(file, before, 0o640)) }()
		if _, err := config.Load(file, os.ReadFile); err != nil && strings.Contains(err.Error(), "needs a certificate") {
			return // the other finding of the same file is to be followed first
		}
	case strings.HasPrefix(f.Run, "chmod"):
		if out, err := exec.Command("sh", "-c", f.Run).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", f.Run, err, out)
		}
	default:
		return
	}
	for _, left := range mustPosture(t, file) {
		if left.Name() == f.Name() && left.Line == f.Line {
			t.Errorf("done as told, and still there: %+v", left)
		}
	}
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	must(t, os.WriteFile(path, []byte(text), mode), os.Chmod(path, mode))
}

func mode(name string, m os.FileMode) func(*testing.T, string) {
	return func(t *testing.T, dir string) { must(t, os.Chmod(filepath.Join(dir, name), m)) }
}

// certificate puts another certificate in the place of the server's: one that an authority "ca" has signed, changed by
// change, with another kind of key.
func certificate(change func(*x509.Certificate), newKey func() (crypto.Signer, error)) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		if newKey == nil {
			newKey = func() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }
		}
		key, err := newKey()
		must(t, err)
		leaf := &x509.Certificate{
			SerialNumber: serial(), Subject: pkix.Name{CommonName: "x"}, DNSNames: []string{"localhost"},
			NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().Add(90 * 24 * time.Hour),
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		}
		if change != nil {
			change(leaf)
		}
		ca := &x509.Certificate{SerialNumber: serial(), Subject: pkix.Name{CommonName: "ca"}}
		caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		must(t, err)
		der, err := x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), caKey)
		must(t, err)
		private, err := x509.MarshalPKCS8PrivateKey(key)
		must(t, err)
		write(t, filepath.Join(dir, "server.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), 0o644)
		write(t, filepath.Join(dir, "server.key"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})), 0o600)
	}
}

// TestPostureCannotLook demands an error, and not a clean bill, where something cannot be seen.
func TestPostureCannotLook(t *testing.T) {
	file := postureFile(t, "", true)
	c, err := config.Load(file, os.ReadFile)
	must(t, err)
	must(t, os.Remove(filepath.Join(filepath.Dir(file), "server.pem")))
	if _, err := Posture(c, PostureOptions{Now: time.Now()}); err == nil || !strings.Contains(err.Error(), "server.pem does not exist") {
		t.Errorf("error %v", err)
	}
	if found, err := Posture(c, PostureOptions{SettingsOnly: true}); err != nil || len(found) > 0 {
		t.Errorf("the settings alone: %v, %v", found, err)
	}
}

// TestPostureKnowsEveryKey demands of every key of the configuration, those of overlays' tables among them, that
// `portolan posture` looks at it or that it is listed as harmless with the reason: a new key cannot be forgotten.
func TestPostureKnowsEveryKey(t *testing.T) {
	var all []string
	for _, s := range config.Sections() {
		for _, k := range s.Keys {
			all = append(all, strings.TrimPrefix(s.Table+"."+k.Name, "."))
		}
	}
	for _, o := range overlays {
		for _, k := range o.keys {
			all = append(all, "overlay."+o.name+"."+k)
		}
	}
	covered, harmless := posture.Keys()
	for _, k := range all {
		reason, isHarmless := harmless[k]
		switch {
		case covered[k] && isHarmless:
			t.Errorf("%s is looked at and harmless; say one of the two in internal/posture/checks.go", k)
		case !covered[k] && !isHarmless:
			t.Errorf("nobody has said whether %s can make a server weaker: give it a line of checks, or of harmless with the reason, in internal/posture/checks.go", k)
		case isHarmless && reason == "":
			t.Errorf("%s is harmless without a reason", k)
		}
		delete(covered, k)
		delete(harmless, k)
	}
	for k := range covered {
		t.Errorf("internal/posture/checks.go looks at %s, which is no key", k)
	}
	for k := range harmless {
		t.Errorf("internal/posture/checks.go has %s as harmless, which is no key", k)
	}
}
