package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"portolan/internal/op"
	"portolan/ldap"
)

const (
	// inputSize is the read buffer of a connection while there is something to read; larger frames grow one of their own.
	inputSize = 4096
	// keptFrame is the frame size above which a decoder is asked to drop what the frame made it grow.
	keptFrame = 1024
)

// task is what it takes to serve requests: the input, the decoder and the request in the making. A connection has one
// only while it has something to do. When an operation is detached it keeps its task, and the reading goes on with
// another.
type task struct {
	s *Session

	// The input: b[r:w] has been read and not yet dealt with.
	b       []byte
	r, w    int
	largest int // frame since the decoder was last reset

	dec ldap.Decoder
	req op.Request

	detachFunc func() context.Context // bound once: a method value costs an allocation
	result     ldap.BindResponse      // scratch of the two responses that are more than a result
	extended   ldap.ExtendedResponse

	begun bool // between Begin and End
	mark  int  // length of the output at Begin

	// What follows is for detached operations.
	ctx    context.Context
	cancel context.CancelFunc
	kind   Operation
	// abandoned is set with the output locked, so that nothing of the operation is sent after it.
	abandoned atomic.Bool

	// Guarded by Session.mu.
	owner  *op.Identity // who it is done as, once it is detached
	asked  *outcome     // Cancel was called
	ending bool         // the server asks the operation to end
}

// outcome is what became of an operation that Cancel was called for.
type outcome struct {
	done      chan struct{}
	cancelled bool
}

var tasks = sync.Pool{New: func() any { return &task{b: make([]byte, inputSize)} }}

func newTask(s *Session) *task {
	t := tasks.Get().(*task)
	if t.detachFunc == nil {
		t.detachFunc = t.detach
	}
	t.s = s
	return t
}

// free gives the task back. Nothing of it may be used any more.
func (t *task) free() {
	if t.largest > keptFrame {
		t.dec.Reset()
	}
	if len(t.b) != inputSize {
		t.b = make([]byte, inputSize)
	}
	t.s, t.req = nil, op.Request{}
	t.result, t.extended = ldap.BindResponse{}, ldap.ExtendedResponse{}
	t.r, t.w, t.largest = 0, 0, 0
	t.clear()
	tasks.Put(t)
}

// clear forgets the operation.
func (t *task) clear() {
	t.begun, t.mark = false, 0
	t.ctx, t.cancel = nil, nil
	t.abandoned.Store(false)
	t.owner, t.asked, t.ending = nil, nil, false
}

func (t *task) pending() []byte { return t.b[t.r:t.w] }

// reserve makes room for at least one octet more of a frame of this size, 0 where it is not known. The buffer grows with what
// has arrived, not with what is announced.
func (t *task) reserve(size int) {
	if t.r > 0 && (t.w == len(t.b) || size > len(t.b)-t.r) {
		t.w = copy(t.b, t.b[t.r:t.w])
		t.r = 0
	}
	if t.w < len(t.b) {
		return
	}
	grown := make([]byte, max(min(2*len(t.b), size), len(t.b)+1))
	t.w = copy(grown, t.b[:t.w])
	t.b = grown
}

// Begin implements op.Writer.
func (t *task) Begin() []byte {
	buf := t.s.out.begin()
	t.begun, t.mark = true, len(buf)
	return buf
}

// End implements op.Writer. It returns an error when the connection or the operation has ended.
func (t *task) End(buf []byte) error {
	t.begun = false
	urgency := later
	if t.ctx != nil {
		urgency = soon
	}
	if t.abandoned.Load() {
		t.s.out.end(buf[:t.mark], urgency)
		return context.Canceled
	}
	return t.s.out.end(buf, urgency)
}

// Flush writes what the operation has sent so far. Handlers need it only before they wait for something in a search that
// was not detached.
func (t *task) Flush() error { return t.s.out.flush() }

// detach is Request.DetachFunc. It is called on the goroutine that serves the request, not between Begin and End.
func (t *task) detach() context.Context {
	if t.ctx != nil {
		return t.ctx
	}
	s := t.s
	t.ctx, t.cancel = context.WithCancel(s.base)
	s.mu.Lock()
	if s.table == nil {
		s.table = make(map[int32]*task)
	}
	s.table[t.req.ID] = t
	t.owner = t.req.Identity
	s.running++
	dead := s.dead
	s.mu.Unlock()
	s.active.Add(1)
	s.inline.Store(0)
	s.stats.detached.Add(1)
	if dead {
		t.cancel()
	}
	if t.kind == Bind {
		// RFC 4511 4.2.1: nothing else is processed during a bind, so nothing else is read.
		s.out.flush()
		return t.ctx
	}
	if t.kind == Search {
		s.out.expect()
	}
	rest := t.pending()
	next := newTask(s)
	if len(rest) > len(next.b) {
		next.b = make([]byte, len(rest))
	}
	next.w = copy(next.b, rest)
	t.w = t.r
	s.refs.Add(1)
	go s.resume(next)
	return t.ctx
}

