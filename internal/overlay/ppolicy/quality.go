package ppolicy

import (
	"unicode"
	"unicode/utf8"

	"portolan/internal/op"
	"portolan/internal/schema"
)

// fault is what a password lacks.
type fault struct {
	why  op.PolicyError
	text string
}

// quality judges a new password in clear (draft section 8.2.5). Length comes first, so that a short password is told to be
// short.
func (x *ppolicy) quality(p *Policy, n *op.NewPassword) (*fault, error) {
	if p.CheckQuality == 0 {
		return nil, nil
	}
	switch length := utf8.RuneCount(n.Password); {
	case length < p.MinLength:
		return &fault{op.PasswordTooShort, "the password is too short"}, nil
	case p.MaxLength > 0 && length > p.MaxLength:
		return &fault{op.PasswordTooLong, "the password is too long"}, nil
	}
	if classes(n.Password) < p.MinClasses {
		return &fault{op.InsufficientPasswordQuality, "the password has too few kinds of characters: mix lower case, upper case, digits and others"}, nil
	}
	if p.CheckBreached && x.breached != nil {
		found, err := x.breached.Contains(n.Password)
		if err != nil {
			return nil, err
		}
		if found {
			return &fault{op.InsufficientPasswordQuality, "the password is in a list of passwords that attackers know"}, nil
		}
	}
	if p.MinStrength > 0 && x.strength.Score(n.Password, knownWords(n)) < p.MinStrength {
		return &fault{op.InsufficientPasswordQuality, "the password is too easy to guess: make it longer, or of words that do not belong together"}, nil
	}
	return nil, nil
}

// classes counts the kinds of characters in a password.
func classes(password []byte) int {
	var lower, upper, digit, other int
	for _, r := range string(password) {
		switch {
		case unicode.IsLower(r):
			lower = 1
		case unicode.IsUpper(r):
			upper = 1
		case unicode.IsDigit(r):
			digit = 1
		default:
			other = 1
		}
	}
	return lower + upper + digit + other
}

// knownWords are what a guesser would try first for this person.
func knownWords(n *op.NewPassword) (words []string) {
	known := &n.Reader.Schema().Known
	for _, t := range []*schema.AttributeType{
		known.UID, known.CN, known.SN, known.GivenName, known.DisplayName, known.Mail, known.O, known.TelephoneNumber,
	} {
		if t == nil {
			continue
		}
		for _, v := range n.Attribute(t) {
			words = append(words, string(v))
		}
	}
	return append(words, n.Name.DN)
}
