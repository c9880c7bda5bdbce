package shapes

import (
	"maps"
	"sync/atomic"
	"time"

	"portolan/internal/op"
	"portolan/internal/schema"
	"portolan/ldap"
)

// watch is what is known of one identity.
type watch struct {
	key   string
	mode  atomic.Uint32 // a Mode
	known atomic.Pointer[known]

	// Firewall.mu guards the rest.
	name     string // canonical
	dn       string
	decided  bool // somebody has set the mode
	until    time.Time
	since    time.Time // when the mode was set
	shapes   map[string]*shape
	homeless uint64 // filters of shapes for which there was no room
	warned   uint64
	refused  uint64
	dirty    bool
}

// known finds shapes by the hash of a filter as it came. It is replaced, never changed. Another schema may give other names
// to what came.
type known struct {
	schema *schema.Schema
	shapes map[uint64]*shape
}

// shape is one shape of one identity.
type shape struct {
	text     string
	id       string
	count    atomic.Uint64
	last     atomic.Int64 // seconds
	approved atomic.Bool

	// Firewall.mu guards the rest.
	first   int64
	example string
	from    string
	saved   uint64 // count as it was written down
}

// alarms counts an alarm. Firewall.mu is held.
func (w *watch) alarms(m Mode) {
	if m == Enforce {
		w.refused++
	} else {
		w.warned++
	}
}

// know remembers the shape of a filter by its hash. Firewall.mu is held.
func (w *watch) know(s *schema.Schema, hash uint64, of *shape) {
	k := w.known.Load()
	next := &known{schema: s, shapes: map[uint64]*shape{hash: of}}
	if k != nil && k.schema == s && len(k.shapes) < maxKnown {
		if k.shapes[hash] == of {
			return
		}
		next.shapes = maps.Clone(k.shapes)
		next.shapes[hash] = of
	}
	w.known.Store(next)
}

// drop forgets a shape. Firewall.mu is held.
func (f *Firewall) drop(w *watch, s *shape) {
	s.approved.Store(false) // for those who have it in their hands
	delete(w.shapes, s.text)
	f.total--
	if k := w.known.Load(); k != nil {
		next := &known{schema: k.schema, shapes: maps.Clone(k.shapes)}
		maps.DeleteFunc(next.shapes, func(_ uint64, of *shape) bool { return of == s })
		w.known.Store(next)
	}
	f.unsaveShape(w, s)
}

// forget forgets an identity. Firewall.mu is held.
func (f *Firewall) forget(w *watch) {
	for _, s := range w.shapes {
		f.drop(w, s)
	}
	delete(f.watches, w.key)
	if f.byName[w.name] == w {
		delete(f.byName, w.name)
	}
	f.unsaveWatch(w)
	f.version.Add(1)
}

