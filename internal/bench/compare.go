package bench

import (
	"context"
	"slices"
)

// Comparison is what several runs against each of several servers have measured.
type Comparison struct {
	Workload    string   `json:"workload"`
	Connections int      `json:"connections"`
	Outstanding int      `json:"outstanding"`
	Warmup      float64  `json:"warmup_seconds"`
	Duration    float64  `json:"duration_seconds"`
	Count       int64    `json:"count,omitempty"`
	Rounds      int      `json:"rounds"`
	Servers     []Server `json:"servers"`
}

// Server is one of the servers of a Comparison.
type Server struct {
	URL string `json:"url"`
	// Median has the median of each number by itself, and all failures.
	Median Measure   `json:"median"`
	Parts  []Measure `json:"parts,omitempty"`
	// Ratio is the rate divided by that of the first server: requests, or with scan and paged entries.
	Ratio  float64   `json:"ratio_to_first"`
	Rounds []*Result `json:"rounds"`
}

// Failed returns how many requests of all runs did not do what they should.
func (c *Comparison) Failed() uint64 {
	n := uint64(0)
	for i := range c.Servers {
		n += c.Servers[i].Median.Failed()
	}
	return n
}

// Compare runs the same load against each server in turn, all of that for rounds times: what else goes on on the machine
// hits them alike. each, which may be nil, is called before each run.
func Compare(ctx context.Context, o Options, urls []string, rounds int, each func(round int, url string)) (*Comparison, error) {
	c := &Comparison{
		Workload: o.Workload, Connections: o.Connections, Outstanding: o.Outstanding,
		Warmup: o.Warmup.Seconds(), Duration: o.Duration.Seconds(), Count: o.Count, Rounds: rounds, Servers: make([]Server, len(urls)),
	}
	for round := range rounds {
		for i, url := range urls {
			if each != nil {
				each(round, url)
			}
			o.URL, o.Seed = url, o.Seed+1
			r, err := Run(ctx, o)
			if err != nil {
				return nil, err
			}
			c.Servers[i].URL = url
			c.Servers[i].Rounds = append(c.Servers[i].Rounds, r)
		}
	}
	for i := range c.Servers {
		s := &c.Servers[i]
		all := make([]*Measure, rounds)
		for k, r := range s.Rounds {
			all[k] = &r.Measure
		}
		s.Median = median(all)
		for p := range s.Rounds[0].Parts {
			for k, r := range s.Rounds {
				all[k] = &r.Parts[p]
			}
			s.Parts = append(s.Parts, median(all))
		}
		if first := c.Servers[0].rate(); first > 0 {
			s.Ratio = s.rate() / first
		}
	}
	return c, nil
}

// ByEntries reports whether what counts of a workload is how many entries it reads.
func ByEntries(workload string) bool { return workload == Scan || workload == Paged }

func (s *Server) rate() float64 {
	if ByEntries(s.Median.Workload) {
		return s.Median.EntryRate
	}
	return s.Median.Rate
}

// median takes the median of each number, and adds failures up.
func median(of []*Measure) Measure {
	mid := func(f func(*Measure) float64) float64 {
		v := make([]float64, len(of))
		for i := range of {
			v[i] = f(of[i])
		}
		slices.Sort(v)
		n := len(v)
		return (v[(n-1)/2] + v[n/2]) / 2
	}
	m := Measure{
		Workload: of[0].Workload,
		Done:     uint64(mid(func(m *Measure) float64 { return float64(m.Done) })),
		Rate:     mid(func(m *Measure) float64 { return m.Rate }),
		Entries:  uint64(mid(func(m *Measure) float64 { return float64(m.Entries) })),

		EntryRate:  mid(func(m *Measure) float64 { return m.EntryRate }),
		FailedRate: mid(func(m *Measure) float64 { return m.FailedRate }),
		Latency: Latency{
			Mean: mid(func(m *Measure) float64 { return m.Latency.Mean }),
			P50:  mid(func(m *Measure) float64 { return m.Latency.P50 }),
			P90:  mid(func(m *Measure) float64 { return m.Latency.P90 }),
			P99:  mid(func(m *Measure) float64 { return m.Latency.P99 }),
			P999: mid(func(m *Measure) float64 { return m.Latency.P999 }),
			Max:  mid(func(m *Measure) float64 { return m.Latency.Max }),
		},
	}
	sum := newStats()
	for _, one := range of {
		for _, f := range one.Failures {
			sum.add(&stats{latency: newHistogram(), failures: map[string]*Failure{f.What: &f}})
		}
	}
	m.Failures = sortedFailures(sum.failures)
	return m
}
