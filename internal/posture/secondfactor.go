package posture

import (
	"fmt"
	"slices"

	"portolan/internal/overlay/otp"
)

// widestWindow is how many codes before and after the present one are taken without a finding: RFC 6238 section 5.2
// recommends one.
const widestWindow = 2

// otpWindow warns of codes that are good for long: as many as are taken at a time are guessed at once.
func otpWindow(r *review) {
	o := otp.Defaults()
	if err := r.Config.DecodeOverlay("otp", &o); err != nil {
		r.failed("[overlay.otp]: %w", err)
		return
	}
	const key = "overlay.otp.window"
	if o.Window > widestWindow {
		r.add(r.Config.At(key), Finding{Severity: Warn, Key: key, Seen: fmt.Sprintf("%d codes are taken at any time", 2*o.Window+1), Fix: "under [overlay.otp]",
			Means: "a code that somebody has looked over a shoulder for is good for long, and guesses have as many chances more", Write: "window = 1"})
	}
}

// otpMechanisms warns of mechanisms that let accounts with a second factor in without it.
func otpMechanisms(r *review) {
	o := otp.Defaults()
	if err := r.Config.DecodeOverlay("otp", &o); err != nil {
		return // otpWindow says what is wrong with the table
	}
	const key = "overlay.otp.mechanisms"
	usual := otp.Defaults().Mechanisms
	for _, m := range o.Mechanisms {
		if !slices.Contains(usual, m) {
			r.add(r.Config.At(key), Finding{Severity: Warn, Key: key, Seen: "the mechanism " + m + " needs no second factor", Fix: "under [overlay.otp]",
				Means: "whoever has the first factor of an account logs in by this mechanism and is asked for no second", Write: "mechanisms = " + list(usual)})
			return
		}
	}
}
