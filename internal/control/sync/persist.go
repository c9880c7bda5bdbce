package sync

import (
	"context"
	"time"

	"github.com/google/uuid"

	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/ldap"
)

const (
	// pause is the least time between two steps: what happens meanwhile is told together (RFC 4533 section 3.9). maxPause is
	// the longest, which a client may be behind for it.
	pause    = 10 * time.Millisecond
	maxPause = time.Second
	// restFor is how many times as long as a step the pause behind it is, within those bounds. Each change of a group of a
	// hundred thousand sends all of it to every consumer: ten of them would leave nothing to those who write.
	restFor = 19
	// cookiePause is the least time between two messages that are nothing but a cookie.
	cookiePause = time.Second
	// manyGone is how many entries must go at once for their UUIDs to be sent together.
	manyGone = 20
)

// persist is the persist stage (RFC 4533 section 3.4.2): from the state that the client has been told to the present one, step by
// step, until somebody ends it. It returns an error always.
func (s *session) persist(ctx context.Context) error {
	s.persisting, s.told = true, s.Now()
	wait := time.NewTimer(0)
	defer wait.Stop()
	if !wait.Stop() {
		<-wait.C
	}
	for {
		var late <-chan time.Time
		if s.owed {
			wait.Reset(max(cookiePause-s.Now().Sub(s.told), 0))
			late = wait.C
		}
		select {
		case <-s.Journal.Grown(s.seq):
		case <-s.reloaded:
		case <-late:
			if err := s.giveCookie(); err != nil {
				return err
			}
			continue
		case <-ctx.Done():
			return ctx.Err()
		}
		if s.owed && !wait.Stop() {
			select {
			case <-wait.C:
			default:
			}
		}
		began := s.Now()
		if err := s.step(ctx); err != nil {
			return err
		}
		wait.Reset(rest(s.Now().Sub(began)))
		select {
		case <-wait.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// rest returns the pause behind a step that took this long.
func rest(took time.Duration) time.Duration { return min(max(restFor*took, pause), maxPause) }

// giveCookie sends the cookie of what the client has been told.
func (s *session) giveCookie() error {
	s.owed, s.told = false, s.Now()
	return s.out.info(&ldap.SyncInfo{Kind: ldap.SyncNewCookie, Cookie: s.cookie()})
}

// step tells the client what has changed since the last one.
func (s *session) step(ctx context.Context) error {
	s.reloaded = s.Directory.Reloaded()
	now := s.Directory.View()
	defer func() { now.Close() }()
	if err := now.Pin(); err != nil {
		return err
	}
	if s.Journal.Epoch() != s.epoch {
		return errReload
	}
	if now.Schema() != s.view.Schema() {
		// What is kept of the old schema does not fit the new one.
		return errResume
	}
	sight, before := s.Directory.Sight(s.req, now), s.Directory.Sight(s.req, s.view)
	if short(sight.Digest()) != s.policy || short(before.Digest()) != s.policy {
		return errReload
	}
	if err := s.sameBase(sight, now); err != nil {
		return err
	}
	w, err := readWindow(s.Journal, s.seq, now.Seq())
	if err != nil {
		return err
	}
	if w.broken {
		return errResume
	}
	t := &turn{s: s, now: now, sight: sight, w: w, state: ldap.SyncModify, together: manyGone}
	t.was = func(id uuid.UUID, _ *dit.Entry, _ *touch) (op.Found, string, error) { return s.had(before, id) }
	if err := t.run(ctx); err != nil {
		return err
	}
	moved := now.Seq() > s.seq
	s.seq, s.csn = now.Seq(), now.CSN()
	s.view, now = now, s.view
	if !moved {
		return nil
	}
	return s.stepped(t.sent > 0)
}

// stepped gives the client the cookie of a step, with its last message where there is one.
func (s *session) stepped(sent bool) error {
	switch {
	case len(s.out.held) > 0:
		s.owed, s.told = false, s.Now()
		return s.out.flush(s.cookie())
	case sent:
		return s.giveCookie()
	}
	s.owed = true
	return nil
}

// had is what the client has of an entry: what the state that it was told shows it.
func (s *session) had(before op.Sight, id uuid.UUID) (op.Found, string, error) {
	e, err := s.view.ByUUID(id)
	if err != nil || e == nil {
		return op.FoundNot, "", err
	}
	name, err := before.Look(e)
	if err != nil {
		return op.FoundNot, "", err
	}
	found, err := s.found(before)
	return found, name.DN, err
}

// sameBase ends the synchronization when the base of the request is another entry than it was, or none (RFC 4533 section
// 3.5.1).
func (s *session) sameBase(sight op.Sight, now op.Snapshot) error {
	base, err := sight.Base(s.m)
	if err != nil || base == nil {
		return err
	}
	if base.UUID != s.base {
		return errReload
	}
	name, err := now.Name(base)
	if err == nil && name.Norm != s.baseNorm {
		// An alias still leads to it, but it goes by another name: the search is another.
		return errReload
	}
	return err
}
