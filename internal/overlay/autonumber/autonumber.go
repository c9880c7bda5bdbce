// Package autonumber gives new entries numbers: uidNumber, gidNumber, any attribute of integers. A number is chosen inside
// the transaction that stores it, and what is next is durable with it, so that of any number of writers no two get the same
// one, and none is given again after a crash.
package autonumber

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/internal/schema"
	"portolan/ldap"
)

// Options is the table [overlay.autonumber].
type Options struct {
	Ranges []Range `toml:"range"`
}

// Range is where numbers of one attribute come from. Of several for the same entries the first that is not used up counts.
type Range struct {
	// Attribute gets the numbers.
	Attribute string `toml:"attribute"`
	// Base and Filter say which entries get one, where they come without.
	Base   string `toml:"base"`
	Filter string `toml:"filter"`
	// First and Last are the bounds, both included.
	First int64 `toml:"first"`
	Last  int64 `toml:"last"`
	// Within is the subtree in which a number must be nobody's to be given; empty is the whole directory.
	Within string `toml:"within"`
	// Placeholder, where not empty, is a value that asks for a number, for clients that must send one.
	Placeholder string `toml:"placeholder"`
	// Reuse gives numbers again that have become free.
	Reuse bool `toml:"reuse"`
}

// Defaults are the options of a configuration that says nothing: no range.
func Defaults() Options { return Options{} }

// Validate says what in the table cannot be.
func (o *Options) Validate() error {
	_, err := compile(o.Ranges)
	return err
}

// New returns the overlay.
func New(o Options) op.Overlay {
	ranges, err := compile(o.Ranges)
	x := &autonumber{ranges: ranges}
	var attributes []string
	for _, r := range ranges {
		attributes = append(attributes, r.Attribute)
	}
	return op.Overlay{
		Name:         "autonumber",
		Equality:     attributes,
		Open:         func(p *op.Ports) (func(), error) { return nil, cmp.Or(err, x.open(p)) },
		Prepare:      x.prepare,
		Derive:       x.derive,
		Check:        x.check,
		CheckEntries: x.checkEntries,
	}
}

type autonumber struct{ ranges []*numbers }

// numbers is a Range that was understood.
type numbers struct {
	Range
	part   *op.Part
	within *op.Part
	key    string       // of its state
	start  atomic.Int64 // where it begins while it has no state: behind the numbers that are taken from First on
}

func compile(in []Range) ([]*numbers, error) {
	out := make([]*numbers, len(in))
	for i, r := range in {
		bad := func(format string, args ...any) error {
			return fmt.Errorf("overlay.autonumber.range[%d].%s", i+1, fmt.Sprintf(format, args...))
		}
		switch {
		case r.Attribute == "":
			return nil, bad("attribute: the range is of none: write for example attribute = \"uidNumber\"")
		case r.Last == 0:
			return nil, bad("last: the range has no end: write for example first = 10000 and last = 59999")
		case r.First > r.Last:
			return nil, bad("first: %d is above last, which is %d", r.First, r.Last)
		case r.Last == math.MaxInt64:
			return nil, bad("last: at most %d", int64(math.MaxInt64-1))
		}
		if r.Placeholder != "" {
			n, err := strconv.ParseInt(r.Placeholder, 10, 64)
			if err != nil || n >= r.First && n <= r.Last {
				return nil, bad("placeholder: %q is no whole number outside of the range: write for example \"-1\"", r.Placeholder)
			}
		}
		n := &numbers{Range: r}
		var err error
		if n.part, err = op.NewPart(r.Base, "", r.Filter); err != nil {
			return nil, bad("%v", err)
		}
		if n.within, err = op.NewPart(r.Within, "", ""); err != nil {
			return nil, bad("within: %q is not a DN: write one such as dc=example,dc=org", r.Within)
		}
		// The range is known by what it is, not by its place in the file.
		sum := sha256.Sum256([]byte(strings.ToLower(r.Attribute + "\x00" + r.Base + "\x00" + r.Filter + "\x00" + r.Within)))
		n.key = fmt.Sprintf("autonumber/%s/%d/", hex.EncodeToString(sum[:12]), r.First)
		out[i] = n
	}
	return out, nil
}

