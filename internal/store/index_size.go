package store

import "context"

// IndexSize is what one index holds.
type IndexSize struct {
	// Keys are distinct keys: an equality index has one for each value, a substring index one for each piece of three octets.
	// Postings are the entries under all of them. That an equality index knows presence too counts in neither.
	Keys, Postings int64
	// Octets is what all of it takes before compression.
	Octets int64
}

// MeasureIndexes counts what the indexes hold, as it was at one moment. It reads all of them, a few million postings in a
// second; writing goes on meanwhile. The error is of storage, or ctx.Err().
func (s *Store) MeasureIndexes(ctx context.Context) (sizes map[IndexSpec]IndexSize, err error) {
	v := s.View()
	defer v.Close()
	r, err := v.kvReader()
	if err != nil {
		return nil, err
	}
	byID := make(map[uint32]*index, len(v.gen.indexes.list))
	sizes = make(map[IndexSpec]IndexSize, len(v.gen.indexes.list))
	for _, x := range v.gen.indexes.list {
		byID[x.id] = x
		sizes[x.spec] = IndexSize{}
	}
	it, err := r.Iter([]byte{spaceIndex}, []byte{spaceIndex + 1})
	if err != nil {
		return nil, err
	}
	defer func() { err = first(err, it.Close()) }()
	var last []byte // the prefix of the posting that was counted last
	n := 0
	for ok := it.First(); ok; ok = it.Next() {
		if n++; n%checkPause == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		key := it.Key()
		id, kind, _, _, ok := splitIndexKey(key)
		x := byID[id]
		if !ok || x == nil {
			continue // Check reports it
		}
		value, err := it.Value()
		if err != nil {
			return nil, err
		}
		chunk, _ := viewChunk(value)
		size := sizes[x.spec]
		prefix := key[:len(key)-chunkBytes]
		// The merge operator leaves empty chunks where the last entry went.
		if kind == x.kind && chunk.n > 0 {
			if string(prefix) != string(last) {
				size.Keys++
				last = append(last[:0], prefix...)
			}
			size.Postings += int64(chunk.n)
		}
		size.Octets += int64(len(key) + len(value))
		sizes[x.spec] = size
	}
	return sizes, it.Err()
}
