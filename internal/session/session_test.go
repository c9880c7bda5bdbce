package session

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/ldap"
)

const (
	noticeProtocol = "0 extended 2 ..."
	gone           = "end"
)

// TestDialogues sends octets in one write and compares all that comes back.
func TestDialogues(t *testing.T) {
	del := func(id int32, dn string) []byte { return request(id, &ldap.DelRequest{Entry: []byte(dn)}) }
	unbind := request(99, &ldap.UnbindRequest{})
	critical := ldap.Control{OID: []byte("1.2.3"), Critical: true}
	scope9 := search(5, "who")
	scope9[bytes.Index(scope9, []byte{0x0a, 1, 0})+2] = 9
	shortInner := search(5, "who")
	shortInner[len(shortInner)-1] = 9 // the attribute list says nine octets, and there are none
	deepBER := func() []byte {
		b := []byte{0x30, 0}
		for range 5000 {
			b = append(appendHeader(0xa0, len(b)), b...)
		}
		return request5(ldap.TagSearchRequest, b)
	}()

	tests := []struct {
		name string
		send []byte
		want []string
	}{
		{"search", search(1, "who"), []string{"1 done 0"}},
		{"entry", search(1, "entry"), []string{"1 entry", "1 done 0"}},
		{"every response type", join(
			bind(1, "", ""), search(2, "who"), request(3, &ldap.ModifyRequest{}), request(4, &ldap.AddRequest{}), del(5, "cn=x"),
			request(6, &ldap.ModifyDNRequest{}), request(7, &ldap.CompareRequest{}), extended(8, "1.2.3")),
			[]string{"1 bind 0", "2 done 0", "*", "*", "*", "*", "*", "*"}},
		{"extended with name and value", extended(8, "1.2.3"), []string{"8 extended 0 <1.2.3.4> [v]"}},
		{"unknown extended", extended(8, "9.9"), []string{"8 extended 2 unknown extended operation"}},
		{"an error is other and discloses nothing", search(1, "error"), []string{"1 done 80 internal error; the server's log says more"}},
		{"an ldap.Error is what it says", search(1, "typed-error"), []string{"1 done 32 gone"}},
		{"referral", search(1, "referral ldap://b/"), []string{"1 done 10 ldap://b/"}},
		{"referral to nowhere", search(1, "referral"), []string{"1 done 80 ..."}},
		{"outstanding counts the caller", search(1, "count"), []string{"1 done 0 1"}},
		{"after the response", search(1, "after"), []string{"1 done 0", "0 extended 0 <1.2.3.99>"}},
		{"messageID 0", search(0, "who"), []string{noticeProtocol, gone}},
		{"messageID 0 in abandon", abandon(0, 1), []string{noticeProtocol, gone}},
		{"messageID negative", []byte{0x30, 5, 2, 1, 0x80, 0x42, 0}, []string{noticeProtocol, gone}},
		{"messageID too large", []byte{0x30, 9, 2, 5, 1, 0, 0, 0, 0, 0x42, 0}, []string{noticeProtocol, gone}},
		{"largest messageID", search(ldap.MaxMessageID, "who"), []string{"2147483647 done 0"}},
		{"requests before garbage are answered", join(search(1, "who"), []byte("GET / HTTP/1.1\r\n\r\n")), []string{"1 done 0", noticeProtocol, gone}},
		{"garbage", []byte("GET / HTTP/1.1\r\n\r\n"), []string{noticeProtocol, gone}},
		{"TLS to the wrong port", []byte{0x16, 3, 1, 2, 0, 1}, []string{noticeProtocol, gone}},
		{"indefinite length", []byte{0x30, 0x80, 2, 1, 1, 0x42, 0, 0, 0}, []string{noticeProtocol, gone}},
		{"length of five octets", []byte{0x30, 0x85, 0, 0, 0, 0, 5}, []string{noticeProtocol, gone}},
		{"two gigabytes announced", []byte{0x30, 0x84, 0x7f, 0xff, 0xff, 0xff}, []string{noticeProtocol, gone}},
		{"one octet above the limit", []byte{0x30, 0x83, 1, 0, 0}, []string{noticeProtocol, gone}},
		{"empty envelope", []byte{0x30, 0}, []string{noticeProtocol, gone}},
		{"no protocolOp", []byte{0x30, 3, 2, 1, 1}, []string{noticeProtocol, gone}},
		{"protocolOp that is none", []byte{0x30, 5, 2, 1, 1, 0x7f, 0}, []string{noticeProtocol, gone}},
		{"protocolOp unknown", []byte{0x30, 5, 2, 1, 1, 0x5f, 0}, []string{noticeProtocol, gone}},
		{"a response for a request", request(1, &ldap.SearchResultDone{}), []string{noticeProtocol, gone}},
		{"an entry for a request", request(1, &ldap.SearchResultEntry{}), []string{noticeProtocol, gone}},
		{"malformed abandon", []byte{0x30, 5, 2, 1, 1, 0x50, 0}, []string{noticeProtocol, gone}},
		{"malformed unbind", []byte{0x30, 6, 2, 1, 1, 0x42, 1, 0}, []string{gone}},
		{"a field out of range is answered and the session goes on", join(scope9, search(6, "who")), []string{"5 done 2 ...", "6 done 0"}},
		{"broken encoding inside ends the session", join(shortInner, search(6, "who")), []string{noticeProtocol, gone}},
		{"encoding nested without end", deepBER, []string{noticeProtocol, gone}},
		{"malformed requests of all kinds get their response", join(
			request5(ldap.TagBindRequest, nil), request5(ldap.TagSearchRequest, nil), request5(ldap.TagModifyRequest, nil), request5(ldap.TagAddRequest, nil),
			request5(ldap.TagModifyDNRequest, nil), request5(ldap.TagCompareRequest, nil), request5(ldap.TagExtendedRequest, nil)),
			[]string{"5 bind 2 ...", "5 done 2 ...", "5 modify 2 ...", "5 add 2 ...", "5 modifydn 2 ...", "5 compare 2 ...", "5 extended 2 ..."}},
		{"malformed with messageID 0", []byte{0x30, 5, 2, 1, 0, 0x63, 0}, []string{noticeProtocol, gone}},
		{"unbind", join(search(1, "who"), unbind, search(2, "who")), []string{"1 done 0", gone}},
		{"abandon of itself, of nothing, of the past", join(search(1, "who"), abandon(2, 2), abandon(3, 77), abandon(4, 1), abandon(5, 0), search(6, "who")), []string{"1 done 0", "6 done 0"}},
		{"abandon with a critical control", join(request(1, &ldap.AbandonRequest{ID: 9}, critical), search(2, "who")), []string{"2 done 0"}},
		{"cancel of nothing", cancel(1, 9), []string{"1 extended 119 no operation with this message id is outstanding"}},
		{"cancel of itself", cancel(1, 1), []string{"1 extended 121 neither binds nor cancels can be cancelled"}},
		{"bind", join(bind(1, "cn=a", "secret"), search(2, "who")), []string{"1 bind 0", "2 done 0 cn=a"}},
		{"failed bind leaves anonymous", join(bind(1, "cn=a", "secret"), bind(2, "cn=b", "wrong"), search(3, "who")), []string{"1 bind 0", "2 bind 49 no", "3 done 0"}},
		{"LDAPv2", join(bind(1, "cn=a", "secret"), request(2, &ldap.BindRequest{Version: 2, Name: []byte("cn=a"), Password: []byte("secret")}), search(3, "who")), []string{"1 bind 0", "2 bind 2 ...", "3 done 0"}},
		{"malformed bind leaves anonymous", join(bind(4, "cn=a", "secret"), request5(ldap.TagBindRequest, nil), search(6, "who")), []string{"4 bind 0", "5 bind 2 ...", "6 done 0"}},
		{"SASL in steps", join(saslBind(1, "STEP"), saslBind(2, "STEP"), saslBind(3, "STEP"), search(4, "who")), []string{"1 bind 14 [step 1]", "2 bind 14 [step 2]", "3 bind 0", "4 done 0 cn=sasl"}},
		{"requests between SASL steps", join(saslBind(1, "STEP"), search(2, "who"), del(3, "x"), extended(4, oidStartTLSsafe), abandon(5, 1), saslBind(6, "STEP"), saslBind(7, "STEP")),
			[]string{"1 bind 14 [step 1]", "2 done 1 ...", "3 delete 1 ...", "4 extended 1 ...", "6 bind 14 [step 2]", "7 bind 0"}},
		{"another mechanism ends a SASL exchange", join(saslBind(1, "STEP"), saslBind(2, "OTHER"), saslBind(3, "STEP")), []string{"1 bind 14 [step 1]", "2 bind 7 no", "3 bind 14 [step 1]"}},
		{"a simple bind ends a SASL exchange", join(saslBind(1, "STEP"), bind(2, "cn=a", "secret"), saslBind(3, "STEP")), []string{"1 bind 14 [step 1]", "2 bind 0", "3 bind 14 [step 1]"}},
		{"a finished SASL exchange leaves nothing", join(saslBind(1, "STEP"), saslBind(2, "STEP"), saslBind(3, "STEP"), saslBind(4, "STEP")), []string{"1 bind 14 [step 1]", "2 bind 14 [step 2]", "3 bind 0", "4 bind 14 [step 1]"}},
		{"StartTLS without a certificate", join(extended(1, oidStartTLS)), []string{"1 extended 2 ..."}},
		{"panic", join(search(1, "who"), search(2, "panic"), search(3, "who")), []string{"1 done 0", "2 done 80 ...", gone}},
		{"panic with the output in hand", search(2, "panic-begin"), []string{"2 done 80 ...", gone}},
		{"panic in a detached operation", search(2, "panic-detached"), []string{"2 done 80 ...", gone}},
		{"a handler closes the connection", join(search(1, "close"), search(2, "who")), []string{"1 done 0", "0 extended 8 go away <1.3.6.1.4.1.1466.20036>", gone}},
	}
	for _, test := range tests {
		for _, piece := range []int{0, 1} {
			name := test.name
			if piece > 0 {
				name += ", octet by octet"
			}
			t.Run(name, func(t *testing.T) {
				c := connect(t, testConfig(newScript()))
				if piece == 0 {
					c.send(test.send)
				} else {
					go func() {
						for i := range test.send {
							if _, err := c.Write(test.send[i : i+1]); err != nil {
								return // the session has ended before all was sent, as some are to
							}
						}
					}()
				}
				for _, want := range test.want {
					if want == "*" {
						if c.next() == nil {
							t.Fatal("the session has ended")
						}
						continue
					}
					c.expect(want)
				}
			})
		}
	}
}

