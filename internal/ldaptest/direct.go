package ldaptest

import (
	"bytes"
	"context"
	"time"

	"portolan/ber"
	"portolan/internal/op"
	"portolan/ldap"
)

// Search performs a search without a connection, as the administrator or an entry, and returns its entries.
func (s *Server) Search(ctx context.Context, dn string, m *ldap.SearchRequest) ([]ldap.SearchResultEntry, error) {
	id, err := s.Engine.IdentifyDN(dn, "internal")
	if err != nil {
		return nil, err
	}
	out := &collector{}
	req := &op.Request{Conn: &op.Conn{Transport: op.Unix, Loopback: true}, ID: 1, Op: m, Identity: id, Start: time.Now()}
	if err := s.Engine.Serve(ctx, req, out); err != nil {
		return nil, err
	}
	return out.entries, nil
}

// collector is an op.Writer that keeps search entries.
type collector struct {
	buf     []byte
	entries []ldap.SearchResultEntry
}

// Begin implements op.Writer.
func (c *collector) Begin() []byte { return c.buf[:0] }

// End implements op.Writer.
func (c *collector) End(buf []byte) error {
	c.buf = buf
	for rest := bytes.Clone(buf); len(rest) > 0; {
		size, state := ber.Frame(rest, len(rest))
		if state != ber.FrameWhole {
			return ldap.Errorf(ldap.Other, "half a message was written")
		}
		m, err := ldap.Decode(rest[:size])
		if err != nil {
			return err
		}
		if e, ok := m.Op.(*ldap.SearchResultEntry); ok {
			c.entries = append(c.entries, *e)
		}
		rest = rest[size:]
	}
	return nil
}
