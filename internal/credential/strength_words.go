package credential

import (
	"bufio"
	"bytes"
	"compress/gzip"
	_ "embed"
	"slices"
)

//go:embed words/words.txt.gz
var wordLists []byte

// dictionary has the rank of frequent words, by hash: 64 bits leave no chance of a false hit worth naming. And it knows
// where the keys of keyboards are.
type dictionary struct {
	words     []rankedWord // by hash
	keyboards []map[rune][2]int
}

type rankedWord struct {
	hash uint64
	rank uint32
}

// load unpacks the lists. They are part of the program: what cannot be read there is a broken build.
func (d *dictionary) load() {
	for _, rows := range keyboards {
		d.keyboards = append(d.keyboards, keyPlaces(rows))
	}
	z, err := gzip.NewReader(bytes.NewReader(wordLists))
	if err != nil {
		panic(err)
	}
	lines := bufio.NewScanner(z)
	for rank := uint32(1); lines.Scan(); rank++ {
		if len(lines.Bytes()) == 0 {
			rank = 0 // the next list begins
			continue
		}
		h := uint64(hashStart)
		for _, r := range lines.Text() {
			h = hashRune(h, r)
		}
		d.words = append(d.words, rankedWord{h, rank})
	}
	if err := lines.Err(); err != nil {
		panic(err)
	}
	slices.SortFunc(d.words, func(a, b rankedWord) int {
		switch {
		case a.hash != b.hash && a.hash < b.hash, a.hash == b.hash && a.rank < b.rank:
			return -1
		case a == b:
			return 0
		}
		return 1
	})
	d.words = slices.Clip(slices.CompactFunc(d.words, func(a, b rankedWord) bool { return a.hash == b.hash }))
}

// rank returns the rank of the word with this hash, 0 for none.
func (d *dictionary) rank(hash uint64) int {
	i, ok := slices.BinarySearchFunc(d.words, hash, func(w rankedWord, h uint64) int {
		switch {
		case w.hash < h:
			return -1
		case w.hash > h:
			return 1
		}
		return 0
	})
	if !ok {
		return 0
	}
	return int(d.words[i].rank)
}

// FNV-1a over runes.
const hashStart = 14695981039346656037

func hashRune(h uint64, r rune) uint64 {
	for range 3 {
		h = (h ^ uint64(r&0xff)) * 1099511628211
		r >>= 8
	}
	return h
}
