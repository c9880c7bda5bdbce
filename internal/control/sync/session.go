package sync

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/ldap"
)

// session is one synchronization under way. One goroutine uses it.
type session struct {
	*provider
	*secrets
	req *op.Request
	m   *ldap.SearchRequest
	ask *ldap.SyncRequest
	rid int

	// What the content is. It does not change while the session lives: what would change it ends the session.
	filter   *dit.Filter
	base     uuid.UUID // of the base object; zero for the root
	baseID   dit.ID
	baseNorm string
	identity digest
	search   digest
	policy   digest
	since    dit.CSN

	// reloaded is closed when the policy may have changed since it was looked at.
	reloaded <-chan struct{}

	// The position of what the client has been told, in its epoch.
	epoch uuid.UUID
	view  op.Snapshot // of the state there; only for what is to persist
	seq   uint64
	csn   dit.CSN

	// The refresh stage.
	cookieCSN dit.CSN         // in a present phase, what the client's copy is complete up to
	known     []ldap.SyncUUID // entries that the client has as they are, not yet named
	moved     map[dit.ID]bool // whether an entry or one above it has changed since cookieCSN
	deletes   bool            // the refresh was a delete phase
	deadline  time.Time       // for the refresh, zero for none

	// The persist stage.
	persisting bool
	told       time.Time // when the client was last given a cookie
	owed       bool      // the client has a cookie that is older than its copy

	out outgoing
}

func (s *session) close() {
	if s.view != nil {
		s.view.Close()
	}
}

// cookie is that of what the client has been told.
func (s *session) cookie() []byte {
	csn := s.csn
	if s.since.Compare(csn) > 0 {
		csn = s.since
	}
	return s.append(nil, s.rid, csn, &seal{
		epoch: s.epoch, seq: s.seq, identity: s.identity, search: s.search, policy: s.policy,
	})
}

// short makes a digest shorter.
func short(d [32]byte) digest { return digest(d[:digestLen]) }

// begin is op.SearchPlan.Instead: it decides how the client is brought up to date.
func (s *session) begin(ctx context.Context, r op.Snapshot, base *dit.Entry) (done bool, err error) {
	s.reloaded, s.epoch = s.Directory.Reloaded(), s.Journal.Epoch()
	sight := s.Directory.Sight(s.req, r)
	s.filter = sight.Compile(&s.m.Filter)
	if base != nil {
		name, err := r.Name(base)
		if err != nil {
			return true, err
		}
		s.base, s.baseID, s.baseNorm = base.UUID, base.ID, name.Norm
	}
	s.identity, s.policy = s.identityDigest(), short(sight.Digest())
	s.search = s.searchDigest()
	s.seq, s.csn = r.Seq(), r.CSN()
	if s.since, err = s.provider.since(ctx, s.identity, s.policy, s.csn); err != nil {
		return true, err
	}
	if s.ask.Mode == ldap.RefreshAndPersist {
		s.view = r.Keep()
	}
	if limit := s.req.Limits.Time; limit > 0 {
		s.deadline = s.req.Start.Add(limit)
	}
	s.out.req = s.req
	return s.refresh(ctx, r, sight)
}

// refresh chooses between the phases of RFC 4533 section 3.3.2 and carries out a delete phase.
func (s *session) refresh(ctx context.Context, r op.Snapshot, sight op.Sight) (done bool, err error) {
	how, err := s.plan()
	if err != nil {
		return true, err
	}
	if how.phase == deletePhase {
		s.req.Trace.Plan.Set("sync(delete)")
		s.deletes = true
		if s.seq == how.from {
			return true, nil
		}
		told, err := s.deletePhase(ctx, r, sight, how.from)
		if told || err != nil {
			return true, err
		}
		// Too much has happened, or it is not known any more.
		s.deletes = false
		if how.phase = initialPhase; s.Journal.Ordered() && s.inEpoch(how.csn) {
			how.phase = presentPhase
		}
	}
	if how.phase == presentPhase {
		s.req.Trace.Plan.Set("sync(present)")
		s.cookieCSN, s.moved = how.csn, make(map[dit.ID]bool)
		s.req.Search.Known = s.unchanged
	}
	return false, nil
}

