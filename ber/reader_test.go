package ber

import (
	"bytes"
	"math"
	"testing"

	"pgregory.net/rapid"
)

func TestAny(t *testing.T) {
	long := append([]byte{0x04, 0x81, 0x80}, make([]byte, 0x80)...)
	tests := []struct {
		name string
		in   []byte
		ok   bool
		tag  byte
		size int
		rest int
	}{
		{"short form", []byte{0x04, 0x02, 'a', 'b', 0x05}, true, 0x04, 2, 1},
		{"empty contents", []byte{0x05, 0x00}, true, 0x05, 0, 0},
		{"long form", long, true, 0x04, 0x80, 0},
		{"long form where short would do", []byte{0x04, 0x82, 0x00, 0x01, 'x'}, true, 0x04, 1, 0},
		{"four length octets", []byte{0x04, 0x84, 0, 0, 0, 1, 'x', 'y'}, true, 0x04, 1, 1},
		{"nothing", nil, false, 0, 0, 0},
		{"identifier alone", []byte{0x04}, false, 0, 0, 0},
		{"contents cut off", []byte{0x04, 0x02, 'a'}, false, 0, 0, 0},
		{"length cut off", []byte{0x04, 0x82, 0x01}, false, 0, 0, 0},
		{"indefinite length", []byte{0x30, 0x80, 0x00, 0x00}, false, 0, 0, 0},
		{"five length octets", []byte{0x04, 0x85, 0, 0, 0, 0, 1, 'x'}, false, 0, 0, 0},
		{"length 0xff", []byte{0x04, 0xff, 1}, false, 0, 0, 0},
		{"high tag number", []byte{0x1f, 0x01, 'x'}, false, 0, 0, 0},
		{"high tag number, context", []byte{0xbf, 0x20, 0x00}, false, 0, 0, 0},
		{"two gigabytes and one", []byte{0x04, 0x84, 0x80, 0, 0, 0}, false, 0, 0, 0},
		{"two gigabytes claimed", []byte{0x04, 0x84, 0x7f, 0xff, 0xff, 0xff}, false, 0, 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := Reader(tt.in)
			var tag byte
			var body Reader
			ok := r.Any(&tag, &body)
			if ok != tt.ok || tag != tt.tag || len(body) != tt.size {
				t.Fatalf("Any = %v, tag %#x, %d octets; want %v, %#x, %d", ok, tag, len(body), tt.ok, tt.tag, tt.size)
			}
			if ok && len(r) != tt.rest {
				t.Errorf("%d octets left, want %d", len(r), tt.rest)
			}
			if ok && cap(body) != len(body) {
				t.Error("appending to the contents would write into what follows")
			}
		})
	}
}

func TestInt(t *testing.T) {
	tests := []struct {
		in   []byte
		want int64
		ok   bool
	}{
		{[]byte{2, 1, 0}, 0, true},
		{[]byte{2, 1, 127}, 127, true},
		{[]byte{2, 1, 0x80}, -128, true},
		{[]byte{2, 2, 0, 0x80}, 128, true},
		{[]byte{2, 4, 0x7f, 0xff, 0xff, 0xff}, math.MaxInt32, true},
		{[]byte{2, 8, 0x80, 0, 0, 0, 0, 0, 0, 0}, math.MinInt64, true},
		{[]byte{2, 5, 0, 0, 0, 0, 5}, 5, true}, // redundant octets, as the field writes them
		{[]byte{2, 0}, 0, false},
		{[]byte{2, 9, 0, 0, 0, 0, 0, 0, 0, 0, 1}, 0, false},
		{[]byte{10, 1, 0}, 0, false},
		{[]byte{2, 2, 1}, 0, false},
	}
	for _, tt := range tests {
		r := Reader(tt.in)
		var v int64
		if ok := r.Int(Integer, &v); ok != tt.ok || v != tt.want {
			t.Errorf("Int(% x) = %d, %v; want %d, %v", tt.in, v, ok, tt.want, tt.ok)
		}
	}
	for _, tt := range []struct {
		v  int64
		ok bool
	}{{0, true}, {3, true}, {4, false}, {-1, false}, {1 << 32, false}, {1<<32 + 1, false}} {
		r := Reader(AppendInt(nil, Enumerated, tt.v))
		var v int32
		if ok := r.Int32(Enumerated, 0, 3, &v); ok != tt.ok || ok && int64(v) != tt.v {
			t.Errorf("Int32 of %d = %d, %v; want %v", tt.v, v, ok, tt.ok)
		}
	}
}

