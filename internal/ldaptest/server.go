// Package ldaptest gives tests a whole server in their own process: store in memory, engine, sessions on a loopback
// socket. What speaks to it is up to the test.
package ldaptest

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"portolan/internal/app"
	"portolan/internal/config"
	"portolan/internal/kv"
	"portolan/internal/kv/memkv"
	"portolan/internal/op"
	"portolan/internal/session"
	"portolan/internal/store"
	"portolan/ldap"
	"portolan/ldif"
)

// Suffix, AdminDN and AdminPassword are those of every test server.
const (
	Suffix        = "dc=example,dc=org"
	AdminDN       = "cn=admin,dc=example,dc=org"
	AdminPassword = "admin-secret"
)

// Server is a running test server.
type Server struct {
	*app.Directory
	Addr string
	// Secure is the address of the listener that begins with TLS; empty without Options.TLS.
	Secure string
	// Handler is what sessions call; a test may wrap it before the first connection.
	Handler op.Handler

	clock    Clock
	options  Options
	pauses   pauses
	conns    connections
	stopped  sync.Once
	close    []net.Listener
	sessions sync.WaitGroup
	next     atomic.Uint64
	hold     *holder
}

// Options say what server a test wants.
type Options struct {
	// Config is added to the configuration, in TOML.
	Config string
	// LDIF is added as the administrator would, entry by entry.
	LDIF string
	// TLS, where not nil, is for StartTLS and for a second listener.
	TLS *tls.Config
	// Authority, where not nil, signs the server's certificate, which TLS is then made of, and those of the clients in a
	// dialogue.
	Authority *Authority
	// Afar makes the server take its clients for others than this host's.
	Afar bool
	// Addr is where to listen, such as where a server before listened; empty is any port.
	Addr string
	// Log takes the server's log; nil drops it.
	Log *slog.Logger
	// KV is where the data is kept, for a server that goes on where another has ended; nil is a new one in memory.
	KV kv.DB
}

// Clock returns the server's clock.
func (s *Server) Clock() *Clock { return &s.clock }

// Start runs a server until the end of the test.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	c, err := configuration(o.Config)
	if err != nil {
		t.Fatal(err)
	}
	if o.KV == nil {
		o.KV = memkv.New(store.Merger())
	}
	if o.Authority != nil {
		o.TLS = o.Authority.Server()
	}
	s := &Server{hold: newHolder(), options: o}
	d, err := app.Open(c, app.OpenOptions{KV: o.KV, Version: "test", Now: s.clock.Now, Wait: s.clock.Wait, Pause: s.pauses.wait, Alarm: s.clock.Alarm, Log: o.Log})
	if err != nil {
		t.Fatal(err)
	}
	s.Directory = d
	if err := d.SetAdminPassword([]byte(AdminPassword)); err != nil {
		t.Fatal(err)
	}
	s.Handler = s.hold.wrap(causes(t, d.Engine))
	s.Load(t, o.LDIF)
	listen := func(addr string, secure bool) string {
		if addr == "" {
			addr = "127.0.0.1:0"
		}
		l, err := net.Listen("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		s.close = append(s.close, l)
		go s.accept(l, secure)
		return l.Addr().String()
	}
	s.Addr = listen(o.Addr, false)
	if o.TLS != nil {
		s.Secure = listen("", true)
	}
	t.Cleanup(func() { s.Stop(t) })
	if err := d.Replicate(); err != nil {
		t.Fatal(err)
	}
	return s
}

// configuration is that of every test server, and what a test adds. The guard is off unless a test says something of it: tests
// are full of wrong passwords.
func configuration(more string) (*config.Config, error) {
	if !strings.Contains(more, "[guard]") {
		more += "\n[guard]\nenabled = false\n"
	}
	scram := "[sasl]\nscram_iterations = 4096\n"
	if strings.Contains(more, "[sasl]") {
		scram = ""
	}
	return config.Parse("test.toml", []byte("data_dir = \"unused\"\n[directory]\nsuffix = \""+Suffix+"\"\nadmin_dn = \""+AdminDN+"\"\n"+
		"[password.argon2]\nmemory = \"8MiB\"\ntime = 1\n"+scram+more))
}

// Reconfigure replaces what Options.Config added, as a reload of the file does.
func (s *Server) Reconfigure(t testing.TB, more string) {
	t.Helper()
	c, err := configuration(more)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Directory.Reload(c); err != nil {
		t.Fatal(err)
	}
}

