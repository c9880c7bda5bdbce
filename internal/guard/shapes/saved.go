package shapes

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"

	"portolan/internal/op"
)

// What is known lies in op.State beneath StatePrefix, an identity and a shape each under a key of its own. A new shape and a
// decision are there within a second; who decides waits until they are. Counters follow every saveEvery.
const (
	StatePrefix = "shapes/"

	prefixWatch = StatePrefix + "i/"
	prefixShape = StatePrefix + "s/"
)

// keyOf identifies an identity: by its entry, which may be renamed, or by its name where it has none.
func keyOf(id *op.Identity) string {
	switch {
	case id.UUID != uuid.Nil:
		return "u" + id.UUID.String()
	case id.IsAnonymous():
		return Anonymous
	}
	return keyOfName(id.Name.Norm)
}

func keyOfName(norm string) string {
	sum := sha256.Sum256([]byte(norm))
	return fmt.Sprintf("n%x", sum[:16])
}

// savedWatch and savedShape are what is written down. Fields are added, never given another meaning.
type savedWatch struct {
	Name    string    `json:"name"`
	DN      string    `json:"dn"`
	Mode    string    `json:"mode"`
	Decided bool      `json:"decided,omitempty"`
	Until   time.Time `json:"until,omitzero"`
	Since   time.Time `json:"since"`
	Lost    uint64    `json:"lost,omitempty"`
	Warned  uint64    `json:"warned,omitempty"`
	Refused uint64    `json:"refused,omitempty"`
}

type savedShape struct {
	Text     string `json:"text"`
	Approved bool   `json:"approved,omitempty"`
	Count    uint64 `json:"count,omitempty"`
	First    int64  `json:"first,omitempty"`
	Last     int64  `json:"last,omitempty"`
	Example  string `json:"example,omitempty"`
	From     string `json:"from,omitempty"`
}

// saveWatch and its like are called with Firewall.mu held. That State cannot be written is told the log: requests go on.
func (f *Firewall) saveWatch(w *watch) {
	w.dirty = false
	f.set(prefixWatch+w.key, savedWatch{
		Name: w.name, DN: w.dn, Mode: Mode(w.mode.Load()).String(), Decided: w.decided, Until: w.until, Since: w.since,
		Lost: w.homeless, Warned: w.warned, Refused: w.refused,
	})
}

func (f *Firewall) unsaveWatch(w *watch) { f.set(prefixWatch+w.key, nil) }

func shapeKey(w *watch, s *shape) string { return prefixShape + w.key + "\x00" + s.id }

func (f *Firewall) saveShape(w *watch, s *shape) {
	s.saved = s.count.Load()
	f.set(shapeKey(w, s), savedShape{
		Text: s.text, Approved: s.approved.Load(), Count: s.saved, First: s.first, Last: s.last.Load(), Example: s.example, From: s.from,
	})
}

func (f *Firewall) unsaveShape(w *watch, s *shape) { f.set(shapeKey(w, s), nil) }

// set writes a value as JSON, or deletes it.
func (f *Firewall) set(key string, v any) {
	if f.o.State == nil {
		return
	}
	var err error
	if v == nil {
		err = f.o.State.Delete([]byte(key))
	} else {
		var value []byte
		if value, err = json.Marshal(v); err == nil {
			err = f.o.State.Set([]byte(key), value)
		}
	}
	if err != nil {
		f.o.Log.Error("filter shapes cannot be written down", "error", err)
	}
}

// saveCounters writes down what was counted.
func (f *Firewall) saveCounters() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, w := range f.watches {
		if w.dirty {
			f.saveWatch(w)
		}
		for _, s := range w.shapes {
			if s.count.Load() != s.saved {
				f.saveShape(w, s)
			}
		}
	}
}

// load reads what was written down. What cannot be read is an error: an account under enforcement must not be without it.
func (f *Firewall) load() error {
	if f.o.State == nil {
		return nil
	}
	var wrong error
	err := f.o.State.Each([]byte(prefixWatch), func(key, value []byte) bool {
		wrong = f.loadWatch(string(key[len(prefixWatch):]), value)
		return wrong == nil
	})
	if err == nil && wrong == nil {
		err = f.o.State.Each([]byte(prefixShape), func(key, value []byte) bool {
			wrong = f.loadShape(key[len(prefixShape):], value)
			return wrong == nil
		})
	}
	if err == nil {
		err = wrong
	}
	if err != nil {
		return fmt.Errorf("what is known of filter shapes cannot be read: %w", err)
	}
	return nil
}

func (f *Firewall) loadWatch(key string, value []byte) error {
	var saved savedWatch
	if err := json.Unmarshal(value, &saved); err != nil {
		return fmt.Errorf("identity %s: %w", key, err)
	}
	mode, err := ParseMode(saved.Mode)
	if err != nil {
		return fmt.Errorf("identity %s: %w", saved.DN, err)
	}
	w := &watch{
		key: key, name: saved.Name, dn: saved.DN, decided: saved.Decided, until: saved.Until, since: saved.Since,
		homeless: saved.Lost, warned: saved.Warned, refused: saved.Refused, shapes: make(map[string]*shape),
	}
	if !w.decided {
		mode = f.o.Default
	}
	w.mode.Store(uint32(mode))
	f.watches[key] = w
	if w.decided {
		f.byName[w.name] = w
	}
	return nil
}

func (f *Firewall) loadShape(key, value []byte) error {
	owner, id, _ := bytes.Cut(key, []byte{0})
	w := f.watches[string(owner)]
	if w == nil {
		return nil // its identity was forgotten
	}
	var saved savedShape
	if err := json.Unmarshal(value, &saved); err != nil {
		return fmt.Errorf("shape %s of %s: %w", id, w.dn, err)
	}
	s := &shape{text: saved.Text, id: string(id), first: saved.First, example: saved.Example, from: saved.From, saved: saved.Count}
	s.count.Store(saved.Count)
	s.last.Store(saved.Last)
	s.approved.Store(saved.Approved)
	w.shapes[s.text] = s
	f.total++
	return nil
}