func TestBool(t *testing.T) {
	for _, tt := range []struct {
		in       []byte
		want, ok bool
	}{
		{[]byte{1, 1, 0}, false, true},
		{[]byte{1, 1, 0xff}, true, true},
		{[]byte{1, 1, 1}, true, true},
		{[]byte{1, 0}, false, false},
		{[]byte{1, 2, 0, 0}, false, false},
		{[]byte{2, 1, 1}, false, false},
	} {
		r := Reader(tt.in)
		var v bool
		if ok := r.Bool(Boolean, &v); ok != tt.ok || v != tt.want {
			t.Errorf("Bool(% x) = %v, %v; want %v, %v", tt.in, v, ok, tt.want, tt.ok)
		}
	}
}

func TestOptional(t *testing.T) {
	var body []byte
	var present bool
	for _, tt := range []struct {
		in          []byte
		ok, present bool
	}{
		{nil, true, false},
		{[]byte{0x81, 0}, true, false},
		{[]byte{0x80, 1, 'x'}, true, true},
		{[]byte{0x80, 2, 'x'}, false, true},
	} {
		r := Reader(tt.in)
		if ok := r.OptionalBytes(0x80, &body, &present); ok != tt.ok || present != tt.present {
			t.Errorf("Optional(% x) = %v, present %v; want %v, %v", tt.in, ok, present, tt.ok, tt.present)
		}
	}
}

func TestFrame(t *testing.T) {
	big := AppendHeader(nil, Sequence, 1<<31-1)
	tests := []struct {
		name  string
		in    []byte
		limit int
		size  int
		state FrameState
	}{
		{"nothing yet", nil, 100, 0, FrameMore},
		{"identifier", []byte{0x30}, 100, 0, FrameMore},
		{"whole", []byte{0x30, 1, 'x'}, 100, 3, FrameWhole},
		{"whole and more behind", []byte{0x30, 1, 'x', 0x30}, 100, 3, FrameWhole},
		{"contents to come", []byte{0x30, 5, 'x'}, 100, 7, FrameMore},
		{"length to come", []byte{0x30, 0x84, 0, 0}, 100, 0, FrameMore},
		{"just at the limit", []byte{0x30, 1, 'x'}, 3, 3, FrameWhole},
		{"one above the limit", []byte{0x30, 1, 'x'}, 2, 0, FrameTooBig},
		{"two gigabytes claimed", big, 1 << 20, 0, FrameTooBig},
		{"two gigabytes claimed and allowed", big, 1<<31 + 100, len(big) + 1<<31 - 1, FrameMore},
		{"more than an int32", []byte{0x30, 0x84, 0xff, 0xff, 0xff, 0xff}, 1 << 20, 0, FrameInvalid},
		{"indefinite", []byte{0x30, 0x80}, 100, 0, FrameInvalid},
		{"indefinite, with contents", []byte{0x30, 0x80, 2, 1, 1, 0, 0}, 100, 0, FrameInvalid},
		{"five length octets", []byte{0x30, 0x85}, 100, 0, FrameInvalid},
		{"not a sequence", []byte{'G'}, 100, 0, FrameInvalid},
		{"tls hello", []byte{0x16, 3, 1}, 100, 0, FrameInvalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			size, state := Frame(tt.in, tt.limit)
			if state != tt.state || size != tt.size && (state == FrameWhole || state == FrameMore) {
				t.Fatalf("Frame = %d, %d; want %d, %d", size, state, tt.size, tt.state)
			}
		})
	}
}

func TestFrameAllocatesNothing(t *testing.T) {
	head := AppendHeader(nil, Sequence, 1<<31-1)
	if n := testing.AllocsPerRun(100, func() { Frame(head, 1<<30); Frame(head, 1<<32) }); n != 0 {
		t.Errorf("Frame allocates %v times", n)
	}
}

// TestBeginEnd crosses every length at which the header grows by an octet.
func TestBeginEnd(t *testing.T) {
	for _, size := range []int{0, 1, 0x7f, 0x80, 0xff, 0x100, 0xffff, 0x10000, 0xffffff, 0x1000000} {
		contents := bytes.Repeat([]byte{0xab}, size)
		got, mark := Begin([]byte("before"), Sequence)
		got = End(append(got, contents...), mark)
		want := AppendBytes([]byte("before"), Sequence, contents)
		if !bytes.Equal(got, want) {
			t.Errorf("%d octets: Begin and End differ from AppendBytes", size)
		}
		if len(want) != 6+HeaderSize(size)+size {
			t.Errorf("HeaderSize(%d) = %d, wrote %d", size, HeaderSize(size), len(want)-6-size)
		}
		r := Reader(got[6:])
		var body Reader
		if !r.Element(Sequence, &body) || !r.Empty() || !bytes.Equal(body, contents) {
			t.Errorf("%d octets do not read back", size)
		}
	}
}

func TestAppendedReadsBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		i := rapid.Int64().Draw(t, "int")
		b := rapid.Bool().Draw(t, "bool")
		s := rapid.SliceOf(rapid.Byte()).Draw(t, "octets")
		out, outer := Begin(nil, Sequence)
		out = AppendInt(out, Integer, i)
		out = AppendBool(out, Boolean, b)
		out, inner := Begin(out, Set)
		out = AppendBytes(out, OctetString, s)
		out = AppendString(out, 0x80, string(s))
		out = End(End(out, inner), outer)

		r := Reader(out)
		var body, set Reader
		var gotInt int64
		var gotBool bool
		var gotBytes, gotString []byte
		if !r.Element(Sequence, &body) || !r.Empty() ||
			!body.Int(Integer, &gotInt) || !body.Bool(Boolean, &gotBool) || !body.Element(Set, &set) || !body.Empty() ||
			!set.Bytes(OctetString, &gotBytes) || !set.Bytes(0x80, &gotString) || !set.Empty() {
			t.Fatalf("% x does not read back", out)
		}
		if gotInt != i || gotBool != b || !bytes.Equal(gotBytes, s) || !bytes.Equal(gotString, s) {
			t.Fatalf("read back %d %v %x %x", gotInt, gotBool, gotBytes, gotString)
		}
	})
}

func TestAppendIntIsShortest(t *testing.T) {
	for v, size := range map[int64]int{0: 1, 127: 1, 128: 2, -128: 1, -129: 2, 32767: 2, 32768: 3, math.MaxInt64: 8, math.MinInt64: 8} {
		if got := AppendInt(nil, Integer, v); len(got) != 2+size {
			t.Errorf("AppendInt(%d) has %d octets of contents, want %d", v, len(got)-2, size)
		}
	}
}

func FuzzFrame(f *testing.F) {
	f.Add([]byte{0x30, 3, 2, 1, 1}, 100)
	f.Add([]byte{0x30, 0x84, 0x7f, 0xff, 0xff, 0xff}, 1<<20)
	f.Add([]byte{0x30, 0x80, 0, 0}, 100)
	f.Fuzz(func(t *testing.T, in []byte, limit int) {
		limit &= math.MaxInt // a limit is not negative
		size, state := Frame(in, limit)
		r := Reader(in)
		var body Reader
		whole := r.Element(Sequence, &body)
		switch state {
		case FrameWhole:
			if size > limit || size != len(in)-len(r) || !whole {
				t.Fatalf("whole frame of %d octets, limit %d, Element says %v and leaves %d", size, limit, whole, len(r))
			}
		case FrameMore:
			if whole || size != 0 && size <= len(in) {
				t.Fatalf("more wanted, size %d, but the element is all there", size)
			}
			if len(in) >= MaxHeader && size == 0 {
				t.Fatal("more wanted behind the longest header there is")
			}
		case FrameTooBig:
			if whole && len(in)-len(r) <= limit {
				t.Fatal("too big, but within the limit")
			}
		case FrameInvalid:
			if whole {
				t.Fatal("invalid, but it reads")
			}
		}
	})
}

// FuzzReader walks over whatever is there and checks that the cursor only ever moves forward within its input.
func FuzzReader(f *testing.F) {
	f.Add([]byte{0x30, 6, 4, 1, 'x', 2, 1, 5})
	f.Add([]byte{0x04, 0x84, 0, 0, 0, 1, 'x'})
	f.Fuzz(func(t *testing.T, in []byte) {
		r := Reader(in)
		var tag byte
		var body Reader
		for !r.Empty() {
			before := len(r)
			if !r.Any(&tag, &body) {
				return
			}
			if len(r)+len(body)+2 > before {
				t.Fatalf("read %d octets of contents from %d, %d left", len(body), before, len(r))
			}
		}
	})
}

func BenchmarkFrame(b *testing.B) {
	frame := AppendBytes(nil, Sequence, make([]byte, 200))
	b.ReportAllocs()
	for b.Loop() {
		Frame(frame, 1<<20)
	}
}
