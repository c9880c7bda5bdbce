package posture

import (
	"testing"

	"portolan/internal/config"
)

// The checks themselves are tested in package app, which makes what a review needs of a file.

func TestRunsAsRoot(t *testing.T) {
	c, err := config.Parse("portolan.toml", []byte("data_dir = \"data\"\ndirectory.suffix = \"o=a\"\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		uid   int
		known bool
		want  int
	}{{0, true, 1}, {1000, true, 0}, {0, false, 0}} {
		r := &review{Input: Input{Config: c, Host: &Host{ServerUID: func() (int, string, bool) { return x.uid, "data/control.sock", x.known }}}}
		runsAsRoot(r)
		if len(r.findings) != x.want {
			t.Errorf("uid %d (known %t): %d findings, want %d", x.uid, x.known, len(r.findings), x.want)
		}
		for _, f := range r.findings {
			if f.Line != 1 || f.Severity != Fail || f.Seen != "the server runs as root: data/control.sock is root's" {
				t.Errorf("%+v", f)
			}
		}
	}
}

// TestKeysHaveDefaults holds that every setting whose fix is its default has one: findKey would end the program.
func TestKeysHaveDefaults(t *testing.T) {
	for _, c := range checks() {
		for _, key := range c.keys {
			if isOverlays(key) {
				continue // their tables are not among the sections
			}
			if _, k := findKey(key); k.Name == "" {
				t.Errorf("%s: %s has no name", c.id, key)
			}
		}
	}
}
