package ldap

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"portolan/ber"
)

func octets(ss ...string) [][]byte {
	out := make([][]byte, len(ss))
	for i, s := range ss {
		out[i] = []byte(s)
	}
	return out
}

func mustFilter(t testing.TB, s string) Filter {
	t.Helper()
	f, err := ParseFilter(s)
	if err != nil {
		t.Fatalf("ParseFilter(%q): %v", s, err)
	}
	return f
}

// everyOp is at least one message of every kind, with every optional field present somewhere and absent elsewhere.
func everyOp(t testing.TB) map[string]Message {
	person := []Attribute{
		{Type: []byte("objectClass"), Values: octets("top", "person")},
		{Type: []byte("cn;lang-en"), Values: octets("Alice")},
		{Type: []byte("jpegPhoto"), Values: [][]byte{bytes.Repeat([]byte{0xff}, 300)}},
		{Type: []byte("none"), Values: [][]byte{}},
	}
	full := Result{Code: Referral, MatchedDN: "dc=example", Diagnostic: "elsewhere", Referrals: []string{"ldap://a/", "ldap://b/"}}
	short := Result{Code: NoSuchObject, MatchedDN: "dc=example,dc=org"}
	return map[string]Message{
		"bind, anonymous":   {ID: 1, Op: &BindRequest{Version: 3}},
		"bind, simple":      {ID: 2, Op: &BindRequest{Version: 3, Name: []byte("cn=admin"), Password: []byte("x y")}},
		"bind, sasl":        {ID: 3, Op: &BindRequest{Version: 3, Auth: AuthSASL, Mechanism: []byte("EXTERNAL")}},
		"bind, empty creds": {ID: 4, Op: &BindRequest{Version: 3, Auth: AuthSASL, Mechanism: []byte("PLAIN"), HasCreds: true}},
		"bind, creds":       {ID: 4, Op: &BindRequest{Version: 3, Auth: AuthSASL, Mechanism: []byte("PLAIN"), Credentials: []byte("\x00a\x00b"), HasCreds: true}},
		"bind, unknown":     {ID: 5, Op: &BindRequest{Version: 2, Auth: AuthUnknown}},
		"bind response":     {ID: 5, Op: &BindResponse{Result: Result{Code: SASLBindInProgress}, ServerCreds: []byte("c"), HasServerCreds: true}},
		"bind response bare": {ID: 5, Op: &BindResponse{Result: full},
			Controls: []Control{{OID: []byte("2.16.840.1.113730.3.4.15"), Value: []byte("dn:"), HasValue: true}}},
		"unbind": {ID: 6, Op: &UnbindRequest{}},
		"search": {ID: MaxMessageID, Op: &SearchRequest{Base: []byte("dc=example,dc=org"), Scope: ScopeSub, Deref: DerefAlways,
			SizeLimit: 500, TimeLimit: MaxMessageID, TypesOnly: true,
			Filter:     mustFilter(t, "(&(|(uid=x)(!(cn=a*b*c)))(sn>=a)(sn<=b)(sn~=c)(mail=*)(cn:dn:2.5.13.2:=y)(:caseExactMatch:=z)(cn:=w)(&)(|))"),
			Attributes: octets("*", "+", "cn")},
			Controls: []Control{
				{OID: []byte("1.2.840.113556.1.4.319"), Critical: true, Value: []byte{0x30, 5, 2, 1, 100, 4, 0}, HasValue: true},
				{OID: []byte("2.16.840.1.113730.3.4.2")}, {OID: []byte("1.1"), HasValue: true}}},
		"search, subordinate":  {ID: 7, Op: &SearchRequest{Scope: ScopeSubordinate, Filter: mustFilter(t, "(objectClass=*)")}},
		"entry":                {ID: 7, Op: &SearchResultEntry{Name: []byte("cn=Alice"), Attributes: person}},
		"reference":            {ID: 7, Op: &SearchResultReference{URIs: []string{"ldap://a/dc=x??sub", "ldap://b/"}}},
		"done":                 {ID: 7, Op: &SearchResultDone{Result: short}},
		"modify":               {ID: 8, Op: &ModifyRequest{Object: []byte("cn=a"), Changes: []Mod{{Op: ModAdd, Attribute: person[0]}, {Op: ModDelete, Attribute: person[3]}, {Op: ModReplace, Attribute: person[2]}, {Op: ModIncrement, Attribute: person[1]}, {Op: 99, Attribute: person[1]}}}},
		"modify response":      {ID: 8, Op: &ModifyResponse{Result: short}},
		"add":                  {ID: 9, Op: &AddRequest{Entry: []byte("cn=a"), Attributes: person}},
		"add response":         {ID: 9, Op: &AddResponse{Result: full}},
		"delete":               {ID: 10, Op: &DelRequest{Entry: []byte("cn=a")}, Controls: []Control{{OID: []byte("1.2.840.113556.1.4.805"), Critical: true}}},
		"delete response":      {ID: 10, Op: &DelResponse{Result: short}},
		"modifyDN":             {ID: 11, Op: &ModifyDNRequest{Entry: []byte("cn=a"), NewRDN: []byte("cn=b"), DeleteOldRDN: true}},
		"modifyDN, to root":    {ID: 11, Op: &ModifyDNRequest{Entry: []byte("cn=a"), NewRDN: []byte("cn=b"), HasNewSuperior: true}},
		"modifyDN, to a place": {ID: 11, Op: &ModifyDNRequest{Entry: []byte("cn=a"), NewRDN: []byte("cn=b"), NewSuperior: []byte("dc=c"), HasNewSuperior: true}},
		"modifyDN response":    {ID: 11, Op: &ModifyDNResponse{Result: short}},
		"compare":              {ID: 12, Op: &CompareRequest{Entry: []byte("cn=g"), Attr: []byte("member"), Value: []byte("cn=a")}},
		"compare response":     {ID: 12, Op: &CompareResponse{Result: Result{Code: CompareTrue}}},
		"abandon":              {ID: 13, Op: &AbandonRequest{ID: 300}},
		"extended":             {ID: 14, Op: &ExtendedRequest{Name: []byte("1.3.6.1.4.1.4203.1.11.3")}},
		"extended, value":      {ID: 14, Op: &ExtendedRequest{Name: []byte("1.3.6.1.4.1.4203.1.11.1"), Value: []byte{0x30, 0}, HasValue: true}},
		"extended, no value":   {ID: 14, Op: &ExtendedRequest{Name: []byte("1.1"), HasValue: true}},
		"extended response":    {ID: 0, Op: &ExtendedResponse{Result: Result{Code: Unavailable}, Name: "1.3.6.1.4.1.1466.20036"}},
		"extended resp value":  {ID: 14, Op: &ExtendedResponse{Result: full, Value: []byte("dn:cn=a"), HasValue: true}},
		"intermediate":         {ID: 15, Op: &IntermediateResponse{Name: "1.3.6.1.4.1.4203.1.9.1.4", Value: []byte{1}, HasValue: true}},
		"intermediate, bare":   {ID: 15, Op: &IntermediateResponse{}},
	}
}