// open refuses attributes that hold no numbers, and finds where ranges begin that have given none yet.
func (x *autonumber) open(p *op.Ports) error {
	view := p.Directory.View()
	defer view.Close()
	for i, n := range x.ranges {
		t := view.Schema().AttributeTypeString(n.Attribute)
		switch {
		case t == nil:
			return fmt.Errorf("overlay.autonumber.range[%d].attribute: the schema has no attribute %q", i+1, n.Attribute)
		case t.Syntax.OID != integerSyntax || t.Equality == nil || t.NoUserModification:
			return fmt.Errorf("overlay.autonumber.range[%d].attribute: %s cannot be given numbers: it is not one of integers that clients may write", i+1, n.Attribute)
		}
		value, err := p.State.Get([]byte(n.key + "next"))
		if err != nil {
			return err
		}
		if value != nil {
			continue
		}
		start := n.First
		for start <= n.Last {
			taken, err := n.taken(view, t, start)
			if err != nil || !taken {
				break // an index that is being built says nothing: the transaction looks again
			}
			start++
		}
		n.start.Store(start)
	}
	return nil
}

// integerSyntax is INTEGER (RFC 4517 section 3.3.16).
const integerSyntax = "1.3.6.1.4.1.1466.115.121.1.27"

// prepare gives numbers to a draft that comes to be in a range and has none.
func (x *autonumber) prepare(tx op.Tx, _ *op.Request, before *dit.Entry, d *dit.Draft) error {
	s := tx.Schema()
	var full *numbers
	for _, n := range x.ranges {
		t := s.AttributeTypeString(n.Attribute)
		if t == nil || !n.wanted(t, before, d) {
			continue
		}
		in, err := n.part.HasDraft(tx, d)
		if err != nil {
			return err
		}
		if !in {
			continue
		}
		number, ok, err := n.give(tx, t)
		if err != nil {
			return err
		}
		if !ok {
			full = n
			continue
		}
		d.Set(t, []byte(strconv.FormatInt(number, 10)))
	}
	if full != nil && full.wanted(s.AttributeTypeString(full.Attribute), before, d) {
		return ldap.Errorf(ldap.UnwillingToPerform,
			"%s: the numbers from %d to %d are used up: give one outside of them, or have the administrator add a range", full.Attribute, full.First, full.Last)
	}
	return nil
}

// wanted reports whether a draft is without a number, or asks for one by the placeholder. Who takes the number of an entry
// away is not given another one.
func (n *numbers) wanted(t *schema.AttributeType, before *dit.Entry, d *dit.Draft) bool {
	desc := schema.Description{Type: t}
	a := d.Attr(desc)
	if a == nil || a.Count() == 0 {
		return before == nil || before.Shape().Find(desc) < 0
	}
	return n.Placeholder != "" && len(a.Values) == 1 && string(a.Values[0]) == n.Placeholder && d.Touched(desc)
}

// give returns the next number and moves on; ok is false where there is none left.
func (n *numbers) give(tx op.Tx, t *schema.AttributeType) (number int64, ok bool, err error) {
	if n.Reuse {
		if number, ok, err = n.popFree(tx, t); ok || err != nil {
			return number, ok, err
		}
	}
	next, err := n.next(tx)
	if err != nil {
		return 0, false, err
	}
	for ; next <= n.Last; next++ {
		taken, err := n.taken(tx, t, next)
		if err != nil {
			return 0, false, err
		}
		gone, err := n.takeMark(tx, "gone/", next)
		if err != nil {
			return 0, false, err
		}
		if taken || gone {
			continue
		}
		return next, true, tx.SetState([]byte(n.key+"next"), strconv.AppendInt(nil, next+1, 10))
	}
	return 0, false, nil
}

// next is the number that comes next unless it is taken.
func (n *numbers) next(tx op.StateTx) (int64, error) {
	value, err := tx.State([]byte(n.key + "next"))
	if err != nil {
		return 0, err
	}
	if value == nil {
		return max(n.start.Load(), n.First), nil
	}
	next, err := strconv.ParseInt(string(value), 10, 64)
	if err != nil || next < n.First {
		return 0, ldap.Errorf(ldap.Other, "what is kept of the numbers of %s cannot be read: see portolan check", n.Attribute)
	}
	return next, nil
}

