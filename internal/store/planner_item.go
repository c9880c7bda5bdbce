package store

import (
	"bytes"
	"errors"

	"portolan/internal/dit"
	"portolan/internal/kv"
	"portolan/internal/schema"
	"portolan/ldap"
)

// access is the way to an item's entries: an index, and what it is asked for.
type access struct {
	x    *index
	kind IndexKind // 0: there is no way
	// conf is what the answer can be at best.
	conf dit.Confidence
}

// access finds the index for an item: one on the type itself, or on a supertype that is matched by the same rule.
func (p *planner) access(n *dit.Node) access {
	if n.DNAttrs || n.Desc.Type == nil {
		return access{}
	}
	if n.Op == ldap.FilterPresent {
		return p.presence(n, dit.Exact)
	}
	if n.Rule == nil || n.Rule.Transitive {
		return access{}
	}
	kind := IndexKind(0)
	switch n.Op {
	case ldap.FilterEquality:
		kind = IndexEquality
	case ldap.FilterSubstrings:
		kind = IndexSubstring
	case ldap.FilterGreaterOrEqual, ldap.FilterLessOrEqual:
		kind = IndexOrdering
	case ldap.FilterExtensible:
		switch n.Rule.Kind {
		case schema.EqualityRule:
			kind = IndexEquality
		case schema.OrderingRule:
			kind = IndexOrdering
		}
	}
	if kind != 0 && n.Rule.Match == nil {
		for t := n.Desc.Type; t != nil; t = t.Sup {
			if x := p.set.find(t, kind); x != nil && x.rule == n.Rule && x.ready(p.version) && (kind != IndexSubstring || usableGrams(n.Subs)) {
				return access{x, kind, p.confidence(x, n)}
			}
		}
	}
	if kind == IndexEquality && n.Rule.Ordered != nil {
		for t := n.Desc.Type; t != nil; t = t.Sup {
			if x := p.set.find(t, IndexOrdering); x != nil && x.rule == n.Rule.Ordered && x.ready(p.version) {
				return access{x, IndexOrdering, p.confidence(x, n)}
			}
		}
	}
	// Who matches has the attribute.
	return p.presence(n, dit.Superset)
}

func (p *planner) presence(n *dit.Node, best dit.Confidence) access {
	for t := n.Desc.Type; t != nil; t = t.Sup {
		x := p.set.find(t, IndexEquality)
		if x == nil || !x.ready(p.version) {
			x = p.set.find(t, IndexPresence)
		}
		if x != nil && x.ready(p.version) {
			return access{x, IndexPresence, max(best, p.confidence(x, n))}
		}
	}
	return access{}
}

// confidence says how well an index fits the description of an item: it covers all subtypes and all options.
func (p *planner) confidence(x *index, n *dit.Node) dit.Confidence {
	// Types whose values are always transferred in binary carry the option everywhere.
	plain := n.Desc.Options == "" || (n.Desc.Options == ";binary" && n.Desc.Type.Syntax.TransferBinary)
	if x.attr == n.Desc.Type && plain {
		return dit.Exact
	}
	return dit.Superset
}

// usableGrams reports whether a substring item has a piece that the gram index can look for.
func usableGrams(subs []dit.SubKey) bool {
	for _, s := range subs {
		if pieceReach(s) >= 2 {
			return true
		}
	}
	return false
}

// pieceReach is the length of a piece with the end it is tied to. A piece of two octets is looked for by all grams that
// begin so; the final one of a single octet is the end of grams, not the beginning.
func pieceReach(s dit.SubKey) int {
	switch {
	case s.Kind == ldap.SubInitial:
		return len(s.Key) + 1
	case s.Kind == ldap.SubFinal && len(s.Key) > 1:
		return len(s.Key) + 1
	}
	return len(s.Key)
}

