package op

import (
	"context"
	"io"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"portolan/internal/access"
	"portolan/internal/dit"
	"portolan/internal/schema"
	"portolan/ldap"
)

// Ports are what an extension is given of the server. They are complete before the first request is served, and an
// extension may keep the pointer from the moment it is made, but must not use what is behind it before Overlay.Open or
// the first request.
type Ports struct {
	Directory Directory
	Journal   Journal
	State     State
	// Memory is what may be kept for connections between their requests.
	Memory *Memory
	// Now and Rand are the clock and the source of random octets, for what runs outside transactions.
	Now  func() time.Time
	Rand io.Reader
	Log  *slog.Logger
	// Alarm has f called once the time has come that set was last given, on a goroutine of its own and never twice at once;
	// the zero time is never. stop waits for a call that is under way, after which there is none.
	Alarm func(f func()) (set func(at time.Time), stop func())
}

// Directory is the engine as extensions see it.
type Directory interface {
	// View reads what is durable now. Close it.
	View() Snapshot
	// Sight is how the requester of req sees entries in r: a View, or the transaction that a hook was given. It serves one
	// goroutine, and until r ends.
	Sight(req *Request, r Reader) Sight
	// Update runs f as one transaction of the server itself, with overlays and without access rules, and returns when it is
	// durable. author stands in modifiersName and in the journal. f may be run again. It must not be called from within a
	// transaction. Errors are *ldap.Error, or ctx.Err().
	Update(ctx context.Context, author string, f func(tx Tx) error) error
	// Perform serves a request of the server itself or of another protocol as req.Identity, through everything that a
	// client's request goes through. w takes what precedes the result.
	Perform(ctx context.Context, req *Request, w Writer) error
	// Batch performs write requests of one connection as one transaction, in their order: all or nothing. The replies are
	// in the requests. failed is the index of the request that failed, -1 where the transaction as a whole did.
	Batch(ctx context.Context, reqs []*Request) (failed int, err error)
	// Verify finds the stored password value that a clear one matches, -1 for none. It hashes in the server's pool; busy
	// says that the pool is full.
	Verify(ctx context.Context, req *Request, stored [][]byte, password []byte) (int, error)
	// Hash returns the form in which a new password is stored, by the configured scheme, and its SCRAM key, which is nil where
	// no mechanism needs one, or the password can have none. It hashes in the server's pool; busy says that the pool is full.
	Hash(ctx context.Context, req *Request, password []byte) (stored, scram []byte, err error)
	// Identify returns the identity of an entry by its canonical name, or of the administrator; nil where there is none.
	Identify(norm, method string) (*Identity, error)
	// ParseAuthzID returns the identity that an authorization identity names (RFC 4513 section 5.2.1.8); nil where there is
	// no such entry.
	ParseAuthzID(authzID, method string) (*Identity, error)
	// ActAs returns the identity that an authorization identity names, for a requester who may act as it (RFC 4370): the
	// administrator, or who has the right "proxy" on its entry. The error does not say whether there is such an identity.
	ActAs(req *Request, authzID string) (*Identity, error)
	// Usability says whether an account can be used, as far as the overlays know; nil where none knows.
	Usability(r Reader, e *dit.Entry) (*Usability, error)
	// Assume makes id the authorization identity of the request (proxied authorization), with its limits, and refuses what
	// the identity may not do on this connection. Whether the requester may act as id is for the caller to ask first.
	Assume(req *Request, id *Identity) error
	// Original returns nil where this server holds the original of what the request is about, and the referral to who does
	// where it holds a copy (RFC 6171).
	Original(req *Request) error
	// Suffixes are the naming contexts as configured.
	Suffixes() []string
	// Reloaded returns a channel that is closed when the settings of the server, access rules among them, are next replaced.
	Reloaded() <-chan struct{}
	// Memberships finds groups and members, those that overlays compute too.
	Memberships() Memberships
	// Candidates calls f for the entries that may be in a part, found by the indexes: all that are, and possibly others of
	// its scope. Where more than most would have to be looked at it is adminLimitExceeded.
	Candidates(r Reader, p *Part, most int, f func(e *dit.Entry) error) error
	// Observe has f called with every transaction that becomes durable from now on, in the order of the journal. f must not
	// block. It cannot be taken back: observers live as long as the server.
	Observe(f func(Commit))
}

// Snapshot is a Reader with a life of its own.
type Snapshot interface {
	Reader
	// Seq and CSN are the journal position that the snapshot shows.
	Seq() uint64
	CSN() dit.CSN
	// Pin fixes the snapshot to one state, for reads that must fit together. Without it answers may come from two states
	// next to each other. ldap.Busy-like errors of storage say that the schema has changed meanwhile.
	Pin() error
	// Keep returns another reader of the same state, with a life of its own. The snapshot must be pinned.
	Keep() Snapshot
	Close()
}

