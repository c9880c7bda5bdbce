package credential

import (
	"fmt"
	"io"

	"golang.org/x/crypto/argon2"
)

// dummySalt is what dummy hashes are computed with. It protects nothing: their results are thrown away.
var dummySalt = []byte("portolan dummy salt")

// dummy costs what a hash under its parameters costs and matches nothing.
type dummy struct{ p Params }

func (d dummy) cost() Cost { return d.p.Cost() }

func (d dummy) verify(password []byte) bool {
	argon2.IDKey(password, dummySalt, d.p.Time, d.p.Memory, d.p.Threads, d.p.KeyLen)
	return false
}

// Dummy returns a Secret that costs exactly one hash under p to verify and matches nothing, for users that do not
// exist. p must be valid.
func (p Params) Dummy() Secret { return Secret{scheme: "DUMMY", v: dummy{p}} }

// Equalize computes away what is missing between spent and the cost of one hash under p, so that every failed bind
// takes the time of one default hash whatever is stored, or whether anything is. Where spent is already as much, it
// does nothing. p must be valid; runs in a Pool. It returns what it has cost.
func (p Params) Equalize(password []byte, spent Cost) Cost {
	full := p.Cost().Work
	missing := full - spent.Work
	if missing <= 0 || full <= 0 {
		return Cost{}
	}
	// Argon2's time is linear in its memory: a smaller dummy takes the missing part.
	share := p
	if spent.Work > 0 {
		share.Memory = uint32(float64(p.Memory) * (float64(missing) / float64(full)))
	}
	if share.Memory < 8*uint32(p.Threads) {
		return Cost{}
	}
	dummy{share}.verify(password[:min(len(password), MaxPassword)])
	return share.Cost()
}

// Result says how Params.Check ended.
type Result struct {
	Index   int    // of the value that matched; -1 for none
	Secret  Secret // what matched
	Spent   Cost   // by verifying, without the dummy
	Dummy   Cost   // what was computed to no end but the time that it takes
	Skipped int    // values not looked at because of MaxValues or twice MaxWork
	Err     error  // the first value that could not be read, if none matched: for the log, not for the client
}

// OK reports whether a value matched.
func (r Result) OK() bool { return r.Index >= 0 }

// Check looks for the stored value that the password matches. On failure it equalizes: "no such user" (no values),
// "no password", "unreadable value" and "wrong password" all take the time of one hash under p. Clear-text values
// never match. Values are tried in order; at most MaxValues of them and no further ones once 2 MaxWork are spent.
// p must be valid; runs in a Pool.
func (p Params) Check(values [][]byte, password []byte) Result {
	r := Try(values, password)
	if !r.OK() {
		r.Dummy = p.Equalize(password, r.Spent)
	}
	return r
}

// Try is Check without what makes failures alike: whoever fails must be told so only after Equalize.
func Try(values [][]byte, password []byte) Result {
	r := Result{Index: -1}
	for i, stored := range values {
		if i >= MaxValues || r.Spent.Work > 2*MaxWork {
			r.Skipped = len(values) - i
			break
		}
		secret, err := Parse(stored)
		if err != nil {
			if r.Err == nil {
				r.Err = fmt.Errorf("stored value %d: %w", i+1, err)
			}
			continue
		}
		if !secret.computes(password) {
			continue // and nothing is spent
		}
		r.Spent = r.Spent.Add(secret.Cost())
		if secret.Verify(password) {
			r.Index, r.Secret, r.Err = i, secret, nil
			return r
		}
	}
	return r
}

// Computer checks and makes password hashes, all of them in the time that they take.
type Computer interface {
	Check(p Params, values [][]byte, password []byte) Result
	Equalize(p Params, password []byte, spent Cost) Cost
	Hash(p Params, password []byte, rand io.Reader) ([]byte, error)
}

// Here computes on the goroutine that asks.
type Here struct{}

// Check is Params.Check.
func (Here) Check(p Params, values [][]byte, password []byte) Result {
	return p.Check(values, password)
}

// Equalize is Params.Equalize.
func (Here) Equalize(p Params, password []byte, spent Cost) Cost { return p.Equalize(password, spent) }

// Hash is the function Hash.
func (Here) Hash(p Params, password []byte, rand io.Reader) ([]byte, error) {
	return Hash(p, password, rand)
}
