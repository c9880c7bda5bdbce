package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"portolan/internal/bench"
)

// work is one run of everything.
type work struct {
	*settings
	report *report
	dir    string
	data   bench.DataSet
	ldif   string // file with the data set
	ca     string // file with the authority of Portolan's certificate

	plain, secure string // Portolan's addresses
	slapdMissing  error
	running       map[string]*process // by name
	others        []float64           // shares of the CPUs that others used while something was measured
}

// everything does all steps in order. The error says why it ended early.
func (w *work) everything(ctx context.Context) error {
	w.running = make(map[string]*process)
	w.versions()
	var err error
	if w.report.Fsyncs, err = fsyncs(w.dir); err != nil {
		return err
	}
	if inMemory(w.dir) {
		w.missing("durable writes: %s is in memory; name a directory on a disk with BENCH_DIR", w.dir)
	}
	if err := w.makeData(ctx); err != nil {
		return err
	}
	if err := w.load(ctx); err != nil {
		return err
	}
	if err := w.start(ctx); err != nil {
		return err
	}
	if err := w.memory(ctx); err != nil {
		return err
	}
	for _, l := range w.lines() {
		if err := w.measure(ctx, l); err != nil {
			return err
		}
	}
	w.stopAll()
	if len(w.others) > 0 {
		w.report.Others = median(w.others)
	}
	if w.report.Others > 0.1 {
		w.missing("a quiet machine: others used %.0f %% of the CPUs meanwhile; a server with many threads takes more from them than one with "+
			"few, so that CPU times say more than rates", 100*w.report.Others)
	}
	if err := w.connectionMemory(ctx); err != nil {
		return err
	}
	return w.demoMemory(ctx)
}

// missing notes what could not be measured or weakens what was.
func (w *work) missing(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	say("not measured: %s", text)
	w.report.Missing = append(w.report.Missing, text)
}

// say tells a person how far it is.
func say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%s %s\n", time.Now().Format(time.TimeOnly), fmt.Sprintf(format, args...))
}

func (w *work) versions() {
	v, err := slapdVersion()
	if err != nil {
		w.slapdMissing = err
		w.missing("slapd: %v", err)
	} else {
		w.report.Versions = append(w.report.Versions, "slapd "+v)
	}
	if binary, err := program("portolan"); err == nil {
		if out, err := output(binary, "version"); err == nil {
			w.report.Versions = append([]string{firstLine(out)}, w.report.Versions...)
		}
	}
}

func (w *work) makeData(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	say("making %d people", w.entries)
	w.ldif = filepath.Join(w.dir, "people.ldif")
	f, err := os.Create(w.ldif)
	if err != nil {
		return err
	}
	return errors.Join(w.data.WriteLDIF(f, nil), f.Close())
}

// loadName is the figure of loading, which others are not compared with.
const loadName = "import, same indexes"

// load loads the data into both servers, twice in turn when there is time: the second stays.
func (w *work) load(ctx context.Context) error {
	f := w.figure(loadName, "entries/s", want{ratio: 5})
	binary, err := program("portolan")
	if err != nil {
		return err
	}
	var err1, err2 error
	w.plain, err1 = freeAddress()
	w.secure, err2 = freeAddress()
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	rounds := 2
	if w.quick || w.entries > standardEntries {
		rounds = 1
	}
	entries := float64(w.data.Entries())
	var ours, theirs []float64
	for range rounds {
		dir, err := w.fresh("portolan")
		if err != nil {
			return err
		}
		if err := w.preparePortolan(dir, w.plain, w.secure); err != nil {
			return err
		}
		say("importing into Portolan")
		took, err := once(ctx, dir, binary, "import", "--config", filepath.Join(dir, "portolan.toml"), w.ldif)
		if err != nil {
			return err
		}
		ours = append(ours, entries/took.Seconds())
		if w.slapdMissing != nil {
			continue
		}
		if took, err = w.loadSlapd(ctx); err != nil {
			if ctx.Err() != nil {
				return err
			}
			w.slapdMissing = err
			w.missing("slapd: %v", err)
			continue
		}
		theirs = append(theirs, entries/took.Seconds())
	}
	f.Servers[portolan] = &cell{Value: median(ours)}
	if len(theirs) > 0 {
		f.Servers[slapd] = &cell{Value: median(theirs)}
	}
	return nil
}

func (w *work) loadSlapd(ctx context.Context) (time.Duration, error) {
	dir, err := w.fresh("slapd")
	if err != nil {
		return 0, err
	}
	path, err := slapdProgram("slapadd")
	if err != nil {
		return 0, err
	}
	if err := w.prepareSlapd(dir); err != nil {
		return 0, err
	}
	say("slapadd -q")
	return once(ctx, dir, path, "-q", "-f", filepath.Join(dir, "slapd.conf"), "-l", w.ldif)
}

// fresh returns an empty directory of this name.
func (w *work) fresh(name string) (string, error) {
	dir := filepath.Join(w.dir, name)
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	return dir, os.Mkdir(dir, 0o700)
}

// start starts all servers.
func (w *work) start(ctx context.Context) error {
	say("starting the servers")
	p, err := w.startPortolan(ctx, filepath.Join(w.dir, "portolan"), w.plain)
	if err != nil {
		return err
	}
	w.running[portolan] = p
	if w.slapdMissing == nil {
		address, err := freeAddress()
		if err != nil {
			return err
		}
		if p, err = w.startSlapd(ctx, filepath.Join(w.dir, "slapd"), address, "0"); err != nil {
			w.slapdMissing = err
			w.missing("slapd: %v", err)
		} else {
			w.running[slapd] = p
		}
	}
	address, err := freeAddress()
	if err != nil {
		return err
	}
	if p, err = w.startBareLoop(ctx, address); err != nil {
		return err
	}
	w.running[bareloop] = p
	return nil
}

// startLogging starts a second slapd on the data of the first, which is possible as long as nothing is written, and returns what
// ends it.
func (w *work) startLogging(ctx context.Context) (stop func(), err error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	p, err := w.startSlapd(ctx, filepath.Join(w.dir, "slapd"), address, "stats")
	if err != nil {
		return nil, err
	}
	w.running[logging] = p
	return func() {
		delete(w.running, logging)
		p.stop()
		_ = os.Remove(p.log) // some ten MiB a second
	}, nil
}

// stopAll ends all servers.
func (w *work) stopAll() {
	var wait sync.WaitGroup
	for name, p := range w.running {
		wait.Go(p.stop)
		delete(w.running, name)
	}
	wait.Wait()
}

// quiet waits until a server uses no CPU for work that it does aside, such as renewing password hashes.
func quiet(ctx context.Context, p *process, most time.Duration) error {
	const pause, idle = time.Second, 20 * time.Millisecond
	last, err := cpuTime(p.cmd.Process.Pid)
	for end := time.Now().Add(most); err == nil && time.Now().Before(end); {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause):
		}
		var now time.Duration
		now, err = cpuTime(p.cmd.Process.Pid)
		if now-last <= idle {
			return err
		}
		last = now
	}
	return err
}
