package credential

import (
	"strings"
	"unicode/utf8"

	"github.com/ccojocar/zxcvbn-go"
	"github.com/ccojocar/zxcvbn-go/matching"
)

const (
	strengthMaxRunes = 72
	strengthMaxWords = 32
	strengthMinWord  = 3
)

// Strength estimates how hard a password is to guess by the method of zxcvbn, from 0 (too guessable) over 2 (somewhat
// guessable) to 4 (very hard). words are what a guesser would try for this user, such as uid, names and mail; the
// first 32 of them count, and their parts. Of the password the first 72 characters count. It takes up to some tens of
// milliseconds for a long password and belongs into a Pool.
func Strength(password string, words []string) int {
	password = firstRunes(strings.ToValidUTF8(password, "\uFFFD"), strengthMaxRunes)
	if password == "" {
		return 0
	}
	guesses := guesserWords(words)
	score := estimate(password, guesses)
	// The library's own search for l33t spelling takes seconds for a hostile password: here it is two fixed readings.
	for _, reading := range []*strings.Replacer{leetI, leetL} {
		if plain := reading.Replace(password); plain != password && score > 0 {
			score = min(score, estimate(plain, guesses))
		}
	}
	return score
}

func estimate(password string, words []string) int {
	return min(4, max(0, zxcvbn.PasswordStrength(password, words, matching.FilterL33tMatcher).Score))
}

var (
	leetI = strings.NewReplacer("4", "a", "@", "a", "8", "b", "(", "c", "3", "e", "6", "g", "9", "g", "1", "i", "!", "i",
		"|", "i", "0", "o", "$", "s", "5", "s", "+", "t", "7", "t", "2", "z")
	leetL = strings.NewReplacer("4", "a", "@", "a", "8", "b", "(", "c", "3", "e", "6", "g", "9", "g", "1", "l", "!", "i",
		"|", "l", "0", "o", "$", "s", "5", "s", "+", "t", "7", "l", "2", "z")
)

// guesserWords lower-cases the words and adds the parts of those that have several, such as a mail address.
func guesserWords(words []string) []string {
	out := make([]string, 0, 2*min(len(words), strengthMaxWords))
	for _, w := range words[:min(len(words), strengthMaxWords)] {
		w = strings.ToLower(firstRunes(strings.ToValidUTF8(w, ""), strengthMaxRunes))
		parts := strings.FieldsFunc(w, func(r rune) bool { return strings.ContainsRune(" @.,;:=-_+/", r) })
		if len(parts) != 1 || parts[0] != w {
			parts = append(parts, w)
		}
		for _, p := range parts {
			if utf8.RuneCountInString(p) >= strengthMinWord && len(out) < 4*strengthMaxWords {
				out = append(out, p)
			}
		}
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
