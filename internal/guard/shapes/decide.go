package shapes

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"portolan/internal/op"
	"portolan/ldap"
)

// Identity is what is known of one identity.
type Identity struct {
	DN   string `json:"dn"`
	Mode string `json:"mode"`
	// Decided says that somebody has set the mode; otherwise it is the general one.
	Decided bool `json:"decided"`
	// Until is when learning ends, Since when the mode was set or the identity first seen.
	Until time.Time `json:"until,omitzero"`
	Since time.Time `json:"since"`
	Last  time.Time `json:"last,omitzero"`
	// Approved and Pending count shapes.
	Approved int `json:"approved"`
	Pending  int `json:"pending"`
	// Warned and Refused count alarms. Lost counts filters of shapes for which there was no room.
	Warned  uint64 `json:"warned"`
	Refused uint64 `json:"refused"`
	Lost    uint64 `json:"lost,omitempty"`
}

// Shape is one shape of an identity.
type Shape struct {
	ID       string    `json:"id"`
	Shape    string    `json:"shape"`
	Approved bool      `json:"approved"`
	Count    uint64    `json:"count"`
	First    time.Time `json:"first,omitzero"`
	Last     time.Time `json:"last,omitzero"`
	// Example is a filter of the shape as the client wrote it, without its values; From the address it came from.
	Example string `json:"example,omitempty"`
	From    string `json:"from,omitempty"`
}

