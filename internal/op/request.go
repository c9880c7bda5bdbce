// Package op is all that the author of an extension must read: the request as it goes through the server, and the five
// kinds of extension (Middleware, Overlay, Control, Extended, Mechanism) with the ports they are given. It decides
// nothing itself.
package op

import (
	"context"
	"time"

	"portolan/internal/dit"
	"portolan/internal/schema"
	"portolan/ldap"
)

// Handler serves one operation. A nil error means that req.Reply holds the result (Success unless set otherwise); any
// other error is mapped by ldap.AsError, its Cause goes to the log only. Search entries, references and intermediate
// responses go to w before the return; the final response is sent by the session.
//
// ctx ends when the operation is abandoned or cancelled, when its connection ends, or at the server's hard stop; it is
// cancellable only once the request is detached (see Request.Detach). Handlers are called from many goroutines.
type Handler interface {
	Serve(ctx context.Context, req *Request, w Writer) error
}

// HandlerFunc is a Handler that is a function.
type HandlerFunc func(ctx context.Context, req *Request, w Writer) error

// Serve calls f.
func (f HandlerFunc) Serve(ctx context.Context, req *Request, w Writer) error { return f(ctx, req, w) }

// Middleware wraps every operation and may stop it. The first of a list is the outermost.
type Middleware func(Handler) Handler

// Writer takes the messages that precede the final response. Its methods may be called from one goroutine at a time per
// request; messages of different requests of one connection do not mix. A slow reader blocks the caller, until the
// connection's write timeout ends the connection and ctx with it.
type Writer interface {
	// Begin returns the output buffer to append whole LDAPMessages to; End gives it back. Nothing else of this connection
	// is written in between, so that the time should be short. End may write to the network.
	Begin() []byte
	End(buf []byte) error
}

// Request is one operation on its way through the server. The session owns it; handlers must not keep it, nor octets
// that alias its message, after they return.
type Request struct {
	Conn     *Conn
	ID       int32 // messageID
	Op       ldap.Op
	Controls []ldap.Control
	// Identity is the authorization identity of the operation: the connection's at its start, or the proxied one.
	Identity *Identity
	// Start is when the message had been read.
	Start time.Time
	// Limits apply to this operation; the engine sets them from the identity before anything else runs.
	Limits Limits

	// Reply is the final response in the making.
	Reply Reply

	// Out takes messages that precede the final response; the engine sets it to the Writer that it was given.
	Out Writer

	// Search, for a search, and Write, for an operation that changes entries, are what controls ask of the engine.
	Search SearchPlan
	Write  WritePlan

	// Policy is what the password policy says about the operation; nil where it says nothing.
	Policy *PolicyReply

	// Trace is what the access log says about the operation. Handlers fill it in as they learn it.
	Trace Trace

	// Pacer, where set, is asked by a search after every PaceEvery entries; Paced is its own, nil until it was asked.
	Pacer Pacer
	Paced any

	// DetachFunc is set by the session; see Detach.
	DetachFunc func() context.Context
}

// Detach must be called before the operation blocks or works for long: writes, hashing, scans. The session then goes on
// reading the connection elsewhere, and the returned context is cancelled by abandon and cancel. It may be called more
// than once. Short indexed reads do without and so cost no goroutine.
func (r *Request) Detach(ctx context.Context) context.Context {
	if r.DetachFunc == nil {
		return ctx
	}
	return r.DetachFunc()
}

// Reply is the final response: the result, and what individual responses add to it.
type Reply struct {
	ldap.Result
	Controls []ldap.Control
	// SASLCreds are the serverSaslCreds of a bind.
	SASLCreds    []byte
	HasSASLCreds bool
	// Name and Value are responseName and responseValue of an extended operation.
	Name     string
	Value    []byte
	HasValue bool
	// After runs when the response has been written: an operation such as StartTLS changes the connection there.
	After func()
}

// Limits bound one operation. Zero means no limit.
type Limits struct {
	Size     int           // entries returned
	Time     time.Duration // from Request.Start
	Examined int           // entries looked at
	Changes  int           // entries changed in one transaction
}

