// Package app puts the server together: it reads a configuration into the parts that the other packages are, starts and
// stops them in order, and holds THE list of every extension (wire.go).
package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"portolan/internal/config"
	"portolan/internal/credential"
	"portolan/internal/dit"
	"portolan/internal/engine"
	"portolan/internal/guard"
	"portolan/internal/guard/shapes"
	"portolan/internal/kv"
	"portolan/internal/kv/pebblekv"
	"portolan/internal/monitor"
	"portolan/internal/op"
	"portolan/internal/schema"
	"portolan/internal/store"
)

// Directory is an open store with the engine above it: what a server serves, and what commands work on while no server
// runs. Close it.
type Directory struct {
	Config   *config.Config
	Store    *store.Store
	Engine   *engine.Engine
	Log      *slog.Logger
	schema   *schema.Schema // of files; see Schema
	hashing  *credential.Pool
	verified *credential.Cache
	guard    *guard.Guard
	shapes   *shapes.Firewall
	overlays []op.Overlay
	stop     func() // ends what overlays do in the background

	release string // of the program
	begun   time.Time
	now     func() time.Time
	live    atomic.Pointer[func(*monitor.Snapshot)] // what a server adds to a snapshot

	setting  sync.Mutex     // held while settings are made and set
	version  uint64         // of the access policy and the password parameters
	reloaded *config.Config // what the settings were made from
	onSchema func(*schema.Schema)
	mirror   string // file with the live definitions of the schema; empty for none

	ports       *op.Ports
	pause       func(ctx context.Context, d time.Duration) error // between two attempts of replication
	replication *replication                                     // nil where nothing is copied
}

// OpenOptions say how Open goes about it.
type OpenOptions struct {
	Log *slog.Logger
	// ReadOnly opens the store without writing to it.
	ReadOnly bool
	// Warm fills the caches before they are asked: for a server, not for a command that soon ends.
	Warm bool
	// OnFatal is told of an error of the storage after which the process must end; it should not return.
	OnFatal func(error)
	// KV is a store that is open already, instead of the one beneath data_dir: tests keep theirs in memory. It is closed
	// with the Directory.
	KV kv.DB
	// Version is what vendorVersion of the root DSE says.
	Version string
	// MayWrite is engine.Options.MayWrite.
	MayWrite func() error
	// Now is the clock and Wait what lets an answer wait; nil are those of the machine. Tests have their own.
	Now  func() time.Time
	Wait func(ctx context.Context, d time.Duration) error
	// Pause is what replication waits by between two attempts; nil is a timer.
	Pause func(ctx context.Context, d time.Duration) error
	// Apart is engine.Options.Apart. Its owner closes it after the directory.
	Apart credential.Computer
	// Alarm is op.Ports.Alarm; nil is one by the machine's clock.
	Alarm func(f func()) (set func(at time.Time), stop func())
}

// How many passwords that were right are remembered, as MACs of 40 octets under a key of the process: those of everybody in
// a directory of up to two hundred thousand, and a small directory shall not pay for a large one.
const (
	verifiedAtLeast = 16_384
	verifiedAtMost  = 262_144
)

func verifiedPasswords(entries int) int { return min(max(entries, verifiedAtLeast), verifiedAtMost) }

// storeDir is where the store lives beneath data_dir.
const storeDir = "store"

// StoreDir returns the directory of the store of a configuration.
func StoreDir(c *config.Config) string { return filepath.Join(c.DataDir, storeDir) }

