package sasl_test

import (
	"testing"
	"time"

	"github.com/xdg-go/scram"

	"portolan/internal/ldaptest"
	"portolan/ldap"
)

// ways are the ways to bind as alice over a TLS connection. A certificate needs no password.
var ways = []struct {
	name     string
	password bool // proves a password, which the policy for passwords is about
	bind     func(w *wire, password string) ldap.BindResponse
}{
	{"simple", true, func(w *wire, password string) ldap.BindResponse {
		return *w.ask(&ldap.BindRequest{Version: 3, Name: []byte(dn("alice")), Password: []byte(password)}).(*ldap.BindResponse)
	}},
	{"PLAIN", true, func(w *wire, password string) ldap.BindResponse {
		return sasl(w, "PLAIN", []byte("\x00alice\x00"+password))
	}},
	{"SCRAM-SHA-256", true, func(w *wire, password string) ldap.BindResponse {
		return w.converse("SCRAM-SHA-256", client(w, password).NewConversation())
	}},
	{"SCRAM-SHA-256-PLUS", true, func(w *wire, password string) ldap.BindResponse {
		state := w.nc.ConnectionState()
		binding, err := scram.NewTLSExporterBinding(&state)
		if err != nil {
			w.t.Fatal(err)
		}
		return w.converse("SCRAM-SHA-256-PLUS", client(w, password).NewConversationWithChannelBinding(binding))
	}},
	{"EXTERNAL", false, func(w *wire, _ string) ldap.BindResponse { return sasl(w, "EXTERNAL", nil) }},
}

