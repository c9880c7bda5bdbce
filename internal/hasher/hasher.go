// Package hasher computes password hashes in a process of its own, at a low priority.
//
// Argon2id is computed on goroutines of its library, and so on any thread of the process. Whoever tries passwords would keep
// all of them busy, at the priority of searches, for as long as the system lets a thread go on: some milliseconds. And each hash
// leaves 19 MiB behind, for which the collector looks through all caches. A process of its own can be told to give way, and has
// nothing to look through.
//
// The process is this program again, with a command that is told nothing but what to compute. It is started when there is
// something to compute, and ends when there was nothing for a while, or when the server does.
package hasher

import (
	"bytes"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"sync"
	"time"

	"portolan/internal/credential"
)

const (
	// idle is for how long a process may have nothing to do.
	idle = 15 * time.Second
	// again is how long after one that failed another is tried.
	again = 10 * time.Second
)

// Options make a Hasher.
type Options struct {
	// Command is what to run, with its arguments: Serve, on its standard input and output.
	Command []string
	Log     *slog.Logger
	Now     func() time.Time // default time.Now
}

// Hasher is a credential.Computer. Where there is no process, because it cannot be started or ended, it computes itself, on the
// calling goroutine. It is safe for concurrent use.
type Hasher struct {
	o Options

	mu      sync.Mutex
	current *process  // nil: none runs
	after   time.Time // no process is started before
	told    bool      // the log says already that there is none
	closed  bool
	ended   sync.WaitGroup // of all processes
}

// New returns a hasher that has no process yet. Close ends it.
func New(o Options) *Hasher {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Hasher{o: o}
}

// request is what the process is asked: to check a password against values, or to hash it with a salt.
type request struct {
	ID       uint64
	Params   credential.Params
	Password []byte
	Values   [][]byte
	Salt     []byte // of a hash to be made; empty: check
	Equalize bool   // compute away what is missing
	Spent    credential.Cost
}

type answer struct {
	ID           uint64
	Index        int
	Spent, Dummy credential.Cost
	Skipped      int
	Hash         []byte
	Err          string // of the first value that could not be read, or of hashing
}

// cheap is what is computed here in any case: asking the process costs more than a digest, such as {SSHA}, takes.
const cheap = time.Millisecond

// isCheap reports whether the password can be compared with all values in that time.
func isCheap(values [][]byte) bool {
	var work time.Duration
	for _, stored := range values {
		if secret, err := credential.Parse(stored); err == nil {
			work += secret.Cost().Work
		}
		if work > cheap {
			return false
		}
	}
	return true
}

// Check is Params.Check.
func (h *Hasher) Check(p credential.Params, values [][]byte, password []byte) credential.Result {
	if len(password) > credential.MaxPassword {
		return p.Check(values, password)
	}
	if isCheap(values) {
		r := credential.Try(values, password)
		if !r.OK() {
			r.Dummy = h.Equalize(p, password, r.Spent)
		}
		return r
	}
	a, ok := h.ask(request{Params: p, Password: password, Values: values})
	if !ok {
		return p.Check(values, password)
	}
	r := credential.Result{Index: a.Index, Spent: a.Spent, Dummy: a.Dummy, Skipped: a.Skipped}
	if a.Err != "" {
		r.Err = errors.New(a.Err)
	}
	if r.OK() {
		secret, err := credential.Parse(values[r.Index])
		if err != nil { // it could be read there
			return credential.Result{Index: -1, Spent: a.Spent, Dummy: a.Dummy, Err: err}
		}
		r.Secret = secret
	}
	return r
}

// Equalize is Params.Equalize.
func (h *Hasher) Equalize(p credential.Params, password []byte, spent credential.Cost) credential.Cost {
	a, ok := h.ask(request{Params: p, Password: password[:min(len(password), credential.MaxPassword)], Equalize: true, Spent: spent})
	if !ok {
		return p.Equalize(password, spent)
	}
	return a.Dummy
}

// Hash is credential.Hash.
func (h *Hasher) Hash(p credential.Params, password []byte, rand io.Reader) ([]byte, error) {
	if p.Validate() != nil || len(password) == 0 || len(password) > credential.MaxPassword {
		return credential.Hash(p, password, rand) // which says what is wrong
	}
	salt := make([]byte, p.SaltLen)
	if _, err := io.ReadFull(rand, salt); err != nil {
		return nil, fmt.Errorf("salt for a password hash: %w", err)
	}
	a, ok := h.ask(request{Params: p, Password: password, Salt: salt})
	switch {
	case !ok:
		return credential.Hash(p, password, bytes.NewReader(salt))
	case a.Err != "":
		return nil, errors.New(a.Err)
	}
	return a.Hash, nil
}

