package sync_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	gosync "sync"
	"testing"
	"time"

	"portolan/internal/client"
	"portolan/internal/dit"
	"portolan/internal/ldaptest"
	"portolan/ldap"
)

// patience ends a test that has failed already.
const patience = 3 * time.Minute

// consumer keeps a copy by RFC 4533 alone, entry by entry and with no knowledge of the server.
type consumer struct {
	t      testing.TB
	dn, pw string
	search *ldap.SearchRequest
	ctl    []ldap.Control

	mu     gosync.Mutex
	copy   map[ldap.SyncUUID]string // the entry as text
	seen   map[ldap.SyncUUID]bool   // named in the present phase under way
	cookie []byte
	wake   chan struct{}

	entries, named, deleted int // messages since reset
	states                  []string
	persisting              bool
}

func newConsumer(t testing.TB, dn, pw string, m *ldap.SearchRequest, ctl ...ldap.Control) *consumer {
	return &consumer{t: t, dn: dn, pw: pw, search: m, ctl: ctl, copy: map[ldap.SyncUUID]string{}, wake: make(chan struct{}, 1)}
}

func (c *consumer) dial(ctx context.Context, s *ldaptest.Server) *client.Conn {
	c.t.Helper()
	conn, err := client.Dial(ctx, "ldap://"+s.Addr, client.Options{})
	if err != nil {
		c.t.Fatal(err)
	}
	if _, err := conn.Bind(ctx, c.dn, c.pw); err != nil {
		c.t.Fatal(err)
	}
	return conn
}

// request is the Sync Request Control of where the consumer is.
func (c *consumer) request(mode ldap.SyncMode, hint bool) []ldap.Control {
	v := ldap.SyncRequest{Mode: mode, Cookie: c.cookie, ReloadHint: hint}
	return append([]ldap.Control{{OID: []byte(ldap.SyncRequestOID), Critical: true, Value: v.Append(nil), HasValue: true}}, c.ctl...)
}

func (c *consumer) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.entries, c.named, c.deleted, c.states = 0, 0, 0, nil
	c.seen = map[ldap.SyncUUID]bool{}
}

// poll refreshes once; an e-syncRefreshRequired without a cookie makes it begin anew.
func (c *consumer) poll(s *ldaptest.Server, hint bool) *ldap.SyncDone {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn := c.dial(ctx, s)
	defer conn.Close()
	c.persisting = false
	for {
		c.reset()
		r, err := conn.Do(ctx, c.search, c.request(ldap.RefreshOnly, hint), c.take)
		done := c.done(r)
		if ldap.CodeOf(err) == ldap.SyncRefreshRequired && c.cookie != nil {
			c.cookie = nil
			continue
		}
		if err != nil {
			c.t.Fatalf("poll: %v", err)
		}
		if done == nil || done.Cookie == nil {
			c.t.Fatal("poll: there is no cookie")
		}
		c.cookie = done.Cookie
		if !done.RefreshDeletes {
			c.forget()
		}
		return done
	}
}

func (c *consumer) done(r *client.Response) *ldap.SyncDone {
	if r == nil {
		return nil
	}
	for _, ctl := range r.Controls {
		if string(ctl.OID) == ldap.SyncDoneOID {
			v, ok := ldap.ParseSyncDone(ctl.Value)
			if !ok {
				c.t.Errorf("a Sync Done Control that cannot be read: % x", ctl.Value)
			}
			return &v
		}
	}
	return nil
}

// forget deletes what was not named in a present phase.
func (c *consumer) forget() {
	for id := range c.copy {
		if !c.seen[id] {
			delete(c.copy, id)
		}
	}
}

// take applies one message.
func (c *consumer) take(m *ldap.Message) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer func() {
		select {
		case c.wake <- struct{}{}:
		default:
		}
	}()
	var text string
	switch p := m.Op.(type) {
	case *ldap.SearchResultEntry:
		text = entryText(p)
	case *ldap.SearchResultReference:
		text = "ref " + strings.Join(p.URIs, " ")
	case *ldap.IntermediateResponse:
		return c.info(p)
	}
	var state *ldap.SyncStateValue
	for _, ctl := range m.Controls {
		if string(ctl.OID) == ldap.SyncStateOID {
			v, ok := ldap.ParseSyncState(ctl.Value)
			if !ok {
				return fmt.Errorf("a Sync State Control that cannot be read: % x", ctl.Value)
			}
			state = &v
		}
	}
	if state == nil {
		return fmt.Errorf("%s came without a Sync State Control", text)
	}
	c.entries++
	c.states = append(c.states, fmt.Sprintf("%d %s", state.State, firstLine(text)))
	_, have := c.copy[state.UUID]
	switch state.State {
	case ldap.SyncPresent:
		c.seen[state.UUID] = true
	case ldap.SyncDelete:
		if !have {
			return fmt.Errorf("%s is deleted, and was never there", text)
		}
		c.deleted++
		delete(c.copy, state.UUID)
	default:
		if c.persisting && (state.State == ldap.SyncModify) != have {
			return fmt.Errorf("%s has state %d, and is there already: %v", text, state.State, have)
		}
		c.copy[state.UUID] = text
		c.seen[state.UUID] = true
	}
	if state.Cookie != nil {
		if !c.persisting {
			return fmt.Errorf("%s: a cookie in the refresh stage (RFC 4533 section 3.3)", text)
		}
		c.cookie = bytes.Clone(state.Cookie)
	}
	return nil
}

