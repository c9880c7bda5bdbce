package op

import (
	"crypto/tls"
	"crypto/x509"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/google/uuid"

	"portolan/internal/dit"
)

// Transport is the kind of listener under a connection.
type Transport string

// Transports.
const (
	TCP  Transport = "tcp"
	Unix Transport = "unix"
	UDP  Transport = "udp"
)

// PeerCred are the credentials of the process at the other end of a Unix socket.
type PeerCred struct {
	PID, UID, GID int
}

// Conn is what handlers may know of a connection, and the place for state that lives with it. The exported fields are
// constant after the session has begun, unless said otherwise.
type Conn struct {
	ID        uint64
	Listener  string // URL of the listener
	Transport Transport
	Local     netip.AddrPort
	Remote    netip.AddrPort // the effective client, after PROXY
	Peer      *PeerCred      // only on Unix
	// Control marks data_dir/control.sock, on which the administrative extended operations are served.
	Control bool
	// Loopback says that the effective client and the local address are both loopback, or the transport is Unix.
	Loopback bool

	// Exchange is the SASL exchange between two steps of one bind. Binds of a connection are serial, so that it needs no
	// lock; it is the engine's, and the session leaves it alone while it makes the connection anonymous for the next step.
	Exchange any

	// Session is the part of the session that handlers may call.
	Session SessionPort

	tls      atomic.Pointer[tls.ConnectionState]
	leaf     atomic.Pointer[x509.Certificate]
	identity atomic.Pointer[Identity]
	memo     atomic.Value
	guarded  atomic.Value
	shaped   atomic.Value
	rated    atomic.Value

	mu    sync.Mutex
	state map[any]any // dropped at every change of identity and of TLS
}

// SessionPort is what the session offers to operations of its connection.
type SessionPort interface {
	// Cancel asks an outstanding operation to end that is done as the same identity (RFC 3909). done is closed when its final
	// response has been decided; outcome then returns nil where it ended because of this call, and otherwise what the client
	// is told: noSuchOperation, cannotCancel, tooLate.
	Cancel(id int32, by *Identity) (done <-chan struct{}, outcome func() error)
	// Outstanding counts the operations in progress, the calling one included.
	Outstanding() int
	// Notify sends an unsolicited notification (RFC 4511 section 4.4), with a responseValue where value is not nil.
	Notify(name string, value []byte, result error) error
	// Close ends the connection after the responses in progress, with a notice of disconnection that says why.
	Close(reason error)
}

// TLS returns the state of the TLS layer, nil in clear text.
func (c *Conn) TLS() *tls.ConnectionState { return c.tls.Load() }

// SetTLS is called by the session when a TLS handshake is complete. State of the clear-text phase is dropped.
func (c *Conn) SetTLS(s *tls.ConnectionState) {
	c.tls.Store(s)
	c.dropState()
}

// Certificate returns the server's certificate in the TLS layer; nil without, or where it is not known.
func (c *Conn) Certificate() *x509.Certificate { return c.leaf.Load() }

// SetCertificate is called by the session before SetTLS.
func (c *Conn) SetCertificate(leaf *x509.Certificate) { c.leaf.Store(leaf) }

// Protected reports whether what the client sends is safe from readers on the way: TLS, a Unix socket, or loopback.
func (c *Conn) Protected() bool { return c.Loopback || c.TLS() != nil }

// Identity returns who the connection is bound as; never nil.
func (c *Conn) Identity() *Identity {
	if id := c.identity.Load(); id != nil {
		return id
	}
	return anonymous
}

// SetIdentity changes who the connection is bound as and drops all state that belonged to the one before: cursors,
// transactions, exchanges (RFC 4511 section 4.2.1). nil is anonymous.
func (c *Conn) SetIdentity(id *Identity) {
	c.identity.Store(id)
	c.dropState()
}

// State returns the connection's value under key, made with create when there is none. Keys are of types of their own, as
// with context. Values that have a Close method are closed when the identity changes or the connection ends.
func (c *Conn) State(key any, create func() any) any {
	c.mu.Lock()
	defer c.mu.Unlock()
	v, ok := c.state[key]
	if !ok && create != nil {
		if c.state == nil {
			c.state = make(map[any]any)
		}
		v = create()
		c.state[key] = v
	}
	return v
}