// Crash ends the server, once the clients have gone, and returns what another one finds of its data.
func (s *Server) Crash(t testing.TB) kv.DB {
	t.Helper()
	s.Stop(t)
	return s.options.KV.(*memkv.DB).Crash()
}

// PowerCut ends the server as a power cut does, and returns what another one finds of its data: what was durable.
func (s *Server) PowerCut() kv.DB {
	left := s.options.KV.(*memkv.DB).Crash()
	s.stopped.Do(func() {
		for _, l := range s.close {
			l.Close()
		}
		s.sessions.Wait()
		_ = s.Directory.Close() // there is nothing left to close
	})
	return left
}

// Stop ends the server, once the clients have gone.
func (s *Server) Stop(t testing.TB) {
	t.Helper()
	s.stopped.Do(func() {
		for _, l := range s.close {
			l.Close()
		}
		s.sessions.Wait()
		if err := s.Directory.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
}

// causes logs why an answer was other (80): the client is not told, and a test must never be in the dark.
func causes(t testing.TB, next op.Handler) op.Handler {
	return op.HandlerFunc(func(ctx context.Context, req *op.Request, w op.Writer) error {
		err := next.Serve(ctx, req, w)
		if e := ldap.AsError(err); e != nil && e.Code == ldap.Other && ctx.Err() == nil {
			t.Logf("conn %d, message %d, %T: %v", req.Conn.ID, req.ID, req.Op, e)
		}
		return err
	})
}

// limits are those of a server, but that a bind waits for nothing: dialogues look at what becomes of outstanding operations.
var limits = session.Limits{BindGrace: -1}

func (s *Server) accept(l net.Listener, secure bool) {
	for {
		nc, err := l.Accept()
		if err != nil {
			return
		}
		s.serve(nc, &op.Conn{
			Listener: "ldap://" + l.Addr().String(), Transport: op.TCP, Loopback: !s.options.Afar,
			Local: addrOf(nc.LocalAddr()), Remote: addrOf(nc.RemoteAddr()),
		}, secure)
	}
}

// serve begins a session on a connection.
func (s *Server) serve(nc net.Conn, conn *op.Conn, secure bool) {
	s.sessions.Add(1)
	conn.ID = s.next.Add(1)
	s.conns.add(nc)
	cfg := &session.Config{Handler: s.Handler, Limits: limits}
	if s.options.TLS != nil {
		cfg.TLS = func() *tls.Config { return s.options.TLS }
	}
	ss := session.New(nc, conn, cfg, session.Options{TLS: secure, Ended: func() {
		s.conns.remove(nc)
		s.sessions.Done()
	}})
	go ss.Run()
}

// DialUnix returns a connection that the server takes for one of a Unix socket, from a process of this user.
func (s *Server) DialUnix(uid, gid int) (net.Conn, error) {
	// Two ends of TCP and not of a pipe, which cannot be closed by halves.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		return nil, err
	}
	server, err := l.Accept()
	if err != nil {
		client.Close()
		return nil, err
	}
	s.serve(server, &op.Conn{Listener: "ldapi://", Transport: op.Unix, Loopback: true, Peer: &op.PeerCred{UID: uid, GID: gid}}, false)
	return client, nil
}

func addrOf(a net.Addr) netip.AddrPort {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.AddrPort()
	}
	return netip.AddrPort{}
}

// Load adds the entries of an LDIF text as the administrator.
func (s *Server) Load(t testing.TB, text string) {
	t.Helper()
	r := ldif.NewReader(strings.NewReader(text), ldif.Options{})
	for {
		rec, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		m := &ldap.AddRequest{Entry: []byte(rec.DN)}
		for _, a := range rec.Attributes {
			m.Attributes = append(m.Attributes, ldap.Attribute{Type: []byte(a.Name), Values: a.Values})
		}
		if err := s.As(AdminDN, m); err != nil {
			t.Fatalf("%s: %v", rec.DN, err)
		}
	}
}

// As performs one operation without a connection, as the administrator or an entry.
func (s *Server) As(dn string, m ldap.Op) error {
	id, err := s.Engine.IdentifyDN(dn, "internal")
	if err != nil {
		return err
	}
	req := &op.Request{Conn: &op.Conn{Transport: op.Unix, Loopback: true}, ID: 1, Op: m, Identity: id}
	return s.Engine.Serve(context.Background(), req, nil)
}
