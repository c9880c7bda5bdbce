package dit

import (
	"bytes"
	"reflect"
	"testing"
)

func TestSyncCookie(t *testing.T) {
	const a, b = "20260131120000.000001Z#000000#000#000000", "20260131120000.000002Z#0000ff#001#00000a"
	csn := func(text string) CSN {
		c, err := ParseCSN([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	for _, x := range []struct {
		text string
		want SyncCookie
	}{
		{"rid=001", SyncCookie{RID: 1}},
		{"rid=123,csn=" + a, SyncCookie{RID: 123, CSNs: []CSN{csn(a)}}},
		{"rid=123,sid=001,csn=" + a + ";" + b, SyncCookie{RID: 123, CSNs: []CSN{csn(a), csn(b)}}},
		{"csn=" + b + ",x=abc", SyncCookie{RID: -1, CSNs: []CSN{csn(b)}, Rest: []byte("abc"), Before: 45}},
		{"rid=000,delcsn=" + a, SyncCookie{}},
	} {
		got, ok := ParseSyncCookie([]byte(x.text), "x")
		if !ok || !reflect.DeepEqual(got, x.want) {
			t.Errorf("%s: %+v, %v", x.text, got, ok)
		}
	}
	for _, bad := range []string{"", "rid", "rid=1000", "rid=-1", "rid=,csn=" + a, "csn=", "csn=" + a + ";", "rid=001,,", "\x00\x01\x02"} {
		if c, ok := ParseSyncCookie([]byte(bad), "x"); ok {
			t.Errorf("%q is taken for a cookie: %+v", bad, c)
		}
	}
	if got := string(AppendSyncCookie(nil, 7, csn(a), csn(b))); got != "rid=007,csn="+a+";"+b {
		t.Errorf("a cookie is written as %s", got)
	}
	if got := string(AppendSyncCookie(nil, -1)); got != "rid=000" {
		t.Errorf("a cookie is written as %s", got)
	}
}

func FuzzSyncCookie(f *testing.F) {
	f.Add([]byte("rid=001,sid=002,csn=20260131120000.000001Z#000000#000#000000;20260131120000.000002Z#0000ff#001#00000a,x=yz"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, ok := ParseSyncCookie(b, "x")
		if !ok {
			return
		}
		if c.Rest != nil && !bytes.HasPrefix(b[c.Before:], append([]byte("x="), c.Rest...)) {
			t.Fatalf("%q: the field is not at %d", b, c.Before)
		}
		again, ok := ParseSyncCookie(AppendSyncCookie(nil, c.RID, c.CSNs...), "x")
		if !ok || !reflect.DeepEqual(again.CSNs, c.CSNs) || again.RID != max(c.RID, 0) {
			t.Fatalf("%q reads as %+v and back as %+v", b, c, again)
		}
	})
}
