package main

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"portolan/internal/bench"
)

// figure is one line of the table.
type figure struct {
	Name    string           `json:"name"`
	Unit    string           `json:"unit"`
	Servers map[string]*cell `json:"servers"`
	Want    string           `json:"must_reach,omitempty"`
	// Met is "yes", "no", or empty where nothing is demanded or something is missing.
	Met string `json:"met,omitempty"`

	want want
}

// cell is what one server does.
type cell struct {
	Value float64 `json:"value"`
	// Latencies and CPU time of a request are in microseconds; zero is not measured.
	Latency   bench.Latency `json:"latency"`
	ServerCPU float64       `json:"server_cpu_us,omitempty"`
	ClientCPU float64       `json:"client_cpu_us,omitempty"`
	Failed    uint64        `json:"failed,omitempty"`
	Failure   string        `json:"failure,omitempty"`
}

// want is what a line demands of Portolan; zero is nothing.
type want struct {
	ratio          float64 // to slapd's rate, or to that of another line
	against        string  // the other line
	ofBare         float64 // of the bare loop's rate
	p50, p99, p999 float64 // microseconds at most
	p99Times       float64 // times the p99 of the other line at most
	most           float64 // of slapd's value at most
	atMost         float64 // in the unit of the line
}

// figure begins a line of the report.
func (w *work) figure(name, unit string, want want) *figure {
	f := &figure{Name: name, Unit: unit, Servers: make(map[string]*cell), want: want}
	w.report.Lines = append(w.report.Lines, f)
	return f
}

func median(v []float64) float64 {
	v = slices.Clone(v)
	slices.Sort(v)
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// combine takes medians of several measurements.
func combine(samples []*sample, byEntries bool) *cell {
	mid := func(f func(*sample) float64) float64 {
		v := make([]float64, len(samples))
		for i, s := range samples {
			v[i] = f(s)
		}
		return median(v)
	}
	each := func(s *sample, t time.Duration) float64 {
		n := float64(s.Done + s.Failed())
		if byEntries {
			n = float64(s.Entries)
		}
		if n == 0 {
			return 0
		}
		return float64(t) / float64(time.Microsecond) / n
	}
	c := &cell{
		Value: mid(func(s *sample) float64 {
			if byEntries {
				return s.EntryRate
			}
			return s.Rate
		}),
		Latency: bench.Latency{
			Mean: mid(func(s *sample) float64 { return s.Latency.Mean }),
			P50:  mid(func(s *sample) float64 { return s.Latency.P50 }),
			P90:  mid(func(s *sample) float64 { return s.Latency.P90 }),
			P99:  mid(func(s *sample) float64 { return s.Latency.P99 }),
			P999: mid(func(s *sample) float64 { return s.Latency.P999 }),
			Max:  mid(func(s *sample) float64 { return s.Latency.Max }),
		},
		ServerCPU: mid(func(s *sample) float64 { return each(s, s.server) }),
		ClientCPU: mid(func(s *sample) float64 { return each(s, s.client) }),
	}
	for _, s := range samples {
		if s.Failed() > 0 {
			c.Failed += s.Failed()
			c.Failure = strings.TrimSpace(s.Failures[0].What + " " + s.Failures[0].Diagnostic)
		}
	}
	return c
}

// judge says what the line demands and whether that is met.
func (r *report) judge(f *figure) {
	ours := f.Servers[portolan]
	var demands []string
	met, known := true, ours != nil && ours.Failed == 0
	demand := func(text string, here bool, ok func() bool) {
		demands = append(demands, text)
		if known = known && here; known {
			met = met && ok()
		}
	}
	w := &f.want
	if w.p99Times > 0 {
		other := r.cell(w.against)
		demand("p99 at most "+trim(w.p99Times)+" x "+w.against, other != nil && other.Latency.P99 > 0, func() bool { return ours.Latency.P99 <= w.p99Times*other.Latency.P99 })
	}
	if w.ratio > 0 {
		other, text := f.Servers[slapd], "x slapd"
		if w.against != "" {
			text = "x " + w.against
			other = r.cell(w.against)
		}
		demand(trim(w.ratio)+" "+text, other != nil, func() bool { return ours.Value >= w.ratio*other.Value })
	}
	if bare := f.Servers[bareloop]; w.ofBare > 0 {
		demand(fmt.Sprintf("%.0f %% of the bare loop", 100*w.ofBare), bare != nil, func() bool { return ours.Value >= w.ofBare*bare.Value })
	}
	for _, l := range []struct {
		name  string
		limit float64
		of    func(*bench.Latency) float64
	}{
		{"median", w.p50, func(l *bench.Latency) float64 { return l.P50 }},
		{"p99", w.p99, func(l *bench.Latency) float64 { return l.P99 }},
		{"p99.9", w.p999, func(l *bench.Latency) float64 { return l.P999 }},
	} {
		if l.limit > 0 {
			demand(l.name+" at most "+duration(l.limit), true, func() bool { return l.of(&ours.Latency) <= l.limit })
		}
	}
	if theirs := f.Servers[slapd]; w.most > 0 {
		demand("no more than slapd", theirs != nil, func() bool { return ours.Value <= w.most*theirs.Value })
	}
	if w.atMost > 0 {
		demand("at most "+trim(w.atMost)+" "+f.Unit, true, func() bool { return ours.Value <= w.atMost })
	}
	f.Want, f.Met = strings.Join(demands, ", "), ""
	switch {
	case len(demands) == 0 || !known:
	case met:
		f.Met = "yes"
	default:
		f.Met = "no"
	}
}

func (r *report) cell(line string) *cell {
	for _, f := range r.Lines {
		if f.Name == line {
			return f.Servers[portolan]
		}
	}
	return nil
}

// markdown writes the report as two tables.
func (r *report) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %s. %s. %s entries, medians of %d rounds of %s s, servers in turn; %s durable writes of 512 octets a second, one at a time.\n\n",
		r.Date, strings.Join(r.Versions, ", "), r.Machine, grouped(float64(r.Entries)), r.Rounds, trim(r.Seconds), grouped(r.Fsyncs))
	b.WriteString("| work | Portolan | slapd | ratio | bare loop | of it | must reach | met |\n|---|---|---|---|---|---|---|---|\n")
	for _, f := range r.Lines {
		r.judge(f)
		ours, theirs, bare := f.Servers[portolan], f.Servers[slapd], f.Servers[bareloop]
		ratio, of := "", ""
		other := theirs
		if f.want.against != "" {
			other = r.cell(f.want.against)
		}
		if ours != nil && other != nil && other.Value > 0 {
			ratio = fmt.Sprintf("%.2f", ours.Value/other.Value)
		}
		if ours != nil && bare != nil && bare.Value > 0 {
			of = fmt.Sprintf("%.0f %%", 100*ours.Value/bare.Value)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s | %s |\n", f.Name, f.amount(ours), f.amount(theirs), ratio, f.amount(bare), of, f.Want, f.Met)
	}
	b.WriteString(r.logged())
	b.WriteString("\nLatency, and CPU time of server and load generator for a request (for an entry where entries are counted):\n\n" +
		"| work | server | p50 | p90 | p99 | p99.9 | server CPU | client CPU | failed |\n|---|---|---|---|---|---|---|---|---|\n")
	for _, f := range r.Lines {
		for _, name := range []string{portolan, slapd, logging, bareloop} {
			c := f.Servers[name]
			if c == nil || c.ServerCPU == 0 {
				continue
			}
			failed := ""
			if c.Failed > 0 {
				failed = fmt.Sprintf("%d: %s", c.Failed, c.Failure)
			}
			l := &c.Latency
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %.1f µs | %.1f µs | %s |\n", f.Name, name,
				duration(l.P50), duration(l.P90), duration(l.P99), duration(l.P999), c.ServerCPU, c.ClientCPU, failed)
		}
	}
	if len(r.Missing) > 0 {
		b.WriteString("\nNot measured, or not as it should be:\n\n")
		for _, m := range r.Missing {
			fmt.Fprintf(&b, "- %s\n", strings.ReplaceAll(m, "\n", "; "))
		}
	}
	fmt.Fprintf(&b, "\nAll of it took %s.\n", (time.Duration(r.Took) * time.Second).String())
	return b.String()
}

