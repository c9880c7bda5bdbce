package session

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"

	"portolan/internal/op"
	"portolan/ldap"
)

// MaxDatagram is the longest request that is taken over UDP, in octets; an answer is never longer than its request.
const MaxDatagram = 4096

// resultsTooLarge is the result code that RFC 4511 section 4.1.9 leaves to CLDAP, where RFC 1798 defines it: the answer does not
// fit.
const resultsTooLarge ldap.ResultCode = 70

// Datagrams answers LDAP over UDP: searches for the root DSE, as anonymous, and nothing else. Who sent a datagram is not proven, so
// that an answer has at most as many octets as the request that it answers: nobody is flooded with more than the attacker
// could send himself. It is for one goroutine at a time, and keeps nothing between two datagrams.
type Datagrams struct {
	cfg *Config
	dec ldap.Decoder
	req op.Request
	out []byte
	log *slog.Logger
}

// NewDatagrams returns what answers datagrams with a server's handler. Of cfg the handler, the context, the clock, the logger and
// the counters are used.
func NewDatagrams(cfg *Config) *Datagrams {
	d := &Datagrams{cfg: cfg, log: cfg.Logger}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	return d
}

// Answer returns the datagram that answers a request, nil for none. It is valid until the next call, which may come once this
// one has returned; the request is not kept.
//
// Answered are searches, in one datagram with the entry and the result: for anything but the root DSE with unwillingToPerform,
// with a critical control with unavailableCriticalExtension, and with resultsTooLarge (70) where the answer would be longer than
// the request. Other requests, an abandon among them, responses and what is no LDAP get no answer: a server that answers
// such things can be set against itself.
func (d *Datagrams) Answer(conn *op.Conn, request []byte) []byte {
	stats := d.cfg.Stats.shard(conn.ID)
	stats.datagrams.Add(1)
	stats.bytesIn.Add(uint64(len(request)))
	d.out = d.out[:0]
	defer d.forget()
	m, err := d.decode(request)
	q, search := m.Op.(*ldap.SearchRequest)
	if err != nil || !search || m.ID == 0 {
		stats.datagramsIgnored.Add(1)
		return nil
	}
	stats.operations[Search].Add(1)
	d.req = op.Request{Conn: conn, ID: m.ID, Op: q, Identity: op.Anonymous(), Start: d.cfg.now(), Out: d}
	err = refuseDatagram(q, m.Controls)
	if err == nil {
		err = d.serve(stats)
	}
	answer := d.finish(err, len(request))
	if answer != nil && d.req.Reply.Code == ldap.Success {
		stats.entries.Add(uint64(d.req.Trace.Entries))
	}
	if d.req.Reply.Code == resultsTooLarge {
		stats.datagramsTooLarge.Add(1)
	}
	stats.completed[Search].Add(1)
	stats.bytesOut.Add(uint64(len(answer)))
	return answer
}

func (d *Datagrams) decode(request []byte) (ldap.Message, error) {
	if len(request) > MaxDatagram {
		return ldap.Message{}, ldap.Errorf(ldap.ProtocolError, "a datagram has at most %d octets", MaxDatagram)
	}
	return d.dec.Decode(request)
}

// refuseDatagram says why a search is not served over UDP. Controls that are not critical are passed over: nothing keeps their
// state, and none of them is about the root DSE.
func refuseDatagram(q *ldap.SearchRequest, controls []ldap.Control) error {
	for i := range controls {
		if controls[i].Critical {
			return ldap.Errorf(ldap.UnavailableCriticalExtension, "no controls over UDP")
		}
	}
	if len(q.Base) != 0 || q.Scope != ldap.ScopeBase {
		return ldap.Errorf(ldap.UnwillingToPerform, "only the root DSE over UDP")
	}
	return nil
}

func (d *Datagrams) serve(stats *shard) (err error) {
	defer func() {
		if v := recover(); v != nil {
			stats.panics.Add(1)
			d.log.Error("panic in an operation over UDP", "client", d.req.Conn.Remote.String(), "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			d.req.Reply = op.Reply{}
			err = ldap.Errorf(ldap.Other, "internal error")
		}
	}()
	base := d.cfg.Context
	if base == nil {
		base = context.Background()
	}
	return d.cfg.Handler.Serve(base, &d.req, d)
}

// finish puts the result behind what was found, and sees to it that all of it has at most so many octets.
func (d *Datagrams) finish(err error, most int) []byte {
	r := &d.req.Reply.Result
	if e := ldap.AsError(err); e != nil {
		*r = e.Result
		if e.Code == ldap.Other && e.Cause != nil {
			d.log.Error("operation over UDP failed", "client", d.req.Conn.Remote.String(), "cause", e.Cause.Error())
		}
	}
	r.Referrals = nil // there is nobody who would follow one
	if r.Code != ldap.Success {
		d.out = d.out[:0]
	}
	whole := ldap.AppendResult(d.out, d.req.ID, ldap.TagSearchResultDone, r, nil)
	if len(whole) <= most {
		d.out = whole
		return whole
	}
	if r.Code == ldap.Success {
		*r = ldap.Result{Code: resultsTooLarge, Diagnostic: fmt.Sprintf("%d octets: ask with as many, or over TCP", len(whole))}
	}
	for {
		d.out = ldap.AppendResult(d.out[:0], d.req.ID, ldap.TagSearchResultDone, r, nil)
		if len(d.out) <= most {
			return d.out
		}
		if r.Diagnostic == "" && r.MatchedDN == "" {
			return nil
		}
		r.Diagnostic, r.MatchedDN = "", ""
	}
}

// forget lets go of the request.
func (d *Datagrams) forget() {
	d.req = op.Request{}
	d.dec.Reset()
	if cap(d.out) > 4*MaxDatagram {
		d.out = nil
	}
}

// Begin implements op.Writer.
func (d *Datagrams) Begin() []byte { return d.out }

// End implements op.Writer.
func (d *Datagrams) End(buf []byte) error {
	d.out = buf
	return nil
}

var _ op.Writer = (*Datagrams)(nil)