// item answers for which entries an item is TRUE. When limit is not 0 and the item is an equality of more entries, it
// stops and says that it is long.
func (p *planner) item(n *dit.Node, among within, limit int) (s idSet, conf dit.Confidence, long bool, err error) {
	virtual, mine := idSet{}, false
	if p.virtual != nil {
		set, c, err := p.virtual(n)
		if err != nil {
			return idSet{}, dit.All, false, err
		}
		if c == dit.All {
			p.step(stepVirtual, n, -1, dit.All)
			return idSet{}, dit.All, false, nil
		}
		if set != nil {
			virtual, mine, conf = p.virtualSet(set, among), true, c
			p.step(stepVirtual, n, virtual.count(), c)
		}
	}
	if mine && n.Rule != nil && n.Rule.Transitive {
		return virtual, conf, false, nil // the chain was followed over stored values too
	}
	a := p.access(n)
	if a.x == nil {
		if mine && n.Desc.Type != nil && n.Desc.Type.NoUserModification {
			return virtual, conf, false, nil // there are no stored values
		}
		p.step(stepUnindexed, n, -1, dit.All)
		return idSet{}, dit.All, false, nil
	}
	var c dit.Confidence
	switch a.kind {
	case IndexEquality:
		s, long, err = p.equality(a.x, n.Key, among, limit)
	case IndexPresence:
		s, long, err = p.posting1(a.x, IndexPresence, nil, among, 0)
	case IndexSubstring:
		s, c, err = p.substring(a.x, n, among)
	case IndexOrdering:
		s, c, err = p.ordering(a.x, n, among)
	}
	if err != nil || long {
		return idSet{}, dit.All, long, err
	}
	c = max(c, a.conf)
	p.stepItem(a.kind, n, s, c)
	if c == dit.All {
		return idSet{}, dit.All, false, nil
	}
	if mine {
		var u setUnion
		u.add(s)
		u.add(virtual)
		s = u.set()
	}
	return s, max(conf, c), false, nil
}

func (p *planner) stepItem(kind IndexKind, n *dit.Node, s idSet, c dit.Confidence) {
	what := stepPresence
	switch kind {
	case IndexEquality:
		what = stepEquality
	case IndexSubstring:
		what = stepSubstring
	case IndexOrdering:
		what = stepOrdering
	}
	if c == dit.All {
		p.step(what, n, -1, c)
		return
	}
	p.step(what, n, s.count(), c)
}

func (p *planner) virtualSet(set *dit.IDSet, among within) idSet {
	s := idSet{big: set}
	if set.GetCardinality() <= smallSet {
		s = idSet{small: idsOf(set)}
	}
	if among.known {
		return s.and(among.idSet)
	}
	return s
}

// equality reads the posting of a key, from the cache if it is there.
func (p *planner) equality(x *index, key []byte, among within, limit int) (s idSet, long bool, err error) {
	if len(key) > maxIndexKey {
		p.key = cutKey(append(p.key[:0], key...), 0)
		key = p.key
	}
	p.prefix = appendPosting(p.prefix[:0], x, IndexEquality, key)
	if ids, ok := p.src.cachedIDs(p.prefix); ok {
		s = idSet{small: ids}
		if among.known {
			s = s.and(among.idSet)
		}
		return s, false, nil
	}
	s, long, err = p.read(p.prefix, among, limit)
	if err == nil && !long && !among.known && s.big == nil && len(s.small) <= fillMax {
		p.src.fillIDs(p.prefix, s.small)
	}
	return s, long, err
}

// posting1 reads one posting.
func (p *planner) posting1(x *index, kind IndexKind, key []byte, among within, limit int) (s idSet, long bool, err error) {
	p.prefix = appendPosting(p.prefix[:0], x, kind, key)
	return p.read(p.prefix, among, limit)
}

