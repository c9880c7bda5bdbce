package op

import (
	"context"

	"portolan/internal/dit"
)

// Guard stands before every check of credentials that can be guessed: a bind by password or by a mechanism that proves one,
// a compare of a password, the old password in a change. The engine calls it by name, before all overlays. It is safe for
// concurrent use.
type Guard interface {
	// Attempt is asked before anything is compared; b says whose credentials they are (the canonical Name, whether there is such
	// an entry or not), what for, and the password, nil where a mechanism does not show it. It may wait, and detaches the request before. An error
	// means that nothing is compared and no overlay asked; the client is told it after b.Delay. It may append to b.Finally.
	Attempt(ctx context.Context, req *Request, b *BindOutcome) error
	// Settle is called once after every Attempt that returned nil. err is what the client would be told: nil where the
	// credentials were right and may be used, invalidCredentials where not, anything else where they were not compared. It
	// may raise b.Delay and append to b.Finally.
	Settle(req *Request, b *BindOutcome, err error)
}

// Alarm is told of passwords that a client has sent over a connection on which they must not be sent: somebody may have read
// them on the way. They were not checked, and the client has been refused.
type Alarm interface {
	// Exposed must not block. name is as the client sent it, norm its canonical form; both are claims. The password must be
	// copied if it is kept.
	Exposed(req *Request, name, norm string, password []byte)
}

// Claimant is an Exchange that knows whose credentials its next step is going to check, although it does not show them: the
// guard is asked before that step.
type Claimant interface {
	// Claimed returns the account; the zero Name where the next step checks nothing that could be guessed.
	Claimed() dit.Name
}

// Pacer is asked now and then by an operation that takes long, so that operations of different clients share the server
// fairly. It may block; its error ends the operation.
type Pacer interface {
	Pace(ctx context.Context, req *Request) error
}

// PaceEvery is how many entries a search looks at between two calls of a Pacer.
const PaceEvery = 128
