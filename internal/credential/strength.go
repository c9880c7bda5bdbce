package credential

import (
	"math"
	"strings"
	"sync"
	"unicode/utf8"
)

const (
	strengthMaxRunes = 72 // of a password, the rest does not count
	strengthMaxWords = 32 // that belong to the user
	strengthMinWord  = 3
)

// Estimator estimates how hard passwords are to guess by the method of zxcvbn (Wheeler, USENIX Security 2016): a password
// is covered with patterns that guessers try, and the cheapest cover counts. The zero value is ready; the lists of words
// are unpacked with its first use, which takes some ten milliseconds and a megabyte. It is safe for concurrent use.
type Estimator struct {
	once sync.Once
	dict dictionary
}

// Score rates a password from 0 (too guessable) over 2 (withstands guesses at a login without a limit) to 4 (very hard).
// words are what a guesser would try for this user, such as uid, names and mail; the first 32 of them count, and their
// parts. Of the password the first 72 characters count. It takes half a millisecond as a rule and ten at most.
func (e *Estimator) Score(password []byte, words []string) int {
	guesses := e.log10Guesses(string(password), words)
	for score, below := range [...]float64{3, 6, 8, 10} {
		if guesses < below {
			return score
		}
	}
	return 4
}

// log10Guesses returns the decimal logarithm of the number of guesses that a password takes.
func (e *Estimator) log10Guesses(password string, words []string) float64 {
	e.once.Do(e.dict.load)
	text := firstRunes(strings.ToValidUTF8(password, "\uFFFD"), strengthMaxRunes)
	if text == "" {
		return 0
	}
	c := newCover([]rune(text), &e.dict, guesserWords(words))
	return c.cheapest()
}

// cover gathers the patterns in a password.
type cover struct {
	runes []rune
	lower []rune
	dict  *dictionary
	own   map[string]int // the user's words by rank

	// guesses[i][j] is the log10 of the guesses for the cheapest pattern of runes i to j, inclusive; 0 for none.
	guesses [][]float64
	nested  bool // the unit of a repetition, in which repetitions are not looked for again
}

func newCover(runes []rune, dict *dictionary, own map[string]int) *cover {
	c := &cover{runes: runes, lower: []rune(strings.ToLower(string(runes))), dict: dict, own: own}
	if len(c.lower) != len(runes) {
		c.lower = runes // a letter whose lower case is longer: compared as it is
	}
	return c
}

// found notes a pattern.
func (c *cover) found(i, j int, guesses float64) {
	if i == 0 && j == len(c.runes)-1 {
		guesses = max(guesses, 0.1)
	} else if i == j {
		guesses = max(guesses, 1) // a part is not found by itself: it takes the guesser some tries
	} else {
		guesses = max(guesses, math.Log10(50))
	}
	if g := &c.guesses[i][j]; *g == 0 || guesses < *g {
		*g = guesses
	}
}

// cheapest returns the log10 of the guesses for the cheapest way to cover the password: for l patterns their product, times
// l! for their order, plus what the shorter ways cost that a guesser tries before.
func (c *cover) cheapest() float64 {
	n := len(c.runes)
	c.guesses = make([][]float64, n)
	for i := range c.guesses {
		c.guesses[i] = make([]float64, n)
	}
	c.match()
	// best[k][l] is the cheapest product for the first k runes in l patterns.
	best := make([][]float64, n+1)
	for k := range best {
		best[k] = make([]float64, n+1)
		for l := range best[k] {
			best[k][l] = math.Inf(1)
		}
	}
	best[0][0] = 0
	for end := 1; end <= n; end++ {
		for begin := 0; begin < end; begin++ {
			g := c.guesses[begin][end-1]
			if g == 0 {
				g = bruteForce(end - begin)
			}
			for l := 1; l <= begin+1; l++ {
				best[end][l] = min(best[end][l], best[begin][l-1]+g)
			}
		}
	}
	total := math.Inf(1)
	factorial := 0.0
	for l := 1; l <= n; l++ {
		factorial += math.Log10(float64(l))
		total = min(total, addLog10(factorial+best[n][l], 4*float64(l-1)))
	}
	return total
}

// bruteForce is for runes in which there is no pattern: ten guesses each, so that patterns that were not thought of are not
// held for random.
func bruteForce(n int) float64 {
	if n == 1 {
		return math.Log10(11)
	}
	return max(float64(n), math.Log10(51))
}

// addLog10 adds numbers by their logarithms.
func addLog10(a, b float64) float64 {
	if a < b {
		a, b = b, a
	}
	return a + math.Log10(1+math.Pow(10, b-a))
}

// guesserWords ranks the user's words and the parts of those that have several, such as a mail address.
func guesserWords(words []string) map[string]int {
	out := make(map[string]int)
	add := func(w string) {
		if _, there := out[w]; !there && utf8.RuneCountInString(w) >= strengthMinWord && len(out) < 4*strengthMaxWords {
			out[w] = len(out) + 1
		}
	}
	for _, w := range words[:min(len(words), strengthMaxWords)] {
		w = strings.ToLower(firstRunes(strings.ToValidUTF8(w, ""), 4*strengthMaxRunes))
		parts := strings.FieldsFunc(w, func(r rune) bool { return strings.ContainsRune(" @.,;:=-_+/", r) })
		add(w)
		for _, p := range parts {
			add(p)
		}
		add(strings.Join(parts, ""))
	}
	return out
}

func firstRunes(s string, n int) string {
	for i := range s {
		if n == 0 {
			return s[:i]
		}
		n--
	}
	return s
}
