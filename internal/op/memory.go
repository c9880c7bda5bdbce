package op

import (
	"container/list"
	"sync"
)

// Memory is the account of what the server keeps for its clients from one request to the next, and of what sorting takes:
// the lists behind sorted pages and virtual list views, queued transactions. It bounds all of it together, in octets. When it
// runs short, what lies idle is given up, the longest first. It is safe for concurrent use.
type Memory struct {
	mu   sync.Mutex
	left int64
	idle list.List // of *Hold, that which has been idle longest first
}

// NewMemory returns an account of so many octets.
func NewMemory(octets int64) *Memory { return &Memory{left: octets} }

// Hold is a part of a Memory. Its methods are safe for concurrent use.
type Hold struct {
	m    *Memory
	size int64
	gone bool
	lost func()
	at   *list.Element // while it is idle
}

// Hold takes octets. It is nil when there are not enough.
func (m *Memory) Hold(octets int) *Hold {
	h := &Hold{m: m}
	if !h.Grow(octets) {
		return nil
	}
	return h
}

// Grow takes more octets; false, and nothing taken, when there are not enough. It ends Idle, as Busy does: what grows is being
// used, and must not be given up for its own growth. Callbacks of others may be called: see Idle.
func (h *Hold) Grow(octets int) bool {
	m := h.m
	var gone []func()
	m.mu.Lock()
	h.unlist()
	ok := !h.gone
	for ok && m.left < int64(octets) {
		oldest := m.idle.Front()
		if oldest == nil {
			ok = false
			break
		}
		victim := oldest.Value.(*Hold)
		gone = append(gone, victim.lost)
		victim.release()
	}
	if ok {
		m.left -= int64(octets)
		h.size += int64(octets)
	}
	m.mu.Unlock()
	for _, lost := range gone {
		lost()
	}
	return ok
}

// Idle says that what is held is not being used, and may be given up. lost is then called, in a call of Hold or Grow of
// somebody else: it must not block, and whoever calls those must not hold a lock that it takes.
func (h *Hold) Idle(lost func()) {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	if !h.gone && h.at == nil {
		h.lost = lost
		h.at = h.m.idle.PushBack(h)
	}
}

// Busy ends Idle. It is false when what is held has been given up.
func (h *Hold) Busy() bool {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	h.unlist()
	return !h.gone
}

// Release gives all of it back.
func (h *Hold) Release() {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	h.release()
}

func (h *Hold) release() {
	if h.gone {
		return
	}
	h.gone = true
	h.m.left += h.size
	h.unlist()
}

func (h *Hold) unlist() {
	if h.at != nil {
		h.m.idle.Remove(h.at)
		h.at = nil
	}
}
