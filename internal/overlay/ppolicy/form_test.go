package ppolicy

import (
	"bytes"
	"testing"
	"time"
)

func TestDelay(t *testing.T) {
	p := Policy{MinDelay: time.Second, MaxDelay: 10 * time.Second}
	for n, want := range []time.Duration{0, 1, 2, 4, 8, 10, 10} {
		if got := p.delay(n); got != want*time.Second {
			t.Errorf("after %d failures: %v", n, got)
		}
	}
	if got := p.delay(1 << 30); got != 10*time.Second {
		t.Errorf("after many failures: %v", got)
	}
	if got := (&Policy{}).delay(5); got != 0 {
		t.Errorf("without a delay: %v", got)
	}
}

// TestWaiting bounds the checks that wait, by name and in all, and gives places back.
func TestWaiting(t *testing.T) {
	w := newWaiting()
	var leave []func()
	for i := range maxWaitingPerName {
		l, ok := w.enter("a")
		if !ok {
			t.Fatalf("no place for number %d", i)
		}
		leave = append(leave, l)
	}
	if _, ok := w.enter("a"); ok {
		t.Error("one too many of a name")
	}
	leave[0]()
	if l, ok := w.enter("a"); !ok {
		t.Error("the place was not given back")
	} else {
		leave[0] = l
	}
	for i := 0; w.all < maxWaiting; i++ {
		l, ok := w.enter(string(rune('b' + i)))
		if !ok {
			t.Fatal("no place")
		}
		leave = append(leave, l)
	}
	if _, ok := w.enter("last"); ok {
		t.Error("one too many in all")
	}
	for _, l := range leave {
		l()
	}
	if w.all != 0 || len(w.by) != 0 {
		t.Errorf("left over: %d, %v", w.all, w.by)
	}
}

func FuzzRecord(f *testing.F) {
	f.Add([]byte{})
	f.Add((&record{failures: []int64{1, 2}, locked: 3}).append())
	f.Add([]byte{1, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, ok := decodeRecord(b)
		if !ok {
			return
		}
		again, ok := decodeRecord(r.append())
		if !ok || again.locked != r.locked || len(again.failures) != len(r.failures) {
			t.Fatalf("%+v is read back as %+v", r, again)
		}
		r.fail(&Policy{Lockout: true, MaxFailure: 3, FailureCountInterval: time.Minute}, time.Unix(1, 0))
		if len(r.failures) > 5 {
			t.Fatalf("%d failures are kept", len(r.failures))
		}
	})
}

func FuzzHistory(f *testing.F) {
	f.Add([]byte("20260101000000Z#1.3.6.1.4.1.1466.115.121.1.40#5#{SSHA"))
	f.Add([]byte("20260101000000.5Z#1#0#"))
	f.Add([]byte("###"))
	f.Fuzz(func(t *testing.T, value []byte) {
		h, ok := parseHistory(value)
		if ok && !bytes.HasSuffix(value, h.stored) {
			t.Fatalf("%q has no password %q", value, h.stored)
		}
		if all := history([][]byte{value, value}); len(all) != 0 && !ok {
			t.Fatal("what is not of the form is kept")
		}
	})
}