// SetState replaces the value under key; nil removes it. The old value is not closed.
func (c *Conn) SetState(key, value any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if value == nil {
		delete(c.state, key)
		return
	}
	if c.state == nil {
		c.state = make(map[any]any)
	}
	c.state[key] = value
}

// Memo returns what SetMemo was given last, or nil. It is the engine's: what it has worked out about the connection and
// would otherwise work out for every operation. Whoever uses it checks that it still holds.
func (c *Conn) Memo() any { return c.memo.Load() }

// SetMemo keeps a value for Memo; all values of a connection are of one type.
func (c *Conn) SetMemo(v any) { c.memo.Store(v) }

// Guarded and SetGuarded are Memo and SetMemo for the guard.
func (c *Conn) Guarded() any { return c.guarded.Load() }

// SetGuarded keeps a value for Guarded.
func (c *Conn) SetGuarded(v any) { c.guarded.Store(v) }

// Shaped and SetShaped are Memo and SetMemo for the firewall of filter shapes.
func (c *Conn) Shaped() any { return c.shaped.Load() }

// SetShaped keeps a value for Shaped.
func (c *Conn) SetShaped(v any) { c.shaped.Store(v) }

// Rated and SetRated are Memo and SetMemo for the bounds of what may be asked for in a time.
func (c *Conn) Rated() any { return c.rated.Load() }

// SetRated keeps a value for Rated.
func (c *Conn) SetRated(v any) { c.rated.Store(v) }

// End drops the state; the session calls it when the connection has ended.
func (c *Conn) End() { c.dropState() }

func (c *Conn) dropState() {
	c.mu.Lock()
	old := c.state
	c.state = nil
	c.mu.Unlock()
	for _, v := range old {
		if closer, ok := v.(interface{ Close() }); ok {
			closer.Close()
		}
	}
}

// Identity is who an operation is done as. It is immutable.
type Identity struct {
	// Name is empty for anonymous.
	Name dit.Name
	// Entry and UUID are of the identity's entry; zero where it has none (the bootstrap admin).
	Entry dit.ID
	UUID  uuid.UUID
	// Admin is the configured admin_dn, to which no access rule applies.
	Admin bool
	// Method is how it was proved: "simple", "EXTERNAL", "PLAIN", ...; "internal" for the server's own work.
	Method string
	// Apart names the credentials that were used instead of the account's password, such as "app password mail": see
	// BindOutcome.Apart. Nobody changes credentials with them.
	Apart string
	// Restricted marks a session that may do nothing but change its own password (draft-behera section 8.1).
	Restricted bool
	// Proxied is the authentication identity behind a proxied authorization or a SASL authorization identity, or nil.
	Proxied *Identity
}

// MustChange reports whether the session behind the identity may do nothing but change its own password.
func (i *Identity) MustChange() bool {
	return i.Restricted || i.Proxied != nil && i.Proxied.Restricted
}

// WithoutPassword reports whether the session behind the identity was begun with credentials apart from the password.
func (i *Identity) WithoutPassword() bool {
	return i.Apart != "" || i.Proxied != nil && i.Proxied.Apart != ""
}

var anonymous = &Identity{}

// Anonymous returns the identity of those who have not proved any.
func Anonymous() *Identity { return anonymous }

// IsAnonymous reports whether nothing was proved.
func (i *Identity) IsAnonymous() bool { return i.Name.Norm == "" && !i.Admin }

// Same reports whether two identities are one and the same.
func (i *Identity) Same(o *Identity) bool {
	return i.Name.Norm == o.Name.Norm && i.Entry == o.Entry && i.Admin == o.Admin
}

// AuthzID returns the authorization identity in the form of RFC 4513 section 5.2.1.8: empty, or "dn:" and the name.
func (i *Identity) AuthzID() string {
	if i.IsAnonymous() {
		return ""
	}
	return "dn:" + i.Name.DN
}
