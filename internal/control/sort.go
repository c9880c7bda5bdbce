package control

import (
	"bytes"
	"context"
	"errors"

	"portolan/ber"
	"portolan/internal/op"
	"portolan/internal/schema"
	"portolan/ldap"
)

// OIDs of the sort controls (RFC 2891).
const (
	SortOID         = "1.2.840.113556.1.4.473"
	SortResponseOID = "1.2.840.113556.1.4.474"
)

// maxSortKeys bounds the keys of one request.
const maxSortKeys = 16

// Sort is server-side sorting (RFC 2891). Entries are sorted by what their reader may read and search; at most most of them,
// whose keys take their room from the ports' memory. Where the result cannot be sorted a request that is critical fails, and
// any other is served unsorted. A type without an ordering rule is sorted by its equality rule.
func Sort(most int, p *op.Ports) op.Control {
	return op.Control{
		OID: SortOID, Name: "sort", Source: "RFC 2891",
		Applies: on(ldap.TagSearchRequest),
		Parse:   parseSort,
		Around: func(ctx context.Context, req *op.Request, value any, next func(context.Context) error) error {
			s := &sorting{keys: value.([]sortKey), most: most, memory: p.Memory, directory: p.Directory}
			return s.around(ctx, req, next)
		},
	}
}

// sortKey is one element of SortKeyList.
type sortKey struct {
	attr    []byte
	rule    []byte
	reverse bool
}

func parseSort(c ldap.Control) (any, error) {
	malformed := ldap.Errorf(ldap.ProtocolError, "the sort control has no valid value (RFC 2891)")
	r := ber.Reader(c.Value)
	var list ber.Reader
	if !c.HasValue || !r.Element(ber.Sequence, &list) || !r.Empty() || list.Empty() {
		return nil, malformed
	}
	var keys []sortKey
	for !list.Empty() {
		var k sortKey
		var seq ber.Reader
		var hasRule bool
		if !list.Element(ber.Sequence, &seq) || !seq.Bytes(ber.OctetString, &k.attr) ||
			!seq.OptionalBytes(ber.ContextSpecific|0, &k.rule, &hasRule) ||
			seq.PeekIs(ber.ContextSpecific|1) && !seq.Bool(ber.ContextSpecific|1, &k.reverse) || !seq.Empty() || len(k.attr) == 0 {
			return nil, malformed
		}
		keys = append(keys, k)
	}
	return keys, nil
}

// sorting is a search that is being sorted.
type sorting struct {
	keys      []sortKey
	most      int
	memory    *op.Memory
	directory op.Directory

	schema  *schema.Schema // that the columns are of
	columns []sortColumn
	hold    *op.Hold
	held    int // octets of hold that are used
	size    int // octets of hold
	count   int
	failed  *ldap.Error // why it could not be done
	attr    []byte      // the key that was wrong

	least, scratch []byte
}

// sortColumn is a key with what the schema makes of it.
type sortColumn struct {
	desc    schema.Description
	rule    *schema.MatchingRule
	reverse bool
}

// cannotSort is an error that stops a search so that it can be served unsorted instead.
type cannotSort struct{ why *ldap.Error }

func (c cannotSort) Error() string { return c.why.Error() }
func (c cannotSort) Unwrap() error { return c.why }

// errBusySorting is what a client is told when there is no memory for its sort: sortResult busy.
var errBusySorting = cannotSort{ldap.Errorf(ldap.Busy, "too much is being sorted at present: try again later")}

func (s *sorting) around(ctx context.Context, req *op.Request, next func(context.Context) error) error {
	view := s.directory.View()
	known := view.Schema()
	view.Close()
	if s.failed = s.resolve(known); s.failed == nil {
		before := req.Search // as other controls want it
		req.Search.Order = s.order
		if c := &s.columns[0]; len(s.columns) == 1 && c.rule == known.OrderOf(c.desc.Type) {
			req.Search.SortedBy = &op.SortedBy{Desc: c.desc, Reverse: c.reverse}
		}
		s.hold = s.memory.Hold(0)
		defer s.hold.Release() // also where there is a panic
		err := next(ctx)
		s.hold.Release()
		var cannot cannotSort
		if !errors.As(err, &cannot) {
			// RFC 2891 section 2, case 6: nothing is said about a search that failed, or found nothing.
			if err == nil && req.Trace.Entries > 0 {
				s.respond(req)
			}
			return err
		}
		s.failed = cannot.why
		req.Search = before
	}
	if isCritical(req, SortOID) {
		// Case 3.
		s.respond(req)
		return ldap.Errorf(ldap.UnavailableCriticalExtension, "the result cannot be sorted: %s", s.failed.Diagnostic)
	}
	// Case 4: everything, unsorted.
	req.Search.Unsorted = s.failed
	err := next(ctx)
	if err == nil && req.Trace.Entries > 0 || attached(req, VLVOID) {
		s.respond(req)
	}
	return err
}

