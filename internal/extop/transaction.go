package extop

import (
	"bytes"
	"context"
	"slices"
	"strconv"
	"sync"

	"portolan/ber"
	"portolan/internal/op"
	"portolan/ldap"
)

// OIDs of LDAP transactions (RFC 5805).
const (
	TransactionStartOID   = "1.3.6.1.1.21.1"
	TransactionOID        = "1.3.6.1.1.21.2" // the control
	TransactionEndOID     = "1.3.6.1.1.21.3"
	TransactionAbortedOID = "1.3.6.1.1.21.4"
)

const transactionSource = "RFC 5805"

// OIDs of controls, and of an update among the extended operations, that have a meaning here.
const (
	proxyAuthzOID     = "2.16.840.1.113730.3.4.18"
	noOpOID           = "1.3.6.1.4.1.4203.666.5.2"
	passwordModifyOID = "1.3.6.1.4.1.4203.1.11.1"
)

// TransactionLimits bound what one connection may queue.
type TransactionLimits struct {
	Operations int
	Octets     int64
}

// maxTransactions is how many transactions one connection may have open.
const maxTransactions = 8

// transactions are the open transactions of a connection. They are state of op.Conn: a bind, an unbind and StartTLS abort
// them without notice (RFC 5805 section 3.5).
type transactions struct {
	mu     sync.Mutex
	next   uint64
	open   map[string]*transaction
	closed bool
	// of all of them
	operations int
	octets     int64
}

// transaction is one that is being specified.
type transaction struct {
	id       string
	identity *op.Identity
	queue    []*op.Request
	octets   int64
	hold     *op.Hold
}

type transactionsKey struct{}

func transactionsOf(c *op.Conn) *transactions {
	return c.State(transactionsKey{}, func() any { return &transactions{open: make(map[string]*transaction)} }).(*transactions)
}

// Close aborts all of them.
func (t *transactions) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, x := range t.open {
		x.hold.Release()
	}
	clear(t.open)
	t.closed = true
}

// take removes a transaction; nil where there is none of this identifier.
func (t *transactions) take(id []byte) *transaction {
	t.mu.Lock()
	defer t.mu.Unlock()
	x := t.open[string(id)]
	if x != nil {
		delete(t.open, x.id)
		t.operations -= len(x.queue)
		t.octets -= x.octets
	}
	return x
}

var errNoTransaction = ldap.Errorf(ldap.OperationsError, "there is no such transaction on this connection")

// TransactionStart begins a transaction (RFC 5805 section 3.2). With proxied authorization all of it is done as that identity.
func TransactionStart(p *op.Ports) op.Extended {
	return op.Extended{
		OID: TransactionStartOID, Name: "transactionStart", Source: transactionSource,
		Handle: func(_ context.Context, req *op.Request, _ []byte, hasValue bool, _ op.Writer) error {
			if hasValue {
				return ldap.Errorf(ldap.ProtocolError, "starting a transaction takes no value (RFC 5805 section 2.1)")
			}
			t := transactionsOf(req.Conn)
			t.mu.Lock()
			defer t.mu.Unlock()
			if t.closed || len(t.open) >= maxTransactions {
				return ldap.Errorf(ldap.AdminLimitExceeded, "at most %d transactions may be open on a connection: end one", maxTransactions)
			}
			hold := p.Memory.Hold(0)
			t.next++
			x := &transaction{id: strconv.FormatUint(t.next, 10), identity: req.Identity, hold: hold}
			t.open[x.id] = x
			req.Reply.Value, req.Reply.HasValue = []byte(x.id), true
			return nil
		},
	}
}

// TransactionControl makes an update a part of a transaction (RFC 5805 section 3.3): it is kept, and done when the transaction
// ends. What can be told to be wrong with it now is told now. A connection that queues more than it may has its transaction
// aborted.
func TransactionControl(limits TransactionLimits, p *op.Ports) op.Control {
	return op.Control{
		OID: TransactionOID, Name: "transaction", Source: transactionSource,
		Applies: func(tag byte) bool {
			return tag == ldap.TagAddRequest || tag == ldap.TagDelRequest || tag == ldap.TagModifyRequest || tag == ldap.TagModifyDNRequest
		},
		Verbs: []string{passwordModifyOID},
		Parse: func(c ldap.Control) (any, error) {
			if !c.Critical || !c.HasValue {
				return nil, ldap.Errorf(ldap.ProtocolError, "the transaction specification control must be marked as critical and have a value (RFC 5805 section 2.2)")
			}
			return bytes.Clone(c.Value), nil
		},
		Around: func(_ context.Context, req *op.Request, value any, _ func(context.Context) error) error {
			return transactionsOf(req.Conn).add(req, value.([]byte), limits, p.Directory)
		},
	}
}

