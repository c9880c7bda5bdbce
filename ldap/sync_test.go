package ldap

import (
	"bytes"
	"encoding/hex"
	"reflect"
	"testing"
)

// The octets are those of RFC 4533's ASN.1, worked out by hand.
func TestSyncValues(t *testing.T) {
	id := SyncUUID{0: 1, 15: 2}
	const uuid = "01" + "0000000000000000000000000000" + "02"
	for _, x := range []struct {
		name  string
		octet string
		value interface{ Append([]byte) []byte }
	}{
		{"a request without more", "30030a0101", &SyncRequest{Mode: RefreshOnly}},
		{"a request with all", "300a0a0103" + "0402" + "6162" + "0101ff", &SyncRequest{Mode: RefreshAndPersist, Cookie: []byte("ab"), ReloadHint: true}},
		{"a request with an empty cookie", "30050a01010400", &SyncRequest{Mode: RefreshOnly, Cookie: []byte{}}},
		{"a state", "30150a0101" + "0410" + uuid, &SyncStateValue{State: SyncAdd, UUID: id}},
		{"a state with a cookie", "30180a0103" + "0410" + uuid + "040163", &SyncStateValue{State: SyncDelete, UUID: id, Cookie: []byte("c")}},
		{"done", "3000", &SyncDone{}},
		{"done with all", "30060401630101ff", &SyncDone{Cookie: []byte("c"), RefreshDeletes: true}},
		{"a new cookie", "800163", &SyncInfo{Kind: SyncNewCookie, Cookie: []byte("c")}},
		{"the end of a delete phase", "a103040163", &SyncInfo{Kind: SyncRefreshDelete, Cookie: []byte("c"), RefreshDone: true}},
		{"a present phase with more to come", "a203010100", &SyncInfo{Kind: SyncRefreshPresent}},
		{"a set of the present", "a3143112" + "0410" + uuid, &SyncInfo{Kind: SyncIDSet, UUIDs: []SyncUUID{id}}},
		{"a set of the deleted", "a3170101ff3112" + "0410" + uuid, &SyncInfo{Kind: SyncIDSet, RefreshDeletes: true, UUIDs: []SyncUUID{id}}},
		{"an empty set", "a3023100", &SyncInfo{Kind: SyncIDSet}},
	} {
		want, err := hex.DecodeString(x.octet)
		if err != nil {
			t.Fatal(err)
		}
		if got := x.value.Append(nil); !bytes.Equal(got, want) {
			t.Errorf("%s: % x, want % x", x.name, got, want)
		}
		back, ok := parseSync(x.value, want)
		if !ok || !reflect.DeepEqual(back, x.value) {
			t.Errorf("%s: reads back as %+v, %v", x.name, back, ok)
		}
	}
	for _, bad := range []string{"", "3000", "30030a0102", "30030a0104", "30030a010100", "30060a01010101"} {
		b, _ := hex.DecodeString(bad)
		if v, ok := ParseSyncRequest(b); ok {
			t.Errorf("%q is taken for a request: %+v", bad, v)
		}
	}
	for _, bad := range []string{"", "80", "8201", "a303310204", "a31331110410" + uuid + "00", "a4020400"} {
		b, _ := hex.DecodeString(bad)
		if v, ok := ParseSyncInfo(b); ok {
			t.Errorf("%q is taken for an info: %+v", bad, v)
		}
	}
	if v, ok := ParseSyncState([]byte("0\x05\x0a\x01\x01\x04\x00")); ok {
		t.Errorf("a state without a UUID: %+v", v)
	}
}

// parseSync reads octets as a value of the same type as like.
func parseSync(like any, b []byte) (any, bool) {
	switch like.(type) {
	case *SyncRequest:
		v, ok := ParseSyncRequest(b)
		return &v, ok
	case *SyncStateValue:
		v, ok := ParseSyncState(b)
		return &v, ok
	case *SyncDone:
		v, ok := ParseSyncDone(b)
		return &v, ok
	}
	v, ok := ParseSyncInfo(b)
	return &v, ok
}

// Whatever is read and written again reads the same.
func FuzzSyncValues(f *testing.F) {
	id := SyncUUID{1, 2, 3}
	for _, v := range []interface{ Append([]byte) []byte }{
		&SyncRequest{Mode: RefreshAndPersist, Cookie: []byte("rid=001"), ReloadHint: true},
		&SyncStateValue{State: SyncModify, UUID: id, Cookie: []byte("c")},
		&SyncDone{Cookie: []byte("c"), RefreshDeletes: true},
		&SyncInfo{Kind: SyncIDSet, Cookie: []byte("c"), RefreshDeletes: true, UUIDs: []SyncUUID{id, id}},
		&SyncInfo{Kind: SyncRefreshPresent},
		&SyncInfo{Kind: SyncNewCookie, Cookie: []byte("c")},
	} {
		f.Add(v.Append(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, like := range []interface{ Append([]byte) []byte }{&SyncRequest{}, &SyncStateValue{}, &SyncDone{}, &SyncInfo{}} {
			v, ok := parseSync(like, b)
			if !ok {
				continue
			}
			again := v.(interface{ Append([]byte) []byte }).Append(nil)
			if back, ok := parseSync(like, again); !ok || !reflect.DeepEqual(v, back) {
				t.Fatalf("% x reads as %+v and back as %+v, %v", b, v, back, ok)
			}
		}
	})
}
