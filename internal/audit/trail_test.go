package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/ldap"
)

// clock is a clock that stands still until it is moved.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// memorySeals is a store that keeps the seal.
type memorySeals struct {
	mu sync.Mutex
	b  []byte
}

func (m *memorySeals) LoadSeal() ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return bytes.Clone(m.b), nil
}

func (m *memorySeals) StoreSeal(b []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.b = bytes.Clone(b)
	return nil
}

// memoryJournal is a journal whose records are numbered from 1.
type memoryJournal struct {
	mu      sync.Mutex
	records []*Record
}

func (m *memoryJournal) Last() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return uint64(len(m.records))
}

func (m *memoryJournal) Read(from uint64, f func(*Record) bool) error {
	m.mu.Lock()
	list := m.records
	m.mu.Unlock()
	for _, r := range list {
		if r.Seq >= from && !f(r) {
			break
		}
	}
	return nil
}

func (m *memoryJournal) write(author, dn string, attrs ...string) uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	seq := uint64(len(m.records) + 1)
	m.records = append(m.records, &Record{Seq: seq, Time: time.Unix(0, 0), Author: author, Changes: []RecordChange{{Op: "modify", DN: dn, Attrs: append([]string{"sn"}, attrs...)}}})
	return seq
}

// site is a place where a log lives, over restarts.
type site struct {
	t       testing.TB
	dir     string
	o       Options
	clock   *clock
	seals   *memorySeals
	journal *memoryJournal
	log     bytes.Buffer
}

const passwdOID = "1.3.6.1.4.1.4203.1.11.1"

func newSite(t testing.TB) *site {
	s := &site{t: t, dir: t.TempDir(), clock: newClock(), seals: &memorySeals{}, journal: &memoryJournal{}}
	s.o = Options{
		File: filepath.Join(s.dir, "audit", "audit.log"), KeyFile: filepath.Join(s.dir, "audit.key"),
		Policy: Policy{StopWrites: true, GatherBinds: true},
		Secret: NewNames([]string{"userPassword", "2.5.4.35"}), Account: NewNames([]string{"portolanAccountDisabled"}),
		Verb: func(oid []byte) Verb {
			switch string(oid) {
			case passwdOID:
				return Verb{Name: "passwd", Writes: true, Credential: true}
			case "1.2.3":
				return Verb{Name: "status"}
			}
			return Verb{}
		},
		Seals: s.seals, Journal: s.journal, Now: s.clock.Now, Rand: rand.New(rand.NewSource(1)),
		Log: slog.New(slog.NewTextHandler(&s.log, nil)),
	}
	return s
}

func (s *site) open() *Trail {
	s.t.Helper()
	trail, err := OpenTrail(s.o)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := trail.CatchUp(); err != nil {
		s.t.Fatal(err)
	}
	return trail
}

func (s *site) close(trail *Trail) {
	s.t.Helper()
	if err := trail.Close(); err != nil {
		s.t.Fatal(err)
	}
}

// kill ends a log as a crash does: what was handed over stays, nothing is added.
func (s *site) kill(trail *Trail) {
	trail.closing.Do(func() {
		close(trail.hurry)
		trail.ask(func() { trail.w.over = true })
		close(trail.quit)
		<-trail.done
		<-trail.idle
		trail.w.f.Close()
	})
}

func (s *site) key() []byte {
	s.t.Helper()
	k, err := ReadKey(s.o.KeyFile)
	if err != nil {
		s.t.Fatal(err)
	}
	return k
}

