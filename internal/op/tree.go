package op

import (
	"context"

	"portolan/internal/dit"
	"portolan/ldap"
)

// Tree is a part of the directory that is computed when it is asked for, not stored: cn=Monitor, cn=changelog. It cannot be
// written to. Access rules apply to it as to any other part, by name.
type Tree struct {
	// Name is for documentation, and the configuration table where there is one.
	Name string
	// DN is the name of the topmost entry.
	DN string
	// Each calls f for the entries in the scope of the query, parents before children. Entries that cannot match the filter
	// may be left out: the engine decides about the filter and about access. An error of f ends it and is returned. A
	// base that does not exist gives no entries.
	Each func(ctx context.Context, q *TreeQuery, f func(*TreeEntry) error) error
	// Get, where set, returns the entry of an ID that Each gave, nil where it has gone: results are sorted by their IDs then,
	// and entries are not kept meanwhile. Of the query Req counts.
	Get func(ctx context.Context, q *TreeQuery, id uint64) (*TreeEntry, error)
	// Order, where not empty, is the single-valued attribute by whose values Each goes through the entries where
	// TreeQuery.Order says so: such a result is not gathered to be sorted. Entries without the attribute are the last ones.
	Order string
	// Newest and Grown, where set, make it a tree that grows and can be followed: entries are added, with IDs that rise, and
	// never changed. Newest is the ID of the newest one, Grown returns a channel that is closed when there is one beyond it.
	Newest func() uint64
	Grown  func(after uint64) <-chan struct{}
	// Since, where set, returns the ID of the newest entry that a copy has which is complete up to a CSN; ErrTrimmed says that
	// entries since then may have gone.
	Since func(csn dit.CSN) (uint64, error)
	// RootDSE, where set, are attributes that the root DSE shows about the tree.
	RootDSE func() []TreeAttr
}

// TreeQuery is what part of a Tree is asked for.
type TreeQuery struct {
	Base   string // canonical name, at or beneath the tree's
	Scope  ldap.Scope
	Filter *dit.Filter // nil is all
	Conn   *Conn
	// Req is the request, for trees that show of other entries only what the requester may see.
	Req *Request
	// After is where a result goes on: entries up to this ID, in the order of the enumeration, may be left out. 0 is from the
	// beginning.
	After uint64
	// Until, where not 0, is the last ID that is wanted.
	Until uint64
	// Order is 1 and -1 to go by Tree.Order, rising and falling.
	Order int
}

// Follow is what a search that stays asks of a tree that grows.
type Follow struct {
	// Begin is told the newest ID that there is, and says behind which the entries are sent that are there already.
	Begin func(t *Tree, newest uint64) (after uint64, err error)
	// Refreshed is called when they have been sent, up to that ID. Where stay is false the search ends.
	Refreshed func(newest uint64) (stay bool, err error)
	// Quiet says that no entry that comes is of interest.
	Quiet bool
	// Dress adds controls to an entry. fresh says that it came while the search stayed.
	Dress func(te *TreeEntry, e *dit.Entry, fresh bool, controls []ldap.Control) []ldap.Control
}

// TreeEntry is one computed entry.
type TreeEntry struct {
	// ID, where not 0, tells the entry apart from the others of the tree and rises in the order of Each: paging goes on
	// behind it. Without it the place in the enumeration serves.
	ID    uint64
	DN    string
	Attrs []TreeAttr
	// Change, where not 0, is the number of the change that it tells of.
	Change uint64
	// HasChildren is what hasSubordinates says.
	HasChildren bool
}

// TreeAttr is one attribute of a computed entry. Operational attributes are told apart by the schema.
type TreeAttr struct {
	Name   string
	Values [][]byte
}

// Text returns an attribute of text values.
func Text(name string, values ...string) TreeAttr {
	a := TreeAttr{Name: name, Values: make([][]byte, len(values))}
	for i, v := range values {
		a.Values[i] = []byte(v)
	}
	return a
}
