package extop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/ldap"
)

// pieces is a Writer that keeps the messages.
type pieces struct {
	buf []byte
	got []*ldap.IntermediateResponse
	err error
}

func (p *pieces) Begin() []byte { return p.buf[:0] }

func (p *pieces) End(b []byte) error {
	m, err := ldap.Decode(bytes.Clone(b))
	if err != nil {
		return err
	}
	p.got = append(p.got, m.Op.(*ldap.IntermediateResponse))
	return p.err
}

func adminRequest() *op.Request {
	return &op.Request{Conn: &op.Conn{Control: true, Transport: op.Unix}, ID: 7, Identity: &op.Identity{Admin: true}}
}

func TestAdminStreams(t *testing.T) {
	long := bytes.Repeat([]byte("abc"), adminChunk)
	x := Admin("test", AdminOID(99), func(_ context.Context, _ *op.Request, args []byte, out func(string, []byte) error) ([]byte, error) {
		if string(args) != "in" {
			t.Errorf("args %q", args)
		}
		if err := out("data", long); err != nil {
			return nil, err
		}
		return []byte("result"), out("note", nil)
	})
	req, w := adminRequest(), &pieces{}
	if err := x.Handle(t.Context(), req, []byte("in"), true, w); err != nil {
		t.Fatal(err)
	}
	var data []byte
	notes := 0
	for _, m := range w.got {
		kind, piece, err := SplitPiece(m.Value)
		if err != nil || m.Name != x.OID {
			t.Fatalf("%s: %v", m.Name, err)
		}
		switch kind {
		case "data":
			if len(piece) > adminChunk {
				t.Errorf("a piece of %d octets", len(piece))
			}
			data = append(data, piece...)
		case "note":
			notes++
		}
	}
	if !bytes.Equal(data, long) || notes != 1 || string(req.Reply.Value) != "result" {
		t.Errorf("%d octets, %d notes, result %q", len(data), notes, req.Reply.Value)
	}
}

func TestAdminRefuses(t *testing.T) {
	ran := false
	x := Admin("test", AdminOID(99), func(_ context.Context, _ *op.Request, _ []byte, out func(string, []byte) error) ([]byte, error) {
		ran = true
		return nil, out("data", []byte("x"))
	})
	if !x.ControlOnly || x.Anonymous {
		t.Errorf("served to everybody: %+v", x)
	}
	for name, change := range map[string]func(*op.Request){
		"network":   func(r *op.Request) { r.Conn = &op.Conn{} },
		"anonymous": func(r *op.Request) { r.Identity = op.Anonymous() },
		"user":      func(r *op.Request) { r.Identity = &op.Identity{Name: dit.Name{DN: "cn=a", Norm: "cn=a"}} },
	} {
		req := adminRequest()
		change(req)
		if err := x.Handle(t.Context(), req, []byte("{}"), true, &pieces{}); ldap.CodeOf(err) != ldap.InsufficientAccessRights {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := x.Handle(t.Context(), adminRequest(), nil, false, &pieces{}); ldap.CodeOf(err) != ldap.ProtocolError {
		t.Errorf("without a value: %v", err)
	}
	if ran {
		t.Error("the verb ran all the same")
	}
	gone := errors.New("gone")
	if err := x.Handle(t.Context(), adminRequest(), []byte("{}"), true, &pieces{err: gone}); err == nil {
		t.Error("a client that has gone was not noticed")
	}
	if !ran {
		t.Error("the verb did not run")
	}
}

func TestAdminErrorsAreShown(t *testing.T) {
	err := adminError(errors.New("disk on fire"))
	if e := ldap.AsError(err); e.Diagnostic != "disk on fire" {
		t.Errorf("got %v", err)
	}
	wrapped := fmt.Errorf("the base: %w", ldap.Errorf(ldap.NoSuchObject, "x"))
	if e := ldap.AsError(adminError(wrapped)); !strings.Contains(e.Diagnostic, "the base: ") {
		t.Errorf("got %v", e)
	}
	if err := adminError(ldap.Errorf(ldap.NoSuchObject, "x")); ldap.CodeOf(err) != ldap.NoSuchObject {
		t.Errorf("got %v", err)
	}
}

func FuzzSplitPiece(f *testing.F) {
	f.Add([]byte("\x04datax"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, value []byte) {
		kind, piece, err := SplitPiece(value)
		if err == nil && string(value[:1])+kind+string(piece) != string(value) || err == nil && strings.TrimSpace(kind) == "" && kind == "" {
			t.Errorf("%q, %q of %q", kind, piece, value)
		}
	})
}
