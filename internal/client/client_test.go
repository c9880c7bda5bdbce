package client

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"portolan/ldap"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is the other end of a connection, driven by the test.
type server struct {
	t  *testing.T
	nc net.Conn
	r  *bufio.Reader
}

// dialogue runs a client against a script; the script runs on its own goroutine and is waited for.
func dialogue(t *testing.T, script func(s *server)) *Conn {
	t.Helper()
	here, there := net.Pipe()
	return converse(t, here, there, script)
}

func converse(t *testing.T, here, there net.Conn, script func(s *server)) *Conn {
	s := &server{t: t, nc: there, r: bufio.NewReader(there)}
	var done sync.WaitGroup
	done.Go(func() {
		script(s)
		there.Close()
	})
	c := New(here, Options{})
	t.Cleanup(func() {
		c.Close()
		done.Wait()
		there.Close()
	})
	return c
}

// expect reads a request; nil at the end of the connection.
func (s *server) expect() *ldap.Message {
	f, err := readFrame(s.r, DefaultMaxMessage)
	if err != nil {
		return nil
	}
	m, err := ldap.Decode(f.b)
	if err != nil {
		s.t.Errorf("the client has sent %x: %v", f.b, err)
		return nil
	}
	return &m
}

func (s *server) say(id int32, op ldap.Op, controls ...ldap.Control) {
	s.raw(ldap.AppendMessage(nil, id, op, controls))
}

func (s *server) raw(b []byte) { _, _ = s.nc.Write(b) } // the client may have gone: that is some tests' purpose

func ok() ldap.Result { return ldap.Result{Code: ldap.Success} }

func entry(name string) *ldap.SearchResultEntry {
	return &ldap.SearchResultEntry{Name: []byte(name), Attributes: []ldap.Attribute{{Type: []byte("cn"), Values: [][]byte{[]byte(name)}}}}
}

