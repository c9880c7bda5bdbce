package ppolicy_test

import (
	"fmt"
	"strings"
	"testing"

	"portolan/internal/dit"
	"portolan/internal/ldaptest"
	"portolan/internal/schema"
)

// state is an account in some state, and what is said of it by all who say something.
type state struct {
	name   string
	policy string // replaces statesPolicy
	// stored changes the entry in the store, as no client could.
	stored func(s *schema.Schema, d *dit.Draft)
	// arrange are lines of a dialogue, in which m is the administrator's connection.
	arrange   string
	usability string // the account usability control
	refused   bool   // whether the right password is
	told      string // the password policy control with the answer to it
	notice    string // the control of draft-vchu-ldap-pwd-policy, to who does not ask
	compared  string // as told, to a compare; told where empty and something is told
}

const statesPolicy = `
max_age = "10d"
expire_warning = "2d"
grace_authn_limit = 3
grace_expiry = "1d"
must_change = true
lockout = true
max_failure = 3
lockout_duration = "5m"
`

const (
	wrongThrice = "w bind " + alice + " wrong-1 => invalidCredentials\nw bind " + alice + " wrong-2 => invalidCredentials\nw bind " + alice + " wrong-3 => invalidCredentials\n"
	rightOnce   = "w bind " + alice + " alice-secret => success\n"
	graceOnce   = "w bind " + alice + " alice-secret\n< success\n<   control expired 0\n"
	byAdmin     = "m modify " + alice + " ; replace userPassword alice-secret => success\n"
	idleIn5d    = "max_idle = \"5d\"\n"
	setOf       = "m modify " + alice + " ; replace "
)

var states = []state{
	{name: "good", usability: "usable=/8640[0-9][0-9]|8639[0-9][0-9]/"},
	{name: "no age", policy: "max_age = 0\n", usability: "usable=-1"},
	{name: "no time of change", arrange: "m advance 1000h\n", usability: "usable=-1",
		stored: func(s *schema.Schema, d *dit.Draft) { d.Set(s.Known.PwdChangedTime) }},
	{name: "about to expire", arrange: "m advance 216h\n", usability: "usable=/8[56][0-9]{3}/", told: "expires=/8[56][0-9]{3}/", notice: "expiring /8[56][0-9]{3}/"},
	{name: "expired with grace", arrange: "m advance 241h\n", usability: "expired grace=3", told: "grace=2", notice: "expired 0", compared: "grace=0"},
	{name: "expired, grace used up", arrange: "m advance 241h\n" + graceOnce + graceOnce + graceOnce,
		usability: "expired grace=0", refused: true, told: "passwordExpired", notice: "expired 0"},
	{name: "expired, grace over", arrange: "m advance 265h\n", usability: "expired grace=0", refused: true, told: "passwordExpired", notice: "expired 0"},
	{name: "expired without grace", policy: "max_age = \"10d\"\n", arrange: "m advance 241h\n", usability: "expired grace=0", refused: true, told: "passwordExpired", notice: "expired 0"},

	{name: "must change", arrange: byAdmin, usability: "reset", told: "changeAfterReset", notice: "expired 0"},
	{name: "must change, about to expire", arrange: byAdmin + "m advance 216h\n", usability: "reset",
		told: "changeAfterReset expires=/8[56][0-9]{3}/", notice: "expired 0"},
	{name: "must change, however old", arrange: byAdmin + "m advance 300h\n", usability: "reset", told: "changeAfterReset", notice: "expired 0"},
	{name: "reset, and nobody wants it changed", policy: "must_change = false\n", arrange: setOf + "pwdReset TRUE => success\n", usability: "usable=-1"},
	{name: "exposed", policy: "must_change = false\n", stored: func(s *schema.Schema, d *dit.Draft) {
		d.Set(s.Known.PwdReset, []byte("TRUE"))
		d.Set(s.Known.PortolanExposedTime, []byte("20260101000000Z"))
	}, usability: "reset", told: "changeAfterReset", notice: "expired 0"},

	{name: "locked for a time", arrange: wrongThrice, usability: "inactive unlock=/29[0-9]|300/", refused: true, told: "accountLocked"},
	{name: "locked until somebody unlocks", policy: "lockout = true\nmax_failure = 3\nlockout_duration = 0\n", arrange: wrongThrice + "m advance 1000h\n",
		usability: "inactive", refused: true, told: "accountLocked"},
	{name: "no longer locked", arrange: wrongThrice + "m advance 301s\n", usability: "usable=/863[67][0-9][0-9]/"},
	{name: "unlocked", arrange: wrongThrice + "m modify " + alice + " ; delete pwdAccountLockedTime => success\n", usability: "usable=/86[0-9]{4}/"},
	{name: "locked and expired", arrange: "m advance 241h\n" + wrongThrice, usability: "inactive expired grace=3 unlock=/29[0-9]|300/", refused: true, told: "accountLocked"},
	{name: "locked by an administrator", arrange: setOf + "pwdAccountLockedTime 000001010000Z => success\nm advance 24h\n",
		usability: "inactive", refused: true, told: "accountLocked"},
	{name: "locked, and the policy locks nobody", policy: "lockout = false\n", arrange: setOf + "pwdAccountLockedTime 20260101000000Z => success\n", usability: "usable=-1"},

	{name: "not begun", arrange: setOf + "pwdStartTime 20900101000000Z => success\n", usability: "inactive", refused: true, told: "accountLocked"},
	{name: "begun", arrange: setOf + "pwdStartTime 20200101000000Z => success\n", usability: "usable=/86[0-9]{4}/"},
	{name: "ended", arrange: setOf + "pwdEndTime 20200101000000Z => success\n", usability: "inactive", refused: true, told: "accountLocked"},
	{name: "to end", policy: "max_age = 0\n", arrange: setOf + "pwdEndTime 20900101000000Z => success\n", usability: "usable=/[12][0-9]{9}/"},
	{name: "used lately", policy: idleIn5d, arrange: rightOnce + "m advance 24h\n", usability: "usable=/345[56][0-9][0-9]/"},
	{name: "idle", policy: idleIn5d, arrange: rightOnce + "m advance 121h\n", usability: "inactive", refused: true, told: "accountLocked"},
	{name: "never used", policy: idleIn5d, arrange: "m advance 121h\n", usability: "inactive", refused: true, told: "accountLocked"},
	{name: "idle, and forgotten to be", policy: idleIn5d, arrange: rightOnce + "m advance 121h\nm modify " + alice + " ; delete pwdLastSuccess => success\n",
		usability: "usable=/43[12][0-9]{3}/"},
	{name: "idle anew", policy: idleIn5d, arrange: rightOnce + "m advance 121h\nm modify " + alice + " ; delete pwdLastSuccess => success\nm advance 121h\n",
		usability: "inactive", refused: true, told: "accountLocked"},
	{name: "idle, with a new password", policy: idleIn5d, arrange: rightOnce + "m advance 121h\n" + byAdmin, usability: "usable=/43[12][0-9]{3}/"},
	{name: "disabled", arrange: setOf + "portolanAccountDisabled TRUE => success\n", usability: "inactive", refused: true},
	{name: "a delay in force", policy: "lockout = false\nmin_delay = \"2s\"\nmax_delay = \"8s\"\n", arrange: wrongThrice + "w waited 14s\n", usability: "usable=-1"},
}

