package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"time"
)

// Entry is a line for people to read. What it says is not verified; see Verify.
type Entry struct {
	N      uint64    `json:"n"`
	Time   time.Time `json:"time"`
	Event  string    `json:"event"`
	Op     string    `json:"op"`
	Source string    `json:"source"`
	Conn   uint64    `json:"conn"`
	From   string    `json:"from"`
	Via    string    `json:"via"`
	TLS    string    `json:"tls"`
	// Who is who did it, AuthzID as whom. DN is what it was done to; in a bind that failed, who was claimed.
	Who     string   `json:"who"`
	Method  string   `json:"method"`
	AuthzID string   `json:"authzid"`
	DN      string   `json:"dn"`
	NewRDN  string   `json:"newrdn"`
	NewDN   string   `json:"newdn"`
	Attrs   []string `json:"attrs"`
	Marks   []string `json:"marks"`
	// Result is nil where there is none: an event of the server itself.
	Result *int   `json:"result"`
	Reason string `json:"reason"`
	Note   string `json:"note"`
	US     uint64 `json:"us"`
	Seq    uint64 `json:"seq"`
	Count  uint64 `json:"count"`
	// Others are the fields that are not named here, in the order of their names.
	Others []Field `json:"-"`
}

// known are the fields of Entry, and those that are of no use to a reader.
var known = []string{"n", "time", "event", "op", "source", "conn", "msg", "from", "via", "tls", "who", "method", "authzid", "dn", "newrdn",
	"newdn", "attrs", "marks", "result", "reason", "note", "us", "seq", "count", "mac", "prev", "second"}

// ParseEntry reads a line without its end.
func ParseEntry(text []byte) (*Entry, error) {
	e := &Entry{}
	if err := json.Unmarshal(text, e); err != nil {
		return nil, fmt.Errorf("not a line of an audit log: %w", err)
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, err
	}
	for name, raw := range all {
		if slices.Contains(known, name) {
			continue
		}
		var s string
		if json.Unmarshal(raw, &s) != nil {
			s = string(raw)
		}
		e.Others = append(e.Others, Field{name, s})
	}
	slices.SortFunc(e.Others, func(a, b Field) int {
		return bytes.Compare([]byte(a.Name), []byte(b.Name))
	})
	return e, nil
}

// TailOptions say which lines are wanted.
type TailOptions struct {
	File string
	// Lines is how many lines there are at most before new ones come; 0 is all.
	Lines int
	Since time.Time
	// Wanted, where set, says which lines are.
	Wanted func(*Entry) bool
	// Follow goes on with lines as they are written, until ctx ends.
	Follow bool
}

// followEvery is how often a followed file is looked at.
const followEvery = 200 * time.Millisecond

// Tail calls f for lines, the oldest first. text is valid during the call. Lines that are none are passed over. Without a
// log the error is fs.ErrNotExist.
func Tail(ctx context.Context, o TailOptions, f func(text []byte, e *Entry) error) error {
	// Whatever is written meanwhile is behind this place in the current file.
	var current *follower
	if o.Follow {
		current = &follower{o: o}
		if err := current.begin(); err != nil {
			return err
		}
		defer current.close()
	}
	if err := last(ctx, o, current, f); err != nil {
		return err
	}
	if current == nil {
		return nil
	}
	return current.run(ctx, f)
}

// wants reports whether a line is wanted.
func (o *TailOptions) wants(text []byte) (*Entry, bool) {
	if _, ok := parseLine(text); !ok {
		return nil, false
	}
	e, err := ParseEntry(text)
	if err != nil || e.Time.Before(o.Since) {
		return nil, false
	}
	return e, o.Wanted == nil || o.Wanted(e)
}

// last calls f for the last lines that are there.
func last(ctx context.Context, o TailOptions, until *follower, f func([]byte, *Entry) error) error {
	files, err := listFiles(o.File)
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return fmt.Errorf("%s: %w", o.File, fs.ErrNotExist)
	}
	type wanted struct {
		text []byte
		e    *Entry
	}
	var found []wanted
	for i := len(files) - 1; i >= 0 && (o.Lines == 0 || len(found) < o.Lines); i-- {
		var here []wanted
		early := false
		err := eachLine(ctx, files[i].path, until, func(n int, text []byte) error {
			e, ok := o.wants(text)
			if n == 1 && !o.Since.IsZero() {
				first, err := ParseEntry(text)
				early = err == nil && first.Time.Before(o.Since)
			}
			if !ok {
				return nil
			}
			here = append(here, wanted{bytes.Clone(text), e})
			if most := o.Lines - len(found); o.Lines > 0 && len(here) > 2*most {
				here = append(here[:0], here[len(here)-most:]...)
			}
			return nil
		})
		if err != nil && !missing(err) {
			return err
		}
		if most := o.Lines - len(found); o.Lines > 0 && len(here) > most {
			here = here[len(here)-most:]
		}
		found = append(here, found...)
		if early {
			break
		}
	}
	for _, w := range found {
		if err := f(w.text, w.e); err != nil {
			return err
		}
	}
	return nil
}

