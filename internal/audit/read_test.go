package audit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"
	"time"

	"portolan/ldap"
)

// tail returns the numbers of lines.
func (s *site) tail(o TailOptions) string {
	s.t.Helper()
	o.File = s.o.File
	var out []string
	if err := Tail(s.t.Context(), o, func(_ []byte, e *Entry) error {
		out = append(out, fmt.Sprint(e.N))
		return nil
	}); err != nil {
		s.t.Fatal(err)
	}
	return strings.Join(out, " ")
}

func TestTail(t *testing.T) {
	s := newSite(t)
	if err := Tail(t.Context(), TailOptions{File: s.o.File}, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	s.o.Policy.MaxAge, s.o.Policy.Compress = time.Hour, true
	trail := s.open() // line 1 is the head of the file
	for range 3 {     // two writes, a checkpoint, a head
		s.write(trail, "cn=a")
		s.write(trail, "cn=b")
		s.clock.move(time.Hour)
		trail.ask(func() { trail.tick(s.clock.Now()) })
	}
	s.write(trail, "cn=c")
	s.close(trail)
	f, err := os.OpenFile(s.o.File, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(f, "no line\n{\"n\":99,\"half")
	f.Close()
	begin := newClock().Now()
	isB := func(e *Entry) bool { return e.DN == "cn=b" }
	for _, c := range []struct {
		o    TailOptions
		want string
	}{
		{TailOptions{}, "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15"},
		{TailOptions{Lines: 1}, "15"},
		{TailOptions{Lines: 5}, "11 12 13 14 15"},
		{TailOptions{Lines: 100}, "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15"},
		{TailOptions{Wanted: isB}, "3 7 11"},
		{TailOptions{Lines: 2, Wanted: isB}, "7 11"},
		{TailOptions{Since: begin.Add(2 * time.Hour)}, "8 9 10 11 12 13 14 15"},
		{TailOptions{Since: begin.Add(2 * time.Hour), Wanted: isB}, "11"},
		{TailOptions{Since: begin.Add(2 * time.Hour), Lines: 3}, "13 14 15"},
		{TailOptions{Since: begin.Add(9 * time.Hour)}, ""},
	} {
		if got := s.tail(c.o); got != c.want {
			t.Errorf("%+v: got %s, want %s", c.o, got, c.want)
		}
	}
	stop := errors.New("enough")
	if err := Tail(t.Context(), TailOptions{File: s.o.File}, func([]byte, *Entry) error { return stop }); !errors.Is(err, stop) {
		t.Error(err)
	}
}

// TestFollow reads while the log is written and rotated, and misses nothing.
func TestFollow(t *testing.T) {
	s := newSite(t)
	s.o.Policy.MaxBytes, s.o.Policy.Compress = 3000, true
	trail := s.open()
	s.write(trail, "cn=first")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	const all = 60
	seen := make(chan *Entry, 10*all)
	ended := make(chan error, 1)
	begun := make(chan struct{})
	go func() {
		ended <- Tail(ctx, TailOptions{File: s.o.File, Lines: 1, Follow: true, Wanted: func(e *Entry) bool { return e.Event == "write" }},
			func(_ []byte, e *Entry) error {
				if e.DN == "cn=first" {
					close(begun)
				}
				seen <- e
				return nil
			})
	}()
	<-begun
	for i := range all {
		s.write(trail, fmt.Sprintf("cn=%d", i))
	}
	last := ""
	for n := 0; last != fmt.Sprintf("cn=%d", all-1); n++ {
		e := <-seen
		if last = e.DN; n > 0 && e.DN != fmt.Sprintf("cn=%d", n-1) {
			t.Fatalf("entry %d is %s", n, e.DN)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	s.close(trail)
}

func TestParseEntry(t *testing.T) {
	s := newSite(t)
	trail := s.open()
	trail.Event("start", Field{"version", "1\x1b[31m"}, Field{"pid", "7"})
	s.serve(trail, s.client(), &ldap.AddRequest{Entry: []byte("cn=x")}, nil)
	s.close(trail)
	e, err := ParseEntry([]byte(s.lines()[1]))
	if err != nil || e.Event != "start" || fmt.Sprint(e.Others) != "[{pid 7} {version 1\x1b[31m}]" || e.ResultCode() != -1 {
		t.Errorf("%+v, %v", e, err)
	}
	if e, err = ParseEntry([]byte(s.lines()[2])); err != nil || e.Op != "add" || e.DN != "cn=x" || e.ResultCode() != 0 || e.US != 1000 || len(e.Others) != 0 {
		t.Errorf("%+v, %v", e, err)
	}
	if _, err := ParseEntry([]byte("x")); err == nil {
		t.Error("x is a line")
	}
}

func TestParseSince(t *testing.T) {
	now := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	for s, want := range map[string]string{
		"90m": "2026-01-31T10:30:00Z", "2d": "2026-01-29T12:00:00Z", "2026-01-02": "2026-01-02T00:00:00Z",
		"2026-01-02T03:04:05+01:00": "2026-01-02T02:04:05Z", "2026-01-02 03:04": "2026-01-02T03:04:00Z",
	} {
		if got, err := ParseSince(s, now); err != nil || got.UTC().Format(time.RFC3339) != want {
			t.Errorf("%s: %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "yesterday", "-2h", "-1d", "2026-13-01"} {
		if _, err := ParseSince(s, now); err == nil {
			t.Errorf("%q is a time", s)
		}
	}
}

func FuzzParseEntry(f *testing.F) {
	f.Add([]byte(`{"n":1,"time":"2026-01-31T12:00:00Z","event":"x","result":0,"attrs":["a"],"other":{"b":1}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		e, err := ParseEntry(text)
		if (e == nil) != (err != nil) {
			t.Error(e, err)
		}
	})
}
