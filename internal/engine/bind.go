package engine

import (
	"cmp"
	"context"
	"time"

	"portolan/internal/credential"
	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/internal/schema"
	"portolan/ldap"
)

// bind performs RFC 4511 section 4.2 and RFC 4513 section 5. The session has made the connection anonymous already;
// whatever fails here leaves it so.
func (e *Engine) bind(ctx context.Context, req *op.Request, m *ldap.BindRequest, set *Settings) error {
	if m.Version != 3 {
		return ldap.Errorf(ldap.ProtocolError, "LDAP version %d is not supported: this server speaks version 3", m.Version)
	}
	switch m.Auth {
	case ldap.AuthSimple:
		req.Conn.Exchange = nil
		return e.simpleBind(ctx, req, m)
	case ldap.AuthSASL:
		return e.saslBind(ctx, req, m)
	}
	return ldap.Errorf(ldap.AuthMethodNotSupported, "only simple and SASL authentication are supported")
}

// errCredentials is the one answer to every failed authentication: who does not know the password learns nothing else.
func errCredentials(why op.Reason) *ldap.Error {
	return ldap.Errorf(ldap.InvalidCredentials, "").Because(why)
}

func (e *Engine) simpleBind(ctx context.Context, req *op.Request, m *ldap.BindRequest) error {
	switch {
	case len(m.Name) == 0 && len(m.Password) == 0:
		return nil // anonymous
	case len(m.Name) == 0:
		return errCredentials("a password without a name")
	case len(m.Password) == 0:
		// RFC 4513 section 5.1.2: clients take the success of an unauthenticated bind for a right password.
		return ldap.Errorf(ldap.UnwillingToPerform, "an empty password proves nothing: unauthenticated bind is not allowed")
	}
	norm, err := normalize(e.Schema(), m.Name)
	if err != nil {
		return err
	}
	id, err := e.Authenticate(ctx, req, norm, m.Password, "simple")
	if err != nil {
		return err
	}
	req.Conn.SetIdentity(id)
	return nil
}

// Authenticate proves an identity by its password: for simple binds and for SASL mechanisms that show the password. The
// name is canonical. All failures take the time of a hash and give invalidCredentials; busy says that the hashing pool
// is full. The request is detached before anything is hashed.
func (e *Engine) Authenticate(ctx context.Context, req *op.Request, norm string, password []byte, method string) (*op.Identity, error) {
	outcome := op.BindOutcome{Password: password, Index: -1}
	err := e.authenticate(ctx, req, norm, method, &outcome)
	if err = e.conclude(ctx, req, &outcome, err); err != nil {
		return nil, err
	}
	return outcome.Identity, nil
}

// authenticate asks the guard before anything is looked up: no snapshot is held while an attempt waits for its turn, and what
// is compared then is what is stored then.
func (e *Engine) authenticate(ctx context.Context, req *op.Request, norm, method string, b *op.BindOutcome) error {
	if b.Name = (dit.Name{Norm: norm}); norm == e.Settings().Admin.Norm {
		b.Name = e.Settings().Admin
	}
	return e.guarded(ctx, req, b, func() error { return e.authenticateUnguarded(ctx, req, norm, method, b) })
}

func (e *Engine) authenticateUnguarded(ctx context.Context, req *op.Request, norm, method string, b *op.BindOutcome) error {
	set := e.Settings()
	view := e.o.Store.View()
	defer view.Close()
	b.Reader = view
	if norm == set.Admin.Norm {
		b.Identity = &op.Identity{Name: set.Admin, Admin: true, Method: method}
		if set.AdminStored != nil {
			b.Stored = [][]byte{set.AdminStored}
		}
	} else {
		entry, _, err := view.Lookup(norm)
		if err != nil {
			return err
		}
		if entry != nil && !entry.Alias && !entry.Referral {
			if b.Name, err = view.Name(entry); err != nil {
				return err
			}
			b.Entry = entry
			b.Identity = &op.Identity{Name: b.Name, Entry: entry.ID, UUID: entry.UUID, Method: method}
			b.Stored = passwordsOf(view.Schema(), entry)
		}
	}
	own := len(b.Stored)
	hashed, err := e.proveUnguarded(ctx, req, set, b)
	if err != nil {
		return err
	}
	// What is remembered was looked at when it was hashed.
	if hashed && b.Entry != nil && b.Apart == nil && b.Index >= 0 && b.Index < own {
		e.rehash(req, view.Schema(), set, b.Entry, b.Stored[b.Index], b.Password)
	}
	return nil
}

// errUnsettled is what the guard is told of a check that ended in a panic.
var errUnsettled = ldap.Errorf(ldap.Other, "")

