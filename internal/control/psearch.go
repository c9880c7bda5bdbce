package control

import (
	"context"
	"sync"
	"sync/atomic"

	"portolan/ber"
	"portolan/internal/access"
	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/ldap"
)

// Object identifiers of draft-ietf-ldapext-psearch-03.
const (
	PersistentSearchOID = "2.16.840.1.113730.3.4.3"
	EntryChangeOID      = "2.16.840.1.113730.3.4.7"
)

// PersistentSearch keeps a search under way and returns entries as they change (draft-ietf-ldapext-psearch-03). Every
// change is told, in its order and as the entry was by then: nothing is put together. A client that reads more slowly than
// changes come in has a queue; when that is full the search ends with adminLimitExceeded, and the client knows that it must look again.
//
// A change is told where the entry matches after it, a delete where it matched before. Rights are those of the moment at
// which it is told. Of a rename only the renamed entry is told, not those beneath it. Values of large attributes are those
// of that moment too. places bounds the searches that persist.
func PersistentSearch(p *op.Ports, places *op.Places) op.Control {
	h := &hub{}
	return op.Control{
		OID: PersistentSearchOID, Name: "persistent search", Source: "draft-ietf-ldapext-psearch-03", Responses: []string{EntryChangeOID},
		Applies: func(tag byte) bool { return tag == ldap.TagSearchRequest },
		Parse:   parsePersistent,
		Around: func(ctx context.Context, req *op.Request, value any, next func(context.Context) error) error {
			h.once.Do(func() { p.Directory.Observe(h.commit) })
			s := &persistent{Ports: p, req: req, m: req.Op.(*ldap.SearchRequest), ask: value.(*persistentRequest)}
			return s.serve(ctx, h, places, next)
		},
	}
}

// persistentRequest is PersistentSearch of section 4 of the draft.
type persistentRequest struct {
	types       int32 // an or of changeTypes
	changesOnly bool
	controls    bool // returnECs
}

// allChanges are all changeTypes together.
const allChanges = 15

// changeTypes are the numbers of the draft.
var changeTypes = [...]int32{dit.ChangeAdd: 1, dit.ChangeDelete: 2, dit.ChangeModify: 4, dit.ChangeRename: 8}

func parsePersistent(c ldap.Control) (any, error) {
	r := ber.Reader(c.Value)
	var seq ber.Reader
	p := &persistentRequest{}
	if !c.HasValue || !r.Element(ber.Sequence, &seq) || !r.Empty() || !seq.Int32(ber.Integer, 1, allChanges, &p.types) ||
		!seq.Bool(ber.Boolean, &p.changesOnly) || !seq.Bool(ber.Boolean, &p.controls) || !seq.Empty() {
		return nil, ldap.Errorf(ldap.ProtocolError, "the persistent search control has no valid value (draft-ietf-ldapext-psearch-03 section 4)")
	}
	return p, nil
}

// notPersistent are controls that cut a result or put it in order, which a search without an end does not have.
var notPersistent = []string{
	PagedOID,
	"1.2.840.113556.1.4.473",  // server-side sorting
	"2.16.840.1.113730.3.4.9", // virtual list view
	ldap.SyncRequestOID,
}

// persistent is one persistent search.
type persistent struct {
	*op.Ports
	req *op.Request
	m   *ldap.SearchRequest
	ask *persistentRequest

	seq    uint64 // what the initial result shows
	region op.Region
	filter *dit.Filter
	buf    []byte
}

