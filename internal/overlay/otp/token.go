package otp

import (
	"context"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"strconv"
	"time"

	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/internal/schema"
	"portolan/ldap"
)

// token is an entry of class portolanOtpToken that has a seed.
type token struct {
	entry     *dit.Entry
	algorithm *algorithm
	digits    int
	period    int // seconds
	confirmed bool
	seed      []byte // nil where it cannot be read
}

func first(s *schema.Schema, e *dit.Entry, name string) []byte {
	t := s.AttributeTypeString(name)
	if t == nil {
		return nil
	}
	return e.First(schema.Description{Type: t})
}

// token reads a token; nil where it has no seed. One that cannot be read has no code that is right, and counts as confirmed
// if it is.
func (x *otp) token(s *schema.Schema, e *dit.Entry) *token {
	stored := first(s, e, "portolanCredentialSecret")
	if stored == nil {
		return nil
	}
	t := x.parameters(s, e)
	t.confirmed = string(first(s, e, "portolanOtpConfirmed")) == "TRUE"
	seed, err := x.keys.open(stored)
	if err != nil {
		x.ports.Load().Log.Warn("the seed of a token cannot be read, and no code of it is right", "token", e.RDN, "uuid", e.UUID.String(), "error", err)
		return t
	}
	t.seed = seed
	return t
}

// parameters reads what a token says of its codes, or has by the configuration.
func (x *otp) parameters(s *schema.Schema, e *dit.Entry) *token {
	t := &token{entry: e, algorithm: algorithmOf(x.o.Algorithm), digits: x.o.Digits, period: int(x.o.Period / time.Second)}
	if a := algorithmOf(string(first(s, e, "portolanOtpAlgorithm"))); a != nil {
		t.algorithm = a
	}
	if n, err := strconv.Atoi(string(first(s, e, "portolanOtpDigits"))); err == nil && n >= 6 && n <= maxDigits {
		t.digits = n
	}
	if n, err := strconv.Atoi(string(first(s, e, "portolanOtpPeriod"))); err == nil && n > 0 {
		t.period = n
	}
	return t
}

// find returns the newest step within the window whose code is the one given. The time it takes does not depend on where
// a code differs.
func (t *token) find(code []byte, now time.Time, window int) (step int64, ok bool) {
	if t.seed == nil {
		return 0, false
	}
	at := stepAt(now, t.period)
	var buf [maxDigits]byte
	for n := at - int64(window); n <= at+int64(window); n++ {
		if n >= 0 && subtle.ConstantTimeCompare(appendCode(buf[:0], t.algorithm.new, t.seed, n, t.digits), code) == 1 {
			step, ok = n, true
		}
	}
	return step, ok
}

// statePrefix begins the keys of State under which the step of the last code that was used is kept, by token.
const statePrefix = "otp/"

func stateKey(e *dit.Entry) []byte { return append([]byte(statePrefix), e.UUID[:]...) }

// never is a step before all others.
const never = -1

func decodeStep(value []byte) int64 {
	if len(value) != 8 {
		return never
	}
	return int64(binary.BigEndian.Uint64(value))
}

func (x *otp) lastStep(t *token) (int64, error) {
	value, err := x.ports.Load().State.Get(stateKey(t.entry))
	return decodeStep(value), err
}

var (
	errUsed = errors.New("the code was used before")
	errGone = errors.New("the token has changed or is gone")
)

// spend uses up what was given, durably and once: of two binds with the same code one comes second. A code that cannot be
// marked as used, as on a server that takes no writes, is not accepted.
func (x *otp) spend(ctx context.Context, account string, f *factor) error {
	p := x.ports.Load()
	err := p.Directory.Update(ctx, "otp", func(tx op.Tx) error {
		if f.recovery != nil {
			return spendRecovery(tx, f)
		}
		return spendCode(tx, f)
	})
	switch {
	case err == nil:
		if f.recovery != nil {
			p.Log.Warn("a recovery code was used", "account", account)
			return p.State.Set(op.LastBindKey(f.recovery.UUID), op.AppendLastSuccess(nil, p.Now()))
		}
		if !f.token.confirmed {
			p.Log.Info("a token was confirmed by its first code", "account", account)
		}
		return p.State.Set(op.LastBindKey(f.token.entry.UUID), op.AppendLastSuccess(nil, p.Now()))
	case errors.Is(err, errUsed):
		return refused("the code was used before")
	case errors.Is(err, errGone):
		return refused("the token has changed or is gone")
	case ctx.Err() != nil:
		return ctx.Err()
	}
	p.Log.Warn("a second factor could not be marked as used and was refused", "account", account, "error", err)
	return ldap.Errorf(ldap.Unavailable, "the second factor cannot be checked now: try again later").Because(err)
}

func spendCode(tx op.Tx, f *factor) error {
	e, err := tx.ByUUID(f.token.entry.UUID)
	if err != nil {
		return err
	}
	s := tx.Schema()
	if e == nil || string(first(s, e, "portolanCredentialSecret")) != string(first(s, f.token.entry, "portolanCredentialSecret")) {
		return errGone
	}
	key := stateKey(e)
	value, err := tx.State(key)
	if err != nil {
		return err
	}
	if f.step <= decodeStep(value) {
		return errUsed
	}
	if err := tx.SetState(key, binary.BigEndian.AppendUint64(nil, uint64(f.step))); err != nil {
		return err
	}
	if string(first(s, e, "portolanOtpConfirmed")) == "TRUE" {
		return nil
	}
	d := e.Edit(tx)
	d.Set(s.AttributeTypeString("portolanOtpConfirmed"), []byte("TRUE"))
	return tx.Modify(d)
}

func spendRecovery(tx op.Tx, f *factor) error {
	e, err := tx.ByUUID(f.recovery.UUID)
	if err != nil {
		return err
	}
	s := tx.Schema()
	if e == nil || !holds(s, e, f.hash) {
		return errUsed
	}
	d := e.Edit(tx)
	desc := schema.Description{Type: s.AttributeTypeString("portolanCredentialSecret")}
	if err := d.Delete(s, desc, [][]byte{f.hash}, false); err != nil {
		return err
	}
	return tx.Modify(d)
}

// holds reports whether an entry has a hash of a recovery code.
func holds(s *schema.Schema, e *dit.Entry, hash []byte) bool {
	slot := e.Shape().FindType(s.AttributeTypeString("portolanCredentialSecret"))
	if slot < 0 {
		return false
	}
	found := 0
	for v := e.Values(slot); ; {
		value, ok := v.Next()
		if !ok {
			return found == 1
		}
		found |= subtle.ConstantTimeCompare(value, hash)
	}
}