// add queues an update.
func (t *transactions) add(req *op.Request, id []byte, limits TransactionLimits, d op.Directory) error {
	for i := range req.Controls {
		switch string(req.Controls[i].OID) {
		case proxyAuthzOID:
			return ldap.Errorf(ldap.ProtocolError, "proxied authorization goes with the start of a transaction, not with its updates (RFC 5805 section 4.4)")
		case noOpOID:
			return ldap.Errorf(ldap.ProtocolError, "an update of a transaction cannot be a no-op: abort the transaction instead")
		}
	}
	t.mu.Lock()
	x := t.open[string(id)]
	t.mu.Unlock()
	if x == nil {
		return errNoTransaction
	}
	kept, size, err := keep(req, x.identity, d)
	if err != nil {
		return err
	}
	t.mu.Lock()
	if t.open[x.id] != x { // it has ended meanwhile
		t.mu.Unlock()
		return errNoTransaction
	}
	if slices.ContainsFunc(x.queue, func(q *op.Request) bool { return q.ID == kept.ID }) {
		t.mu.Unlock()
		return ldap.Errorf(ldap.ProtocolError, "two updates of a transaction have the same messageID (RFC 5805 section 3.3)")
	}
	var full *ldap.Error
	switch {
	case t.operations >= limits.Operations:
		full = ldap.Errorf(ldap.AdminLimitExceeded, "at most %d updates may be queued (limits.transaction_operations): the transaction is aborted", limits.Operations)
	case t.octets+size > limits.Octets:
		full = ldap.Errorf(ldap.AdminLimitExceeded, "at most %d octets may be queued (limits.transaction_bytes): the transaction is aborted", limits.Octets)
	case !x.hold.Grow(int(size)):
		full = ldap.Errorf(ldap.Busy, "there is too much queued on all connections: the transaction is aborted")
	}
	if full == nil {
		x.queue = append(x.queue, kept)
		x.octets += size
		t.operations++
		t.octets += size
		req.Trace.Note = "queued in a transaction"
		t.mu.Unlock()
		return nil
	}
	t.mu.Unlock()
	if x := t.take(id); x != nil {
		x.hold.Release()
		// The update is answered first, then the client is told that nothing of the transaction is left.
		notice := full
		session := req.Conn.Session
		req.Reply.After = func() {
			if session != nil {
				_ = session.Notify(TransactionAbortedOID, id, notice) // a connection that has ended needs no notice
			}
		}
	}
	return full
}

// overhead is what a queued update takes beside its octets.
const overhead = 512

// keep copies an update without the control that puts it into the transaction. A password modify becomes the modify that it
// stands for: it has no response of its own in which a generated password could be told. who is whom the transaction is done as.
func keep(req *op.Request, who *op.Identity, d op.Directory) (kept *op.Request, size int64, err error) {
	shown := *req
	shown.Controls = slices.DeleteFunc(slices.Clone(req.Controls), func(c ldap.Control) bool { return string(c.OID) == TransactionOID })
	if verb, ok := req.Op.(*ldap.ExtendedRequest); ok {
		m, err := parsePasswd(verb.Value, verb.HasValue)
		if err != nil {
			return nil, 0, err
		}
		if shown.Op, err = m.change(who, d); err != nil {
			return nil, 0, err
		}
	}
	if kept, err = shown.Keep(); err != nil {
		return nil, 0, err
	}
	kept.Identity = who
	message := ldap.Message{ID: kept.ID, Op: kept.Op, Controls: kept.Controls}
	return kept, int64(len(message.Append(nil)) + overhead), nil
}

