// Package engine performs the operations of RFC 4511 over a store: bind, search, compare, add, delete, modify and
// modifyDN, with access control, schema and password hashing called by name and everything optional hooked in where the
// extension contract of package op says.
//
// An Engine serves any number of connections at once. What an operator may change while it runs is one immutable
// Settings value behind an atomic pointer; an operation uses the one it found at its start.
package engine

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	"portolan/internal/access"
	"portolan/internal/credential"
	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/internal/schema"
	"portolan/internal/store"
	"portolan/ldap"
)

// Options are what an Engine is made of. All fields are constant afterwards.
type Options struct {
	Store    *store.Store
	Overlays []op.Overlay
	Suffixes []string // as they were configured
	// Hashing runs password hashes, Verified remembers passwords that were right.
	Hashing  *credential.Pool
	Verified *credential.Cache
	// Apart, where set, computes the hashes of jobs that are not honest, elsewhere and at a low priority.
	Apart credential.Computer
	Now   func() time.Time
	Rand  io.Reader
	Log   *slog.Logger
	// Copy says that the content is copied from other servers: see op.Journal.Ordered.
	Copy bool
	// Guard, where set, is asked before credentials are checked; Alarm is told of those that must not have been sent.
	Guard op.Guard
	Alarm op.Alarm
	// Filters, where set, is shown the filters of clients.
	Filters op.FilterGuard
	// MayWrite, where set, is asked before every write of a client; its error refuses the write.
	MayWrite func() error
	// ReplaceSchema puts a schema with other live definitions in force: it recompiles what depends on the schema, then
	// calls store.ReplaceSchema. Nil where the subschema subentry cannot be changed.
	ReplaceSchema func(ctx context.Context, next *schema.Schema) error
	// Wait returns after a time, or when ctx ends with its error. Nil is a timer.
	Wait func(ctx context.Context, d time.Duration) error
}

// Settings are what an operator may change while the server runs.
type Settings struct {
	Policy *access.Policy
	// Older is the same policy under the schema before the present one, for operations that began under it; nil where the
	// schema has not changed.
	Older *access.Policy
	// PolicyVersion goes into the keys of the verified-credential cache: raising it forgets all of them.
	PolicyVersion uint64
	Admin         dit.Name
	// AdminStored is the stored form of the admin's password; nil: the admin cannot bind with one.
	AdminStored []byte
	Passwords   credential.Params
	// ScramIterations is the count of new SCRAM keys; 0 where SCRAM is not offered: there are no keys then. AdminScram is the
	// admin's key in its stored form, where the password is known in clear.
	ScramIterations int
	AdminScram      []byte
	// UserMaps and CertificateMaps say which entries user names and client certificates stand for.
	UserMaps, CertificateMaps []*IdentityMap
	RequireTLS                TLSPolicy
	// AnonymousRead gives anonymous what the access rules give it; without it anonymous sees the root DSE and no more.
	AnonymousRead bool
	ReadOnly      bool
	// Copies are the naming contexts that are copies of other servers' content: writes are sent there when ReadOnly is set.
	Copies []Copy
	// Limits returns the limits of an identity.
	Limits func(id *op.Identity, inGroup func(groupNorm string) bool) op.Limits
	// LargeThreshold is SealOptions.LargeThreshold.
	LargeThreshold int
	// These bound one request; 0 is no bound beyond that of the protocol's decoder.
	MaxFilterNodes, MaxControls, MaxAttributes int
}

// Copy is a naming context that is a copy.
type Copy struct {
	Norm     string   // canonical name
	Referral []string // where the original is
}

// TLSPolicy says when a connection must be protected.
type TLSPolicy string

// Values of TLSPolicy.
const (
	TLSAlways      TLSPolicy = "always"
	TLSNonLoopback TLSPolicy = "non-loopback"
	TLSNever       TLSPolicy = "never"
)

// Engine is the innermost Handler.
type Engine struct {
	o        Options
	settings atomic.Pointer[Settings]
	reloaded atomic.Pointer[chan struct{}] // closed when the settings are replaced

	controls    map[string]*control
	controlList []op.Control
	responders  []*op.Control // controls that add to replies by themselves
	extended    map[string]*op.Extended
	verbs       []op.Extended // in the order of the list
	mechanisms  map[string]*op.Mechanism
	sasl        []op.Mechanism
	special     map[string]*Special
	subschema   subschema
	trees       []*tree
	viewTable   atomic.Pointer[viewSet]
	members     membership
	links       links
	searches    searchPool
	worked      atomic.Int64 // nanoseconds: HashWork
}