// TestStates: account usability, the password policy control and the controls of draft-vchu-ldap-pwd-policy say the same of an
// account, whatever its state, and binds and compares of the right password do as they say.
func TestStates(t *testing.T) {
	for _, x := range states {
		t.Run(x.name, func(t *testing.T) {
			x.agree(t)
			policy := x.policy
			if policy == "" {
				policy = statesPolicy
			}
			s := ldaptest.Start(t, ldaptest.Options{
				LDIF:   top + strings.TrimSuffix(aliceOne, "\n") + "pwdReset: FALSE\n\n",
				Config: "[overlay.ppolicy]\ndisclose_lockout = true\nexpiry_controls = true\n[overlay.ppolicy.policy]\n" + policy,
			})
			if x.stored != nil {
				s.Edit(t, alice, x.stored)
			}
			s.Dialogue(t, x.name, x.dialogue())
		})
	}
}

// dialogue asks everybody about the account.
func (x *state) dialogue() string {
	answer := func(code, control, words string) string {
		out := "< " + code + "\n"
		if words != "" {
			out += strings.TrimSpace("<   control "+control+" "+words) + "\n"
		}
		return out
	}
	bound, equal := "success", "compareTrue"
	if x.refused {
		bound, equal = "invalidCredentials", "compareFalse"
	}
	compared := x.compared
	if compared == "" {
		compared = x.told
	}
	return "m bind " + ldaptest.AdminDN + " " + ldaptest.AdminPassword + " => success\n" + x.arrange +
		"m search base=" + alice + " scope=base attrs=1.1 ctl=usability\n< entry " + alice + "\n<   control usability " + x.usability + "\n< success\n" +
		"u bind " + alice + " alice-secret ctl=ppolicy\n" + answer(bound, "ppolicy", x.told) +
		"u bind " + alice + " alice-secret\n" + answer(bound, "", x.notice) +
		"m compare " + alice + " userPassword alice-secret ctl=ppolicy\n" + answer(equal, "ppolicy", compared)
}

// agree says where a row of the table contradicts itself: what is expected of one control follows from another.
func (x *state) agree(t *testing.T) {
	t.Helper()
	words := map[string]string{}
	for _, w := range strings.Fields(x.usability) {
		name, value, _ := strings.Cut(w, "=")
		words[name] = value
	}
	has := func(name string) bool { _, ok := words[name]; return ok }
	wrong := func(is, should bool, what string) {
		if is != should {
			t.Errorf("the table says of an account that is %q: %s %v", x.usability, what, is)
		}
	}
	grace := 0
	if words["grace"] != "" {
		if _, err := fmt.Sscan(words["grace"], &grace); err != nil {
			t.Fatal(err)
		}
	}
	wrong(x.refused, has("inactive") || has("expired") && grace == 0, "refused")
	wrong(strings.Contains(x.told, "changeAfterReset"), has("reset") && !has("inactive"), "changeAfterReset")
	wrong(strings.Contains(x.told, "passwordExpired"), has("expired") && grace == 0 && !has("inactive"), "passwordExpired")
	wrong(strings.Contains(x.told, fmt.Sprintf("grace=%d", grace-1)), grace > 0 && !has("inactive"), "a grace login less")
	wrong(x.notice == "expired 0", !has("inactive") && (has("reset") || has("expired")), "expired")
	wrong(strings.HasPrefix(x.notice, "expiring"), has("usable") && strings.HasPrefix(x.told, "expires="), "expiring")
	wrong(strings.Contains(x.told, "accountLocked"), has("inactive") && x.name != "disabled", "accountLocked") // which is not of the policy
}