// read reads the posting with this prefix. Of a long one only what is needed is read.
func (p *planner) read(prefix []byte, among within, limit int) (s idSet, long bool, err error) {
	if among.known && among.big == nil {
		s, err = p.pick(prefix, among.small)
		return s, false, err
	}
	it, err := p.iter()
	if err != nil {
		return idSet{}, false, err
	}
	p.builder.reset()
	for ok := it.SeekGE(prefix); ok && bytes.HasPrefix(it.Key(), prefix); ok = it.Next() {
		chunk, v, err := p.chunk(it)
		if err != nil {
			return idSet{}, false, err
		}
		if limit > 0 && p.builder.n+v.n > limit {
			return idSet{}, true, nil
		}
		p.builder.add(chunk, v)
	}
	if err := it.Err(); err != nil {
		return idSet{}, false, err
	}
	s = p.builder.set()
	if among.known {
		s = s.and(among.idSet)
	}
	return s, false, nil
}

// chunk reads what the iterator stands on.
func (p *planner) chunk(it kv.Iterator) (uint64, chunkView, error) {
	key := it.Key()
	_, _, _, chunk, ok := splitIndexKey(key)
	if !ok {
		return 0, chunkView{}, corrupt("index key %x", key)
	}
	value, err := it.Value()
	if err != nil {
		return 0, chunkView{}, err
	}
	v, ok := viewChunk(value)
	if !ok {
		return 0, chunkView{}, corrupt("index key %x: %d octets are no posting", key, len(value))
	}
	return chunk, v, nil
}

// pick reads only the chunks that a short list of ids is in, and returns those of the list that are in the posting.
func (p *planner) pick(prefix []byte, ids []dit.ID) (idSet, error) {
	var kept []dit.ID
	for len(ids) > 0 {
		chunk, _ := splitID(ids[0])
		v, err := p.chunkOf(prefix, chunk)
		if err != nil {
			return idSet{}, err
		}
		for ; len(ids) > 0; ids = ids[1:] {
			c, low := splitID(ids[0])
			if c != chunk {
				break
			}
			if v.has(low) {
				kept = append(kept, ids[0])
			}
		}
	}
	return idSet{small: kept}, nil
}

// chunkOf reads one chunk of a posting; where there is none it is empty. It is good until the next one is read.
func (p *planner) chunkOf(prefix []byte, chunk uint64) (chunkView, error) {
	r, err := p.kv()
	if err != nil {
		return chunkView{}, err
	}
	p.posting = appendChunkNumber(append(p.posting[:0], prefix...), chunk)
	value, err := r.Get(p.value[:0], p.posting)
	if errors.Is(err, kv.ErrNotFound) {
		return chunkView{}, nil
	}
	if err != nil {
		return chunkView{}, err
	}
	p.value = value
	v, ok := viewChunk(value)
	if !ok {
		return chunkView{}, corrupt("index key %x: %d octets are no posting", p.posting, len(value))
	}
	return v, nil
}

// restOf returns the entries with values that are too long for grams: candidates for every substring. As a rule there are
// none, and the cache knows.
func (p *planner) restOf(x *index, among within) (idSet, error) {
	p.prefix = appendPosting(p.prefix[:0], x, IndexSubstring, nil)
	if ids, ok := p.src.cachedIDs(p.prefix); ok {
		if among.known {
			return idSet{small: ids}.and(among.idSet), nil
		}
		return idSet{small: ids}, nil
	}
	s, _, err := p.read(p.prefix, anywhere, 0)
	if err != nil {
		return idSet{}, err
	}
	if s.big == nil && len(s.small) <= fillMax {
		p.src.fillIDs(p.prefix, s.small)
	}
	if among.known {
		s = s.and(among.idSet)
	}
	return s, nil
}