// guarded has f check the credentials of an outcome, unless the guard refuses.
func (e *Engine) guarded(ctx context.Context, req *op.Request, b *op.BindOutcome, f func() error) error {
	if e.o.Guard == nil {
		return f()
	}
	if err := e.o.Guard.Attempt(ctx, req, b); err != nil {
		return err
	}
	err := error(errUnsettled)
	defer func() { e.o.Guard.Settle(req, b, err) }()
	err = f()
	return err
}

// prove checks the credentials of an outcome whose name, entry and stored values are known, and lets the overlays decide.
// A refusal takes as long where the password was right as where it was wrong: who is locked out learns nothing. hashed says
// that it took a hash.
func (e *Engine) prove(ctx context.Context, req *op.Request, set *Settings, b *op.BindOutcome) (hashed bool, err error) {
	err = e.guarded(ctx, req, b, func() (err error) {
		hashed, err = e.proveUnguarded(ctx, req, set, b)
		return err
	})
	return hashed, err
}

func (e *Engine) proveUnguarded(ctx context.Context, req *op.Request, set *Settings, b *op.BindOutcome) (hashed bool, err error) {
	for i := range e.o.Overlays {
		if hook := e.o.Overlays[i].Attempt; hook != nil {
			if err := hook(ctx, req, b); err != nil {
				return false, err
			}
		}
	}
	var refusal error
	if b.Entry != nil {
		refusal = mayBind(b.Reader.Schema(), b.Entry, req.Conn)
	}
	spent, err := e.check(ctx, req, set, b, refusal)
	if err != nil {
		return false, err
	}
	if b.Apart != nil && b.Identity != nil {
		apart := *b.Identity
		apart.Apart = b.Apart.Kind + " " + b.Apart.Name
		b.Identity = &apart
	}
	refused := e.bound(ctx, req, b)
	if refused != nil && b.Index >= 0 {
		if err := e.equalize(ctx, req, set, b.Password, spent); err != nil {
			return true, err
		}
	}
	return spent.Work > 0, refused
}

// conclude ends a check of credentials once its snapshot is given back: the answer waits as long as overlays ask for, and
// what they keep for its time is let go.
func (e *Engine) conclude(ctx context.Context, req *op.Request, b *op.BindOutcome, err error) error {
	if b.Delay > 0 {
		if gone := e.o.Wait(req.Detach(ctx), b.Delay); gone != nil && err == nil {
			err = gone
		}
	}
	for _, f := range b.Finally {
		f()
	}
	return err
}

// wait is Options.Wait where none is given.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// check compares the credentials of a bind, and says what that has cost. Its error is one of the server; what is wrong
// with the credentials is in the outcome.
func (e *Engine) check(ctx context.Context, req *op.Request, set *Settings, b *op.BindOutcome, refusal error) (spent credential.Cost, err error) {
	if b.Proved != "" && b.Identity != nil {
		b.Err = refusal
		return spent, nil
	}
	class := credential.Normal
	if b.Honest {
		class = credential.Honest
	}
	asked := func() (string, error) { return "", nil }
	if b.Elsewhere != nil && refusal == nil && b.Identity != nil && len(b.Stored) == 0 {
		asked = aside(req.Detach(ctx), b.Elsewhere)
	}
	b.Index, spent, err = e.verify(ctx, req, set, class, uuidOf(b.Entry), b.Stored, b.Password)
	by, elsewhere := asked()
	if err = cmp.Or(err, elsewhere); err != nil {
		return spent, err
	}
	if by != "" {
		b.Proved, b.Err = by, nil
		return spent, nil
	}
	b.Wrong = b.Index < 0
	switch {
	case !b.Wrong:
		b.Err = refusal
	case b.Identity == nil:
		b.Err = errCredentials("no such entry")
	case len(b.Stored) == 0:
		b.Err = errCredentials("the entry has no password")
	default:
		b.Err = errCredentials("wrong password")
	}
	return spent, nil
}

// aside has f run beside something else, and returns what waits for its end.
func aside(ctx context.Context, f func(context.Context) (string, error)) func() (string, error) {
	var by string
	err := error(ldap.Errorf(ldap.Other, "").Because(op.Reason("asking another server ended in a panic")))
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { _ = recover() }() // err says so
		by, err = f(ctx)
	}()
	return func() (string, error) {
		<-done
		return by, err
	}
}

// bound shows the outcome of a bind to the overlays and returns what the client is told.
func (e *Engine) bound(ctx context.Context, req *op.Request, b *op.BindOutcome) error {
	for i := range e.o.Overlays {
		if hook := e.o.Overlays[i].Bind; hook != nil {
			failed := b.Err
			if err := hook(ctx, req, b); err != nil {
				return err
			}
			if failed != nil && b.Err == nil {
				b.Err = failed // no hook makes a failed bind succeed
			}
		}
	}
	for _, spend := range b.Spend {
		if b.Err == nil {
			b.Err = spend(ctx)
		}
	}
	return b.Err
}

