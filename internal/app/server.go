package app

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"portolan/internal/audit"
	"portolan/internal/config"
	"portolan/internal/guard"
	"portolan/internal/guard/shapes"
	"portolan/internal/hasher"
	"portolan/internal/listen"
	"portolan/internal/op"
	"portolan/internal/privilege"
	"portolan/internal/schema"
	"portolan/internal/session"
)

// ServeOptions are what a command gives to a server.
type ServeOptions struct {
	Version string
	// Stderr takes the server's log where the configuration names no file, and the line "portolan: ready".
	Stderr io.Writer
	// AdminPassword, where not nil, is the administrator's for this process, instead of a file's.
	AdminPassword []byte
	// Quiet leaves out the access log lines that would go to Stderr.
	Quiet bool
	// Program says that this process is the program portolan and can be run again, as HashCommand.
	Program bool
	// Now is the clock of the server and may step; nil is that of the machine. Tests have their own.
	Now func() time.Time
}

// Server is a running server: a Directory with listeners.
type Server struct {
	*Directory
	o       ServeOptions
	taken   *config.Config // the last that was taken over; Directory has that of the start
	listen  *listen.Server
	certs   *listen.Certs
	stats   session.Stats
	metrics *http.Server // nil without
	logs    *logs
	trail   *audit.Trail // nil without
	pace    *guard.Pace
	rates   *guard.Rates
	hasher  *hasher.Hasher // nil without
	begun   time.Time
	failed  chan error
	cancel  context.CancelFunc // of background work
}

// ControlSocket returns the path of the control socket of a configuration.
func ControlSocket(c *config.Config) string { return filepath.Join(c.DataDir, "control.sock") }

