package audit

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// OpenTrail opens the log, or begins it, and goes on where it ended. A log that is not as the server left it is gone on
// with all the same, after a line that says so: the evidence is in the log before anything new is. Errors say what to do.
//
// Where there is a journal, CatchUp is to be called next. Close must be called at the end.
func OpenTrail(o Options) (*Trail, error) {
	if o.Open == nil {
		o.Open = openAppend
	}
	t := &Trail{
		o: o, batch: newBatch(), wake: make(chan struct{}, 1), jobWake: make(chan struct{}, 1), requests: make(chan func()),
		done: make(chan struct{}), hurry: make(chan struct{}), quit: make(chan struct{}), idle: make(chan struct{}),
	}
	t.Set(o.Policy)
	if err := os.MkdirAll(filepath.Dir(o.File), 0o700); err != nil {
		return nil, fmt.Errorf("the audit log cannot be opened: %w", err)
	}
	r := &resumption{t: t}
	if err := r.look(); err != nil {
		return nil, err
	}
	if err := r.goOn(); err != nil {
		return nil, err
	}
	if o.Journal == nil {
		t.journal.until = nil
	}
	go t.run()
	go t.background()
	t.later(t.tidy)
	return t, nil
}

func openAppend(path string) (File, error) {
	return os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
}

// resumption finds out where a log ended.
type resumption struct {
	t       *Trail
	seal    *Seal
	last    logFile // the newest file with something in it
	current logFile // the one to go on in; zero where it is not there
	covered marks
	told    int // line in last up to which a resume line has told of what was wrong

	n         uint64
	mac       mac
	chain     string
	begun     time.Time // of the last file
	torn      int64     // octets behind the last line
	open      bool      // the last octet of the file is not an end of line
	cut       [2]uint64 // lines that the seal knows and the log does not
	problems  []string
	beforeKey string
	before    uint64
}

// look reads the end of what is there.
func (r *resumption) look() error {
	t := r.t
	stored, err := t.o.Seals.LoadSeal()
	if err != nil {
		return fmt.Errorf("the audit log's seal cannot be read: %w", err)
	}
	if r.seal, err = DecodeSeal(stored); err != nil {
		r.problems = append(r.problems, err.Error())
	}
	files, err := listFiles(t.o.File)
	if err != nil {
		return fmt.Errorf("the audit log cannot be opened: %w", err)
	}
	for _, f := range files {
		if f.path == t.o.File {
			r.current = f
		}
		if f.size > 0 {
			r.last = f
		}
	}
	if err := r.loadKey(); err != nil {
		return err
	}
	t.keyID = keyID(t.key)
	if r.seal != nil && r.seal.Key != t.keyID {
		r.beforeKey, r.before = r.seal.Key, r.seal.N
		r.seal = nil
	}
	if r.last.path == "" {
		return r.nothing()
	}
	return r.read()
}

// loadKey reads the key, or makes one where there is no log yet.
func (r *resumption) loadKey() error {
	t := r.t
	var err error
	if t.key, err = ReadKey(t.o.KeyFile); !missing(err) {
		return err
	}
	if r.last.path != "" {
		return fmt.Errorf("the audit key %s is not there, but the log %s is: put the key back, or move the log away to begin a new one", t.o.KeyFile, t.o.File)
	}
	t.key, err = makeKey(t.o.KeyFile, t.o.Rand)
	return err
}

// nothing is the case of a log that is not there: a new one, or one that was taken away.
func (r *resumption) nothing() error {
	if s := r.seal; s != nil {
		r.n, r.mac, r.chain, r.cut = s.N, s.MAC, s.Chain, [2]uint64{1, s.N}
		return nil
	}
	id := make([]byte, 12)
	if _, err := r.t.o.Rand.Read(id); err != nil {
		return err
	}
	r.chain = macEncoding.EncodeToString(id)
	if j := r.t.o.Journal; j != nil {
		r.covered.upTo = j.Last()
	}
	return nil
}

// read verifies the newest file, and finds where it ended.
func (r *resumption) read() error {
	t := r.t
	v := newVerifier(t.key)
	if r.seal != nil {
		v.hold(r.seal.Anchor, "the seal in the store")
	}
	v.each = func(l *line) {
		if r.line(l); string(l.field("event")) == eventResume {
			r.told = v.at
		}
	}
	if err := v.readFile(context.Background(), r.last, false, true); err != nil {
		return fmt.Errorf("the audit log cannot be opened: %w", err)
	}
	if !v.started {
		if r.seal == nil {
			return fmt.Errorf("nothing in %s was written under the key %s: put the right key there, or move the log away to begin a new one", r.last.path, t.o.KeyFile)
		}
		r.n, r.mac, r.chain = r.seal.N, r.seal.MAC, r.seal.Chain
	} else {
		r.n, r.mac, r.chain = v.n, v.mac, v.chain
	}
	r.torn = v.region.octets
	if n := len(v.region.lines); n > 0 {
		r.open = !v.region.lines[n-1].whole
	} else {
		r.open = v.cut
	}
	r.judge(v)
	return nil
}