// uuidOf is the identity under which verified passwords are remembered; the admin's is zero.
func uuidOf(entry *dit.Entry) (id [16]byte) {
	if entry != nil {
		id = entry.UUID
	}
	return id
}

// mayBind refuses accounts that are disabled or may not be used from where the client is. The answer to the client is
// that of a wrong password.
func mayBind(s *schema.Schema, entry *dit.Entry, c *op.Conn) error {
	if why := op.Unusable(s, entry, c); why != "" {
		return errCredentials(why)
	}
	return nil
}

// passwordsOf returns the values of userPassword, its subtypes and options included.
func passwordsOf(s *schema.Schema, entry *dit.Entry) [][]byte {
	var out [][]byte
	want := schema.Description{Type: s.Known.UserPassword}
	for slot, d := range entry.Shape().Slots {
		if !want.Contains(d) {
			continue
		}
		for v := entry.Values(slot); ; {
			value, ok := v.Next()
			if !ok {
				break
			}
			out = append(out, value)
		}
	}
	return out
}

// verify finds the stored value that the password matches, -1 for none, and says what that has cost. Passwords that were
// right before are recognised without a hash; everything else is hashed in the pool, and failures cost the same whatever
// their reason.
func (e *Engine) verify(ctx context.Context, req *op.Request, set *Settings, class credential.Class, uuid [16]byte, values [][]byte, password []byte) (int, credential.Cost, error) {
	for i, stored := range values {
		if e.o.Verified.Hit(uuid, stored, set.PolicyVersion, password) {
			return i, credential.Cost{}, nil
		}
	}
	result, err := e.verifyUncached(ctx, req, set, class, values, password)
	if err == nil && result.Index >= 0 {
		e.o.Verified.Add(uuid, values[result.Index], set.PolicyVersion, password)
	}
	return result.Index, result.Spent, err
}

// verifyUncached is verify without what is remembered.
func (e *Engine) verifyUncached(ctx context.Context, req *op.Request, set *Settings, class credential.Class, values [][]byte, password []byte) (credential.Result, error) {
	result := credential.Result{Index: -1}
	if err := e.inPool(ctx, req, class, func(c credential.Computer) { result = c.Check(set.Passwords, values, password) }); err != nil {
		return credential.Result{Index: -1}, err
	}
	e.worked.Add(int64(result.Spent.Work + result.Dummy.Work))
	if result.Err != nil {
		e.o.Log.Warn("a stored password cannot be read", "error", result.Err)
	}
	return result, nil
}

// equalize spends what a right password has cost less than a wrong one.
func (e *Engine) equalize(ctx context.Context, req *op.Request, set *Settings, password []byte, spent credential.Cost) error {
	if spent.Work >= set.Passwords.Cost().Work {
		return nil
	}
	return e.inPool(ctx, req, credential.Normal, func(c credential.Computer) {
		e.worked.Add(int64(c.Equalize(set.Passwords, password, spent).Work))
	})
}

// inPool runs work in the hashing pool; busy says that the pool is full.
func (e *Engine) inPool(ctx context.Context, req *op.Request, class credential.Class, work func(credential.Computer)) error {
	ctx = req.Detach(ctx)
	job := credential.Job{Class: class, Source: sourceOf(req.Conn)}
	if err := e.o.Hashing.Do(ctx, job, func() { work(e.computer(class)) }); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return ldap.Errorf(ldap.Busy, "too many passwords are being checked: try again later").Because(err)
	}
	return nil
}

// computer is who computes the hashes of a class.
func (e *Engine) computer(class credential.Class) credential.Computer {
	if e.o.Apart == nil || class == credential.Honest {
		return credential.Here{}
	}
	return e.o.Apart
}

// sourceOf is whom a client shares its turn in the hashing pool with.
func sourceOf(c *op.Conn) string {
	addr := c.Remote.Addr().Unmap()
	if !addr.IsValid() {
		return "local"
	}
	bits := 32
	if addr.Is6() {
		bits = 64
	}
	network, err := addr.Prefix(bits)
	if err != nil {
		return "local"
	}
	return network.String()
}

// exchange is a SASL exchange between two steps.
type exchange struct {
	mechanism string
	step      op.Exchange
}

