package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"

	"portolan/internal/audit"
	"portolan/internal/config"
)

// Verbs are the administrative operations. They are the same through the control socket of a running server and on the
// store of a stopped one; see Administer. Errors are one line that says what is wrong and what to do.
type Verbs interface {
	// Status returns the health of the directory.
	Status(ctx context.Context) (*Status, error)
	// Indexes lists the indexes; with count it reads them to say what they hold.
	Indexes(ctx context.Context, count bool) ([]Index, error)
	// BuildIndex makes a configured index anew, or for the first time, and returns when it is ready and verified.
	BuildIndex(ctx context.Context, name IndexName, progress Progress) (*Index, error)
	// DropIndex drops an index that is not configured any more.
	DropIndex(ctx context.Context, name IndexName) error
	// Backup writes a backup into dir, which must not exist or be empty. dir is a path of the server's host, and absolute.
	Backup(ctx context.Context, dir string, progress Progress) (*Manifest, error)
	// Check verifies the store and what overlays keep. report is called for every defect.
	Check(ctx context.Context, report func(Finding), progress Progress) (*CheckSummary, error)
	// Export writes entries to w as LDIF. After an error what was written is not whole.
	Export(ctx context.Context, o ExportOptions, w io.Writer, progress Progress) (*ExportSummary, error)
	// SetPassword sets the password of an entry or of the administrator.
	SetPassword(ctx context.Context, change PasswordChange) (*PasswordSet, error)
	// AddToken, ConfirmToken, RecoveryCodes, Factors and RemoveFactors are about second factors of an account.
	AddToken(ctx context.Context, t OTPToken) (*OTPMade, error)
	ConfirmToken(ctx context.Context, c OTPConfirmation) error
	RecoveryCodes(ctx context.Context, account string) (*OTPMade, error)
	Factors(ctx context.Context, account string) ([]OTPFactor, error)
	RemoveFactors(ctx context.Context, r CredentialRemoval) (*CredentialsRemoved, error)
	// AddAppPassword, AppPasswords and RevokeAppPasswords make, list and delete the application passwords of an account.
	AddAppPassword(ctx context.Context, a AppPassword) (*AppPasswordMade, error)
	AppPasswords(ctx context.Context, dn string) ([]AppPassword, error)
	RevokeAppPasswords(ctx context.Context, r CredentialRemoval) (*CredentialsRemoved, error)
	// ExplainAccess says which access rules decide about something, and why.
	ExplainAccess(ctx context.Context, q AccessQuestion) (*AccessAnswer, error)
	// TestAccess verifies what access rules are expected to give.
	TestAccess(ctx context.Context, t AccessTest) (*AccessVerdict, error)
	// FilterShapes does something about the filter shapes of identities and returns what is known then.
	FilterShapes(ctx context.Context, q ShapesQuery) (*ShapesAnswer, error)
	// AuditState returns what is known of the audit log beside its files; a running server seals the log first.
	AuditState(ctx context.Context) (*AuditState, error)
	// Guarded lists what the guard counts.
	Guarded(ctx context.Context) (*Guarded, error)
	// ClearGuard makes the guard forget.
	ClearGuard(ctx context.Context, c GuardClear) (*GuardCleared, error)
	// Running reports whether a running server answers.
	Running() bool
	Close() error
}

// Progress is told how far a verb is. total is 0 while it is not known.
type Progress func(done, total int64)

func (p Progress) tell(done, total int64) {
	if p != nil {
		p(done, total)
	}
}

// Admin performs the verbs on an open directory. It may be used by several goroutines.
type Admin struct {
	d       *Directory
	version string
	// live returns what a running server knows beyond the directory; nil where none runs.
	live func() Live
	// trail is the audit log of a running server, nil where there is none.
	trail *audit.Trail
}

// NewAdmin returns the verbs on a directory in which no server works.
func NewAdmin(d *Directory, version string) *Admin { return &Admin{d: d, version: version} }

// Running reports whether this is the directory of a running server.
func (a *Admin) Running() bool { return a.live != nil }

// Close does nothing: the directory is its owner's.
func (a *Admin) Close() error { return nil }

// currentConfig returns the configuration as its file is now: a server may be told of a change before it is restarted.
func (a *Admin) currentConfig() (*config.Config, error) {
	if !a.Running() || a.d.Config.File() == "" {
		return a.d.Config, nil
	}
	return config.Load(a.d.Config.File(), os.ReadFile)
}

// lastBackupKey is the key of store.State under which the last backup is remembered.
const lastBackupKey = "admin/last-backup"

// LastBackup says when and where the last backup was made.
type LastBackup struct {
	Time time.Time `json:"time"`
	Dir  string    `json:"dir"`
}

