package sasl

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"io"
	"strconv"
	"sync"

	"portolan/internal/credential"
	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/ldap"
)

// ScramAccounts gives the SCRAM mechanisms what they need of the directory, beside Identities.
type ScramAccounts interface {
	Identities
	// ScramAccount returns the identity that a canonical name is and the key of its password; no identity where there is no
	// such entry or it has no key.
	ScramAccount(norm, method string) (*op.Identity, credential.ScramKey, error)
	// ScramIterations is the count that new keys are made with.
	ScramIterations() int
}

// Names of the SCRAM mechanisms.
const (
	scramName     = "SCRAM-SHA-256"
	scramPlusName = "SCRAM-SHA-256-PLUS"
)

// Scram returns SCRAM-SHA-256-PLUS and SCRAM-SHA-256 (RFC 5802, RFC 7677): a password is proved by both sides without being
// shown. With -PLUS the proof holds for this TLS connection alone, so that nobody can stand in between. offered says whether
// the server offers a mechanism of this name: a client that believes there is no -PLUS where there is was told so by
// somebody else.
func Scram(ids ScramAccounts, p *op.Ports, offered func(name string) bool) []op.Mechanism {
	s := &scram{ids: ids, ports: p}
	s.plus = func(c *op.Conn) bool { return offered(scramPlusName) && ids.Confidential(c) && bindable(c) }
	mechanism := func(name string, allowed func(*op.Conn) bool) op.Mechanism {
		return op.Mechanism{
			Name: name, Source: "RFC 7677", Allowed: allowed,
			Start: func(*op.Request) (op.Exchange, error) {
				return &scramExchange{scram: s, mechanism: name}, nil
			},
		}
	}
	return []op.Mechanism{
		mechanism(scramPlusName, s.plus),
		mechanism(scramName, ids.Confidential),
	}
}

// scram is what exchanges have in common.
type scram struct {
	ids   ScramAccounts
	ports *op.Ports
	plus  func(*op.Conn) bool // -PLUS is there on this connection

	mu     sync.Mutex
	secret []byte
}

// secretKey is where State keeps the secret that salts of names of nobody are made from. It lives as long as the data: a
// salt that changed with the next start would tell such names apart.
var secretKey = []byte("sasl/scram-secret")

func (s *scram) nobodySecret() ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.secret != nil {
		return s.secret, nil
	}
	fresh := make([]byte, sha256.Size)
	if _, err := io.ReadFull(s.ports.Rand, fresh); err != nil {
		return nil, err
	}
	var kept []byte
	err := s.ports.State.Update(secretKey, func(old []byte) []byte {
		if kept = old; len(old) != len(fresh) {
			kept = fresh
		}
		kept = bytes.Clone(kept)
		return kept
	})
	if err == nil {
		s.secret = kept
	}
	return s.secret, err
}

// nobody returns a key for a name that has none. It is the same every time, and no password gives it.
func (s *scram) nobody(norm string) (k credential.ScramKey, err error) {
	secret, err := s.nobodySecret()
	if err != nil {
		return k, err
	}
	of := func(what string) []byte {
		m := hmac.New(sha256.New, secret)
		m.Write([]byte(what + "\x00" + norm))
		return m.Sum(nil)
	}
	k.Iterations, k.Salt = s.ids.ScramIterations(), of("salt")[:credential.ScramSalt]
	k.StoredKey, k.ServerKey = [32]byte(of("stored")), [32]byte(of("server"))
	return k, nil
}

// nonceSize is the server's part of the nonce, in octets before base64.
const nonceSize = 24

// scramExchange is one exchange of RFC 5802 section 5.
type scramExchange struct {
	*scram
	mechanism string
	asked     bool

	first       *clientFirst // nil until the client's first message was taken
	account     dit.Name
	known       bool // the account exists and has a key
	key         credential.ScramKey
	nonce       string
	serverFirst string
}

// AuthzID implements op.Authorizer.
func (x *scramExchange) AuthzID() string {
	if x.first == nil {
		return ""
	}
	return x.first.authz
}

// Claimed implements op.Claimant.
func (x *scramExchange) Claimed() dit.Name { return x.account }

// Step implements op.Exchange.
func (x *scramExchange) Step(_ context.Context, req *op.Request, creds []byte) ([]byte, *op.Identity, error) {
	switch {
	case x.first != nil:
		return x.final(req, creds)
	case creds == nil && !x.asked:
		x.asked = true
		return []byte{}, nil, nil
	}
	challenge, err := x.begin(req, creds)
	return challenge, nil, err
}