// control is a wired control with its place in the running order.
type control struct {
	op.Control
	order int
}

// New returns an Engine; o.Store must be open.
func New(o Options, s *Settings) *Engine {
	if o.Wait == nil {
		o.Wait = wait
	}
	e := &Engine{
		o:          o,
		controls:   make(map[string]*control),
		extended:   make(map[string]*op.Extended),
		mechanisms: make(map[string]*op.Mechanism),
		special:    make(map[string]*Special),
	}
	e.viewTable.Store(newViewSet(e, o.Overlays))
	e.members.init(o.Store, o.Overlays)
	e.links.init(o.Store)
	e.Set(s)
	return e
}

// Wire adds the extensions that need the engine itself, each kind in its running order; only before it serves.
func (e *Engine) Wire(controls []op.Control, verbs []op.Extended, sasl []op.Mechanism) {
	for i := range controls {
		e.controlList = append(e.controlList, controls[i])
		if controls[i].Respond != nil {
			e.responders = append(e.responders, &controls[i])
		}
		e.controls[controls[i].OID] = &control{Control: controls[i], order: i}
	}
	for i := range verbs {
		e.verbs = append(e.verbs, verbs[i])
		e.extended[verbs[i].OID] = &verbs[i]
	}
	for i := range sasl {
		e.sasl = append(e.sasl, sasl[i])
		e.mechanisms[sasl[i].Name] = &sasl[i]
	}
}

// HashWork is how much work the comparing of passwords has been since the start, dummies included, as package credential
// estimates it: what two failures that are not to be told apart must have in common.
func (e *Engine) HashWork() time.Duration { return time.Duration(e.worked.Load()) }

// Verb returns the extended operation with this OID, nil where there is none.
func (e *Engine) Verb(oid []byte) *op.Extended { return e.extended[string(oid)] }

// Set replaces the settings for the operations that begin from now on.
func (e *Engine) Set(s *Settings) {
	e.settings.Store(s)
	next := make(chan struct{})
	if old := e.reloaded.Swap(&next); old != nil {
		close(*old)
	}
}

// Settings returns the settings in force. They are not to be changed.
func (e *Engine) Settings() *Settings { return e.settings.Load() }

// Schema returns the schema in force.
func (e *Engine) Schema() *schema.Schema { return e.o.Store.Shapes().Schema }

// Serve implements op.Handler.
func (e *Engine) Serve(ctx context.Context, req *op.Request, w op.Writer) error {
	set := e.Settings()
	req.Out = w
	if req.Identity == nil {
		req.Identity = req.Conn.Identity()
	}
	err := e.serve(ctx, req, w, set)
	if err != nil && e.o.Alarm != nil && ldap.CodeOf(err) == ldap.ConfidentialityRequired {
		e.exposed(req)
	}
	if err != nil && (errors.Is(err, store.ErrMoved) || errors.Is(err, store.ErrGeneration)) {
		err = ldap.Errorf(ldap.Busy, "the directory changed under the operation: try it again").Because(err)
	}
	e.respond(req)
	return err
}

func (e *Engine) serve(ctx context.Context, req *op.Request, w op.Writer, set *Settings) error {
	if err := e.gate(req, set); err != nil {
		return err
	}
	if err := set.bounds(req); err != nil {
		return err
	}
	if err := e.shown(req); err != nil {
		return err
	}
	req.Limits = e.memo(req, set).limits
	if len(req.Controls) == 0 {
		return e.perform(ctx, req, w, set)
	}
	return e.withControls(ctx, req, func(ctx context.Context) error { return e.perform(ctx, req, w, set) })
}

// shown shows the filter of a search to the filter guard. What anybody may read of the root DSE is left alone: libraries
// look there as they like.
func (e *Engine) shown(req *op.Request) error {
	m, ok := req.Op.(*ldap.SearchRequest)
	if !ok || e.o.Filters == nil || e.exempt(req) {
		return nil
	}
	return e.o.Filters.Filter(req, op.SearchFilter, &m.Filter)
}

// bounds refuses requests that are made of more parts than one request may be.
func (set *Settings) bounds(req *op.Request) error {
	over := func(n, most int, what string) error {
		if most > 0 && n > most {
			return ldap.Errorf(ldap.AdminLimitExceeded, "the request has %d %s, this server takes %d", n, what, most)
		}
		return nil
	}
	if err := over(len(req.Controls), set.MaxControls, "controls"); err != nil {
		return err
	}
	switch m := req.Op.(type) {
	case *ldap.SearchRequest:
		if err := over(len(m.Filter.Nodes), set.MaxFilterNodes, "filter items"); err != nil {
			return err
		}
		return over(len(m.Attributes), set.MaxAttributes, "attributes")
	case *ldap.AddRequest:
		return over(len(m.Attributes), set.MaxAttributes, "attributes")
	case *ldap.ModifyRequest:
		return over(len(m.Changes), set.MaxAttributes, "changes")
	}
	return nil
}

