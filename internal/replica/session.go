package replica

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"portolan/internal/client"
	"portolan/ldap"
)

// told is one thing that the provider tells.
type told struct {
	kind tellKind
	// An entry: what it is and where.
	id    uuid.UUID
	dn    string
	name  ldap.DN
	attrs []ldap.Attribute
	// refused, once set, is why it cannot be stored.
	refused string
	// ids are those of entries that the provider has, or has no more.
	ids []ldap.SyncUUID
	// The end of a phase: deletes says which; done that the refresh stage ends with it.
	deletes, done bool
	cookie        []byte // nil for none
	size          int    // in octets, about
}

// tellKind is what a told is about.
type tellKind uint8

const (
	tellEntry   tellKind = iota // an entry as it is
	tellPresent                 // entries that are as they were
	tellDelete                  // entries that are not in the content
	tellCookie                  // nothing but a cookie
	tellPhase                   // the end of a phase
	tellNothing
)

// overhead is about what an entry or a value takes in memory beside its octets.
const overhead = 64

// manageDsaIT makes the provider show referral objects as entries (RFC 3296).
const manageDsaIT = "2.16.840.1.113730.3.4.2"

// request is the search and its controls.
func (c *Consumer) request(mode ldap.SyncMode) (*ldap.SearchRequest, []ldap.Control) {
	m := &ldap.SearchRequest{Base: []byte(c.o.Base), Scope: ldap.ScopeSub, Filter: c.o.Filter}
	for _, a := range c.o.Attributes {
		m.Attributes = append(m.Attributes, []byte(a))
	}
	ask := ldap.SyncRequest{Mode: mode, Cookie: c.copy.sent, ReloadHint: true}
	return m, []ldap.Control{
		{OID: []byte(ldap.SyncRequestOID), Critical: true, Value: ask.Append(nil), HasValue: true},
		{OID: []byte(manageDsaIT), Critical: true},
	}
}

// Waiting for what belongs together.
const (
	// settleAfter is how long changes of the persist stage wait for a cookie to be stored with.
	settleAfter = 200 * time.Millisecond
	// asideMost is how often that may pass while an entry that was pushed aside is not told of.
	asideMost = 25
)

// synchronize runs one search with the Sync Request Control to its end. nil is the end of a refresh that was not to persist.
func (c *Consumer) synchronize(ctx context.Context, conn *client.Conn, mode ldap.SyncMode) error {
	c.enter(Refreshing)
	searching, cancel := context.WithCancel(ctx)
	defer cancel()
	m, controls := c.request(mode)
	tells := make(chan *told)
	var response *client.Response
	var end error
	go func() {
		defer close(tells)
		response, end = conn.Do(searching, m, controls, func(m *ldap.Message) error {
			t, err := read(m)
			if err != nil {
				return err
			}
			select {
			case tells <- t:
				return nil
			case <-searching.Done():
				return searching.Err()
			}
		})
	}()
	err := c.follow(ctx, tells)
	cancel()
	for range tells { // until the search has ended
	}
	if err != nil {
		return err
	}
	return c.ended(ctx, mode, response, end)
}

// follow applies what is told until there is no more.
func (c *Consumer) follow(ctx context.Context, tells <-chan *told) error {
	settle := time.NewTimer(0)
	if !settle.Stop() {
		<-settle.C
	}
	for {
		var settled <-chan time.Time
		if c.copy.unsettled() {
			settle.Reset(settleAfter)
			settled = settle.C
		}
		select {
		case t, ok := <-tells:
			if !ok {
				return nil
			}
			if err := c.copy.take(ctx, t); err != nil {
				return err
			}
		case <-settled:
			if err := c.copy.settle(ctx); err != nil {
				return err
			}
		}
	}
}

// ended deals with the final response.
func (c *Consumer) ended(ctx context.Context, mode ldap.SyncMode, response *client.Response, end error) error {
	var done *ldap.SyncDone
	if response != nil {
		for _, ctl := range response.Controls {
			if string(ctl.OID) != ldap.SyncDoneOID {
				continue
			}
			v, ok := ldap.ParseSyncDone(ctl.Value)
			if !ok {
				return errors.New("the provider's Sync Done Control cannot be read (RFC 4533 section 2.4)")
			}
			done = &v
		}
	}
	switch {
	case ldap.CodeOf(end) == ldap.SyncRefreshRequired && done != nil && done.Cookie != nil && !c.copy.refreshing:
		// What has been told is whole up to this cookie, and the rest comes by asking again with it.
		if err := c.copy.flush(ctx, bytes.Clone(done.Cookie)); err != nil {
			return err
		}
		return fmt.Errorf("%w: %w", errResume, end)
	case ldap.CodeOf(end) == ldap.SyncRefreshRequired:
		return fmt.Errorf("%w: %w", errAnew, end)
	case end != nil:
		return end
	case mode == ldap.RefreshAndPersist:
		return errors.New("the provider has ended a search that was to persist, without a reason")
	case done == nil:
		return errors.New("the provider answers without the Sync Done Control: it does not know content synchronization (RFC 4533)")
	}
	return c.copy.endPhase(ctx, &told{kind: tellPhase, deletes: done.RefreshDeletes, done: true, cookie: bytes.Clone(done.Cookie)}, Polled)
}

