package posture

import "portolan/internal/overlay/dynlist"

// dynlistIdentity warns of dynamic groups and lists that show what the reader could not find himself.
func dynlistIdentity(r *review) {
	const key = "overlay.dynlist.identity"
	o := dynlist.Defaults()
	if err := r.Config.DecodeOverlay("dynlist", &o); err != nil {
		r.failed("[overlay.dynlist]: %w", err)
		return
	}
	if o.Identity == "" {
		return
	}
	r.add(r.Config.At(key), Finding{Severity: Warn, Key: key, Seen: "dynamic groups and lists show what " + o.Identity + " may read", Fix: "under [overlay.dynlist]",
		Means: "who may read such an entry learns who matches its filter, and values, that he may not read where they are stored", Write: "identity = \"\""})
}
