// Command sidebyside is make bench: it loads the same data into Portolan and slapd, with the same indexes, both durable and
// Portolan with its defaults, sends the same load to them in turn, and prints how they compare. The bare loop
// (test/bench/bareloop) shows what a Go server could reach at most. Everything listens on loopback on free ports and keeps
// its files in one temporary directory; both are gone at the end.
//
// The environment chooses:
//
//	BENCH_QUICK=1        about three minutes instead of fifteen
//	BENCH_ENTRIES=N      people in the data set (100000)
//	BENCH_MEMBERS=N      members of one big group (100000, or as many as there are people; none when quick)
//	BENCH_ONLY=REGEXP    only the lines whose names match; loading is measured anyway
//	BENCH_ROUNDS=N       rounds, whose medians are taken
//	BENCH_SECONDS=N      seconds of each measurement
//	BENCH_LIMIT=DURATION when to stop and print what there is (25m, quick 8m, longer with more entries)
//	BENCH_DIR=DIR        where the servers keep their data; it should be on a disk (/var/tmp)
//	BENCH_JSON=FILE      write all figures there too
//	BENCH_NICE=N         priority of servers and load generator alike, for a machine that is busy otherwise (root)
//	BENCH_WRITE=FILE     write the table between the markers of this file; "-" writes none. By default a full run of
//	                     100000 entries writes docs/performance.md
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"portolan/internal/bench"
)

// standardEntries is the size of the data set that published figures are about.
const standardEntries = 100_000

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "make bench:", err)
		os.Exit(1)
	}
}

// settings are what the environment says.
type settings struct {
	quick          bool
	entries        int
	members        int
	nice           int
	rounds         int
	warmup, length time.Duration
	searches       int64 // before memory is measured
	idle           int   // connections of the memory lines
	limit          time.Duration
	only           *regexp.Regexp
	dir            string
	json, write    string
}

func read() (*settings, error) {
	s := &settings{
		quick: os.Getenv("BENCH_QUICK") == "1", dir: os.Getenv("BENCH_DIR"), json: os.Getenv("BENCH_JSON"), write: os.Getenv("BENCH_WRITE"),
		rounds: 3, warmup: 500 * time.Millisecond, length: 3 * time.Second, searches: 1_000_000, idle: 10_000, limit: 25 * time.Minute,
	}
	seconds := 3
	if s.quick {
		s.rounds, s.searches, s.idle, s.limit, seconds = 2, 300_000, 2000, 8*time.Minute, 1
	}
	var errs []error
	number := func(name string, into *int, otherwise int) {
		*into = otherwise
		if text := os.Getenv(name); text != "" {
			n, err := strconv.Atoi(text)
			if err != nil || n < 0 {
				errs = append(errs, fmt.Errorf("%s=%s: a number is wanted", name, text))
			}
			*into = n
		}
	}
	number("BENCH_ENTRIES", &s.entries, standardEntries)
	members := min(s.entries, 100_000)
	if s.quick {
		members = 0
	}
	number("BENCH_MEMBERS", &s.members, members)
	if text := os.Getenv("BENCH_NICE"); text != "" {
		n, err := strconv.Atoi(text)
		errs = append(errs, err)
		s.nice = n
	}
	number("BENCH_ROUNDS", &s.rounds, s.rounds)
	number("BENCH_SECONDS", &seconds, seconds)
	s.length = time.Duration(seconds) * time.Second
	s.limit += time.Duration(s.entries/standardEntries) * time.Minute
	if text := os.Getenv("BENCH_LIMIT"); text != "" {
		d, err := time.ParseDuration(text)
		errs = append(errs, err)
		s.limit = d
	}
	var err error
	s.only, err = regexp.Compile(os.Getenv("BENCH_ONLY"))
	errs = append(errs, err)
	if s.rounds < 1 || seconds < 1 {
		errs = append(errs, errors.New("BENCH_ROUNDS and BENCH_SECONDS are at least 1"))
	}
	if s.dir == "" {
		s.dir = "/var/tmp"
	}
	if s.write == "" && !s.quick && s.entries == standardEntries && os.Getenv("BENCH_ONLY") == "" {
		s.write = filepath.Join("docs", "performance.md")
	}
	return s, errors.Join(errs...)
}

// report is everything that was found out.
type report struct {
	Date     string   `json:"date"`
	Machine  string   `json:"machine"`
	Versions []string `json:"versions"`
	Entries  int      `json:"entries"`
	Rounds   int      `json:"rounds"`
	Seconds  float64  `json:"seconds"`
	Fsyncs   float64  `json:"fsyncs_per_second"`
	// Others is the share of the CPUs that others used meanwhile.
	Others float64   `json:"others"`
	Lines  []*figure `json:"lines"`
	// Missing says what could not be measured, and why.
	Missing []string `json:"missing,omitempty"`
	// Took is the length of the whole run in seconds.
	Took float64 `json:"took_seconds"`
}

func run(ctx context.Context) error {
	s, err := read()
	if err != nil {
		return err
	}
	restore, err := prioritize(s.nice)
	if err != nil {
		return err
	}
	defer restore()
	began := time.Now()
	ctx, cancel := context.WithTimeoutCause(ctx, s.limit, fmt.Errorf("the time was over (%v)", s.limit))
	defer cancel()
	dir, err := os.MkdirTemp(s.dir, "portolan-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	r := &report{
		Date: began.Format(time.DateOnly), Machine: machine(), Entries: s.entries, Rounds: s.rounds, Seconds: s.length.Seconds(),
	}
	w := &work{
		settings: s, report: r, dir: dir,
		data: bench.DataSet{Base: bench.DefaultBase, Seed: 1, People: s.entries, Groups: min(1000, s.entries/100+1), Members: s.members},
	}
	defer w.stopAll()
	if err := w.everything(ctx); err != nil {
		// What was measured until then is worth printing, unless somebody does not want to wait for it.
		if errors.Is(err, context.Canceled) {
			return err
		}
		r.Missing = append(r.Missing, "what should have come next: "+err.Error())
	}
	r.Took = time.Since(began).Seconds()
	text := r.markdown()
	fmt.Print("\n", text)
	if s.json != "" {
		b, err := json.MarshalIndent(r, "", "  ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(s.json, append(b, '\n'), 0o644); err != nil {
			return err
		}
	}
	if s.write != "" && s.write != "-" {
		if err := replaceFigures(s.write, text); err != nil {
			return err
		}
		fmt.Println("\nThe figures were written to", s.write)
	}
	return nil
}

// machine describes where this runs.
func machine() string {
	return fmt.Sprintf("%d CPUs (%s), %s of memory, %s/%s, %s", runtime.NumCPU(), cpuModel(), memoryTotal(), runtime.GOOS, runtime.GOARCH, kernel())
}
