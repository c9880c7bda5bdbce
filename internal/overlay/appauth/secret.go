package appauth

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"strings"
)

// An application password has 28 characters of five bits each, 140 bits, in groups of four. What is drawn from so many can
// neither be guessed nor tried out against a stolen hash, so that one SHA-256 without a salt stands for it: it is the
// slowness of Argon2 that makes up for the few bits of a password that a person has chosen, and there is nothing to make
// up for here. Without a salt one hash is compared with all application passwords of an account.
const (
	secretLength = 28
	groupLength  = 4
	// alphabet leaves out what is mistaken for something else: 0 o 1 l.
	alphabet = "abcdefghijkmnpqrstuvwxyz23456789"
	// scheme is the form of what is stored, one that package credential compares.
	scheme = "{SHA256}"
)

// Make draws an application password. shown is what the user is given, stored what portolanCredentialSecret has.
func Make(random io.Reader) (shown string, stored []byte, err error) {
	var draw [secretLength]byte
	if _, err := io.ReadFull(random, draw[:]); err != nil {
		return "", nil, fmt.Errorf("random octets for an application password: %w", err)
	}
	plain := make([]byte, secretLength)
	var out strings.Builder
	for i, b := range draw {
		plain[i] = alphabet[int(b)%len(alphabet)]
		if i > 0 && i%groupLength == 0 {
			out.WriteByte('-')
		}
		out.WriteByte(plain[i])
	}
	return out.String(), storedForm(plain), nil
}

// canonical returns what an application password is hashed as: without hyphens and blanks, which people leave out or put
// in, and in lower case. ok is false for what cannot be one.
func canonical(password []byte) (plain []byte, ok bool) {
	if len(password) < secretLength || len(password) > 2*secretLength {
		return nil, false
	}
	plain = make([]byte, 0, secretLength)
	for _, c := range password {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		switch {
		case c == '-' || c == ' ':
		case strings.IndexByte(alphabet, c) < 0 || len(plain) == secretLength:
			return nil, false
		default:
			plain = append(plain, c)
		}
	}
	return plain, len(plain) == secretLength
}

// storedForm returns what is stored of a canonical application password.
func storedForm(plain []byte) []byte {
	sum := sha256.Sum256(plain)
	out := append(make([]byte, 0, len(scheme)+base64.StdEncoding.EncodedLen(len(sum))), scheme...)
	return base64.StdEncoding.AppendEncode(out, sum[:])
}
