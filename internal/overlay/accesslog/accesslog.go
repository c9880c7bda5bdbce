// Package accesslog shows the journal as entries: cn=changelog as draft-good-ldap-changelog has it, cn=accesslog with the
// schema of slapo-accesslog. Nothing is stored for it: an entry is made from the journal when it is asked for, for the one
// who asks, and goes when the journal forgets the record. Each change of an entry is one entry of either log.
package accesslog

import (
	"context"
	"encoding/binary"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/google/uuid"

	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/internal/schema"
	"portolan/ldap"
)

// Options is the table [overlay.accesslog]: the names under which the logs are seen, empty for not at all.
type Options struct {
	Changelog string `toml:"changelog"`
	Accesslog string `toml:"accesslog"`
}

// Defaults are the options of a configuration that says nothing: no log is shown.
func Defaults() Options { return Options{} }

// New returns the overlay.
func New(o Options) op.Overlay {
	return op.Overlay{Name: "accesslog", Trees: func(p *op.Ports) []op.Tree {
		var trees []op.Tree
		if o.Changelog != "" {
			l := &log{Ports: p, dn: o.Changelog, kind: changelog}
			t := l.tree("changelog")
			t.Order, t.RootDSE = "changeNumber", l.rootDSE
			trees = append(trees, t)
		}
		if o.Accesslog != "" {
			l := &log{Ports: p, dn: o.Accesslog, kind: accesslog}
			t := l.tree("accesslog")
			t.Order = "reqStart"
			trees = append(trees, t)
		}
		return trees
	}}
}

// kind is which of the two logs it is.
type kind uint8

const (
	changelog kind = iota
	accesslog
)

// log is one of the logs. The entry of change number n has the ID n+1, the topmost entry the ID 1, and where it is behind
// all others the ID behind.
type log struct {
	*op.Ports
	dn   string
	kind kind
	head atomic.Pointer[oldest]
}

const (
	baseID = 1
	behind = 1 << 62
)

// oldest is the oldest record, and how many changes were before it.
type oldest struct{ seq, before uint64 }

func (l *log) tree(name string) op.Tree {
	return op.Tree{
		Name: name, DN: l.dn, Each: l.each, Get: l.get,
		Newest: func() uint64 { return l.Journal.Changes() + 1 },
		Grown:  l.grown, Since: l.since,
	}
}

// grown is op.Tree.Grown.
func (l *log) grown(after uint64) <-chan struct{} {
	_, last := l.Journal.Bounds()
	if l.Journal.Changes()+1 > after {
		return l.Journal.Grown(0)
	}
	return l.Journal.Grown(last)
}

// since is op.Tree.Since.
func (l *log) since(csn dit.CSN) (uint64, error) {
	next := csn
	next.Mod++
	if !l.Journal.Ordered() {
		return 0, op.ErrTrimmed
	}
	seq, err := l.Journal.At(next)
	if err != nil {
		return 0, err
	}
	n := l.Journal.Changes()
	err = l.Journal.Read(seq, func(r *dit.JournalRecord) bool {
		// Of a record with changes on both sides those up to csn are known.
		n = r.Before
		for i := range r.Changes {
			if r.Changes[i].CSN.Compare(csn) <= 0 {
				n = r.Before + uint64(i) + 1
			}
		}
		return false
	})
	return n + 1, err
}

// first is the number of the oldest change that the journal has; without any it is one more than that of the last.
func (l *log) first() (uint64, error) {
	first, _ := l.Journal.Bounds()
	if known := l.head.Load(); known != nil && known.seq == first {
		return known.before + 1, nil
	}
	found := oldest{before: l.Journal.Changes()}
	seq, err := l.Journal.Find(func(h *dit.JournalHead) bool {
		found = oldest{seq: h.Seq, before: h.Before}
		return true
	})
	if err != nil {
		return 0, err
	}
	if found.seq == seq {
		l.head.Store(&found)
	}
	return found.before + 1, nil
}

