// Package sync is the provider of content synchronization (RFC 4533): a client keeps a copy of the part of the directory
// that a search finds, by asking again with a cookie, or by staying for what changes.
//
// What a client has is what its search found at a position of the journal. From a position that the journal reaches back to,
// the refresh is a delete phase: the entries that the journal names are looked at as they are now, and as they were. From
// before that, it is a present phase: what has a CSN above the cookie's is sent, the rest is named. The persist stage goes from one state of the
// directory to the next and compares both, so that a slow client costs one snapshot and no queue.
//
// Names belong to the content: a client is told of every entry whose name has changed, those beneath a renamed one
// included, although RFC 4533 section 4.1 would let them be guessed. Content is what is stored in entries: what is computed
// from others is not in it (sections 3.2, 4.2, 4.3). Subentries are entries like others where ManageDsaIT asks for all
// special entries (section 5.1) and no subentries control says otherwise.
package sync

import (
	"bytes"
	"context"
	"errors"
	gosync "sync"

	"portolan/internal/op"
	"portolan/ldap"
)

// provider is what all synchronizations of a server share.
type provider struct {
	*op.Ports
	places *op.Places

	mu    gosync.Mutex
	known *secrets // nil until the first request
}

// New returns the Sync Request Control. places bounds the synchronizations that persist.
func New(p *op.Ports, places *op.Places) op.Control {
	provider := &provider{Ports: p, places: places}
	return op.Control{
		OID: ldap.SyncRequestOID, Name: "content synchronization", Source: "RFC 4533",
		Applies: func(tag byte) bool { return tag == ldap.TagSearchRequest },
		Parse:   parse,
		Around: func(ctx context.Context, req *op.Request, value any, next func(context.Context) error) error {
			return provider.serve(ctx, req, value.(*ldap.SyncRequest), next)
		},
	}
}

func parse(c ldap.Control) (any, error) {
	v, ok := ldap.ParseSyncRequest(c.Value)
	if !c.HasValue || !ok {
		return nil, ldap.Errorf(ldap.ProtocolError, "the content synchronization control has no valid value (RFC 4533 section 2.2)")
	}
	v.Cookie = bytes.Clone(v.Cookie)
	return &v, nil
}

// together are the controls that a synchronization may be combined with: they decide what the content is, or who asks, and
// not how a result is cut or dressed (RFC 4533 section 5).
var together = []string{
	ldap.SyncRequestOID,
	"2.16.840.1.113730.3.4.2",    // ManageDsaIT
	"1.3.6.1.4.1.4203.1.10.1",    // subentries
	"2.16.840.1.113730.3.4.18",   // proxied authorization
	"1.3.6.1.1.12",               // assertion: about the base, before anything
	"1.3.6.1.1.22",               // don't use copy
	"1.3.6.1.4.1.21008.108.63.1", // session tracking
	"1.3.6.1.4.1.42.2.27.8.5.1",  // password policy, which has nothing to say here
	"2.16.840.1.113730.3.4.16",   // authorization identity, the same
	"1.3.6.1.4.1.4203.666.5.18",  // OpenLDAP's session tracking, sent along by its tools
}

// check refuses what does not go together.
func check(req *op.Request, m *ldap.SearchRequest) error {
	if m.Deref != ldap.DerefNever && m.Deref != ldap.DerefFinding {
		return ldap.Errorf(ldap.ProtocolError, "a synchronization does not dereference aliases while searching (RFC 4533 section 3.5.2)")
	}
	for _, c := range req.Controls {
		ok := false
		for _, oid := range together {
			ok = ok || string(c.OID) == oid
		}
		if !ok {
			return ldap.Errorf(ldap.ProtocolError, "control %q cannot be combined with content synchronization (RFC 4533 section 5)", clip(c.OID))
		}
	}
	return nil
}

// clip bounds what a diagnostic repeats.
func clip(b []byte) []byte { return b[:min(len(b), 64)] }

// serve runs one synchronization around the engine's search.
func (p *provider) serve(ctx context.Context, req *op.Request, ask *ldap.SyncRequest, next func(context.Context) error) error {
	m := req.Op.(*ldap.SearchRequest)
	if err := check(req, m); err != nil {
		return err
	}
	known, err := p.secrets(ctx)
	if err != nil {
		return err
	}
	s := &session{provider: p, secrets: known, req: req, m: m, ask: ask}
	defer s.close()
	if ask.Mode == ldap.RefreshAndPersist {
		if !p.places.Take() {
			return ldap.Errorf(ldap.AdminLimitExceeded, "this server takes no more searches that persist (limits.max_persistent)")
		}
		defer p.places.Give()
	}
	plan := &req.Search
	plan.Content, plan.Instead = true, s.begin
	plan.EachEntry = append(plan.EachEntry, s.dressEntry)
	plan.EachReference = append(plan.EachReference, s.dressReference)
	if err := next(ctx); err != nil {
		return s.ended(err)
	}
	if err := s.refreshed(); err != nil || ask.Mode == ldap.RefreshOnly {
		return err
	}
	return s.ended(s.persist(req.Detach(ctx)))
}

// ended attaches to the end of a synchronization the cookie of what the client has, where it has something whole: RFC 4533
// sections 3.7 and 3.8.
func (s *session) ended(err error) error {
	if err == nil {
		return nil
	}
	done := ldap.SyncDone{}
	if s.persisting && !errors.Is(err, errReload) {
		done = ldap.SyncDone{Cookie: s.cookie(), RefreshDeletes: true}
	}
	if e := ldap.AsError(err); s.persisting || e.Code == ldap.SyncRefreshRequired {
		s.reply(done)
	}
	return err
}

// reply puts a Sync Done Control into the final response.
func (s *session) reply(done ldap.SyncDone) {
	s.req.Reply.Controls = append(s.req.Reply.Controls, ldap.Control{OID: []byte(ldap.SyncDoneOID), Value: done.Append(nil), HasValue: true})
}

// errReload says that the client must begin anew: what it may see, or how, is no longer what it was.
var errReload = ldap.Errorf(ldap.SyncRefreshRequired, "what this synchronization shows has changed as a whole: ask again without a cookie")

// errResume says that the client gets the rest by asking again with the cookie.
var errResume = ldap.Errorf(ldap.SyncRefreshRequired, "too much has changed to be told one by one: ask again with the cookie")
