package replica

import (
	"maps"
	"sync"
	"time"

	"portolan/internal/dit"
)

// State is what a consumer is doing.
type State string

// States.
const (
	Connecting State = "connecting"
	Refreshing State = "refreshing" // being told what has changed since the cookie, or everything
	InStep     State = "in step"    // told of changes as they come
	Polled     State = "polled"     // in step with the last poll, waiting for the next
	Waiting    State = "waiting"    // after a failure
	Stopped    State = "stopped"
)

// Status is how a copy does.
type Status struct {
	Provider string `json:"provider"`
	Base     string `json:"base"`
	State    State  `json:"state"`
	// Connected says that there is a connection to the provider; Since is when State was entered.
	Connected bool      `json:"connected"`
	Since     time.Time `json:"since,omitzero"`
	// Cookie is what the copy holds, in the provider's words; CSN the newest change in it, where the cookie says it.
	Cookie string `json:"cookie,omitempty"`
	CSN    string `json:"csn,omitempty"`
	// Behind is for how many seconds the copy has not been known to be what the provider has; -1 where it never was.
	Behind int64 `json:"seconds_behind"`
	// Changed is when the provider last told of a change. Error is why the last attempt ended, empty once all is well.
	Changed time.Time `json:"changed,omitzero"`
	Error   string    `json:"error,omitempty"`
	ErrorAt time.Time `json:"error_at,omitzero"`
	// These count since the start: entries written and found to be the same, and refreshes that came to their end.
	Added     uint64 `json:"added"`
	Modified  uint64 `json:"modified"`
	Renamed   uint64 `json:"renamed"`
	Deleted   uint64 `json:"deleted"`
	Unchanged uint64 `json:"unchanged"`
	Refreshes uint64 `json:"refreshes"`
	// Skipped counts values that were left out since the start, by attribute and reason.
	Skipped map[string]uint64 `json:"skipped,omitempty"`
	// Refused are entries that could not be stored, Unplaced those whose parents the provider does not show.
	Refused  uint64 `json:"refused"`
	Unplaced uint64 `json:"unplaced"`
}

// maxSkipped bounds Status.Skipped, and maxError the error that is shown.
const (
	maxSkipped = 100
	maxError   = 1000
)

// status is what a consumer tells of itself.
type status struct {
	now func() time.Time

	mu      sync.Mutex
	s       Status
	inStep  time.Time // when the copy was last known to be what the provider has
	changed chan struct{}
}

func (x *status) init(o *Options) {
	x.now = o.Now
	x.s = Status{Provider: o.URL, Base: o.Base, State: Connecting, Behind: -1}
	x.changed = make(chan struct{})
}

// Status returns how the copy does now.
func (x *status) Status() Status {
	x.mu.Lock()
	defer x.mu.Unlock()
	s := x.s
	s.Skipped = maps.Clone(x.s.Skipped)
	switch {
	case s.State == InStep:
		s.Behind = 0
	case !x.inStep.IsZero():
		s.Behind = max(0, int64(x.now().Sub(x.inStep)/time.Second))
	}
	return s
}

// Changed returns a channel that is closed when Status next changes.
func (x *status) Changed() <-chan struct{} {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.changed
}

// update changes the status and wakes who waits for that.
func (x *status) update(f func(s *Status)) {
	x.mu.Lock()
	defer x.mu.Unlock()
	f(&x.s)
	close(x.changed)
	x.changed = make(chan struct{})
}

// enter notes what the consumer does now.
func (x *status) enter(state State) {
	x.update(func(s *Status) {
		if s.State == InStep {
			x.inStep = x.now()
		}
		if s.State != state {
			s.State, s.Since = state, x.now()
		}
		switch state {
		case Refreshing:
			s.Connected = true
		case InStep, Polled:
			s.Connected, s.Error, s.ErrorAt = state == InStep, "", time.Time{}
			x.inStep = x.now()
		default:
			s.Connected = false
		}
	})
}

// failed notes why an attempt has ended, and reports whether that is news.
func (x *status) failed(err error, final bool) (news bool) {
	state := Waiting
	if final {
		state = Stopped
	}
	x.enter(state)
	text := err.Error()
	if len(text) > maxError {
		text = text[:maxError] + "..."
	}
	x.update(func(s *Status) {
		news = s.Error != text
		s.Error, s.ErrorAt = text, x.now()
	})
	return news
}

// progress counts what the provider has brought about.
func (x *status) progress() uint64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.s.Added + x.s.Modified + x.s.Renamed + x.s.Deleted + x.s.Refreshes
}

// refusals is how many entries could not be stored.
func (x *status) refusals() uint64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.s.Refused
}

// stored notes a cookie that is durable.
func (x *status) stored(p *position) {
	x.update(func(s *Status) {
		s.Cookie = string(p.cookie)
		if csn := p.csn(); !csn.IsZero() {
			s.CSN = csn.String()
		}
	})
}

// skipped notes values that are left out, and reports whether it is the first time for this attribute and reason.
func (x *status) skipped(what string, n int) (first bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.s.Skipped == nil {
		x.s.Skipped = make(map[string]uint64)
	}
	_, known := x.s.Skipped[what]
	if !known && len(x.s.Skipped) >= maxSkipped {
		what = "others"
		_, known = x.s.Skipped[what]
	}
	x.s.Skipped[what] += uint64(n)
	return !known
}

// csnOf returns the newest CSN of a cookie in OpenLDAP's form; the zero CSN where there is none.
func csnOf(cookie []byte) (csn dit.CSN) {
	c, ok := dit.ParseSyncCookie(cookie, sealField)
	if !ok {
		return csn
	}
	for _, x := range c.CSNs {
		if x.Compare(csn) > 0 {
			csn = x
		}
	}
	return csn
}