// read takes a message over: nothing of it is aliased.
func read(m *ldap.Message) (*told, error) {
	switch p := m.Op.(type) {
	case *ldap.SearchResultEntry:
		state, err := stateOf(m)
		if err != nil {
			return nil, err
		}
		return readEntry(p, state)
	case *ldap.SearchResultReference:
		// With ManageDsaIT there are none but those of parts of the provider that it does not hold itself.
		return &told{kind: tellNothing}, nil
	case *ldap.IntermediateResponse:
		if p.Name != ldap.SyncInfoOID {
			return &told{kind: tellNothing}, nil
		}
		return readInfo(p)
	}
	return nil, fmt.Errorf("the provider sends a message with tag %#x in a search", m.Op.Tag())
}

// stateOf reads the Sync State Control of a message (RFC 4533 section 2.3).
func stateOf(m *ldap.Message) (*ldap.SyncStateValue, error) {
	for _, ctl := range m.Controls {
		if string(ctl.OID) != ldap.SyncStateOID {
			continue
		}
		v, ok := ldap.ParseSyncState(ctl.Value)
		if !ok || v.UUID == uuid.Nil {
			return nil, errors.New("the provider's Sync State Control cannot be read (RFC 4533 section 2.3)")
		}
		v.Cookie = bytes.Clone(v.Cookie)
		return &v, nil
	}
	return nil, errors.New("the provider sends entries without the Sync State Control: it does not know content synchronization (RFC 4533); with slapd, load the overlay syncprov for this database")
}

func readEntry(p *ldap.SearchResultEntry, state *ldap.SyncStateValue) (*told, error) {
	t := &told{kind: tellEntry, id: state.UUID, cookie: state.Cookie, size: overhead}
	switch state.State {
	case ldap.SyncPresent, ldap.SyncDelete:
		t.kind, t.ids = tellPresent, []ldap.SyncUUID{state.UUID}
		if state.State == ldap.SyncDelete {
			t.kind = tellDelete
		}
		return t, nil
	}
	t.dn = string(p.Name)
	name, err := ldap.ParseDN(t.dn)
	if err != nil {
		t.refused = err.Error()
	}
	t.name = name
	// One allocation for all octets of the entry.
	octets := 0
	for i := range p.Attributes {
		octets += len(p.Attributes[i].Type)
		for _, v := range p.Attributes[i].Values {
			octets += len(v)
		}
	}
	all := make([]byte, 0, octets)
	keep := func(b []byte) []byte {
		at := len(all)
		all = append(all, b...)
		return all[at:len(all):len(all)]
	}
	t.attrs = make([]ldap.Attribute, 0, len(p.Attributes))
	for i := range p.Attributes {
		a := ldap.Attribute{Type: keep(p.Attributes[i].Type), Values: make([][]byte, len(p.Attributes[i].Values))}
		for j, v := range p.Attributes[i].Values {
			a.Values[j] = keep(v)
		}
		t.attrs = append(t.attrs, a)
		t.size += overhead + overhead*len(a.Values)
	}
	t.size += octets + len(t.dn)
	return t, nil
}

func readInfo(p *ldap.IntermediateResponse) (*told, error) {
	v, ok := ldap.ParseSyncInfo(p.Value)
	if !ok || !p.HasValue {
		return nil, errors.New("the provider's Sync Info Message cannot be read (RFC 4533 section 2.5)")
	}
	t := &told{kind: tellCookie, cookie: bytes.Clone(v.Cookie), size: overhead + 16*len(v.UUIDs)}
	switch v.Kind {
	case ldap.SyncIDSet:
		t.kind, t.ids = tellPresent, v.UUIDs
		if v.RefreshDeletes {
			t.kind = tellDelete
		}
	case ldap.SyncRefreshDelete, ldap.SyncRefreshPresent:
		t.kind, t.deletes, t.done = tellPhase, v.Kind == ldap.SyncRefreshDelete, v.RefreshDone
	}
	return t, nil
}
