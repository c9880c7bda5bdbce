package audit

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestCrashInTheMiddleOfALine: a crash cuts the log anywhere behind the last seal. The server goes on, the verification
// tells the crash from tampering, and every write gets its line all the same.
func TestCrashInTheMiddleOfALine(t *testing.T) {
	for _, keep := range []int{0, 1, 5, 40, 200} {
		t.Run(fmt.Sprint(keep), func(t *testing.T) {
			s := newSite(t)
			trail := s.open()
			s.write(trail, "cn=a")
			if _, err := trail.Seal(); err != nil {
				t.Fatal(err)
			}
			info, err := os.Stat(s.o.File)
			if err != nil {
				t.Fatal(err)
			}
			s.write(trail, "cn=b")
			s.write(trail, "cn=c")
			s.kill(trail)
			if err := os.Truncate(s.o.File, info.Size()+int64(keep)); err != nil {
				t.Fatal(err)
			}
			if keep > 0 {
				s.sound(Torn)
			}
			trail = s.open()
			s.write(trail, "cn=d")
			s.close(trail)
			if keep > 0 {
				s.sound(Torn)
			} else {
				s.sound()
			}
			var dns []string
			for _, m := range s.events("write") {
				dns = append(dns, fmt.Sprint(m["dn"], m["source"]))
			}
			if got := strings.Join(dns, " "); got != "cn=a<nil> cn=bjournal cn=cjournal cn=d<nil>" {
				t.Error(got)
			}
		})
	}
}

func TestCrashAtTheEndOfALine(t *testing.T) {
	s := newSite(t)
	trail := s.open()
	s.write(trail, "cn=a")
	s.write(trail, "cn=b")
	s.kill(trail)
	info, err := os.Stat(s.o.File)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(s.o.File, info.Size()-1); err != nil {
		t.Fatal(err)
	}
	s.sound(Torn)
	s.close(s.open())
	s.sound()
	if n := len(s.events("write")); n != 2 {
		t.Errorf("%d writes", n)
	}
}

// TestZeroesAfterAPowerCut: file systems may leave octets that were never written.
func TestZeroesAfterAPowerCut(t *testing.T) {
	s := newSite(t)
	trail := s.open()
	s.write(trail, "cn=a")
	s.kill(trail)
	f, err := os.OpenFile(s.o.File, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(make([]byte, 300_000)); err != nil {
		t.Fatal(err)
	}
	f.Close()
	s.close(s.open())
	r := s.sound(Torn)
	if !strings.Contains(r.Findings[0].Text, "300000 octets") {
		t.Error(r.Findings[0].Text)
	}
	// What the crash left is part of the evidence.
	text, err := os.ReadFile(s.o.File)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(text), strings.Repeat("\x00", 300_000), "x", 1)
	if r := s.verifyText([]byte(changed)); fmt.Sprint(found(r)) != "[altered :4 0-0]" && !r.Bad() {
		t.Error(found(r))
	}
}

// TestStartFindsTampering: what is wrong is in the log before anything new is, and stays there when everything else is
// sealed anew.
func TestStartFindsTampering(t *testing.T) {
	cut := func(keep int) func(s *site) {
		return func(s *site) {
			text := strings.Join(s.lines()[:keep], "\n") + "\n"
			if err := os.WriteFile(s.o.File, []byte(text), 0o600); err != nil {
				s.t.Fatal(err)
			}
		}
	}
	remove := func(s *site) {
		if err := os.Remove(s.o.File); err != nil {
			s.t.Fatal(err)
		}
	}
	alter := func(line int) func(s *site) {
		return func(s *site) {
			l := s.lines()
			l[line-1] = strings.Replace(l[line-1], "cn=", "cn=x", 1)
			if err := os.WriteFile(s.o.File, []byte(strings.Join(l, "\n")+"\n"), 0o600); err != nil {
				s.t.Fatal(err)
			}
		}
	}
	for _, c := range []struct {
		name   string
		change func(s *site)
		want   string
	}{
		{"cut off the end", cut(3), "[missing :4 4-6 witnessed :4 7-7]"},
		{"cut off all", cut(1), "[missing :2 2-6 witnessed :2 7-7]"},
		{"removed", remove, "[witnessed :2 8-8 missing :0 1-6]"},
		{"altered", alter(3), "[altered :3 3-3 witnessed :7 7-7]"},
		{"emptied", func(s *site) {
			if err := os.Truncate(s.o.File, 0); err != nil {
				s.t.Fatal(err)
			}
		}, "[witnessed :2 8-8 missing :0 1-6]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t)
			trail := s.open()
			for i := range 4 {
				s.write(trail, fmt.Sprintf("cn=%d", i))
			}
			s.close(trail) // 6 lines
			c.change(s)
			trail = s.open()
			s.write(trail, "cn=later")
			s.close(trail)
			if got := fmt.Sprint(found(s.verify())); got != c.want {
				t.Errorf("got %s, want %s\n%v", got, c.want, s.verify().Findings)
			}
			if !strings.Contains(s.log.String(), "not as the server left it") {
				t.Error("the server's log says nothing")
			}
			// It is told once.
			s.close(s.open())
			if got := fmt.Sprint(found(s.verify())); got != c.want {
				t.Errorf("after another start: %s", got)
			}
		})
	}
}

