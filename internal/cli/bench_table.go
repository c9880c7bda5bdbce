package cli

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"portolan/internal/bench"
)

// benchTable writes what was measured for people.
func benchTable(c *bench.Comparison) string {
	var b strings.Builder
	length := time.Duration(c.Duration * float64(time.Second)).String()
	if c.Count > 0 {
		length = plural(c.Count, "request", "requests")
	}
	fmt.Fprintf(&b, "%s: %s, %d outstanding on each, %s after %s of warm-up", c.Workload, plural(c.Connections, "connection", "connections"),
		c.Outstanding, length, time.Duration(c.Warmup*float64(time.Second)))
	if c.Rounds > 1 {
		fmt.Fprintf(&b, ", medians of %d rounds", c.Rounds)
	}
	b.WriteString("\n\n")
	unit := "requests/s"
	if bench.ByEntries(c.Workload) {
		unit = "entries/s"
	}
	rows := [][]string{{"", unit, "ratio", "p50", "p90", "p99", "p99.9", "max", "failed"}}
	row := func(name, ratio string, m *bench.Measure) {
		rate := m.Rate
		if bench.ByEntries(m.Workload) {
			rate = m.EntryRate
		}
		l := &m.Latency
		rows = append(rows, []string{
			name, thousands(rate), ratio, micros(l.P50), micros(l.P90), micros(l.P99), micros(l.P999), micros(l.Max), strconv.FormatUint(m.Failed(), 10),
		})
	}
	for i := range c.Servers {
		s := &c.Servers[i]
		ratio := ""
		if len(c.Servers) > 1 {
			ratio = fmt.Sprintf("%.2f", s.Ratio)
		}
		row(s.URL, ratio, &s.Median)
		for k := range s.Parts {
			row("  "+s.Parts[k].Workload, "", &s.Parts[k])
		}
	}
	writeColumns(&b, rows)
	for i := range c.Servers {
		s := &c.Servers[i]
		for _, f := range s.Median.Failures {
			fmt.Fprintf(&b, "\n%s: %s: %s", s.URL, plural(f.Count, "request", "requests"), f.What)
			if f.Diagnostic != "" {
				fmt.Fprintf(&b, ": %s", line(fmt.Errorf("%q", f.Diagnostic)))
			}
		}
		left := int64(0)
		for _, r := range s.Rounds {
			left += r.Left
		}
		if left > 0 {
			fmt.Fprintf(&b, "\n%s: %s that were added could not be taken back", s.URL, plural(left, "entry or member", "entries or members"))
		}
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}

// writeColumns writes rows, the first column to the left and the others to the right, and leaves out columns in which
// nothing stands below the head.
func writeColumns(b *strings.Builder, rows [][]string) {
	width := make([]int, len(rows[0]))
	for k := range width {
		filled := false
		for i, r := range rows {
			width[k] = max(width[k], utf8.RuneCountInString(r[k]))
			filled = filled || i > 0 && r[k] != ""
		}
		if !filled {
			width[k] = 0
		}
	}
	for _, r := range rows {
		var line strings.Builder
		for k, cell := range r {
			pad := strings.Repeat(" ", max(0, width[k]-utf8.RuneCountInString(cell)))
			switch {
			case width[k] == 0:
			case k == 0:
				line.WriteString(cell + pad)
			default:
				line.WriteString("  " + pad + cell)
			}
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
}

// thousands writes a rate with separators, and small ones with more digits.
func thousands(f float64) string {
	if f < 100 {
		return strconv.FormatFloat(f, 'f', 1, 64)
	}
	s := strconv.FormatFloat(f, 'f', 0, 64)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// micros writes a time given in microseconds.
func micros(us float64) string {
	switch {
	case us == 0:
		return "-"
	case us < 10_000:
		return strconv.FormatFloat(us, 'f', 0, 64) + " µs"
	case us < 10_000_000:
		return strconv.FormatFloat(us/1000, 'f', 1, 64) + " ms"
	}
	return strconv.FormatFloat(us/1e6, 'f', 1, 64) + " s"
}