func (e *Engine) perform(ctx context.Context, req *op.Request, w op.Writer, set *Settings) error {
	switch m := req.Op.(type) {
	case *ldap.SearchRequest:
		return e.search(ctx, req, m, w, set)
	case *ldap.BindRequest:
		return e.bind(ctx, req, m, set)
	case *ldap.CompareRequest:
		return e.compare(ctx, req, m, set)
	case *ldap.ModifyRequest, *ldap.AddRequest, *ldap.DelRequest, *ldap.ModifyDNRequest:
		return e.write(ctx, req, set)
	case *ldap.ExtendedRequest:
		return e.extend(ctx, req, m, w)
	}
	return ldap.Errorf(ldap.ProtocolError, "this is not a request that a server performs")
}

// gate refuses what the state of the connection does not allow, before anything is looked at.
func (e *Engine) gate(req *op.Request, set *Settings) error {
	exempt := e.exempt(req)
	if !exempt && !e.confidential(req.Conn, set) {
		return ldap.Errorf(ldap.ConfidentialityRequired, "this server wants TLS here: use StartTLS or ldaps")
	}
	id := req.Identity
	if id.MustChange() && !exempt && !restrictedMay(req) {
		return mustChange(req)
	}
	if id.IsAnonymous() && !exempt && !set.AnonymousRead {
		if _, bind := req.Op.(*ldap.BindRequest); !bind {
			return ldap.Errorf(ldap.InsufficientAccessRights, "anonymous clients may read the root DSE only: bind first")
		}
	}
	return nil
}

// confidential reports whether the connection is protected as the settings demand.
func (e *Engine) confidential(c *op.Conn, set *Settings) bool {
	switch set.RequireTLS {
	case TLSNever:
		return true
	case TLSAlways:
		return c.TLS() != nil || c.Transport == op.Unix
	}
	return c.Protected()
}

// exempt names what anybody may do on any connection: read the root DSE by a base search, and the verbs that say so.
// An anonymous bind carries no credential and changes nothing, so it is among them.
func (e *Engine) exempt(req *op.Request) bool {
	switch m := req.Op.(type) {
	case *ldap.SearchRequest:
		return len(m.Base) == 0 && m.Scope == ldap.ScopeBase
	case *ldap.BindRequest:
		return m.Auth == ldap.AuthSimple && len(m.Name) == 0 && len(m.Password) == 0
	case *ldap.ExtendedRequest:
		x := e.extended[string(m.Name)]
		return x == nil || x.Anonymous
	}
	return false
}

// mustChange refuses an operation of a session that must change its password first (draft-behera-ldap-password-policy
// section 8.3).
func mustChange(req *op.Request) error {
	req.SetPolicyError(op.ChangeAfterReset)
	return ldap.Errorf(ldap.InsufficientAccessRights, "the password must be changed before anything else")
}

// restrictedMay says what a session may do that must change its password first (draft-behera-ldap-password-policy
// section 8.1): bind, password modify, and modify, which the engine narrows to the own password.
func restrictedMay(req *op.Request) bool {
	switch m := req.Op.(type) {
	case *ldap.BindRequest, *ldap.ModifyRequest:
		return true
	case *ldap.ExtendedRequest:
		return string(m.Name) == passwordModifyOID
	}
	return false
}

// passwordModifyOID is RFC 3062.
const passwordModifyOID = "1.3.6.1.4.1.4203.1.11.1"

// extend serves an extended operation (RFC 4511 section 4.12).
func (e *Engine) extend(ctx context.Context, req *op.Request, m *ldap.ExtendedRequest, w op.Writer) error {
	x := e.extended[string(m.Name)]
	if x == nil || (x.ControlOnly && !req.Conn.Control) {
		return ldap.Errorf(ldap.ProtocolError, "extended operation %q is not supported here", clip(m.Name))
	}
	return x.Handle(ctx, req, m.Value, m.HasValue, w)
}

// clip bounds what a diagnostic repeats of its input, and keeps it printable.
func clip(b []byte) string {
	const most = 64
	out := make([]byte, 0, most)
	for _, c := range b[:min(len(b), most)] {
		if c < 0x20 || c > 0x7e {
			c = '?'
		}
		out = append(out, c)
	}
	return string(out)
}
