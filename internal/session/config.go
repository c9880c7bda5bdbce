package session

import (
	"context"
	"crypto/tls"
	"log/slog"
	"time"

	"portolan/internal/op"
)

// Limits bound what one connection may cost. Of the sizes and counts zero means the value of DefaultLimits; of IdleTimeout,
// BindTimeout and WriteTimeout it means no limit.
type Limits struct {
	// MaxPDU and MaxPDUUnauthenticated are the octets of one LDAPMessage, header included. What is larger is refused
	// from its header alone.
	MaxPDU                int
	MaxPDUUnauthenticated int
	// MaxOutstanding is how many detached operations there may be. At the limit reading pauses for BusyAfter; a request
	// for which there is no room even then is answered busy (51). BusyAfter zero is at once.
	MaxOutstanding int
	BusyAfter      time.Duration

	// IdleTimeout ends a connection that has no operation outstanding and completes no request for this long. Octets of
	// a request that stays incomplete do not count.
	IdleTimeout time.Duration
	// BindTimeout is the time from the start, TLS handshake included, until a bind has succeeded. With
	// Config.AnonymousUse it is the time until the first request is complete.
	BindTimeout time.Duration
	// WriteTimeout is how long the client may take no octet of an answer; it may be exceeded by half.
	WriteTimeout time.Duration
	// HandshakeTimeout bounds a TLS handshake. Zero means the value of DefaultLimits.
	HandshakeTimeout time.Duration
	// BindGrace is how long a bind waits for the operations before it; those that take longer are abandoned
	// (RFC 4511 section 4.2.1). Negative means not at all.
	BindGrace time.Duration
	// SearchGrace is how long a search in progress may go on once the connection is being closed; other operations go on
	// until they end or Abort is called. Negative means not at all.
	SearchGrace time.Duration
}

// DefaultLimits are the limits of a server that nobody has configured.
func DefaultLimits() Limits {
	return Limits{
		MaxPDU:                16 << 20,
		MaxPDUUnauthenticated: 64 << 10,
		MaxOutstanding:        128,
		BusyAfter:             2 * time.Second,
		IdleTimeout:           30 * time.Minute,
		BindTimeout:           time.Minute,
		WriteTimeout:          30 * time.Second,
		HandshakeTimeout:      10 * time.Second,
		BindGrace:             2 * time.Second,
		SearchGrace:           2 * time.Second,
	}
}

func (l Limits) withDefaults() Limits {
	d := DefaultLimits()
	if l.MaxPDU <= 0 {
		l.MaxPDU = d.MaxPDU
	}
	if l.MaxPDUUnauthenticated <= 0 {
		l.MaxPDUUnauthenticated = min(d.MaxPDUUnauthenticated, l.MaxPDU)
	}
	if l.MaxOutstanding <= 0 {
		l.MaxOutstanding = d.MaxOutstanding
	}
	if l.HandshakeTimeout <= 0 {
		l.HandshakeTimeout = d.HandshakeTimeout
	}
	if l.BindGrace == 0 {
		l.BindGrace = d.BindGrace
	}
	if l.SearchGrace == 0 {
		l.SearchGrace = d.SearchGrace
	}
	return l
}

// Config is what the sessions of a server have in common. It is not changed once a session uses it; a reload makes a new
// one for the connections to come.
type Config struct {
	// Handler serves the operations. Required. Unbind, abandon and StartTLS do not reach it.
	Handler op.Handler
	Limits  Limits
	// LimitsFor, where set, gives the limits of an identity: of the anonymous one at first and after a bind that failed, of the
	// one that was bound after one that succeeded. Timeouts but IdleTimeout stay as they were.
	LimitsFor func(id *op.Identity) Limits
	// AnonymousUse says that clients may work without ever binding; see Limits.BindTimeout.
	AnonymousUse bool
	// TLS returns the configuration for a handshake, nil where the server has no certificate. nil is the same as a
	// function that returns nil. It is asked at each handshake, so that certificates may change.
	TLS func() *tls.Config
	// Context is what operations get that are not detached. nil is context.Background(). Its end ends nothing by itself.
	Context context.Context
	// Logger takes what went wrong and, at debug level, the beginning and end of connections. nil discards.
	Logger *slog.Logger
	// Now is the clock of Request.Start and of the timeouts. nil is time.Now.
	Now func() time.Time
	// Stats counts. nil counts nowhere.
	Stats *Stats
	// OnOpen, where set, is told of every session before it reads anything.
	OnOpen func(c *op.Conn)
	// OnStartTLS, where set, is told of every StartTLS request when it is over: refused is nil where TLS is on, else why it
	// was refused or failed. It must not block.
	OnStartTLS func(c *op.Conn, refused error)
	// OnClose, where set, is told of every session's end, once, after its last operation.
	OnClose func(c *op.Conn, reason string)
}

func (c *Config) now() time.Time {
	if c.Now == nil {
		return time.Now()
	}
	return c.Now()
}

func (c *Config) tls() *tls.Config {
	if c.TLS == nil {
		return nil
	}
	return c.TLS()
}
