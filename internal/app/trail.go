package app

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"portolan/internal/audit"
	"portolan/internal/config"
	"portolan/internal/op"
	"portolan/internal/store"
)

// sealKey is the key of store.State under which the seal of the audit log is kept.
const sealKey = "audit/seal"

// accountAttributes are those whose change locks, unlocks, disables or narrows an account.
var accountAttributes = []string{
	"portolanAccountDisabled", "portolanAllowedFrom", "pwdAccountLockedTime", "pwdReset", "pwdStartTime", "pwdEndTime", "pwdPolicySubentry",
	"nsAccountLock", "loginDisabled", "shadowExpire",
}

// openTrail opens the audit log.
func (s *Server) openTrail(c *config.Config) error {
	if !c.Audit.Enabled {
		s.Log.Warn("there is no audit log: audit.enabled is false")
		return nil
	}
	trail, err := audit.OpenTrail(audit.Options{
		File: c.AuditFile(), KeyFile: c.AuditKeyFile(), Policy: trailPolicy(c),
		Secret: s.logs.secret, Account: audit.NewNames(accountAttributes), Verb: s.verb,
		Seals: trailSeals{s.Store.State()}, Journal: trailJournal{s.Store},
		Now: s.o.Now, Rand: rand.Reader, Log: s.Log,
	})
	if err != nil {
		return err
	}
	s.Store.Observe(func(c store.Commit) { trail.Committed(c.Seq) })
	if err := trail.CatchUp(); err != nil {
		return errors.Join(err, trail.Close())
	}
	s.trail = trail
	trail.Event("start", audit.Field{Name: "version", Text: s.o.Version}, audit.Field{Name: "config", Text: c.File()},
		audit.Field{Name: "pid", Text: strconv.Itoa(os.Getpid())})
	return nil
}

func trailPolicy(c *config.Config) audit.Policy {
	a := &c.Audit
	return audit.Policy{
		MaxBytes: a.MaxBytes, MaxAge: a.MaxAge, Keep: a.Keep, Compress: a.Compress,
		StopWrites: a.OnFailure == "stop-writes", GatherBinds: a.GatherBinds,
	}
}

// verb tells the audit log about an extended operation.
func (s *Server) verb(oid []byte) audit.Verb {
	x := s.Engine.Verb(oid)
	if x == nil {
		return audit.Verb{}
	}
	return audit.Verb{Name: x.Name, Writes: x.Writes, Credential: x.Name == "passwd"}
}

// mayWrite is engine.Options.MayWrite.
func (s *Server) mayWrite() error {
	if s.trail == nil {
		return nil
	}
	return s.trail.MayWrite()
}

// closeTrail ends the audit log; why is empty for an orderly end.
func (s *Server) closeTrail(why string) error {
	if s.trail == nil {
		return nil
	}
	s.trail.Event("stop", audit.Field{Name: "problem", Text: why})
	if err := s.trail.Close(); err != nil {
		return fmt.Errorf("the audit log could not be closed in order: %w", err)
	}
	return nil
}

func (s *Server) startTLS(c *op.Conn, refused error) {
	if s.logs.access != nil {
		s.logs.access.StartTLS(c, refused)
	}
	if s.trail != nil {
		s.trail.StartTLS(c, refused)
	}
}

// reloaded and certificateChanged tell the audit log.
func (s *Server) reloaded(taken []string, err error) {
	if s.trail == nil {
		return
	}
	s.trail.Event("reload", audit.Field{Name: "changed", Text: strings.Join(taken, " ")}, problem(err))
}

func (s *Server) certificateChanged(err error) {
	if s.trail == nil {
		return
	}
	f := problem(err)
	if err == nil {
		leaf := s.certs.Leaf()
		f = audit.Field{Name: "subject", Text: leaf.Subject.String() + ", until " + leaf.NotAfter.UTC().Format(time.RFC3339)}
	}
	s.trail.Event("certificate", f)
}

func problem(err error) audit.Field {
	if err == nil {
		return audit.Field{}
	}
	return audit.Field{Name: "problem", Text: err.Error()}
}

// trailSeals keeps the seal in the store.
type trailSeals struct{ state *store.State }

func (t trailSeals) LoadSeal() ([]byte, error) { return t.state.Get([]byte(sealKey)) }

func (t trailSeals) StoreSeal(b []byte) error { return t.state.Set([]byte(sealKey), b) }

// trailJournal shows the journal to the audit log, without values.
type trailJournal struct{ s *store.Store }

func (t trailJournal) Last() uint64 {
	_, last := t.s.JournalBounds()
	return last
}

func (t trailJournal) Read(from uint64, f func(*audit.Record) bool) error {
	first, last := t.s.JournalBounds()
	if from = max(from, first); from > last {
		return nil
	}
	return t.s.ReadJournal(from, func(r *store.Record) bool {
		out := audit.Record{
			Seq: r.Seq, Time: r.Time, Author: r.Meta.Author, Authenticated: r.Meta.AuthzID,
			Base: r.Kind == store.RecordBase, Entries: r.Entries,
		}
		for i := range r.Changes {
			out.Changes = append(out.Changes, recordChange(&r.Changes[i]))
		}
		return f(&out)
	})
}