// oidStartTLSsafe is an extended operation that octets may follow.
const oidStartTLSsafe = "1.2.3"

// request5 is a request with messageID 5 and these contents.
func request5(tag byte, content []byte) []byte {
	body := append([]byte{2, 1, 5}, appendHeader(tag, len(content))...)
	body = append(body, content...)
	return append(appendHeader(0x30, len(body)), body...)
}

func appendHeader(tag byte, n int) []byte {
	if n < 0x80 {
		return []byte{tag, byte(n)}
	}
	return []byte{tag, 0x82, byte(n >> 8), byte(n)}
}

func TestNoticeNamesItself(t *testing.T) {
	c := connect(t, testConfig(newScript()))
	c.send([]byte{0x30, 0x80})
	m := c.next()
	p, ok := m.Op.(*ldap.ExtendedResponse)
	if !ok || m.ID != 0 || p.Name != "1.3.6.1.4.1.1466.20036" || p.Code != ldap.ProtocolError || p.Diagnostic == "" {
		t.Fatalf("got %s", describe(m))
	}
}

func TestPDULimits(t *testing.T) {
	cfg := testConfig(newScript())
	cfg.Limits.MaxPDUUnauthenticated, cfg.Limits.MaxPDU = 1000, 20000
	frame := func(id int32, size int) []byte {
		b := search(id, "who "+strings.Repeat("x", size))
		return search(id, "who "+strings.Repeat("x", size-(len(b)-size)))
	}
	t.Run("unauthenticated, at the limit", func(t *testing.T) {
		c := connect(t, cfg)
		c.send(frame(1, 1000))
		c.expect("1 done 0")
		c.send(frame(2, 1001)[:7])
		c.expect("0 extended 2 the message is longer than the 1000 octets that a client may send before it has authenticated...", gone)
	})
	t.Run("authenticated", func(t *testing.T) {
		c := connect(t, cfg)
		c.send(bind(1, "cn=a", "secret"), frame(2, 20000), frame(3, 19999), bind(4, "cn=a", "wrong"), frame(5, 2000))
		c.expect("1 bind 0", "2 done 0 cn=a", "3 done 0 cn=a", "4 bind 49 no", noticeProtocol, gone)
		if n := cfg.Stats.Read().TooBig; n != 2 {
			t.Errorf("%d messages counted as too big", n)
		}
	})
	t.Run("the limits of the identity", func(t *testing.T) {
		cfg := *cfg
		cfg.LimitsFor = func(id *op.Identity) Limits {
			l := cfg.Limits
			if id.Name.DN == "cn=small" {
				l.MaxPDU = 1500
			}
			return l
		}
		c := connect(t, &cfg)
		c.send(bind(1, "cn=a", "secret"), frame(2, 2000), bind(3, "cn=small", "secret"), frame(4, 1500), frame(5, 1501))
		c.expect("1 bind 0", "2 done 0 cn=a", "3 bind 0", "4 done 0 cn=small", noticeProtocol, gone)
	})
	t.Run("the limits of nobody, before a bind and after one that failed", func(t *testing.T) {
		cfg := *cfg
		cfg.LimitsFor = func(id *op.Identity) Limits {
			l := cfg.Limits
			if id.IsAnonymous() {
				l.MaxPDUUnauthenticated = 700
			}
			return l
		}
		c := connect(t, &cfg)
		c.send(frame(1, 700), frame(2, 701))
		c.expect("1 done 0", noticeProtocol, gone)
		c = connect(t, &cfg)
		c.send(bind(1, "cn=a", "secret"), frame(2, 2000), bind(3, "cn=a", "wrong"), frame(4, 701))
		c.expect("1 bind 0", "2 done 0 cn=a", "3 bind 49 no", noticeProtocol, gone)
	})
	t.Run("what was not read does not reset the connection", func(t *testing.T) {
		c := connect(t, cfg)
		c.send([]byte{0x30, 0x84, 0x7f, 0, 0, 0}, make([]byte, 10*inputSize))
		c.expect(noticeProtocol)
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("the stream ends with %v", err)
		}
	})
	t.Run("a notice survives what is still being sent", func(t *testing.T) {
		c := connect(t, cfg)
		go func() {
			c.Write([]byte{0x30, 0x84, 0x7f, 0, 0, 0})
			junk := make([]byte, 64<<10)
			for {
				if _, err := c.Write(junk); err != nil {
					return
				}
			}
		}()
		c.expect(noticeProtocol, gone)
	})
}

