package op

import (
	"context"
	"time"

	"portolan/internal/dit"
	"portolan/internal/schema"
)

// PolicyError is the error of the password policy response control (draft-behera-ldap-password-policy-11 section 6.2).
type PolicyError int8

// Policy errors. NoPolicyError leaves the error out.
const (
	NoPolicyError PolicyError = iota - 1
	PasswordExpired
	AccountLocked
	ChangeAfterReset
	PasswordModNotAllowed
	MustSupplyOldPassword
	InsufficientPasswordQuality
	PasswordTooShort
	PasswordTooYoung
	PasswordInHistory
	PasswordTooLong
)

// PolicyReply is what the password policy has to say about an operation beyond its result. Controls put it into words.
type PolicyReply struct {
	// Error is told to those who may know: who has proved the password, or changes one.
	Error PolicyError
	// Expires is the time left until the password expires, or negative; Grace the number of grace logins left, or -1.
	Expires time.Duration
	Grace   int
	// Notices wants clients told that do not ask (draft-vchu-ldap-pwd-policy).
	Notices bool
}

// SetPolicyError notes what the password policy has against the operation.
func (r *Request) SetPolicyError(e PolicyError) {
	if r.Policy == nil {
		r.Policy = NewPolicyReply()
	}
	r.Policy.Error = e
}

// NewPolicyReply returns a reply that says nothing.
func NewPolicyReply() *PolicyReply {
	return &PolicyReply{Error: NoPolicyError, Expires: -1, Grace: -1}
}

// Usability is what is known about whether an account can be used.
type Usability struct {
	Inactive, Reset, Expired bool
	Grace                    int           // grace logins left, -1 unknown
	UnlockIn                 time.Duration // until a lock ends, negative unknown
	Expires                  time.Duration // until the password expires, or the account ends or is idle; negative: never
}

// NewPassword is a password that somebody is about to give an entry, in clear and outside of any transaction.
type NewPassword struct {
	// Reader shows the directory as it was when the change was prepared. The transaction begins anew where the entry has
	// changed since.
	Reader Reader
	// Entry is the entry whose password it is, nil for an add; Name its name.
	Entry *dit.Entry
	Name  dit.Name
	// Attribute returns the values of an attribute as they are or, for an add, will be.
	Attribute func(t *schema.AttributeType) [][]byte
	// Password is the new one; Old what the request itself gives as the old one (a value to be deleted), nil where it gives
	// none. OldRight says that it was right.
	Password, Old []byte
	OldRight      bool
	// Stored are the hashed values that the entry has now.
	Stored [][]byte
	// ByAdmin says that the requester is the administrator, Self that it is the entry's own owner.
	ByAdmin, Self bool
	// Verify finds the one of some hashed values that the new password matches, -1 for none.
	Verify func(ctx context.Context, hashed [][]byte) (int, error)
}
