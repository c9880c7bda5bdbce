package app

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"portolan/internal/kv/pebblekv"
	"portolan/internal/store"
)

// TestBackup makes a backup, reads it back, opens it, and damages it.
func TestBackup(t *testing.T) {
	bothWays(t, func(t *testing.T, s *site, running bool) {
		dir := filepath.Join(s.dir, "backup")
		var m *Manifest
		s.with(running, func(v Verbs) {
			var err error
			if m, err = v.Backup(t.Context(), dir, nil); err != nil {
				t.Fatal(err)
			}
			if _, err := v.Backup(t.Context(), dir, nil); err == nil || !strings.Contains(err.Error(), "not empty") {
				t.Errorf("a second backup into the same directory: %v", err)
			}
			if st, err := v.Status(t.Context()); err != nil || st.LastBackup == nil || st.LastBackup.Dir != dir {
				t.Errorf("status knows of %+v, %v", st.LastBackup, err)
			}
		})
		read, err := ReadManifest(dir)
		if err != nil {
			t.Fatal(err)
		}
		if read.Entries != 6 || read.Seq != 6 || read.Epoch != m.Epoch || read.CSN == "" || read.Portolan != "test" || len(read.Files) != len(m.Files) {
			t.Errorf("the manifest has %+v", read)
		}
		if err := read.Verify(t.Context(), dir, nil); err != nil {
			t.Fatal(err)
		}
		for role, path := range map[string]string{"configuration": "files/portolan.toml", "directory.admin_password_file": "files/admin.password"} {
			if !slices.ContainsFunc(read.Files, func(f BackupFile) bool { return f.Role == role && f.Path == path && filepath.IsAbs(f.Origin) }) {
				t.Errorf("the backup has no %s", role)
			}
			if info, err := os.Stat(filepath.Join(dir, path)); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%s: %v, %v", path, info.Mode(), err)
			}
		}
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("the backup is open to others: %v, %v", info.Mode(), err)
		}
		for name, damage := range map[string]func(path string) error{
			"changed": func(path string) error {
				b, err := os.ReadFile(path)
				if err != nil {
					return err
				}
				b[len(b)/2] ^= 1
				return os.WriteFile(path, b, 0o600)
			},
			"short":   func(path string) error { return os.Truncate(path, 1) },
			"missing": os.Remove,
		} {
			path := filepath.Join(dir, "files", "portolan.toml")
			keep, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := damage(path); err != nil {
				t.Fatal(err)
			}
			if err := read.Verify(t.Context(), dir, nil); err == nil || !strings.Contains(err.Error(), "files/portolan.toml") {
				t.Errorf("%s: got %v", name, err)
			}
			if err := os.WriteFile(path, keep, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		stray := filepath.Join(dir, "store", "999999.sst")
		if err := os.WriteFile(stray, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := read.Verify(t.Context(), dir, nil); err == nil || !strings.Contains(err.Error(), "999999.sst") {
			t.Errorf("a stray table: %v", err)
		}
		if err := os.Remove(stray); err != nil {
			t.Fatal(err)
		}
		opens(t, s, dir)
	})
}

// opens checks the store of a backup as a restored one would be.
func opens(t *testing.T, s *site, dir string) {
	t.Helper()
	db, err := pebblekv.Open(filepath.Join(dir, "store"), pebblekv.Options{Merger: store.Merger()})
	if err != nil {
		t.Fatal(err)
	}
	c := s.config()
	sch, err := LoadSchema(c)
	if err != nil {
		t.Fatal(err)
	}
	overlays, err := makeOverlays(c)
	if err != nil {
		t.Fatal(err)
	}
	st, err := store.Open(db, store.Options{Schema: sch, Suffixes: c.Directory.AllSuffixes(), Indexes: indexes(c, sch, overlays)})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	stats, err := st.Check(t.Context(), func(f store.Finding) { t.Errorf("found %+v", f) })
	if err != nil || stats.Entries != 6 {
		t.Errorf("checked %+v, %v", stats, err)
	}
}

// TestBackupFails: nothing is left of a backup that could not be made, and what was there stays.
func TestBackupFails(t *testing.T) {
	bothWays(t, func(t *testing.T, s *site, running bool) {
		refused := func(dir, want string) {
			t.Helper()
			s.with(running, func(v Verbs) {
				if _, err := v.Backup(t.Context(), dir, nil); err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%s: got %v, want ...%s...", dir, err, want)
				}
			})
		}
		refused("relative", "absolute")
		refused(filepath.Join(s.dir, "data", "backup"), "data_dir")
		refused(filepath.Join(s.dir, "no", "where"), "the directory above it")
		full := filepath.Join(s.dir, "full")
		if err := os.MkdirAll(filepath.Join(full, "precious"), 0o700); err != nil {
			t.Fatal(err)
		}
		refused(full, "not empty")
		if _, err := os.Stat(filepath.Join(full, "precious")); err != nil {
			t.Error(err)
		}
		if !running {
			return
		}
		// The configuration goes away behind the server's back: the backup would not be whole.
		c := s.config()
		if err := os.Rename(s.file, s.file+".away"); err != nil {
			t.Fatal(err)
		}
		v, err := Administer(t.Context(), c, AdministerOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer v.Close()
		fresh, empty := filepath.Join(s.dir, "fresh"), filepath.Join(s.dir, "empty")
		if err := os.Mkdir(empty, 0o700); err != nil {
			t.Fatal(err)
		}
		for _, dir := range []string{fresh, empty} {
			if _, err := v.Backup(t.Context(), dir, nil); err == nil || !strings.Contains(err.Error(), "portolan.toml") {
				t.Errorf("got %v", err)
			}
		}
		if _, err := os.Stat(fresh); !os.IsNotExist(err) {
			t.Errorf("something is left: %v", err)
		}
		if left, err := os.ReadDir(empty); err != nil || len(left) > 0 {
			t.Errorf("left in a directory that was there: %v, %v", left, err)
		}
	})
}

// TestBackupRoom: too little room is found out before anything is written.
func TestBackupRoom(t *testing.T) {
	s := newSite(t)
	stop := s.serve()
	s.fill()
	stop()
	s.write("portolan.toml", strings.Replace(siteConfig, `min_free_bytes = "1MiB"`, `min_free_bytes = "4096TiB"`, 1))
	dir := filepath.Join(s.dir, "backup")
	s.with(false, func(v Verbs) {
		if _, err := v.Backup(t.Context(), dir, nil); err == nil || !strings.Contains(err.Error(), "too little room") {
			t.Errorf("got %v", err)
		}
	})
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("something was written: %v", err)
	}
}

