package dit

import (
	"time"

	"github.com/google/uuid"
)

// JournalKind is what a journal record stands for.
type JournalKind uint8

// Kinds of journal records. The numbers are on disk.
const (
	// JournalTransaction is one transaction.
	JournalTransaction JournalKind = 1
	// JournalBase begins an epoch: the entries that are there came from somewhere else, and no earlier record tells of them.
	JournalBase JournalKind = 2
)

// JournalRecord is one record of the journal: one transaction. It names entries by UUID and DN, never by dense id, so that
// it means the same anywhere. Values of secret attributes are in it: whoever shows records must leave them out.
type JournalRecord struct {
	Kind  JournalKind
	Epoch uuid.UUID
	Seq   uint64
	// Pos is the number of octets of all records before.
	Pos uint64
	// Before is the number of changes in all records before: it tells changes apart where Seq tells transactions apart.
	Before uint64
	Time   time.Time // when the transaction ran, by the clock of this server
	// CSN is the highest CSN that this server had issued or seen then. It rises from record to record.
	CSN     CSN
	Meta    JournalMeta
	Changes []JournalChange
	// Entries is the number of entries in a base.
	Entries int64
}

// JournalMeta says in the journal who made a transaction. Nothing in it is interpreted.
type JournalMeta struct {
	// Author is the name for modifiersName, AuthzID the authorization identity it came from.
	Author  string
	AuthzID string
	// Session tells connections apart in logs, such as "conn=17 op=3".
	Session string
}

// JournalChange is one entry's change.
type JournalChange struct {
	Kind ChangeKind
	UUID uuid.UUID
	// Parent is the UUID of the parent after the change, or before a delete; zero for a suffix entry.
	Parent uuid.UUID
	CSN    CSN
	// OldDN is empty for an add, NewDN for a delete.
	OldDN, NewDN string
	Attrs        []AttrDelta
}

// AttrDelta is the change of one attribute. An add adds all values; a delete deletes them, but those of large attributes
// are only said to be cleared.
type AttrDelta struct {
	// Description is the attribute with its options, as on the wire.
	Description string
	// Large marks the changes of values that live in keys of their own; Clear says that all of those had gone before Added.
	Large, Clear   bool
	Deleted, Added [][]byte
}

// JournalHead is what can be told of a record without reading the whole of it. All of it but Time rises from record to
// record, or stays; Time goes back with the clock.
type JournalHead struct {
	Seq, Pos, Before uint64
	Time             time.Time
	CSN              CSN
}