// Sight shows entries as one requester may see them. What he may not see is not there. Look must come first; the other
// methods are about the entry looked at last.
type Sight interface {
	// Look turns to an entry. Errors are of storage.
	Look(e *dit.Entry) (dit.Name, error)
	// LookAs turns to an entry under a name that the caller knows; it need not be in the directory.
	LookAs(e *dit.Entry, name dit.Name)
	// LookAtNew turns to an entry that is not in the directory yet, by its name to be.
	LookAtNew(name dit.Name)
	// EntryRights and AttrRights are what the access rules give.
	EntryRights() access.Right
	AttrRights(d schema.Description) access.Right
	// Base finds the base object as a search of the requester's would, nil being the root. Errors are what he is told.
	Base(m *ldap.SearchRequest) (*dit.Entry, error)
	// Compile returns a filter as a search of the requester's would have it. It belongs to the schema of the reader.
	Compile(f *ldap.Filter) *dit.Filter
	// Found says what a search of this scope would make of the entry, if it is in the scope: see InScope.
	Found(f *dit.Filter, scope ldap.Scope) (Found, error)
	// References are the URIs of the reference that a search of this scope would return for a referral object.
	References(scope ldap.Scope) []string
	// Digest identifies what the access rules show the requester: with the same digest entries are shown alike.
	Digest() [32]byte
	// ValueRights are the rights to write one value: Add and Delete. Rules may give the own name as a value.
	ValueRights(d schema.Description, value []byte) access.Right
	// Match decides a filter as a search would: what may not be searched is absent.
	Match(f *dit.Filter) (dit.Truth, error)
	// EachAttribute calls f for every attribute that a list as in a search request selects and that may be read, large and
	// virtual ones included, until it returns false. Attributes without a value that may be read are left out.
	EachAttribute(list [][]byte, f func(d schema.Description, values [][]byte) bool) error
	// AppendAttributes appends the same as a PartialAttributeList without its own header (RFC 4511 section 4.5.2).
	AppendAttributes(dst []byte, list [][]byte, typesOnly bool) ([]byte, error)
	// Values calls f for the values of an attribute, subtypes included, on which the requester has all of these rights.
	Values(attr *schema.AttributeType, want access.Right, f func(value []byte) bool) error
	// InScope reports whether the entry is in the scope of a base entry, 0 being the root.
	InScope(base dit.ID, scope ldap.Scope) (bool, error)
	// Visible is the question that views ask.
	Visible() Visible
}

// Found is what a search makes of an entry.
type Found uint8

// What a search makes of an entry.
const (
	FoundNot       Found = iota // nothing
	FoundEntry                  // a SearchResultEntry
	FoundReference              // a SearchResultReference
)

// Journal reads the record of all transactions. Only what is durable is in it.
type Journal interface {
	// Epoch identifies the line of sequences: positions of another epoch mean nothing here.
	Epoch() uuid.UUID
	// Ordered reports whether entryCSNs rise in the order of the journal: not in a copy of other servers' content.
	Ordered() bool
	// Bounds returns the sequences of the oldest and the newest record. Without records first is last + 1.
	Bounds() (first, last uint64)
	// Read calls f for the records from this sequence on, in order, until there are no more or f returns false. ErrTrimmed
	// says that the record asked for is gone. From 0 it begins with the oldest.
	Read(from uint64, f func(*dit.JournalRecord) bool) error
	// At returns the sequence of the first record whose CSN is not below csn, one after the last where there is none. CSNs
	// never fall from record to record. ErrTrimmed says that the record may be gone.
	At(csn dit.CSN) (uint64, error)
	// Changes is how many changes all records have told of, those included that are gone: JournalRecord.Before goes on so.
	Changes() uint64
	// Find returns the sequence of the first record for which reached says true, one after the last where there is none. From
	// a record on for which it says true it must say so for all that follow. Few records are looked at, none that is trimmed.
	Find(reached func(*dit.JournalHead) bool) (uint64, error)
	// Grown returns a channel that is closed when records are added after this sequence; closed already where there are some.
	Grown(after uint64) <-chan struct{}
	// Wait returns when there is a record after this sequence; its error is ctx.Err(), or that the store is closed.
	Wait(ctx context.Context, after uint64) error
}

// ErrTrimmed is Journal.Read's word for records that are gone.
var ErrTrimmed = ldap.Errorf(ldap.Other, "journal records that were asked for have been trimmed")

// State are small durable keys that are not content: failure times, counters, positions. They stand outside entryCSN, sync
// and the change log. Changes are seen at once by all and written at most once a second: a crash loses up to a second of
// them. What must be durable before an answer goes through StateTx. Keys begin with the extension's name and a slash.
type State interface {
	// Get returns a value, or nil.
	Get(key []byte) ([]byte, error)
	// Set changes a value, Delete removes it.
	Set(key, value []byte) error
	Delete(key []byte) error
	// Update changes a value to what f makes of it with no other change in between; f gets nil where there is none and
	// returns nil to delete it.
	Update(key []byte, f func(old []byte) []byte) error
	// Each calls f for the values whose key begins with prefix, in the order of keys, until it returns false.
	Each(prefix []byte, f func(key, value []byte) bool) error
	// Flush returns when all that was set is durable.
	Flush(ctx context.Context) error
}

// StateReader lists State as it is now: Check verifies it without ports.
type StateReader interface {
	EachState(prefix []byte, f func(key, value []byte) bool) error
}

// StateTx is the part of a Tx that changes State together with entries, durable with them.
type StateTx interface {
	State(key []byte) ([]byte, error)
	SetState(key, value []byte) error
}
