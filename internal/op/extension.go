package op

import (
	"context"
	"time"

	"github.com/google/uuid"

	"portolan/internal/dit"
	"portolan/internal/schema"
	"portolan/ldap"
)

// Overlay concerns entries. Nil functions are skipped. All but Open, Password, Bind and Observe run inside the transaction or the snapshot of
// the operation, and must not do I/O, look at the clock or draw random numbers: a transaction may run them again.
type Overlay struct {
	// Name is the folder, the configuration table and the documentation page.
	Name string
	// Equality names attributes of which the overlay needs an equality index.
	Equality []string

	// Open is called once, when the directory is complete and before the first request; stop, where not nil, when the
	// server ends. Work in the background begins here.
	Open func(p *Ports) (stop func(), err error)
	// Password sees every new password before it is hashed, outside of transactions, and may refuse it. It may block for
	// a hash.
	Password func(ctx context.Context, req *Request, p *NewPassword) error
	// Prepare sees a draft before it is sealed and may change or refuse it. before is nil for an add.
	Prepare func(tx Tx, req *Request, before *dit.Entry, draft *dit.Draft) error
	// Derive sees each change that the transaction made and may add more with tx; those are shown to Derive as well.
	Derive func(tx Tx, req *Request, c dit.Change) error
	// View gives virtual attributes.
	View *View
	// Groups finds members of groups by a computation.
	Groups *Groups
	// Arrange puts values in order on their way to a client.
	Arrange *Arrange
	// Trees are parts of the directory that it computes. The ports may be kept, and not used before the first request.
	Trees func(p *Ports) []Tree
	// Attempt sees a bind before its credentials are checked, and may say what else they can be (a second factor behind the
	// password, other credentials of the entry). It is called for names of nobody too: Entry is nil then.
	Attempt func(ctx context.Context, req *Request, b *BindOutcome) error
	// Bind sees a bind attempt after its credentials were checked and before the answer.
	Bind func(ctx context.Context, req *Request, b *BindOutcome) error
	// Issue makes the credentials that an entry of the overlay's own kind holds, when somebody asks for a new password of it
	// by password modify (RFC 3062). taken is false for all other entries.
	Issue func(ctx context.Context, req *Request, i *Issue) (taken bool, err error)
	// Belongs says that an entry is nothing without the one above it, and goes when that is deleted.
	Belongs func(s *schema.Schema, e *dit.Entry) bool
	// Usability says whether an account can be used, for the account usability control; nil where the overlay does not know.
	Usability func(r Reader, e *dit.Entry) (*Usability, error)
	// RootDSE, where set, are attributes that the root DSE shows about what the overlay does.
	RootDSE func() []TreeAttr
	// Status says in lines for the operator how far the overlay is with what it does by and by. It may look at every entry.
	Status func(r Reader) ([]string, error)
	// Observe sees a transaction after it is durable. It cannot fail and must not block.
	Observe func(c Commit)
	// Check verifies what the overlay keeps; report is called for every finding. r is a StateReader too.
	Check func(r Reader, report func(Finding)) error
	// CheckEntries, where set, is the part of Check that looks at every entry. What it returns is called for each, in any order, in
	// one pass for all overlays; nil has nothing to look for.
	CheckEntries func(r Reader, report func(Finding)) (each func(e *dit.Entry) error, err error)
}

// Verifies reports whether there is something for VerifyAll to do.
func (o *Overlay) Verifies() bool { return o.Check != nil || o.CheckEntries != nil }

// VerifyAll runs both checks, with a pass over all entries for this overlay alone.
func (o *Overlay) VerifyAll(r Reader, report func(Finding)) error {
	each, err := o.BeginCheck(r, report)
	if err != nil || each == nil {
		return err
	}
	return Each(r, each)
}