func filter(t *testing.T, text string) ldap.Filter {
	t.Helper()
	f, err := ldap.ParseFilter(text)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func everything(t *testing.T) *ldap.SearchRequest {
	return &ldap.SearchRequest{Base: []byte("dc=x"), Scope: ldap.ScopeSub, Filter: filter(t, "(objectClass=*)")}
}

// TestRequests sends one of each operation and compares what arrives.
func TestRequests(t *testing.T) {
	up := "dc=y"
	tests := []struct {
		name  string
		call  func(ctx context.Context, c *Conn) error
		want  ldap.Op
		reply ldap.Op
	}{
		{"bind", func(ctx context.Context, c *Conn) error { _, err := c.Bind(ctx, "cn=a", "secret"); return err },
			&ldap.BindRequest{Version: 3, Name: []byte("cn=a"), Password: []byte("secret")}, &ldap.BindResponse{}},
		{"external", func(ctx context.Context, c *Conn) error { _, err := c.BindExternal(ctx, ""); return err },
			&ldap.BindRequest{Version: 3, Auth: ldap.AuthSASL, Mechanism: []byte("EXTERNAL"), HasCreds: true}, &ldap.BindResponse{}},
		{"add", func(ctx context.Context, c *Conn) error {
			_, err := c.Add(ctx, "cn=a", entry("v").Attributes)
			return err
		},
			&ldap.AddRequest{Entry: []byte("cn=a"), Attributes: entry("v").Attributes}, &ldap.AddResponse{}},
		{"delete", func(ctx context.Context, c *Conn) error { _, err := c.Delete(ctx, "cn=a"); return err },
			&ldap.DelRequest{Entry: []byte("cn=a")}, &ldap.DelResponse{}},
		{"modify", func(ctx context.Context, c *Conn) error {
			_, err := c.Modify(ctx, "cn=a", []ldap.Mod{{Op: ldap.ModReplace, Attribute: entry("v").Attributes[0]}})
			return err
		}, &ldap.ModifyRequest{Object: []byte("cn=a"), Changes: []ldap.Mod{{Op: ldap.ModReplace, Attribute: entry("v").Attributes[0]}}}, &ldap.ModifyResponse{}},
		{"rename", func(ctx context.Context, c *Conn) error {
			_, err := c.ModifyDN(ctx, "cn=a", "cn=b", true, nil)
			return err
		},
			&ldap.ModifyDNRequest{Entry: []byte("cn=a"), NewRDN: []byte("cn=b"), DeleteOldRDN: true}, &ldap.ModifyDNResponse{}},
		{"move", func(ctx context.Context, c *Conn) error {
			_, err := c.ModifyDN(ctx, "cn=a", "cn=b", false, &up)
			return err
		},
			&ldap.ModifyDNRequest{Entry: []byte("cn=a"), NewRDN: []byte("cn=b"), NewSuperior: []byte(up), HasNewSuperior: true}, &ldap.ModifyDNResponse{}},
		{"extended", func(ctx context.Context, c *Conn) error {
			_, err := c.Extended(ctx, "1.2.3", []byte("v"), nil)
			return err
		},
			&ldap.ExtendedRequest{Name: []byte("1.2.3"), Value: []byte("v"), HasValue: true}, &ldap.ExtendedResponse{}},
		{"extended without value", func(ctx context.Context, c *Conn) error { _, err := c.Extended(ctx, "1.2.3", nil, nil); return err },
			&ldap.ExtendedRequest{Name: []byte("1.2.3")}, &ldap.ExtendedResponse{}},
		{"search", func(ctx context.Context, c *Conn) error {
			_, err := c.Search(ctx, everything(t), Results{})
			return err
		},
			everything(t), &ldap.SearchResultDone{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := dialogue(t, func(s *server) {
				m := s.expect()
				if m == nil {
					t.Error("nothing was sent")
					return
				}
				if got, want := ldap.AppendMessage(nil, 1, m.Op, nil), ldap.AppendMessage(nil, 1, tt.want, nil); !bytes.Equal(got, want) {
					t.Errorf("sent %x, want %x", got, want)
				}
				s.say(m.ID, tt.reply)
			})
			if err := tt.call(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestResultsAreErrors(t *testing.T) {
	refused := ldap.Result{Code: ldap.NoSuchObject, MatchedDN: "dc=x", Diagnostic: "not here"}
	c := dialogue(t, func(s *server) {
		m := s.expect()
		s.say(m.ID, &ldap.DelResponse{Result: refused}, ldap.Control{OID: []byte("1.2.3"), Value: []byte("v"), HasValue: true})
		m = s.expect()
		s.say(m.ID, &ldap.CompareResponse{Result: ldap.Result{Code: ldap.CompareFalse}})
		m = s.expect()
		s.say(m.ID, &ldap.CompareResponse{Result: ldap.Result{Code: ldap.CompareTrue}})
		m = s.expect()
		s.say(m.ID, &ldap.CompareResponse{Result: ldap.Result{Code: ldap.Success}})
	})
	r, err := c.Delete(t.Context(), "cn=a,dc=x")
	var e *ldap.Error
	if !errors.As(err, &e) || e.Code != ldap.NoSuchObject || e.MatchedDN != "dc=x" || e.Diagnostic != "not here" {
		t.Fatalf("got %v", err)
	}
	if r == nil || len(r.Controls) != 1 || string(r.Controls[0].Value) != "v" {
		t.Fatalf("the response is not there beside the error: %+v", r)
	}
	for _, want := range []bool{false, true} {
		if got, err := c.Compare(t.Context(), "cn=a", "cn", []byte("a")); err != nil || got != want {
			t.Fatalf("compare: %v, %v; want %v", got, err, want)
		}
	}
	if _, err := c.Compare(t.Context(), "cn=a", "cn", []byte("a")); err == nil {
		t.Fatal("success is no answer to compare")
	}
}

func TestUnauthenticatedBindIsNotSent(t *testing.T) {
	c := dialogue(t, func(s *server) {
		if m := s.expect(); m != nil {
			t.Errorf("sent %T", m.Op)
		}
	})
	if _, err := c.Bind(t.Context(), "cn=a", ""); err == nil {
		t.Fatal("a name without a password was accepted")
	}
}

// TestConcurrentSearches interleaves the answers of two searches.
func TestConcurrentSearches(t *testing.T) {
	c := dialogue(t, func(s *server) {
		a, b := s.expect(), s.expect()
		if a == nil || b == nil {
			t.Error("two requests were expected before any answer")
			return
		}
		if string(a.Op.(*ldap.SearchRequest).Base) != "a" {
			a, b = b, a
		}
		s.say(b.ID, entry(string(b.Op.(*ldap.SearchRequest).Base)+"1"))
		s.say(a.ID, entry(string(a.Op.(*ldap.SearchRequest).Base)+"1"))
		s.say(b.ID, &ldap.SearchResultReference{URIs: []string{"ldap://elsewhere"}})
		s.say(b.ID, &ldap.SearchResultDone{Result: ok()})
		s.say(a.ID, entry(string(a.Op.(*ldap.SearchRequest).Base)+"2"))
		s.say(a.ID, &ldap.SearchResultDone{Result: ok()})
	})
	var wait sync.WaitGroup
	for _, base := range []string{"a", "b"} {
		wait.Go(func() {
			req := everything(t)
			req.Base = []byte(base)
			var got, refs []string
			_, err := c.Search(t.Context(), req, Results{
				Entry: func(e *ldap.SearchResultEntry, _ []ldap.Control) error {
					got = append(got, string(e.Name))
					return nil
				},
				Reference: func(uris []string) error {
					refs = append(refs, uris...)
					return nil
				},
			})
			if err != nil {
				t.Error(err)
			}
			want := map[string]string{"a": "a1 a2", "b": "b1"}[base]
			if strings.Join(got, " ") != want || (len(refs) == 1) != (base == "b") {
				t.Errorf("search %s: entries %q, references %q", base, got, refs)
			}
		})
	}
	wait.Wait()
}

// TestCancelAbandons: the operation ends at once, the server is told, and the connection goes on.
func TestCancelAbandons(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c := dialogue(t, func(s *server) {
		search := s.expect()
		cancel()
		var del *ldap.Message
		abandoned := false
		for range 2 {
			switch m := s.expect(); p := m.Op.(type) {
			case *ldap.AbandonRequest:
				abandoned = p.ID == search.ID
			case *ldap.DelRequest:
				del = m
			}
		}
		if !abandoned || del == nil {
			t.Errorf("abandoned: %v, next request: %v", abandoned, del)
			return
		}
		// A server may answer all the same.
		s.say(search.ID, entry("late"))
		s.say(search.ID, &ldap.SearchResultDone{Result: ok()})
		s.say(del.ID, &ldap.DelResponse{Result: ok()})
	})
	if _, err := c.Search(ctx, everything(t), Results{}); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	if _, err := c.Delete(t.Context(), "cn=a"); err != nil {
		t.Fatalf("the connection did not survive: %v", err)
	}
}

func TestCallbackErrorAbandons(t *testing.T) {
	c := dialogue(t, func(s *server) {
		m := s.expect()
		s.say(m.ID, entry("a"))
		if m = s.expect(); m != nil {
			if _, isAbandon := m.Op.(*ldap.AbandonRequest); !isAbandon {
				t.Errorf("got %T", m.Op)
			}
		}
	})
	enough := errors.New("enough")
	_, err := c.Search(t.Context(), everything(t), Results{Entry: func(*ldap.SearchResultEntry, []ldap.Control) error { return enough }})
	if !errors.Is(err, enough) {
		t.Fatalf("got %v", err)
	}
}

func TestCancelledBindEndsTheConnection(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c := dialogue(t, func(s *server) {
		s.expect()
		cancel()
		if m := s.expect(); m != nil {
			t.Errorf("sent %T", m.Op)
		}
	})
	if _, err := c.Bind(ctx, "cn=a", "x"); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	if _, err := c.Delete(t.Context(), "cn=a"); err == nil {
		t.Fatal("the connection is still used")
	}
}

// TestStuckServer: a server that stops reading in the middle of a request does not hold a caller with a context.
func TestStuckServer(t *testing.T) {
	here, there := net.Pipe()
	defer there.Close()
	c := New(here, Options{})
	defer c.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		_, _ = there.Read(make([]byte, 1))
		cancel()
	}()
	if _, err := c.Delete(ctx, "cn=a"); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	if err := c.Err(); err == nil {
		t.Fatal("half a message was sent, and the connection goes on")
	}
}

func TestUnbind(t *testing.T) {
	got := make(chan ldap.Op, 1)
	c := dialogue(t, func(s *server) {
		if m := s.expect(); m != nil {
			got <- m.Op
		}
		close(got)
	})
	if err := c.Unbind(); err != nil {
		t.Fatal(err)
	}
	if op := <-got; op == nil || op.Tag() != ldap.TagUnbindRequest {
		t.Fatalf("got %v", op)
	}
	if _, err := c.Delete(t.Context(), "cn=a"); !errors.Is(err, ErrClosed) {
		t.Fatalf("got %v", err)
	}
}

func TestExtendedIntermediate(t *testing.T) {
	c := dialogue(t, func(s *server) {
		m := s.expect()
		for _, v := range []string{"one", "two"} {
			s.say(m.ID, &ldap.IntermediateResponse{Name: "1.2.3", Value: []byte(v), HasValue: true})
		}
		s.say(m.ID, &ldap.ExtendedResponse{Result: ok(), Name: "1.2.3", Value: []byte("end"), HasValue: true})
	})
	var got []string
	r, err := c.Extended(t.Context(), "1.2.3", nil, func(name string, value []byte) error {
		got = append(got, name+" "+string(value))
		return nil
	})
	if err != nil || string(r.Value) != "end" || strings.Join(got, ",") != "1.2.3 one,1.2.3 two" {
		t.Fatalf("got %q, %+v, %v", got, r, err)
	}
}

// TestLargeMessages sends entries that are beyond what is queued.
func TestLargeMessages(t *testing.T) {
	value := bytes.Repeat([]byte("x"), 5*smallFrame)
	const n = 2 * queued
	c := dialogue(t, func(s *server) {
		m := s.expect()
		for range n {
			e := entry("big")
			e.Attributes[0].Values = [][]byte{value}
			s.say(m.ID, e)
		}
		s.say(m.ID, &ldap.SearchResultDone{Result: ok()})
	})
	got := 0
	_, err := c.Search(t.Context(), everything(t), Results{Entry: func(e *ldap.SearchResultEntry, _ []ldap.Control) error {
		if bytes.Equal(e.Attributes[0].Values[0], value) {
			got++
		}
		return nil
	}})
	if err != nil || got != n {
		t.Fatalf("%d of %d whole entries, %v", got, n, err)
	}
}

// TestHostileServers: each answer ends the connection with an error that says what is wrong.
func TestHostileServers(t *testing.T) {
	tests := []struct {
		name, want string
		answer     func(s *server, id int32)
	}{
		{"silence", "closed the connection", func(s *server, _ int32) {}},
		{"no LDAP", "does not speak LDAP", func(s *server, _ int32) { s.raw([]byte("HTTP/1.1 400 Bad Request\r\n")) }},
		{"huge", "more than", func(s *server, _ int32) { s.raw([]byte{0x30, 0x84, 0x7f, 0xff, 0xff, 0xff}) }},
		{"torn", "unexpected EOF", func(s *server, _ int32) { s.raw([]byte{0x30, 0x84, 0x00, 0x10, 0x00, 0x00, 0x02, 0x01, 0x01}) }},
		{"no ID", "no message ID", func(s *server, _ int32) { s.raw([]byte{0x30, 0x02, 0x04, 0x00}) }},
		{"never asked", "never sent", func(s *server, id int32) { s.say(id+7, &ldap.DelResponse{}) }},
		{"wrong response", "tag", func(s *server, id int32) { s.say(id, &ldap.AddResponse{}) }},
		{"entry for a delete", "tag", func(s *server, id int32) { s.say(id, entry("a")) }},
		{"request", "tag", func(s *server, id int32) { s.say(id, &ldap.DelRequest{Entry: []byte("a")}) }},
		{"malformed", "as it should", func(s *server, id int32) { s.raw([]byte{0x30, 0x05, 0x02, 0x01, byte(id), 0x6b, 0x00}) }},
		{"unknown notice", "closed the connection", func(s *server, _ int32) { s.say(0, &ldap.ExtendedResponse{Name: "1.2.3"}) }},
		{"notice", "has ended the connection: unavailable", func(s *server, _ int32) {
			s.say(0, &ldap.ExtendedResponse{Result: ldap.Result{Code: ldap.Unavailable}, Name: oidNotice})
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := dialogue(t, func(s *server) {
				if m := s.expect(); m != nil {
					tt.answer(s, m.ID)
				}
				s.nc.Close()
			})
			_, err := c.Delete(t.Context(), "cn=a")
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v, want ...%s...", err, tt.want)
			}
			<-c.Done()
		})
	}
}

func certificate(t *testing.T, name string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// TestDial goes over real sockets: clear, ldaps, StartTLS and ldapi.
func TestDial(t *testing.T) {
	cert, pool := certificate(t, "ldap.test")
	conf := &tls.Config{Certificates: []tls.Certificate{cert}}
	trust := &tls.Config{RootCAs: pool, ServerName: "ldap.test"}
	answer := func(s *server) {
		if m := s.expect(); m != nil {
			s.say(m.ID, &ldap.DelResponse{})
		}
	}
	overTLS := func(s *server) {
		tc := tls.Server(s.nc, conf)
		answer(&server{t: s.t, nc: tc, r: bufio.NewReader(tc)})
	}
	startTLS := func(result ldap.ResultCode, behind []byte) func(s *server) {
		return func(s *server) {
			m := s.expect()
			if m == nil {
				return
			}
			if x, ok := m.Op.(*ldap.ExtendedRequest); !ok || string(x.Name) != oidStartTLS || x.HasValue {
				s.t.Errorf("got %#v, want StartTLS", m.Op)
			}
			reply := ldap.AppendMessage(nil, m.ID, &ldap.ExtendedResponse{Result: ldap.Result{Code: result}}, nil)
			s.raw(append(reply, behind...))
			if result == ldap.Success && behind == nil {
				overTLS(s)
			}
		}
	}
	tests := []struct {
		name, network, scheme string
		script                func(s *server)
		o                     Options
		want                  string
	}{
		{"clear", "tcp", "ldap", answer, Options{}, ""},
		{"unix", "unix", "ldapi", answer, Options{}, ""},
		{"ldaps", "tcp", "ldaps", overTLS, Options{TLS: trust}, ""},
		{"starttls", "tcp", "ldap", startTLS(ldap.Success, nil), Options{TLS: trust, StartTLS: true}, ""},
		{"starttls refused", "tcp", "ldap", startTLS(ldap.ProtocolError, nil), Options{TLS: trust, StartTLS: true}, "protocolError"},
		{"injection", "tcp", "ldap", startTLS(ldap.Success, ldap.AppendMessage(nil, 2, &ldap.BindResponse{}, nil)),
			Options{TLS: trust, StartTLS: true}, "clear text"},
		{"unknown authority", "tcp", "ldaps", overTLS, Options{TLS: &tls.Config{ServerName: "ldap.test", RootCAs: x509.NewCertPool()}}, "certificate"},
		{"wrong name", "tcp", "ldaps", overTLS, Options{TLS: &tls.Config{RootCAs: pool}}, "certificate"},
		{"starttls over ldaps", "tcp", "ldaps", overTLS, Options{TLS: trust, StartTLS: true}, "leave it out"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			address := "127.0.0.1:0"
			if tt.network == "unix" {
				address = filepath.Join(t.TempDir(), "s")
			}
			l, err := net.Listen(tt.network, address)
			if err != nil {
				t.Fatal(err)
			}
			var done sync.WaitGroup
			done.Go(func() {
				nc, err := l.Accept()
				if err != nil {
					return
				}
				defer nc.Close()
				tt.script(&server{t: t, nc: nc, r: bufio.NewReader(nc)})
				_, _ = io.Copy(io.Discard, nc) // until the client has gone
			})
			defer done.Wait()
			defer l.Close()
			url := tt.scheme + "://" + l.Addr().String()
			if tt.network == "unix" {
				url = SocketURL(address)
			}
			c, err := Dial(t.Context(), url, tt.o)
			if tt.want != "" {
				if err == nil {
					c.Close()
				}
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Fatalf("got %v, want ...%s...", err, tt.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, err := c.Delete(t.Context(), "cn=a"); err != nil {
				t.Fatal(err)
			}
			if (c.TLS() != nil) != (tt.o.TLS != nil) {
				t.Fatalf("TLS: %v", c.TLS())
			}
		})
	}
}

func TestParseTarget(t *testing.T) {
	tests := []struct{ url, network, address, want string }{
		{"ldap://host", "tcp", "host:389", ""},
		{"ldaps://host", "tcp", "host:636", ""},
		{"ldap://host:1389/dc=x", "tcp", "host:1389", ""},
		{"ldap://[::1]", "tcp", "[::1]:389", ""},
		{"ldap://[::1]:3890", "tcp", "[::1]:3890", ""},
		{"ldap://", "tcp", "localhost:389", ""},
		{"ldapi://%2Frun%2Fldapi", "unix", "/run/ldapi", ""},
		{"ldapi://", "", "", "name the socket"},
		{"cldap://host", "", "", "UDP"},
		{"http://host", "", "", "scheme"},
		{"host", "", "", "want ldap://"},
	}
	for _, tt := range tests {
		got, err := parseTarget(tt.url)
		if tt.want != "" {
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: got %v, want ...%s...", tt.url, err, tt.want)
			}
			continue
		}
		if err != nil || got.network != tt.network || got.address != tt.address {
			t.Errorf("%s: got %+v, %v", tt.url, got, err)
		}
	}
	if got, err := parseTarget(SocketURL("/a b/%c?d")); err != nil || got.address != "/a b/%c?d" {
		t.Errorf("a socket's URL leads to %q, %v", got.address, err)
	}
}
