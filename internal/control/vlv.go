package control

import (
	"bytes"
	"context"
	"sort"

	"portolan/ber"
	"portolan/internal/op"
	"portolan/ldap"
)

// OIDs of the virtual list view controls (draft-ietf-ldapext-ldapv3-vlv-09).
const (
	VLVOID         = "2.16.840.1.113730.3.4.9"
	VLVResponseOID = "2.16.840.1.113730.3.4.10"
)

const vlvSource = "draft-ietf-ldapext-ldapv3-vlv-09"

// VLV is the virtual list view: a window of a sorted result. The list has what its reader may read and nothing else, so that
// contentCount and positions tell of nothing else either. A contextID names a list that is kept for its connection and
// identity while the directory does not change: with it the next window is taken from the list without sorting again.
func VLV(most int, p *op.Ports) op.Control {
	return op.Control{
		OID: VLVOID, Name: "vlv", Source: vlvSource,
		Applies: on(ldap.TagSearchRequest),
		Parse:   parseVLV,
		Around: func(ctx context.Context, req *op.Request, value any, next func(context.Context) error) error {
			v := &listView{vlvRequest: value.(*vlvRequest), most: most, ports: p}
			return v.around(ctx, req, next)
		},
	}
}

// vlvRequest is VirtualListViewRequest.
type vlvRequest struct {
	before, after int32
	byValue       bool
	offset        int64
	content       int64
	value         []byte
	context       []byte
	hasContext    bool
}

func parseVLV(c ldap.Control) (any, error) {
	malformed := ldap.Errorf(ldap.ProtocolError, "the virtual list view control has no valid value (%s)", vlvSource)
	r := ber.Reader(c.Value)
	var seq, target ber.Reader
	v := &vlvRequest{}
	if !c.HasValue || !r.Element(ber.Sequence, &seq) || !r.Empty() ||
		!seq.Int32(ber.Integer, 0, ldap.MaxMessageID, &v.before) || !seq.Int32(ber.Integer, 0, ldap.MaxMessageID, &v.after) {
		return nil, malformed
	}
	switch {
	case seq.PeekIs(ber.ContextSpecific | ber.Constructed | 0):
		// What is out of its range is told with offsetRangeError.
		if !seq.Element(ber.ContextSpecific|ber.Constructed|0, &target) || !target.Int(ber.Integer, &v.offset) ||
			!target.Int(ber.Integer, &v.content) || !target.Empty() {
			return nil, malformed
		}
	case seq.Bytes(ber.ContextSpecific|1, &v.value):
		v.byValue = true
	default:
		return nil, malformed
	}
	if !seq.OptionalBytes(ber.OctetString, &v.context, &v.hasContext) || !seq.Empty() {
		return nil, malformed
	}
	return v, nil
}

// listView is a search of which a window is returned.
type listView struct {
	*vlvRequest
	most  int
	ports *op.Ports

	cursors  *cursors
	at       *cursor // the list, while this request has it
	position int     // of the target, from 1; 0 in an empty list
	count    int     // of entries
	served   bool    // the window has been found
	keeps    bool    // the list can be had again
}

func (v *listView) around(ctx context.Context, req *op.Request, next func(context.Context) error) error {
	plan := &req.Search
	if plan.Order == nil {
		if !attached(req, SortOID) {
			return v.refuse(req, ldap.Errorf(ldap.SortControlMissing, "a virtual list view needs a sort control"))
		}
		why := ldap.Errorf(ldap.UnwillingToPerform, "the list cannot be sorted")
		if u := plan.Unsorted; u != nil && vlvResult(u.Code) != ldap.Other {
			why = u
		}
		return v.refuse(req, why)
	}
	v.cursors = cursorsOf(req.Conn)
	if err := v.recall(req); err != nil {
		return v.refuse(req, err)
	}
	var failed *ldap.Error
	if v.at.list != nil && !v.byValue {
		if failed = v.byOffset(len(v.at.list)); failed != nil {
			v.cursors.put(v.at, v.most, true)
			return v.refuse(req, failed)
		}
		lo, hi := v.window()
		plan.Order, plan.From = nil, v.at.list[lo:hi:hi]
		v.served = true
	} else {
		plan.Pick = func(all []op.Sorted) ([]op.Sorted, error) {
			if failed = v.find(req, all); failed != nil {
				return nil, failed
			}
			v.served, v.keeps = true, v.at.keep(v.ports.Memory, all)
			lo, hi := v.window()
			return all[lo:hi], nil
		}
	}
	ended := false
	defer func() {
		if !ended {
			v.at.drop() // a panic
		}
	}()
	err := next(ctx)
	ended = true
	switch {
	case failed != nil:
		v.at.drop()
		return v.refuse(req, failed)
	case v.served:
		// Also where the size limit has cut the window short.
		v.respond(req, ldap.Success)
	default:
		v.at.drop()
	}
	return err
}