func (s *persistent) serve(ctx context.Context, h *hub, places *op.Places, next func(context.Context) error) error {
	for _, c := range s.req.Controls {
		for _, oid := range notPersistent {
			if string(c.OID) == oid {
				return ldap.Errorf(ldap.ProtocolError, "control %s cannot be combined with persistent search", oid)
			}
		}
	}
	if s.m.Deref == ldap.DerefSearching || s.m.Deref == ldap.DerefAlways {
		return ldap.Errorf(ldap.UnwillingToPerform, "a persistent search does not dereference aliases while searching")
	}
	if !places.Take() {
		return ldap.Errorf(ldap.AdminLimitExceeded, "this server takes no more searches that persist (limits.max_persistent)")
	}
	defer places.Give()
	// Changes are gathered before the state is taken that the result is of: those that it shows already are passed over.
	q := h.follow()
	defer h.leave(q)
	s.req.Search.Instead, s.req.Search.Follow = s.begin, s.grown(h, q)
	if err := next(ctx); err != nil {
		return err
	}
	ctx = s.req.Detach(ctx)
	for {
		batch, lost := q.take()
		if err := s.tell(batch); err != nil {
			return err
		}
		if lost > 0 {
			return ldap.Errorf(ldap.AdminLimitExceeded, "changes came faster than the client has read them; from change %d on they are not told: search again", lost)
		}
		if len(batch) > 0 {
			continue
		}
		select {
		case <-q.wake:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// grown is op.SearchPlan.Follow: what comes in a tree that grows are entries that are added.
func (s *persistent) grown(h *hub, q *queue) *op.Follow {
	return &op.Follow{
		Begin: func(_ *op.Tree, newest uint64) (uint64, error) {
			h.leave(q) // nothing that is stored is waited for
			if s.ask.changesOnly {
				return newest, nil
			}
			return 0, nil
		},
		Refreshed: func(uint64) (bool, error) { return true, nil },
		Quiet:     s.ask.types&changeTypes[dit.ChangeAdd] == 0,
		Dress: func(te *op.TreeEntry, _ *dit.Entry, fresh bool, controls []ldap.Control) []ldap.Control {
			if !fresh || !s.ask.controls {
				return controls
			}
			value, body := ber.Begin(nil, ber.Sequence)
			value = ber.AppendInt(value, ber.Enumerated, int64(changeTypes[dit.ChangeAdd]))
			value = ber.End(ber.AppendInt(value, ber.Integer, int64(te.Change)), body)
			return append(controls, ldap.Control{OID: []byte(EntryChangeOID), Value: value, HasValue: true})
		},
	}
}

// begin is op.SearchPlan.Instead.
func (s *persistent) begin(_ context.Context, r op.Snapshot, base *dit.Entry) (done bool, err error) {
	s.seq = r.Seq()
	norm := ""
	if base != nil {
		name, err := r.Name(base)
		if err != nil {
			return true, err
		}
		norm = name.Norm
	}
	s.region, err = op.NewRegion(s.Directory, r.Schema(), norm, s.m.Scope)
	return s.ask.changesOnly, err
}

// tell sends what of a batch the client is to know.
func (s *persistent) tell(batch []op.Commit) error {
	if len(batch) == 0 {
		return nil
	}
	view := s.Directory.View()
	defer view.Close()
	if err := view.Pin(); err != nil {
		return err
	}
	past := &op.Past{Snapshot: view}
	sight := s.Directory.Sight(s.req, past)
	// The schema may have changed; entries of another one do not match.
	s.filter = sight.Compile(&s.m.Filter)
	for i := range batch {
		c := &batch[i]
		if c.Seq <= s.seq {
			continue
		}
		for k := range c.Changes {
			if err := s.change(c.Before+uint64(k)+1, &c.Changes[k], past, sight); err != nil {
				return err
			}
		}
	}
	return nil
}

// change tells of one change, by its number in the change log.
func (s *persistent) change(number uint64, c *dit.Change, past *op.Past, sight op.Sight) error {
	if s.ask.types&changeTypes[c.Kind] == 0 {
		return nil
	}
	past.Entry, past.Called, past.Large = c.After, c.New, nil
	if c.Kind == dit.ChangeDelete {
		past.Entry, past.Called, past.Large = c.Before, c.Old, c.Large
	}
	if !s.region.Has(past.Called.Norm) {
		return nil
	}
	name, err := sight.Look(past.Entry)
	if err != nil {
		return err
	}
	found, err := sight.Found(s.filter, s.m.Scope)
	if err != nil || found == op.FoundNot {
		return err
	}
	if found == op.FoundReference {
		s.req.Trace.Entries++
		return op.Send(s.req, &ldap.SearchResultReference{URIs: sight.References(s.m.Scope)}, s.notification(nil, number, c, past, sight))
	}
	if s.buf, err = op.AppendEntry(s.buf[:0], sight, name, s.m.Attributes, s.m.TypesOnly); err != nil {
		return err
	}
	var controls []ldap.Control
	for _, each := range s.req.Search.EachEntry {
		if controls, err = each(context.Background(), past, past.Entry, name, controls); err != nil {
			return err
		}
	}
	s.req.Trace.Entries++
	err = op.SendEncoded(s.req, s.buf, s.notification(controls, number, c, past, sight))
	if cap(s.buf) > keepEntry {
		s.buf = nil
	}
	return err
}

// keepEntry bounds the memory that is kept from change to change.
const keepEntry = 64 << 10

// notification adds the Entry Change Notification control (section 5 of the draft).
func (s *persistent) notification(controls []ldap.Control, number uint64, c *dit.Change, past *op.Past, sight op.Sight) []ldap.Control {
	if !s.ask.controls {
		return controls
	}
	value, body := ber.Begin(nil, ber.Sequence)
	value = ber.AppendInt(value, ber.Enumerated, int64(changeTypes[c.Kind]))
	if c.Kind == dit.ChangeRename && s.knew(c, past, sight) {
		value = ber.AppendString(value, ber.OctetString, c.Old.DN)
	}
	value = ber.End(ber.AppendInt(value, ber.Integer, int64(number)), body)
	return append(controls, ldap.Control{OID: []byte(EntryChangeOID), Value: value, HasValue: true})
}

// knew reports whether the client may know of the entry where it was before: its old name tells of that place.
func (s *persistent) knew(c *dit.Change, past *op.Past, sight op.Sight) bool {
	past.Entry, past.Called = c.Before, c.Old
	if _, err := sight.Look(c.Before); err != nil {
		return false
	}
	return sight.EntryRights()&access.Disclose != 0
}

// hub gives the transactions of the server to all persistent searches.
type hub struct {
	once   sync.Once
	active atomic.Int64

	mu     sync.RWMutex
	queues map[*queue]bool
}

func (h *hub) follow() *queue {
	q := &queue{wake: make(chan struct{}, 1)}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.queues == nil {
		h.queues = make(map[*queue]bool)
	}
	h.queues[q] = true
	h.active.Add(1)
	return q
}

func (h *hub) leave(q *queue) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.queues[q] {
		delete(h.queues, q)
		h.active.Add(-1)
	}
}

// commit is the observer: it does no more than append.
func (h *hub) commit(c op.Commit) {
	if h.active.Load() == 0 || len(c.Changes) == 0 {
		return
	}
	size := 0
	for i := range c.Changes {
		size += changeSize(&c.Changes[i])
	}
	h.mu.RLock()
	defer h.mu.RUnlock()
	for q := range h.queues {
		q.put(c, size)
	}
}

// changeSize is about what a change keeps in memory.
func changeSize(c *dit.Change) int {
	n := 256
	for _, e := range [2]*dit.Entry{c.Before, c.After} {
		if e != nil {
			n += e.Size()
		}
	}
	for i := range c.Large {
		for _, list := range [2][]dit.LargeValue{c.Large[i].Add, c.Large[i].Delete} {
			for _, v := range list {
				n += len(v.Key) + len(v.Value) + 64
			}
		}
	}
	return n
}

// maxQueue bounds what a persistent search has not read yet, in octets. A transaction that is alone in the queue is taken
// whatever its size: transactions have a bound of their own.
const maxQueue = 16 << 20

// queue are transactions that a persistent search has not dealt with.
type queue struct {
	wake chan struct{} // holds a token when there is something new

	mu     sync.Mutex
	list   []op.Commit
	octets int
	lost   uint64 // the first transaction that found no room; 0 for none
}

func (q *queue) put(c op.Commit, size int) {
	q.mu.Lock()
	switch {
	case q.lost > 0:
	case len(q.list) > 0 && q.octets+size > maxQueue:
		q.lost = c.Seq
	default:
		q.list = append(q.list, c)
		q.octets += size
	}
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// take empties the queue.
func (q *queue) take() (batch []op.Commit, lost uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	batch, lost = q.list, q.lost
	q.list, q.octets = nil, 0
	return batch, lost
}
