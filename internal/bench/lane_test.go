package bench

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"portolan/ldap"
)

// testLane returns a lane with requests sent, on a clock that stands still after the warm-up.
func testLane(t testing.TB, workload string, depth int) (*lane, *stats) {
	t.Helper()
	r := testRequests()
	parts, err := r.parts(workload)
	if err != nil {
		t.Fatal(err)
	}
	c := &course{
		parts: parts, total: 1, people: 1, depth: depth, clock: func() int64 { return 0 }, end: int64(time.Hour), stopped: make(chan struct{}),
	}
	st := newStats()
	l := newLane(c, []*stats{st}, 1)
	l.fill(0)
	return l, st
}

func personEntry(n int) *ldap.SearchResultEntry {
	d := testData()
	return &ldap.SearchResultEntry{Name: []byte(d.Person(n)), Attributes: list("uid", "u"+number(n))}
}

// TestAnswersAreChecked: only the right answer counts as work done.
func TestAnswersAreChecked(t *testing.T) {
	done := &ldap.SearchResultDone{}
	busy := &ldap.SearchResultDone{Result: ldap.Result{Code: ldap.Busy, Diagnostic: "not now"}}
	tests := []struct {
		name string
		ops  []ldap.Op
		want string // what counts as failed; empty: done
	}{
		{"right", []ldap.Op{personEntry(0), done}, ""},
		{"a reference beside it", []ldap.Op{personEntry(0), &ldap.SearchResultReference{URIs: []string{"ldap://x"}}, done}, ""},
		{"no entry", []ldap.Op{done}, "0 entries where 1 are expected"},
		{"two entries", []ldap.Op{personEntry(0), personEntry(0), done}, "2 entries where 1 are expected"},
		{"somebody else", []ldap.Op{personEntry(10), done}, "an entry that was not asked for"},
		{"somebody else too", []ldap.Op{personEntry(0), personEntry(1), personEntry(0), done}, "an entry that was not asked for"},
		{"busy", []ldap.Op{busy}, "busy (51)"},
	}
	for _, tt := range tests {
		l, st := testLane(t, Search, 1)
		var answer []byte
		for _, op := range tt.ops {
			answer = ldap.AppendMessage(answer, int32(l.id(0)), op, nil)
		}
		used, need, err := l.take(answer, int64(time.Millisecond))
		if err != nil || used != len(answer) || need != 0 {
			t.Errorf("%s: %d of %d octets, %d needed, %v", tt.name, used, len(answer), need, err)
			continue
		}
		if !l.idle() {
			t.Errorf("%s: the request is still outstanding", tt.name)
		}
		if tt.want == "" {
			if st.done != 1 || len(st.failures) != 0 || st.latency.Max() < int64(time.Millisecond) {
				t.Errorf("%s: %d done, %v, %d ns", tt.name, st.done, st.failures, st.latency.Max())
			}
			continue
		}
		if f := st.failures[tt.want]; st.done != 0 || f == nil || f.Count != 1 {
			t.Errorf("%s: %d done, failures %v, want %s", tt.name, st.done, st.failures, tt.want)
		}
	}
}

// TestPieces: however answers are cut up by the network, they are the same.
func TestPieces(t *testing.T) {
	l, st := testLane(t, Search, 3)
	var answers []byte
	for _, i := range []uint16{2, 0, 1} {
		answers = ldap.AppendMessage(answers, int32(l.id(i)), personEntry(0), nil)
		answers = ldap.AppendMessage(answers, int32(l.id(i)), &ldap.SearchResultDone{}, nil)
	}
	var rest []byte
	for _, b := range answers {
		rest = append(rest, b)
		used, need, err := l.take(rest, 1)
		if err != nil {
			t.Fatal(err)
		}
		if need > 0 && need < len(rest)-used {
			t.Fatalf("%d octets are needed where %d are there", need, len(rest)-used)
		}
		rest = rest[used:]
	}
	if len(rest) != 0 || st.done != 3 || st.entries != 3 {
		t.Errorf("%d octets left, %d done, %d entries", len(rest), st.done, st.entries)
	}
}

