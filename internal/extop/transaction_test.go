package extop

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"portolan/ber"
	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/ldap"
)

// batches is a Directory that keeps the updates that it is given.
type batches struct {
	op.Directory
	done   []*op.Request
	failed int
	err    error
}

func (b *batches) Batch(_ context.Context, reqs []*op.Request) (int, error) {
	b.done = append(b.done, reqs...)
	for _, r := range reqs {
		r.Reply.Controls = append(r.Reply.Controls, ldap.Control{OID: []byte("1.2.3"), Value: r.Op.(*ldap.ModifyRequest).Object, HasValue: true})
	}
	return b.failed, b.err
}

// client is a connection that uses transactions.
type client struct {
	t      *testing.T
	conn   *op.Conn
	p      *op.Ports
	limits TransactionLimits
	next   int32
}

func newClient(t *testing.T, d op.Directory) *client {
	c := &client{t: t, conn: &op.Conn{}, p: &op.Ports{Directory: d, Memory: op.NewMemory(1 << 20)}, limits: TransactionLimits{Operations: 100, Octets: 1 << 20}}
	c.conn.SetIdentity(&op.Identity{Name: dit.Name{DN: "cn=me", Norm: "cn=me"}})
	return c
}

func (c *client) start() []byte {
	c.t.Helper()
	req := &op.Request{Conn: c.conn, Identity: c.conn.Identity()}
	if err := TransactionStart(c.p).Handle(context.Background(), req, nil, false, nil); err != nil {
		c.t.Fatal(err)
	}
	return req.Reply.Value
}

// queue sends one update with the control, and returns its reply.
func (c *client) queue(id []byte, m ldap.Op) (op.Reply, error) {
	c.t.Helper()
	c.next++
	spec := ldap.Control{OID: []byte(TransactionOID), Critical: true, Value: id, HasValue: true}
	req := &op.Request{Conn: c.conn, ID: c.next, Op: m, Identity: c.conn.Identity(), Controls: []ldap.Control{spec, {OID: []byte("1.2.3")}}}
	control := TransactionControl(c.limits, &op.Ports{})
	value, err := control.Parse(spec)
	if err != nil {
		c.t.Fatal(err)
	}
	err = control.Around(context.Background(), req, value, func(context.Context) error {
		c.t.Error("the update was done at once")
		return nil
	})
	return req.Reply, err
}

func (c *client) end(id []byte, commit bool) (op.Reply, error) {
	value, mark := ber.Begin(nil, ber.Sequence)
	value = ber.End(ber.AppendBytes(ber.AppendBool(value, ber.Boolean, commit), ber.OctetString, id), mark)
	req := &op.Request{Conn: c.conn}
	err := TransactionEnd(c.p).Handle(context.Background(), req, value, true, nil)
	return req.Reply, err
}

func modify(object, value string) *ldap.ModifyRequest {
	return &ldap.ModifyRequest{Object: []byte(object), Changes: []ldap.Mod{{
		Op: ldap.ModReplace, Attribute: ldap.Attribute{Type: []byte("description"), Values: [][]byte{[]byte(value)}},
	}}}
}

// TestQueuedUpdates: what is queued is a copy without the control, in order, as the identity of the start; the controls of the
// answers come with the message ids of their updates.
func TestQueuedUpdates(t *testing.T) {
	d := &batches{failed: -1}
	c := newClient(t, d)
	id := c.start()
	first := modify("cn=a", "x")
	for _, m := range []ldap.Op{first, modify("cn=b", "y")} {
		if _, err := c.queue(id, m); err != nil {
			t.Fatal(err)
		}
	}
	copy(first.Object, "cn=?") // as the buffer of the next request would
	reply, err := c.end(id, true)
	if err != nil {
		t.Fatal(err)
	}
	if len(d.done) != 2 || string(d.done[0].Op.(*ldap.ModifyRequest).Object) != "cn=a" || d.done[1].Identity.Name.DN != "cn=me" ||
		len(d.done[0].Controls) != 1 || string(d.done[0].Controls[0].OID) != "1.2.3" {
		t.Fatalf("%+v", d.done)
	}
	one := func(n int64, object string) []byte {
		control := ber.AppendBytes(nil, ber.Sequence, append(ber.AppendString(nil, 4, "1.2.3"), ber.AppendString(nil, 4, object)...))
		return ber.AppendBytes(nil, ber.Sequence, append(ber.AppendInt(nil, 2, n), ber.AppendBytes(nil, ber.Sequence, control)...))
	}
	list := ber.AppendBytes(nil, ber.Sequence, append(one(1, "cn=a"), one(2, "cn=b")...))
	if want := ber.AppendBytes(nil, ber.Sequence, list); !bytes.Equal(reply.Value, want) {
		t.Errorf("txnEndRes is % x, want % x", reply.Value, want)
	}
	if !c.free() {
		t.Error("memory of a transaction that has ended is kept")
	}
}

// free reports whether nothing is held.
func (c *client) free() bool {
	h := c.p.Memory.Hold(1 << 20)
	if h != nil {
		h.Release()
	}
	return h != nil
}

