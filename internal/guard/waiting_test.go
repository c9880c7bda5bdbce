package guard

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/ldap"
)

// line is a world in which attempts wait until the test lets time pass.
type line struct {
	*world
	mu      sync.Mutex
	sleeper []*sleeper
	asleep  chan struct{} // one for each that has begun to wait
}

type sleeper struct {
	until time.Time
	woken chan struct{}
}

func newLine(t *testing.T, p Policy) *line {
	l := &line{world: newWorld(t, p), asleep: make(chan struct{}, 10_000)}
	l.g.o.Wait = l.sleep
	return l
}

func (l *line) sleep(ctx context.Context, d time.Duration) error {
	s := &sleeper{l.time().Add(d), make(chan struct{})}
	l.mu.Lock()
	l.sleeper = append(l.sleeper, s)
	l.mu.Unlock()
	l.asleep <- struct{}{}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-s.woken:
		return nil
	}
}

// pass lets time pass.
func (l *line) pass(d time.Duration) {
	l.advance(d)
	now := l.time()
	l.mu.Lock()
	defer l.mu.Unlock()
	left := l.sleeper[:0]
	for _, s := range l.sleeper {
		if s.until.After(now) {
			left = append(left, s)
		} else {
			close(s.woken)
		}
	}
	l.sleeper = left
}

// under is an attempt under way.
type under struct {
	l   *line
	req *op.Request
	b   op.BindOutcome
	err error
}

// begin asks for an attempt; done is called when it was let through or refused.
func (l *line) begin(ctx context.Context, from, account, password string, done func(*under)) {
	l.mu.Lock()
	u := &under{l: l, req: &op.Request{Conn: l.conn(from)}, b: op.BindOutcome{Name: dit.Name{Norm: account}, Password: []byte(password)}}
	l.mu.Unlock()
	go func() {
		u.err = l.g.Attempt(ctx, u.req, &u.b)
		done(u)
	}()
}

func (u *under) settle(err error) { u.l.g.Settle(u.req, &u.b, err) }

var errWrong = ldap.Errorf(ldap.InvalidCredentials, "")

// TestConcurrentGuesses: no more attempts are under way than may fail, however many connections make them, and when those that
// are succeed the others follow.
func TestConcurrentGuesses(t *testing.T) {
	l := newLine(t, usual)
	through := make(chan *under, 100)
	let := func(u *under) { through <- u }
	for i := range 20 {
		l.begin(context.Background(), "192.0.2.1", fmt.Sprint("uid=", i), "pw", let)
	}
	// Three are let through, seventeen wait.
	three := []*under{<-through, <-through, <-through}
	for range 17 {
		<-l.asleep
	}
	select {
	case <-through:
		t.Fatal("a fourth was let through")
	default:
	}
	l.want("waiting", l.g.Stats().Waiting, 17)
	// The first was right: one more goes. It was a credit to the source, too.
	for n := 0; n < 17; n++ {
		three[n%3].settle(nil)
		u := <-through
		if u.err != nil {
			t.Fatal(u.err)
		}
		three[n%3] = u
	}
	for _, u := range three {
		u.settle(nil)
	}
	l.want("waiting", l.g.Stats().Waiting, 0)
	l.want("places", len(l.g.places), 0)
}

// TestWaitingIsBounded: who finds no place to wait, or would wait too long, is told busy at once; who goes away leaves its
// place; who waited for long enough is told busy.
func TestWaitingIsBounded(t *testing.T) {
	p := usual
	p.MaxDelayed = 64
	l := newLine(t, p)
	done := make(chan *under, 200)
	let := func(u *under) { done <- u }
	ctx, hangUp := context.WithCancel(context.Background())
	for i := range 20 {
		l.begin(ctx, "192.0.2.1", fmt.Sprint("uid=", i), "pw", let)
	}
	refused, through := 0, 0
	for range 3 + 9 {
		if u := <-done; u.err == nil {
			through++
		} else if ldap.CodeOf(u.err) == ldap.Busy {
			refused++
		}
	}
	// One source has an eighth of the places.
	l.want("through", through, 3)
	l.want("refused", refused, 9)
	l.want("waiting", l.g.Stats().Waiting, 8)
	hangUp()
	for range 8 {
		if u := <-done; !errors.Is(u.err, context.Canceled) {
			t.Error(u.err)
		}
	}
	l.want("waiting", l.g.Stats().Waiting, 0)
	// The three do not end. Others wait for as long as they may.
	for range 8 {
		<-l.asleep
	}
	l.begin(context.Background(), "192.0.2.1", "uid=late", "pw", let)
	<-l.asleep
	l.pass(p.MaxDelay)
	if u := <-done; ldap.CodeOf(u.err) != ldap.Busy {
		t.Error(u.err)
	}
}

// TestTurnsAreHandedOn: of those that wait for a pause one goes when it is over, and when that one was wrong the others wait on
// or are refused; nobody is forgotten.
func TestTurnsAreHandedOn(t *testing.T) {
	l := newLine(t, usual)
	l.tries(3, "192.0.2.1", "uid=x") // a pause of 5 s
	done := make(chan *under, 100)
	for i := range 5 {
		l.begin(context.Background(), "192.0.2.1", fmt.Sprint("uid=", i), "pw", func(u *under) { done <- u })
		<-l.asleep
	}
	l.pass(5 * time.Second)
	one := <-done
	if one.err != nil {
		t.Fatal(one.err)
	}
	one.settle(errWrong)
	for range 4 {
		if u := <-done; ldap.CodeOf(u.err) != ldap.Busy {
			t.Error(u.err)
		}
	}
	l.want("waiting", l.g.Stats().Waiting, 0)
	l.want("places", len(l.g.places), 0)
}

// TestStorm has many goroutines try at once on the machine's clock, for the race detector and for deadlocks: all end, and no
// more are checked than may be.
func TestStorm(t *testing.T) {
	w := newWorld(t, usual)
	p := usual
	p.MaxDelay = 20 * time.Millisecond
	w.g.Set(p)
	w.g.o.Now = time.Now
	w.g.OnEvent(func(Event) {})
	w.g.o.Wait = func(ctx context.Context, d time.Duration) error {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(d):
			return nil
		}
	}
	var wg sync.WaitGroup
	var checked atomic.Int64
	for i := range 50 {
		wg.Add(1)
		conn := w.conn(fmt.Sprintf("192.0.2.%d", i%5))
		go func() {
			defer wg.Done()
			for n := range 20 {
				req := &op.Request{Conn: conn}
				b := &op.BindOutcome{Name: dit.Name{Norm: fmt.Sprint("uid=", n)}, Password: fmt.Append(nil, i, n)}
				if err := w.g.Attempt(context.Background(), req, b); err == nil {
					checked.Add(1)
					w.g.Settle(req, b, errWrong)
				}
			}
		}()
	}
	wg.Wait()
	if n := checked.Load(); n > 15 {
		t.Errorf("%d of 1,000 were checked", n)
	}
	w.want("places", len(w.g.places), 0)
	w.want("waiting", w.g.Stats().Waiting, 0)
}