func client(w *wire, password string) *scram.Client {
	c, err := scram.SHA256.NewClient("alice", password, "")
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

func sasl(w *wire, mechanism string, creds []byte) ldap.BindResponse {
	return *w.ask(&ldap.BindRequest{Version: 3, Auth: ldap.AuthSASL, Mechanism: []byte(mechanism), Credentials: creds, HasCreds: creds != nil}).(*ldap.BindResponse)
}

// TestAccountStates: whatever the mechanism, an account that may not be used is not used. What is wrong with the password
// alone does not concern a certificate.
func TestAccountStates(t *testing.T) {
	authority := ldaptest.NewAuthority(t)
	config, err := authority.Client(dn("alice"))
	if err != nil {
		t.Fatal(err)
	}
	const (
		admitted = iota
		refused
		restricted // but to changing the password
	)
	for _, state := range []struct {
		name        string
		password    string // empty: the right one
		config      string // of the policy
		set         map[string]string
		once        bool // a bind before
		later       time.Duration
		remove      bool
		want        int // by password
		certificate int
	}{
		{name: "in force"},
		{name: "wrong password", password: "wrong", want: refused},
		{name: "disabled", set: map[string]string{"portolanAccountDisabled": "TRUE"}, want: refused, certificate: refused},
		{name: "from elsewhere", set: map[string]string{"portolanAllowedFrom": "192.0.2.0/24"}, want: refused, certificate: refused},
		{name: "from here", set: map[string]string{"portolanAllowedFrom": "127.0.0.0/8"}},
		{name: "locked for good", set: map[string]string{"pwdAccountLockedTime": "000001010000Z"}, want: refused, certificate: refused},
		{name: "not yet valid", set: map[string]string{"pwdStartTime": "29990101000000Z"}, want: refused, certificate: refused},
		{name: "no longer valid", set: map[string]string{"pwdEndTime": "20200101000000Z"}, want: refused, certificate: refused},
		{name: "idle", once: true, config: "max_idle = \"30d\"\n", later: 31 * 24 * time.Hour, want: refused, certificate: refused},
		{name: "expired", config: "max_age = \"1d\"\n", later: 25 * time.Hour, want: refused},
		{name: "expired with grace", config: "max_age = \"1d\"\ngrace_authn_limit = 1\n", later: 25 * time.Hour},
		{name: "must change", config: "must_change = true\n", set: map[string]string{"pwdReset": "TRUE"}, want: restricted},
		{name: "without a password", set: map[string]string{"userPassword": ""}, want: refused},
		{name: "password of a scheme that nobody knows", set: map[string]string{"userPassword": "{SASL}alice"}, want: refused},
		{name: "deleted", remove: true, want: refused, certificate: refused},
	} {
		for _, way := range ways {
			t.Run(state.name+"/"+way.name, func(t *testing.T) {
				s := ldaptest.Start(t, ldaptest.Options{
					LDIF: people + person("alice", "alice-secret"), Authority: authority, Config: "[overlay.ppolicy.policy]\n" + state.config,
				})
				w := dial(t, s, config)
				if state.once {
					if answer := way.bind(w, "alice-secret"); answer.Code != ldap.Success {
						t.Fatal(answer)
					}
				}
				for name, value := range state.set {
					m := ldap.Mod{Op: ldap.ModReplace, Attribute: ldap.Attribute{Type: []byte(name)}}
					if value != "" {
						m.Attribute.Values = [][]byte{[]byte(value)}
					}
					if err := s.As(ldaptest.AdminDN, &ldap.ModifyRequest{Object: []byte(dn("alice")), Changes: []ldap.Mod{m}}); err != nil {
						if value == "{SASL}alice" {
							t.Skip("such a value is not taken at all:", err)
						}
						t.Fatal(err)
					}
				}
				if state.remove {
					if err := s.As(ldaptest.AdminDN, &ldap.DelRequest{Entry: []byte(dn("alice"))}); err != nil {
						t.Fatal(err)
					}
				}
				s.Clock().Advance(state.later)
				password, want := "alice-secret", state.want
				if state.password != "" {
					password = state.password
				}
				if !way.password {
					want = state.certificate
				}
				answer := way.bind(w, password)
				who := w.whoAmI()
				switch want {
				case refused:
					if answer.Code != ldap.InvalidCredentials || answer.Diagnostic != "" || answer.HasServerCreds || who != "" || w.searchAs() != ldap.InsufficientAccessRights {
						t.Errorf("%v %q, %q, bound as %q", answer.Code, answer.Diagnostic, answer.ServerCreds, who)
					}
				case admitted:
					if answer.Code != ldap.Success || who != "dn:"+dn("alice") || w.searchAs() != ldap.NoSuchObject {
						t.Errorf("%v, bound as %q", answer.Code, who)
					}
				case restricted:
					if answer.Code != ldap.Success || w.searchAs() != ldap.InsufficientAccessRights {
						t.Errorf("%v, bound as %q, a search is answered", answer.Code, who)
					}
				}
			})
		}
	}
}

// TestFailuresLock: failures of every mechanism count together, and the lock holds for all that prove a password.
func TestFailuresLock(t *testing.T) {
	authority := ldaptest.NewAuthority(t)
	config, err := authority.Client(dn("alice"))
	if err != nil {
		t.Fatal(err)
	}
	s := ldaptest.Start(t, ldaptest.Options{
		LDIF: people + person("alice", "alice-secret"), Authority: authority, Config: "[overlay.ppolicy.policy]\nmax_failure = 4\nlockout_duration = \"1h\"\n",
	})
	w := dial(t, s, config)
	for _, way := range ways {
		if way.password {
			if answer := way.bind(w, "wrong"); answer.Code != ldap.InvalidCredentials {
				t.Errorf("%s: %v", way.name, answer.Code)
			}
		}
	}
	for _, way := range ways {
		answer := way.bind(w, "alice-secret")
		if way.password && (answer.Code != ldap.InvalidCredentials || answer.HasServerCreds) || !way.password && answer.Code != ldap.Success {
			t.Errorf("locked, %s: %v, %q", way.name, answer.Code, answer.ServerCreds)
		}
	}
	s.Clock().Advance(2 * time.Hour)
	for _, way := range ways {
		if answer := way.bind(w, "alice-secret"); answer.Code != ldap.Success {
			t.Errorf("after the lock, %s: %v", way.name, answer.Code)
		}
	}
}
