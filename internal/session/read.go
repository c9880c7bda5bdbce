package session

import (
	"io"

	"portolan/ber"
	"portolan/ldap"
)

// loop reads and serves requests until the session ends or the reading has been handed over. t may be nil; it is given
// back.
func (s *Session) loop(t *task) {
	late := true // something was read since the clock was
	for !s.closing.Load() {
		if t == nil || t.r == t.w {
			if t != nil {
				t.free()
				t = nil
			}
			if !s.sent() {
				return
			}
			if t = s.await(); t == nil {
				return
			}
			late = true
		}
		size, state := ber.Frame(t.pending(), s.maxPDU())
		switch state {
		case ber.FrameWhole:
			frame := t.b[t.r : t.r+size : t.r+size]
			t.r += size
			t.largest = max(t.largest, size)
			if late {
				s.last, late = s.cfg.now(), false
			}
			switch s.message(t, frame) {
			case handedOver:
				return
			case over:
				t.free()
				return
			}
		case ber.FrameMore:
			if !s.fill(t, size) {
				t.free()
				return
			}
			late = true
		case ber.FrameTooBig:
			s.stats.tooBig.Add(1)
			s.disconnect(t, s.tooBig())
			t.free()
			return
		default:
			s.disconnect(t, s.notLDAP(t.pending()))
			t.free()
			return
		}
	}
	if t != nil {
		t.free()
	}
}

func (s *Session) maxPDU() int {
	if s.conn.Identity().IsAnonymous() {
		return s.lim.MaxPDUUnauthenticated
	}
	return s.lim.MaxPDU
}

func (s *Session) tooBig() *ldap.Error {
	if s.maxPDU() < s.lim.MaxPDU {
		return ldap.Errorf(ldap.ProtocolError, "the message is longer than the %d octets that a client may send before it has authenticated", s.maxPDU())
	}
	return ldap.Errorf(ldap.ProtocolError, "the message is longer than the %d octets that this server accepts", s.maxPDU())
}

// await returns a task with input, holding no buffer until there is some; nil when the session is over.
func (s *Session) await() *task {
	for {
		s.arm()
		if s.closing.Load() {
			return nil
		}
		t, err := s.read()
		if err == nil {
			s.stats.bytesIn.Add(uint64(t.w))
			return t
		}
		if !s.readEnded(err) {
			return nil
		}
	}
}

func (s *Session) read() (*task, error) {
	if s.raw != nil {
		err := s.raw.Read(s.rawRead)
		t := s.got
		s.got = nil
		if err == nil && t == nil {
			err = s.gotErr
		}
		return t, err
	}
	n, err := s.nc.Read(s.first[:])
	if n == 0 {
		if err == nil {
			err = io.ErrNoProgress
		}
		return nil, err
	}
	t := newTask(s)
	t.b[0], t.w = s.first[0], 1
	return t, nil
}

// fill reads more of a frame that has begun; false when the session is over.
func (s *Session) fill(t *task, size int) bool {
	t.reserve(size)
	if !s.sent() {
		return false
	}
	for {
		s.arm()
		if s.closing.Load() {
			return false
		}
		n, err := s.nc.Read(t.b[t.w:])
		if n > 0 {
			s.stats.bytesIn.Add(uint64(n))
			t.w += n
			return true
		}
		if err == nil {
			err = io.ErrNoProgress
		}
		if !s.readEnded(err) {
			return false
		}
	}
}

// sent writes the responses gathered while there was input; false when the session is over.
func (s *Session) sent() bool {
	if err := s.out.flush(); err != nil {
		s.lost(err)
		return false
	}
	return true
}
