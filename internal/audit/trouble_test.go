package audit

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"portolan/ldap"
)

// brokenDisk is a file system with room for so many octets; of a write that does not fit a part is taken.
type brokenDisk struct {
	room    atomic.Int64
	syncing atomic.Bool // Sync fails
}

type brokenFile struct {
	File
	d *brokenDisk
}

func (d *brokenDisk) open(path string) (File, error) {
	f, err := openAppend(path)
	return &brokenFile{f, d}, err
}

func (f *brokenFile) Write(b []byte) (int, error) {
	room := f.d.room.Load()
	if int64(len(b)) <= room {
		f.d.room.Add(-int64(len(b)))
		return f.File.Write(b)
	}
	f.d.room.Store(0)
	n, err := f.File.Write(b[:room])
	return n, errors.Join(err, syscall.ENOSPC)
}

func (f *brokenFile) Sync() error {
	if f.d.syncing.Load() {
		return syscall.EIO
	}
	return f.File.Sync()
}

func (s *site) onDisk() *brokenDisk {
	d := &brokenDisk{}
	d.room.Store(1 << 40)
	s.o.Open = d.open
	return d
}

func TestFullDiskStopsWrites(t *testing.T) {
	for room := int64(0); room < 240; room += 30 {
		s := newSite(t)
		d := s.onDisk()
		trail := s.open()
		s.write(trail, "cn=a")
		if err := trail.MayWrite(); err != nil {
			t.Fatal(err)
		}
		d.room.Store(room)
		s.write(trail, "cn=b") // it had begun; it ends, and its line waits
		err := trail.MayWrite()
		if ldap.CodeOf(err) != ldap.UnwillingToPerform || !strings.Contains(err.Error(), "audit log cannot be written") || !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("room for %d: %v", room, err)
		}
		if _, err := trail.Seal(); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("sealed: %v", err)
		}
		if st := trail.Stats(); st.Trouble == "" || !st.StopsWrites {
			t.Errorf("%+v", st)
		}
		for range 3 { // it tries again and again, and says so once
			trail.ask(func() { trail.tick(s.clock.Now()) })
		}
		if n := strings.Count(s.log.String(), "cannot be written"); n != 1 {
			t.Errorf("said %d times:\n%s", n, s.log.String())
		}
		d.room.Store(1 << 40)
		trail.ask(func() { trail.tick(s.clock.Now()) })
		if err := trail.MayWrite(); err != nil {
			t.Errorf("there is room again: %v", err)
		}
		s.write(trail, "cn=c")
		s.close(trail)
		s.sound(Lost)
		if n := len(s.events("failure")); n != 1 {
			t.Errorf("%d failures", n)
		}
	}
}

// TestCrashOnAFullDisk: what could not be written is written from the journal at the next start.
func TestCrashOnAFullDisk(t *testing.T) {
	s := newSite(t)
	d := s.onDisk()
	trail := s.open()
	s.write(trail, "cn=a")
	d.room.Store(100)
	s.write(trail, "cn=b")
	s.kill(trail)
	d.room.Store(1 << 40)
	s.close(s.open())
	s.sound(Torn)
	if e := s.events("write"); len(e) != 2 || e[1]["source"] != "journal" || e[1]["dn"] != "cn=b" {
		t.Error(e)
	}
}

func TestFullDiskAtTheStart(t *testing.T) {
	s := newSite(t)
	d := s.onDisk()
	d.room.Store(0)
	trail, err := OpenTrail(s.o)
	if err != nil {
		t.Fatal(err) // reads are to be served
	}
	if trail.MayWrite() == nil {
		t.Error("writes are served")
	}
	d.room.Store(1 << 40)
	trail.ask(func() { trail.tick(s.clock.Now()) })
	if err := trail.MayWrite(); err != nil {
		t.Error(err)
	}
	s.close(trail)
	s.sound(Lost)
}

