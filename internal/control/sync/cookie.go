package sync

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"io"

	"github.com/google/uuid"

	"portolan/internal/dit"
	"portolan/ldap"
)

// A cookie is rid=NNN,csn=CSN,portolan=SEAL. What stands before the seal is OpenLDAP's form: its consumers keep the CSN and
// make up a cookie of their own from it, in which the seal is not. The seal is authentic, and says more: of which epoch and
// place in the journal the copy is, and what it is a copy of.
const (
	sealField   = "portolan"
	sealVersion = 1
	digestLen   = 16
	sealLen     = 1 + 16 + 8 + 3*digestLen
	macLen      = 16
)

// digest is a part of a SHA-256.
type digest = [digestLen]byte

// seal is the authenticated part of a cookie.
type seal struct {
	epoch                    uuid.UUID
	seq                      uint64
	identity, search, policy digest
}

// Keys of the server's state.
var (
	keyKey   = []byte("sync/key")
	keyFloor = []byte("sync/floor")
	keySeen  = []byte("sync/seen/") // and the digest of an identity
)

// secrets are what the server keeps for cookies.
type secrets struct {
	key []byte
	// floor is the CSN below which plain cookies are of another epoch, whose CSNs say nothing about this content.
	floor dit.CSN
}

// secrets returns the key and the floor of this store, made at the first request of all.
func (p *provider) secrets(ctx context.Context) (*secrets, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.known != nil {
		return p.known, nil
	}
	fresh := make([]byte, sha256.Size)
	if _, err := io.ReadFull(p.Rand, fresh); err != nil {
		return nil, err
	}
	known := &secrets{}
	err := p.State.Update(keyKey, func(old []byte) []byte {
		if len(old) != sha256.Size {
			old = fresh
		}
		known.key = old
		return old
	})
	if err != nil {
		return nil, err
	}
	view := p.Directory.View()
	now := view.CSN()
	view.Close()
	epoch := p.Journal.Epoch()
	err = p.State.Update(keyFloor, func(old []byte) []byte {
		if len(old) == len(epoch)+dit.CSNLen && uuid.UUID(old[:16]) == epoch {
			if csn, err := dit.ParseCSN(old[16:]); err == nil {
				known.floor = csn
				return old
			}
		}
		known.floor = now
		return now.Append(append([]byte{}, epoch[:]...))
	})
	if err != nil {
		return nil, err
	}
	// Cookies must not outlive the key that they are made with.
	if err := p.State.Flush(ctx); err != nil {
		return nil, err
	}
	p.known = known
	return known, nil
}

// mac authenticates a seal and the text before it.
func (k *secrets) mac(before, body []byte) []byte {
	h := hmac.New(sha256.New, k.key)
	h.Write(binary.AppendUvarint(nil, uint64(len(before))))
	h.Write(before)
	h.Write(body)
	return h.Sum(nil)[:macLen]
}

var encoding = base64.RawURLEncoding

// append appends the cookie of a position.
func (k *secrets) append(dst []byte, rid int, csn dit.CSN, s *seal) []byte {
	start := len(dst)
	if csn.IsZero() {
		dst = dit.AppendSyncCookie(dst, rid)
	} else {
		dst = dit.AppendSyncCookie(dst, rid, csn)
	}
	dst = append(dst, ',')
	body := make([]byte, 0, sealLen+macLen)
	body = append(append(body, sealVersion), s.epoch[:]...)
	body = binary.BigEndian.AppendUint64(body, s.seq)
	body = append(append(append(body, s.identity[:]...), s.search[:]...), s.policy[:]...)
	body = append(body, k.mac(dst[start:], body)...)
	dst = append(append(dst, sealField...), '=')
	return encoding.AppendEncode(dst, body)
}

