package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"syscall"
	"time"

	"portolan/internal/client"
	"portolan/internal/config"
	"portolan/internal/extop"
	"portolan/internal/op"
	"portolan/ldap"
)

// Numbers of the administrative operations beneath the server's arc. A number is never given to another verb.
const (
	numberStatus = 1 + iota
	numberIndexes
	numberBuildIndex
	numberDropIndex
	numberBackup
	numberCheck
	numberExport
	numberPassword
	numberExplain
	numberAudit
	numberGuarded
	numberClearGuard
)

// These stand apart from the others.
const (
	numberShapes = 30 + iota
	numberTestAccess
)

// AdministerOptions say how to reach the verbs.
type AdministerOptions struct {
	// Log takes what a store that has to be opened says; nil drops it.
	Log *slog.Logger
	// Version is this program's.
	Version string
	// OnFatal is for a store that has to be opened; see OpenOptions.
	OnFatal func(error)
}

// Administer returns the verbs on the directory of a configuration: through the control socket when its server runs, and
// on the store itself when it does not. Close must be called.
func Administer(ctx context.Context, c *config.Config, o AdministerOptions) (Verbs, error) {
	socket := ControlSocket(c)
	conn, err := client.Dial(ctx, client.SocketURL(socket), client.Options{})
	switch {
	case err == nil:
	case nobodyListens(err):
		return &offline{c: c, o: o}, nil
	case errors.Is(err, syscall.ENOTDIR):
		return nil, fmt.Errorf("data_dir %s is no directory, or what it lies in is none: correct data_dir, or remove the file", c.DataDir)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("the control socket %s may not be used: run this as root or as the user that the server runs as", socket)
	default:
		return nil, fmt.Errorf("the control socket %s: %w", socket, err)
	}
	if _, err := conn.BindExternal(ctx, ""); err != nil {
		conn.Close()
		return nil, fmt.Errorf("the server at %s does not let this user in: run this as root or as the user that the server runs as: %w", socket, err)
	}
	return &remote{conn: conn}, nil
}

// output is what a verb says before its result. On the way through the control socket it is a stream of pieces.
type output struct {
	data     io.Writer
	finding  func(Finding)
	progress Progress
}

// Kinds of pieces.
const (
	kindData     = "data"
	kindFinding  = "finding"  // a Finding as JSON
	kindProgress = "progress" // two numbers as JSON
)

// progressInterval is how often progress goes over the socket.
const progressInterval = 100 * time.Millisecond

// served makes the server's side of a verb.
func served[A, R any](number int, name string, run func(ctx context.Context, args A, o *output) (R, error)) op.Extended {
	return extop.Admin(name, extop.AdminOID(number), func(ctx context.Context, req *op.Request, value []byte, out func(string, []byte) error) ([]byte, error) {
		var args A
		if err := strictly(value, &args); err != nil {
			return nil, ldap.Errorf(ldap.ProtocolError, "the request is not one of %s in this version of the server: %v", name, err)
		}
		if x, ok := any(args).(interface{ about() string }); ok {
			req.Trace.DN = x.about()
		}
		if x, ok := any(args).(interface{ note() string }); ok {
			req.Trace.Note = x.note()
		}
		o, broken := piecesTo(out)
		result, err := run(ctx, args, o)
		if x, ok := any(result).(interface{ sequence() uint64 }); ok && err == nil {
			req.Trace.Seq = x.sequence()
		}
		if err == nil {
			err = *broken
		}
		if err != nil {
			return nil, err
		}
		return json.Marshal(result)
	})
}

// piecesTo returns an output that goes out in pieces. broken has the first error of those that report none themselves.
func piecesTo(out func(kind string, piece []byte) error) (o *output, broken *error) {
	broken = new(error)
	send := func(kind string, v any) {
		if *broken != nil {
			return
		}
		b, err := json.Marshal(v)
		if err == nil {
			err = out(kind, b)
		}
		*broken = err
	}
	var told time.Time
	return &output{
		data:    pieceWriter(func(b []byte) error { return out(kindData, b) }),
		finding: func(f Finding) { send(kindFinding, f) },
		progress: func(done, total int64) {
			if now := time.Now(); done == total || now.Sub(told) >= progressInterval {
				told = now
				send(kindProgress, [2]int64{done, total})
			}
		},
	}, broken
}

