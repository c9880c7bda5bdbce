package session

import (
	"context"
	"fmt"
	"io"
	"net"
	"runtime"
	"testing"

	"portolan/internal/op"
	"portolan/ldap"
)

var (
	benchEntry = ldap.AppendMessage(nil, 1, &ldap.SearchResultEntry{Name: []byte("cn=x"), Attributes: []ldap.Attribute{{Type: []byte("a"), Values: [][]byte{make([]byte, 600)}}}}, nil)
	inlineOnly = op.HandlerFunc(func(_ context.Context, _ *op.Request, w op.Writer) error {
		return w.End(append(w.Begin(), benchEntry...))
	})
)

// grouped is a handler whose operations end in groups, as durable writes do.
type grouped struct{ queue chan chan struct{} }

func newGrouped(b *testing.B) *grouped {
	g := &grouped{queue: make(chan chan struct{}, 64)}
	go func() {
		for first := range g.queue {
			group := []chan struct{}{first}
			for len(g.queue) > 0 {
				group = append(group, <-g.queue)
			}
			for _, c := range group {
				close(c)
			}
		}
	}()
	b.Cleanup(func() { close(g.queue) })
	return g
}

func (g *grouped) Serve(ctx context.Context, req *op.Request, w op.Writer) error {
	req.Detach(ctx)
	done := make(chan struct{})
	g.queue <- done
	<-done
	return w.End(append(w.Begin(), benchEntry...))
}

// BenchmarkSession is closed loop and pipelined, inline and detached. Inline operations must not allocate.
func BenchmarkSession(b *testing.B) {
	for _, bench := range []struct {
		name    string
		handler op.Handler
		depth   int
		answer  int
	}{
		{"inline", inlineOnly, 1, 0}, {"inline16", inlineOnly, 16, 0}, {"detached", newGrouped(b), 1, 0}, {"detached16", newGrouped(b), 16, 0},
	} {
		b.Run(bench.name, func(b *testing.B) {
			cfg := testConfig(bench.handler)
			c := connect(b, cfg)
			var frames []byte
			for i := range bench.depth {
				frames = append(frames, search(int32(i+1), "dc=x")...)
			}
			c.send(frames)
			size := 0
			for range bench.depth {
				for {
					m := c.next()
					size += len(m.Append(nil))
					if m.Op.Tag() == ldap.TagSearchResultDone {
						break
					}
				}
			}
			buf := make([]byte, size)
			b.ReportAllocs()
			for b.Loop() {
				c.Conn.Write(frames)
				if _, err := io.ReadFull(c.Conn, buf); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N*bench.depth)/b.Elapsed().Seconds(), "ops/s")
		})
	}
}

// BenchmarkIdle reports what 1,000 idle connections hold, both ends of the socket in this process; each was used once.
func BenchmarkIdle(b *testing.B) {
	for _, secure := range []bool{false, true} {
		b.Run(fmt.Sprintf("tls=%v", secure), func(b *testing.B) {
			const n = 1000
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			defer ln.Close()
			for b.Loop() {
				cfg := withTLS(testConfig(inlineOnly))
				before := memory()
				var all []*client
				for range n {
					near, err := net.Dial("tcp", ln.Addr().String())
					if err != nil {
						b.Fatal(err)
					}
					far, err := ln.Accept()
					if err != nil {
						b.Fatal(err)
					}
					c := attach(b, cfg, near, far)
					plain := c.Conn
					if secure {
						c.send(extended(1, oidStartTLS))
						c.expect("1" + started)
						c.secure()
					}
					c.send(search(1, "dc=x"))
					c.expect("1 entry", "1 done 0")
					c.buf, c.Conn = nil, plain
					all = append(all, c)
				}
				b.ReportMetric(float64(memory()-before)/n, "B/conn")
				for _, c := range all {
					c.Close()
					c.finished()
				}
			}
		})
	}
}

func memory() uint64 {
	for range 3 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}