// open reads the seal of a cookie; false for one that this server has not made.
func (k *secrets) open(cookie []byte, parsed *dit.SyncCookie) (s seal, ok bool) {
	body, err := encoding.AppendDecode(nil, parsed.Rest)
	if err != nil || len(body) != sealLen+macLen || body[0] != sealVersion {
		return s, false
	}
	body, sum := body[:sealLen], body[sealLen:]
	if !hmac.Equal(sum, k.mac(cookie[:parsed.Before], body)) {
		return s, false
	}
	rest := body[1:]
	take := func(n int) []byte {
		b := rest[:n]
		rest = rest[n:]
		return b
	}
	copy(s.epoch[:], take(16))
	s.seq = binary.BigEndian.Uint64(take(8))
	copy(s.identity[:], take(digestLen))
	copy(s.search[:], take(digestLen))
	copy(s.policy[:], take(digestLen))
	return s, true
}

// since remembers, for an identity, from which CSN on its copies have been made under the policy of this digest. Plain
// cookies do not say under which they were made: those with a lower CSN are no use. Where the policy is another than
// before, the CSN is a little above the present one, and so are the cookies that are given out until the next change.
func (p *provider) since(ctx context.Context, identity, policy digest, now dit.CSN) (since dit.CSN, err error) {
	fresh := false
	err = p.State.Update(append(keySeen[:len(keySeen):len(keySeen)], identity[:]...), func(old []byte) []byte {
		since, fresh = now, true
		if len(old) == digestLen+dit.CSNLen {
			was, err := dit.ParseCSN(old[digestLen:])
			switch {
			case err == nil && digest(old[:digestLen]) == policy:
				since, fresh = was, false
				return old
			case err == nil && was.Compare(since) > 0:
				since = was
			}
			since.Mod++
		}
		return since.Append(append([]byte{}, policy[:]...))
	})
	if err == nil && fresh {
		err = p.State.Flush(ctx)
	}
	return since, err
}

// identity is the digest of who asks.
func (s *session) identityDigest() digest {
	id := s.req.Identity
	h := sha256.New()
	if id.Admin {
		h.Write([]byte{1})
	}
	h.Write([]byte(id.Name.Norm))
	return digest(h.Sum(nil)[:digestLen])
}

// searchDigest is the digest of the parameters that control the content (RFC 4533 section 3.5): all but the limits. The
// filter is taken as it was compiled, so that it is another one when the schema gives it another meaning.
func (s *session) searchDigest() digest {
	h := sha256.New()
	number := func(n int64) { h.Write(binary.AppendVarint(nil, n)) }
	text := func(b []byte) {
		number(int64(len(b)))
		h.Write(b)
	}
	flag := func(b bool) {
		if b {
			number(1)
		} else {
			number(0)
		}
	}
	h.Write(s.base[:])
	text([]byte(s.baseNorm))
	number(int64(s.m.Scope))
	number(int64(s.m.Deref))
	flag(s.m.TypesOnly)
	flag(s.req.Search.ManageDsaIT)
	if v := s.req.Search.Subentries; v != nil {
		flag(*v)
	}
	number(int64(len(s.m.Attributes)))
	for _, a := range s.m.Attributes {
		text(a)
	}
	for i := range s.filter.Nodes {
		n := &s.filter.Nodes[i]
		number(int64(n.Op))
		number(int64(n.First))
		number(int64(n.Next))
		flag(n.Undefined)
		flag(n.DNAttrs)
		if n.Desc.Type != nil {
			text([]byte(n.Desc.Type.OID + n.Desc.Options))
		}
		if n.Rule != nil {
			text([]byte(n.Rule.OID))
		}
		text(n.Key)
		text(n.Value)
		for _, sub := range n.Subs {
			number(int64(sub.Kind))
			text(sub.Key)
		}
	}
	return digest(h.Sum(nil)[:digestLen])
}

// errNewer is the answer to a consumer that has more than this server.
var errNewer = ldap.Errorf(ldap.UnwillingToPerform, "the cookie is of a later state than that of this server")
