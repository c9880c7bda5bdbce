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
	// RootDSE, where set, are attributes that the root DSE shows about the tree.
	RootDSE func() []TreeAttr
}

// TreeQuery is what part of a Tree is asked for.
type TreeQuery struct {
	Base   string // canonical name, at or beneath the tree's
	Scope  ldap.Scope
	Filter *dit.Filter
	Conn   *Conn
}

// TreeEntry is one computed entry.
type TreeEntry struct {
	// ID, where not 0, tells the entry apart from the others of the tree and rises in the order of Each: paging goes on
	// behind it. Without it the place in the enumeration serves.
	ID    uint64
	DN    string
	Attrs []TreeAttr
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