func TestReadManifestRefuses(t *testing.T) {
	const good = `{"format":1,"portolan":"x","time":"2026-01-02T03:04:05Z","epoch":"e","seq":1,"entries":1,"suffixes":[],"files":[{"path":"store/1","size":1,"sha256":"00"}]}`
	tests := []struct{ name, text, want string }{
		{"good", good, ""},
		{"not JSON", "x", "damaged"},
		{"later", `{"format":2,"more":true}`, "later one"},
		{"unknown field", strings.Replace(good, `"seq"`, `"sequence"`, 1), "damaged"},
		{"escape", strings.Replace(good, "store/1", "../../etc/passwd", 1), "no file of a backup"},
		{"absolute", strings.Replace(good, "store/1", "/etc/passwd", 1), "no file of a backup"},
		{"itself", strings.Replace(good, "store/1", "manifest.json", 1), "no file of a backup"},
		{"twice", strings.Replace(good, `"files":[`, `"files":[{"path":"store/1","size":1,"sha256":"00"},`, 1), "no file of a backup"},
		{"configuration missing", strings.Replace(good, `"files":[`, `"config":"files/x","files":[`, 1), "not among"},
	}
	for _, tt := range tests {
		_, err := parseManifest("manifest.json", []byte(tt.text))
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: got %v, want ...%s...", tt.name, err, tt.want)
		}
	}
	if _, err := ReadManifest(t.TempDir()); err == nil || !strings.Contains(err.Error(), "no whole backup") {
		t.Errorf("got %v", err)
	}
}

func FuzzManifest(f *testing.F) {
	f.Add([]byte(`{"format":1,"files":[{"path":"store/1","size":1,"sha256":"00"}],"config":"store/1"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := parseManifest("m", text)
		if err != nil {
			return
		}
		for _, b := range m.Files {
			if !filepath.IsLocal(filepath.FromSlash(b.Path)) {
				t.Errorf("%q leads out of the backup", b.Path)
			}
		}
	})
}