func TestPipelining(t *testing.T) {
	var frames, want = []byte(nil), []string(nil)
	for i := int32(1); i <= 500; i++ {
		frames = append(frames, search(i, "entry")...)
		want = append(want, fmt.Sprintf("%d entry", i), fmt.Sprintf("%d done 0", i))
	}
	cfg := testConfig(newScript())
	c := connect(t, cfg)
	c.send(frames)
	c.expect(want...)

	var writes []byte
	for i := int32(501); i <= 1000; i++ {
		writes = append(writes, request(i, &ldap.DelRequest{Entry: []byte("cn=x")})...)
	}
	cfg.Limits.BusyAfter = patience
	d := connect(t, cfg)
	d.send(writes)
	seen := map[int32]bool{}
	for range 500 {
		m := d.next()
		if p, ok := m.Op.(*ldap.DelResponse); !ok || p.Code != 0 || seen[m.ID] {
			t.Fatalf("got %s", describe(m))
		}
		seen[m.ID] = true
	}
	if n := cfg.Stats.Read().Detached; n != 500 {
		t.Errorf("%d detached", n)
	}
}

// countingConn counts writes.
type countingConn struct {
	net.Conn
	writes chan int
}

func (c *countingConn) Write(b []byte) (int, error) {
	c.writes <- len(b)
	return c.Conn.Write(b)
}

