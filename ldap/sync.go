package ldap

import "portolan/ber"

// Object identifiers of RFC 4533: three controls and an intermediate response.
const (
	SyncRequestOID = "1.3.6.1.4.1.4203.1.9.1.1"
	SyncStateOID   = "1.3.6.1.4.1.4203.1.9.1.2"
	SyncDoneOID    = "1.3.6.1.4.1.4203.1.9.1.3"
	SyncInfoOID    = "1.3.6.1.4.1.4203.1.9.1.4"
)

// SyncMode is the mode of a SyncRequest.
type SyncMode int32

// Modes (RFC 4533 section 2.2).
const (
	RefreshOnly       SyncMode = 1
	RefreshAndPersist SyncMode = 3
)

// SyncUUID is syncUUID: the entryUUID by which both sides know an entry.
type SyncUUID = [16]byte

// SyncRequest is syncRequestValue, the value of the Sync Request Control.
type SyncRequest struct {
	Mode       SyncMode
	Cookie     []byte // nil: absent
	ReloadHint bool
}

// SyncState is what a Sync State Control says about an entry.
type SyncState int32

// States (RFC 4533 section 2.3).
const (
	SyncPresent SyncState = iota
	SyncAdd
	SyncModify
	SyncDelete
)

// SyncStateValue is the value of the Sync State Control, which goes with entries and references.
type SyncStateValue struct {
	State  SyncState
	UUID   SyncUUID
	Cookie []byte // nil: absent
}

// SyncDone is syncDoneValue, the value of the Sync Done Control.
type SyncDone struct {
	Cookie         []byte // nil: absent
	RefreshDeletes bool
}

// SyncInfoKind is the choice of a SyncInfo.
type SyncInfoKind byte

// Choices (RFC 4533 section 2.5), by identifier octet.
const (
	SyncNewCookie      SyncInfoKind = 0x80
	SyncRefreshDelete  SyncInfoKind = 0xa1
	SyncRefreshPresent SyncInfoKind = 0xa2
	SyncIDSet          SyncInfoKind = 0xa3
)

// SyncInfo is syncInfoValue, the value of the Sync Info Message.
type SyncInfo struct {
	Kind   SyncInfoKind
	Cookie []byte // nil: absent; never absent with SyncNewCookie
	// RefreshDone goes with SyncRefreshDelete and SyncRefreshPresent.
	RefreshDone bool
	// RefreshDeletes and UUIDs go with SyncIDSet.
	RefreshDeletes bool
	UUIDs          []SyncUUID
}

// Append appends the BER encoding.
func (v *SyncRequest) Append(dst []byte) []byte {
	dst, seq := ber.Begin(dst, ber.Sequence)
	dst = ber.AppendInt(dst, ber.Enumerated, int64(v.Mode))
	dst = appendCookie(dst, v.Cookie)
	if v.ReloadHint {
		dst = ber.AppendBool(dst, ber.Boolean, true)
	}
	return ber.End(dst, seq)
}

// Append appends the BER encoding.
func (v *SyncStateValue) Append(dst []byte) []byte {
	dst, seq := ber.Begin(dst, ber.Sequence)
	dst = ber.AppendInt(dst, ber.Enumerated, int64(v.State))
	dst = ber.AppendBytes(dst, ber.OctetString, v.UUID[:])
	return ber.End(appendCookie(dst, v.Cookie), seq)
}

// Append appends the BER encoding.
func (v *SyncDone) Append(dst []byte) []byte {
	dst, seq := ber.Begin(dst, ber.Sequence)
	dst = appendCookie(dst, v.Cookie)
	if v.RefreshDeletes {
		dst = ber.AppendBool(dst, ber.Boolean, true)
	}
	return ber.End(dst, seq)
}

// Append appends the BER encoding.
func (v *SyncInfo) Append(dst []byte) []byte {
	if v.Kind == SyncNewCookie {
		return ber.AppendBytes(dst, byte(v.Kind), v.Cookie)
	}
	dst, seq := ber.Begin(dst, byte(v.Kind))
	dst = appendCookie(dst, v.Cookie)
	switch {
	case v.Kind == SyncIDSet:
		if v.RefreshDeletes {
			dst = ber.AppendBool(dst, ber.Boolean, true)
		}
		var set int
		dst, set = ber.Begin(dst, ber.Set)
		for i := range v.UUIDs {
			dst = ber.AppendBytes(dst, ber.OctetString, v.UUIDs[i][:])
		}
		dst = ber.End(dst, set)
	case !v.RefreshDone: // the default is TRUE
		dst = ber.AppendBool(dst, ber.Boolean, false)
	}
	return ber.End(dst, seq)
}

