package store

// JournalOctets returns the size of the journal: of its records, before compression.
func (s *Store) JournalOctets() (uint64, error) {
	v := s.View()
	defer v.Close()
	r, err := v.kvReader()
	if err != nil {
		return 0, err
	}
	// The first record may be trimmed between the two looks; then the answer is that of a moment ago.
	first, last := s.first.Load(), v.Seq()
	if last == 0 || first > last {
		return 0, nil
	}
	oldest, err := readHead(r, first)
	if err != nil {
		return 0, err
	}
	newest, err := readHead(r, last)
	if err != nil {
		return 0, err
	}
	return newest.end - oldest.Pos, nil
}
