package ppolicy_test

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"portolan/internal/ldaptest"
	"portolan/internal/op"
	"portolan/ldap"
)

// model is the life of one account by the draft, written down once more in the plainest way.
type model struct {
	password string
	failures []time.Time
	locked   time.Time // zero: not
	changed  time.Time
	grace    int // used
	reset    bool
}

// The policy of the model.
const (
	modelConfig = "[overlay.ppolicy.policy]\nlockout = true\nmax_failure = 3\nfailure_count_interval = \"60s\"\nlockout_duration = \"120s\"\n" +
		"max_age = \"600s\"\nexpire_warning = \"100s\"\ngrace_authn_limit = 2\nmust_change = true\nmin_strength = 0\nmin_length = 1\n"
	// modelRuns bounds the lives: each has some thirty binds, most of which take a hash.
	modelRuns = 20

	modelMaxFailure                               = 3
	modelInterval, modelLock, modelAge, modelWarn = 60 * time.Second, 120 * time.Second, 600 * time.Second, 100 * time.Second
	modelGrace                                    = 2
	modelTick                                     = 7 * time.Second // no sum of ticks is one of the times above
)

// bind returns the result of a bind and what the control says, as a dialogue would write it.
func (m *model) bind(password string, now time.Time) string {
	if !m.locked.IsZero() && now.Before(m.locked.Add(modelLock)) {
		return "invalidCredentials"
	}
	if password != m.password {
		kept := m.failures[:0:0]
		for _, f := range m.failures {
			if now.Sub(f) < modelInterval {
				kept = append(kept, f)
			}
		}
		m.failures = append(kept, now)
		if len(m.failures) >= modelMaxFailure {
			m.locked = now
		}
		return "invalidCredentials"
	}
	m.failures, m.locked = nil, time.Time{}
	left := m.changed.Add(modelAge).Sub(now)
	warning := ""
	if left >= 0 && left <= modelWarn {
		warning = " expires"
	}
	switch {
	case m.reset:
		return "success changeAfterReset" + warning
	case left < 0 && m.grace >= modelGrace:
		return "invalidCredentials passwordExpired"
	case left < 0:
		m.grace++
		return fmt.Sprint("success grace=", modelGrace-m.grace)
	}
	return "success" + warning
}

// set is a new password, by the administrator or by the owner.
func (m *model) set(password string, now time.Time, admin bool) {
	*m = model{password: password, changed: now.Truncate(time.Second), reset: admin}
}

// said writes an answer as the model does.
func said(req *op.Request, err error) string {
	out := ldap.CodeOf(err).String()
	if p := req.Policy; p != nil {
		switch p.Error {
		case op.ChangeAfterReset:
			out += " changeAfterReset"
		case op.PasswordExpired:
			out += " passwordExpired"
		case op.NoPolicyError:
		default:
			out += fmt.Sprint(" error ", p.Error)
		}
		if p.Grace >= 0 {
			out += fmt.Sprint(" grace=", p.Grace)
		}
		if p.Expires >= 0 {
			out += " expires"
		}
	}
	return out
}

// TestModel compares the life of an account under random binds, changes, unlocks, renames and time with the model.
func TestModel(t *testing.T) {
	s := ldaptest.Start(t, ldaptest.Options{LDIF: top + aliceOne, Config: modelConfig})
	run := 0
	rapid.Check(t, func(t *rapid.T) {
		if run++; run > modelRuns {
			return
		}
		rdn := fmt.Sprint("uid=r", run)
		name := func() string { return rdn + ",dc=example,dc=org" }
		must := func(err error) {
			if err != nil {
				t.Fatal(err)
			}
		}
		attr := func(n string, v ...string) ldap.Attribute {
			a := ldap.Attribute{Type: []byte(n)}
			for _, x := range v {
				a.Values = append(a.Values, []byte(x))
			}
			return a
		}
		must(s.As(ldaptest.AdminDN, &ldap.AddRequest{Entry: []byte(name()), Attributes: []ldap.Attribute{
			attr("objectClass", "inetOrgPerson"), attr("cn", "R"), attr("sn", "R"), attr("userPassword", "first"),
		}}))
		var m model
		m.set("first", s.Clock().Now(), true)
		passwords := 0
		t.Repeat(map[string]func(*rapid.T){
			"right": func(t *rapid.T) { check(t, s, &m, name(), m.password) },
			"wrong": func(t *rapid.T) { check(t, s, &m, name(), "wrong") },
			"old":   func(t *rapid.T) { check(t, s, &m, name(), "first") },
			"time": func(t *rapid.T) {
				s.Clock().Advance(time.Duration(rapid.IntRange(1, 40).Draw(t, "ticks")) * modelTick)
			},
			"change": func(t *rapid.T) {
				passwords++
				admin := rapid.Bool().Draw(t, "admin")
				who := name()
				if admin {
					who = ldaptest.AdminDN
				}
				next := fmt.Sprint("password-", passwords)
				must(s.As(who, &ldap.ModifyRequest{Object: []byte(name()), Changes: []ldap.Mod{{Op: ldap.ModReplace, Attribute: attr("userPassword", next)}}}))
				m.set(next, s.Clock().Now(), admin)
			},
			"unlock": func(t *rapid.T) {
				if len(values(t, s, name(), "pwdAccountLockedTime")) > 0 {
					must(s.As(ldaptest.AdminDN, &ldap.ModifyRequest{Object: []byte(name()), Changes: []ldap.Mod{{Op: ldap.ModDelete, Attribute: attr("pwdAccountLockedTime")}}}))
					m.failures, m.locked = nil, time.Time{}
				}
			},
			"rename": func(t *rapid.T) {
				next := rdn + "x"
				must(s.As(ldaptest.AdminDN, &ldap.ModifyDNRequest{Entry: []byte(name()), NewRDN: []byte(next), DeleteOldRDN: true}))
				rdn = next
			},
			"": func(t *rapid.T) {
				if got := len(values(t, s, name(), "pwdFailureTime")); got != len(m.failures) {
					t.Fatalf("%d failures are shown, not %d", got, len(m.failures))
				}
				if got := len(values(t, s, name(), "pwdGraceUseTime")); got != m.grace {
					t.Fatalf("%d grace binds are shown, not %d", got, m.grace)
				}
				if got := len(values(t, s, name(), "pwdAccountLockedTime")) > 0; got != !m.locked.IsZero() {
					t.Fatalf("pwdAccountLockedTime: %t", got)
				}
			},
		})
		must(s.As(ldaptest.AdminDN, &ldap.DelRequest{Entry: []byte(name())}))
	})
}

func check(t *rapid.T, s *ldaptest.Server, m *model, name, password string) {
	want := m.bind(password, s.Clock().Now())
	if got := said(bindTo(s.Engine, conn(), name, password)); got != want {
		t.Fatalf("bind with %q: %s, want %s", password, got, want)
	}
}
