package ldap

import (
	"bytes"
	"encoding/hex"
	"errors"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"portolan/ber"
)

// bytesOf turns "30 0c ..." with text in quotes into octets: 0404'cn=a'.
func bytesOf(t testing.TB, s string) []byte {
	t.Helper()
	var out []byte
	for i, part := range strings.Split(s, "'") {
		if i%2 == 1 {
			out = append(out, part...)
			continue
		}
		b, err := hex.DecodeString(strings.ReplaceAll(part, " ", ""))
		if err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		out = append(out, b...)
	}
	return out
}

// framed puts a protocolOp and what follows it into a message with ID 7.
func framed(body []byte) []byte {
	return ber.AppendBytes(nil, ber.Sequence, append([]byte{2, 1, 7}, body...))
}

func TestDecodeRefuses(t *testing.T) {
	const search = "0400 0a0102 0a0100 020100 020100 010100"
	filter := func(f string) func() []byte {
		return func() []byte {
			body := append(bytesOf(t, search), bytesOf(t, f)...)
			return ber.AppendBytes(nil, TagSearchRequest, append(body, 0x30, 0))
		}
	}
	op := func(tag byte, contents string) func() []byte {
		return func() []byte { return ber.AppendBytes(nil, tag, bytesOf(t, contents)) }
	}
	tests := []struct {
		name string
		op   func() []byte
		want string
	}{
		{"no operation", func() []byte { return nil }, "protocolOp is missing"},
		{"operation cut off", func() []byte { return []byte{0x60, 9, 2} }, "protocolOp is missing, or its length"},
		{"unknown operation", op(0x7e, ""), "0x7e"},
		{"indefinite length inside", func() []byte { return []byte{0x60, 0x80, 0, 0} }, "protocolOp"},
		{"unbind with contents", op(TagUnbindRequest, "00"), "unbindRequest"},
		{"bind, version", op(TagBindRequest, "020100 0400 8000"), "bindRequest.version"},
		{"bind, version 128", op(TagBindRequest, "02020080 0400 8000"), "bindRequest.version"},
		{"bind, no version", op(TagBindRequest, ""), "bindRequest.version"},
		{"bind, name", op(TagBindRequest, "020103 0c00 8000"), "bindRequest.name"},
		{"bind, no auth", op(TagBindRequest, "020103 0400"), "bindRequest.authentication"},
		{"bind, universal auth", op(TagBindRequest, "020103 0400 0400"), "bindRequest.authentication"},
		{"bind, constructed simple", op(TagBindRequest, "020103 0400 a000"), "bindRequest.authentication"},
		{"bind, primitive sasl", op(TagBindRequest, "020103 0400 8300"), "bindRequest.authentication"},
		{"bind, no mechanism", op(TagBindRequest, "020103 0400 a300"), "mechanism"},
		{"bind, bad creds", op(TagBindRequest, "020103 0400 a305 040158 0405"), "credentials"},
		{"search, base", op(TagSearchRequest, "0500"), "searchRequest.baseObject"},
		{"search, scope 4", op(TagSearchRequest, "0400 0a0104"), "searchRequest.scope"},
		{"search, scope -1", op(TagSearchRequest, "0400 0a01ff"), "searchRequest.scope"},
		{"search, scope as integer", op(TagSearchRequest, "0400 020100"), "searchRequest.scope"},
		{"search, deref 4", op(TagSearchRequest, "0400 0a0100 0a0104"), "searchRequest.derefAliases"},
		{"search, negative size", op(TagSearchRequest, "0400 0a0100 0a0100 0201ff"), "searchRequest.sizeLimit"},
		{"search, size above int32", op(TagSearchRequest, "0400 0a0100 0a0100 02050080000000"), "searchRequest.sizeLimit"},
		{"search, time", op(TagSearchRequest, "0400 0a0100 0a0100 020100 0201ff"), "searchRequest.timeLimit"},
		{"search, typesOnly", op(TagSearchRequest, "0400 0a0100 0a0100 020100 020100 0100"), "searchRequest.typesOnly"},
		{"search, no filter", op(TagSearchRequest, search), "filter is missing"},
		{"search, no attributes", op(TagSearchRequest, search+"870161"), "searchRequest.attributes"},
		{"search, bad attribute", op(TagSearchRequest, search+"870161 3002 0500"), "searchRequest.attributes"},
		{"filter, unknown choice", filter("aa00"), "0xaa"},
		{"filter, constructed presence", filter("a703 040161"), "0xa7"},
		{"filter, not of nothing", filter("a200"), "filter"},
		{"filter, not of two", filter("a206 870161 870162"), "more than one filter"},
		{"filter, and of rubbish", filter("a002 0500"), "0x05"},
		{"filter, equality without value", filter("a303 040161"), "assertionValue"},
		{"filter, equality without type", filter("a300"), "attributeDesc"},
		{"filter, no pieces", filter("a405 040161 3000"), "no pieces"},
		{"filter, empty piece", filter("a407 040161 3002 8100"), "empty piece"},
		{"filter, two initial", filter("a40b 040161 3006 800178 800179"), "initial piece that is not the first"},
		{"filter, initial after any", filter("a40b 040161 3006 810178 800179"), "initial piece that is not the first"},
		{"filter, final before any", filter("a40b 040161 3006 820178 810179"), "final piece that is not the last"},
		{"filter, unknown piece", filter("a408 040161 3003 830178"), "not initial, any or final"},
		{"filter, extensible of value only", filter("a903 830178"), "neither a matching rule nor"},
		{"filter, extensible empty type", filter("a905 8200 830178"), "neither a matching rule nor"},
		{"filter, extensible without value", filter("a903 820178"), "matchValue"},
		{"filter, extensible bad flag", filter("a908 820178 830178 8400"), "dnAttributes"},
		{"modify, object", op(TagModifyRequest, ""), "modifyRequest.object"},
		{"modify, no changes", op(TagModifyRequest, "0400"), "modifyRequest.changes"},
		{"modify, change not a sequence", op(TagModifyRequest, "0400 3002 0400"), "modifyRequest.changes"},
		{"modify, operation as integer", op(TagModifyRequest, "0400 3005 3003 020100"), "operation"},
		{"modify, negative operation", op(TagModifyRequest, "0400 3005 3003 0a01ff"), "operation"},
		{"modify, no modification", op(TagModifyRequest, "0400 3005 3003 0a0100"), "modification"},
		{"add, entry", op(TagAddRequest, "0500"), "addRequest.entry"},
		{"add, no attributes", op(TagAddRequest, "0400"), "addRequest.attributes"},
		{"add, vals as sequence", op(TagAddRequest, "0400 3007 3005 040161 3000"), "vals is not a SET"},
		{"add, value not octets", op(TagAddRequest, "0400 3009 3007 040161 3102 0500"), "value that is not an OCTET STRING"},
		{"add, attribute not a sequence", op(TagAddRequest, "0400 3002 0400"), "not a SEQUENCE"},
		{"modifyDN, entry", op(TagModifyDNRequest, ""), "modDNRequest.entry"},
		{"modifyDN, newrdn", op(TagModifyDNRequest, "0400"), "modDNRequest.newrdn"},
		{"modifyDN, flag", op(TagModifyDNRequest, "0400 0400"), "modDNRequest.deleteoldrdn"},
		{"modifyDN, superior cut off", op(TagModifyDNRequest, "0400 0400 010100 8005"), "modDNRequest.newSuperior"},
		{"compare, entry", op(TagCompareRequest, ""), "compareRequest.entry"},
		{"compare, ava", op(TagCompareRequest, "0400"), "compareRequest.ava"},
		{"compare, no attribute", op(TagCompareRequest, "0400 3000"), "attributeDesc"},
		{"compare, no value", op(TagCompareRequest, "0400 3003 040161"), "assertionValue"},
		{"abandon, empty", op(TagAbandonRequest, ""), "abandonRequest"},
		{"abandon, negative", op(TagAbandonRequest, "ff"), "abandonRequest"},
		{"abandon, above int32", op(TagAbandonRequest, "0080000000"), "abandonRequest"},
		{"abandon, nine octets", op(TagAbandonRequest, "000000000000000001"), "abandonRequest"},
		{"extended, no name", op(TagExtendedRequest, ""), "requestName"},
		{"extended, universal name", op(TagExtendedRequest, "0400"), "requestName"},
		{"extended, value cut off", op(TagExtendedRequest, "8000 8109"), "requestValue"},
		{"delete response, no code", op(TagDelResponse, ""), "resultCode"},
		{"delete response, no dn", op(TagDelResponse, "0a0100"), "matchedDN"},
		{"delete response, no text", op(TagDelResponse, "0a0100 0400"), "diagnosticMessage"},
		{"delete response, bad referral", op(TagDelResponse, "0a0100 0400 0400 a302 0500"), "referral"},
		{"reference, bad element", op(TagSearchResultReference, "0500"), "searchResRef"},
		{"trailing rubbish in an operation", op(TagDelResponse, "0a0100 0400 0400 04"), "end"},
		{"controls cut off", func() []byte { return bytesOf(t, "4200 a005 30") }, "controls"},
		{"control not a sequence", func() []byte { return bytesOf(t, "4200 a002 0400") }, "controls"},
		{"control without OID", func() []byte { return bytesOf(t, "4200 a002 3000") }, "controlType"},
		{"control, bad criticality", func() []byte { return bytesOf(t, "4200 a007 3005 040131 0100") }, "criticality"},
		{"control, bad value", func() []byte { return bytesOf(t, "4200 a007 3005 040131 0405") }, "controlValue"},
		{"controls twice", func() []byte { return bytesOf(t, "4200 a000 a000") }, "after protocolOp and controls"},
		{"too many controls", func() []byte { return AppendControls([]byte{0x42, 0}, make([]Control, MaxControls+1)) }, "more than 64 controls"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m, err := Decode(framed(tt.op()))
			var e *Error
			if !errors.As(err, &e) || e.Code != ProtocolError || !strings.Contains(e.Diagnostic, tt.want) {
				t.Fatalf("error %v, want protocolError with %q", err, tt.want)
			}
			if m.ID != 7 || m.Op != nil {
				t.Errorf("message %d with op %T; want 7 and none", m.ID, m.Op)
			}
		})
	}
	for name, frame := range map[string]string{
		"empty": "", "not a sequence": "3100", "cut off": "3005 0201", "indefinite": "3080 020107 4200 0000",
		"octets behind": "3005 020107 4200 00", "no id": "3000", "negative id": "3005 0201ff 4200", "id as enumerated": "3005 0a0107 4200",
		"id above maxInt": "3009 02050080000000 4200",
	} {
		if m, err := Decode(bytesOf(t, frame)); CodeOf(err) != ProtocolError || m.ID != 0 || m.Op != nil {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
	}
}