// phase is the way of a refresh.
type phase uint8

const (
	initialPhase phase = iota // the whole content
	presentPhase              // what has changed since csn, and the names of the rest
	deletePhase               // what the journal says
)

// route is a phase and where the client's copy stands.
type route struct {
	phase phase
	from  uint64  // delete: what has been told up to this record is in the copy
	csn   dit.CSN // the same in words of CSNs
}

// plan reads the cookie (RFC 4533 section 3.1).
func (s *session) plan() (route, error) {
	s.rid = -1
	if len(s.ask.Cookie) == 0 {
		return route{}, nil
	}
	cookie, ok := dit.ParseSyncCookie(s.ask.Cookie, sealField)
	if !ok {
		return s.unrecognized()
	}
	s.rid = cookie.RID
	switch {
	case cookie.Rest != nil:
		return s.sealed(&cookie)
	case len(cookie.CSNs) == 0:
		return route{}, nil
	case len(cookie.CSNs) > 1:
		// A copy of what several servers wrote is none of this server's content alone.
		return route{}, nil
	}
	return s.plain(cookie.CSNs[0])
}

// unrecognized is for cookies that are no use: the client chooses what it gets instead (RFC 4533 section 3.3.2).
func (s *session) unrecognized() (route, error) {
	if s.ask.ReloadHint {
		return route{}, nil
	}
	return route{}, errReload
}

// sealed is for cookies of this server.
func (s *session) sealed(cookie *dit.SyncCookie) (route, error) {
	seal, ok := s.open(s.ask.Cookie, cookie)
	if !ok || seal.epoch != s.epoch || seal.seq > s.seq ||
		seal.identity != s.identity || seal.search != s.search || seal.policy != s.policy {
		return s.unrecognized()
	}
	how := route{phase: deletePhase, from: seal.seq}
	if len(cookie.CSNs) == 1 {
		how.csn = cookie.CSNs[0]
	}
	if first, _ := s.Journal.Bounds(); seal.seq+1 < first {
		how.phase = initialPhase
		if s.Journal.Ordered() && len(cookie.CSNs) == 1 {
			how.phase = presentPhase
		}
	}
	return how, nil
}

// plain is for cookies that consumers of OpenLDAP make up: what they have is said by a CSN alone. A client of that kind
// does not know what to do with syncRefreshRequired, so that it gets the content instead.
func (s *session) plain(csn dit.CSN) (route, error) {
	top := s.csn
	if s.since.Compare(top) > 0 {
		top = s.since
	}
	switch {
	case csn.Compare(top) > 0:
		return route{}, errNewer
	case csn.Compare(s.since) < 0:
		return route{}, nil
	case csn.Compare(s.csn) > 0:
		csn = s.csn // given out under a policy that has changed since the last record
	}
	seq, err := s.Journal.At(csn)
	from := seq
	if err == nil {
		// Of several records with this CSN the client is sure to have the first.
		err = s.Journal.Read(seq, func(rec *dit.JournalRecord) bool {
			if rec.CSN != csn {
				from--
			}
			return false
		})
	}
	switch {
	case err == op.ErrTrimmed && s.Journal.Ordered() && s.inEpoch(csn):
		return route{phase: presentPhase, csn: csn}, nil
	case err == op.ErrTrimmed:
		return route{}, nil
	}
	return route{phase: deletePhase, from: from, csn: csn}, err
}

// inEpoch reports whether a CSN says something about the content: those from before an import or a restore do not.
func (s *session) inEpoch(csn dit.CSN) bool { return !csn.IsZero() && csn.Compare(s.floor) >= 0 }

