package bench

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"portolan/ldap"
)

// Latencies are recorded in nanoseconds with two significant digits, up to an hour.
const (
	histogramUnit   = 100 * time.Nanosecond
	histogramMost   = time.Hour
	histogramDigits = 2
)

func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(int64(histogramUnit), int64(histogramMost), histogramDigits)
}

// Failure is why requests did not do what they should.
type Failure struct {
	// Code is the result code of the answer; -1 where the answer was wrong in another way or the connection was lost.
	Code ldap.ResultCode `json:"code"`
	// What is the name of the code, or what was wrong.
	What string `json:"what"`
	// Diagnostic is that of the first.
	Diagnostic string `json:"diagnostic,omitempty"`
	Count      uint64 `json:"count"`
}

// stats are what one driver has seen of one part. They belong to its goroutine until the run is over.
type stats struct {
	latency  *hdrhistogram.Histogram
	done     uint64
	entries  uint64
	failures map[string]*Failure
}

func newStats() *stats {
	return &stats{latency: newHistogram(), failures: make(map[string]*Failure)}
}

// finished records a request that did what it should.
func (s *stats) finished(took time.Duration) {
	s.done++
	if s.latency.RecordValue(int64(took)) != nil {
		_ = s.latency.RecordValue(int64(histogramMost)) // in range by definition
	}
}

// failed records one that did not.
func (s *stats) failed(code ldap.ResultCode, what, diagnostic string) {
	f := s.failures[what]
	if f == nil {
		f = &Failure{Code: code, What: what, Diagnostic: diagnostic}
		s.failures[what] = f
	}
	f.Count++
}

func (s *stats) refused(r *ldap.Result) {
	name := r.Code.String()
	s.failed(r.Code, fmt.Sprintf("%s (%d)", name, r.Code), r.Diagnostic)
}

// add adds what another driver has seen.
func (s *stats) add(o *stats) {
	s.latency.Merge(o.latency)
	s.done += o.done
	s.entries += o.entries
	for what, f := range o.failures {
		if mine := s.failures[what]; mine != nil {
			mine.Count += f.Count
			continue
		}
		copied := *f
		s.failures[what] = &copied
	}
}

// sortedFailures returns the failures, the most frequent first.
func sortedFailures(m map[string]*Failure) []Failure {
	out := make([]Failure, 0, len(m))
	for _, f := range m {
		out = append(out, *f)
	}
	slices.SortFunc(out, func(a, b Failure) int {
		return cmp.Or(-cmp.Compare(a.Count, b.Count), cmp.Compare(a.What, b.What))
	})
	return out
}