func TestDecodeAccepts(t *testing.T) {
	most := AppendControls([]byte{0x42, 0}, make([]Control, MaxControls))
	for name, body := range map[string][]byte{
		// RFC 4511 section 4: trailing elements that are not recognised are ignored.
		"element after an operation":   bytesOf(t, "6009 020103 0400 8000 8f00"),
		"element after the controls":   bytesOf(t, "4200 a000 8100"),
		"element in a control":         bytesOf(t, "4200 a00a 3008 040131 0101ff 8f00"),
		"element after the filter":     bytesOf(t, "631a 0400 0a0102 0a0100 020100 020100 010100 870161 3000 8f00 8f00"),
		"TRUE as one":                  bytesOf(t, "6c07 0400 0400 010101"),
		"long lengths":                 bytesOf(t, "60840000000c 020103 0483000000 8082 0000"),
		"as many controls as may be":   most,
		"criticality FALSE written":    bytesOf(t, "4200 a008 3006 040131 010100"),
		"bind with a reserved choice":  bytesOf(t, "6007 020103 0400 8100"),
		"empty referral of a response": bytesOf(t, "6b09 0a0100 0400 0400 a300"),
	} {
		t.Run(name, func(t *testing.T) {
			m, err := Decode(framed(body))
			if err != nil {
				t.Fatal(err)
			}
			again, err := Decode(m.Append(nil))
			if err != nil || !bytes.Equal(again.Append(nil), m.Append(nil)) {
				t.Errorf("appended and decoded: %v", err)
			}
		})
	}
}