// TestStrayAnswers: what was not asked for ends the connection.
func TestStrayAnswers(t *testing.T) {
	l, _ := testLane(t, Search, 1)
	id := int32(l.id(0))
	right := ldap.AppendMessage(ldap.AppendMessage(nil, id, personEntry(0), nil), id, &ldap.SearchResultDone{}, nil)
	notice := &ldap.ExtendedResponse{Name: "1.3.6.1.4.1.1466.20036", Result: ldap.Result{Code: ldap.Unavailable, Diagnostic: "going down"}}
	for _, tt := range []struct {
		name   string
		answer []byte
		want   string
	}{
		{"a small ID", ldap.AppendMessage(nil, 1, &ldap.SearchResultDone{}, nil), "nobody has asked"},
		{"an ID that is not outstanding", ldap.AppendMessage(nil, id+1, &ldap.SearchResultDone{}, nil), "not outstanding"},
		{"another answer", ldap.AppendMessage(nil, id, &ldap.AddResponse{}, nil), "nobody has asked"},
		{"twice", append(bytes.Clone(right), right...), "not outstanding"},
		{"the server goes", ldap.AppendMessage(nil, 0, notice, nil), "going down"},
		{"no LDAP", []byte("HTTP/1.1 400"), "does not speak LDAP"},
		{"too long", []byte{0x30, 0x84, 0x7f, 0xff, 0xff, 0xff}, "more than"},
	} {
		l, _ := testLane(t, Search, 1)
		if _, _, err := l.take(tt.answer, 1); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want something about %q", tt.name, err, tt.want)
		}
	}
}

// TestFillAllocatesNothing: the load generator must not be what is measured.
func TestFillAllocatesNothing(t *testing.T) {
	l, _ := testLane(t, Search, 1)
	answer := make([]byte, 0, 4096)
	entry, done := personEntry(0), &ldap.SearchResultDone{}
	op := ldap.AppendMessage(nil, int32(l.id(0)), entry, nil)
	idAt := bytes.Index(op, []byte{2, 4}) + 2
	end := ldap.AppendMessage(nil, int32(l.id(0)), done, nil)
	n := testing.AllocsPerRun(1000, func() {
		id := l.id(0)
		answer = append(append(answer[:0], op...), end...)
		for _, at := range []int{idAt, len(op) + 4} {
			answer[at], answer[at+1], answer[at+2], answer[at+3] = byte(id>>24), byte(id>>16), byte(id>>8), byte(id)
		}
		if _, _, err := l.take(answer, 1); err != nil {
			t.Fatal(err)
		}
		l.out = l.out[:0]
		l.fill(1)
	})
	if n != 0 {
		t.Errorf("%v allocations for a request", n)
	}
}

// FuzzAnswers lets a server send anything.
func FuzzAnswers(f *testing.F) {
	l, _ := testLane(f, Mixed, 4)
	id := int32(l.id(0))
	f.Add(ldap.AppendMessage(ldap.AppendMessage(nil, id, personEntry(0), nil), id, &ldap.SearchResultDone{}, nil), uint8(0))
	f.Add(ldap.AppendMessage(nil, id, &ldap.SearchResultDone{Result: ldap.Result{Code: ldap.Busy}}, nil), uint8(1))
	f.Add(ldap.AppendMessage(nil, id, &ldap.SearchResultDone{}, []ldap.Control{pagedControl(1, []byte("c"))}), uint8(2))
	f.Fuzz(func(t *testing.T, sent []byte, workload uint8) {
		l, st := testLane(t, []string{Search, Modify, Paged, Add}[workload%4], 1+int(workload%4)/3*3)
		used, _, err := l.take(sent, 1)
		if used > len(sent) || len(l.free) > len(l.slots) {
			t.Fatalf("%d of %d octets, %d of %d free", used, len(sent), len(l.free), len(l.slots))
		}
		if err != nil {
			l.broken(err)
			if st.failures[connectionLost] == nil {
				t.Fatal("a lost connection is no failure")
			}
		}
	})
}