// logged is the table of the lines that slapd was also measured on with a log.
func (r *report) logged() string {
	var b strings.Builder
	for _, f := range r.Lines {
		ours, theirs := f.Servers[portolan], f.Servers[logging]
		if ours == nil || theirs == nil || theirs.Value == 0 {
			continue
		}
		if b.Len() == 0 {
			b.WriteString("\nAll of the above is slapd without any log. Portolan writes a line for each operation; beside slapd that does so too " +
				"(`-d stats`, to a file):\n\n| work | Portolan | slapd with its log | ratio |\n|---|---|---|---|\n")
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %.2f |\n", f.Name, f.amount(ours), f.amount(theirs), ours.Value/theirs.Value)
	}
	return b.String()
}

func (f *figure) amount(c *cell) string {
	if c == nil {
		return ""
	}
	return grouped(c.Value) + " " + f.Unit
}

// grouped writes a number with separators, and small ones with a decimal.
func grouped(v float64) string {
	if v < 100 && v != float64(int64(v)) {
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	s := strconv.FormatFloat(v, 'f', 0, 64)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func trim(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

// duration writes microseconds.
func duration(us float64) string {
	switch {
	case us == 0:
		return ""
	case us < 1000:
		return fmt.Sprintf("%.0f µs", us)
	case us < 1_000_000:
		return strings.TrimSuffix(fmt.Sprintf("%.1f", us/1000), ".0") + " ms"
	}
	return fmt.Sprintf("%.1f s", us/1e6)
}

// Markers between which the figures stand in a document.
const (
	markBegin = "<!-- figures: written by make bench -->"
	markEnd   = "<!-- end of figures -->"
)

// replaceFigures puts text between the markers of a file.
func replaceFigures(file, text string) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	head, rest, ok1 := strings.Cut(string(b), markBegin)
	_, tail, ok2 := strings.Cut(rest, markEnd)
	if !ok1 || !ok2 {
		return fmt.Errorf("%s has no lines %q and %q to put the figures between", file, markBegin, markEnd)
	}
	return os.WriteFile(file, []byte(head+markBegin+"\n\n"+text+"\n"+markEnd+tail), 0o644)
}

// output runs a program that says something about itself.
func output(args ...string) (string, error) {
	out, err := exec.Command(args[0], args[1:]...).Output()
	return string(out), err
}

func firstLine(s string) string {
	first, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return first
}
