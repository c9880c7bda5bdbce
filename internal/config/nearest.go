package config

import "strings"

// nearest returns the word that somebody who wrote got most likely meant, or "" where none is near.
func nearest(got string, words []string) string {
	if len(got) > 64 {
		return ""
	}
	plain := plainWord(got)
	best, least := "", 1+min(3, len(got)/3)
	for _, w := range words {
		p := plainWord(w)
		d := distance(plain, p)
		// A word cut short, or with an ending too many, is nearer than its length says.
		if len(plain) >= 4 && len(p) >= 4 && (strings.HasPrefix(p, plain) || strings.HasPrefix(plain, p)) {
			d = min(d, 1)
		}
		if d < least {
			best, least = w, d
		}
	}
	return best
}

// plainWord drops what people mix up without noticing.
func plainWord(s string) string {
	return strings.ToLower(strings.NewReplacer("_", "", "-", "", " ", "").Replace(s))
}

// distance counts the insertions, deletions, replacements and swaps of neighbours between two words.
func distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	before, last, row := make([]int, len(y)+1), make([]int, len(y)+1), make([]int, len(y)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(x); i++ {
		row[0] = i
		for j := 1; j <= len(y); j++ {
			cost := 1
			if x[i-1] == y[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(y)]
}
