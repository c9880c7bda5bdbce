package control

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"sync"

	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/ldap"
)

// cursors are the positions in results that a connection and its identity have open: pages of RFC 2696 and virtual list
// views. They are state of op.Conn, so that a bind and StartTLS end them.
type cursors struct {
	mu   sync.Mutex
	next uint64
	open map[uint64]*cursor
}

// cursor is a position in one result. It belongs to one request at a time: who takes it puts it back.
type cursor struct {
	number uint64
	digest digest // of the search it belongs to
	used   uint64 // larger is later

	after    dit.ID      // a result in the order of ids goes on behind this entry,
	base     dit.ID      // beneath this one, where an alias has led there
	unsorted *ldap.Error // why it is in that order, where another was asked for
	// A result that was sorted is kept as the list of its ids, which is what memory is held for.
	list []dit.ID
	hold *op.Hold
	at   int // entries of the list that have been sent as pages
	// What a list was made from: the position in the journal, and the settings until the channel is closed.
	seq      uint64
	reloaded <-chan struct{}
}

// idSize is what one entry of a list takes.
const idSize = 8

// cursorsKey is the key of the cursors in a connection's state.
type cursorsKey struct{}

func cursorsOf(c *op.Conn) *cursors {
	return c.State(cursorsKey{}, func() any { return &cursors{open: make(map[uint64]*cursor)} }).(*cursors)
}

// Close drops all cursors: the identity has changed, or the connection has ended.
func (l *cursors) Close() {
	l.mu.Lock()
	open := l.open
	l.open = nil
	l.mu.Unlock()
	for _, c := range open {
		c.drop()
	}
}

// drop gives back what the cursor holds.
func (c *cursor) drop() {
	if c != nil && c.hold != nil {
		c.hold.Release()
	}
}

// take removes a cursor from the list. known says that the cookie was given out on this connection: its cursor may have made
// room for others meanwhile.
func (l *cursors) take(cookie []byte) (c *cursor, known bool) {
	if len(cookie) != 8 {
		return nil, false
	}
	number := binary.BigEndian.Uint64(cookie)
	l.mu.Lock()
	defer l.mu.Unlock()
	c = l.open[number]
	delete(l.open, number)
	if c != nil && c.hold != nil && !c.hold.Busy() {
		c = nil // it has made room for others this very moment
	}
	return c, number > 0 && number <= l.next
}

// put files a cursor and returns its cookie. A cursor keeps its number where again says so; otherwise a cookie is good for
// one use. When there are more than most the one that was used longest ago is forgotten.
func (l *cursors) put(c *cursor, most int, again bool) []byte {
	if c.hold != nil {
		c.hold.Idle(func() { l.forget(c) })
	}
	l.mu.Lock()
	if l.open == nil { // the connection has become another's meanwhile
		l.mu.Unlock()
		c.drop()
		return nil
	}
	var gone []*cursor
	for len(l.open) >= max(most, 1) {
		var oldest *cursor
		for _, o := range l.open {
			if oldest == nil || o.used < oldest.used {
				oldest = o
			}
		}
		delete(l.open, oldest.number)
		gone = append(gone, oldest)
	}
	l.next++
	c.used = l.next
	if !again || c.number == 0 {
		c.number = l.next
	}
	if same := l.open[c.number]; same != nil {
		gone = append(gone, same)
	}
	l.open[c.number] = c
	number := c.number
	l.mu.Unlock()
	for _, c := range gone {
		c.drop()
	}
	return binary.BigEndian.AppendUint64(nil, number)
}

// forget is what the account of memory calls to have a list back.
func (l *cursors) forget(c *cursor) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[c.number] == c {
		delete(l.open, c.number)
	}
}

// keep makes a cursor hold a list of ids; false when there is no memory for it.
func (c *cursor) keep(m *op.Memory, all []op.Sorted) bool {
	c.drop()
	c.list, c.at = nil, 0
	if c.hold = m.Hold(idSize * len(all)); c.hold == nil {
		return false
	}
	c.list = make([]dit.ID, len(all))
	for i := range all {
		c.list[i] = all[i].ID
	}
	return true
}

// digest tells searches apart.
type digest = [sha256.Size]byte

// digestOf covers everything that decides what a search finds and how: the request but for its limits and message id, all
// controls but those named, and whose search it is.
func digestOf(req *op.Request, but ...string) digest {
	m := *req.Op.(*ldap.SearchRequest)
	m.SizeLimit, m.TimeLimit = 0, 0
	controls := slices.DeleteFunc(slices.Clone(req.Controls), func(c ldap.Control) bool {
		return string(c.OID) == SessionTrackingOID || slices.Contains(but, string(c.OID))
	})
	slices.SortStableFunc(controls, func(a, b ldap.Control) int { return bytes.Compare(a.OID, b.OID) })
	message := ldap.Message{Op: &m, Controls: controls}
	text := message.Append(nil)
	if req.Identity != nil {
		text = append(text, req.Identity.Name.Norm...)
	}
	return sha256.Sum256(text)
}
