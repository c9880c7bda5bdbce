package audit

import (
	"net/netip"
	"time"

	"portolan/internal/op"
	"portolan/ldap"
)

// window gathers what repeats within one second. Trail.mu guards it.
type window struct {
	second   int64
	refusals int // lines of refusals in this second
	repeats  map[repeat]*repeated
}

// repeat is what lines have in common that are written as one.
type repeat struct {
	event, op string
	who       string
	authzid   string
	method    string
	from      netip.Prefix // an address, or a network
	via       string
	code      ldap.ResultCode
	reason    op.Reason
}

type repeated struct{ count uint64 }

const (
	// maxRefusals is how many refusals of one second get a line each; of the others the number is written, by network, so
	// that nobody fills the disk, or makes old files be retired, by being refused.
	maxRefusals = 200
	// maxRepeats bounds the different things that are gathered in one second.
	maxRepeats = 4096
)

// gather notes something that succeeded and reports whether it is a repetition: then it has no line of its own.
// Trail.mu is held.
func (t *Trail) gather(r repeat, now time.Time) bool {
	w := t.during(now)
	if x := w.repeats[r]; x != nil {
		x.count++
		return true
	}
	if len(w.repeats) < maxRepeats {
		w.repeats[r] = &repeated{}
	}
	return false
}

// refuse notes a refusal and reports whether there are too many of them for a line of its own. Trail.mu is held.
func (t *Trail) refuse(r repeat, now time.Time) bool {
	w := t.during(now)
	if w.refusals < maxRefusals {
		w.refusals++
		return false
	}
	r.who, r.authzid, r.method, r.from = "", "", "", network(r.from.Addr())
	x := w.repeats[r]
	if x == nil {
		if len(w.repeats) >= maxRepeats {
			r.from, r.via = netip.Prefix{}, ""
			x = w.repeats[r]
		}
		if x == nil {
			x = &repeated{}
			w.repeats[r] = x
		}
	}
	x.count++
	return true
}

// during returns the window of a moment.
func (t *Trail) during(now time.Time) *window {
	w := &t.window
	if second := now.Unix(); second != w.second {
		t.endWindow(now)
		w.second = second
	}
	if w.repeats == nil {
		w.repeats = make(map[repeat]*repeated)
	}
	return w
}

// endWindow adds the lines of what was gathered. Trail.mu is held.
func (t *Trail) endWindow(now time.Time) {
	w := &t.window
	for r, x := range w.repeats {
		if x.count == 0 {
			continue
		}
		if len(t.buf) > maxBuffered {
			t.lost++
			continue
		}
		b := begin(t.buf, now, r.event)
		if r.op != "" {
			b = str(b, "op", r.op)
		}
		if r.from.IsValid() {
			from := r.from.String()
			if r.from.IsSingleIP() {
				from = r.from.Addr().String()
			}
			b = str(b, "from", from)
		}
		if r.via != "" {
			b = str(b, "via", r.via)
		}
		if r.who != "" || r.code == ldap.Success {
			b = str(b, "who", r.who)
		}
		if r.method != "" {
			b = str(b, "method", r.method)
		}
		if r.authzid != "" {
			b = str(b, "authzid", r.authzid)
		}
		b = num(b, "result", uint64(r.code))
		if r.reason != "" {
			b = str(b, "reason", string(r.reason))
		}
		b = num(b, "count", x.count)
		b = str(b, "second", time.Unix(w.second, 0).UTC().Format(time.RFC3339))
		t.buf = append(b, '\n')
	}
	clear(w.repeats)
	w.refusals = 0
}

// source is the address of a connection's client.
func source(c *op.Conn) netip.Prefix {
	a := c.Remote.Addr().Unmap()
	if !a.IsValid() {
		return netip.Prefix{}
	}
	return netip.PrefixFrom(a.WithZone(""), a.BitLen())
}

// network is the network that a client is taken for.
func network(a netip.Addr) netip.Prefix {
	if !a.IsValid() {
		return netip.Prefix{}
	}
	bits := 24
	if a.Is6() {
		bits = 64
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}