func errScram(why op.Reason, err error) error {
	if err != nil {
		return ldap.Errorf(ldap.InvalidCredentials, "").Because(fmt.Errorf("%w: %w", why, err))
	}
	return ldap.Errorf(ldap.InvalidCredentials, "").Because(why)
}

// begin answers the client's first message with salt and iterations. For a name of nobody they are made up.
func (x *scramExchange) begin(req *op.Request, message []byte) ([]byte, error) {
	first, err := parseClientFirst(message)
	if err != nil {
		return nil, errScram("malformed SCRAM message", err)
	}
	if err := x.checkFlag(req.Conn, first); err != nil {
		return nil, err
	}
	name, err := x.ids.UserName(first.user, scramName)
	if err != nil {
		return nil, err
	}
	who, key, err := x.ids.ScramAccount(name.Norm, x.mechanism)
	if err != nil {
		return nil, err
	}
	if who == nil {
		if key, err = x.nobody(name.Norm); err != nil {
			return nil, err
		}
	}
	nonce := make([]byte, nonceSize)
	if _, err := io.ReadFull(x.ports.Rand, nonce); err != nil {
		return nil, err
	}
	b64 := base64.StdEncoding.EncodeToString
	x.account, x.known, x.key, x.first = name, who != nil, key, first
	x.nonce = first.nonce + b64(nonce)
	x.serverFirst = "r=" + x.nonce + ",s=" + b64(key.Salt) + ",i=" + strconv.Itoa(key.Iterations)
	return []byte(x.serverFirst), nil
}

// checkFlag compares what the client says about channel binding with what the server has (RFC 5802 section 6).
func (x *scramExchange) checkFlag(c *op.Conn, first *clientFirst) error {
	switch {
	case x.mechanism == scramPlusName && first.flag != bindUsed:
		return errScram("channel binding is missing", nil)
	case x.mechanism != scramPlusName && first.flag == bindUsed && !x.plus(c):
		// Where there is -PLUS, a client may name the mechanism without it and bind all the same: cyrus-sasl does. What it
		// says is checked as with -PLUS.
		return errScram("channel binding with a mechanism that has none", nil)
	case first.flag == bindUnoffered && x.plus(c):
		return errScram("the client was made to believe that there is no channel binding", nil)
	case first.flag == bindUsed && !knownBinding(first.binding):
		return ldap.Errorf(ldap.InvalidCredentials, "this channel binding type is not supported: use tls-exporter or tls-server-end-point").
			Because(op.Reason("unsupported channel binding type"))
	}
	return nil
}

// final checks the client's proof and answers with the server's. The account is looked at again: its password may have
// changed since the exchange began.
func (x *scramExchange) final(req *op.Request, message []byte) ([]byte, *op.Identity, error) {
	last, err := parseClientFinal(message)
	if err != nil {
		return nil, nil, errScram("malformed SCRAM message", err)
	}
	if last.nonce != x.nonce {
		return nil, nil, errScram("wrong nonce", nil)
	}
	right := subtle.ConstantTimeCompare([]byte(x.first.header), last.binding) == 1
	if x.first.flag == bindUsed {
		var known bool
		if right, known = isBinding(req.Conn, x.first.binding, x.first.header, last.binding); !known {
			return nil, nil, errScram("the connection has no such channel binding", nil)
		}
	}
	if !right {
		// Somebody stands between the client and this server, or something that ends TLS before it.
		return nil, nil, errScram("wrong channel binding", nil)
	}
	who, key, err := x.ids.ScramAccount(x.account.Norm, x.mechanism)
	if err != nil {
		return nil, nil, err
	}
	signature, proved := x.key.VerifyProof(x.first.bare+","+x.serverFirst+","+last.withoutProof, last.proof)
	if who == nil || !x.known {
		// The overlays are to treat it as what it must look like: a name of nobody.
		return nil, &op.Identity{Name: x.account, Method: x.mechanism}, errScram("no such entry, or it has no SCRAM key", nil)
	}
	if !proved || key.StoredKey != x.key.StoredKey {
		return nil, who, errScram("wrong password", nil)
	}
	return []byte("v=" + base64.StdEncoding.EncodeToString(signature)), who, nil
}