func (s *site) verify(anchors ...Anchor) *Report {
	s.t.Helper()
	seal, err := DecodeSeal(s.seals.b)
	if err != nil {
		s.t.Fatal(err)
	}
	r, err := Verify(s.t.Context(), VerifyOptions{File: s.o.File, Key: s.key(), Seal: seal, Anchors: anchors})
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

// sound demands that nothing is found but these notes.
func (s *site) sound(notes ...Kind) *Report {
	s.t.Helper()
	r := s.verify()
	var got []Kind
	for _, f := range r.Findings {
		got = append(got, f.Kind)
	}
	if r.Bad() || fmt.Sprint(got) != fmt.Sprint(notes) {
		s.t.Errorf("found %v, want notes %v", r.Findings, notes)
	}
	return r
}

// lines returns the lines of all files.
func (s *site) lines() []string {
	s.t.Helper()
	files, err := listFiles(s.o.File)
	if err != nil {
		s.t.Fatal(err)
	}
	var out []string
	for _, f := range files {
		r, err := openFile(f.path)
		if err != nil {
			s.t.Fatal(err)
		}
		var text bytes.Buffer
		if _, err := text.ReadFrom(r); err != nil {
			s.t.Fatal(err)
		}
		r.Close()
		for l := range strings.Lines(text.String()) {
			out = append(out, strings.TrimSuffix(l, "\n"))
		}
	}
	return out
}

// events returns the lines of one event as objects.
func (s *site) events(event string) []map[string]any {
	s.t.Helper()
	var out []map[string]any
	for _, l := range s.lines() {
		if _, ok := parseLine([]byte(l)); !ok {
			continue // torn
		}
		var m map[string]any
		if err := json.Unmarshal([]byte(l), &m); err != nil {
			s.t.Fatalf("%v in %s", err, l)
		}
		if m["event"] == event {
			out = append(out, m)
		}
	}
	return out
}

// client is a connection from somewhere.
func (s *site) client() *op.Conn {
	return &op.Conn{ID: 7, Listener: "ldap://x", Remote: netip.MustParseAddrPort("192.0.2.1:5")}
}

// serve runs one operation through the log.
func (s *site) serve(trail *Trail, c *op.Conn, m ldap.Op, answer func(req *op.Request) error) error {
	req := &op.Request{Conn: c, ID: 3, Op: m, Identity: c.Identity(), Start: s.clock.Now().Add(-time.Millisecond)}
	h := trail.Middleware()(op.HandlerFunc(func(_ context.Context, req *op.Request, _ op.Writer) error {
		if answer == nil {
			return nil
		}
		return answer(req)
	}))
	return h.Serve(context.Background(), req, nil)
}

// write performs a modify that is a transaction of the journal.
func (s *site) write(trail *Trail, dn string) {
	s.t.Helper()
	m := &ldap.ModifyRequest{Object: []byte(dn), Changes: []ldap.Mod{{Op: ldap.ModReplace, Attribute: ldap.Attribute{Type: []byte("sn")}}}}
	if err := s.serve(trail, s.client(), m, func(req *op.Request) error {
		seq := s.journal.write("cn=somebody", dn)
		trail.Committed(seq)
		req.Trace.Seq = seq
		return nil
	}); err != nil {
		s.t.Error(err)
	}
}

func person(dn string) *op.Identity {
	return &op.Identity{Name: dit.Name{DN: dn, Norm: dn}, Method: "simple"}
}

func TestTrailGoesOn(t *testing.T) {
	s := newSite(t)
	trail := s.open()
	trail.Event("start", Field{"version", "1"})
	s.write(trail, "cn=a")
	s.close(trail)
	first := s.sound()
	trail = s.open()
	s.write(trail, "cn=b")
	trail.Event("stop")
	s.close(trail)
	r := s.sound()
	// header, start, write, checkpoint, write, stop, checkpoint
	if first.Lines != 4 || r.Lines != 7 || r.First != 1 || r.Last != 7 || len(s.events("file")) != 1 {
		t.Errorf("first %+v\nthen %+v\n%s", first, r, strings.Join(s.lines(), "\n"))
	}
	if info, err := os.Stat(s.o.File); err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info.Mode(), err)
	}
	if info, err := os.Stat(s.o.KeyFile); err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info.Mode(), err)
	}
	if s.log.Len() > 0 {
		t.Error(s.log.String())
	}
}