// ordering reads the range of keys that an item asks for.
func (p *planner) ordering(x *index, n *dit.Node, among within) (idSet, dit.Confidence, error) {
	key, conf := n.Key, dit.Exact
	if len(key) > cutPrefix {
		// What keys longer than this are to each other the index does not know.
		key, conf = key[:cutPrefix], dit.Superset
	}
	header := appendIndexHeader(p.prefix[:0], x, IndexOrdering)
	var lo, hi []byte // lo <= keys < hi
	switch {
	case n.Op == ldap.FilterGreaterOrEqual:
		lo = appendEscaped(header, key)
		hi = keyAfter(header)
	case n.Rule.Kind == schema.EqualityRule:
		lo = appendEscaped(header, key)
		if conf == dit.Superset {
			hi = keyAfter(lo)
		} else {
			hi = append(bytes.Clone(lo), 1) // behind the key's own chunks
			lo = append(lo, 0)
		}
	default:
		lo = header
		switch bound := appendEscaped(append([]byte(nil), header...), key); {
		case conf == dit.Superset:
			hi = keyAfter(bound)
		case n.Op == ldap.FilterExtensible:
			hi = append(bound, 0) // less than the key itself
		default:
			hi = append(bound, 1) // behind all its chunks, before all longer keys
		}
	}
	p.prefix = lo
	return p.scan(lo, hi, among, conf)
}

// scan unites all postings between two keys.
func (p *planner) scan(lo, hi []byte, among within, conf dit.Confidence) (idSet, dit.Confidence, error) {
	limit := maxRangeKeys
	if among.known {
		// To look at the entries themselves costs less than a range that is much longer than the set.
		limit = min(limit, 1000+16*among.count())
	}
	it, err := p.iter()
	if err != nil {
		return idSet{}, dit.All, err
	}
	var u setUnion
	for ok := it.SeekGE(lo); ok && bytes.Compare(it.Key(), hi) < 0; ok = it.Next() {
		if limit--; limit < 0 {
			return idSet{}, dit.All, nil
		}
		chunk, v, err := p.chunk(it)
		if err != nil {
			return idSet{}, dit.All, err
		}
		u.addChunk(chunk, v)
	}
	if err := it.Err(); err != nil {
		return idSet{}, dit.All, err
	}
	s := u.set()
	if among.known {
		s = s.and(among.idSet)
	}
	return s, conf, nil
}

// substring intersects the postings of the grams of all pieces. What it finds must be looked at: the pieces may stand in
// different places than asked for, or in different values.
func (p *planner) substring(x *index, n *dit.Node, among within) (idSet, dit.Confidence, error) {
	grams, short := p.grams[:0], []byte(nil)
	for _, s := range n.Subs {
		start, end := s.Kind == ldap.SubInitial, s.Kind == ldap.SubFinal
		from := len(grams)
		grams = appendPieceGrams(grams, s.Key, start, end)
		if len(grams) == from && short == nil && pieceReach(s) == 2 {
			short = shortPiece(s)
		}
	}
	p.grams = grams
	rest, err := p.restOf(x, among)
	if err != nil {
		return idSet{}, dit.All, err
	}
	if p.set.unsettled != nil {
		var u setUnion
		u.add(rest)
		u.add(p.virtualSet(p.set.unsettled, among))
		rest = u.set()
	}
	cur := among
	if len(grams) == 0 {
		lo := appendEscaped(appendIndexHeader(p.prefix[:0], x, IndexSubstring), short)
		p.prefix = lo
		s, c, err := p.scan(lo, keyAfter(lo), among, dit.Superset)
		if err != nil || c == dit.All {
			return idSet{}, dit.All, err
		}
		cur = in(s)
	}
	if len(grams) > 0 {
		s, err := p.intersect(x, grams, among)
		if err != nil {
			return idSet{}, dit.All, err
		}
		cur = in(s)
	}
	if rest.count() == 0 {
		return cur.idSet, dit.Superset, nil
	}
	var u setUnion
	u.add(cur.idSet)
	u.add(rest)
	return u.set(), dit.Superset, nil
}

// shortPiece returns the two octets that the grams of a value with the piece begin with, one of them at least.
func shortPiece(s dit.SubKey) []byte {
	if s.Kind == ldap.SubInitial {
		return []byte{gramStart, s.Key[0]}
	}
	return s.Key[:2]
}
