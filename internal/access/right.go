package access

import "strings"

// Right is a set of rights. What a bit means depends on what it is about: an entry or an attribute of one.
type Right uint16

// The rights. On an attribute Add and Delete are about values, and Modify is both of them.
const (
	Disclose Right = 1 << iota // entry: it may be known that the entry is there
	Search                     // attribute: filters and sort keys may use it
	Read                       // entry: searches may return it; attribute: values may be returned
	Compare                    // attribute: compare may use it
	Add                        // entry: it may be added, and entries right beneath it; attribute: values may be added
	Delete                     // entry: it may be deleted; attribute: values may be deleted
	Modify                     // attribute: Add and Delete
	Rename                     // entry: it may be renamed and moved
	Proxy                      // entry: the client may act as this entry
	Control                    // entry: administrative operations that concern it

	// Everything has every right.
	Everything = Disclose | Search | Read | Compare | Add | Delete | Modify | Rename | Proxy | Control
)

const (
	// ofEntries and ofAttributes are the rights that mean something there. Search and Compare on an entry mean that it may
	// be known: whoever may look for an entry by its attributes may know of it.
	ofEntries    = Disclose | Search | Read | Compare | Add | Delete | Rename | Proxy | Control
	ofAttributes = Search | Read | Compare | Add | Delete
	writing      = Add | Delete
	// ordinary is what "all" allows. To act as others and to administrate are never given in passing.
	ordinary = Everything &^ (Proxy | Control)
)

// rightNames are the names in the order of the bits.
var rightNames = [...]string{"disclose", "search", "read", "compare", "add", "delete", "modify", "rename", "proxy", "control"}

// String lists the names with ", " between them; for no right at all it is "none".
func (r Right) String() string {
	if r&Everything == 0 {
		return "none"
	}
	var b strings.Builder
	for i, name := range rightNames {
		if r&(1<<i) == 0 {
			continue
		}
		if b.Len() > 0 {
			b.WriteString(", ")
		}
		b.WriteString(name)
	}
	return b.String()
}

// Mask is a set of slots of one dit.Shape.
type Mask []uint64

// Has reports whether slot i is in the set.
func (m Mask) Has(i int) bool {
	return uint(i)>>6 < uint(len(m)) && m[uint(i)>>6]&(1<<(uint(i)&63)) != 0
}

// AllBelow reports whether all slots below n are in the set.
func (m Mask) AllBelow(n int) bool {
	for w := 0; n > 0; w, n = w+1, n-64 {
		want := ^uint64(0)
		if n < 64 {
			want = 1<<uint(n) - 1
		}
		if w >= len(m) || m[w]&want != want {
			return false
		}
	}
	return true
}

func (m Mask) set(i int) { m[i>>6] |= 1 << (uint(i) & 63) }

// SlotRights are the rights on an entry and on the attributes that it has, for the quick questions of a search. It is
// shared and not to be changed.
type SlotRights struct {
	Entry Right
	// All says that everything is allowed on every attribute, the secret ones included. The masks are empty then.
	All bool
	// Read, Search and Compare have the slots of the entry's shape on which the right is given.
	Read, Search, Compare Mask
}