// change is the modify request of a password modify in a transaction. The old password, where it is given, must be there to
// be deleted.
func (m *passwdRequest) change(who *op.Identity, d op.Directory) (ldap.Op, error) {
	switch {
	case !m.hasNew || len(m.new) == 0:
		return nil, ldap.Errorf(ldap.UnwillingToPerform, "give the new password: a transaction has no answer in which a generated one could be told")
	case who.IsAnonymous():
		return nil, errNobody
	}
	out := &ldap.ModifyRequest{Object: []byte(who.Name.DN)}
	if m.hasUser {
		out.Object = m.user
		switch prefix, name, _ := bytes.Cut(m.user, []byte(":")); {
		case bytes.EqualFold(prefix, []byte("dn")):
			out.Object = name
		case bytes.EqualFold(prefix, []byte("u")):
			// Whom it names is decided now, as elsewhere when the request comes.
			id, err := d.ParseAuthzID(string(m.user), "")
			if err != nil {
				return nil, err
			}
			if id == nil {
				return nil, ldap.Errorf(ldap.NoSuchObject, "no such user")
			}
			out.Object = []byte(id.Name.DN)
		}
	}
	set := ldap.Mod{Op: ldap.ModReplace, Attribute: ldap.Attribute{Type: []byte("userPassword"), Values: [][]byte{m.new}}}
	if m.hasOld {
		out.Changes = append(out.Changes, ldap.Mod{Op: ldap.ModDelete, Attribute: ldap.Attribute{Type: set.Attribute.Type, Values: [][]byte{m.old}}})
	}
	out.Changes = append(out.Changes, set)
	return out, nil
}

// TransactionEnd commits or aborts a transaction (RFC 5805 section 3.4).
func TransactionEnd(p *op.Ports) op.Extended {
	return op.Extended{
		OID: TransactionEndOID, Name: "transactionEnd", Source: transactionSource, Writes: true,
		Handle: func(ctx context.Context, req *op.Request, value []byte, hasValue bool, _ op.Writer) error {
			commit, id, err := parseTransactionEnd(value, hasValue)
			if err != nil {
				return err
			}
			x := transactionsOf(req.Conn).take(id)
			if x == nil {
				return errNoTransaction
			}
			defer x.hold.Release()
			if !commit {
				return nil
			}
			return x.commit(ctx, p.Directory, req)
		},
	}
}

// commit does all of the updates in one transaction of the directory.
func (x *transaction) commit(ctx context.Context, d op.Directory, req *op.Request) error {
	if len(x.queue) == 0 {
		return nil
	}
	failed, err := d.Batch(req.Detach(ctx), x.queue)
	value, mark := ber.Begin(nil, ber.Sequence)
	switch {
	case err != nil && failed >= 0:
		value = ber.AppendInt(value, ber.Integer, int64(x.queue[failed].ID))
	case err == nil:
		req.Trace.Seq = x.queue[0].Trace.Seq
		value = x.appendControls(value)
	}
	if value = ber.End(value, mark); len(value) > 2 {
		req.Reply.Value, req.Reply.HasValue = value, true
	}
	return err
}

// appendControls appends updatesControls, if there are any.
func (x *transaction) appendControls(dst []byte) []byte {
	start := len(dst)
	dst, list := ber.Begin(dst, ber.Sequence)
	empty := true
	for _, q := range x.queue {
		if len(q.Reply.Controls) == 0 {
			continue
		}
		empty = false
		var seq, controls int
		dst, seq = ber.Begin(dst, ber.Sequence)
		dst = ber.AppendInt(dst, ber.Integer, int64(q.ID))
		dst, controls = ber.Begin(dst, ber.Sequence) // Controls without the tag that they have in a message
		for i := range q.Reply.Controls {
			dst = q.Reply.Controls[i].Append(dst)
		}
		dst = ber.End(ber.End(dst, controls), seq)
	}
	if empty {
		return dst[:start]
	}
	return ber.End(dst, list)
}

// parseTransactionEnd reads txnEndReq.
func parseTransactionEnd(value []byte, hasValue bool) (commit bool, id []byte, err error) {
	commit = true
	r := ber.Reader(value)
	var seq ber.Reader
	if !hasValue || !r.Element(ber.Sequence, &seq) || !r.Empty() ||
		seq.PeekIs(ber.Boolean) && !seq.Bool(ber.Boolean, &commit) || !seq.Bytes(ber.OctetString, &id) || !seq.Empty() {
		return false, nil, ldap.Errorf(ldap.ProtocolError, "the value is not a txnEndReq (RFC 5805 section 2.3)")
	}
	return commit, id, nil
}