// judge collects what is wrong with the newest file. What a crash can do is not.
func (r *resumption) judge(v *verifier) {
	g := v.region
	garbage := g.more == 0
	for _, s := range g.lines {
		garbage = garbage && s.n == 0
	}
	if g.octets > 0 && !garbage {
		r.problems = append(r.problems, fmt.Sprintf("lines at the end of %s are not what was written", filepath.Base(r.last.path)))
	}
	for _, f := range v.report.Findings {
		if !f.Note && f.Line > r.told {
			r.problems = append(r.problems, fmt.Sprintf("%s, %s:%d: %s", f.Kind, filepath.Base(f.File), f.Line, f.Text))
		}
	}
	if s := r.seal; s != nil && s.N > r.n {
		r.cut = [2]uint64{r.n + 1, s.N}
		r.n, r.mac = s.N, s.MAC
	}
	const most = 5
	if n := len(r.problems); n > most {
		r.problems = append(r.problems[:most], fmt.Sprintf("and %d more", n-most))
	}
}

// line is told of every authentic line of the newest file.
func (r *resumption) line(l *line) {
	switch string(l.field("event")) {
	case eventFile:
		at, err := time.Parse(timeLayout, string(l.field("time")))
		if err == nil {
			r.begun = at
		}
		r.covered = marks{upTo: l.number("journal")}
		for s := range strings.FieldsSeq(string(l.field("ahead"))) {
			if seq, err := strconv.ParseUint(s, 10, 64); err == nil {
				r.covered.ahead = append(r.covered.ahead, seq)
			}
		}
	case eventCheckpoint:
		r.covered.upTo = max(r.covered.upTo, l.number("journal"))
		r.covered.ahead = slices.DeleteFunc(r.covered.ahead, func(seq uint64) bool { return seq <= r.covered.upTo })
	default:
		if seq := l.number("seq"); seq > r.covered.upTo {
			r.covered.ahead = append(r.covered.ahead, seq)
		}
	}
}

// goOn opens the file and appends what there is to say before anything else.
func (r *resumption) goOn() error {
	t, w := r.t, &r.t.w
	slices.Sort(r.covered.ahead)
	f, err := t.o.Open(t.o.File)
	if err != nil {
		return fmt.Errorf("the audit log cannot be opened: %w", err)
	}
	now := t.o.Now()
	w.f, w.id, w.begun, w.size = f, r.chain, r.begun, r.current.size
	w.chain = chain{newSealer(t.key), r.n, r.mac}
	w.lastSeal, w.lastSync = now, now
	t.journal.until = &r.covered
	if r.cut[1] > 0 {
		r.problems = append(r.problems, fmt.Sprintf("lines %d to %d, which had been sealed, were not there", r.cut[0], r.cut[1]))
	}
	prev := w.chain.mac
	switch {
	case r.current.size == 0:
		var more []byte
		if r.before > 0 {
			more = str(num(more, "before", r.before), "beforekey", r.beforeKey)
		}
		if r.torn > 0 {
			more = num(more, "torn", uint64(r.torn))
			r.torn = 0
		}
		w.begun, w.first = now, w.chain.n+1
		t.append(t.header(now, more))
		prev = w.chain.mac
	default:
		w.first = r.current.first
		if r.open || r.torn > 0 {
			w.out = append(w.out, '\n')
			w.size++
		}
	}
	if r.torn > 0 || len(r.problems) > 0 {
		b := begin(nil, now, eventResume)
		b = str(b, "prev", prev.String())
		if r.torn > 0 {
			b = num(b, "torn", uint64(r.torn))
		}
		if len(r.problems) > 0 {
			text := strings.Join(r.problems, "; ")
			b = str(b, "problem", text)
			t.o.Log.Error("the audit log is not as the server left it; see \"portolan audit verify\"", "problem", text)
		}
		t.append(b)
	}
	w.lines.Store(w.chain.n)
	if r.seal != nil {
		w.sealed.Store(r.seal.N)
	}
	t.write()
	return nil
}