func appendCookie(dst, cookie []byte) []byte {
	if cookie == nil {
		return dst
	}
	return ber.AppendBytes(dst, ber.OctetString, cookie)
}

// ParseSyncRequest reads the value of a Sync Request Control. The cookie aliases b.
func ParseSyncRequest(b []byte) (v SyncRequest, ok bool) {
	var seq ber.Reader
	var mode int32
	r := ber.Reader(b)
	ok = r.Element(ber.Sequence, &seq) && r.Empty() &&
		seq.Int32(ber.Enumerated, int32(RefreshOnly), int32(RefreshAndPersist), &mode) && mode != 2 &&
		readCookie(&seq, &v.Cookie) && readDefault(&seq, &v.ReloadHint) && seq.Empty()
	v.Mode = SyncMode(mode)
	return v, ok
}

// ParseSyncState reads the value of a Sync State Control. The cookie aliases b.
func ParseSyncState(b []byte) (v SyncStateValue, ok bool) {
	var seq ber.Reader
	var state int32
	r := ber.Reader(b)
	ok = r.Element(ber.Sequence, &seq) && r.Empty() &&
		seq.Int32(ber.Enumerated, int32(SyncPresent), int32(SyncDelete), &state) && readUUID(&seq, &v.UUID) &&
		readCookie(&seq, &v.Cookie) && seq.Empty()
	v.State = SyncState(state)
	return v, ok
}

// ParseSyncDone reads the value of a Sync Done Control. The cookie aliases b.
func ParseSyncDone(b []byte) (v SyncDone, ok bool) {
	var seq ber.Reader
	r := ber.Reader(b)
	ok = r.Element(ber.Sequence, &seq) && r.Empty() && readCookie(&seq, &v.Cookie) && readDefault(&seq, &v.RefreshDeletes) && seq.Empty()
	return v, ok
}

// ParseSyncInfo reads the value of a Sync Info Message. The cookie aliases b.
func ParseSyncInfo(b []byte) (v SyncInfo, ok bool) {
	r := ber.Reader(b)
	if len(b) == 0 {
		return v, false
	}
	var seq ber.Reader
	switch v.Kind = SyncInfoKind(b[0]); v.Kind {
	case SyncNewCookie:
		ok = r.Bytes(byte(v.Kind), &v.Cookie)
		return v, ok && r.Empty()
	case SyncRefreshDelete, SyncRefreshPresent:
		v.RefreshDone = true
		ok = r.Element(byte(v.Kind), &seq) && readCookie(&seq, &v.Cookie) && readDefault(&seq, &v.RefreshDone)
	case SyncIDSet:
		var set ber.Reader
		ok = r.Element(byte(v.Kind), &seq) && readCookie(&seq, &v.Cookie) && readDefault(&seq, &v.RefreshDeletes) && seq.Element(ber.Set, &set)
		for ok && !set.Empty() {
			var id SyncUUID
			if ok = readUUID(&set, &id); ok {
				v.UUIDs = append(v.UUIDs, id)
			}
		}
	}
	return v, ok && seq.Empty() && r.Empty()
}

func readCookie(r *ber.Reader, cookie *[]byte) bool {
	var present bool
	if !r.OptionalBytes(ber.OctetString, cookie, &present) {
		return false
	}
	if !present {
		*cookie = nil
	} else if *cookie == nil {
		*cookie = []byte{}
	}
	return true
}

// readDefault reads a BOOLEAN that has a default, which is in v.
func readDefault(r *ber.Reader, v *bool) bool {
	return !r.PeekIs(ber.Boolean) || r.Bool(ber.Boolean, v)
}

func readUUID(r *ber.Reader, id *SyncUUID) bool {
	var b []byte
	if !r.Bytes(ber.OctetString, &b) || len(b) != len(id) {
		return false
	}
	copy(id[:], b)
	return true
}
