package guard

import (
	"context"
	"slices"
	"time"

	"portolan/internal/op"
)

// Aside is what is done about a password that was sent where somebody may have read it.
type Aside struct {
	// Verify checks a password that nobody waits for; the identity is nil where it is wrong.
	Verify func(ctx context.Context, source, norm string, password []byte) (*op.Identity, error)
	// Mark notes at the account that its password was exposed; with expire it must be changed at the next login.
	Mark func(ctx context.Context, who *op.Identity, expire bool) error
}

// exposure is a password that was sent in clear text.
type exposure struct {
	conn       *op.Conn
	source     uint64
	sourceName string
	name, norm string
	password   []byte
}

// Bounds of what is verified aside. Strangers can send what they like: it costs a hash a second, at most, behind all others.
const (
	asideQueue     = 32
	asidePerSource = 4
	asideEvery     = time.Second
	// asideAgain is how long the same password of the same account is not verified again, in milliseconds.
	asideAgain = 3600 * 1000
	asideSets  = 128
)

// Exposed implements op.Alarm. The event is told at once; whether the password is right is found out later, off the connection.
func (g *Guard) Exposed(req *op.Request, name, norm string, password []byte) {
	p := g.policy.Load()
	c := g.clientOf(req.Conn, p)
	x := &exposure{conn: req.Conn, source: c.source, sourceName: c.sourceName(), name: name, norm: norm}
	now := g.now()
	g.mu.Lock()
	g.stats.Exposed++
	key := mix(g.mac(domainAccount, norm), uint64(g.fingerprint(password)))
	queued := 0
	for _, other := range g.aside {
		if other.source == x.source {
			queued++
		}
	}
	if !g.asideKnown.has(key, now, asideAgain) && len(g.aside) < asideQueue && queued < asidePerSource && g.asideWake != nil {
		g.asideKnown.add(key, now)
		x.password = slices.Clone(password)
		g.aside = append(g.aside, x)
		select {
		case g.asideWake <- struct{}{}:
		default:
		}
	}
	g.mu.Unlock()
	g.tell(Event{What: "exposed", Subject: name, Conn: req.Conn})
}

// Run verifies exposed passwords until the returned function is called.
func (g *Guard) Run(a Aside) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	wake := make(chan struct{}, 1)
	g.mu.Lock()
	g.asideWake = wake
	g.mu.Unlock()
	go func() {
		defer close(ended)
		for {
			select {
			case <-wake:
			case <-ctx.Done():
				return
			}
			for x := g.nextAside(); x != nil; x = g.nextAside() {
				g.verify(ctx, a, x)
				if g.o.Wait(ctx, asideEvery) != nil {
					return
				}
			}
		}
	}()
	return func() {
		cancel()
		<-ended
		g.mu.Lock()
		g.asideWake, g.aside = nil, nil
		g.mu.Unlock()
	}
}

func (g *Guard) nextAside() *exposure {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.aside) == 0 {
		return nil
	}
	x := g.aside[0]
	g.aside = g.aside[1:]
	return x
}

func (g *Guard) verify(ctx context.Context, a Aside, x *exposure) {
	who, err := a.Verify(ctx, x.sourceName, x.norm, x.password)
	clear(x.password)
	if err != nil {
		if ctx.Err() == nil {
			g.o.Log.Warn("a password that was sent in clear text could not be verified", "name", x.name, "error", err)
		}
		return
	}
	if who == nil {
		return // a wrong one says nothing about the account
	}
	g.mu.Lock()
	g.stats.ExposedRight++
	g.mu.Unlock()
	g.tell(Event{What: "exposed-right", Subject: who.Name.DN, Conn: x.conn})
	if who.Entry == 0 {
		return // the administrator, whose password is in a file
	}
	if err := a.Mark(ctx, who, g.policy.Load().ExpireExposed); err != nil && ctx.Err() == nil {
		g.o.Log.Warn("an account could not be marked whose password was sent in clear text", "name", who.Name.DN, "error", err)
	}
}

// tell passes an event on.
func (g *Guard) tell(e Event) {
	if f := g.event.Load(); f != nil {
		(*f)(e)
	}
}