// BeginCheck runs what needs no pass over the entries, and returns what is to be called for each of them; nil for nothing.
func (o *Overlay) BeginCheck(r Reader, report func(Finding)) (each func(e *dit.Entry) error, err error) {
	if o.Check != nil {
		err = o.Check(r, report)
	}
	if err != nil || o.CheckEntries == nil {
		return nil, err
	}
	return o.CheckEntries(r, report)
}

// All returns a check of entries that makes all of these; nil where there are none.
func All(checks []func(e *dit.Entry) error) func(e *dit.Entry) error {
	if len(checks) == 0 {
		return nil
	}
	return func(e *dit.Entry) error {
		for _, check := range checks {
			if err := check(e); err != nil {
				return err
			}
		}
		return nil
	}
}

// View computes attributes that are not stored.
type View struct {
	// Attributes are the names of what it computes. They should be NO-USER-MODIFICATION.
	Attributes []string
	// Current, where set, returns further names, where what is computed changes while the server works, and a version that is
	// another one whenever they do. It is asked at the beginning of every operation.
	Current func() (attributes []string, version uint64)
	// Within, where set with Current, are the names for who reads in a transaction in the making: what it has changed already
	// may have added some. Where that cannot be read there are none.
	Within func(tx Tx) []string
	// Above says that Match answers for the attribute types above its own as well: an item on one of those is true of an entry
	// where a subtype makes it so.
	Above bool
	// Expands says that the values stand for the entry in the place of what is stored in it: they are left out where somebody
	// manages the entry itself (critical ManageDsaIT), and is not to write them back.
	Expands bool
	// Values calls f for each value of attr that e has. Reader r is the operation's snapshot.
	// The values are not yet subject to access control; where they disclose other entries the view asks see first.
	Values func(r Reader, e *dit.Entry, attr *schema.AttributeType, see Visible, f func(value []byte) bool) error
	// Match returns the entries that match a filter node on one of its attributes. It may answer All.
	Match func(r Reader, n *dit.Node, see Visible) (*dit.IDSet, dit.Confidence, error)
	// Shape, where set, says which entries can have any of it, by the attributes that are stored in them.
	Shape func(s *dit.Shape) bool
	// Holds, where set, decides a filter item on one of its attributes for one entry, where that is less work than computing
	// all values. Stored values are not its business. known is false for an item that the values decide.
	Holds func(r Reader, e *dit.Entry, n *dit.Node, see Visible) (holds, known bool, err error)
	// Write, where set, takes a change that a client wants to make to one of the attributes by modify, inside the transaction
	// and after the access rules have let it pass; what the attribute is computed from is the view's to change (with SetState).
	// taken is false for a change that is to be made to stored values as any other.
	Write func(tx Tx, req *Request, e *dit.Entry, attr *schema.AttributeType, kind ldap.ModOp, values [][]byte) (taken bool, err error)
}

// Arrange is how values of stored attributes are shown. What is stored, and what filters and replicas see, stays as it is.
type Arrange struct {
	// Attributes are the names of the types; their subtypes are not meant.
	Attributes []string
	// Values returns the values of an attribute of e as they are to be sent. It may change the slice, not the octets, which
	// alias the entry. It is asked after access control, and after matched values have chosen.
	Values func(req *Request, r Reader, e *dit.Entry, d schema.Description, values [][]byte) ([][]byte, error)
}

// Visible says whether the reader of the operation may read an attribute of an entry. A nil Visible says yes to all.
type Visible func(e *dit.Entry, attr *schema.AttributeType) bool

// Purpose is what credentials are checked for.
type Purpose uint8

// Purposes.
const (
	ForBind    Purpose = iota
	ForCompare         // a compare of the password (draft-behera-ldap-password-policy section 8.1)
	ForChange          // the old password in a change of password
)