// TestDecodeBrokenFrames cuts and flips every octet of every message: no panic, and what decodes is a fixed point.
func TestDecodeBrokenFrames(t *testing.T) {
	var d Decoder
	for name, m := range everyOp(t) {
		frame := m.Append(nil)
		for i := range frame {
			if _, err := d.Decode(frame[:i]); CodeOf(err) != ProtocolError {
				t.Fatalf("%s cut at %d: %v", name, i, err)
			}
			for _, flip := range []byte{0x01, 0x20, 0x80, 0xff} {
				broken := bytes.Clone(frame)
				broken[i] ^= flip
				fixedPoint(t, &d, broken)
			}
		}
	}
}

// fixedPoint checks that what decodes appends to something that decodes to the same octets again.
func fixedPoint(t testing.TB, d *Decoder, frame []byte) {
	m, err := d.Decode(frame)
	if err != nil {
		if CodeOf(err) != ProtocolError || m.Op != nil {
			t.Fatalf("% x: op %T, error %v", frame, m.Op, err)
		}
		return
	}
	first := m.Append(nil)
	again, err := Decode(first)
	if err != nil {
		t.Fatalf("% x\nappends to\n% x\nwhich does not decode: %v", frame, first, err)
	}
	if second := again.Append(nil); !bytes.Equal(first, second) {
		t.Fatalf("% x\nappends to\n% x\nand then to\n% x", frame, first, second)
	}
}

// held is the storage that the Decoder has grown, in octets.
func (d *Decoder) held() int {
	return cap(d.controls)*int(unsafe.Sizeof(Control{})) + cap(d.attrs)*int(unsafe.Sizeof(Attribute{})) +
		cap(d.changes)*int(unsafe.Sizeof(Mod{})) + (cap(d.values)+cap(d.wanted))*int(unsafe.Sizeof([]byte{})) +
		cap(d.nodes)*int(unsafe.Sizeof(FilterNode{})) + cap(d.subs)*int(unsafe.Sizeof(Substring{}))
}

