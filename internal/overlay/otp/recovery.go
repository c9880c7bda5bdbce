package otp

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"strings"
)

// A recovery code has 16 characters of five bits each: 80 bits, drawn at random. One SHA-256 without a salt stands for it:
// so many bits are not tried out, and a code serves once.
const (
	recoveryLength = 16
	recoveryGroup  = 4
	recoveryScheme = "{SHA256}"
	// alphabet leaves out what is mistaken for something else: 0 o 1 l.
	alphabet = "abcdefghijkmnpqrstuvwxyz23456789"
)

// makeRecovery draws n recovery codes; shown is one a line.
func makeRecovery(random io.Reader, n int) (shown []byte, stored [][]byte, err error) {
	draw := make([]byte, recoveryLength)
	for range n {
		if _, err := io.ReadFull(random, draw); err != nil {
			return nil, nil, fmt.Errorf("random octets for recovery codes: %w", err)
		}
		for i, b := range draw {
			draw[i] = alphabet[int(b)%len(alphabet)]
			if i > 0 && i%recoveryGroup == 0 {
				shown = append(shown, '-')
			}
			shown = append(shown, draw[i])
		}
		shown = append(shown, '\n')
		stored = append(stored, recoveryForm(draw))
	}
	return bytes.TrimSuffix(shown, []byte{'\n'}), stored, nil
}

// recoveryForm returns what is stored of a recovery code without hyphens.
func recoveryForm(plain []byte) []byte {
	sum := sha256.Sum256(plain)
	return append([]byte(recoveryScheme), base64.StdEncoding.EncodeToString(sum[:])...)
}

// cutRecovery takes a recovery code off the end of what was given for a password, hyphens in it or not. ok is false where
// there is none, or nothing before it.
func cutRecovery(given []byte) (password, plain []byte, ok bool) {
	plain = make([]byte, recoveryLength)
	left := recoveryLength
	for i := len(given) - 1; i > 0; i-- {
		c := given[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c == '-' && left < recoveryLength {
			continue
		}
		if strings.IndexByte(alphabet, c) < 0 {
			return nil, nil, false
		}
		left--
		if plain[left] = c; left == 0 {
			return given[:i], plain, true
		}
	}
	return nil, nil, false
}

// cutDigits takes a code of digits off the end.
func cutDigits(given []byte, digits int) (password, code []byte, ok bool) {
	at := len(given) - digits
	if at <= 0 {
		return nil, nil, false
	}
	for _, c := range given[at:] {
		if c < '0' || c > '9' {
			return nil, nil, false
		}
	}
	return given[:at], given[at:], true
}