// call runs the handler.
func (t *task) call() (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = t.panicked(v)
		}
	}()
	return t.s.cfg.Handler.Serve(t.s.base, &t.req, t)
}

func (t *task) panicked(v any) error {
	s := t.s
	if t.begun {
		// What the handler appended is in nobody's buffer yet; the lock is all that is left of it.
		t.begun = false
		s.out.mu.Unlock()
	}
	s.stats.panics.Add(1)
	s.log.Error("panic in an operation; its connection is closed", "conn", s.conn.ID, "msgid", t.req.ID,
		"op", t.kind.String(), "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
	t.req.Reply = op.Reply{}
	s.closeAfter(nil)
	return ldap.Errorf(ldap.Other, "internal error; the server's log says more")
}

// settle turns what the handler returned into the reply. It is the only place where an error becomes a result.
func (t *task) settle(err error) {
	rep := &t.req.Reply
	if err != nil {
		e := ldap.AsError(err)
		rep.Result = e.Result
		if e.Cause != nil {
			t.logCause(e)
		}
	}
	switch {
	case rep.Code != ldap.Referral:
		rep.Referrals = nil
	case len(rep.Referrals) == 0:
		// RFC 4511 4.1.10: a referral has at least one URI.
		t.s.log.Error("a referral without a URI", "conn", t.s.conn.ID, "msgid", t.req.ID, "op", t.kind.String())
		rep.Result = ldap.Result{Code: ldap.Other, Diagnostic: "the server has a referral that leads nowhere"}
	}
}

func (t *task) logCause(e *ldap.Error) {
	level := slog.LevelDebug
	if e.Code == ldap.Other && !errors.Is(e.Cause, context.Canceled) {
		level = slog.LevelError
	}
	if !t.s.log.Enabled(t.s.base, level) {
		return
	}
	t.s.log.Log(t.s.base, level, "operation failed", "conn", t.s.conn.ID, "msgid", t.req.ID, "op", t.kind.String(),
		"result", e.Code.String(), "cause", e.Cause.Error())
}

// decide is the end of a detached operation as others see it: its message ID may be used again, its place is free, and
// whoever cancelled it learns how that went. It reports whether the response is still wanted.
func (t *task) decide(err error) (wanted bool) {
	s := t.s
	s.done.Store(int64(s.cfg.now().Sub(s.begun)))
	s.mu.Lock()
	if s.table[t.req.ID] == t {
		delete(s.table, t.req.ID)
	}
	s.active.Add(-1)
	s.changed()
	wanted = !t.abandoned.Load() && !s.dead
	asked, ending := t.asked, t.ending
	s.mu.Unlock()

	stopped := err != nil && (errors.Is(err, context.Canceled) || ldap.CodeOf(err) == ldap.Canceled)
	if stopped && asked != nil {
		err = ldap.Errorf(ldap.Canceled, "cancelled by the client") // RFC 3909
	} else if stopped && ending {
		err = ldap.Errorf(ldap.Unavailable, "the server is closing the connection")
	}
	t.settle(err)
	if asked != nil {
		asked.cancelled = wanted && t.req.Reply.Code == ldap.Canceled
		close(asked.done)
	}
	t.cancel()
	return wanted
}

// respond appends the final response.
func (t *task) respond(urgency when) error {
	tag, ok := ldap.ResponseTag(t.req.Op.Tag())
	if !ok {
		return nil
	}
	rep := &t.req.Reply
	buf := t.s.out.begin()
	switch {
	case tag == ldap.TagBindResponse && rep.HasSASLCreds:
		t.result = ldap.BindResponse{Result: rep.Result, ServerCreds: rep.SASLCreds, HasServerCreds: true}
		buf = ldap.AppendMessage(buf, t.req.ID, &t.result, rep.Controls)
	case tag == ldap.TagExtendedResponse && (rep.Name != "" || rep.HasValue):
		t.extended = ldap.ExtendedResponse{Result: rep.Result, Name: rep.Name, Value: rep.Value, HasValue: rep.HasValue}
		buf = ldap.AppendMessage(buf, t.req.ID, &t.extended, rep.Controls)
	default:
		buf = ldap.AppendResult(buf, t.req.ID, tag, &rep.Result, rep.Controls)
	}
	return t.s.out.end(buf, urgency)
}
