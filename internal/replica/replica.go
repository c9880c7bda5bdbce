// Package replica is the consumer of content synchronization (RFC 4533): it keeps the entries beneath one naming context a
// copy of those of another server, the provider, and goes on where it was after a restart of either side.
//
// What the provider tells is applied by entryUUID, in transactions of bounded size and past the overlays: references,
// locks and the like have been seen to by the provider. The cookie of what the copy holds is stored in the transaction that
// makes it true. Entries are told in an order that need not be that of the tree: one whose parent is not there yet waits for
// it, and one whose name is taken pushes the other aside, until that is told where it is now, or that it is gone.
//
// The provider is not trusted with more than the content: memory does not grow with what it sends, beyond one message and
// some MiB, what is beneath another name is refused, and so is an answer without any entry, lest a lost right of
// reading empties the copy.
package replica

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	"portolan/internal/client"
	"portolan/internal/schema"
	"portolan/internal/store"
	"portolan/ldap"
)

// Options say what is copied from where. They are constant.
type Options struct {
	// URL is the provider's, for messages. Connect returns a connection to it that has authenticated.
	URL     string
	Connect func(ctx context.Context) (*client.Conn, error)
	// Self reports whether an address that a connection leads to is one of this server's own. It may be nil.
	Self func(a net.Addr) bool
	// Base is the naming context, of both servers.
	Base string
	// Filter selects entries; those above a selected one must be selected too. Attributes selects attributes.
	Filter     ldap.Filter
	Attributes []string
	// Poll is how long to wait between two refreshes where the provider does not take a search that persists, 0 for trying
	// that again and again; with PollOnly it is never asked to.
	Poll     time.Duration
	PollOnly bool
	// Retry is how long to wait after the first failure, and RetryMost after many.
	Retry, RetryMost time.Duration
	// Adopt takes entries over that are there already, without a cookie: those that the provider does not have go.
	Adopt bool

	Store *store.Store
	// Computed are attributes that this server works out itself: they are not taken over.
	Computed []string
	// Unfit says why a value of a secret attribute must not be stored, empty where it may be.
	Unfit func(t *schema.AttributeType, value []byte) string
	Now   func() time.Time
	Rand  io.Reader
	// Wait returns after a time, or when ctx ends with its error.
	Wait func(ctx context.Context, d time.Duration) error
	Log  *slog.Logger
}

// Consumer keeps one naming context a copy. Run does, once; the other methods may be called from any goroutine.
type Consumer struct {
	o   Options
	log *slog.Logger
	status
	copy *copier
	// anew demands a refresh of everything: the cookie is no use. hasty is when an attempt was last made without a wait.
	anew  bool
	hasty time.Time
}

// New returns the consumer; nothing is done before Run.
func New(o Options) (*Consumer, error) {
	c := &Consumer{o: o, log: o.Log.With("provider", o.URL, "base", o.Base)}
	c.status.init(&o)
	var err error
	c.copy, err = newCopier(c)
	return c, err
}

// Errors that end an attempt and say how the next one is to begin.
var (
	// errAnew: by what it has the copy cannot be brought up to date.
	errAnew = errors.New("the copy must be made anew")
	// errResume: the cookie says where to go on.
	errResume = errors.New("the provider ends the search, to go on by asking again")
	// errLoop: never to be tried again.
	errLoop = errors.New("the provider is this server itself, or one that runs on a copy of its data_dir: correct the url, or make the replica's data_dir by a refresh or from a backup")
)

// Run keeps the copy until ctx ends. Failures are logged, shown by Status, and tried again.
func (c *Consumer) Run(ctx context.Context) {
	failures := 0
	for ctx.Err() == nil {
		progress := c.progress()
		err := c.attempt(ctx)
		if ctx.Err() != nil {
			break
		}
		if c.progress() > progress {
			failures = 0
		}
		c.anew = c.anew || errors.Is(err, errAnew)
		if (errors.Is(err, errAnew) || errors.Is(err, errResume)) && c.o.Now().Sub(c.hasty) > c.o.RetryMost {
			c.log.Info("the copy must be refreshed", "reason", err)
			c.hasty = c.o.Now()
			continue
		}
		if errors.Is(err, errLoop) {
			c.failed(err, true)
			c.log.Error("replication ends", "error", err)
			return
		}
		wait := c.o.Poll
		if err != nil {
			wait = c.backoff(failures)
			failures++
			if c.failed(err, false) {
				c.log.Warn("replication is interrupted", "error", err, "again_in", wait.Round(time.Millisecond))
			}
		}
		if err := c.o.Wait(ctx, wait); err != nil {
			break
		}
	}
	c.enter(Stopped)
}

// backoff is a random time that doubles with every failure: many replicas of a provider that comes back do not come at once.
func (c *Consumer) backoff(failures int) time.Duration {
	d := c.o.RetryMost
	if failures < 30 {
		d = min(c.o.Retry<<failures, c.o.RetryMost)
	}
	var b [8]byte
	if _, err := io.ReadFull(c.o.Rand, b[:]); err != nil || d < 2 {
		return d
	}
	half := uint64(d / 2)
	return time.Duration(half + binary.BigEndian.Uint64(b[:])%(half+1))
}

// attempt connects and synchronizes until that ends. It returns nil after a refresh that was not to persist.
func (c *Consumer) attempt(ctx context.Context) error {
	c.enter(Connecting)
	conn, err := c.o.Connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if c.o.Self != nil && c.o.Self(conn.RemoteAddr()) {
		return errLoop
	}
	if err := c.copy.begin(c.anew); err != nil {
		return err
	}
	mode := ldap.RefreshAndPersist
	if c.o.PollOnly {
		mode = ldap.RefreshOnly
	}
	err = c.synchronize(ctx, conn, mode)
	if mode == ldap.RefreshAndPersist && c.o.Poll > 0 && refusesPersist(err) {
		c.log.Info("the provider takes no search that persists: polling", "reason", err)
		if err = c.copy.begin(c.anew); err == nil {
			err = c.synchronize(ctx, conn, ldap.RefreshOnly)
		}
	}
	return c.explain(err)
}

// refusesPersist reports whether an error is about the mode alone.
func refusesPersist(err error) bool {
	switch ldap.CodeOf(err) {
	case ldap.AdminLimitExceeded, ldap.UnwillingToPerform, ldap.ProtocolError, ldap.Busy:
		return true
	}
	return false
}

// explain says what an operator can do about a refusal of the provider.
func (c *Consumer) explain(err error) error {
	var result *ldap.Error
	if err == nil || !errors.As(err, &result) {
		return err
	}
	hint := ""
	switch result.Code {
	case ldap.UnavailableCriticalExtension:
		hint = "the provider does not offer content synchronization (RFC 4533): with slapd, load the overlay syncprov for this database"
	case ldap.NoSuchObject:
		hint = "the provider has no entry " + c.o.Base + ", or bind_dn may not see it"
	case ldap.InsufficientAccessRights:
		hint = "bind_dn may not read " + c.o.Base + " at the provider"
	case ldap.SizeLimitExceeded, ldap.TimeLimitExceeded, ldap.AdminLimitExceeded:
		hint = "limits of the provider for bind_dn do not let it read everything: with Portolan, give it a [[limits.for]] with size_limit = 0, time_limit = \"0\" and max_examined = 0"
	case ldap.ConfidentialityRequired:
		hint = "the provider wants TLS"
	case ldap.Referral:
		hint = "the provider holds no such content itself"
	default:
		return err
	}
	return fmt.Errorf("%w: %s", err, hint)
}
