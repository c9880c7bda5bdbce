package store

import (
	"bytes"
	"encoding/binary"

	"github.com/google/uuid"

	"portolan/internal/dit"
	"portolan/internal/schema"
)

// Spaces: the first octet of every key. Numbers in keys are big endian, so that keys sort as the numbers do.
const (
	spaceMeta     = 'm' // name -> see meta.go and the indexes
	spaceEntry    = 'e' // id -> record of dit
	spaceUUID     = 'u' // uuid -> id
	spacePosition = 'n' // parent, canonical RDN -> id; suffix entries stand under parent 0 with their whole name
	spaceCount    = 'c' // parent -> number of children, merged
	spaceLarge    = 'l' // id, attribute description, 0, equality key -> value
	spaceIndex    = 'x' // index, kind, key, chunk -> posting chunk
	spaceJournal  = 'j' // sequence -> record
	spaceState    = 's' // key of the caller -> value
	spaceReplica  = 'r' // reserved for replication cursors
	spaceGrams    = 'g' // sequence -> note of what is not in the substring indexes yet: see grams.go
)

func appendID(dst []byte, id dit.ID) []byte { return binary.BigEndian.AppendUint64(dst, uint64(id)) }

func entryKey(dst []byte, id dit.ID) []byte { return appendID(append(dst, spaceEntry), id) }

func uuidKey(dst []byte, id uuid.UUID) []byte { return append(append(dst, spaceUUID), id[:]...) }

func positionKey(dst []byte, parent dit.ID, normRDN string) []byte {
	return append(appendID(append(dst, spacePosition), parent), normRDN...)
}

func countKey(dst []byte, parent dit.ID) []byte { return appendID(append(dst, spaceCount), parent) }

func journalKey(dst []byte, seq uint64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, spaceJournal), seq)
}

// largeKey is the prefix of all values of one large attribute; the equality key follows. Descriptions are written with the
// type's OID, which outlives a change of its names, and hold no zero octet.
func largeKey(dst []byte, id dit.ID, d schema.Description) []byte {
	dst = appendID(append(dst, spaceLarge), id)
	return append(append(append(dst, d.Type.OID...), d.Options...), 0)
}

func stateKey(dst, key []byte) []byte { return append(append(dst, spaceState), key...) }

func metaKey(name string) []byte { return append([]byte{spaceMeta}, name...) }

// keyAfter returns the first key that does not begin with prefix, or nil when there is none.
func keyAfter(prefix []byte) []byte {
	end := bytes.Clone(prefix)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i] != 0xff {
			end[i]++
			return end[:i+1]
		}
	}
	return nil
}

// readID reads an id that is a whole value.
func readID(value []byte) (dit.ID, bool) {
	if len(value) != 8 {
		return 0, false
	}
	return dit.ID(binary.BigEndian.Uint64(value)), true
}

// The child count is a signed varint, and so are its merge operands: the value is their sum.

func appendCount(dst []byte, n int64) []byte { return binary.AppendVarint(dst, n) }

func readCount(value []byte) int64 {
	n, _ := binary.Varint(value)
	return n
}
