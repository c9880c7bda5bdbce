package bench

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"portolan/ber"
	"portolan/ldap"
)

// MaxOutstanding bounds the requests that one connection may have outstanding.
const MaxOutstanding = 1024

// maxAnswer bounds one message of the server.
const maxAnswer = 64 << 20

// course is one run: what all connections share. Times are nanoseconds since its clock began.
type course struct {
	parts  []*part
	total  int // of the weights
	people uint32
	depth  int
	clock  func() int64

	begin int64 // what ends before is warm-up
	end   int64 // no request begins after it; with a count it is the end of all patience
	count int64 // requests to be done after begin; 0 is no bound

	begun  atomic.Int64  // of count
	last   atomic.Int64  // when the last of count was done
	serial atomic.Uint32 // of PlaceSerial
	stop   atomic.Bool   // nobody begins anything any more

	halted  sync.Once
	stopped chan struct{} // closed with stop set
}

// halt stops the run.
func (c *course) halt() {
	c.halted.Do(func() {
		c.stop.Store(true)
		close(c.stopped)
	})
}

// over reports whether no further request may begin.
func (c *course) over(now int64) bool {
	return now >= c.end || c.stop.Load() || c.count > 0 && c.begun.Load() >= c.count
}

// take reserves one request; false when there are no more. With a count only those after the warm-up are counted.
func (c *course) take(now int64) bool {
	if now >= c.end || c.stop.Load() {
		return false
	}
	return c.count == 0 || now < c.begin || c.begun.Add(1) <= c.count
}

// slot is one request outstanding.
type slot struct {
	start   int64
	entries int32
	part    uint16
	busy    bool   // a request is outstanding
	counted bool   // it is one of the count
	gen     uint32 // part of the message ID: an answer to an earlier request is recognised
	nums    numbers
}

// The message ID is idTop, the generation and the slot, so that it always takes four octets and an answer finds its slot.
const (
	slotBits = 10
	genBits  = 20
	idTop    = 1 << (slotBits + genBits)
)

func (l *lane) id(i uint16) uint32 { return idTop | l.slots[i].gen<<slotBits | uint32(i) }

// lane is the client's side of one connection: it makes requests and takes answers, and leaves reading and writing to a
// driver. It is for one goroutine.
type lane struct {
	c     *course
	stats []*stats // by part; shared by the lanes of one driver
	rng   *rand.Rand
	slots []slot
	free  []uint16
	out   []byte // to be written
	rest  []byte // octets of an answer that has not come in full
	fault error  // why it can not go on
}

func newLane(c *course, st []*stats, seed uint64) *lane {
	l := &lane{c: c, stats: st, rng: rand.New(rand.NewPCG(seed, 0x706f72746f6c616e)), slots: make([]slot, c.depth), free: make([]uint16, c.depth)} // #nosec G404 -- which requests a benchmark makes, the same every time
	for i := range l.free {
		l.free[i] = uint16(c.depth - 1 - i)
	}
	return l
}

// idle reports whether nothing is outstanding.
func (l *lane) idle() bool { return len(l.free) == len(l.slots) }

// fill appends as many requests to out as may be outstanding.
func (l *lane) fill(now int64) {
	for len(l.free) > 0 && l.c.take(now) {
		i := l.free[len(l.free)-1]
		l.free = l.free[:len(l.free)-1]
		s := &l.slots[i]
		s.start, s.entries, s.busy = now, 0, true
		s.counted = l.c.count > 0 && now >= l.c.begin
		s.gen = (s.gen + 1) & (1<<genBits - 1)
		s.part = l.choose()
		p := l.c.parts[s.part]
		s.nums[holePerson] = l.rng.Uint32N(l.c.people)
		s.nums[holeRandom] = l.rng.Uint32N(maxSerial + 1)
		if p.serial {
			s.nums[holeSerial] = l.c.serial.Add(1)
		}
		q := &p.patterns[0]
		if len(p.patterns) > 1 {
			q = &p.patterns[l.rng.IntN(len(p.patterns))]
		}
		l.out = q.append(l.out, l.id(i), &s.nums)
	}
}

func (l *lane) choose() uint16 {
	if len(l.c.parts) == 1 {
		return 0
	}
	n := l.rng.IntN(l.c.total)
	for i, p := range l.c.parts {
		if n -= p.weight; n < 0 {
			return uint16(i)
		}
	}
	return 0
}

// take handles the whole answers in b and returns how many octets they took. need is the size of the next one where more
// than its header has come, else 0.
func (l *lane) take(b []byte, now int64) (used, need int, err error) {
	for {
		size, state := ber.Frame(b[used:], maxAnswer)
		switch state {
		case ber.FrameMore:
			return used, size, nil
		case ber.FrameTooBig:
			return used, 0, fmt.Errorf("the server has announced a message of more than %d octets", maxAnswer)
		case ber.FrameInvalid:
			return used, 0, errors.New("the server does not speak LDAP: its messages do not begin as LDAP's do")
		}
		if err := l.answer(b[used:used+size], now); err != nil {
			return used, 0, err
		}
		used += size
	}
}