// resolve looks the keys up.
func (s *sorting) resolve(known *schema.Schema) *ldap.Error {
	s.schema, s.columns = known, s.columns[:0]
	refuse := func(k *sortKey, code ldap.ResultCode, format string, args ...any) *ldap.Error {
		s.attr = k.attr
		return ldap.Errorf(code, format, args...)
	}
	if len(s.keys) > maxSortKeys {
		return ldap.Errorf(ldap.UnwillingToPerform, "at most %d sort keys are taken", maxSortKeys)
	}
	for i := range s.keys {
		k := &s.keys[i]
		desc, err := known.Describe(k.attr)
		if err != nil || desc.Type == nil {
			return refuse(k, ldap.NoSuchAttribute, "the attribute type of sort key %d is not defined", i+1)
		}
		for j := range s.columns {
			if s.columns[j].desc == desc {
				return refuse(k, ldap.UnwillingToPerform, "%s: is there twice as a sort key", desc)
			}
		}
		rule := known.OrderOf(desc.Type)
		if len(k.rule) > 0 {
			rule = known.OrderingRule(k.rule, desc.Type)
		}
		if rule == nil {
			return refuse(k, ldap.InappropriateMatching, "%s: there is no ordering rule that sort key %d could use", desc, i+1)
		}
		s.columns = append(s.columns, sortColumn{desc: desc, rule: rule, reverse: k.reverse})
	}
	return nil
}

// entryOverhead is what an entry takes while it is sorted, beside its key: a slice header, an id, and what slices are made
// larger by as they grow.
const entryOverhead = 64

// holdStep is how many octets are taken from the account at a time.
const holdStep = 64 << 10

// order appends the sort key of an entry.
func (s *sorting) order(dst []byte, c op.Candidate) ([]byte, error) {
	if s.count++; s.count > s.most {
		return nil, cannotSort{ldap.Errorf(ldap.AdminLimitExceeded, "more than %d entries match, which is the most that are sorted", s.most)}
	}
	if known := c.Reader.Schema(); known != s.schema {
		// It has changed since the request was looked at.
		if err := s.resolve(known); err != nil {
			return nil, cannotSort{err}
		}
	}
	start := len(dst)
	for i := range s.columns {
		var err error
		if dst, err = s.appendColumn(dst, &s.columns[i], c); err != nil {
			return nil, err
		}
	}
	if s.held += len(dst) - start + entryOverhead; s.held > s.size {
		step := max(holdStep, s.held-s.size)
		if !s.hold.Grow(step) {
			return nil, errBusySorting
		}
		s.size += step
	}
	return dst, nil
}

// appendColumn appends the part of the sort key that one sort key stands for: of the entry's values the least (RFC 2891
// section 2.2).
func (s *sorting) appendColumn(dst []byte, column *sortColumn, c op.Candidate) ([]byte, error) {
	found := false
	err := c.Values(column.desc, func(value []byte) bool {
		key, err := column.rule.ValueKey(c.Reader.Schema(), s.scratch[:0], value)
		if err != nil {
			return true // not a value of this syntax: as good as absent
		}
		if !found || bytes.Compare(key, s.least) < 0 {
			s.least, s.scratch = key, s.least
			found = true
		} else {
			s.scratch = key
		}
		return true
	})
	if err != nil {
		return nil, err
	}
	if !found {
		return appendNull(dst, column.reverse), nil
	}
	return appendComponent(dst, s.least, column.reverse), nil
}

// appendComponent appends a key so that it compares as a part of a longer one: behind an octet that tells it from an absent
// value, octets of zero are followed by 0xff, and two zeros end it. In reverse order all octets are turned round.
func appendComponent(dst, key []byte, reverse bool) []byte {
	start := len(dst)
	dst = append(dst, 0)
	for _, b := range key {
		if dst = append(dst, b); b == 0 {
			dst = append(dst, 0xff)
		}
	}
	dst = append(dst, 0, 0)
	return turned(dst, start, reverse)
}

// appendNull is appendComponent for an entry without a value, which is larger than all that have one (RFC 2891 section 2.2).
func appendNull(dst []byte, reverse bool) []byte {
	return turned(append(dst, 1), len(dst), reverse)
}

func turned(dst []byte, start int, reverse bool) []byte {
	if reverse {
		for i := start; i < len(dst); i++ {
			dst[i] = ^dst[i]
		}
	}
	return dst
}

// respond adds the response control.
func (s *sorting) respond(req *op.Request) {
	code := ldap.Success
	if s.failed != nil {
		code = sortResult(s.failed.Code)
	}
	value, mark := ber.Begin(nil, ber.Sequence)
	value = ber.AppendInt(value, ber.Enumerated, int64(code))
	if len(s.attr) > 0 {
		value = ber.AppendBytes(value, ber.ContextSpecific|0, s.attr)
	}
	value = ber.End(value, mark)
	req.Reply.Controls = append(req.Reply.Controls, ldap.Control{OID: []byte(SortResponseOID), Value: value, HasValue: true})
}

// sortResult keeps to the codes that RFC 2891 section 1.2 lists.
func sortResult(code ldap.ResultCode) ldap.ResultCode {
	switch code {
	case ldap.Success, ldap.OperationsError, ldap.TimeLimitExceeded, ldap.StrongerAuthRequired, ldap.AdminLimitExceeded,
		ldap.NoSuchAttribute, ldap.InappropriateMatching, ldap.InsufficientAccessRights, ldap.Busy, ldap.UnwillingToPerform:
		return code
	}
	return ldap.Other
}
