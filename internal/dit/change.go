package dit

import "portolan/internal/schema"

// ChangeKind is what happened to an entry.
type ChangeKind uint8

// Kinds of changes. A rename may change attributes too (the new RDN's values).
const (
	ChangeAdd ChangeKind = 1 + iota
	ChangeModify
	ChangeRename
	ChangeDelete
)

func (k ChangeKind) String() string {
	return [...]string{"", "add", "modify", "modrdn", "delete"}[k]
}

// Change is one entry's change inside a transaction.
type Change struct {
	Kind   ChangeKind
	Before *Entry // nil for an add
	After  *Entry // nil for a delete
	// Old and New name the entry before and after; for a modify they are equal.
	Old, New Name
	// Large are the value changes of attributes whose values live in keys of their own.
	Large []LargeDelta
}

// LargeDelta is the change of one large attribute. Applied in the order: Clear, Delete, Add.
type LargeDelta struct {
	Desc   schema.Description
	Clear  bool // all values that were there are gone
	Delete []LargeValue
	Add    []LargeValue
}

// LargeValue is one value of a large attribute with its equality key.
type LargeValue struct {
	Key   []byte
	Value []byte
}

// Confidence says how an id set stands to the answer.
type Confidence uint8

// Confidences. The order matters: the lesser of two is the better.
const (
	Exact    Confidence = iota // the set is the answer
	Superset                   // the answer is in the set: entries must be checked
	All                        // nothing is known: every entry in scope must be checked
)

func (c Confidence) String() string { return [...]string{"exact", "superset", "all"}[c] }