// BindOutcome is a bind on its way to the answer, or another check of a password.
type BindOutcome struct {
	Purpose Purpose

	Entry    *dit.Entry // nil when the name is not an entry's
	Name     dit.Name
	Reader   Reader    // the snapshot that Entry is from
	Identity *Identity // who it will be, nil when the name is nobody's; an overlay may set Restricted on a copy
	// Password is what is compared; nil for SASL mechanisms that do not show it. Attempt may replace it by a part of it
	// (a second factor stands behind it).
	Password []byte
	// Stored are the hashed values that it is compared with; Attempt may add to them. Their order is kept.
	Stored [][]byte
	// Proved says how the credentials were proved without a comparison: by a SASL mechanism, or where Attempt sets it by
	// another server's word. Nothing is compared then.
	Proved string

	// Apart, where Attempt sets it, are the credentials that Stored then has instead of the account's password: what becomes of
	// the password by and by is not about them.
	Apart *Apart

	// Factor is the second factor's own, between Attempt and Bind.
	Factor any

	// Elsewhere, where Attempt sets it, asks another server about the password of an account that has none here, and returns by
	// whose word it is right; "" is wrong, an error that the server cannot be asked. It is called when nothing in the account
	// is against its use, and beside the hash that a failure takes anyhow. Attempt may take it away.
	Elsewhere func(ctx context.Context) (by string, err error)

	// Honest says that the client has recently proved the same account: it goes first in the hashing pool. Repeated says that
	// the password is one that was wrong before, so that it tells nothing new of who offers it. The guard sets both.
	Honest, Repeated bool
	// Guarded is the guard's own, between Attempt and Settle.
	Guarded any

	// What follows is known once the credentials were checked, that is to Bind.

	// Index is the place in Stored of the value that matched, or -1.
	Index int
	// Err is nil when the credentials were right. An overlay may refuse by setting it, never allow by clearing it. Wrong
	// says that a password was given and was not right.
	Err   error
	Wrong bool

	// Spend are called in their order when all hooks have agreed, to use up what serves once; an error refuses. What they
	// change is durable before the answer.
	Spend []func(ctx context.Context) error
	// Delay is how long the answer is to wait: no worker, snapshot or place in the hashing pool is held meanwhile. The longest
	// that a hook asks for counts.
	Delay time.Duration
	// Finally are called when the answer is about to go, whatever it is. Attempt and Bind may add to them.
	Finally []func()
}

// Commit is a durable transaction.
type Commit struct {
	Seq     uint64
	Before  uint64 // changes in the journal before it: see JournalRecord
	CSN     dit.CSN
	Changes []dit.Change
	Meta    dit.JournalMeta
}

// Finding is one defect that a check found.
type Finding struct {
	Where  string // an entry's name, or a key
	What   string // what is wrong
	Advice string // what to do
}

// Reader reads the directory at one moment, past access control: extensions that show what they read ask for Effective
// rights first. Errors are of storage; absence is a nil entry.
type Reader interface {
	Schema() *schema.Schema
	Get(id dit.ID) (*dit.Entry, error)
	ByUUID(id uuid.UUID) (*dit.Entry, error)
	// Lookup finds an entry by its canonical name. When there is none, matched is the closest existing ancestor, or nil.
	Lookup(norm string) (e, matched *dit.Entry, err error)
	// Name composes the name of an entry.
	Name(e *dit.Entry) (dit.Name, error)
	// Equal returns the entries in which the attribute, of any subtype and options, has the value with this equality key.
	// It is exact where the attribute is indexed for equality and an error otherwise.
	Equal(attr *schema.AttributeType, key []byte) (*dit.IDSet, error)
	// HasChildren and Children are about the entries directly beneath; f returns false to stop.
	HasChildren(id dit.ID) (bool, error)
	Children(id dit.ID, f func(child dit.ID) bool) error
	// Under reports whether e is base or beneath it.
	Under(e *dit.Entry, base dit.ID) (bool, error)
	// LargeHas and LargeEach read a large attribute: by equality key, and its values in key order.
	LargeHas(e *dit.Entry, slot int, key []byte) (bool, error)
	LargeEach(e *dit.Entry, slot int, f func(key, value []byte) bool) error
}

