package audit

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"portolan/internal/op"
	"portolan/ldap"
)

// TestAccessLinesAreBounded: whatever a client sends, its line is short. A long one would take the room that the lines of others need
// while they wait for the disk, and leave them out of the log.
func TestAccessLinesAreBounded(t *testing.T) {
	many := make([][]byte, 100_000)
	for i := range many {
		many[i] = []byte("attribute")
	}
	long := bytes.Repeat([]byte{0xff}, 100_000)
	search := &ldap.SearchRequest{Base: long, Filter: ldap.Eq("cn", string(long)), Attributes: many}
	odd := &ldap.SearchRequest{Filter: ldap.Present("cn"), Attributes: [][]byte{long, long, long, long, long, long}}
	modify := &ldap.ModifyRequest{Object: long}
	var controls []ldap.Control
	for _, name := range many {
		modify.Changes = append(modify.Changes, ldap.Mod{Attribute: ldap.Attribute{Type: name}})
		controls = append(controls, ldap.Control{OID: name})
	}
	out := &file{}
	lines, err := NewLines(func() (io.WriteCloser, error) { return out, nil }, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	a := NewAccessLog(lines, time.Now, NewNames([]string{"userPassword"}))
	ops := []ldap.Op{search, odd, modify, &ldap.ModifyDNRequest{Entry: long, NewRDN: long, NewSuperior: long, HasNewSuperior: true},
		&ldap.CompareRequest{Entry: long, Attr: long}, &ldap.ExtendedRequest{Name: long}, &ldap.BindRequest{Name: long, Auth: ldap.AuthSASL, Mechanism: long}}
	for _, o := range ops {
		_ = a.Middleware()(op.HandlerFunc(func(_ context.Context, req *op.Request, _ op.Writer) error {
			for range 32 {
				req.Trace.Sessions = append(req.Trace.Sessions, op.TrackedSession{SourceIP: "192.0.2.1", Identifier: string(long)})
			}
			return ldap.Errorf(ldap.Other, "%s", long)
		})).Serve(context.Background(), &op.Request{Conn: &op.Conn{ID: 7}, Op: o, Controls: controls, Start: time.Now()}, nil)
	}
	if err := lines.Close(); err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(out.String()) {
		n++
		if len(line) > 96<<10 {
			t.Errorf("a line of %d octets: %s...", len(line), line[:100])
		}
	}
	if n != len(ops) {
		t.Errorf("%d lines of %d", n, len(ops))
	}
	if text := out.String(); !strings.Contains(text, "attribute,... 99") {
		t.Errorf("a list does not say how much is left out: %s", text[:min(len(text), 20_000)])
	}
}
