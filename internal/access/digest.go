package access

import (
	"crypto/sha256"
	"encoding/binary"
)

// Digest identifies all that decides about the subject besides the targets: the rules that can be about it, how far it
// decides about each by itself (who it is, its groups, its connection), and its name. With the same digest the same entry
// is shown alike, today and after a restart: what remembers what somebody was shown keeps the digest beside it.
func (e *Evaluator) Digest() [sha256.Size]byte {
	if e.class == nil {
		return sha256.Sum256([]byte("administrator"))
	}
	h := sha256.New()
	h.Write(e.class.digest[:])
	h.Write([]byte(e.subject.Name.Norm))
	return [sha256.Size]byte(h.Sum(nil))
}

// digest identifies what a rule says about targets. Its conditions on the connection and on who the subject is are in the
// verdict about the subject.
func (in *Rule) digest() [sha256.Size]byte {
	h := sha256.New()
	text := func(s string) {
		h.Write(binary.AppendUvarint(nil, uint64(len(s))))
		h.Write([]byte(s))
	}
	for _, list := range [...][]string{in.Allow, in.Deny, in.Who, in.On, in.Attrs, {in.Filter}} {
		h.Write(binary.AppendUvarint(nil, uint64(len(list))))
		for _, s := range list {
			text(s)
		}
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// digestOf identifies the rules of a class and the verdicts about its subjects.
func digestOf(rules []*rule, verdicts []verdict) [sha256.Size]byte {
	h := sha256.New()
	for i, r := range rules {
		h.Write(r.digest[:])
		h.Write([]byte{byte(verdicts[i])})
	}
	return [sha256.Size]byte(h.Sum(nil))
}