// recall finds the list that contextID names, or begins one.
func (v *listView) recall(req *op.Request) *ldap.Error {
	view := v.ports.Directory.View()
	seq := view.Seq()
	view.Close()
	v.at = &cursor{digest: digestOf(req, VLVOID), seq: seq, reloaded: v.ports.Directory.Reloaded()}
	if len(v.context) == 0 {
		return nil
	}
	mine, known := v.cursors.take(v.context)
	if mine != nil && mine.digest != v.at.digest {
		v.cursors.put(mine, v.most, true)
		known = false
	}
	switch {
	case !known:
		return ldap.Errorf(ldap.ProtocolError, "the contextID is not one of this list: leave it out")
	case mine == nil:
		// The list has made room for others. It is sorted anew.
	case mine.stale(seq):
		// The same, but it keeps its contextID.
		mine.drop()
		v.at.number = mine.number
	default:
		v.at, v.keeps = mine, true
	}
	return nil
}

// stale reports whether a list may not be what a search would find now: entries or access rules have changed.
func (c *cursor) stale(seq uint64) bool {
	select {
	case <-c.reloaded:
		return true
	default:
		return c.seq != seq
	}
}

// find finds the target in a sorted result.
func (v *listView) find(req *op.Request, all []op.Sorted) *ldap.Error {
	if !v.byValue {
		return v.byOffset(len(all))
	}
	key, err := v.key(req)
	if err != nil {
		return err
	}
	v.count = len(all)
	// Where there is no target the position is one behind the last entry (section 5).
	v.position = 1 + sort.Search(len(all), func(i int) bool { return bytes.Compare(all[i].Key, key) >= 0 })
	return nil
}

// key is what sort keys are compared with to find greaterThanOrEqual: the assertion value as an entry's value of the primary
// sort key would be.
func (v *listView) key(req *op.Request) ([]byte, *ldap.Error) {
	view := v.ports.Directory.View()
	defer view.Close()
	known := view.Schema()
	for i := range req.Controls {
		if string(req.Controls[i].OID) != SortOID {
			continue
		}
		keys, err := parseSort(req.Controls[i])
		if err != nil {
			break
		}
		s := sorting{keys: keys.([]sortKey)}
		if err := s.resolve(known); err != nil {
			return nil, err
		}
		first := &s.columns[0]
		key, err := first.rule.AssertionKey(known, nil, v.value)
		if err != nil {
			return nil, ldap.Errorf(ldap.InappropriateMatching, "%s: the assertion value is not valid: %v", first.desc, err)
		}
		return appendComponent(nil, key, first.reverse), nil
	}
	return nil, ldap.Errorf(ldap.SortControlMissing, "a virtual list view needs a sort control")
}

// byOffset finds the target by its offset in a list of n entries (section 5).
func (v *listView) byOffset(n int) *ldap.Error {
	v.count = n
	offset, content, count := v.offset, v.content, int64(n)
	first := offset == 1 && content != 1
	if content == 0 {
		content = count
	}
	switch {
	case offset < 1 || content < 0 || offset > ldap.MaxMessageID || content > ldap.MaxMessageID:
		return ldap.Errorf(ldap.OffsetRangeError, "an offset is at least 1, and neither it nor the content count is larger than an integer of LDAP")
	case first:
		v.position = 1
	case offset > content:
		return ldap.Errorf(ldap.OffsetRangeError, "the offset %d is beyond the end of the list", offset)
	case offset == content:
		v.position = n
	default:
		// Rounded to the nearest integer.
		v.position = max(1, int((2*count*offset+content)/(2*content)))
	}
	v.position = min(v.position, n)
	return nil
}

// window is the part of the list around the target that was asked for.
func (v *listView) window() (lo, hi int) {
	target := v.position - 1
	lo = target - int(v.before)
	hi = target + 1 + int(v.after)
	return min(max(lo, 0), v.count), min(max(hi, 0), v.count)
}

// refuse fails the search, with the reason in the response control (section 6.2.1).
func (v *listView) refuse(req *op.Request, why *ldap.Error) error {
	v.keeps = false
	v.respond(req, why.Code)
	return ldap.Errorf(ldap.VLVError, "%s", why.Diagnostic)
}

// respond adds the response control, and puts the list back.
func (v *listView) respond(req *op.Request, result ldap.ResultCode) {
	value, mark := ber.Begin(nil, ber.Sequence)
	value = ber.AppendInt(value, ber.Integer, int64(v.position))
	value = ber.AppendInt(value, ber.Integer, int64(v.count))
	value = ber.AppendInt(value, ber.Enumerated, int64(vlvResult(result)))
	if v.keeps {
		value = ber.AppendBytes(value, ber.OctetString, v.cursors.put(v.at, v.most, true))
	}
	value = ber.End(value, mark)
	req.Reply.Controls = append(req.Reply.Controls, ldap.Control{OID: []byte(VLVResponseOID), Value: value, HasValue: true})
}

// vlvResult keeps to the codes of section 6.2. The document gives protocolError the number of timeLimitExceeded; what is
// meant is 2.
func vlvResult(code ldap.ResultCode) ldap.ResultCode {
	switch code {
	case ldap.Success, ldap.OperationsError, ldap.ProtocolError, ldap.TimeLimitExceeded, ldap.AdminLimitExceeded,
		ldap.InappropriateMatching, ldap.InsufficientAccessRights, ldap.UnwillingToPerform, ldap.SortControlMissing, ldap.OffsetRangeError:
		return code
	}
	return ldap.Other
}