// answer handles one message.
func (l *lane) answer(frame []byte, now int64) error {
	at := 2
	if frame[1] >= 0x80 {
		at += int(frame[1] & 0x7f)
	}
	if len(frame) < at+8 || frame[at] != ber.Integer || frame[at+1] != 4 {
		return unexpected(frame)
	}
	id := uint32(frame[at+2])<<24 | uint32(frame[at+3])<<16 | uint32(frame[at+4])<<8 | uint32(frame[at+5])
	i := id & (1<<slotBits - 1)
	if int(i) >= len(l.slots) || !l.slots[i].busy || l.id(uint16(i)) != id {
		return fmt.Errorf("the server answers message %d, which is not outstanding", id)
	}
	s := &l.slots[i]
	p := l.c.parts[s.part]
	switch tag := frame[at+6]; tag {
	case p.final:
		return l.finished(uint16(i), frame, ber.Reader(frame[at+6:]), now)
	case ldap.TagSearchResultEntry:
		s.entries++
		if now >= l.c.begin && now < l.c.end {
			l.stats[s.part].entries++
		}
		if p.named && !isPerson(frame[at+6:], p.rdn, s.nums[holePerson]) {
			s.entries = wrongEntry
		}
		return nil
	case ldap.TagSearchResultReference, ldap.TagIntermediateResponse:
		return nil
	default:
		return unexpected(frame)
	}
}

// wrongEntry in the place of a number of entries says that one was of somebody else. More may be added to it.
const wrongEntry = -1 << 20

// isPerson reports whether the entry's name has this number where a person's has it.
func isPerson(op []byte, at int, n uint32) bool {
	r := ber.Reader(op)
	var entry ber.Reader
	var name []byte
	return r.Element(ldap.TagSearchResultEntry, &entry) && entry.Bytes(ber.OctetString, &name) &&
		len(name) >= at+numberWidth && isDigits(name[at:at+numberWidth], n)
}

// unexpected says what came instead of an answer. A notice of disconnection tells why the server ends the connection.
func unexpected(frame []byte) error {
	m, err := ldap.Decode(frame)
	if err != nil {
		return fmt.Errorf("the server does not speak LDAP as it should: %w", err)
	}
	if x, ok := m.Op.(*ldap.ExtendedResponse); ok && m.ID == 0 {
		return fmt.Errorf("the server has ended the connection: %w", &ldap.Error{Result: x.Result})
	}
	return fmt.Errorf("the server sends message %d with tag %#x, which nobody has asked for", m.ID, m.Op.Tag())
}

// finished takes a final response.
func (l *lane) finished(i uint16, frame []byte, op ber.Reader, now int64) error {
	s := &l.slots[i]
	p := l.c.parts[s.part]
	st := l.stats[s.part]
	var body ber.Reader
	var code int32
	if !op.Element(p.final, &body) || !body.Int32(ber.Enumerated, 0, ldap.MaxMessageID, &code) {
		return unexpected(frame)
	}
	if p.paged > 0 && code == int32(ldap.Success) && now < l.c.end && !l.c.stop.Load() {
		if more, err := l.nextPage(i, p, frame); more || err != nil {
			return err
		}
	}
	counts := now >= l.c.begin && (now < l.c.end || s.counted)
	if l.c.count > 0 {
		counts = s.counted
	}
	if counts {
		switch {
		case code != int32(ldap.Success):
			if err := refused(st, frame); err != nil {
				return err
			}
		case s.entries < 0:
			st.failed(-1, "an entry that was not asked for", "")
		case p.entries >= 0 && int(s.entries) != p.entries:
			st.failed(-1, fmt.Sprintf("%d entries where %d are expected", s.entries, p.entries), "")
		default:
			st.finished(time.Duration(now - s.start))
		}
	}
	if s.counted {
		l.c.last.Store(max(l.c.last.Load(), now))
	}
	s.busy = false
	l.free = append(l.free, i)
	return nil
}

// refused records an answer that is not success.
func refused(st *stats, frame []byte) error {
	m, err := ldap.Decode(frame)
	if err != nil {
		return fmt.Errorf("the server does not speak LDAP as it should: %w", err)
	}
	if r := resultOf(m.Op); r != nil {
		st.refused(r)
	}
	return nil
}

// resultOf returns the result of a final response.
func resultOf(op ldap.Op) *ldap.Result {
	switch p := op.(type) {
	case *ldap.BindResponse:
		return &p.Result
	case *ldap.SearchResultDone:
		return &p.Result
	case *ldap.ModifyResponse:
		return &p.Result
	case *ldap.AddResponse:
		return &p.Result
	case *ldap.DelResponse:
		return &p.Result
	}
	return nil
}

// nextPage asks for the page that follows; false when that was the last.
func (l *lane) nextPage(i uint16, p *part, frame []byte) (more bool, err error) {
	m, err := ldap.Decode(frame)
	if err != nil {
		return false, fmt.Errorf("the server does not speak LDAP as it should: %w", err)
	}
	cookie, err := pagedCookie(m.Controls)
	if err != nil || len(cookie) == 0 {
		return false, err
	}
	s := &l.slots[i]
	s.gen = (s.gen + 1) & (1<<genBits - 1)
	l.out = ldap.AppendMessage(l.out, int32(l.id(i)), p.search, []ldap.Control{pagedControl(p.paged, cookie)})
	return true, nil
}

// broken ends the lane: what is outstanding has failed.
func (l *lane) broken(err error) {
	l.fault = err
	outstanding := false
	for i := range l.slots {
		if s := &l.slots[i]; s.busy {
			l.stats[s.part].failed(-1, connectionLost, err.Error())
			outstanding = true
		}
	}
	if !outstanding {
		l.stats[0].failed(-1, connectionLost, err.Error())
	}
}

const connectionLost = "the connection was lost"
