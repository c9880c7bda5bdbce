// Package shapes is the firewall against LDAP injection. An application that builds filters from what its users type, and
// forgets to escape it, lets them change what the filter asks; but then they change its shape too, and an application only
// ever sends a handful of shapes.
//
// A shape is the tree of a filter without its values: attribute descriptions under their names in the schema, asterisks
// kept, siblings in one order, and siblings of one shape once. The values of objectClass that are object classes stay: they
// are part of what an application asks, not of what its users type. Base and scope are not part of it: they are fields of
// their own, which no filter can change.
//
// Shapes are kept for each service identity, which is who authenticated the connection, not whom an operation is done as.
// A mode says what they are for; see Mode.
package shapes

import (
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"portolan/internal/op"
	"portolan/internal/schema"
	"portolan/ldap"
)

// Mode is what is done with the filters of an identity.
type Mode uint32

// Modes.
const (
	Off     Mode = iota // nothing is looked at
	Observe             // shapes are recorded
	Learn               // shapes are recorded and approved
	Warn                // shapes that are not approved raise the alarm
	Enforce             // shapes that are not approved raise the alarm and are refused
)

var modeNames = [...]string{"off", "observe", "learn", "warn", "enforce"}

func (m Mode) String() string { return modeNames[m] }

// ParseMode is the inverse of String.
func ParseMode(s string) (Mode, error) {
	for m, name := range modeNames {
		if s == name {
			return Mode(m), nil
		}
	}
	return 0, fmt.Errorf("%q is no mode: write off, observe, learn, warn or enforce", s)
}

// Bounds of what is kept.
const (
	// MaxShapes is how many shapes are kept of one identity. Where there are more, those go first that were not approved and
	// have not been seen for longest; approved ones stay.
	MaxShapes = 256
	// MaxIdentities is how many identities are kept, MaxTotal how many shapes of all of them. Identities about which somebody
	// has decided come first: for them others are forgotten, and among these a new one has a place when another has not been
	// seen for a day.
	MaxIdentities = 1024
	MaxTotal      = 20_000
	// maxKnown is how many forms of filters of one identity are known by their hash. One shape has several: siblings in
	// another order do not count, but other spellings of an attribute do.
	maxKnown = 1024
)

// forgetAfter is how long an identity that was only observed keeps its place against others.
const forgetAfter = 24 * time.Hour

// Options are what a Firewall is made of.
type Options struct {
	// Default is the mode of identities about which nothing was decided: Observe or Off.
	Default Mode
	// State keeps what is known; nil keeps it in memory alone.
	State op.State
	// Schema returns the schema in force.
	Schema func() *schema.Schema
	Log    *slog.Logger
}

// Alarm is a filter that is built as no approved one is.
type Alarm struct {
	Mode  Mode // Warn: it was let through; Enforce: it was refused
	Use   op.FilterUse
	Shape string // without values
	ID    string
}

// Firewall keeps the shapes and implements op.FilterGuard.
type Firewall struct {
	o       Options
	seed    maphash.Seed
	alarm   func(*op.Request, Alarm)
	version atomic.Uint64 // raised when identities are given other watches
	initial atomic.Uint32 // the Mode of identities about which nothing was decided

	warned, refused atomic.Uint64 // since the start

	mu      sync.Mutex
	watches map[string]*watch // by key
	byName  map[string]*watch // those about which somebody decided, by canonical name
	total   int               // shapes
	full    time.Time         // when no place was found last
}

// New returns a Firewall that knows what State has. The error says what of it cannot be read.
func New(o Options) (*Firewall, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	f := &Firewall{o: o, seed: maphash.MakeSeed(), watches: make(map[string]*watch), byName: make(map[string]*watch)}
	f.initial.Store(uint32(o.Default))
	return f, f.load()
}

// OnAlarm names what is told of alarms, before the first request; it must not block for long.
func (f *Firewall) OnAlarm(alarm func(*op.Request, Alarm)) { f.alarm = alarm }

// SetDefault changes Options.Default.
func (f *Firewall) SetDefault(m Mode) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.initial.Store(uint32(m))
	for _, w := range f.watches {
		if !w.decided {
			w.mode.Store(uint32(m))
		}
	}
	f.version.Add(1)
}

// Stats counts alarms since the start, and identities by what was decided about them.
type Stats struct {
	Warned     uint64 `json:"warned"`
	Refused    uint64 `json:"refused"`
	Observed   int    `json:"observed"`
	Learning   int    `json:"learning"`
	Warning    int    `json:"warning"`
	Enforced   int    `json:"enforced"`
	ShapeCount int    `json:"shapes"`
}