// Tx is a Reader over a transaction in the making, and changes it. Changes are checked like a client's (schema, structure)
// but not against access rules: they follow from what a client was allowed to do.
type Tx interface {
	Reader
	// Modify changes an entry by a draft made with dit.Edit.
	Modify(d *dit.Draft) error
	// Add adds an entry beneath an existing parent.
	Add(name ldap.DN, d *dit.Draft) error
	// Delete removes a leaf entry.
	Delete(id dit.ID) error
	// Now is the time of the transaction: the same at every call, and when it is run again another.
	Now() time.Time
	StateTx
}

// Control is a per-request modifier.
type Control struct {
	OID    string
	Name   string // for logs, metrics and documentation
	Source string // the document, such as "RFC 2696"
	// Applies says to which requests it may be attached, by identifier octet of the protocolOp. Elsewhere it is ignored, or
	// unavailableCriticalExtension where it is critical (RFC 4511 section 4.1.11).
	Applies func(tag byte) bool
	// Verbs are extended operations, by name, to which it may be attached as well.
	Verbs []string
	// Repeatable controls may be there more than once in a request.
	Repeatable bool
	// Responses are the OIDs of response controls that supportedControl lists beside it, where its document wants that.
	Responses []string
	// Unadvertised controls are understood but not listed in supportedControl.
	Unadvertised bool
	// Parse decodes the value once, before anything else is done. Errors are *ldap.Error, protocolError as a rule.
	Parse func(c ldap.Control) (any, error)
	// Filter, where set, returns the filter that a parsed value has, so that the filter guard is shown it.
	Filter func(value any) (FilterUse, *ldap.Filter)
	// Around runs the operation by calling next, after setting what it wants in req, and adds response controls to
	// req.Reply afterwards. The error of next is passed on unless the control says otherwise. Nil is next alone.
	Around func(ctx context.Context, req *Request, value any, next func(context.Context) error) error
	// Respond, where set, may add response controls to the reply of any operation once it has ended, also where it was
	// refused before its controls were looked at. attached says whether the request has this control.
	Respond func(req *Request, attached bool)
}

// Extended is a verb of its own.
type Extended struct {
	OID    string
	Name   string
	Source string
	// ControlOnly is served on data_dir/control.sock alone and not advertised.
	ControlOnly bool
	// Anonymous may be called before a bind, and in clear text.
	Anonymous bool
	// Shows, where set, takes the user identity (RFC 3062; empty for the requester) and the password out of a request value that
	// has one.
	Shows func(value []byte) (user, password []byte, ok bool)
	// Writes says that it changes entries: the audit log has a line for every attempt, and not for what it succeeds in alone.
	Writes bool
	Handle func(ctx context.Context, req *Request, value []byte, hasValue bool, w Writer) error
}

// Mechanism is a SASL mechanism.
type Mechanism struct {
	Name   string
	Source string
	// Allowed says whether it may be offered and used on this connection as it is now.
	Allowed func(c *Conn) bool
	// Unavailable is the result where Allowed says no; 0 is authMethodNotSupported.
	Unavailable ldap.ResultCode
	// Shows, where set, takes the user name and the password out of credentials that show it.
	Shows func(creds []byte) (user string, password []byte, ok bool)
	// Start begins an exchange.
	Start func(req *Request) (Exchange, error)
}

// Exchange is one SASL exchange. Step takes the client's credentials (nil when absent) and returns the challenge. It is
// complete when who is not nil: who was proved, an Authorizer says as whom the client wants to act. An error together with who says whose credentials were wrong: failures count against the
// account.
type Exchange interface {
	Step(ctx context.Context, req *Request, creds []byte) (challenge []byte, who *Identity, err error)
}

// Authorizer is an Exchange in which the client can ask to act as somebody else.
type Authorizer interface {
	// AuthzID returns the authorization identity that was asked for (RFC 4513 section 5.2.1.8), once Step has returned an
	// identity; empty where the client wants to be who it has proved to be. Whether it may is for the engine to say.
	AuthzID() string
}