// saslBind takes one step of a SASL exchange (RFC 4511 section 4.2.1, RFC 4513 section 5.2).
func (e *Engine) saslBind(ctx context.Context, req *op.Request, m *ldap.BindRequest) error {
	state, _ := req.Conn.Exchange.(*exchange)
	// It is used up here and put back if it goes on: whatever fails ends it.
	req.Conn.Exchange = nil
	if state == nil || state.mechanism != string(m.Mechanism) {
		mechanism := e.mechanisms[string(m.Mechanism)]
		if mechanism == nil || !mechanism.Allowed(req.Conn) {
			code := ldap.AuthMethodNotSupported
			if mechanism != nil && mechanism.Unavailable != 0 {
				code = mechanism.Unavailable
			}
			return ldap.Errorf(code, "SASL mechanism %q is not available on this connection", clip(m.Mechanism))
		}
		step, err := mechanism.Start(req)
		if err != nil {
			return err
		}
		state = &exchange{mechanism: mechanism.Name, step: step}
	}
	var creds []byte
	if m.HasCreds {
		creds = m.Credentials
		if creds == nil {
			creds = []byte{}
		}
	}
	claimant, ok := state.step.(op.Claimant)
	if !ok || e.o.Guard == nil {
		return e.saslStep(ctx, req, state, creds)
	}
	claimed := claimant.Claimed()
	if claimed.Norm == "" {
		return e.saslStep(ctx, req, state, creds)
	}
	checked := op.BindOutcome{Name: claimed, Proved: state.mechanism, Index: -1}
	err := e.guarded(ctx, req, &checked, func() error { return e.saslStep(ctx, req, state, creds) })
	return e.conclude(ctx, req, &checked, err)
}

// saslStep takes one step of an exchange that goes on or begins.
func (e *Engine) saslStep(ctx context.Context, req *op.Request, state *exchange, creds []byte) error {
	challenge, who, err := state.step.Step(ctx, req, creds)
	if err != nil {
		if who != nil {
			return e.admit(ctx, req, who, err)
		}
		return err
	}
	if who != nil {
		if who, err = e.saslBound(ctx, req, who, state.step); err != nil {
			return err
		}
	}
	// A refusal has none: what proves that the server knows the password would tell that it was right.
	req.Reply.SASLCreds, req.Reply.HasSASLCreds = challenge, challenge != nil
	if who == nil {
		req.Conn.Exchange = state
		req.Reply.Code = ldap.SASLBindInProgress
		return nil
	}
	if !who.IsAnonymous() || who.Proxied != nil {
		req.Conn.SetIdentity(who)
	}
	return nil
}

// saslBound returns who a connection is bound as once a mechanism has proved who its client is.
func (e *Engine) saslBound(ctx context.Context, req *op.Request, who *op.Identity, x op.Exchange) (*op.Identity, error) {
	if who.Entry != 0 {
		if err := e.admit(ctx, req, who, nil); err != nil {
			return nil, err
		}
	}
	return e.authorize(req, who, x)
}

// admit asks for an identity that a mechanism proved without a password here what a password bind asks: is the account
// in force, and do the overlays agree. failed is not nil where the mechanism found that the credentials were wrong: the
// overlays are to know, also where the name is nobody's.
func (e *Engine) admit(ctx context.Context, req *op.Request, who *op.Identity, failed error) error {
	if who.Method == "PLAIN" {
		return failed // it went through Authenticate
	}
	outcome := op.BindOutcome{Name: who.Name, Proved: who.Method, Index: -1, Err: failed, Wrong: failed != nil}
	if who.Entry != 0 || who.Admin {
		outcome.Identity = who
	}
	err := e.admitted(ctx, req, &outcome, who.Entry)
	if err = e.conclude(ctx, req, &outcome, err); err != nil {
		return err
	}
	*who = *outcome.Identity
	return nil
}

func (e *Engine) admitted(ctx context.Context, req *op.Request, b *op.BindOutcome, id dit.ID) error {
	view := e.o.Store.View()
	defer view.Close()
	b.Reader = view
	if id != 0 {
		entry, err := view.Get(id)
		if err != nil {
			return err
		}
		if entry == nil {
			return errCredentials("the entry is gone")
		}
		b.Entry = entry
		if b.Err == nil {
			b.Err = mayBind(view.Schema(), entry, req.Conn)
		}
	}
	for i := range e.o.Overlays {
		if hook := e.o.Overlays[i].Attempt; hook != nil {
			if err := hook(ctx, req, b); err != nil {
				return err
			}
		}
	}
	return e.bound(ctx, req, b)
}

// Identify returns the identity of an entry, for mechanisms and authorization identities; nil where there is none. An alias or
// a referral object is nobody (RFC 3296 section 5.6.1).
func (e *Engine) Identify(norm, method string) (*op.Identity, error) {
	set := e.Settings()
	if norm == set.Admin.Norm {
		return &op.Identity{Name: set.Admin, Admin: true, Method: method}, nil
	}
	view := e.o.Store.View()
	defer view.Close()
	entry, _, err := view.Lookup(norm)
	if err != nil || entry == nil || entry.Alias || entry.Referral {
		return nil, err
	}
	name, err := view.Name(entry)
	if err != nil {
		return nil, err
	}
	return &op.Identity{Name: name, Entry: entry.ID, UUID: entry.UUID, Method: method}, nil
}