// eachLine calls f for the whole lines of a file.
func eachLine(ctx context.Context, path string, until *follower, f func(n int, text []byte) error) error {
	r, err := openFile(path)
	if err != nil {
		return err
	}
	defer r.Close()
	in := io.Reader(r)
	if until != nil && until.is(r) {
		in = io.LimitReader(r, until.at)
	}
	lines := newLineReader(in)
	for n := 1; ; n++ {
		if n%4096 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		raw, err := lines.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s, line %d: %w", path, n, err)
		}
		if raw.whole {
			if err := f(n, raw.text); err != nil {
				return err
			}
		}
	}
}

// follower reads what is appended to a log.
type follower struct {
	o    TailOptions
	f    *os.File
	at   int64 // f was read up to here
	rest []byte
	n    uint64 // number of the last line
	seen bool   // what comes next may have been seen already
}

// begin opens the current file and stands behind its last whole line.
func (w *follower) begin() error {
	f, err := os.Open(w.o.File)
	if err != nil {
		return err
	}
	w.f = f
	in := newLineReader(f)
	for {
		raw, err := in.next()
		if errors.Is(err, io.EOF) || err == nil && !raw.whole {
			return nil
		}
		if err != nil {
			return err
		}
		w.at += raw.octets
		if l, ok := parseLine(raw.text); ok {
			w.n = l.n
		}
	}
}

func (w *follower) close() {
	if w.f != nil {
		w.f.Close()
	}
}

// is reports whether a reader reads the file that is followed.
func (w *follower) is(r io.Reader) bool {
	f, ok := r.(*os.File)
	return ok && sameOpen(f, w.f)
}

func sameOpen(a, b *os.File) bool {
	x, err := a.Stat()
	if err != nil {
		return false
	}
	y, err := b.Stat()
	return err == nil && os.SameFile(x, y)
}

func (w *follower) run(ctx context.Context, f func([]byte, *Entry) error) error {
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for {
		moved, err := w.moved()
		if err != nil {
			return err
		}
		// What there is in the old file was written before the new one was begun.
		if err := w.drain(f); err != nil {
			return err
		}
		if moved != nil {
			w.f.Close()
			w.f, w.at, w.rest, w.seen = moved, 0, nil, true
			if err := w.between(ctx, f); err != nil {
				return err
			}
			continue
		}
		w.seen = false
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// moved opens the file that has taken the place of the one that is followed; nil where none has.
func (w *follower) moved() (*os.File, error) {
	next, err := os.Open(w.o.File)
	if missing(err) {
		return nil, nil // between two files
	}
	if err != nil {
		return nil, err
	}
	if sameOpen(next, w.f) {
		return nil, next.Close()
	}
	return next, nil
}

// between reads files that were begun and closed again since the last look.
func (w *follower) between(ctx context.Context, f func([]byte, *Entry) error) error {
	files, err := listFiles(w.o.File)
	if err != nil {
		return err
	}
	for i := range files {
		if files[i].path == w.o.File || i+1 < len(files) && files[i+1].first != 0 && files[i+1].first <= w.n+1 {
			continue // the one that is followed from now on, or one that was read
		}
		err := eachLine(ctx, files[i].path, nil, func(_ int, text []byte) error { return w.next(text, f) })
		if err != nil && !missing(err) {
			return err
		}
	}
	return nil
}

// next takes a line, unless it was seen. Numbers are believed only where two files meet: nothing here is verified, and a
// forged one must not hide what follows.
func (w *follower) next(text []byte, f func([]byte, *Entry) error) error {
	l, ok := parseLine(text)
	if !ok || w.seen && l.n <= w.n {
		return nil
	}
	w.n = l.n
	if e, ok := w.o.wants(text); ok {
		return f(text, e)
	}
	return nil
}

func (w *follower) drain(f func([]byte, *Entry) error) error {
	buf := make([]byte, 64<<10)
	for {
		n, err := w.f.ReadAt(buf, w.at)
		w.at += int64(n)
		w.rest = append(w.rest, buf[:n]...)
		for {
			i := bytes.IndexByte(w.rest, '\n')
			if i < 0 {
				break
			}
			text := w.rest[:i]
			w.rest = w.rest[i+1:]
			if err := w.next(text, f); err != nil {
				return err
			}
		}
		if len(w.rest) > maxLine {
			w.rest = nil
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// ResultCode returns the result as a number, -1 where there is none.
func (e *Entry) ResultCode() int {
	if e.Result == nil {
		return -1
	}
	return *e.Result
}

// ParseSince reads a point in time: a time of RFC 3339, a day, or a duration before now.
func ParseSince(s string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	if n, ok := bytes.CutSuffix([]byte(s), []byte("d")); ok {
		if days, err := strconv.Atoi(string(n)); err == nil && days >= 0 {
			return now.AddDate(0, 0, -days), nil
		}
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is not a time: write 2026-01-31T12:00:00Z, 2026-01-31, or how long ago: 90m, 2h, 7d", s)
}