func recordChange(c *store.RecordChange) audit.RecordChange {
	out := audit.RecordChange{Op: c.Kind.String(), DN: cmp.Or(c.OldDN, c.NewDN)}
	if c.OldDN != "" && c.NewDN != c.OldDN {
		out.NewDN = c.NewDN
	}
	for i := range c.Attrs {
		if name := c.Attrs[i].Description; !slices.Contains(out.Attrs, name) {
			out.Attrs = append(out.Attrs, name)
		}
	}
	return out
}

// AuditState is what is known of an audit log beside its files.
type AuditState struct {
	// Seal is the encoded seal that the store keeps, empty where there is none.
	Seal []byte `json:"seal,omitempty"`
	// Anchor is what to keep elsewhere, empty where there is no log.
	Anchor string `json:"anchor,omitempty"`
	// Live says that a server is writing.
	Live bool `json:"live"`
}

// AuditState implements Verbs.
func (a *Admin) AuditState(context.Context) (*AuditState, error) {
	s := &AuditState{Live: a.trail != nil}
	if a.trail != nil {
		if _, err := a.trail.Seal(); err != nil {
			return nil, fmt.Errorf("the audit log cannot be sealed: %w", err)
		}
	}
	var err error
	if s.Seal, err = a.d.Store.State().Get([]byte(sealKey)); err != nil {
		return nil, err
	}
	seal, err := audit.DecodeSeal(s.Seal)
	if err != nil {
		return nil, err
	}
	if seal != nil {
		s.Anchor = seal.String()
	}
	return s, nil
}

// AuditCheck says what an audit log is verified against.
type AuditCheck struct {
	// File is the log, KeyFile its key; empty are those of the configuration.
	File, KeyFile string
	// State is what the store knows, nil where it is not asked.
	State *AuditState
	// Anchors is text of anchors that were kept elsewhere, one a line.
	Anchors []byte
}

// VerifyAudit verifies an audit log. c may be nil where check names the files.
func VerifyAudit(ctx context.Context, c *config.Config, check AuditCheck) (*audit.Report, error) {
	o := audit.VerifyOptions{File: check.File}
	if o.File == "" {
		o.File = c.AuditFile()
	}
	if check.KeyFile == "" {
		check.KeyFile = c.AuditKeyFile()
	}
	var err error
	if o.Key, err = audit.ReadKey(check.KeyFile); err != nil {
		return nil, err
	}
	if o.Anchors, err = audit.ParseAnchors(check.Anchors); err != nil {
		return nil, err
	}
	if s := check.State; s != nil {
		o.Live = s.Live
		if o.Seal, err = audit.DecodeSeal(s.Seal); err != nil {
			return nil, err
		}
	}
	return audit.Verify(ctx, o)
}

// AuditTail says which lines of an audit log are wanted.
type AuditTail struct {
	Lines  int
	Since  time.Time
	Follow bool
	// Who is a DN, Op an operation or an event, Result a result code or -1; what is empty is not asked.
	Who, Op string
	Result  int
}

// TailAudit calls f for lines of the audit log of a configuration, as they are and taken apart.
func TailAudit(ctx context.Context, c *config.Config, t AuditTail, f func(text []byte, e *audit.Entry) error) error {
	who, err := namesSomebody(c, t.Who)
	if err != nil {
		return err
	}
	o := audit.TailOptions{File: c.AuditFile(), Lines: t.Lines, Since: t.Since, Follow: t.Follow}
	o.Wanted = func(e *audit.Entry) bool {
		return (t.Op == "" || e.Op == t.Op || e.Event == t.Op) && (t.Result < 0 || e.ResultCode() == t.Result) && (who == nil || who(e))
	}
	if err := audit.Tail(ctx, o, f); errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("there is no audit log %s: has the server been started?", c.AuditFile())
	} else if err != nil {
		return err
	}
	return nil
}

// namesSomebody returns what says whether a line is about somebody: as who did it, as whom, or, in a bind, who was claimed.
func namesSomebody(c *config.Config, dn string) (func(*audit.Entry) bool, error) {
	if dn == "" {
		return nil, nil
	}
	s, err := LoadSchema(c)
	if err != nil {
		return nil, err
	}
	want, err := s.NormalizeDNString(nil, dn)
	if err != nil {
		return nil, err
	}
	same := func(name string) bool {
		norm, err := s.NormalizeDNString(nil, name)
		return err == nil && name != "" && string(norm) == string(want)
	}
	return func(e *audit.Entry) bool {
		return same(e.Who) || same(strings.TrimPrefix(e.AuthzID, "dn:")) || e.Event == "bind" && same(e.DN)
	}, nil
}

// AuditSince reads a point in time as "portolan audit tail" takes it.
func AuditSince(s string, now time.Time) (time.Time, error) { return audit.ParseSince(s, now) }