// TestFullDiskContinues: lines are lost and counted, writes go on, and get their lines in the end.
func TestFullDiskContinues(t *testing.T) {
	s := newSite(t)
	s.o.Policy.StopWrites, s.o.Policy.GatherBinds = false, false
	d := s.onDisk()
	trail := s.open()
	d.room.Store(10)
	s.write(trail, "cn=a")
	if err := trail.MayWrite(); err != nil {
		t.Fatal(err)
	}
	bind := &ldap.BindRequest{Version: 3, Name: []byte("cn=a"), Auth: ldap.AuthSimple}
	for n := 0; trail.Stats().Lost < 100 && n < maxBuffered; n++ {
		if err := s.serve(trail, s.client(), bind, nil); err != nil {
			t.Fatal(err)
		}
	}
	s.write(trail, "cn=b")
	st := trail.Stats()
	if st.Lost == 0 || st.StopsWrites {
		t.Fatalf("%+v", st)
	}
	d.room.Store(1 << 40)
	trail.ask(func() { trail.tick(s.clock.Now()) })
	s.close(trail)
	r := s.sound(Lost)
	if want := fmt.Sprintf("; %d lines were given up", st.Lost); !strings.Contains(r.Findings[0].Text, want) {
		t.Errorf("%s, want %s", r.Findings[0].Text, want)
	}
	if e := s.events("write"); len(e) != 2 || e[1]["source"] != "journal" {
		t.Errorf("%v", e)
	}
}

func TestDiskThatDoesNotKeep(t *testing.T) {
	s := newSite(t)
	d := s.onDisk()
	trail := s.open()
	s.write(trail, "cn=a")
	sealed := string(s.seals.b)
	d.syncing.Store(true)
	if _, err := trail.Seal(); !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
	if trail.MayWrite() == nil || string(s.seals.b) != sealed {
		t.Error("what is not on disk was sealed, or writes go on")
	}
	again := func() {
		s.clock.move(2 * time.Second)
		for range 2 {
			trail.ask(func() { trail.tick(s.clock.Now()) })
			ran := make(chan struct{})
			trail.later(func() { close(ran) })
			<-ran
		}
	}
	if again(); trail.MayWrite() == nil {
		t.Error("writes go on although nothing is better")
	}
	d.syncing.Store(false)
	again()
	again()
	if err := trail.MayWrite(); err != nil {
		t.Error(err)
	}
	s.close(trail)
	s.sound(Lost)
}

func TestSealsThatFail(t *testing.T) {
	s := newSite(t)
	trail := s.open()
	s.write(trail, "cn=a")
	trail.o.Seals = brokenSeals{}
	if _, err := trail.Seal(); !errors.Is(err, errBroken) {
		t.Error(err)
	}
	if err := trail.MayWrite(); err != nil {
		t.Error("the log itself is all right: ", err)
	}
	if err := trail.Close(); !errors.Is(err, errBroken) {
		t.Error(err)
	}
	s.o.Seals = brokenSeals{}
	if _, err := OpenTrail(s.o); err == nil {
		t.Error("opened without a store")
	}
}

var errBroken = errors.New("broken")

type brokenSeals struct{}

func (brokenSeals) LoadSeal() ([]byte, error) { return nil, errBroken }
func (brokenSeals) StoreSeal([]byte) error    { return errBroken }

// TestRotationUnderLoad: many writers, files of a few lines, compression and retention on, somebody reopening.
func TestRotationUnderLoad(t *testing.T) {
	s := newSite(t)
	s.o.Policy.MaxBytes, s.o.Policy.Keep, s.o.Policy.Compress = 4000, 5, true
	s.o.Policy.GatherBinds = false
	trail := s.open()
	const writers, each = 8, 60
	var wg sync.WaitGroup
	var journal sync.Mutex
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				dn := fmt.Sprintf("cn=%d,ou=%d", i, w)
				m := &ldap.DelRequest{Entry: []byte(dn)}
				err := s.serve(trail, s.client(), m, nil)
				if err != nil {
					t.Error(err)
				}
				journal.Lock()
				trail.Committed(s.journal.write("cn=x", dn))
				journal.Unlock()
				if i%20 == 0 {
					trail.Stats()
					if err := trail.Reopen(); err != nil {
						t.Error(err)
					}
				}
				if i%25 == 0 {
					if a, err := trail.Seal(); err != nil || a.N == 0 {
						t.Error(a, err)
					}
					r, err := Verify(t.Context(), VerifyOptions{File: s.o.File, Key: s.key(), Live: true})
					if err != nil || r.Bad() {
						t.Error(err, r)
					}
				}
			}
		})
	}
	wg.Wait()
	s.close(trail)
	// At the next start what was left is compressed and retired.
	trail = s.open()
	if _, err := trail.Seal(); err != nil { // the background does one thing after another
		t.Fatal(err)
	}
	s.close(trail)
	r := s.sound(Retired)
	if r.Last < 2*writers*each {
		t.Errorf("%+v", r)
	}
	files, err := listFiles(s.o.File)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) > 8 {
		t.Errorf("%d files are left", len(files))
	}
	for _, f := range files {
		if info, err := os.Stat(f.path); err != nil || info.Mode().Perm() != 0o600 {
			t.Error(f.path, err)
		}
	}
}
