package credential

import (
	"fmt"
	"io"
)

const (
	// GeneratedLength is the length of generated passwords unless a caller wants another: about 93 bits.
	GeneratedLength = 16

	generateMin = 12
	generateMax = 128
)

// alphabet leaves out what is mistaken for something else when read aloud or from paper: 0 O o 1 l I.
const alphabet = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"

// Generate returns a random password of length characters (12 to 128) from letters and digits that are not mistaken
// for each other, each equally likely, with at least one lower-case letter, one capital and one digit.
func Generate(rand io.Reader, length int) (string, error) {
	if length < generateMin || length > generateMax {
		return "", fmt.Errorf("a generated password must have %d to %d characters, not %d", generateMin, generateMax, length)
	}
	out := make([]byte, 0, length)
	var draw [64]byte
	// A password that lacks a class is thrown away, which is rare; the bound only ends a broken source of randomness.
	for range 4096 {
		if _, err := io.ReadFull(rand, draw[:]); err != nil {
			return "", fmt.Errorf("random bytes for a password: %w", err)
		}
		for _, b := range draw {
			// Bytes above the last whole multiple would make the first characters likelier.
			if int(b) < 256/len(alphabet)*len(alphabet) && len(out) < length {
				out = append(out, alphabet[int(b)%len(alphabet)])
			}
		}
		if len(out) < length {
			continue
		}
		var lower, upper, digit bool
		for _, c := range out {
			lower = lower || c >= 'a'
			upper = upper || c >= 'A' && c <= 'Z'
			digit = digit || c <= '9'
		}
		if lower && upper && digit {
			return string(out), nil
		}
		out = out[:0]
	}
	return "", fmt.Errorf("random bytes for a password: the source does not look random")
}