// Open opens the directory of a configuration. Errors are one line that says what to do.
func Open(c *config.Config, o OpenOptions) (*Directory, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if err := assume(c); err != nil {
		return nil, err
	}
	if o.Pause == nil {
		o.Pause = sleep
	}
	d := &Directory{Config: c, Log: o.Log, pause: o.Pause, release: o.Version, begun: o.Now(), now: o.Now}
	var err error
	if d.overlays, err = makeOverlays(c); err != nil {
		return nil, err
	}
	if d.schema, err = loadSchemaFiles(c); err != nil {
		return nil, err
	}
	for _, line := range d.schema.Displaced() {
		d.Log.Info("a definition of the shipped schema is left out", "definition", line)
	}
	if d.Store, err = d.openStore(o); err != nil {
		return nil, err
	}
	settings, err := d.settings(c)
	if err == nil {
		err = d.openSchema(o)
	}
	if err == nil {
		err = d.makeEngine(o, settings)
	}
	if err == nil && !o.ReadOnly {
		err = d.promote()
	}
	if err != nil {
		return nil, errors.Join(err, d.Store.Close())
	}
	return d, nil
}

// openStore opens the store beneath data_dir, which is made where it is missing.
func (d *Directory) openStore(o OpenOptions) (*store.Store, error) {
	c := d.Config
	dir := StoreDir(c)
	if o.KV != nil {
		return store.Open(o.KV, d.storeOptions(o, nil))
	}
	if !o.ReadOnly {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("data_dir %s cannot be used: %w", c.DataDir, reason(err))
		}
	}
	db, err := pebblekv.Open(dir, pebblekv.Options{
		Merger: store.Merger(), ReadOnly: o.ReadOnly, CacheBytes: c.Store.CacheBytes, OnFatal: o.OnFatal,
		Logger: engineLogger(o.Log),
	})
	if err != nil {
		return nil, openError(c, err)
	}
	space := func() (uint64, error) {
		if db.NoSpace() {
			return 0, nil // whatever the file system says of itself
		}
		return freeSpace(dir)
	}
	s, err := store.Open(db, d.storeOptions(o, space))
	if err != nil {
		return nil, errors.Join(openError(c, err), db.Close())
	}
	return s, nil
}

func (d *Directory) storeOptions(o OpenOptions, space func() (uint64, error)) store.Options {
	c := d.Config
	return store.Options{
		Schema: d.Schema(), Suffixes: c.Directory.AllSuffixes(), Indexes: indexes(c, d.Schema(), d.overlays),
		CacheBytes: entryCache(c.Store.EntryCache, availableMemory()), Logger: o.Log,
		Journal: store.Retention{MaxAge: c.Journal.MaxAge, MaxBytes: c.Journal.MaxBytes},
		Now:     o.Now, FreeSpace: space, MinFree: uint64(c.Limits.MinFreeBytes), ReadOnly: o.ReadOnly, Warm: o.Warm,
	}
}

// openError says what to do about a store that does not open.
func openError(c *config.Config, err error) error {
	var newer store.ErrNewerFormat
	switch {
	case errors.Is(err, kv.ErrLocked):
		return fmt.Errorf("data_dir %s is in use by another process: stop the other server, or give this one a data_dir of its own", c.DataDir)
	case errors.As(err, &newer):
		return fmt.Errorf("data_dir %s: %w", c.DataDir, err)
	case errors.Is(err, kv.ErrReadOnly), errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("data_dir %s cannot be written to: give it to the user that the server runs as, or mount its file system for writing", c.DataDir)
	}
	return fmt.Errorf("data_dir %s: %w", c.DataDir, err)
}