func TestKeyIsNeeded(t *testing.T) {
	s := newSite(t)
	s.close(s.open())
	if err := os.Rename(s.o.KeyFile, s.o.KeyFile+".away"); err != nil {
		t.Fatal(err)
	}
	refused := func(want string) {
		t.Helper()
		if trail, err := OpenTrail(s.o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want ...%s...", err, want)
			if err == nil {
				s.close(trail)
			}
		}
	}
	refused("put the key back, or move the log away")
	if _, err := os.Stat(s.o.KeyFile); err == nil {
		t.Fatal("a new key was made")
	}
	if _, err := makeKey(s.o.KeyFile, s.o.Rand); err != nil {
		t.Fatal(err)
	}
	refused("put the right key there, or move the log away")
	if err := os.Chmod(s.o.KeyFile, 0o644); err != nil {
		t.Fatal(err)
	}
	refused("chmod 600")
	if err := os.Chmod(s.o.KeyFile, 0o600); err != nil {
		t.Fatal(err)
	}
	// Moved away, a new one begins, and says so.
	if err := os.Rename(s.o.File, filepath.Join(s.dir, "old.log")); err != nil {
		t.Fatal(err)
	}
	s.close(s.open())
	r := s.sound(Unknown)
	if r.First != 1 || !strings.Contains(r.Findings[0].Text, "had 2 lines") {
		t.Error(r)
	}
	if err := os.WriteFile(s.o.KeyFile, []byte("nonsense\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	refused("holds no audit key")
}

// TestOlderStore: after a restore the store knows an earlier seal and an earlier journal.
func TestOlderStore(t *testing.T) {
	s := newSite(t)
	trail := s.open()
	s.write(trail, "cn=a")
	s.close(trail)
	seal, records := s.seals.b, s.journal.records
	trail = s.open()
	s.write(trail, "cn=b")
	s.close(trail)
	s.seals.b, s.journal.records = seal, records
	trail = s.open()
	s.write(trail, "cn=c")
	s.close(trail)
	s.sound()
	if len(s.events("store")) != 1 || len(s.events("write")) != 3 {
		t.Error(strings.Join(s.lines(), "\n"))
	}
}

// TestEveryRecordHasALine: what no operation of a client claims is written from the journal.
func TestEveryRecordHasALine(t *testing.T) {
	s := newSite(t)
	s.journal.write("cn=before", "cn=before the log was begun")
	trail := s.open()
	s.write(trail, "cn=a")
	trail.Committed(s.journal.write("ppolicy", "cn=b", "portolanAccountDisabled"))
	s.write(trail, "cn=c")
	trail.ask(func() { trail.tick(s.clock.Now()) })
	if n := len(s.events("write")); n != 2 {
		t.Errorf("%d writes at once", n)
	}
	s.clock.move(claimAfter + time.Second)
	trail.ask(func() { trail.tick(s.clock.Now()) })
	for range 2 { // the background does one thing after another: what it added is there after the first
		if _, err := trail.Seal(); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(s.events("write")); n != 3 {
		t.Errorf("%d writes after a while:\n%s", n, strings.Join(s.lines(), "\n"))
	}
	trail.Committed(s.journal.write("rehash", "cn=d"))
	s.close(trail)
	s.journal.write("cn=admin", "cn=while the server was stopped")
	s.close(s.open())
	s.close(s.open())
	var got []string
	for _, m := range s.events("write") {
		got = append(got, fmt.Sprint(m["seq"], m["dn"]))
		if locked := m["dn"] == "cn=b"; locked != (fmt.Sprint(m["marks"]) == "[account]") {
			t.Errorf("marks of %v", m)
		}
	}
	if want := "2cn=a 4cn=c 3cn=b 5cn=d 6cn=while the server was stopped"; strings.Join(got, " ") != want {
		t.Errorf("got %v", got)
	}
	s.sound()
}
