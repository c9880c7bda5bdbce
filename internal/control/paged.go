// Package control has the controls, one file each. A control parses its value, tells the engine through op.SearchPlan and
// op.WritePlan what it wants, and adds its response.
package control

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"sync"

	"portolan/ber"
	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/ldap"
)

// PagedOID is both the request and the response control (RFC 2696).
const PagedOID = "1.2.840.113556.1.4.319"

// Paged is simple paged results (RFC 2696). A cookie names a cursor of its connection and identity: a position, no
// snapshot and no iterator, so that an abandoned one costs a few octets. Several may be open on one connection, with
// other searches in between. When there are more than most the one that was used longest ago is forgotten, and its
// cookie is refused.
func Paged(most int) op.Control {
	return op.Control{
		OID: PagedOID, Name: "paged", Source: "RFC 2696",
		Applies: func(tag byte) bool { return tag == ldap.TagSearchRequest },
		Parse:   parsePaged,
		Around: func(ctx context.Context, req *op.Request, value any, next func(context.Context) error) error {
			return value.(*pagedRequest).around(ctx, req, next, most)
		},
	}
}

// pagedRequest is realSearchControlValue.
type pagedRequest struct {
	size   int32
	cookie []byte
}

func parsePaged(c ldap.Control) (any, error) {
	r := ber.Reader(c.Value)
	var seq ber.Reader
	p := &pagedRequest{}
	if !c.HasValue || !r.Element(ber.Sequence, &seq) || !r.Empty() ||
		!seq.Int32(ber.Integer, 0, ldap.MaxMessageID, &p.size) || !seq.Bytes(ber.OctetString, &p.cookie) || !seq.Empty() {
		return nil, ldap.Errorf(ldap.ProtocolError, "the paged results control has no valid value (RFC 2696)")
	}
	return p, nil
}

// pagedKey is the key of the cursors in a connection's state.
type pagedKey struct{}

// cursors are the open paged searches of a connection.
type cursors struct {
	mu   sync.Mutex
	next uint64
	open map[uint64]*cursor
}

// cursor is where a paged search goes on.
type cursor struct {
	number uint64
	digest [sha256.Size]byte // of the search it belongs to
	after  dit.ID
	used   uint64 // larger is later
	sent   int    // entries sent on the pages so far
}

func (p *pagedRequest) around(ctx context.Context, req *op.Request, next func(context.Context) error, most int) error {
	m := req.Op.(*ldap.SearchRequest)
	list := req.Conn.State(pagedKey{}, func() any { return &cursors{open: make(map[uint64]*cursor)} }).(*cursors)
	digest := searchDigest(m)
	at := &cursor{digest: digest}
	if len(p.cookie) > 0 {
		if at = list.take(p.cookie); at == nil || at.digest != digest {
			return ldap.Errorf(ldap.UnwillingToPerform, "the paged results cookie is not one of this search: begin again without a cookie")
		}
		if p.size == 0 {
			// RFC 2696 section 3: size zero with a cookie abandons the search.
			req.Reply.Controls = append(req.Reply.Controls, pagedResponse(0, nil))
			return nil
		}
	}
	req.Search.After = at.after
	if p.size > 0 {
		req.Search.Max = int(p.size)
	}
	if err := next(ctx); err != nil {
		return err
	}
	var cookie []byte
	if req.Search.More {
		at.after, at.sent = req.Search.Last, at.sent+req.Trace.Entries
		cookie = list.put(at, most)
	}
	req.Reply.Controls = append(req.Reply.Controls, pagedResponse(req.Search.Estimate, cookie))
	return nil
}

// take removes a cursor from the list: a cookie is good for one page.
func (l *cursors) take(cookie []byte) *cursor {
	if len(cookie) != 8 {
		return nil
	}
	number := binary.BigEndian.Uint64(cookie)
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.open[number]
	delete(l.open, number)
	return c
}

// put files a cursor under a new cookie.
func (l *cursors) put(c *cursor, most int) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.open) >= max(most, 1) {
		var oldest *cursor
		for _, o := range l.open {
			if oldest == nil || o.used < oldest.used {
				oldest = o
			}
		}
		delete(l.open, oldest.number)
	}
	l.next++
	c.number, c.used = l.next, l.next
	l.open[c.number] = c
	return binary.BigEndian.AppendUint64(nil, c.number)
}

// pagedResponse is the response control. Critical is never set: it is an answer.
func pagedResponse(estimate int, cookie []byte) ldap.Control {
	value, mark := ber.Begin(nil, ber.Sequence)
	value = ber.AppendInt(value, ber.Integer, int64(max(estimate, 0)))
	value = ber.End(ber.AppendBytes(value, ber.OctetString, cookie), mark)
	return ldap.Control{OID: []byte(PagedOID), Value: value, HasValue: true}
}

// searchDigest tells searches apart: RFC 2696 section 3 lets nothing but the page size and the message id change between
// pages.
func searchDigest(m *ldap.SearchRequest) [sha256.Size]byte {
	c := *m
	c.SizeLimit, c.TimeLimit = 0, 0
	message := ldap.Message{Op: &c}
	return sha256.Sum256(bytes.Clone(message.Append(nil)))
}