// taken reports whether an entry has the number, of whatever kind it is: a group must not get the number that accounts name
// as theirs already.
func (n *numbers) taken(r op.Reader, t *schema.AttributeType, number int64) (bool, error) {
	key, err := t.Equality.ValueKey(r.Schema(), nil, strconv.AppendInt(nil, number, 10))
	if err != nil {
		return false, err
	}
	ids, err := r.Equal(t, key)
	if err != nil || n.Within == "" {
		return err == nil && !ids.IsEmpty(), err
	}
	for it := ids.Iterator(); it.HasNext(); {
		e, err := r.Get(dit.ID(it.Next()))
		if err != nil {
			return false, err
		}
		if e == nil {
			continue
		}
		if in, err := n.within.Has(r, e); in || err != nil {
			return in, err
		}
	}
	return false, nil
}

// Numbers that were given up stand in the state: "gone/N" for one ahead of what is next, which would be given otherwise;
// with Reuse they are a list, "free" naming the first and "free/N" the one behind N.

func (n *numbers) mark(kind string, number int64) []byte {
	return strconv.AppendInt([]byte(n.key+kind), number, 10)
}

// takeMark reports whether there is a mark, and removes it.
func (n *numbers) takeMark(tx op.StateTx, kind string, number int64) (bool, error) {
	key := n.mark(kind, number)
	value, err := tx.State(key)
	if value == nil || err != nil {
		return false, err
	}
	return true, tx.SetState(key, nil)
}

// popFree takes the first free number from the list that is still free.
func (n *numbers) popFree(tx op.Tx, t *schema.AttributeType) (number int64, ok bool, err error) {
	head := []byte(n.key + "free")
	for {
		value, err := tx.State(head)
		if err != nil || value == nil {
			return 0, false, err
		}
		number, err := strconv.ParseInt(string(value), 10, 64)
		if err != nil {
			return 0, false, ldap.Errorf(ldap.Other, "what is kept of the numbers of %s cannot be read: see portolan check", n.Attribute)
		}
		link := n.mark("free/", number)
		behind, err := tx.State(link)
		if err != nil {
			return 0, false, err
		}
		if string(behind) == "end" {
			behind = nil
		}
		if err := tx.SetState(head, behind); err != nil {
			return 0, false, err
		}
		if err := tx.SetState(link, nil); err != nil {
			return 0, false, err
		}
		taken, err := n.taken(tx, t, number)
		if err != nil {
			return 0, false, err
		}
		if !taken && number >= n.First && number <= n.Last {
			return number, true, nil
		}
	}
}

// derive remembers numbers that entries give up.
func (x *autonumber) derive(tx op.Tx, _ *op.Request, c dit.Change) error {
	if c.Before == nil {
		return nil
	}
	s := tx.Schema()
	for _, n := range x.ranges {
		t := s.AttributeTypeString(n.Attribute)
		if t == nil {
			continue
		}
		desc := schema.Description{Type: t}
		for _, number := range numbersOf(c.Before, desc) {
			if number < n.First || number > n.Last || c.After != nil && slices.Contains(numbersOf(c.After, desc), number) {
				continue
			}
			if err := n.release(tx, number); err != nil {
				return err
			}
		}
	}
	return nil
}

func numbersOf(e *dit.Entry, d schema.Description) (out []int64) {
	slot := e.Shape().Find(d)
	if slot < 0 {
		return nil
	}
	if _, large := e.Large(slot); large {
		return nil
	}
	for v := e.Values(slot); ; {
		value, ok := v.Next()
		if !ok {
			return out
		}
		if number, err := strconv.ParseInt(string(value), 10, 64); err == nil {
			out = append(out, number)
		}
	}
}

// release remembers one number.
func (n *numbers) release(tx op.StateTx, number int64) error {
	next, err := n.next(tx)
	if err != nil {
		return err
	}
	switch {
	case !n.Reuse && number >= next:
		return tx.SetState(n.mark("gone/", number), []byte("1"))
	case !n.Reuse || number >= next:
		return nil // what is behind is never given again; what is ahead will be
	}
	link := n.mark("free/", number)
	if there, err := tx.State(link); err != nil || there != nil {
		return err
	}
	head := []byte(n.key + "free")
	behind, err := tx.State(head)
	if err != nil {
		return err
	}
	if behind == nil {
		behind = []byte("end")
	}
	if err := tx.SetState(link, behind); err != nil {
		return err
	}
	return tx.SetState(head, strconv.AppendInt(nil, number, 10))
}
