package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"portolan/internal/bench"
)

func cellOf(value float64) *cell { return &cell{Value: value} }

// TestJudge: a demand is met, missed, or not known, and nothing of what is missing counts as met.
func TestJudge(t *testing.T) {
	slow := &cell{Value: 1000, Latency: bench.Latency{P50: 100, P999: 200_000}}
	for _, tt := range []struct {
		name       string
		want       want
		servers    map[string]*cell
		text, judg string
	}{
		{"enough", want{ratio: 5}, map[string]*cell{portolan: cellOf(500), slapd: cellOf(100)}, "5 x slapd", "yes"},
		{"too little", want{ratio: 5}, map[string]*cell{portolan: cellOf(499), slapd: cellOf(100)}, "5 x slapd", "no"},
		{"no slapd", want{ratio: 5}, map[string]*cell{portolan: cellOf(500)}, "5 x slapd", ""},
		{"no Portolan", want{ratio: 5}, map[string]*cell{slapd: cellOf(500)}, "5 x slapd", ""},
		{"nothing demanded", want{}, map[string]*cell{portolan: cellOf(500)}, "", ""},
		{"failures", want{ratio: 5}, map[string]*cell{portolan: {Value: 500, Failed: 1}, slapd: cellOf(100)}, "5 x slapd", ""},
		{"one of two", want{ratio: 2, ofBare: 0.75}, map[string]*cell{portolan: cellOf(500), slapd: cellOf(100), bareloop: cellOf(1000)}, "2 x slapd, 75 % of the bare loop", "no"},
		{"slow", want{p50: 80}, map[string]*cell{portolan: slow}, "median at most 80 µs", "no"},
		{"fast enough", want{p50: 100}, map[string]*cell{portolan: slow}, "median at most 100 µs", "yes"},
		{"slow at worst", want{p999: 100_000}, map[string]*cell{portolan: slow}, "p99.9 at most 100 ms", "no"},
		{"memory", want{most: 1}, map[string]*cell{portolan: cellOf(300), slapd: cellOf(299)}, "no more than slapd", "no"},
		{"a bound", want{atMost: 40}, map[string]*cell{portolan: cellOf(40)}, "at most 40 MB", "yes"},
		{"as quick as another line", want{against: "other", p99Times: 2}, map[string]*cell{portolan: {Value: 1, Latency: bench.Latency{P99: 600}}}, "p99 at most 2 x other", "yes"},
		{"slower than another line", want{against: "other", p99Times: 2}, map[string]*cell{portolan: {Value: 1, Latency: bench.Latency{P99: 601}}}, "p99 at most 2 x other", "no"},
		{"another line", want{ratio: 0.9, against: "other"}, map[string]*cell{portolan: cellOf(89)}, "0.9 x other", "no"},
	} {
		f := &figure{Name: tt.name, Unit: "MB", Servers: tt.servers, want: tt.want}
		r := &report{Lines: []*figure{{Name: "other", Servers: map[string]*cell{portolan: {Value: 100, Latency: bench.Latency{P99: 300}}}}, f}}
		r.judge(f)
		if f.Want != tt.text || f.Met != tt.judg {
			t.Errorf("%s: %q %q, want %q %q", tt.name, f.Want, f.Met, tt.text, tt.judg)
		}
	}
}

// TestCombine: medians of numbers, the sum of failures, and CPU time for each request.
func TestCombine(t *testing.T) {
	one := func(rate float64, done uint64, server time.Duration, failures ...bench.Failure) *sample {
		return &sample{Result: &bench.Result{Measure: bench.Measure{Rate: rate, Done: done, Entries: 10 * done, EntryRate: 10 * rate, Failures: failures}}, server: server}
	}
	samples := []*sample{
		one(100, 100, time.Millisecond), one(300, 300, 3*time.Millisecond), one(150, 100, 2*time.Millisecond, bench.Failure{What: "busy (51)", Count: 100}),
	}
	c := combine(samples, false)
	if c.Value != 150 || c.ServerCPU != 10 || c.Failed != 100 || c.Failure != "busy (51)" {
		t.Errorf("%+v", c)
	}
	if c := combine(samples[:1], true); c.Value != 1000 || c.ServerCPU != 1 {
		t.Errorf("%+v", c)
	}
}

// TestReplaceFigures: only what stands between the markers changes.
func TestReplaceFigures(t *testing.T) {
	file := filepath.Join(t.TempDir(), "page.md")
	before := "# Page\n\n" + markBegin + "\nold\n" + markEnd + "\nrest\n"
	if err := os.WriteFile(file, []byte(before), 0o644); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := replaceFigures(file, "new\n"); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if want := "# Page\n\n" + markBegin + "\n\nnew\n\n" + markEnd + "\nrest\n"; string(b) != want {
			t.Errorf("%q, want %q", b, want)
		}
	}
	if err := os.WriteFile(file, []byte("no markers"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := replaceFigures(file, "new"); err == nil {
		t.Error("a page without markers was written")
	}
	// The page of this project has them.
	b, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "performance.md"))
	if err != nil {
		t.Fatal(err)
	}
	if i, k := strings.Index(string(b), markBegin), strings.Index(string(b), markEnd); i < 0 || k < i {
		t.Error("docs/performance.md has no markers")
	}
}

// TestLogged: slapd with its log has a table of its own, with the lines that it was measured on.
func TestLogged(t *testing.T) {
	r := &report{Lines: []*figure{
		{Name: "first", Unit: "/s", Servers: map[string]*cell{portolan: {Value: 300}, slapd: {Value: 200}, logging: {Value: 100}}},
		{Name: "second", Unit: "/s", Servers: map[string]*cell{portolan: {Value: 300}, slapd: {Value: 200}}},
	}}
	text := r.markdown()
	if !strings.Contains(text, "| first | 300 /s | 200 /s | 1.50 |") || !strings.Contains(text, "| first | 300 /s | 100 /s | 3.00 |") {
		t.Error(text)
	}
	if n := strings.Count(text, "| second |"); n != 1 {
		t.Errorf("the second line is there %d times", n)
	}
	delete(r.Lines[0].Servers, logging)
	if strings.Contains(r.markdown(), "with its log") {
		t.Error("a table without lines")
	}
}
