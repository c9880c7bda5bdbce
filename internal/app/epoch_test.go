package app

import (
	"io"
	"path/filepath"
	"strings"
	"testing"

	"portolan/internal/dit"
)

// beginning is the state of a store that positions and cookies hang on.
type beginning struct {
	epoch string
	last  dit.CSN
	// entries are the CSNs of all entries.
	entries []dit.CSN
}

// begins opens the store of a stopped server and looks.
func (s *site) begins() beginning {
	s.t.Helper()
	d, err := Open(s.config(), OpenOptions{Version: "test"})
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() {
		if err := d.Close(); err != nil {
			s.t.Error(err)
		}
	}()
	b := beginning{epoch: d.Store.Epoch().String(), last: d.Store.LastCSN()}
	view := d.Store.View()
	defer view.Close()
	var walk func(parent dit.ID)
	walk = func(parent dit.ID) {
		if err := view.Children(parent, func(id dit.ID) bool {
			e, err := view.Get(id)
			if err != nil {
				s.t.Fatal(err)
			}
			b.entries = append(b.entries, e.CSN)
			walk(id)
			return true
		}); err != nil {
			s.t.Fatal(err)
		}
	}
	walk(0)
	return b
}

func (s *site) load(replace bool, text string) {
	s.t.Helper()
	source := ImportSource{Name: "test.ldif", Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }}
	if _, err := Import(s.t.Context(), s.config(), ImportOptions{Sources: []ImportSource{source}, Replace: replace, Version: "test"}); err != nil {
		s.t.Fatal(err)
	}
}

const topEntry = "dn: dc=example,dc=org\nobjectClass: domain\n"

// TestCSNsRise replaces the content of a directory whose CSNs are far ahead of the clock, in every way there is: CSNs go on
// above, and positions in the old journal are of another epoch.
func TestCSNsRise(t *testing.T) {
	s := newSite(t)
	ahead := func(year string) string {
		return topEntry + "entryCSN: " + year + "0101000000.000000Z#000003#000#000000\n"
	}
	s.load(false, ahead("2100"))
	seen := s.begins()
	if year := seen.last.String()[:4]; year != "2100" {
		t.Fatalf("the last CSN is %v", seen.last)
	}
	// step demands that everything has moved on since, and returns what it is now.
	step := func(what string, newEntries bool) {
		t.Helper()
		now := s.begins()
		if now.last.Compare(seen.last) <= 0 {
			t.Errorf("%s: the last CSN is %v, and was %v before", what, now.last, seen.last)
		}
		if now.epoch == seen.epoch {
			t.Errorf("%s: the epoch is the same", what)
		}
		for _, csn := range now.entries {
			if newEntries && (csn.Compare(seen.last) <= 0 || csn.Compare(now.last) > 0) {
				t.Errorf("%s: an entry has %v; the last CSN was %v and is %v", what, csn, seen.last, now.last)
			}
		}
		seen = now
	}
	s.load(true, topEntry)
	step("import --replace", true)
	s.load(true, topEntry+"entryCSN: 20200101000000.000000Z#000003#000#000000\n")
	step("import --replace of an older export", false)

	backup := filepath.Join(s.dir, "backup")
	s.with(false, func(v Verbs) {
		if _, err := v.Backup(t.Context(), backup, nil); err != nil {
			t.Fatal(err)
		}
	})
	// The backup is of 2100; what it takes the place of has come further.
	s.load(true, ahead("2200"))
	step("import --replace of later entries", false)
	if _, err := Restore(t.Context(), s.config(), RestoreOptions{Dir: backup, Replace: true, Version: "test"}); err != nil {
		t.Fatal(err)
	}
	step("restore", false)
	if year := seen.last.String()[:4]; year != "2200" {
		t.Errorf("after the restore the last CSN is %v", seen.last)
	}

	// On another machine nothing is known but the backup.
	other := newSite(t)
	if _, err := Restore(t.Context(), other.config(), RestoreOptions{Dir: backup, Version: "test"}); err != nil {
		t.Fatal(err)
	}
	m, err := ReadManifest(backup)
	if err != nil {
		t.Fatal(err)
	}
	was, err := dit.ParseCSN([]byte(m.CSN))
	if err != nil {
		t.Fatal(err)
	}
	restored := other.begins()
	if restored.last.Compare(was) <= 0 || restored.epoch == m.Epoch {
		t.Errorf("restored elsewhere: %v and epoch %s, the backup has %v and %s", restored.last, restored.epoch, was, m.Epoch)
	}
	// And a write goes on from there.
	stop := other.serve()
	c := other.dial()
	if _, err := c.Delete(t.Context(), "dc=example,dc=org"); err != nil {
		t.Error(err)
	}
	c.Unbind()
	stop()
	if after := other.begins(); after.last.Compare(restored.last) <= 0 || after.epoch != restored.epoch {
		t.Errorf("after a write: %v and epoch %s", after.last, after.epoch)
	}
}