// Stats returns the figures of this moment.
func (f *Firewall) Stats() Stats {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := Stats{Warned: f.warned.Load(), Refused: f.refused.Load(), ShapeCount: f.total}
	for _, w := range f.watches {
		switch Mode(w.mode.Load()) {
		case Observe:
			s.Observed++
		case Learn:
			s.Learning++
		case Warn:
			s.Warning++
		case Enforce:
			s.Enforced++
		}
	}
	return s
}

// slot is what a connection keeps: whose filters it sends.
type slot struct {
	identity *op.Identity
	version  uint64
	watch    *watch // nil: not watched
}

// reason is what operators read.
const reason op.Reason = "filter shape not approved"

// Filter implements op.FilterGuard. A filter that is known costs a hash and a look into a map, and allocates nothing.
func (f *Firewall) Filter(req *op.Request, use op.FilterUse, filter *ldap.Filter) error {
	if req.Conn.Control || len(filter.Nodes) == 0 {
		return nil
	}
	id := req.Conn.Identity()
	at, _ := req.Conn.Shaped().(*slot)
	if at == nil || at.identity != id || at.version != f.version.Load() {
		at = f.watchFor(id, req.Start)
		req.Conn.SetShaped(at)
	}
	w := at.watch
	if w == nil {
		return nil
	}
	hash, ok := f.hash(use, filter)
	if ok {
		if k := w.known.Load(); k != nil && k.schema == f.o.Schema() {
			if s := k.shapes[hash]; s != nil && (s.approved.Load() || Mode(w.mode.Load()) <= Observe) {
				s.hit(req.Start.Unix())
				return nil
			}
		}
	}
	return f.unknown(req, w, use, filter, hash, ok)
}

// hit counts a filter of the shape.
func (s *shape) hit(now int64) {
	s.count.Add(1)
	if s.last.Load() != now {
		s.last.Store(now)
	}
}

// unknown deals with a filter that has not gone through before.
func (f *Firewall) unknown(req *op.Request, w *watch, use op.FilterUse, filter *ldap.Filter, hash uint64, hashed bool) error {
	sch := f.o.Schema()
	text := Text(sch, use, filter)
	f.mu.Lock()
	mode := f.modeAt(w, req.Start)
	if mode == Off || f.watches[w.key] != w {
		f.mu.Unlock()
		return nil // forgotten meanwhile: nobody had decided about it
	}
	s := w.shapes[text]
	if s == nil {
		s = f.admit(w, text, req, filter, mode)
	}
	approved := false
	if s != nil {
		if mode == Learn && !s.approved.Load() {
			s.approved.Store(true)
			f.saveShape(w, s)
		}
		approved = s.approved.Load()
		s.hit(req.Start.Unix())
		if hashed {
			w.know(sch, hash, s)
		}
	} else {
		w.homeless++
	}
	alarm := (mode == Warn || mode == Enforce) && !approved
	if alarm {
		w.alarms(mode)
		w.dirty = true
	}
	f.mu.Unlock()
	if !alarm {
		return nil
	}
	a := Alarm{Mode: mode, Use: use, Shape: text, ID: shapeID(text)}
	req.Trace.Note = "filter shape " + a.ID + " not approved"
	var err error
	if mode == Enforce {
		f.refused.Add(1)
		err = ldap.Errorf(ldap.UnwillingToPerform,
			"the filter-shape firewall refuses this filter: this account is not known to send the shape %s", text).Because(reason)
	} else {
		f.warned.Add(1)
	}
	if f.alarm != nil {
		f.alarm(req, a)
	}
	return err
}

// modeAt returns the mode of a moment: learning ends by itself. f.mu is held.
func (f *Firewall) modeAt(w *watch, now time.Time) Mode {
	mode := Mode(w.mode.Load())
	if mode == Learn && !w.until.IsZero() && !now.Before(w.until) {
		f.o.Log.Info("learning filter shapes is over: from now on unknown ones raise the alarm", "identity", w.dn)
		mode = Warn
		w.mode.Store(uint32(mode))
		w.until = time.Time{}
		f.saveWatch(w)
	}
	return mode
}

// Run writes counters down now and then, until stop is called, which writes them a last time. It may be called more than once.
func (f *Firewall) Run() (stop func()) {
	quit, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(saveEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				f.saveCounters()
			case <-quit:
				f.saveCounters()
				return
			}
		}
	}()
	return sync.OnceFunc(func() {
		close(quit)
		<-ended
	})
}

// saveEvery is how often counters are written down: what a crash loses of them.
const saveEvery = 30 * time.Second

var (
	_ op.FilterGuard = (*Firewall)(nil)
	// ErrUnknown says that nothing is known of an identity.
	ErrUnknown = errors.New("nothing is known of the filters of this identity")
)
