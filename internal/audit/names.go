package audit

import (
	"bytes"
	"strings"
	"sync/atomic"

	"portolan/ldap"
)

// Names is a set of attribute types: those whose values must not be shown, for example. The zero value is empty.
type Names struct{ now atomic.Pointer[names] }

// names is what a Names holds at a time.
type names struct {
	set     map[string]struct{}
	lengths uint64 // a bit for each length of a name up to 63: most types are told apart by it
}

// NewNames returns the set of these short names and OIDs.
func NewNames(list []string) *Names {
	s := new(Names)
	s.Set(list)
	return s
}

// Set makes it the set of these. It may be called while others ask.
func (s *Names) Set(list []string) {
	now := &names{set: make(map[string]struct{}, len(list))}
	for _, n := range list {
		now.set[strings.ToLower(n)] = struct{}{}
		now.lengths |= lengthBit(len(n))
	}
	s.now.Store(now)
}

// load returns what the set is now. s may be nil.
func (s *Names) load() *names {
	if s != nil {
		if now := s.now.Load(); now != nil {
			return now
		}
	}
	return &noNames
}

var noNames names

func lengthBit(n int) uint64 { return 1 << min(n, 63) }

// Has reports whether an attribute description is of one of the types, whatever its options.
func (s *Names) Has(desc []byte) bool {
	if s == nil {
		return false
	}
	now := s.load()
	desc = bytes.TrimSpace(desc)
	if i := bytes.IndexByte(desc, ';'); i >= 0 {
		desc = desc[:i]
	}
	if now.lengths&lengthBit(len(desc)) == 0 || len(desc) > 256 {
		return false
	}
	var lower [256]byte
	for i, c := range desc {
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		lower[i] = c
	}
	_, ok := now.set[string(lower[:len(desc)])]
	return ok
}

// maxName bounds a name as logs show it, in octets.
const maxName = 2048

// show returns a name of an entry as a client wrote it, without what must not be shown: values of secret attributes in it.
// It is the input itself nearly always. The name need not be right; see showStrictly.
func (s *Names) show(dn []byte) []byte {
	if len(dn) > maxName {
		dn = dn[:maxName]
	}
	if s == nil || len(s.load().set) == 0 {
		return dn
	}
	var out []byte // nil until something is left out
	for i := 0; i < len(dn); {
		// One type and value. The separators are those of RFC 4514, and ; of RFC 2253.
		eq := bytes.IndexByte(dn[i:], '=')
		if eq < 0 {
			return appendIf(out, dn[i:], dn)
		}
		end := i + eq + 1
		quoted := false
		for ; end < len(dn); end++ {
			c := dn[end]
			if c == '\\' {
				end++
			} else if c == '"' {
				quoted = !quoted
			} else if !quoted && (c == ',' || c == '+' || c == ';') {
				break
			}
		}
		end = min(end, len(dn))
		switch {
		case s.Has(dn[i : i+eq]):
			if out == nil {
				out = append(out, dn[:i]...)
			}
			out = append(append(out, dn[i:i+eq+1]...), "withheld"...)
		case out != nil:
			out = append(out, dn[i:end]...)
		}
		if end < len(dn) {
			if out != nil {
				out = append(out, dn[end])
			}
			end++
		}
		i = end
	}
	return appendIf(out, nil, dn)
}

func appendIf(out, more, all []byte) []byte {
	if out == nil {
		return all
	}
	return append(out, more...)
}

// showStrictly is show for names that may be anything, such as a password that was typed where the name belongs: what is
// not a DN is not shown.
func (s *Names) showStrictly(dn []byte) []byte {
	if len(dn) == 0 {
		return dn
	}
	if len(dn) <= maxName && ldap.ValidDN(dn) {
		return s.show(dn)
	}
	return []byte(notName)
}

// notName stands where the name that was sent is none.
const notName = "(not a name)"