// refreshed tells the client that the refresh stage is complete.
func (s *session) refreshed() error {
	if err := errors.Join(s.out.flush(nil), s.nameKnown()); err != nil {
		return err
	}
	if s.ask.Mode == ldap.RefreshOnly {
		s.reply(ldap.SyncDone{Cookie: s.cookie(), RefreshDeletes: s.deletes})
		return nil
	}
	info := ldap.SyncInfo{Kind: ldap.SyncRefreshPresent, Cookie: s.cookie(), RefreshDone: true}
	if s.deletes {
		info.Kind = ldap.SyncRefreshDelete
	}
	return s.out.info(&info)
}

// dressEntry is op.SearchPlan.EachEntry for the phases that the engine's search carries out.
func (s *session) dressEntry(_ context.Context, _ op.Reader, e *dit.Entry, _ dit.Name, controls []ldap.Control) ([]ldap.Control, error) {
	return append(controls, stateControl(ldap.SyncAdd, e.UUID, nil)), nil
}

// dressReference is the same for references.
func (s *session) dressReference(_ op.Reader, e *dit.Entry, controls []ldap.Control) ([]ldap.Control, error) {
	return append(controls, stateControl(ldap.SyncAdd, e.UUID, nil)), nil
}

func stateControl(state ldap.SyncState, id uuid.UUID, cookie []byte) ldap.Control {
	v := ldap.SyncStateValue{State: state, UUID: id, Cookie: cookie}
	return ldap.Control{OID: []byte(ldap.SyncStateOID), Value: v.Append(nil), HasValue: true}
}

// unchanged is op.SearchPlan.Known in a present phase: an entry that the client has is only named.
func (s *session) unchanged(r op.Reader, e *dit.Entry) (bool, error) {
	changed, err := s.changed(r, e)
	if changed || err != nil {
		return false, err
	}
	s.known = append(s.known, e.UUID)
	if len(s.known) == idSetLen {
		err = s.nameKnown()
	}
	return true, err
}

// idSetLen is the number of UUIDs in one Sync Info Message, about 9 KiB of it.
const idSetLen = 500

// maxMoved bounds what is remembered of the entries above others.
const maxMoved = 10_000

// changed reports whether an entry may have changed since the cookie: it has a higher CSN, or one above it has, which may
// have been renamed, and with it the entry. Naming contexts are never renamed.
func (s *session) changed(r op.Reader, e *dit.Entry) (bool, error) {
	if e.CSN.Compare(s.cookieCSN) > 0 {
		return true, nil
	}
	if e.Parent == 0 {
		return false, nil
	}
	if above, ok := s.moved[e.Parent]; ok {
		return above, nil
	}
	parent, err := r.Get(e.Parent)
	if err != nil || parent == nil {
		return true, err
	}
	above := false
	if parent.Parent != 0 {
		if above, err = s.changed(r, parent); err != nil {
			return true, err
		}
	}
	if len(s.moved) >= maxMoved {
		clear(s.moved)
	}
	s.moved[e.Parent] = above
	return above, nil
}

// nameKnown sends the UUIDs of entries that the client has.
func (s *session) nameKnown() error {
	if len(s.known) == 0 {
		return nil
	}
	err := s.out.info(&ldap.SyncInfo{Kind: ldap.SyncIDSet, UUIDs: s.known})
	s.known = s.known[:0]
	return err
}

// within looks at the limits of the refresh stage (RFC 4533 sections 3.5.3 and 3.5.4). It is asked before each entry.
func (s *session) within(ctx context.Context) error {
	trace := &s.req.Trace
	if trace.Examined++; trace.Examined&31 == 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		if !s.persisting && !s.deadline.IsZero() && s.Now().After(s.deadline) {
			return ldap.Errorf(ldap.TimeLimitExceeded, "the time limit of %v is over", s.req.Limits.Time)
		}
	}
	return nil
}

// counted counts an entry that is sent.
func (s *session) counted() error {
	if limit := s.req.Limits.Size; limit > 0 && !s.persisting && s.req.Trace.Entries >= limit {
		return ldap.Errorf(ldap.SizeLimitExceeded, "the size limit of %d entries is reached", limit)
	}
	s.req.Trace.Entries++
	return nil
}