func TestDecodeOfAppendIsTheMessage(t *testing.T) {
	var reused Decoder // carries over from one message to the next, in the random order of the map
	for name, m := range everyOp(t) {
		t.Run(name, func(t *testing.T) {
			frame := m.Append(nil)
			got, err := Decode(frame)
			if err != nil {
				t.Fatalf("Decode: %v", err)
			}
			if diff := cmp.Diff(m, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("decoded differs (-want +got):\n%s", diff)
			}
			again, err := reused.Decode(frame)
			if err != nil {
				t.Fatalf("Decoder.Decode: %v", err)
			}
			if diff := cmp.Diff(m, again, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("decoded into used storage differs (-want +got):\n%s", diff)
			}
			if second := again.Append(nil); !bytes.Equal(frame, second) {
				t.Errorf("appended again:\n% x\nfirst:\n% x", second, frame)
			}
			id, tag, ok := PeekRequest(frame)
			if !ok || id != m.ID || tag != m.Op.Tag() {
				t.Errorf("PeekRequest = %d, %#x, %v", id, tag, ok)
			}
		})
	}
}

// TestOctets fixes the encoding itself, which a fixed point alone does not. The octets are worked out by hand from
// RFC 4511 and X.690.
func TestOctets(t *testing.T) {
	tests := []struct {
		name string
		m    Message
		hex  string
	}{
		{"anonymous bind", Message{ID: 1, Op: &BindRequest{Version: 3}}, "300c 020101 6007 020103 0400 8000"},
		{"simple bind", Message{ID: 1, Op: &BindRequest{Version: 3, Name: []byte("cn=a"), Password: []byte("pw")}}, "3012 020101 600d 020103 0404636e3d61 80027077"},
		{"sasl bind", Message{ID: 1, Op: &BindRequest{Version: 3, Auth: AuthSASL, Mechanism: []byte("X")}}, "300f 020101 600a 020103 0400 a303 040158"},
		{"unbind", Message{ID: 3, Op: &UnbindRequest{}}, "3005 020103 4200"},
		{"abandon", Message{ID: 6, Op: &AbandonRequest{ID: 5}}, "3006 020106 500105"},
		{"delete", Message{ID: 128, Op: &DelRequest{Entry: []byte("dc=x")}}, "300a 02020080 4a0464633d78"},
		{"result", Message{ID: 2, Op: &SearchResultDone{}}, "300c 020102 6507 0a0100 0400 0400"},
		{"referral", Message{ID: 2, Op: &DelResponse{Result: Result{Code: Referral, Referrals: []string{"x:"}}}}, "3012 020102 6b0d 0a010a 0400 0400 a304 0402783a"},
		{"search", Message{ID: 2, Op: &SearchRequest{Scope: ScopeSub, Filter: Eq("a", "b"), Attributes: octets("c")}},
			"3025 020102 631e 0400 0a0102 0a0100 020100 020100 010100 a306 040161 040162 3003 040163"},
		{"presence and control", Message{ID: 2, Op: &SearchRequest{Filter: Present("a")}, Controls: []Control{{OID: []byte("1.1"), Critical: true}}},
			"302b 020102 6316 0400 0a0100 0a0100 020100 020100 010100 870161 3000 a00a 3008 0403312e31 0101ff"},
	}
	for _, tt := range tests {
		want, err := hex.DecodeString(strings.ReplaceAll(tt.hex, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		want[1] = byte(len(want) - 2) // the outer length is bookkeeping
		if got := tt.m.Append(nil); !bytes.Equal(got, want) {
			t.Errorf("%s:\n got % x\nwant % x", tt.name, got, want)
		}
	}
}

func TestAppendResultIsAppendMessage(t *testing.T) {
	r := Result{Code: Busy, Diagnostic: "later"}
	controls := []Control{{OID: []byte("1.2.3")}}
	for tag, op := range map[byte]Op{
		TagBindResponse: &BindResponse{Result: r}, TagSearchResultDone: &SearchResultDone{Result: r}, TagModifyResponse: &ModifyResponse{Result: r},
		TagAddResponse: &AddResponse{Result: r}, TagDelResponse: &DelResponse{Result: r}, TagModifyDNResponse: &ModifyDNResponse{Result: r},
		TagCompareResponse: &CompareResponse{Result: r}, TagExtendedResponse: &ExtendedResponse{Result: r},
	} {
		if got, want := AppendResult(nil, 9, tag, &r, controls), AppendMessage(nil, 9, op, controls); !bytes.Equal(got, want) {
			t.Errorf("%#x: % x, want % x", tag, got, want)
		}
	}
}

func TestResponseTag(t *testing.T) {
	want := map[byte]byte{TagBindRequest: TagBindResponse, TagSearchRequest: TagSearchResultDone, TagModifyRequest: TagModifyResponse,
		TagAddRequest: TagAddResponse, TagDelRequest: TagDelResponse, TagModifyDNRequest: TagModifyDNResponse,
		TagCompareRequest: TagCompareResponse, TagExtendedRequest: TagExtendedResponse}
	for tag := range 256 {
		got, ok := ResponseTag(byte(tag))
		if got != want[byte(tag)] || ok != (want[byte(tag)] != 0) {
			t.Errorf("ResponseTag(%#x) = %#x, %v", tag, got, ok)
		}
	}
}

func TestResultCodeString(t *testing.T) {
	for code, want := range map[ResultCode]string{0: "success", 32: "noSuchObject", 34: "invalidDNSyntax", 49: "invalidCredentials",
		14: "saslBindInProgress", 9: "resultCode(9)", -1: "resultCode(-1)", 4096: "e-syncRefreshRequired", 123: "authorizationDenied"} {
		if got := code.String(); got != want {
			t.Errorf("ResultCode(%d) = %q, want %q", code, got, want)
		}
	}
	seen := map[string]ResultCode{}
	for code := range ResultCode(20000) {
		name := code.name()
		if other, dup := seen[name]; dup && name != "" {
			t.Errorf("%d and %d are both %s", code, other, name)
		}
		seen[name] = code
	}
}

// TestDecoderAllocatesNothing holds for every request; responses carry strings.
func TestDecoderAllocatesNothing(t *testing.T) {
	for name, m := range everyOp(t) {
		if _, isRequest := ResponseTag(m.Op.Tag()); !isRequest && m.Op.Tag() != TagUnbindRequest && m.Op.Tag() != TagAbandonRequest && m.Op.Tag() != TagSearchResultEntry {
			continue
		}
		frame := m.Append(nil)
		var d Decoder
		run := func() {
			if _, err := d.Decode(frame); err != nil {
				t.Fatal(err)
			}
		}
		run()
		if n := testing.AllocsPerRun(50, run); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
		d.Reset()
		if n := testing.AllocsPerRun(50, func() { run(); d.Reset() }); n != 0 {
			t.Errorf("%s: %v allocations with Reset", name, n)
		}
	}
}

func TestResetForgets(t *testing.T) {
	many := &AddRequest{Entry: []byte("cn=a"), Attributes: []Attribute{{Type: []byte("member"), Values: make([][]byte, 5000)}}}
	var d Decoder
	if _, err := d.Decode(AppendMessage(nil, 1, many, nil)); err != nil {
		t.Fatal(err)
	}
	if cap(d.values) < 5000 {
		t.Fatalf("room for %d values", cap(d.values))
	}
	d.Reset()
	if cap(d.values) != 0 || d.add.Entry != nil || d.add.Attributes != nil {
		t.Errorf("after Reset: room for %d values, entry %q", cap(d.values), d.add.Entry)
	}
	if _, err := d.Decode(AppendMessage(nil, 1, &CompareRequest{Value: []byte("secret")}, []Control{{OID: []byte("1.1")}})); err != nil {
		t.Fatal(err)
	}
	d.Reset()
	if d.compare.Value != nil || cap(d.controls) == 0 || d.controls[:1][0].OID != nil {
		t.Error("Reset keeps the octets of the last message")
	}
}

func TestDecodeControls(t *testing.T) {
	want := []Control{{OID: []byte("1.2"), Critical: true, Value: []byte("v"), HasValue: true}, {OID: []byte("1.3")}}
	r := ber.Reader(AppendControls(nil, want))
	var body ber.Reader
	if !r.Element(0xa0, &body) {
		t.Fatal("no controls element")
	}
	got, err := DecodeControls(body)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, err := DecodeControls(ber.Reader{0x04, 0}); CodeOf(err) != ProtocolError {
		t.Errorf("an OCTET STRING as control: %v", err)
	}
}