// Identities lists what is known, those about which somebody has decided first.
func (f *Firewall) Identities() []Identity {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make([]Identity, 0, len(f.watches))
	for _, w := range f.watches {
		out = append(out, w.show())
	}
	slices.SortFunc(out, func(a, b Identity) int {
		if a.Decided != b.Decided {
			if a.Decided {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.DN, b.DN)
	})
	return out
}

// show is called with Firewall.mu held.
func (w *watch) show() Identity {
	i := Identity{
		DN: w.dn, Mode: Mode(w.mode.Load()).String(), Decided: w.decided, Until: w.until, Since: w.since,
		Warned: w.warned, Refused: w.refused, Lost: w.homeless,
	}
	var last int64
	for _, s := range w.shapes {
		if s.approved.Load() {
			i.Approved++
		} else {
			i.Pending++
		}
		last = max(last, s.last.Load())
	}
	if last > 0 {
		i.Last = time.Unix(last, 0).UTC()
	}
	return i
}

// Shapes returns what is known of an identity and its shapes: those that are not approved first, then what is seen most.
func (f *Firewall) Shapes(id *op.Identity) (Identity, []Shape, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	w := f.find(id)
	if w == nil {
		return Identity{}, nil, ErrUnknown
	}
	out := make([]Shape, 0, len(w.shapes))
	for _, s := range w.shapes {
		x := Shape{ID: s.id, Shape: s.text, Approved: s.approved.Load(), Count: s.count.Load(), Example: s.example, From: s.from}
		if s.first > 0 {
			x.First, x.Last = time.Unix(s.first, 0).UTC(), time.Unix(s.last.Load(), 0).UTC()
		}
		out = append(out, x)
	}
	slices.SortFunc(out, func(a, b Shape) int {
		if a.Approved != b.Approved {
			if b.Approved {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Shape, b.Shape))
	})
	return w.show(), out, nil
}

// SetMode decides about an identity; it need not have been seen. until is when learning ends; zero is never. observed
// approves what was seen until now. Enforcing nothing but refusals is an error, as is to decide about more identities than
// are kept. It returns when the decision is durable.
func (f *Firewall) SetMode(ctx context.Context, id *op.Identity, m Mode, until, now time.Time, observed bool) error {
	if err := f.setMode(id, m, until, now, observed); err != nil {
		return err
	}
	return f.flush(ctx)
}

func (f *Firewall) setMode(id *op.Identity, m Mode, until, now time.Time, observed bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	w := f.find(id)
	if m == Warn || m == Enforce {
		if w == nil || !observed && w.show().Approved == 0 || len(w.shapes) == 0 {
			return fmt.Errorf("no filter shape of %s is approved: everything would be refused. Let it learn first, or approve what was observed", nameOf(id))
		}
	}
	if w == nil {
		if !f.room(now, true) {
			return fmt.Errorf("modes are set for %d identities already: that is all that are kept", MaxIdentities)
		}
		w = f.begin(id, now)
	}
	f.rename(w, id)
	w.decided, w.since, w.until = true, now, time.Time{}
	if m == Learn {
		w.until = until
	}
	f.byName[w.name] = w
	w.mode.Store(uint32(m))
	if observed {
		for _, s := range w.shapes {
			s.approved.Store(true)
			f.saveShape(w, s)
		}
	}
	f.saveWatch(w)
	f.version.Add(1)
	return nil
}

// Approve approves shapes of an identity. Each is an ID, a filter, which stands for its shape whether it was seen or not, or
// "all" for those that were seen. It returns when the decision is durable.
func (f *Firewall) Approve(ctx context.Context, id *op.Identity, which []string, now time.Time) error {
	if err := f.choose(id, which, now, true); err != nil {
		return err
	}
	return f.flush(ctx)
}

// Remove forgets shapes of an identity, named as for Approve. Under enforcement they are refused from then on.
func (f *Firewall) Remove(ctx context.Context, id *op.Identity, which []string) error {
	if err := f.choose(id, which, time.Time{}, false); err != nil {
		return err
	}
	return f.flush(ctx)
}

func (f *Firewall) choose(id *op.Identity, which []string, now time.Time, approve bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	w := f.find(id)
	if w == nil {
		return ErrUnknown
	}
	// All of it or nothing: a mistake in the third is no reason to have done two.
	chosen := make([]*shape, 0, len(which))
	for _, name := range which {
		if name == "all" {
			for _, s := range w.shapes {
				chosen = append(chosen, s)
			}
			continue
		}
		s, err := f.named(w, name, now, approve)
		if err != nil {
			return err
		}
		chosen = append(chosen, s)
	}
	for _, s := range chosen {
		if !approve {
			if w.shapes[s.text] == s {
				f.drop(w, s)
			}
			continue
		}
		if known := w.shapes[s.text]; known != nil {
			known.approved.Store(true)
			f.saveShape(w, known)
			continue
		}
		if len(w.shapes) >= MaxShapes || f.total >= MaxTotal && !f.evict(now, true, w) {
			return fmt.Errorf("there is no room for more shapes of %s, which has %d: remove some", w.dn, len(w.shapes))
		}
		s.approved.Store(true)
		f.keep(w, s)
	}
	return nil
}

// named finds a shape by what somebody wrote. f.mu is held.
func (f *Firewall) named(w *watch, name string, now time.Time, create bool) (*shape, error) {
	use, text := op.SearchFilter, name
	for _, u := range []op.FilterUse{op.AssertionFilter, op.ValuesFilter} {
		if rest, ok := strings.CutPrefix(name, u.String()+" "); ok {
			use, text = u, rest
		}
	}
	if strings.HasPrefix(text, "(") {
		filter, err := ldap.ParseFilter(text)
		if err != nil {
			return nil, err
		}
		text = Text(f.o.Schema(), use, &filter)
		if s := w.shapes[text]; s != nil {
			return s, nil
		}
		if create {
			return &shape{text: text, id: shapeID(text), first: now.Unix(), example: Example(&filter)}, nil
		}
		return nil, fmt.Errorf("%s has no shape %s", w.dn, text)
	}
	for _, s := range w.shapes {
		if s.id == name {
			return s, nil
		}
	}
	return nil, fmt.Errorf("%s has no shape %q: write an ID of the list, a filter in parentheses, or all", w.dn, name)
}

// flush makes what was decided durable.
func (f *Firewall) flush(ctx context.Context) error {
	if f.o.State == nil {
		return nil
	}
	return f.o.State.Flush(ctx)
}