// rootDSE is what readers of change logs look for.
func (l *log) rootDSE() []op.TreeAttr {
	attrs := []op.TreeAttr{op.Text("changelog", l.dn)}
	return append(attrs, l.numbers()...)
}

func (l *log) numbers() []op.TreeAttr {
	first, err := l.first()
	if err != nil {
		l.Log.Warn("the oldest change cannot be found", "error", err)
		return nil
	}
	return []op.TreeAttr{
		op.Text("firstChangeNumber", strconv.FormatUint(first, 10)),
		op.Text("lastChangeNumber", strconv.FormatUint(l.Journal.Changes(), 10)),
	}
}

// top is the topmost entry.
func (l *log) top() *op.TreeEntry {
	first, last := l.Journal.Bounds()
	te := &op.TreeEntry{ID: baseID, DN: l.dn, HasChildren: first <= last}
	_, name, _ := strings.Cut(l.dn, "=")
	if dn, err := ldap.ParseDN(l.dn); err == nil && len(dn) == 1 {
		name = string(dn[0][0].Value)
	}
	class := "applicationProcess"
	if l.kind == accesslog {
		class = "auditContainer"
	}
	te.Attrs = append(te.Attrs, op.Text("objectClass", "top", class), op.Text("structuralObjectClass", class), op.Text("cn", name),
		op.Text("entryUUID", l.uuid(0).String()))
	te.Attrs = append(te.Attrs, l.numbers()...)
	return te
}

// uuid is the entryUUID of the entry of a change: the same at every reading, and another in every epoch and log.
func (l *log) uuid(n uint64) uuid.UUID {
	return uuid.NewSHA1(l.Journal.Epoch(), binary.BigEndian.AppendUint64([]byte{byte(l.kind)}, n))
}

// each is op.Tree.Each.
func (l *log) each(ctx context.Context, q *op.TreeQuery, f func(*op.TreeEntry) error) error {
	v := l.Directory.View()
	defer v.Close()
	s := v.Schema()
	norm, err := s.NormalizeDNString(nil, l.dn)
	if err != nil {
		return err
	}
	w := all()
	base, beneath := q.Scope == ldap.ScopeBase || q.Scope == ldap.ScopeSub, q.Scope != ldap.ScopeBase
	if q.Base != string(norm) {
		// One entry, if at all: nothing is beneath the entries of a log.
		if !base || !w.named(s, l.kind, q.Base, string(norm)) {
			return nil
		}
		base, beneath = false, true
	}
	if beneath && q.Filter != nil {
		w.filter(q.Filter)
	}
	w.after(q)
	top := func() error {
		if !base {
			return nil
		}
		te := l.top()
		if q.Order != 0 {
			te.ID = behind
		}
		return f(te)
	}
	if q.Order <= 0 {
		if err := top(); err != nil {
			return err
		}
	}
	if beneath {
		r := newReader(l, q.Req, v)
		err := l.walk(ctx, &w, q.Order < 0, func(c *change) error {
			te, err := r.entry(c)
			if te == nil || err != nil {
				return err
			}
			if w.name != "" {
				if have, err := s.NormalizeDNString(nil, te.DN); err != nil || string(have) != w.name {
					return err
				}
			}
			return f(te)
		})
		if err != nil {
			return err
		}
	}
	if q.Order > 0 {
		return top()
	}
	return nil
}

// get is op.Tree.Get.
func (l *log) get(ctx context.Context, q *op.TreeQuery, id uint64) (te *op.TreeEntry, err error) {
	if id == baseID || id == behind {
		return l.top(), nil
	}
	v := l.Directory.View()
	defer v.Close()
	w := all()
	w.lo, w.hi = id-1, id-1
	r := newReader(l, q.Req, v)
	err = l.walk(ctx, &w, false, func(c *change) error {
		te, err = r.entry(c)
		return err
	})
	return te, err
}

// generalTime is a time with its microseconds.
const generalTime = "20060102150405.000000"

// known finds the attribute type of a description as it stands in the journal.
func known(s *schema.Schema, description string) (schema.Description, bool) {
	d, err := s.DescribeString(description)
	return d, err == nil && d.Type != nil
}