// TestDecodeMemory gives the decoder the smallest elements that there are, by the million.
func TestDecodeMemory(t *testing.T) {
	const size = 1 << 20
	search := bytesOf(t, "0400 0a0102 0a0100 020100 020100 010100")
	searchOf := func(filter []byte) []byte {
		return framed(ber.AppendBytes(nil, TagSearchRequest, append(append(bytes.Clone(search), filter...), 0x30, 0)))
	}
	empty := bytes.Repeat([]byte{4, 0}, size/2)
	for name, frame := range map[string][]byte{
		"values": framed(ber.AppendBytes(nil, TagAddRequest, append([]byte{4, 0},
			ber.AppendBytes(nil, 0x30, ber.AppendBytes(nil, 0x30, append([]byte{4, 0}, ber.AppendBytes(nil, 0x31, empty)...)))...))),
		"attributes": framed(ber.AppendBytes(nil, TagAddRequest, append([]byte{4, 0},
			ber.AppendBytes(nil, 0x30, bytes.Repeat([]byte{0x30, 4, 4, 0, 0x31, 0}, size/6))...))),
		"wanted":     framed(ber.AppendBytes(nil, TagSearchRequest, append(append(bytes.Clone(search), 0x87, 0), ber.AppendBytes(nil, 0x30, empty)...))),
		"nodes":      searchOf(ber.AppendBytes(nil, 0xa0, bytes.Repeat([]byte{0x87, 0}, size/2))),
		"substrings": searchOf(ber.AppendBytes(nil, 0xa4, append([]byte{4, 0}, ber.AppendBytes(nil, 0x30, bytes.Repeat([]byte{0x81, 1, 'x'}, size/3))...))),
		"controls":   framed(append([]byte{0x42, 0}, ber.AppendBytes(nil, 0xa0, bytes.Repeat([]byte{0x30, 2, 4, 0}, size/4))...)),
		"referrals":  framed(ber.AppendBytes(nil, TagDelResponse, append([]byte{10, 1, 0, 4, 0, 4, 0}, ber.AppendBytes(nil, 0xa3, empty)...))),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, _ = Decode(frame)
		runtime.ReadMemStats(&after)
		// Growing by a quarter allocates about five times what stands in the end.
		if got := after.TotalAlloc - before.TotalAlloc; got > 96*size {
			t.Errorf("%s: %d octets allocated for a frame of %d", name, got, len(frame))
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, m := range everyOp(f) {
		f.Add(m.Append(nil))
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		var d Decoder
		fixedPoint(t, &d, frame)
		if held := d.held(); held > 128*len(frame)+4096 {
			t.Fatalf("%d octets held for a frame of %d", held, len(frame))
		}
	})
}

func benchmarkDecode(b *testing.B, m Message) {
	frame := m.Append(nil)
	var d Decoder
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.Decode(frame); err != nil {
			b.Fatal(err)
		}
		d.Reset()
	}
}

func BenchmarkDecodeSearch(b *testing.B) {
	benchmarkDecode(b, Message{ID: 5, Op: &SearchRequest{Base: []byte("ou=people,dc=example,dc=org"), Scope: ScopeSub,
		Filter: mustFilter(b, "(&(objectClass=person)(uid=alice))"), Attributes: octets("cn", "mail", "uid")}})
}

func BenchmarkDecodeBind(b *testing.B) {
	benchmarkDecode(b, Message{ID: 5, Op: &BindRequest{Version: 3, Name: []byte("uid=alice,ou=people,dc=example,dc=org"), Password: []byte("secret")}})
}

func BenchmarkDecodeModify(b *testing.B) { benchmarkDecode(b, everyOp(b)["modify"]) }

func BenchmarkAppendResult(b *testing.B) {
	var buf []byte
	var r Result
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendResult(buf[:0], 12345, TagSearchResultDone, &r, nil)
	}
}

func BenchmarkAppendEntry(b *testing.B) {
	e := &SearchResultEntry{Name: []byte("uid=alice,ou=people,dc=example,dc=org")}
	for _, name := range []string{"objectClass", "uid", "cn", "sn", "givenName", "mail", "telephoneNumber", "title", "l", "employeeNumber",
		"uidNumber", "gidNumber", "homeDirectory", "loginShell", "description"} {
		e.Attributes = append(e.Attributes, Attribute{Type: []byte(name), Values: octets("a value of ordinary length")})
	}
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendMessage(buf[:0], 12345, e, nil)
	}
}