func (c *consumer) info(p *ldap.IntermediateResponse) error {
	v, ok := ldap.ParseSyncInfo(p.Value)
	if !ok || p.Name != ldap.SyncInfoOID {
		return fmt.Errorf("a Sync Info Message that cannot be read: %s % x", p.Name, p.Value)
	}
	switch {
	case v.Kind == ldap.SyncIDSet && v.RefreshDeletes:
		for _, id := range v.UUIDs {
			if _, have := c.copy[id]; !have {
				return fmt.Errorf("% x is deleted, and was never there", id)
			}
			delete(c.copy, id)
			c.deleted++
		}
	case v.Kind == ldap.SyncIDSet:
		for _, id := range v.UUIDs {
			if _, have := c.copy[id]; !have {
				return fmt.Errorf("% x is present, and was never there", id)
			}
			c.seen[id] = true
			c.named++
		}
	case v.Kind != ldap.SyncNewCookie && v.RefreshDone:
		if c.persisting {
			return fmt.Errorf("the refresh stage ends twice")
		}
		if v.Kind == ldap.SyncRefreshPresent {
			c.forget()
		}
		c.persisting = true
	}
	if v.Cookie != nil {
		c.cookie = bytes.Clone(v.Cookie)
	}
	return nil
}

// attached is a consumer in the persist stage.
type attached struct {
	*consumer
	conn   *client.Conn
	cancel context.CancelFunc
	end    chan error
	last   *ldap.SyncDone
}

// attach begins refreshAndPersist and returns when the refresh stage is over.
func (c *consumer) attach(s *ldaptest.Server) *attached {
	c.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	a := &attached{consumer: c, conn: c.dial(ctx, s), cancel: cancel, end: make(chan error, 1)}
	c.reset()
	c.persisting = false
	controls := c.request(ldap.RefreshAndPersist, true)
	go func() {
		r, err := a.conn.Do(ctx, c.search, controls, c.take)
		a.last = c.done(r)
		a.end <- err
	}()
	c.t.Cleanup(func() { a.detach() })
	a.until("the end of the refresh stage", func() bool { return c.persisting })
	return a
}

// detach ends it.
func (a *attached) detach() {
	a.cancel()
	a.conn.Close()
}

// until waits for the consumer to get somewhere.
func (a *attached) until(what string, there func() bool) {
	a.t.Helper()
	late := time.After(patience)
	for {
		a.mu.Lock()
		ok := there()
		a.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-a.wake:
		case err := <-a.end:
			a.end <- err
			a.t.Fatalf("waiting for %s: the search has ended: %v", what, err)
		case <-late:
			a.t.Fatalf("waiting for %s", what)
		}
	}
}

// catchUp waits until the consumer has all that the server has.
func (a *attached) catchUp(s *ldaptest.Server) {
	a.t.Helper()
	want := s.Store.LastCSN()
	a.until("CSN "+want.String(), func() bool { return cookieCSN(a.t, a.cookie).Compare(want) >= 0 })
}

func cookieCSN(t testing.TB, cookie []byte) dit.CSN {
	c, ok := dit.ParseSyncCookie(cookie, "portolan")
	if !ok {
		t.Fatalf("%q is no cookie", cookie)
	}
	if len(c.CSNs) == 0 {
		return dit.CSN{}
	}
	return c.CSNs[0]
}

// notContent are the attributes that are computed.
var notContent = []string{"entryDN", "subschemaSubentry", "hasSubordinates", "numSubordinates", "contextCSN", "memberOf"}

func entryText(p *ldap.SearchResultEntry) string {
	var lines []string
	for _, a := range p.Attributes {
		if slices.Contains(notContent, string(a.Type)) {
			continue
		}
		for _, v := range a.Values {
			lines = append(lines, string(a.Type)+": "+string(v))
		}
	}
	slices.Sort(lines)
	return "dn: " + string(p.Name) + "\n" + strings.Join(lines, "\n")
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

// compare holds the copy against what a fresh search by the same identity finds.
func (c *consumer) compare(s *ldaptest.Server, when string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn := c.dial(ctx, s)
	defer conn.Close()
	var want []string
	_, err := conn.Search(ctx, c.search, client.Results{
		Entry:     func(e *ldap.SearchResultEntry, _ []ldap.Control) error { want = append(want, entryText(e)); return nil },
		Reference: func(uris []string) error { want = append(want, "ref "+strings.Join(uris, " ")); return nil },
	}, c.ctl...)
	if err != nil && ldap.CodeOf(err) != ldap.NoSuchObject {
		c.t.Fatalf("%s: %v", when, err)
	}
	c.mu.Lock()
	have := slices.Collect(maps.Values(c.copy))
	c.mu.Unlock()
	slices.Sort(want)
	slices.Sort(have)
	if !slices.Equal(have, want) {
		for _, e := range want {
			if !slices.Contains(have, e) {
				c.t.Errorf("%s: missing in the copy:\n%s", when, e)
			}
		}
		for _, e := range have {
			if !slices.Contains(want, e) {
				c.t.Errorf("%s: in the copy alone:\n%s", when, e)
			}
		}
		c.t.FailNow()
	}
}