func (a *Admin) lastBackup() (*LastBackup, error) {
	value, err := a.d.Store.State().Get([]byte(lastBackupKey))
	if err != nil || value == nil {
		return nil, err
	}
	var b LastBackup
	if err := json.Unmarshal(value, &b); err != nil {
		return nil, nil // of a version with another form
	}
	return &b, nil
}

// offline performs the verbs on the store of a stopped server, which it opens when it is needed and as the verb needs it.
type offline struct {
	c *config.Config
	o AdministerOptions
	d *Directory
}

// open opens the directory.
func (f *offline) open(write bool) (*Admin, error) {
	if f.d == nil {
		if _, err := os.Stat(StoreDir(f.c)); errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("there is no directory in %s yet: start the server once, or import into it", f.c.DataDir)
		}
		d, err := Open(f.c, OpenOptions{Log: f.o.Log, ReadOnly: !write, Version: f.o.Version, OnFatal: f.o.OnFatal})
		if err != nil {
			return nil, err
		}
		f.d = d
	}
	return NewAdmin(f.d, f.o.Version), nil
}

func (f *offline) Running() bool { return false }

func (f *offline) Close() error {
	if f.d == nil {
		return nil
	}
	return f.d.Close()
}

func (f *offline) Status(ctx context.Context) (*Status, error) {
	a, err := f.open(false)
	if err != nil {
		return nil, err
	}
	return a.Status(ctx)
}

func (f *offline) Indexes(ctx context.Context, count bool) ([]Index, error) {
	a, err := f.open(false)
	if err != nil {
		return nil, err
	}
	return a.Indexes(ctx, count)
}

func (f *offline) BuildIndex(ctx context.Context, name IndexName, progress Progress) (*Index, error) {
	a, err := f.open(true)
	if err != nil {
		return nil, err
	}
	return a.BuildIndex(ctx, name, progress)
}

func (f *offline) DropIndex(ctx context.Context, name IndexName) error {
	a, err := f.open(true)
	if err != nil {
		return err
	}
	return a.DropIndex(ctx, name)
}

func (f *offline) Backup(ctx context.Context, dir string, progress Progress) (*Manifest, error) {
	a, err := f.open(true)
	if err != nil {
		return nil, err
	}
	return a.Backup(ctx, dir, progress)
}

func (f *offline) Check(ctx context.Context, report func(Finding), progress Progress) (*CheckSummary, error) {
	a, err := f.open(false)
	if err != nil {
		return nil, err
	}
	return a.Check(ctx, report, progress)
}

func (f *offline) Export(ctx context.Context, o ExportOptions, w io.Writer, progress Progress) (*ExportSummary, error) {
	a, err := f.open(false)
	if err != nil {
		return nil, err
	}
	return a.Export(ctx, o, w, progress)
}

// SetPassword opens no store for the administrator's password: that is in a file.
func (f *offline) SetPassword(ctx context.Context, change PasswordChange) (*PasswordSet, error) {
	admin, err := change.isAdmin(f.c)
	if err != nil {
		return nil, err
	}
	if admin {
		return setAdminPassword(f.c, change, nil)
	}
	a, err := f.open(true)
	if err != nil {
		return nil, err
	}
	return a.SetPassword(ctx, change)
}

func (f *offline) ExplainAccess(ctx context.Context, q AccessQuestion) (*AccessAnswer, error) {
	a, err := f.open(false)
	if err != nil {
		return nil, err
	}
	return a.ExplainAccess(ctx, q)
}

func (f *offline) TestAccess(ctx context.Context, t AccessTest) (*AccessVerdict, error) {
	a, err := f.open(false)
	if err != nil {
		return nil, err
	}
	return a.TestAccess(ctx, t)
}

func (f *offline) FilterShapes(ctx context.Context, q ShapesQuery) (*ShapesAnswer, error) {
	a, err := f.open(q.changes())
	if err != nil {
		return nil, err
	}
	return a.FilterShapes(ctx, q)
}

func (f *offline) AuditState(ctx context.Context) (*AuditState, error) {
	a, err := f.open(false)
	if err != nil {
		return nil, err
	}
	return a.AuditState(ctx)
}

func (f *offline) Guarded(ctx context.Context) (*Guarded, error) {
	a, err := f.open(false)
	if err != nil {
		return nil, err
	}
	return a.Guarded(ctx)
}

func (f *offline) ClearGuard(ctx context.Context, c GuardClear) (*GuardCleared, error) {
	a, err := f.open(true)
	if err != nil {
		return nil, err
	}
	return a.ClearGuard(ctx, c)
}

var (
	_ Verbs = (*Admin)(nil)
	_ Verbs = (*offline)(nil)
	_ Verbs = (*remote)(nil)
)

// nobodyListens reports whether an error of dialling a Unix socket means that no server runs.
func nobodyListens(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED)
}
