package op

import (
	"container/list"
	"sync"
)

// Memory is the account of what the server keeps for its clients from one request to the next, and of what sorting takes:
// the lists behind sorted pages and virtual list views, queued transactions. It bounds all of it together, in octets. When it
// runs short, what may be given up is, the longest unused first. It is safe for concurrent use.
type Memory struct {
	mu   sync.Mutex
	left int64
	idle list.List // of *Hold, that which was used longest ago first
}

// NewMemory returns an account of so many octets.
func NewMemory(octets int64) *Memory { return &Memory{left: octets} }

// Hold is a part of a Memory. Its methods are safe for concurrent use, and after Release they do nothing.
type Hold struct {
	m        *Memory
	size     int64
	lost     func()
	at       *list.Element
	released bool
}

// Hold takes octets. It is nil when there are not enough. lost, where not nil, makes it one that can be given up for another:
// it is called when that has happened, with no lock of the account held, and must not block.
func (m *Memory) Hold(octets int, lost func()) *Hold {
	h := &Hold{m: m, lost: lost}
	if !h.Grow(octets) {
		return nil
	}
	if lost != nil {
		m.mu.Lock()
		h.at = m.idle.PushBack(h)
		m.mu.Unlock()
	}
	return h
}

// Grow takes more octets; false, and nothing taken, when there are not enough.
func (h *Hold) Grow(octets int) bool {
	m := h.m
	var gone []func()
	m.mu.Lock()
	ok := !h.released
	for ok && m.left < int64(octets) {
		oldest := m.idle.Front()
		if oldest != nil && oldest == h.at {
			oldest = oldest.Next()
		}
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

// Used says that it was used just now.
func (h *Hold) Used() {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	if h.at != nil {
		h.m.idle.MoveToBack(h.at)
	}
}

// Release gives all of it back.
func (h *Hold) Release() {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	h.release()
}

func (h *Hold) release() {
	if h.released {
		return
	}
	h.released = true
	h.m.left += h.size
	if h.at != nil {
		h.m.idle.Remove(h.at)
		h.at = nil
	}
}