type pieceWriter func([]byte) error

func (w pieceWriter) Write(b []byte) (int, error) {
	if err := w(b); err != nil {
		return 0, err
	}
	return len(b), nil
}

// strictly decodes JSON and refuses what it does not know: half-understood requests do harm.
func strictly(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if d.More() {
		return errors.New("there is something behind the value")
	}
	return nil
}

// done is the result of a verb that has none.
type done struct{}

// controlVerbs are the verbs as extended operations of the control socket.
func (a *Admin) controlVerbs() []op.Extended {
	return []op.Extended{
		served(numberStatus, "status", func(ctx context.Context, _ done, _ *output) (*Status, error) { return a.Status(ctx) }),
		served(numberIndexes, "index list", func(ctx context.Context, args indexesArgs, _ *output) ([]Index, error) {
			return a.Indexes(ctx, args.Count)
		}),
		served(numberBuildIndex, "index build", func(ctx context.Context, name IndexName, o *output) (*Index, error) {
			return a.BuildIndex(ctx, name, o.progress)
		}),
		served(numberDropIndex, "index drop", func(ctx context.Context, name IndexName, _ *output) (done, error) {
			return done{}, a.DropIndex(ctx, name)
		}),
		served(numberBackup, "backup", func(ctx context.Context, args backupArgs, o *output) (*Manifest, error) {
			return a.Backup(ctx, args.Dir, o.progress)
		}),
		served(numberCheck, "check", func(ctx context.Context, _ done, o *output) (*CheckSummary, error) {
			return a.Check(ctx, o.finding, o.progress)
		}),
		served(numberExport, "export", func(ctx context.Context, args ExportOptions, o *output) (*ExportSummary, error) {
			return a.Export(ctx, args, o.data, o.progress)
		}),
		served(numberPassword, "passwd", func(ctx context.Context, args PasswordChange, _ *output) (*PasswordSet, error) {
			return a.SetPassword(ctx, args)
		}),
		served(numberAddAppPassword, "app-password add", func(ctx context.Context, args AppPassword, _ *output) (*AppPasswordMade, error) {
			return a.AddAppPassword(ctx, args)
		}),
		served(numberAppPasswords, "app-password list", func(ctx context.Context, args accountArgs, _ *output) ([]AppPassword, error) {
			return a.AppPasswords(ctx, args.DN)
		}),
		served(numberRevokeAppPasswords, "app-password revoke", func(ctx context.Context, args CredentialRemoval, _ *output) (*CredentialsRemoved, error) {
			return a.RevokeAppPasswords(ctx, args)
		}),
		served(numberExplain, "acl explain", func(ctx context.Context, args AccessQuestion, _ *output) (*AccessAnswer, error) {
			return a.ExplainAccess(ctx, args)
		}),
		served(numberGuarded, "guard list", func(ctx context.Context, _ done, _ *output) (*Guarded, error) { return a.Guarded(ctx) }),
		served(numberClearGuard, "guard clear", func(ctx context.Context, args GuardClear, _ *output) (*GuardCleared, error) {
			return a.ClearGuard(ctx, args)
		}),
		served(numberTestAccess, "acl test", func(ctx context.Context, args AccessTest, _ *output) (*AccessVerdict, error) {
			return a.TestAccess(ctx, args)
		}),
		served(numberShapes, "guard shapes", func(ctx context.Context, args ShapesQuery, _ *output) (*ShapesAnswer, error) {
			return a.FilterShapes(ctx, args)
		}),
		served(numberAudit, "audit anchor", func(ctx context.Context, _ done, _ *output) (*AuditState, error) { return a.AuditState(ctx) }),
	}
}

type indexesArgs struct {
	Count bool `json:"count"`
}

type backupArgs struct {
	Dir string `json:"dir"`
}

// wireControl adds the verbs to the engine of a server that is being started.
func (s *Server) wireControl() {
	a := &Admin{d: s.Directory, version: s.o.Version, live: s.state, trail: s.trail}
	s.Engine.Wire(nil, append(a.controlVerbs(), a.otpVerbs()...), nil)
}

// remote asks a running server.
type remote struct{ conn *client.Conn }

func (r *remote) Running() bool { return true }