// Start opens the directory and every listener. Shutdown must follow a success.
func Start(c *config.Config, o ServeOptions) (*Server, error) {
	if o.Stderr == nil {
		o.Stderr = os.Stderr
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if err := assume(c); err != nil {
		return nil, err
	}
	s := &Server{o: o, taken: c, begun: o.Now(), failed: make(chan error, 1), pace: guard.NewPace(o.Now, waitFor)}
	var err error
	if s.rates, err = guard.NewRates(o.Now, rand.Reader); err != nil {
		return nil, err
	}
	if s.certs, err = loadCerts(c); err != nil {
		return nil, err
	}
	if s.logs, err = openLogs(c, o); err != nil {
		return nil, err
	}
	s.hasher = newHasher(o, s.logs.log)
	if err := s.open(c); err != nil {
		s.hasher.Close()
		s.logs.close()
		return nil, err
	}
	return s, nil
}

func (s *Server) open(c *config.Config) error {
	d, err := Open(c, OpenOptions{Log: s.logs.log, Version: s.o.Version, OnFatal: s.fatal, MayWrite: s.mayWrite, Warm: true, Now: s.o.Now, Apart: computer(s.hasher)})
	if err != nil {
		return err
	}
	s.Directory = d
	d.onSchema = func(sch *schema.Schema) { s.logs.secret.Set(secretList(sch)) }
	d.onSchema(d.Schema())
	if err := s.openTrail(c); err != nil {
		return errors.Join(err, d.Close())
	}
	if s.trail != nil {
		s.shapes.OnAlarm(func(req *op.Request, a shapes.Alarm) {
			s.trail.FilterShape(req, a.Mode.String(), a.Use.String(), a.Shape, a.ID)
		})
	}
	if s.o.AdminPassword != nil {
		if err := d.SetAdminPassword(s.o.AdminPassword); err != nil {
			return errors.Join(err, s.closeTrail("the server could not start"), d.Close())
		}
	}
	s.guard.OnEvent(s.guarded)
	s.rates.OnEvent(s.tooMuch)
	rates, err := s.ratePolicy(c)
	if err != nil {
		return errors.Join(err, s.closeTrail("the server could not start"), d.Close())
	}
	s.rates.Set(rates)
	s.wireControl()
	if err := s.startListening(c); err != nil {
		return errors.Join(err, s.closeTrail("the server could not start"), d.Close())
	}
	if err := d.Replicate(); err != nil {
		return errors.Join(err, s.Shutdown(context.Background()))
	}
	return nil
}

// fatal is told of a storage error after which nothing can be written: the process ends, at once and in one line, so
// that what is started in its place finds a clean store.
func (s *Server) fatal(err error) {
	fmt.Fprintf(s.o.Stderr, "portolan: the storage of %s failed and the server ends; check the disk, then start it again: %v\n", s.Config.DataDir, err)
	os.Exit(1)
}

func (s *Server) startListening(c *config.Config) error {
	cfg, err := s.listenConfig(c)
	if err != nil {
		return err
	}
	if cfg.Inherited, err = listen.Inherited(); err != nil {
		return err
	}
	s.listen = listen.New(cfg)
	if err := s.listen.Start(); err != nil {
		return err
	}
	watch := s.watch
	s.live.Store(&watch)
	if err := s.serveMetrics(c); err != nil {
		return errors.Join(err, s.listen.Shutdown(context.Background()))
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	go func() {
		select {
		case err := <-s.Store.Fatal():
			s.failed <- err
		case <-ctx.Done():
		}
	}()
	if s.certs != nil {
		told := func(err error) {
			s.certificateChanged(err)
			if err != nil {
				s.Log.Error("the new certificate cannot be used; the old one stays", "error", err)
				return
			}
			s.Log.Info("the certificate was reloaded", "subject", s.certs.Leaf().Subject.String(), "until", s.certs.Leaf().NotAfter)
		}
		if err := s.certs.Watch(ctx, told); err != nil {
			s.Log.Warn(err.Error())
		}
		if err := s.certs.Expired(); err != nil {
			s.Log.Warn("clients will refuse the certificate", "error", err)
		}
	}
	return nil
}

// listenConfig gives the sockets of a configuration, the control socket first, to package listen.
func (s *Server) listenConfig(c *config.Config) (listen.Config, error) {
	out := listen.Config{
		MaxConnections: c.Limits.MaxConnections, MaxConnectionsPerAddress: c.Limits.MaxConnectionsPerAddress,
		Logger: s.Log, Session: s.sessionConfig(c),
		Listeners: []listen.Listener{{
			URL: "ldapi://" + ControlSocket(c), Network: "unix", Addr: ControlSocket(c), Control: true,
		}},
	}
	for i := range c.Listen {
		l := &c.Listen[i]
		a, err := l.Address()
		if err != nil {
			return out, config.ErrorAt(l.At("url"), err.Error(), `write a URL such as "ldap://127.0.0.1:389"`)
		}
		out.Listeners = append(out.Listeners, listen.Listener{
			URL: l.URL, Network: a.Network, Addr: a.Addr, TLS: a.TLS,
			Allow: l.Allow, Deny: l.Deny, ProxyProtocolFrom: l.ProxyProtocolFrom,
		})
	}
	return out, nil
}

func (s *Server) sessionConfig(c *config.Config) *session.Config {
	l := &c.Limits
	limits := session.DefaultLimits()
	limits.MaxPDU, limits.MaxPDUUnauthenticated = int(l.MaxPDU), int(l.MaxPDUUnauthenticated)
	limits.MaxOutstanding = l.MaxOutstanding
	limits.IdleTimeout, limits.BindTimeout, limits.WriteTimeout = l.IdleTimeout, l.BindTimeout, l.WriteTimeout
	cfg := &session.Config{
		Handler: s.handler(), Limits: limits, AnonymousUse: c.Security.Anonymous == "read",
		LimitsFor: s.sessionLimits(c, limits), Logger: s.Log, Stats: &s.stats,
		OnOpen: s.logs.opened, OnClose: s.logs.closed, OnStartTLS: s.startTLS, Now: s.o.Now,
	}
	if s.certs != nil {
		cfg.TLS = s.certs.TLS
	}
	return cfg
}

// sessionLimits applies [[limits.for]] to what a session bounds.
func (s *Server) sessionLimits(c *config.Config, general session.Limits) func(*op.Identity) session.Limits {
	overrides, err := whoOverrides(c, s.Schema())
	if err != nil || len(overrides) == 0 {
		return nil // the same mistake was reported when the settings were made
	}
	return func(id *op.Identity) session.Limits {
		out := general
		inGroup := s.Engine.InGroup(id)
		for _, o := range overrides {
			if !o.matches(id, inGroup) {
				continue
			}
			if o.limits.MaxOutstanding != nil {
				out.MaxOutstanding = *o.limits.MaxOutstanding
			}
			if o.limits.IdleTimeout != nil {
				out.IdleTimeout = *o.limits.IdleTimeout
			}
			break
		}
		return out
	}
}

// handler is the engine inside the middleware, the outermost first.
func (s *Server) handler() op.Handler {
	h := s.rates.Middleware()(s.pace.Middleware()(s.Engine))
	if s.logs.access != nil {
		h = s.logs.access.Middleware()(h)
	}
	if s.trail != nil {
		h = s.trail.Middleware()(h)
	}
	return h
}

// loadCerts loads the certificate of a configuration; nil where there is none.
func loadCerts(c *config.Config) (*listen.Certs, error) {
	if c.TLS.CertFile == "" {
		return nil, nil
	}
	files := listen.CertFiles{Cert: c.TLS.CertFile, Key: c.TLS.KeyFile, ClientCA: c.TLS.ClientCAFile, MinVersion: tls.VersionTLS12}
	files.RequireClient = c.TLS.ClientCertificate == "required"
	if c.TLS.MinVersion == "1.3" {
		files.MinVersion = tls.VersionTLS13
	}
	certs, err := listen.LoadCerts(files, nil)
	if err != nil {
		return nil, config.ErrorAt(c.At("tls.cert_file"), err.Error(), "")
	}
	return certs, nil
}

// Addrs returns the addresses of the configured listeners.
func (s *Server) Addrs() []net.Addr { return s.listen.Addrs()[1:] }

// Failed delivers the error after which the server cannot go on.
func (s *Server) Failed() <-chan error { return s.failed }

// Reload takes over what of the configuration file can change while the server runs, and reopens the logs. When the new
// file has a mistake nothing changes.
func (s *Server) Reload() error {
	taken, err := s.reload()
	s.reloaded(taken, err)
	return err
}

func (s *Server) reload() (taken []string, err error) {
	next, err := config.Load(s.Config.File(), os.ReadFile)
	if err != nil {
		return nil, err
	}
	cfg, err := s.listenConfig(next)
	if err != nil {
		return nil, err
	}
	rates, err := s.ratePolicy(next)
	if err != nil {
		return nil, err
	}
	if err := s.Directory.Reload(next); err != nil {
		return nil, err
	}
	s.rates.Set(rates)
	s.listen.Reload(cfg)
	if err := s.logs.setLevel(next); err != nil {
		return nil, err
	}
	taken, _ = config.Diff(s.taken, next)
	s.taken = next
	if _, later := config.Diff(s.Config, next); len(later) > 0 {
		s.Log.Warn("some changes of the configuration need a restart", "keys", later)
	}
	var errs []error
	if s.certs != nil {
		if _, err := s.certs.Reload(); err != nil {
			errs = append(errs, fmt.Errorf("the certificate cannot be reloaded, the old one stays: %w", err))
		}
	}
	errs = append(errs, s.logs.reopen())
	if s.trail != nil {
		s.trail.Set(trailPolicy(next))
		errs = append(errs, s.trail.Reopen())
	}
	s.Log.Info("the configuration was reloaded", "changed", taken)
	return taken, errors.Join(errs...)
}

// Shutdown ends the server in order: no new connections, clients told, operations in progress finished, the store
// closed. When ctx ends first the rest is cut off; nothing that was acknowledged is lost either way.
func (s *Server) Shutdown(ctx context.Context) error {
	if s.metrics != nil {
		s.metrics.Close()
	}
	err := s.listen.Shutdown(ctx)
	s.cancel()
	err = errors.Join(err, s.closeTrail(""), s.Directory.Close())
	s.hasher.Close()
	return errors.Join(err, s.logs.close())
}

// drainTime is how long operations in progress may take once the server has been told to end.
const drainTime = 10 * time.Second

// Ready says that every listener is open: the process is a server from here on. It is called once, by the command that
// runs it.
func (s *Server) Ready() {
	s.renounce()
	if os.Getenv("GOGC") == "" {
		// Most of the heap are caches that stay: with the runtime's own setting they would count twice.
		debug.SetGCPercent(gcPercent)
	}
	boundMemory()
	// Opening the store, and passwords that were hashed, took memory that a quiet server does not need.
	debug.FreeOSMemory()
	fmt.Fprintln(s.o.Stderr, "portolan: ready")
}

// gcPercent is how much the heap grows, in percent of what is in use, before it is collected. Searches hardly allocate, so
// that collections are few all the same.
const gcPercent = 50

// Serve runs a server until ctx ends. reload delivers requests to reload. "portolan: ready" is written when every
// listener is open, and systemd is told.
func Serve(ctx context.Context, c *config.Config, o ServeOptions, reload <-chan os.Signal) error {
	s, err := Start(c, o)
	if err != nil {
		return err
	}
	s.Ready()
	s.notify(daemon.SdNotifyReady)
	for {
		select {
		case <-reload:
			s.notify(daemon.SdNotifyReloading)
			if err := s.Reload(); err != nil {
				s.Log.Error("the configuration was not reloaded, the old one stays in force", "error", err)
			}
			s.notify(daemon.SdNotifyReady)
		case err := <-s.failed:
			s.fatal(err)
		case <-ctx.Done():
			s.notify(daemon.SdNotifyStopping)
			s.Log.Info("the server is ending")
			drain, cancel := context.WithTimeout(context.Background(), drainTime)
			defer cancel()
			return s.Shutdown(drain)
		}
	}
}

// renounce gives up what privileges are left now that every listener is open, and says what cannot be had.
func (s *Server) renounce() {
	if err := errors.Join(privilege.Harden(), privilege.Renounce()); err != nil {
		s.Log.Warn("the process keeps privileges that it does not need", "error", err)
	}
	if os.Geteuid() == 0 && !s.o.Quiet {
		s.Log.Warn("the server runs as root; name an ordinary user in run_as, or start it from its systemd unit")
	}
}

// notify tells systemd, where it listens.
func (s *Server) notify(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		s.Log.Warn("systemd could not be told", "state", state, "error", err)
	}
}

// logs are the open log files.
type logs struct {
	log    *slog.Logger
	level  slog.LevelVar
	server *audit.Lines // nil: standard error
	lines  *audit.Lines // of the access log
	access *audit.AccessLog
	secret *audit.Names // attributes whose values are not shown
}

// openLogs opens the server's log and the access log.
func openLogs(c *config.Config, o ServeOptions) (*logs, error) {
	l := &logs{secret: audit.NewNames(nil)}
	if err := l.setLevel(c); err != nil {
		return nil, err
	}
	var out io.Writer = o.Stderr
	broken := func(err error) { fmt.Fprintln(o.Stderr, "portolan: a log cannot be written:", err) }
	if c.Log.File != "" {
		var err error
		if l.server, err = audit.NewLines(appender(c.Log.File), broken); err != nil {
			return nil, config.ErrorAt(c.At("log.file"), err.Error(), "")
		}
		out = lineWriter{l.server}
	}
	options := &slog.HandlerOptions{Level: &l.level}
	if c.Log.Format == "json" {
		l.log = slog.New(slog.NewJSONHandler(out, options))
	} else {
		l.log = slog.New(slog.NewTextHandler(out, options))
	}
	if !c.Log.Access.Enabled || o.Quiet && c.Log.Access.File == "" && c.Log.File == "" {
		return l, nil
	}
	switch {
	case c.Log.Access.File != "":
		var err error
		if l.lines, err = audit.NewLines(appender(c.Log.Access.File), broken); err != nil {
			return nil, errors.Join(config.ErrorAt(c.At("log.access.file"), err.Error(), ""), l.close())
		}
	case l.server != nil:
		l.lines = l.server
	default:
		var err error
		if l.lines, err = audit.NewLines(func() (io.WriteCloser, error) { return keepOpen{o.Stderr}, nil }, broken); err != nil {
			return nil, err
		}
	}
	l.access = audit.NewAccessLog(l.lines, o.Now, l.secret)
	return l, nil
}

func (l *logs) setLevel(c *config.Config) error {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Log.Level)); err != nil {
		return config.ErrorAt(c.At("log.level"), err.Error(), "")
	}
	l.level.Set(level)
	return nil
}

