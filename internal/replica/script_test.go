package replica_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"portolan/internal/client"
	"portolan/internal/dit"
	"portolan/internal/kv/memkv"
	"portolan/internal/op"
	"portolan/internal/replica"
	"portolan/internal/schema"
	"portolan/internal/store"
	"portolan/ldap"
)

// scripted is a provider that answers each search with what a test has written down.
type scripted struct {
	t       testing.TB
	store   *store.Store
	c       *replica.Consumer
	answers chan []byte   // what follows a search; the connection is closed behind it
	asked   chan []byte   // cookies of the searches, nil for none
	paused  chan struct{} // a wait between two attempts has begun
	goOn    chan struct{} // and may end
	stop    func()
}

// newScripted starts a consumer of it over an empty store.
func newScripted(t testing.TB, change func(o *replica.Options)) *scripted {
	t.Helper()
	sch := schema.Default()
	var err error
	s := &scripted{t: t, answers: make(chan []byte, 16), asked: make(chan []byte, 16), paused: make(chan struct{}, 1), goOn: make(chan struct{})}
	if s.store, err = store.Open(memkv.New(store.Merger()), store.Options{Schema: sch, Suffixes: []string{"dc=example,dc=org", "o=other"}}); err != nil {
		t.Fatal(err)
	}
	all, _ := ldap.ParseFilter("(objectClass=*)")
	o := replica.Options{
		URL: "ldap://scripted", Base: "dc=example,dc=org", Filter: all, Attributes: []string{"*", "+"}, Retry: 1, RetryMost: 1,
		Store: s.store, Computed: []string{"memberOf"}, Now: time.Now, Rand: zeros{}, Log: slog.New(slog.DiscardHandler),
		Connect: func(ctx context.Context) (*client.Conn, error) { return s.connect() },
		Wait: func(ctx context.Context, _ time.Duration) error {
			select {
			case s.paused <- struct{}{}:
			default:
			}
			select {
			case <-s.goOn:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		},
	}
	if change != nil {
		change(&o)
	}
	if s.c, err = replica.New(o); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		s.c.Run(ctx)
		close(ended)
	}()
	s.stop = func() {
		cancel()
		<-ended
		if err := s.store.Close(); err != nil {
			t.Error(err)
		}
	}
	return s
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

// connect answers one search.
func (s *scripted) connect() (*client.Conn, error) {
	ours, theirs := net.Pipe()
	go func() {
		defer theirs.Close()
		request, err := readRequest(theirs)
		if err != nil {
			return
		}
		cookie := []byte("no sync request")
		for _, ctl := range request.Controls {
			if v, ok := ldap.ParseSyncRequest(ctl.Value); ok && string(ctl.OID) == ldap.SyncRequestOID {
				cookie = v.Cookie
			}
		}
		s.asked <- slices.Clone(cookie)
		answer, ok := <-s.answers
		if !ok {
			return
		}
		if _, err := theirs.Write(answer); err == nil {
			_, _ = io.Copy(io.Discard, theirs) // until the consumer has had enough
		}
	}()
	return client.New(ours, client.Options{MaxMessage: 1 << 20}), nil
}

func readRequest(r io.Reader) (*ldap.Message, error) {
	var b []byte
	buf := make([]byte, 4096)
	for {
		n, err := r.Read(buf)
		if err != nil {
			return nil, err
		}
		b = append(b, buf[:n]...)
		if m, err := ldap.Decode(b); err == nil {
			return &m, nil
		}
	}
}

// Messages.
const searchID = 1

func message(op ldap.Op, controls ...ldap.Control) []byte {
	return ldap.AppendMessage(nil, searchID, op, controls)
}

func number(n int) ldap.SyncUUID { return ldap.SyncUUID{0: 0xaa, 15: byte(n)} }

func state(n int, st ldap.SyncState, cookie string) ldap.Control {
	v := ldap.SyncStateValue{State: st, UUID: number(n)}
	if cookie != "" {
		v.Cookie = []byte(cookie)
	}
	return ldap.Control{OID: []byte(ldap.SyncStateOID), Value: v.Append(nil), HasValue: true}
}

func entry(n int, st ldap.SyncState, dn, cookie string, attrs ...string) []byte {
	m := &ldap.SearchResultEntry{Name: []byte(dn)}
	for _, a := range attrs {
		name, value, _ := strings.Cut(a, "=")
		m.Attributes = append(m.Attributes, ldap.Attribute{Type: []byte(name), Values: [][]byte{[]byte(value)}})
	}
	return message(m, state(n, st, cookie))
}

// ou is an added unit.
func unitEntry(n int, dn string, more ...string) []byte {
	name, _, _ := strings.Cut(strings.TrimPrefix(dn, "ou="), ",")
	return entry(n, ldap.SyncAdd, dn, "", append([]string{"objectClass=organizationalUnit", "ou=" + name}, more...)...)
}

func base() []byte {
	return entry(1, ldap.SyncAdd, "dc=example,dc=org", "", "objectClass=domain", "dc=example")
}

func info(v ldap.SyncInfo) []byte {
	return message(&ldap.IntermediateResponse{Name: ldap.SyncInfoOID, Value: v.Append(nil), HasValue: true})
}

func phase(deletes, done bool, cookie string) []byte {
	v := ldap.SyncInfo{Kind: ldap.SyncRefreshPresent, RefreshDone: done}
	if deletes {
		v.Kind = ldap.SyncRefreshDelete
	}
	if cookie != "" {
		v.Cookie = []byte(cookie)
	}
	return info(v)
}

func ids(deletes bool, cookie string, numbers ...int) []byte {
	v := ldap.SyncInfo{Kind: ldap.SyncIDSet, RefreshDeletes: deletes}
	if cookie != "" {
		v.Cookie = []byte(cookie)
	}
	for _, n := range numbers {
		v.UUIDs = append(v.UUIDs, number(n))
	}
	return info(v)
}

func done(code ldap.ResultCode, v *ldap.SyncDone) []byte {
	m := &ldap.SearchResultDone{Result: ldap.Result{Code: code}}
	if v == nil {
		return message(m)
	}
	return message(m, ldap.Control{OID: []byte(ldap.SyncDoneOID), Value: v.Append(nil), HasValue: true})
}

// say answers the next search.
func (s *scripted) say(parts ...[]byte) { s.answers <- slices.Concat(parts...) }

// names are those of the entries, with what description says.
func (s *scripted) names() string {
	view := s.store.View()
	defer view.Close()
	var out []string
	_ = op.Walk(view, 0, func(e *dit.Entry) error {
		name, err := view.Name(e)
		d, _ := view.Schema().DescribeString("description")
		text := strings.TrimSuffix(name.DN, ",dc=example,dc=org")
		if v := e.First(d); v != nil {
			text += "(" + string(v) + ")"
		}
		out = append(out, text)
		return err
	})
	slices.Sort(out)
	return strings.Join(out, " ")
}

// until waits for a state.
func (s *scripted) until(what string, is func(x replica.Status) bool) replica.Status {
	s.t.Helper()
	late := time.After(2 * time.Minute)
	for {
		changed := s.c.Changed()
		x := s.c.Status()
		if is(x) {
			return x
		}
		select {
		case <-changed:
		case <-late:
			s.t.Fatalf("waiting for %s: %+v; entries: %s", what, x, s.names())
		}
	}
}

func (s *scripted) has(cookie string) {
	s.t.Helper()
	s.until("cookie "+cookie, func(x replica.Status) bool { return x.Cookie == cookie && x.State == replica.InStep })
}

func (s *scripted) want(names string) {
	s.t.Helper()
	if got := s.names(); got != names {
		s.t.Errorf("entries:\n%s\nwant\n%s", got, names)
	}
	_, err := s.store.Check(context.Background(), func(f store.Finding) { s.t.Errorf("check: %+v", f) })
	if err != nil {
		s.t.Error(err)
	}
}

func (s *scripted) askedWith(cookie string) {
	s.t.Helper()
	select {
	case got := <-s.asked:
		if string(got) != cookie {
			s.t.Errorf("the search has cookie %q, want %q", got, cookie)
		}
	case <-time.After(2 * time.Minute):
		s.t.Fatalf("there is no search; %+v", s.c.Status())
	}
}

// TestScripted goes through what providers may do, in words of the protocol. Each case is one provider with one answer; the
// connection stays.
func TestScripted(t *testing.T) {
	const sub = ",dc=example,dc=org"
	first := slices.Concat(base(), unitEntry(2, "ou=a"+sub), unitEntry(3, "ou=b,ou=a"+sub), unitEntry(4, "ou=c"+sub), phase(false, true, "c1"))
	const firstNames = "dc=example,dc=org ou=a ou=b,ou=a ou=c"
	for _, x := range []struct {
		name   string
		answer [][]byte
		cookie string
		want   string
	}{
		{"initial content", nil, "c1", firstNames},
		{"a cookie alone", [][]byte{info(ldap.SyncInfo{Kind: ldap.SyncNewCookie, Cookie: []byte("c2")})}, "c2", firstNames},
		{"a change with a cookie", [][]byte{entry(4, ldap.SyncModify, "ou=c"+sub, "c2", "objectClass=organizationalUnit", "ou=c", "description=x")}, "c2", "dc=example,dc=org ou=a ou=b,ou=a ou=c(x)"},
		{"a delete", [][]byte{entry(4, ldap.SyncDelete, "ou=c"+sub, "c2")}, "c2", "dc=example,dc=org ou=a ou=b,ou=a"},
		{"a set of deletes, the one above first", [][]byte{ids(true, "c2", 2, 3)}, "c2", "dc=example,dc=org ou=c"},
		{"a delete of what is not there", [][]byte{ids(true, "c2", 9)}, "c2", firstNames},
		{"a delete of one that has entries beneath it", [][]byte{entry(2, ldap.SyncDelete, "ou=a"+sub, "c2")}, "c2", "dc=example,dc=org ou=c"},
		{"a rename, those beneath follow", [][]byte{entry(2, ldap.SyncModify, "ou=z"+sub, "c2", "objectClass=organizationalUnit", "ou=z")}, "c2", "dc=example,dc=org ou=b,ou=z ou=c ou=z"},
		{"a move", [][]byte{entry(2, ldap.SyncModify, "ou=a,ou=c"+sub, "c2", "objectClass=organizationalUnit", "ou=a")}, "c2", "dc=example,dc=org ou=a,ou=c ou=b,ou=a,ou=c ou=c"},
		{"names exchanged without those beneath", [][]byte{
			entry(2, ldap.SyncModify, "ou=c"+sub, "x", "objectClass=organizationalUnit", "ou=c", "description=was a"),
			entry(4, ldap.SyncModify, "ou=a"+sub, "c2", "objectClass=organizationalUnit", "ou=a", "description=was c"),
		}, "c2", "dc=example,dc=org ou=a(was c) ou=b,ou=c ou=c(was a)"},
		{"a child before its parent", [][]byte{unitEntry(6, "ou=y,ou=x"+sub), unitEntry(7, "ou=z,ou=y,ou=x"+sub), entry(5, ldap.SyncAdd, "ou=x"+sub, "c2", "objectClass=organizationalUnit", "ou=x")}, "c2",
			firstNames + " ou=x ou=y,ou=x ou=z,ou=y,ou=x"},
		{"a child before its parent, and gone again", [][]byte{unitEntry(6, "ou=y,ou=x"+sub), ids(true, "", 6), entry(5, ldap.SyncAdd, "ou=x"+sub, "c2", "objectClass=organizationalUnit", "ou=x")}, "c2", firstNames + " ou=x"},
		{"referral objects", [][]byte{entry(5, ldap.SyncAdd, "ou=r"+sub, "c2", "objectClass=referral", "objectClass=extensibleObject", "ou=r", "ref=ldap://other/")}, "c2", firstNames + " ou=r"},
		{"references of others", [][]byte{message(&ldap.SearchResultReference{URIs: []string{"ldap://x/"}}, state(8, ldap.SyncAdd, "")), info(ldap.SyncInfo{Kind: ldap.SyncNewCookie, Cookie: []byte("c2")})}, "c2", firstNames},
		{"what is not known", [][]byte{entry(4, ldap.SyncModify, "ou=c"+sub, "c2", "objectClass=organizationalUnit", "objectClass=noSuchClass", "ou=c", "noSuchAttribute=1", "memberOf=cn=x", "description=x", "telephoneNumber=")}, "c2", "dc=example,dc=org ou=a ou=b,ou=a ou=c(x)"},
		{"beneath another name", [][]byte{unitEntry(8, "ou=x,o=other"), entry(4, ldap.SyncModify, "ou=c"+sub, "c2", "objectClass=organizationalUnit", "ou=c", "description=x")}, "c2", "dc=example,dc=org ou=a ou=b,ou=a ou=c(x)"},
		{"a name that is none", [][]byte{entry(8, ldap.SyncAdd, "no name", "", "cn=x"), entry(9, ldap.SyncAdd, "noSuchType=1"+sub, "", "objectClass=device"), info(ldap.SyncInfo{Kind: ldap.SyncNewCookie, Cookie: []byte("c2")})}, "c2", firstNames},
	} {
		t.Run(x.name, func(t *testing.T) {
			s := newScripted(t, nil)
			defer s.stop()
			s.askedWith("")
			s.say(append([][]byte{first}, x.answer...)...)
			s.has(x.cookie)
			s.want(x.want)
		})
	}
}

// TestScriptedRefreshes are second searches, after a first that was complete.
func TestScriptedRefreshes(t *testing.T) {
	const sub = ",dc=example,dc=org"
	first := slices.Concat(base(), unitEntry(2, "ou=a"+sub), unitEntry(3, "ou=b,ou=a"+sub), unitEntry(4, "ou=c"+sub), phase(false, true, "c1"))
	for _, x := range []struct {
		name   string
		answer [][]byte
		want   string
	}{
		{"a delete phase", [][]byte{ids(true, "", 3), unitEntry(5, "ou=d"+sub), phase(true, true, "c2")}, "dc=example,dc=org ou=a ou=c ou=d"},
		{"a present phase", [][]byte{ids(false, "", 1, 2), entry(3, ldap.SyncPresent, "", ""), unitEntry(5, "ou=d"+sub), phase(false, true, "c2")}, "dc=example,dc=org ou=a ou=b,ou=a ou=d"},
		{"a present phase, then a delete phase", [][]byte{ids(false, "", 1, 2, 3), phase(false, false, ""), ids(true, "", 3), phase(true, true, "c2")}, "dc=example,dc=org ou=a"},
		{"the cookie before the end", [][]byte{ids(true, "c2", 3), phase(true, true, "")}, "dc=example,dc=org ou=a ou=c"},
		{"the name of one that has gone, which comes last", [][]byte{ids(false, "", 1, 4), unitEntry(9, "ou=a"+sub, "description=new"), unitEntry(3, "ou=b,ou=a"+sub), phase(false, true, "c2")}, "dc=example,dc=org ou=a(new) ou=b,ou=a ou=c"},
		{"the same, with what is beneath first", [][]byte{ids(false, "", 1, 4), unitEntry(3, "ou=b,ou=a"+sub), unitEntry(9, "ou=a"+sub, "description=new"), phase(false, true, "c2")}, "dc=example,dc=org ou=a(new) ou=b,ou=a ou=c"},
		{"a parent that goes while its child stays", [][]byte{ids(false, "", 1, 3, 4), phase(false, true, "c2")}, "dc=example,dc=org ou=c"},
	} {
		t.Run(x.name, func(t *testing.T) {
			s := newScripted(t, nil)
			defer s.stop()
			s.askedWith("")
			s.say(first, done(ldap.Unavailable, nil))
			<-s.paused
			s.say(x.answer...)
			s.goOn <- struct{}{}
			s.askedWith("c1")
			s.has("c2")
			s.want(x.want)
		})
	}
}

// TestScriptedCookieThatSaysNothing is slapd after its clock has stepped back: a cookie without a CSN, answered with everything there is
// and the end of a delete phase.
func TestScriptedCookieThatSaysNothing(t *testing.T) {
	const sub = ",dc=example,dc=org"
	s := newScripted(t, nil)
	defer s.stop()
	s.askedWith("")
	s.say(slices.Concat(base(), unitEntry(2, "ou=a"+sub), unitEntry(4, "ou=c"+sub), phase(false, true, "rid=000,csn=20260101000000.000000Z#000000#000#000000")),
		entry(2, ldap.SyncModify, "ou=a"+sub, "rid=000", "objectClass=organizationalUnit", "ou=a", "description=x"), done(ldap.Unavailable, nil))
	<-s.paused
	s.say(slices.Concat(base(), unitEntry(2, "ou=a"+sub, "description=x"), phase(true, true, "c2")))
	s.goOn <- struct{}{}
	s.askedWith("")
	s.has("c2")
	s.want("dc=example,dc=org ou=a(x)")
}

// TestScriptedErrors are answers that lead to an error, and leave the copy as it is.
func TestScriptedErrors(t *testing.T) {
	const sub = ",dc=example,dc=org"
	first := slices.Concat(base(), unitEntry(2, "ou=a"+sub), phase(false, true, "c1"))
	for _, x := range []struct {
		name   string
		answer [][]byte
		say    string
		anew   bool // the next search has no cookie
	}{
		{"no content", [][]byte{phase(false, true, "c2")}, "bind_dn", false},
		{"everything but the base", [][]byte{ids(false, "", 2), phase(false, true, "c2")}, "bind_dn", false},
		{"no control known", [][]byte{done(ldap.UnavailableCriticalExtension, nil)}, "syncprov", false},
		{"the control ignored", [][]byte{message(&ldap.SearchResultEntry{Name: []byte("dc=example,dc=org")})}, "syncprov", false},
		{"limits", [][]byte{done(ldap.SizeLimitExceeded, nil)}, "limits", false},
		{"no base", [][]byte{done(ldap.NoSuchObject, nil)}, "no entry", false},
		{"present without being there", [][]byte{ids(false, "", 1, 2, 9), phase(false, true, "c2")}, "anew", true},
		{"refresh required", [][]byte{done(ldap.SyncRefreshRequired, nil)}, "anew", true},
		{"an end of the stage twice", [][]byte{phase(true, true, "c1"), phase(true, true, "c2")}, "twice", false},
		{"an end without a reason", [][]byte{phase(true, true, "c1"), done(ldap.Success, nil)}, "without a reason", false},
		{"another directory", [][]byte{entry(77, ldap.SyncAdd, "dc=example,dc=org", "", "objectClass=domain", "dc=example"), phase(false, true, "c2")}, "another entryUUID", false},
		{"a cookie without end", [][]byte{ids(false, strings.Repeat("x", 40_000), 1)}, "octets", false},
		{"a state that is none", [][]byte{message(&ldap.SearchResultEntry{}, ldap.Control{OID: []byte(ldap.SyncStateOID), HasValue: true, Value: []byte("x")})}, "cannot be read", false},
		{"an info that is none", [][]byte{message(&ldap.IntermediateResponse{Name: ldap.SyncInfoOID, HasValue: true, Value: []byte("x")})}, "cannot be read", false},
		{"no LDAP", [][]byte{[]byte("HTTP/1.1 400 Bad Request\r\n\r\n")}, "LDAP", false},
		{"a message without end", [][]byte{{0x30, 0x84, 0x7f, 0xff, 0xff, 0xff}}, "octets", false},
		{"two of one name", [][]byte{ids(false, "", 1, 2), unitEntry(8, "ou=a"+sub), phase(false, true, "c2")}, "one name", true},
	} {
		t.Run(x.name, func(t *testing.T) {
			s := newScripted(t, func(o *replica.Options) { o.Now = func() time.Time { return time.Time{} } }) // no attempt without a wait
			defer s.stop()
			s.askedWith("")
			s.say(first, done(ldap.Unavailable, nil))
			<-s.paused
			s.say(x.answer...)
			s.goOn <- struct{}{}
			s.askedWith("c1")
			<-s.paused
			st := s.until("an error", func(st replica.Status) bool { return strings.Contains(st.Error, x.say) && st.State == replica.Waiting })
			if st.Cookie != "c1" {
				t.Errorf("the cookie is %s", st.Cookie)
			}
			s.goOn <- struct{}{}
			if x.anew {
				s.askedWith("")
			} else {
				s.askedWith("c1")
			}
			// All is well again.
			s.say(base(), unitEntry(2, "ou=a"+sub), phase(false, true, "c3"))
			s.has("c3")
			s.want("dc=example,dc=org ou=a")
		})
	}
}

// e-syncRefreshRequired with a cookie: what was told is kept, and the search made again with it.
func TestScriptedResumes(t *testing.T) {
	s := newScripted(t, nil)
	defer s.stop()
	s.askedWith("")
	s.say(base(), phase(false, true, "c1"), unitEntry(2, "ou=a,dc=example,dc=org"), done(ldap.SyncRefreshRequired, &ldap.SyncDone{Cookie: []byte("c2"), RefreshDeletes: true}))
	s.askedWith("c2")
	s.say(phase(true, true, "c3"))
	s.has("c3")
	s.want("dc=example,dc=org ou=a")
}

func TestPolls(t *testing.T) {
	s := newScripted(t, func(o *replica.Options) { o.Poll, o.PollOnly = time.Minute, true })
	defer s.stop()
	s.askedWith("")
	s.say(base(), done(ldap.Success, &ldap.SyncDone{Cookie: []byte("c1")}))
	<-s.paused
	s.until("a poll", func(x replica.Status) bool { return x.State == replica.Polled && x.Cookie == "c1" && x.Error == "" })
	s.goOn <- struct{}{}
	s.askedWith("c1")
	s.say(unitEntry(2, "ou=a,dc=example,dc=org"), done(ldap.Success, &ldap.SyncDone{Cookie: []byte("c2"), RefreshDeletes: true}))
	<-s.paused
	s.until("a second poll", func(x replica.Status) bool { return x.Cookie == "c2" })
	s.want("dc=example,dc=org ou=a")
}

// Entries that come long before their parents do not take memory without end.
func TestManyBeforeTheirParent(t *testing.T) {
	if testing.Short() {
		t.Skip("it tells of 42,000 entries")
	}
	s := newScripted(t, nil)
	defer s.stop()
	s.askedWith("")
	parts := [][]byte{base()}
	const n = 21_000 // more than are kept
	for i := range n {
		id := uuid.NewSHA1(uuid.Nil, fmt.Append(nil, i))
		m := &ldap.SearchResultEntry{Name: fmt.Appendf(nil, "cn=%d,ou=late,dc=example,dc=org", i), Attributes: []ldap.Attribute{
			{Type: []byte("objectClass"), Values: [][]byte{[]byte("device")}}, {Type: []byte("cn"), Values: [][]byte{fmt.Append(nil, i)}}}}
		v := ldap.SyncStateValue{State: ldap.SyncAdd, UUID: id}
		parts = append(parts, message(m, ldap.Control{OID: []byte(ldap.SyncStateOID), Value: v.Append(nil), HasValue: true}))
	}
	parts = append(parts, unitEntry(2, "ou=late,dc=example,dc=org"), phase(false, true, "c1"))
	s.say(parts...)
	s.askedWith("") // once more
	s.say(parts...)
	s.has("c1")
	if x := s.c.Status(); x.Unplaced != 0 || x.Added != n+2 {
		t.Errorf("%+v", x)
	}
}

// FuzzProvider is a provider that says anything: nothing panics, nothing grows without end, and the store stays sound.
func FuzzProvider(f *testing.F) {
	f.Add([]byte{0, 1, 1, 2, 3, 3, 6, 0})
	f.Add([]byte{1, 2, 1, 3, 2, 2, 4, 1, 7, 0, 1, 2, 6, 1})
	f.Add([]byte("\x30\x05\x02\x01\x01\x64\x00"))
	f.Fuzz(anything)
}

// The same without a fuzzer.
func TestProviderAtRandom(t *testing.T) {
	n := 300
	if testing.Short() {
		n = 30
	}
	r := rand.New(rand.NewPCG(1, 2))
	for i := range n {
		script := make([]byte, 2+r.IntN(60))
		for j := range script {
			script[j] = byte(r.Uint32())
		}
		anything(t, script)
		if t.Failed() {
			t.Fatalf("script %d: %q", i, script)
		}
	}
}

// anything lets a consumer follow a provider that says what the script makes of it.
func anything(t *testing.T, script []byte) {
	if len(script) > 400 {
		return
	}
	s := newScripted(t, nil)
	defer s.stop()
	<-s.asked
	s.say(fuzzed(script)...)
	s.say(fuzzed(slices.Clone(script)[len(script)/2:])...)
	for range 2 {
		select {
		case <-s.paused:
			select {
			case s.goOn <- struct{}{}:
			case <-time.After(time.Millisecond):
			}
		case <-time.After(30 * time.Millisecond): // the script has left it attached
		}
	}
	_, err := s.store.Check(context.Background(), func(f store.Finding) { t.Errorf("check: %+v", f) })
	if err != nil && !errors.Is(err, store.ErrMoved) {
		t.Error(err)
	}
}

// fuzzed makes messages of octets: most of them are well formed, so that they get somewhere.
func fuzzed(script []byte) [][]byte {
	out := [][]byte{base()}
	names := []string{"", "ou=a,", "ou=b,", "ou=a,ou=b,", "ou=b,ou=a,", "ou=c,ou=a,ou=b,", "cn=x+ou=a,", "foo=1,"}
	for len(script) >= 2 {
		code, arg := script[0], script[1]
		script = script[2:]
		n, cookie := int(arg>>4)+1, ""
		if arg&1 != 0 {
			cookie = fmt.Sprintf("rid=000,csn=2026%02d01120000.000000Z#000000#000#000000", arg%12+1)
		}
		dn := names[int(arg>>1)%len(names)] + "dc=example,dc=org"
		switch code % 9 {
		case 0, 1, 2:
			out = append(out, entry(n, ldap.SyncState(code%4), dn, cookie, "objectClass=organizationalUnit", "ou=a", "ou=b", "entryCSN="+strings.TrimPrefix(cookie, "rid=000,csn=")))
		case 3:
			out = append(out, ids(false, cookie, n, n+1))
		case 4:
			out = append(out, ids(true, cookie, n, n+2))
		case 5:
			out = append(out, info(ldap.SyncInfo{Kind: ldap.SyncNewCookie, Cookie: []byte(cookie)}))
		case 6:
			out = append(out, phase(arg&2 != 0, arg&4 != 0, cookie))
		case 7:
			out = append(out, done(ldap.ResultCode(arg), &ldap.SyncDone{Cookie: []byte(cookie)}))
		default:
			k := min(len(script), int(arg)%32)
			out = append(out, script[:k])
			script = script[k:]
		}
	}
	return out
}