// reason takes the path out of an error that a message has named already.
func reason(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// engineLogger passes on what the storage engine has to say to an operator.
func engineLogger(log *slog.Logger) func(level, msg string) {
	return func(level, msg string) {
		switch level {
		case "error":
			log.Error("storage", "message", msg)
		case "warn":
			log.Warn("storage", "message", msg)
		default:
			log.Debug("storage", "message", msg)
		}
	}
}

func (d *Directory) makeEngine(o OpenOptions, settings *engine.Settings) error {
	d.hashing = credential.NewPool(credential.PoolConfig{Workers: d.Config.Password.Workers, Apart: o.Apart != nil})
	var err error
	d.verified, err = credential.NewCache(credential.CacheConfig{Size: verifiedPasswords(d.Store.Entries()), TTL: credential.DefaultCacheTTL, Now: o.Now, Rand: rand.Reader})
	if err != nil {
		return err
	}
	if err := d.makeGuard(o); err != nil {
		return err
	}
	if d.shapes, err = shapes.New(shapes.Options{Default: filtersMode(d.Config), State: d.Store.State(), Schema: d.Schema, Log: o.Log}); err != nil {
		return err
	}
	lists := engine.Options{
		Guard: d.guard, Alarm: d.guard, Filters: d.shapes,
		Store: d.Store, Overlays: d.overlays, Suffixes: d.Config.Directory.AllSuffixes(),
		Hashing: d.hashing, Verified: d.verified, Apart: o.Apart, Now: o.Now, Wait: o.Wait, Rand: rand.Reader, Log: o.Log,
		MayWrite: o.MayWrite, ReplaceSchema: d.replaceSchema, Copy: len(d.Config.Replica) > 0,
	}
	d.Engine = engine.New(lists, settings)
	ports := &op.Ports{
		Directory: d.Engine.Directory(), Journal: d.Engine.Journal(), State: d.Store.State(),
		Memory: op.NewMemory(d.Config.Limits.KeptMemory),
		Now:    lists.Now, Rand: lists.Rand, Log: d.Log, Alarm: o.Alarm,
	}
	if ports.Alarm == nil {
		ports.Alarm = alarm
	}
	d.ports = ports
	sasl, err := mechanisms(d.Config, d.Engine, ports)
	if err != nil {
		return err
	}
	d.Engine.Wire(controls(d.Config, ports), extended(d.Engine, ports), sasl)
	computed := trees(d.Config, ports, d.snapshot)
	for i := range d.overlays {
		if d.overlays[i].Trees != nil {
			computed = append(computed, d.overlays[i].Trees(ports)...)
		}
	}
	for _, t := range computed {
		if err := d.Engine.AddTree(t); err != nil {
			return err
		}
	}
	subschema, err := d.Engine.Subschema()
	if err != nil {
		return err
	}
	d.Engine.AddSpecial(subschema)
	info := engine.RootInfo{
		NamingContexts: d.Config.Directory.AllSuffixes(), Features: featureOIDs(),
		VendorName: "Portolan", VendorVersion: strings.TrimSpace("Portolan " + o.Version),
	}
	if d.Config.TLS.CertFile != "" {
		info.Extensions = []string{startTLS}
	}
	d.Engine.AddSpecial(d.Engine.RootDSE(info))
	if o.ReadOnly {
		return nil
	}
	stop, err := d.Engine.Open(ports)
	if err != nil {
		return err
	}
	counted := d.shapes.Run()
	guarding := d.runGuard(o.Now)
	d.stop = func() {
		guarding()
		stop()
		counted()
	}
	return nil
}

// settings makes what can be changed while the server runs.
func (d *Directory) settings(c *config.Config) (*engine.Settings, error) {
	d.version++
	sch := d.Schema()
	s := &engine.Settings{
		PolicyVersion: d.version,
		RequireTLS:    engine.TLSPolicy(c.Security.RequireTLS),
		AnonymousRead: c.Security.Anonymous == "read",
		ReadOnly:      c.Directory.ReadOnly || len(c.Replica) > 0,
		Passwords:     passwordParams(c), ScramIterations: scramIterations(c),
		LargeThreshold: store.DefaultLargeThreshold,
		MaxFilterNodes: c.Limits.MaxFilterNodes, MaxControls: c.Limits.MaxControls, MaxAttributes: c.Limits.MaxAttributes,
	}
	if err := s.Passwords.Validate(); err != nil {
		return nil, config.ErrorAt(c.At("password.argon2"), err.Error(), "")
	}
	if c.Directory.AdminDN != "" {
		norm, err := sch.NormalizeDN(nil, []byte(c.Directory.AdminDN))
		if err != nil {
			return nil, config.ErrorAt(c.At("directory.admin_dn"), err.Error(), "write a name such as cn=admin,dc=example,dc=org")
		}
		s.Admin = dit.Name{DN: c.Directory.AdminDN, Norm: string(norm)}
		if err := d.adminSecret(c, s); err != nil {
			return nil, err
		}
	}
	var err error
	if s.Policy, err = compileAccess(c, sch); err != nil {
		return nil, err
	}
	if s.Limits, err = limitsFor(c, sch); err != nil {
		return nil, err
	}
	if s.Copies, err = d.copies(c); err != nil {
		return nil, err
	}
	if s.UserMaps, s.CertificateMaps, err = identityMaps(c, sch); err != nil {
		return nil, err
	}
	d.reloaded = c
	return s, nil
}

// adminSecret reads the admin's password: a hash, or clear text that is hashed here and not kept.
func (d *Directory) adminSecret(c *config.Config, s *engine.Settings) error {
	file := c.Directory.AdminPasswordFile
	if file == "" {
		return nil
	}
	at := c.At("directory.admin_password_file")
	secret, warning, err := config.ReadSecretFile(file)
	if err != nil {
		return config.ErrorAt(at, err.Error(), "")
	}
	if warning != "" {
		d.Log.Warn(warning)
	}
	if credential.IsHashed(secret) {
		if _, err := credential.Parse(secret); err != nil {
			return config.ErrorAt(at, fmt.Sprintf("the hash in %s cannot be used: %v", file, err), "make one with: portolan passwd")
		}
		s.AdminStored = secret
		return nil
	}
	if s.AdminStored, err = credential.Hash(s.Passwords, secret, rand.Reader); err != nil {
		return config.ErrorAt(at, err.Error(), "")
	}
	s.AdminScram = adminScram(s, secret)
	return nil
}

// adminScram returns the SCRAM key of the administrator's password; nil where there is none.
func adminScram(s *engine.Settings, password []byte) []byte {
	if s.ScramIterations == 0 {
		return nil
	}
	key, err := credential.NewScramKey(password, s.ScramIterations, rand.Reader)
	if err != nil {
		return nil // a password that SASLprep does not allow
	}
	return key.Stored()
}

func passwordParams(c *config.Config) credential.Params {
	p := credential.DefaultParams()
	p.Memory = uint32(c.Password.Argon2.Memory / 1024)
	p.Time = uint32(c.Password.Argon2.Time)
	p.Threads = uint8(c.Password.Argon2.Parallelism)
	return p
}

// Reload takes over what of a new configuration can change without a restart.
func (d *Directory) Reload(c *config.Config) error {
	d.setting.Lock()
	defer d.setting.Unlock()
	s, err := d.settings(c)
	if err != nil {
		return err
	}
	d.Engine.Set(s)
	d.guard.Set(guardPolicy(c))
	d.shapes.SetDefault(filtersMode(c))
	return nil
}

// SetAdminPassword gives the administrator a password for this process alone: the demo and tests have no file for it.
func (d *Directory) SetAdminPassword(password []byte) error {
	stored, err := credential.Hash(d.Engine.Settings().Passwords, password, rand.Reader)
	if err != nil {
		return err
	}
	d.adminPasswordChanged(stored, password)
	return nil
}

// HashingStats counts what the hashing pool does.
func (d *Directory) HashingStats() credential.PoolStats { return d.hashing.Stats() }

// VerifiedStats returns the counters of the cache of passwords that were right; it walks the whole of it.
func (d *Directory) VerifiedStats() credential.CacheStats { return d.verified.Stats() }

// sleep returns after a time, or when ctx ends with its error.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close ends replication and hashing and closes the store; what was acknowledged is on disk.
func (d *Directory) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	d.replication.stop()
	if d.stop != nil {
		d.stop()
	}
	d.hashing.Abandon() // hashes that are renewed: the next bind begins them anew
	return errors.Join(d.hashing.Close(ctx), d.Store.Close())
}