func (r *remote) Close() error { return r.conn.Unbind() }

// ask performs a verb on the server.
func ask[R any](ctx context.Context, r *remote, number int, args any, o output) (R, error) {
	var result R
	value, err := json.Marshal(args)
	if err != nil {
		return result, err
	}
	response, err := r.conn.Extended(ctx, extop.AdminOID(number), value, func(_ string, value []byte) error { return o.take(value) })
	if err != nil {
		return result, shown(err)
	}
	if err := json.Unmarshal(response.Value, &result); err != nil {
		return result, fmt.Errorf("the server answers in a form that this command does not know; use the one of the server's version: %w", err)
	}
	return result, nil
}

// shown leaves of an error of the server what it has to say.
func shown(err error) error {
	var e *ldap.Error
	if errors.As(err, &e) && e.Code == ldap.Other && e.Diagnostic != "" {
		return errors.New(e.Diagnostic)
	}
	return err
}

// take deals with one piece of output.
func (o *output) take(value []byte) error {
	kind, piece, err := extop.SplitPiece(value)
	if err != nil {
		return err
	}
	switch kind {
	case kindData:
		if o.data != nil {
			_, err = o.data.Write(piece)
		}
	case kindFinding:
		var f Finding
		if err = json.Unmarshal(piece, &f); err == nil && o.finding != nil {
			o.finding(f)
		}
	case kindProgress:
		var p [2]int64
		if err = json.Unmarshal(piece, &p); err == nil {
			o.progress.tell(p[0], p[1])
		}
	}
	return err // kinds of a later version are passed over
}

func (r *remote) Status(ctx context.Context) (*Status, error) {
	return ask[*Status](ctx, r, numberStatus, done{}, output{})
}

func (r *remote) Indexes(ctx context.Context, count bool) ([]Index, error) {
	return ask[[]Index](ctx, r, numberIndexes, indexesArgs{count}, output{})
}

func (r *remote) BuildIndex(ctx context.Context, name IndexName, progress Progress) (*Index, error) {
	return ask[*Index](ctx, r, numberBuildIndex, name, output{progress: progress})
}

func (r *remote) DropIndex(ctx context.Context, name IndexName) error {
	_, err := ask[done](ctx, r, numberDropIndex, name, output{})
	return err
}

func (r *remote) Backup(ctx context.Context, dir string, progress Progress) (*Manifest, error) {
	return ask[*Manifest](ctx, r, numberBackup, backupArgs{dir}, output{progress: progress})
}

func (r *remote) Check(ctx context.Context, report func(Finding), progress Progress) (*CheckSummary, error) {
	return ask[*CheckSummary](ctx, r, numberCheck, done{}, output{finding: report, progress: progress})
}

func (r *remote) Export(ctx context.Context, o ExportOptions, w io.Writer, progress Progress) (*ExportSummary, error) {
	return ask[*ExportSummary](ctx, r, numberExport, o, output{data: w, progress: progress})
}

func (r *remote) SetPassword(ctx context.Context, change PasswordChange) (*PasswordSet, error) {
	return ask[*PasswordSet](ctx, r, numberPassword, change, output{})
}

func (r *remote) TestAccess(ctx context.Context, t AccessTest) (*AccessVerdict, error) {
	return ask[*AccessVerdict](ctx, r, numberTestAccess, t, output{})
}

func (r *remote) FilterShapes(ctx context.Context, q ShapesQuery) (*ShapesAnswer, error) {
	return ask[*ShapesAnswer](ctx, r, numberShapes, q, output{})
}

func (r *remote) AuditState(ctx context.Context) (*AuditState, error) {
	return ask[*AuditState](ctx, r, numberAudit, done{}, output{})
}

func (r *remote) ExplainAccess(ctx context.Context, q AccessQuestion) (*AccessAnswer, error) {
	return ask[*AccessAnswer](ctx, r, numberExplain, q, output{})
}

func (r *remote) Guarded(ctx context.Context) (*Guarded, error) {
	return ask[*Guarded](ctx, r, numberGuarded, done{}, output{})
}

func (r *remote) ClearGuard(ctx context.Context, c GuardClear) (*GuardCleared, error) {
	return ask[*GuardCleared](ctx, r, numberClearGuard, c, output{})
}
