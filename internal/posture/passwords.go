package posture

import (
	"fmt"
	"strings"

	"portolan/internal/overlay/ppolicy"
)

// policyTable is the table that gives the password policy of who has no other. Policies that are entries of the directory
// are looked at by nobody here: they are content.
const policyTable = "overlay.ppolicy.policy"

// policyKeys are the settings that passwordPolicy answers for.
func policyKeys() []string {
	var out []string
	for _, k := range []string{"lockout", "max_failure", "lockout_duration", "check_quality", "min_length", "min_strength"} {
		out = append(out, policyTable+"."+k)
	}
	return out
}

// guessesNIST is the most wrong passwords in a row that NIST SP 800-63B section 5.2.2 lets a verifier take.
const guessesNIST = 100

// passwordPolicy looks at what the configuration asks of passwords, and of who guesses them.
func passwordPolicy(r *review) {
	o := ppolicy.Defaults()
	if err := r.Config.DecodeOverlay("ppolicy", &o); err != nil {
		r.failed("[overlay.ppolicy]: %w", err)
		return
	}
	p, usual := &o.Policy, ppolicy.DefaultPolicy()
	weak := func(key, seen, means, write string) {
		path := policyTable + "." + key
		f := Finding{Subject: key, Severity: Warn, Key: path, Seen: seen, Means: means, Fix: "under [" + policyTable + "]"}
		at := r.Config.At(path)
		if at.Line > 0 {
			f.Write = key + " = " + write
		} else {
			f.Fix += " write " + key + " = " + write
		}
		r.add(at, f)
	}
	switch {
	case p.MinDelay > 0: // a delay limits guesses as well
	case !p.Lockout:
		weak("lockout", "wrong passwords lock no account, and their answers do not wait", "whoever wants to guesses at a password without end", "true")
	case p.MaxFailure == 0 || p.MaxFailure > guessesNIST:
		weak("max_failure", fmt.Sprintf("an account is locked after %d wrong passwords (0 is never)", p.MaxFailure), "guesses at a password have no limit worth the name", fmt.Sprint(usual.MaxFailure))
	}
	if p.Lockout && p.LockoutDuration == 0 {
		weak("lockout_duration", "an account that wrong passwords have locked stays locked", "whoever sends a few wrong passwords keeps others out until an administrator comes", `"15m"`)
	}
	const easy = "users may choose passwords that are guessed in a few tries"
	switch {
	case p.CheckQuality == 0:
		weak("check_quality", "the quality of new passwords is not looked at", easy, fmt.Sprint(usual.CheckQuality))
		return
	case p.MinLength < usual.MinLength:
		weak("min_length", fmt.Sprintf("passwords of %d characters are taken", p.MinLength), easy, fmt.Sprint(usual.MinLength))
	}
	if p.MinStrength < usual.MinStrength && !p.CheckBreached {
		weak("min_strength", "passwords that everybody uses are taken", easy, fmt.Sprint(usual.MinStrength))
	}
}

// lockoutDisclosed warns of answers that tell who is locked.
func lockoutDisclosed(r *review) {
	o := ppolicy.Defaults()
	if err := r.Config.DecodeOverlay("ppolicy", &o); err != nil || !o.DiscloseLockout {
		return // passwordPolicy says what is wrong with the table
	}
	const key = "overlay.ppolicy.disclose_lockout"
	f := Finding{Severity: Warn, Key: key, Seen: "clients are told that an account is locked", Fix: "under [overlay.ppolicy]",
		Means: "whoever guesses learns which names are accounts, and when to wait", Write: "disclose_lockout = false"}
	r.add(r.Config.At(key), f)
}

// isOverlays reports whether a setting stands in the table of an overlay.
func isOverlays(key string) bool { return strings.HasPrefix(key, "overlay.") }
