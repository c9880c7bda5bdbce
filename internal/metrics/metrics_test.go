package metrics

import (
	"bytes"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"portolan/internal/monitor"
)

// TestWrite holds every line to the exposition format, and values to the snapshot.
func TestWrite(t *testing.T) {
	s := monitor.Snapshot{
		Version: "Portolan \"1\\2\n", Begun: time.Unix(1000, 0), Open: 3, OctetsOut: 1 << 40,
		Operations: []monitor.Operation{{Name: "Bind", Initiated: 5, Completed: 4}, {Name: "Modrdn"}},
		Trouble:    []monitor.Count{{Name: "panics", Value: 1}},
	}
	var b bytes.Buffer
	if err := Write(&b, &s); err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`^(# (HELP [a-z_]+ .+|TYPE [a-z_]+ (counter|gauge))|[a-z_]+(\{[a-z]+="([^"\\\n]|\\[\\n"])*"\})? [0-9]+)$`)
	for _, l := range strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n") {
		if !line.MatchString(l) {
			t.Errorf("not of the format: %q", l)
		}
	}
	for _, want := range []string{
		`portolan_info{version="Portolan \"1\\2\n"} 1`, "portolan_start_time_seconds 1000", "portolan_connections 3",
		`portolan_operations_started_total{operation="bind"} 5`, `portolan_operations_completed_total{operation="bind"} 4`,
		`portolan_operations_completed_total{operation="modrdn"} 0`, `portolan_trouble_total{kind="panics"} 1`,
		"portolan_sent_bytes_total 1099511627776",
	} {
		if !strings.Contains(b.String(), want+"\n") {
			t.Errorf("there is no line %s in\n%s", want, b.String())
		}
	}
	if strings.Contains(b.String(), "portolan_certificate_end_time_seconds") {
		t.Error("a certificate that there is not")
	}
}

// TestHandler: one page, by GET, and no other.
func TestHandler(t *testing.T) {
	h := Handler(func() monitor.Snapshot { return monitor.Snapshot{} })
	for _, x := range []struct {
		method, path string
		code         int
	}{{"GET", "/metrics", 200}, {"HEAD", "/metrics", 200}, {"POST", "/metrics", 405}, {"GET", "/", 404}, {"GET", "/debug/pprof/", 404}} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(x.method, x.path, nil))
		if w.Code != x.code {
			t.Errorf("%s %s: %d, want %d", x.method, x.path, w.Code, x.code)
		}
	}
}

// TestDocumented holds docs/metrics.md to what is written.
func TestDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	Describe(func(name, kind, help string) {
		known[name] = true
		if row := "| `" + name + "` | " + kind + " | " + help + " |\n"; !strings.Contains(string(page), row) {
			t.Errorf("docs/metrics.md has no row\n%s", row)
		}
	})
	for _, name := range regexp.MustCompile("portolan_[a-z_]+").FindAllString(string(page), -1) {
		if !known[name] {
			t.Errorf("docs/metrics.md names %s, which there is not", name)
		}
	}
}
