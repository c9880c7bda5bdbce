package dit

import (
	"bytes"
	"strconv"
)

// SyncCookie is a synchronization cookie in the form that OpenLDAP made common, rid=NNN,sid=SSS,csn=CSN;CSN: who asks, and
// how far his copy is. Consumers of OpenLDAP make up their own from what they hold; others return the one they were given.
type SyncCookie struct {
	RID int // 0 to 999, the consumer's number for itself; -1 where it is not there
	// CSNs are the changes up to which the copy is complete, one for each server that issues CSNs.
	CSNs []CSN
	// Rest is the value of the field that was asked for, nil where it is not there.
	Rest []byte
	// Before is the length of the part of the cookie that stands before that field.
	Before int
}

// Limits of cookies. No server issues more.
const (
	maxCookie     = 64 << 10
	maxCookieCSNs = 4096
	maxRID        = 999
)

// ParseSyncCookie reads a cookie. Fields that it does not know are passed over, but for the one called rest. It reports
// false for what has no field at all, or one that is not well formed.
func ParseSyncCookie(b []byte, rest string) (c SyncCookie, ok bool) {
	c.RID = -1
	if len(b) > maxCookie {
		return c, false
	}
	for at := 0; at < len(b); {
		field := b[at:]
		if end := bytes.IndexByte(field, ','); end >= 0 {
			field = field[:end]
		}
		name, value, found := bytes.Cut(field, []byte("="))
		if !found {
			return c, false
		}
		switch string(name) {
		case "rid":
			n, err := strconv.ParseUint(string(value), 10, 16)
			if err != nil || n > maxRID {
				return c, false
			}
			c.RID = int(n)
		case "csn":
			for text := range bytes.SplitSeq(value, []byte(";")) {
				csn, err := ParseCSN(text)
				if err != nil || len(c.CSNs) == maxCookieCSNs {
					return c, false
				}
				c.CSNs = append(c.CSNs, csn)
			}
		case rest:
			c.Rest, c.Before = value, at
		}
		at += len(field) + 1
	}
	return c, len(b) > 0
}

// AppendSyncCookie appends a cookie of a consumer's number, which may be -1, and CSNs.
func AppendSyncCookie(dst []byte, rid int, csns ...CSN) []byte {
	dst = append(dst, "rid="...)
	for d, n := 100, max(rid, 0); d > 0; d /= 10 {
		dst = append(dst, byte('0'+n/d%10))
	}
	for i, csn := range csns {
		if i == 0 {
			dst = append(dst, ",csn="...)
		} else {
			dst = append(dst, ';')
		}
		dst = csn.Append(dst)
	}
	return dst
}