// ask has the process answer; false where there is none, or it ended meanwhile.
func (h *Hasher) ask(q request) (answer, bool) {
	h.mu.Lock()
	p := h.process()
	if p == nil {
		h.mu.Unlock()
		return answer{}, false
	}
	done := p.add(&q)
	h.mu.Unlock()
	p.send(&q)
	a, ok := <-done
	h.mu.Lock()
	p.waiting--
	if p.waiting == 0 && h.current == p {
		p.rest.Reset(idle)
	}
	h.mu.Unlock()
	return a, ok
}

// process returns the one that runs, or starts one; nil where there is none. h.mu is held.
func (h *Hasher) process() *process {
	if h.current != nil || h.closed || h.o.Now().Before(h.after) {
		return h.current
	}
	p, err := h.start()
	if err != nil {
		h.failed(err)
		return nil
	}
	h.current = p
	return p
}

// failed puts the next attempt off. h.mu is held.
func (h *Hasher) failed(err error) {
	h.after = h.o.Now().Add(again)
	if !h.told {
		h.told = true
		h.o.Log.Warn("passwords are hashed in the server's own process, where hashes of unknown passwords can slow searches down: "+
			"the process for them could not be used", "error", err)
	}
}

// process is one that computes.
type process struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	write sync.Mutex // of enc
	enc   *gob.Encoder

	// Guarded by Hasher.mu.
	waiting int
	rest    *time.Timer // ends the process

	mu    sync.Mutex
	last  uint64
	asked map[uint64]chan answer // nil: it has ended
}

// start starts a process. h.mu is held.
func (h *Hasher) start() (*process, error) {
	cmd := exec.Command(h.o.Command[0], h.o.Command[1:]...) // #nosec G204 -- this program, by who makes a Hasher
	cmd.Args[0] = "portolan"                                // and not the path of a link in /proc
	cmd.Env = []string{"GOTRACEBACK=single"}
	for _, name := range []string{"GOMAXPROCS", "GODEBUG"} {
		if value, ok := os.LookupEnv(name); ok {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
	}
	cmd.Stderr = os.Stderr
	cmd.Dir = "/"
	cmd.SysProcAttr = apart()
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, in: in, enc: gob.NewEncoder(in), asked: make(map[uint64]chan answer)}
	p.rest = time.AfterFunc(idle, func() { h.retire(p) })
	h.ended.Go(func() { h.follow(p, out) })
	return p, nil
}

// retire ends a process that has nothing to do.
func (h *Hasher) retire(p *process) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if p.waiting == 0 && h.current == p {
		h.current = nil
		p.in.Close()
	}
}

// follow hands the answers of a process out until it ends.
func (h *Hasher) follow(p *process, out io.Reader) {
	dec := gob.NewDecoder(out)
	for first := true; ; first = false {
		var a answer
		if err := dec.Decode(&a); err == io.EOF {
			break
		} else if err != nil {
			_ = p.cmd.Process.Kill() // it is not what it should be, and may never end
			break
		}
		if first {
			h.mu.Lock()
			h.told = false
			h.mu.Unlock()
		}
		p.mu.Lock()
		done := p.asked[a.ID]
		delete(p.asked, a.ID)
		p.mu.Unlock()
		if done != nil {
			done <- a
		}
	}
	// What it was asked to compute, and did not, is computed here.
	p.mu.Lock()
	left := p.asked
	p.asked = nil
	p.mu.Unlock()
	for _, done := range left {
		close(done)
	}
	p.in.Close()
	err := p.cmd.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	p.rest.Stop()
	if h.current == p {
		h.current = nil
		if !h.closed {
			h.failed(fmt.Errorf("it ended: %v", err))
		}
	}
}

// add notes that a request is sent, and returns where its answer comes; closed where none will. Hasher.mu is held.
func (p *process) add(q *request) <-chan answer {
	p.waiting++
	p.rest.Stop()
	done := make(chan answer, 1)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.asked == nil {
		close(done)
		return done
	}
	p.last++
	q.ID = p.last
	p.asked[q.ID] = done
	return done
}

// send writes a request. Where that fails the process is ending, which whoever waits is told.
func (p *process) send(q *request) {
	p.write.Lock()
	defer p.write.Unlock()
	if q.ID != 0 && p.enc.Encode(q) != nil {
		p.in.Close()
	}
}

// Close ends the process, and returns when it has ended. Whoever waits for an answer gets it first. It does nothing to a nil
// Hasher, and may be called again.
func (h *Hasher) Close() {
	if h == nil {
		return
	}
	h.mu.Lock()
	h.closed = true
	p := h.current
	h.current = nil
	h.mu.Unlock()
	if p != nil {
		p.in.Close()
	}
	h.ended.Wait()
}