// Trace is what an operation did, for the access log and for metrics.
type Trace struct {
	Entries    int    // entries returned
	References int    // references returned
	Examined   int    // entries looked at
	Plan       Plan   // how the candidates were found, such as "eq(uid)=1"
	DN         string // the entry that the operation was about, when it is not in the message (an extended operation's)
	Note       string // one more remark, such as "exposed credential"
	// Sessions are what the client says about the sessions of its own that the request belongs to (session tracking).
	Sessions []TrackedSession
	Seq      uint64 // journal sequence of a write
}

// TrackedSession is one session tracking control (draft-wahl-ldap-session): the client's own words, to be found again in
// its logs.
type TrackedSession struct {
	SourceIP, SourceName, Format, Identifier string
}

// Keep returns a copy of the request that may be kept after the handler has returned: its message aliases nothing. What the
// engine and controls made of the request is not copied.
func (r *Request) Keep() (*Request, error) {
	message := ldap.Message{ID: r.ID, Op: r.Op, Controls: r.Controls}
	kept, err := ldap.Decode(message.Append(nil))
	if err != nil {
		return nil, err
	}
	return &Request{Conn: r.Conn, ID: r.ID, Op: kept.Op, Controls: kept.Controls, Identity: r.Identity, Start: r.Start}, nil
}

// Reason is why an authentication or an authorization was refused, for the operator's logs: it stands as the Cause of an
// *ldap.Error, or in its chain, and the client never sees it. It is a constant of the program, such as "wrong password";
// nothing that a client sent may be in it.
type Reason string

func (r Reason) Error() string { return string(r) }

// Plan is a short text that lives in the request itself: it is made for every search and must cost nothing. What is too
// long is cut.
type Plan struct {
	n    uint8
	text [95]byte
}

// Set takes a text over.
func (p *Plan) Set(text string) { p.n = uint8(copy(p.text[:], text)) }

// SetBytes is Set for octets, which are copied.
func (p *Plan) SetBytes(text []byte) { p.n = uint8(copy(p.text[:], text)) }

// Bytes returns the text. It is valid as long as the request.
func (p *Plan) Bytes() []byte { return p.text[:p.n] }

// Empty reports whether nothing was set.
func (p *Plan) Empty() bool { return p.n == 0 }

func (p *Plan) String() string { return string(p.Bytes()) }