func TestOneWriteForAllThatWasRead(t *testing.T) {
	near, far := net.Pipe()
	counting := &countingConn{far, make(chan int, 1000)}
	c := attach(t, testConfig(newScript()), near, counting)
	var frames []byte
	for i := int32(1); i <= 40; i++ {
		frames = append(frames, search(i, "who")...)
	}
	if len(frames) >= inputSize {
		t.Fatalf("%d octets of requests do not fit one read", len(frames))
	}
	c.send(frames)
	for i := int32(1); i <= 40; i++ {
		c.expect(fmt.Sprintf("%d done 0", i))
	}
	if n := len(counting.writes); n != 1 {
		t.Errorf("%d writes for 40 responses", n)
	}
}

func TestDetach(t *testing.T) {
	t.Run("others are served meanwhile", func(t *testing.T) {
		h := newScript()
		c := connect(t, testConfig(h))
		c.send(search(1, "block a"), search(2, "count"), request(3, &ldap.DelRequest{}), search(4, "block b"), search(5, "count"))
		got := map[string]bool{}
		for range 3 {
			got[describe(c.next())] = true
		}
		if !got["2 done 0 2"] || !got["3 delete 0"] {
			t.Fatalf("got %v", got)
		}
		h.release("b")
		c.expect("4 done 0")
		h.release("a")
		c.expect("1 done 0")
	})
	t.Run("a frame of its own stays whole while others are read", func(t *testing.T) {
		h := newScript()
		cfg := testConfig(h)
		c := connect(t, cfg)
		name := strings.Repeat("n", 9000)
		c.send(search(1, "block "+name), search(2, "who"))
		c.expect("2 done 0")
		for i := int32(3); i < 50; i++ {
			c.send(search(i, "who"+strings.Repeat(" ", 5000)))
			c.expect(fmt.Sprintf("%d done 0", i))
		}
		h.release(name)
		c.expect("1 done 0")
	})
	t.Run("duplicate messageID", func(t *testing.T) {
		h := newScript()
		c := connect(t, testConfig(h))
		c.send(search(1, "block a"), search(1, "who"))
		c.expect(noticeProtocol, gone)
		if err := h.awaitEnd(t, "a"); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	t.Run("duplicate messageID, malformed", func(t *testing.T) {
		h := newScript()
		c := connect(t, testConfig(h))
		c.send(search(5, "block a"), request5(ldap.TagSearchRequest, nil))
		c.expect(noticeProtocol, gone)
	})
	t.Run("a messageID may be used again after its response", func(t *testing.T) {
		h := newScript()
		c := connect(t, testConfig(h))
		for range 200 {
			c.send(request(1, &ldap.DelRequest{}))
			c.expect("1 delete 0")
		}
	})
	t.Run("too many", func(t *testing.T) {
		h := newScript()
		cfg := testConfig(h)
		cfg.Limits.MaxOutstanding = 2
		c := connect(t, cfg)
		c.send(search(1, "block a"), search(2, "block b"), search(3, "who"))
		c.expect("3 done 51 ...")
		if cfg.Stats.Read().Busy != 1 {
			t.Error("not counted")
		}
	})
	t.Run("too many for a moment", func(t *testing.T) {
		h := newScript()
		cfg := testConfig(h)
		cfg.Limits.MaxOutstanding, cfg.Limits.BusyAfter = 1, patience
		c := connect(t, cfg)
		c.send(search(1, "block a"), search(2, "who"))
		h.awaitStart(t, "a")
		h.release("a")
		c.expect("1 done 0", "2 done 0")
	})
	t.Run("abandon makes room", func(t *testing.T) {
		h := newScript()
		cfg := testConfig(h)
		cfg.Limits.MaxOutstanding, cfg.Limits.BusyAfter = 2, patience
		c := connect(t, cfg)
		c.send(search(1, "block a"), search(2, "block b"), abandon(3, 1), search(4, "who"))
		c.expect("4 done 0")
	})
	t.Run("the end of the connection cancels", func(t *testing.T) {
		for _, how := range []string{"close", "unbind", "garbage", "abort"} {
			h := newScript()
			c := connect(t, testConfig(h))
			c.send(search(1, "block a"), search(2, "block b"))
			h.awaitStart(t, "a")
			h.awaitStart(t, "b")
			switch how {
			case "close":
				c.Close()
			case "unbind":
				c.send(request(3, &ldap.UnbindRequest{}))
			case "garbage":
				c.send([]byte("x"))
				c.expect(noticeProtocol, gone)
			case "abort":
				c.session.Abort()
			}
			for _, name := range []string{"a", "b"} {
				if err := h.awaitEnd(t, name); !errors.Is(err, context.Canceled) {
					t.Errorf("%s: %v", how, err)
				}
			}
			c.finished()
		}
	})
}

func TestAbandon(t *testing.T) {
	h := newScript()
	cfg := testConfig(h)
	c := connect(t, cfg)
	c.send(search(1, "block a"), search(2, "stubborn b"))
	h.awaitStart(t, "a")
	h.awaitStart(t, "b")
	c.send(abandon(3, 1), abandon(4, 2), abandon(5, 1), search(6, "count"))
	c.expect("6 done 0 ...")
	if err := h.awaitEnd(t, "a"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	// The message IDs are free, though one of the operations has not noticed yet.
	c.send(search(1, "who"), search(2, "who"))
	c.expect("1 done 0", "2 done 0")
	h.release("b")
	c.send(search(7, "stream s"))
	c.expect("7 entry")
	c.send(abandon(8, 7), search(9, "who"))
	c.expect("9 done 0")
	if err := h.awaitEnd(t, "s"); !errors.Is(err, context.Canceled) {
		t.Errorf("writing for an abandoned search: %v", err)
	}
	c.send(search(10, "who"))
	c.expect("10 done 0")
	if n := cfg.Stats.Read().Abandoned; n != 3 {
		t.Errorf("%d counted", n)
	}
}

func TestCancel(t *testing.T) {
	h := newScript()
	c := connect(t, testConfig(h))
	c.send(search(1, "block a"))
	h.awaitStart(t, "a")
	c.send(cancel(2, 1))
	got := map[string]bool{describe(c.next()): true, describe(c.next()): true}
	if !got["1 done 118 cancelled by the client"] || !got["2 extended 0"] {
		t.Fatalf("got %v", got)
	}
	// An operation that ends in its own way is not cancelled.
	h2 := newScript()
	d := connect(t, testConfig(&deaf{h2}))
	d.send(search(1, "block a"))
	h2.awaitStart(t, "a")
	d.send(cancel(2, 1))
	got = map[string]bool{describe(d.next()): true, describe(d.next()): true}
	if !got["1 done 0"] || !got["2 extended 120 the operation had ended already"] {
		t.Fatalf("got %v", got)
	}
	// The abandoned, the finished and other cancels cannot be cancelled.
	e := connect(t, testConfig(h2))
	e.send(search(1, "stubborn c"))
	h2.awaitStart(t, "c")
	e.send(cancel(2, 1))
	e.send(cancel(3, 2))
	got = map[string]bool{describe(e.next()): true}
	e.send(search(4, "who"))
	if !got["3 extended 121 neither binds nor cancels can be cancelled"] && !got["3 extended 119 no operation with this message id is outstanding"] {
		t.Fatalf("got %v", got)
	}
	// A cancel cannot be abandoned: its answer comes all the same (RFC 3909 section 3).
	e.send(abandon(5, 2))
	h2.release("c")
	got = map[string]bool{describe(e.next()): true, describe(e.next()): true, describe(e.next()): true}
	if !got["1 done 118 cancelled by the client"] || !got["2 extended 0"] || !got["4 done 0"] {
		t.Fatalf("got %v", got)
	}
}

// TestCancelOfAnothersOperation: an operation that is done as somebody else is not the client's to cancel (RFC 3909
// section 4), but as that identity it is.
func TestCancelOfAnothersOperation(t *testing.T) {
	h := newScript()
	c := connect(t, testConfig(&proxy{h}))
	c.send(search(1, "block a"))
	h.awaitStart(t, "a")
	c.send(cancel(2, 1))
	c.expect("2 extended 121 the operation is done as somebody else")
	h.release("a")
	c.expect("1 done 0")
}

// proxy serves searches as another identity.
type proxy struct{ *script }

func (p *proxy) Serve(ctx context.Context, req *op.Request, w op.Writer) error {
	if _, ok := req.Op.(*ldap.SearchRequest); ok {
		req.Identity = &op.Identity{Name: dit.Name{DN: "cn=other", Norm: "cn=other"}}
	}
	return p.script.Serve(ctx, req, w)
}

// deaf turns the error of a cancelled operation into success.
type deaf struct{ *script }

func (d *deaf) Serve(ctx context.Context, req *op.Request, w op.Writer) error {
	err := d.script.Serve(ctx, req, w)
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func TestBindOrder(t *testing.T) {
	t.Run("waits for what was asked before", func(t *testing.T) {
		h := newScript()
		c := connect(t, testConfig(h))
		c.send(search(1, "block a"), bind(2, "cn=a", "secret"), search(3, "who"))
		h.awaitStart(t, "a")
		h.release("a")
		c.expect("1 done 0", "2 bind 0", "3 done 0 cn=a")
	})
	t.Run("abandons what takes too long", func(t *testing.T) {
		h := newScript()
		cfg := testConfig(h)
		cfg.Limits.BindGrace = -1
		c := connect(t, cfg)
		c.send(search(1, "block a"), search(2, "block b"), bind(3, "cn=a", "secret"), search(4, "who"))
		c.expect("3 bind 0", "4 done 0 cn=a")
		if err := h.awaitEnd(t, "a"); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	t.Run("nothing is processed during a detached bind", func(t *testing.T) {
		h := newScript()
		c := connect(t, testConfig(h))
		c.send(bind(1, "block a", "secret"), search(2, "who"), abandon(3, 1), search(4, "who"))
		h.awaitStart(t, "a")
		h.release("a")
		c.expect("1 bind 0", "2 done 0 block a", "4 done 0 block a")
	})
	t.Run("responses before a detached bind are not held back by it", func(t *testing.T) {
		h := newScript()
		c := connect(t, testConfig(h))
		c.send(search(1, "who"), bind(2, "block a", "secret"))
		c.expect("1 done 0")
		h.release("a")
		c.expect("2 bind 0")
	})
	t.Run("a bind ends with its connection", func(t *testing.T) {
		h := newScript()
		c := connect(t, testConfig(h))
		c.send(bind(1, "block a", "secret"))
		h.awaitStart(t, "a")
		c.session.Abort()
		if err := h.awaitEnd(t, "a"); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		c.finished()
	})
}

// TestRebindMatrix rebinds from every state to every other, and looks for what may have outlived the bind.
func TestRebindMatrix(t *testing.T) {
	type step struct {
		name, who string
		frames    func(id int32) [][]byte
		answers   []string
	}
	one := func(f func(id int32) []byte) func(id int32) [][]byte {
		return func(id int32) [][]byte { return [][]byte{f(id)} }
	}
	steps := []step{
		{"anonymous", "", one(func(id int32) []byte { return bind(id, "", "") }), []string{"bind 0"}},
		{"cn=a", "cn=a", one(func(id int32) []byte { return bind(id, "cn=a", "secret") }), []string{"bind 0"}},
		{"cn=b", "cn=b", one(func(id int32) []byte { return bind(id, "cn=b", "secret") }), []string{"bind 0"}},
		{"wrong", "", one(func(id int32) []byte { return bind(id, "cn=a", "wrong") }), []string{"bind 49 no"}},
		{"malformed", "", one(func(id int32) []byte { return malformedBind(id) }), []string{"bind 2 ..."}},
		{"unknown mechanism", "", one(func(id int32) []byte { return saslBind(id, "OTHER") }), []string{"bind 7 no"}},
		{"SASL given up", "", func(id int32) [][]byte { return [][]byte{saslBind(id, "STEP"), bind(id+1, "", "")} }, []string{"bind 14 [step 1]", "bind 0"}},
		{"SASL", "cn=sasl", func(id int32) [][]byte {
			return [][]byte{saslBind(id, "STEP"), saslBind(id+1, "STEP"), saslBind(id+2, "STEP")}
		},
			[]string{"bind 14 [step 1]", "bind 14 [step 2]", "bind 0"}},
	}
	for _, from := range steps {
		for _, to := range steps {
			t.Run(from.name+" to "+to.name, func(t *testing.T) {
				c := connect(t, testConfig(newScript()))
				id := int32(1)
				for _, s := range []step{from, to} {
					for i, f := range s.frames(id) {
						c.send(f)
						c.expect(fmt.Sprintf("%d %s", id+int32(i), s.answers[i]))
					}
					id += 10
					c.send(search(id, "who"), search(id+1, "state"), search(id+2, "state"))
					who := fmt.Sprintf("%d done 0", id)
					if s.who != "" {
						who += " " + s.who
					}
					c.expect(who, fmt.Sprintf("%d done 0 new", id+1), fmt.Sprintf("%d done 0 old", id+2))
					id += 10
				}
			})
		}
	}
}

func malformedBind(id int32) []byte {
	b := request5(ldap.TagBindRequest, nil)
	b[4] = byte(id)
	return b
}

func TestSlowReader(t *testing.T) {
	t.Run("blocks only itself", func(t *testing.T) {
		cfg := testConfig(newScript())
		slow, other := connect(t, cfg), connect(t, cfg)
		const n = 20000
		slow.send(search(1, fmt.Sprintf("big %d", n)))
		for i := int32(1); i < 100; i++ {
			other.send(search(i, "who"))
			other.expect(fmt.Sprintf("%d done 0", i))
		}
		for range n {
			slow.expect("1 entry")
		}
		slow.expect("1 done 0")
	})
	t.Run("is disconnected in the end", func(t *testing.T) {
		for _, verb := range []string{"big", "dbig"} {
			cfg := testConfig(newScript())
			cfg.Limits.WriteTimeout = 20 * time.Millisecond
			c := connect(t, cfg)
			c.send(search(1, verb+" 100000"))
			if reason := c.finished(); !strings.HasPrefix(reason, "lost: ") {
				t.Error(reason)
			}
			if cfg.Stats.Read().WriteTimeouts == 0 {
				t.Error("not counted")
			}
		}
	})
	t.Run("of several detached searches", func(t *testing.T) {
		c := connect(t, testConfig(newScript()))
		var frames []byte
		for id := int32(1); id <= 20; id++ {
			frames = append(frames, search(id, "dbig 300")...)
		}
		c.send(frames)
		entries, done := map[int32]int{}, 0
		for done < 20 {
			m := c.next()
			switch m.Op.(type) {
			case *ldap.SearchResultEntry:
				entries[m.ID]++
			case *ldap.SearchResultDone:
				done++
				if entries[m.ID] != 300 {
					t.Errorf("search %d ended with %d entries", m.ID, entries[m.ID])
				}
			}
		}
	})
}

func TestTimeouts(t *testing.T) {
	tests := []struct {
		name   string
		limits Limits
		anon   bool
		send   []byte
		want   []string
		reason string
	}{
		{"idle from the start", Limits{IdleTimeout: time.Millisecond}, false, nil, nil, "idle for too long"},
		{"idle after work", Limits{IdleTimeout: 30 * time.Millisecond}, false, search(1, "who"), nil, "idle for too long"},
		{"half a request is idle", Limits{IdleTimeout: 30 * time.Millisecond}, false, search(1, "who")[:9], nil, "idle for too long"},
		{"no bind", Limits{BindTimeout: 30 * time.Millisecond, IdleTimeout: time.Hour}, false, search(1, "who"), nil, "not authenticated in time"},
		{"a failed bind is none", Limits{BindTimeout: 30 * time.Millisecond}, false, bind(1, "cn=a", "wrong"), nil, "not authenticated in time"},
		{"an anonymous bind is none", Limits{BindTimeout: 30 * time.Millisecond}, false, bind(1, "", ""), nil, "not authenticated in time"},
		{"a request will do where anonymous use is allowed", Limits{BindTimeout: time.Hour, IdleTimeout: 30 * time.Millisecond}, true, search(1, "who"), nil, "idle for too long"},
		{"after a bind the bind timeout is met", Limits{BindTimeout: 10 * time.Second, IdleTimeout: 30 * time.Millisecond}, false, bind(1, "cn=a", "secret"), nil, "idle for too long"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			cfg := testConfig(newScript())
			cfg.Limits, cfg.AnonymousUse = test.limits, test.anon
			c := connect(t, cfg)
			if test.send != nil {
				c.Write(test.send) // may be too late on a busy machine; the reason is the same
			}
			if got := c.finished(); got != test.reason {
				t.Errorf("ended because %q, want %q", got, test.reason)
			}
		})
	}
	t.Run("an outstanding operation is not idleness", func(t *testing.T) {
		h := newScript()
		cfg := testConfig(h)
		cfg.Limits.IdleTimeout = 5 * time.Millisecond
		clock := newClock()
		cfg.Now = clock.now
		c := connect(t, cfg)
		c.send(search(1, "block a"))
		h.awaitStart(t, "a")
		for range 5 {
			clock.add(time.Hour)
			clock.awaitReading(t)
		}
		h.release("a")
		c.expect("1 done 0")
	})
	t.Run("work puts idleness off", func(t *testing.T) {
		cfg := testConfig(newScript())
		cfg.Limits.IdleTimeout = time.Second
		clock := newClock()
		cfg.Now = clock.now
		c := connect(t, cfg)
		for i := int32(1); i < 20; i++ {
			clock.add(999 * time.Millisecond)
			c.send(search(i, "who"))
			c.expect(fmt.Sprintf("%d done 0", i))
		}
	})
}

func TestShutdown(t *testing.T) {
	const bye = "0 extended 52 the server is shutting down <1.3.6.1.4.1.1466.20036>"
	t.Run("idle", func(t *testing.T) {
		c := connect(t, testConfig(newScript()))
		c.send(search(1, "who"))
		c.expect("1 done 0")
		c.session.Shutdown()
		c.expect(bye, gone)
		c.finished()
	})
	t.Run("before the first octet", func(t *testing.T) {
		c := connect(t, testConfig(newScript()))
		c.session.Shutdown()
		c.expect(bye, gone)
	})
	t.Run("with half a request", func(t *testing.T) {
		c := connect(t, testConfig(newScript()))
		c.send(search(1, "who"), search(2, "who")[:4])
		c.expect("1 done 0")
		c.session.Shutdown()
		c.expect(bye, gone)
	})
	t.Run("operations in progress are answered first", func(t *testing.T) {
		h := newScript()
		c := connect(t, testConfig(h))
		c.send(search(1, "block a"), search(2, "stubborn b"))
		h.awaitStart(t, "a")
		h.awaitStart(t, "b")
		c.session.Shutdown()
		h.release("a")
		c.expect("1 done 0")
		h.release("b")
		c.expect("2 done 0", bye, gone)
	})
	t.Run("long searches are ended", func(t *testing.T) {
		h := newScript()
		cfg := testConfig(h)
		cfg.Limits.SearchGrace = -1
		c := connect(t, cfg)
		c.send(search(1, "block a"))
		h.awaitStart(t, "a")
		c.session.Shutdown()
		c.expect("1 done 52 the server is closing the connection", bye, gone)
	})
	t.Run("during a bind", func(t *testing.T) {
		h := newScript()
		c := connect(t, testConfig(h))
		c.send(bind(1, "block a", "secret"), search(2, "who"))
		h.awaitStart(t, "a")
		c.session.Shutdown()
		h.release("a")
		c.expect("1 bind 0", bye, gone)
	})
}

// TestResets ends the connection from the client's side in every state; the session must end and leave nothing.
func TestResets(t *testing.T) {
	states := map[string]func(c *client, h *script){
		"new":                func(*client, *script) {},
		"half a header":      func(c *client, _ *script) { c.send([]byte{0x30}) },
		"half a request":     func(c *client, _ *script) { c.send(search(1, "who")[:8]) },
		"idle":               func(c *client, _ *script) { c.send(search(1, "who")); c.expect("1 done 0") },
		"unread responses":   func(c *client, _ *script) { c.send(search(1, "big 500")) },
		"detached":           func(c *client, h *script) { c.send(search(1, "block a")); h.awaitStart(c, "a") },
		"streaming":          func(c *client, h *script) { c.send(search(1, "dbig 100000")); c.expect("1 entry") },
		"between SASL steps": func(c *client, _ *script) { c.send(saslBind(1, "STEP")); c.expect("1 bind 14 [step 1]") },
	}
	for name, reach := range states {
		for _, reset := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, reset %v", name, reset), func(t *testing.T) {
				h := newScript()
				c := connect(t, testConfig(h))
				reach(c, h)
				if reset {
					c.Conn.(*net.TCPConn).SetLinger(0)
				}
				c.Close()
				c.finished()
			})
		}
	}
}

func TestStartIsWhenTheMessageHadBeenRead(t *testing.T) {
	clock := newClock()
	starts := make(chan time.Time, 1)
	cfg := testConfig(op.HandlerFunc(func(_ context.Context, req *op.Request, _ op.Writer) error {
		starts <- req.Start
		return nil
	}))
	cfg.Now = clock.now
	c := connect(t, cfg)
	for i := int32(1); i < 5; i++ {
		clock.add(time.Minute)
		c.send(search(i, "x"))
		c.expect(fmt.Sprintf("%d done 0", i))
		if got, want := <-starts, clock.now(); !got.Equal(want) {
			t.Fatalf("request %d started at %v, it was read at %v", i, got, want)
		}
	}
}

func TestStateIsClosedWithTheConnection(t *testing.T) {
	closed := make(chan struct{})
	h := op.HandlerFunc(func(_ context.Context, req *op.Request, _ op.Writer) error {
		req.Conn.State(keptKey{}, func() any { return &kept{closed: func() { close(closed) }} })
		return nil
	})
	c := connect(t, testConfig(h))
	c.send(search(1, "x"))
	c.expect("1 done 0")
	c.Close()
	wait(t, closed, "Close of the state")
}

func TestCausesAreLoggedAndNotSent(t *testing.T) {
	var log lockedBuffer
	cfg := testConfig(newScript())
	cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	c := connect(t, cfg)
	c.send(search(1, "error"), search(2, "panic"))
	c.expect("1 done 80 internal error; the server's log says more", "2 done 80 internal error; the server's log says more", gone)
	c.finished()
	for _, want := range []string{"canary", "on purpose", "script).search"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log lacks %q:\n%s", want, log.String())
		}
	}
	if n := cfg.Stats.Read().Panics; n != 1 {
		t.Errorf("%d panics counted", n)
	}
}

func TestCounters(t *testing.T) {
	cfg := testConfig(newScript())
	c := connect(t, cfg)
	frames := join(bind(1, "cn=a", "secret"), search(2, "who"), search(3, "entry"), request(4, &ldap.DelRequest{}))
	c.send(frames)
	c.expect("1 bind 0", "2 done 0 cn=a", "3 entry", "3 done 0", "4 delete 0")
	c.Close()
	c.finished()
	got := cfg.Stats.Read()
	if got.Opened != 1 || got.Closed != 1 || got.PDUs != 4 || got.BytesIn != uint64(len(frames)) || got.BytesOut == 0 ||
		got.Operations != [Operations]uint64{Bind: 1, Search: 2, Delete: 1} || got.Completed != got.Operations || got.Detached != 1 {
		t.Errorf("got %+v", got)
	}
}