func appender(path string) func() (io.WriteCloser, error) {
	return func() (io.WriteCloser, error) {
		return os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o640) // #nosec G302 -- log readers are a group; posture looks at the mode
	}
}

// keepOpen is a writer that is not ours to close.
type keepOpen struct{ io.Writer }

func (keepOpen) Close() error { return nil }

// lineWriter makes Lines an io.Writer for slog, which writes whole lines.
type lineWriter struct{ lines *audit.Lines }

func (w lineWriter) Write(b []byte) (int, error) {
	w.lines.Append(b)
	return len(b), nil
}

func (l *logs) opened(c *op.Conn) {
	if l.access != nil {
		l.access.Opened(c)
	}
}

func (l *logs) closed(c *op.Conn, reason string) {
	if l.access != nil {
		l.access.Closed(c, reason)
	}
}

func (l *logs) reopen() error {
	var errs []error
	for _, lines := range []*audit.Lines{l.server, l.lines} {
		if lines != nil {
			errs = append(errs, lines.Reopen())
		}
	}
	return errors.Join(errs...)
}

func (l *logs) close() error {
	var errs []error
	for _, lines := range []*audit.Lines{l.lines, l.server} {
		if lines != nil {
			errs = append(errs, lines.Close())
		}
	}
	return errors.Join(errs...)
}