// SearchPlan is what controls ask of a search. The engine reads it after every control's Around was entered.
type SearchPlan struct {
	// Filter is the compiled filter of the request; the engine fills it in before the controls run.
	Filter *dit.Filter
	// After makes the search go on behind this candidate; with Max it cuts a page out of the result. AfterBase is the entry to
	// which an alias had led where that candidate was beneath one (derefInSearching), 0 for the base object.
	After     dit.ID
	AfterBase dit.ID
	// Max is the page size, 0 for all. When entries are left over, the engine sets More, Last and LastBase.
	Max      int
	More     bool
	Last     dit.ID
	LastBase dit.ID
	// Estimate is set by the engine: about how many candidates there are in all, 0 if unknown. It is told the administrator
	// alone: candidates come from indexes, which know of values that others may not search.
	Estimate int
	// Values, where set, selects values on their way out (matched values); it is asked after access control.
	Values func(r Reader, e *dit.Entry, d schema.Description, value []byte) bool
	// Before sees the base object of a search, or the entry of a compare, once it is found and may be known of (assertion):
	// the sight is turned to it. An error stops the operation. A search from the root has no base object.
	Before []func(see Sight) error
	// EachEntry, where set, appends controls to a SearchResultEntry. It is called after access control has let the entry pass.
	EachEntry []func(ctx context.Context, r Reader, e *dit.Entry, name dit.Name, controls []ldap.Control) ([]ldap.Control, error)
	// EachReference is the same for a SearchResultReference, with the referral object that it stands for.
	EachReference []func(r Reader, e *dit.Entry, controls []ldap.Control) ([]ldap.Control, error)
	// Instead, where set, makes the search one of a single state of the directory, which it is given before any entry is
	// looked at, with the base object, nil being the root. It may do the search itself: done ends it. The request is
	// detached then. Entries that are not stored cannot be searched so.
	Instead func(ctx context.Context, r Snapshot, base *dit.Entry) (done bool, err error)
	// Follow, where set with Instead, is what makes it a search of a tree that grows.
	Follow *Follow
	// Known, where set, is shown every entry that would be sent, and every referral object whose reference would be, and
	// says which need not be sent.
	Known func(r Reader, e *dit.Entry) (bool, error)
	// Content shows what is stored in the entries themselves, and nothing that is computed; filter items about the rest are
	// Undefined (RFC 4533 sections 3.2 and 4.2).
	Content bool
	// MoreAttributes append attributes to a SearchResultEntry, as PartialAttributes, behind those that were selected. They
	// answer for what they show: access rules are theirs to ask.
	MoreAttributes []func(ctx context.Context, r Reader, e *dit.Entry, name dit.Name, dst []byte) ([]byte, error)
	// Weights keeps the weights of values that are sorted by weight (valsort).
	Weights bool
	// Stored leaves out the views that expand entries (View.Expands), also in filters and compares.
	Stored bool
	// ManageDsaIT treats referral objects as ordinary entries (RFC 3296); Subentries makes subentries visible (RFC 3672).
	ManageDsaIT bool
	Subentries  *bool // nil: control absent; else its visibility value
	// Order, where set, sorts the result: it appends the sort key of an entry that matches to dst. Octets of keys compare as
	// the entries are to stand; entries with the same key keep the order of their ids. Keys are kept until the result has been
	// sent: the function bounds them by refusing to go on.
	Order func(dst []byte, c Candidate) ([]byte, error)
	// SortedBy, where set with Order, says the same where it is one attribute in its own order: what can be enumerated so is
	// not gathered first.
	SortedBy *SortedBy
	// Unsorted is why the result is not in the order that was asked for: Order is nil then.
	Unsorted *ldap.Error
	// Pick, where set with Order, is given the whole result in its order and returns the part that is sent.
	Pick func(all []Sorted) ([]Sorted, error)
	// Cut says that Pick does what Max and After do, where the result comes in its order by itself. The engine clears Order
	// and Pick then.
	Cut bool
	// From, where not nil, are the entries to send, in this order, instead of what the filter would find first: later pages
	// of a result that was sorted before. What no longer matches is left out. Max cuts a page here too.
	From []dit.ID
}

// SortedBy is an order of entries by one attribute and its own ordering rule.
type SortedBy struct {
	Desc    schema.Description
	Reverse bool
}

// Sorted is an entry of a result that is being sorted.
type Sorted struct {
	Key []byte
	ID  dit.ID
}

// Candidate is an entry that matched, on its way to be sorted.
type Candidate struct {
	Reader Reader
	Entry  *dit.Entry
	Name   dit.Name
	// Values calls f for each value of the attribute, subtypes included, that the reader may read and search; virtual ones
	// too.
	Values func(d schema.Description, f func(value []byte) bool) error
}

// WritePlan is what controls ask of a write. The functions run inside the transaction, which may run them again.
type WritePlan struct {
	// Before sees the entry before the change (assertion, pre-read); an error stops the operation. For an add it is the entry
	// as it would be, but for what overlays do to it; it is not in the directory.
	Before []func(tx Tx, e *dit.Entry, name dit.Name) error
	// After sees the entry as it will be when the transaction ends, with all that overlays make of it (post-read). It is not
	// called for a delete.
	After []func(tx Tx, e *dit.Entry, name dit.Name) error
	// ManageDsaIT treats a referral object as an ordinary entry.
	ManageDsaIT bool
	// Permissive makes a modify tolerate adding what is there and deleting what is not.
	Permissive bool
	// Relax lifts rules of the schema for who has the right to control the entry (draft-zeilenga-ldap-relax).
	Relax bool
	// TreeDelete deletes a subtree.
	TreeDelete bool
	// NoOp does all but commit.
	NoOp bool
	// Batched marks an operation of a Directory.Batch: what it needs may come from those before it.
	Batched bool
	// Issued says that secrets in the request were made by the server itself: see Overlay.Issue.
	Issued bool
	// Internal marks the server's own bookkeeping: modifiersName and modifyTimestamp stay as they are.
	Internal bool
}