func TestTransactionThatFails(t *testing.T) {
	d := &batches{failed: 1, err: ldap.Errorf(ldap.NoSuchObject, "")}
	c := newClient(t, d)
	id := c.start()
	for _, name := range []string{"cn=a", "cn=b"} {
		if _, err := c.queue(id, modify(name, "x")); err != nil {
			t.Fatal(err)
		}
	}
	reply, err := c.end(id, true)
	if ldap.CodeOf(err) != ldap.NoSuchObject || !bytes.Equal(reply.Value, []byte{0x30, 3, 2, 1, 2}) {
		t.Errorf("%v, % x", err, reply.Value)
	}
	// A failure of the transaction as a whole names no update.
	d.failed = -1
	id = c.start()
	if _, err := c.queue(id, modify("cn=a", "x")); err != nil {
		t.Fatal(err)
	}
	if reply, err := c.end(id, true); ldap.CodeOf(err) != ldap.NoSuchObject || reply.HasValue {
		t.Errorf("%v, % x", err, reply.Value)
	}
}

func TestTransactionsAreBounded(t *testing.T) {
	for name, limit := range map[string]func(c *client){
		"operations": func(c *client) { c.limits.Operations = 2 },
		"octets":     func(c *client) { c.limits.Octets = 2 * (overhead + 100) },
		"memory":     func(c *client) { c.p.Memory = op.NewMemory(2 * (overhead + 100)) },
	} {
		d := &batches{failed: -1}
		c := newClient(t, d)
		limit(c)
		id := c.start()
		for i := range 2 {
			if _, err := c.queue(id, modify("cn=a", "x")); err != nil {
				t.Fatalf("%s: update %d: %v", name, i, err)
			}
		}
		session := &notices{}
		c.conn.Session = session
		reply, err := c.queue(id, modify("cn=a", strings.Repeat("x", 50)))
		want := ldap.AdminLimitExceeded
		if name == "memory" {
			want = ldap.Busy
		}
		if ldap.CodeOf(err) != want || reply.After == nil {
			t.Fatalf("%s: %v", name, err)
		}
		reply.After()
		if session.name != TransactionAbortedOID || !bytes.Equal(session.value, id) || ldap.CodeOf(session.result) != want {
			t.Errorf("%s: notice %q % x %v", name, session.name, session.value, session.result)
		}
		if _, err := c.end(id, true); ldap.CodeOf(err) != ldap.OperationsError || len(d.done) > 0 {
			t.Errorf("%s: an aborted transaction was committed: %v", name, err)
		}
	}
	// Many transactions without a word in them.
	c := newClient(t, &batches{})
	for range maxTransactions {
		c.start()
	}
	req := &op.Request{Conn: c.conn, Identity: c.conn.Identity()}
	if err := TransactionStart(c.p).Handle(context.Background(), req, nil, false, nil); ldap.CodeOf(err) != ldap.AdminLimitExceeded {
		t.Error(err)
	}
}

// notices is a session that keeps the last notice.
type notices struct {
	op.SessionPort
	name   string
	value  []byte
	result error
}

func (n *notices) Notify(name string, value []byte, result error) error {
	n.name, n.value, n.result = name, value, result
	return nil
}

func TestTransactionsEndWithTheIdentity(t *testing.T) {
	d := &batches{failed: -1}
	c := newClient(t, d)
	id := c.start()
	if _, err := c.queue(id, modify("cn=a", "x")); err != nil {
		t.Fatal(err)
	}
	c.conn.SetIdentity(c.conn.Identity()) // a bind, as whomever
	if !c.free() {
		t.Error("the queue outlives the identity")
	}
	if _, err := c.end(id, true); ldap.CodeOf(err) != ldap.OperationsError || len(d.done) > 0 {
		t.Error(err)
	}
}

func FuzzTransactionEnd(f *testing.F) {
	f.Add([]byte{0x30, 3, 4, 1, '1'}, true)
	f.Add([]byte{0x30, 6, 1, 1, 0, 4, 1, '1'}, true)
	f.Fuzz(func(t *testing.T, value []byte, has bool) {
		_, id, err := parseTransactionEnd(value, has)
		if err != nil && ldap.CodeOf(err) != ldap.ProtocolError || err == nil && (!has || len(id) > len(value)) {
			t.Fatal(id, err)
		}
	})
}

func FuzzPasswd(f *testing.F) {
	f.Add([]byte{0x30, 3, 0x80, 1, 'x'}, true)
	f.Add([]byte{0x30, 6, 0x81, 1, 'o', 0x82, 1, 'n'}, true)
	f.Fuzz(func(t *testing.T, value []byte, has bool) {
		m, err := parsePasswd(value, has)
		if err != nil {
			if ldap.CodeOf(err) != ldap.ProtocolError {
				t.Fatal(err)
			}
			return
		}
		if _, err := m.change(op.Anonymous(), nil); err == nil {
			t.Fatal("a password modify of anonymous")
		}
	})
}

func FuzzCancel(f *testing.F) {
	f.Add([]byte{0x30, 3, 2, 1, 7}, true)
	f.Fuzz(func(t *testing.T, value []byte, has bool) {
		id, err := parseCancel(value, has)
		if err != nil && ldap.CodeOf(err) != ldap.ProtocolError || err == nil && (!has || id < 0) {
			t.Fatal(id, err)
		}
	})
}