// watchFor finds, or begins, what is known of an identity.
func (f *Firewall) watchFor(id *op.Identity, now time.Time) *slot {
	at := &slot{identity: id}
	if id.Proxied != nil {
		id = id.Proxied // who built the filter
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	at.version = f.version.Load()
	w := f.find(id)
	if w == nil {
		if Mode(f.initial.Load()) == Off || !f.room(now, false) {
			return at
		}
		w = f.begin(id, now)
	}
	f.rename(w, id)
	if Mode(w.mode.Load()) != Off {
		at.watch = w
	}
	return at
}

// find finds what is known of an identity: by its entry, or by a name about which somebody has decided. The mode of an account
// must outlive that it is renamed, and that it is deleted and made again. f.mu is held.
func (f *Firewall) find(id *op.Identity) *watch {
	w := f.watches[keyOf(id)]
	if w != nil && w.decided {
		return w
	}
	if named := f.byName[id.Name.Norm]; named != nil {
		return named
	}
	return w
}

// begin begins to know an identity. f.mu is held.
func (f *Firewall) begin(id *op.Identity, now time.Time) *watch {
	w := &watch{key: keyOf(id), name: id.Name.Norm, dn: nameOf(id), shapes: make(map[string]*shape), since: now}
	w.mode.Store(f.initial.Load())
	f.watches[w.key] = w
	f.saveWatch(w)
	return w
}

// rename follows an identity to its name, and a name to its entry. f.mu is held.
func (f *Firewall) rename(w *watch, id *op.Identity) {
	key := keyOf(id)
	if w.name == id.Name.Norm && w.key == key {
		return
	}
	if w.key != key {
		if other := f.watches[key]; other != nil {
			f.forget(other)
		}
		shapes := w.shapes
		f.unsaveWatch(w)
		for _, s := range shapes {
			f.unsaveShape(w, s)
		}
		delete(f.watches, w.key)
		w.key = key
		f.watches[key] = w
		for _, s := range shapes {
			f.saveShape(w, s)
		}
	}
	if f.byName[w.name] == w {
		delete(f.byName, w.name)
	}
	w.name, w.dn = id.Name.Norm, nameOf(id)
	if w.decided {
		f.byName[w.name] = w
	}
	f.saveWatch(w)
}

// nameOf is what people call an identity.
func nameOf(id *op.Identity) string {
	if id.IsAnonymous() {
		return Anonymous
	}
	return id.Name.DN
}

// Anonymous stands for the name of those who have proved none.
const Anonymous = "anonymous"

// room makes room for one more identity; decided says that somebody has decided about it. f.mu is held.
func (f *Firewall) room(now time.Time, decided bool) bool {
	if len(f.watches) < MaxIdentities {
		return true
	}
	return f.evict(now, decided, nil)
}

// evict forgets the identity that was only observed and has been quiet for longest. f.mu is held.
func (f *Firewall) evict(now time.Time, decided bool, but *watch) bool {
	if !decided && now.Sub(f.full) < time.Minute {
		return false // it was in vain a moment ago
	}
	var oldest *watch
	var quiet time.Time
	for _, w := range f.watches {
		if w.decided || w == but {
			continue
		}
		last := w.lastSeen()
		if oldest == nil || last.Before(quiet) {
			oldest, quiet = w, last
		}
	}
	if oldest == nil || !decided && now.Sub(quiet) < forgetAfter {
		f.full = now
		return false
	}
	f.forget(oldest)
	return true
}

// lastSeen says when a filter of the identity was seen last. Firewall.mu is held.
func (w *watch) lastSeen() time.Time {
	last := w.since.Unix()
	for _, s := range w.shapes {
		last = max(last, s.last.Load())
	}
	return time.Unix(last, 0)
}

// admit adds a shape of a filter that was just seen; nil where there is no room. f.mu is held.
func (f *Firewall) admit(w *watch, text string, req *op.Request, filter *ldap.Filter, mode Mode) *shape {
	if len(w.shapes) >= MaxShapes {
		var oldest *shape
		for _, s := range w.shapes {
			if !s.approved.Load() && (oldest == nil || s.last.Load() < oldest.last.Load()) {
				oldest = s
			}
		}
		if oldest == nil {
			return nil
		}
		f.drop(w, oldest)
	}
	if f.total >= MaxTotal && !f.evict(req.Start, w.decided, w) {
		return nil
	}
	s := &shape{text: text, id: shapeID(text), first: req.Start.Unix(), example: Example(filter), from: fromOf(req)}
	s.approved.Store(mode == Learn)
	s.last.Store(s.first)
	f.keep(w, s)
	return s
}

// keep adds a shape and writes it down. f.mu is held.
func (f *Firewall) keep(w *watch, s *shape) {
	w.shapes[s.text] = s
	f.total++
	f.saveShape(w, s)
}

// fromOf is where a request came from.
func fromOf(req *op.Request) string {
	if a := req.Conn.Remote.Addr(); a.IsValid() {
		return a.Unmap().String()
	}
	return string(req.Conn.Transport)
}
