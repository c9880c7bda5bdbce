package sasl

import (
	"encoding/base64"
	"errors"
	"strings"
	"unicode/utf8"
)

// bindFlag is what a client says about channel binding (RFC 5802 section 7, gs2-cbind-flag).
type bindFlag byte

const (
	bindNone      bindFlag = 'n' // the client has none
	bindUnoffered bindFlag = 'y' // it has, and thinks that the server has not
	bindUsed      bindFlag = 'p' // it uses it
)

// clientFirst is the client-first-message of RFC 5802 section 7.
type clientFirst struct {
	flag    bindFlag
	binding string // the type, where flag is bindUsed
	authz   string
	user    string
	nonce   string
	header  string // the gs2-header as it was sent
	bare    string // what follows
}

// clientFinal is the client-final-message.
type clientFinal struct {
	binding      []byte // gs2-header and channel binding data
	nonce        string
	proof        []byte
	withoutProof string
}

// maxScramMessage is the greatest length of a message of a client in octets.
const maxScramMessage = 16 << 10

// Errors of messages. They say nothing of what a message holds.
var (
	errScramText      = errors.New("it is not UTF-8, has a NUL or is too long")
	errScramFlag      = errors.New("the channel binding flag is not n, y or p= with a type")
	errScramAuthz     = errors.New("the authorization identity is not of the form a=name")
	errScramMandatory = errors.New("it has a mandatory extension, and none is supported")
	errScramUser      = errors.New("the user name is not of the form n=name")
	errScramNonce     = errors.New("the nonce is not of the form r=printable characters")
	errScramExtension = errors.New("an extension is not of the form letter=value")
	errScramBinding   = errors.New("the channel binding is not of the form c=base64")
	errScramProof     = errors.New("it does not end with p=base64")
)

// scramText returns a message as text.
func scramText(message []byte) (string, error) {
	if len(message) > maxScramMessage || !utf8.Valid(message) || strings.IndexByte(string(message), 0) >= 0 {
		return "", errScramText
	}
	return string(message), nil
}

func parseClientFirst(message []byte) (*clientFirst, error) {
	text, err := scramText(message)
	if err != nil {
		return nil, err
	}
	flag, rest, ok := strings.Cut(text, ",")
	f := &clientFirst{}
	switch name, used := strings.CutPrefix(flag, "p="); {
	case used && isBindingName(name):
		f.flag, f.binding = bindUsed, name
	case flag == "n" || flag == "y":
		f.flag = bindFlag(flag[0])
	default:
		return nil, errScramFlag
	}
	authz, bare, ok2 := strings.Cut(rest, ",")
	if !ok || !ok2 {
		return nil, errScramAuthz
	}
	if authz != "" {
		name, given := strings.CutPrefix(authz, "a=")
		if f.authz, ok = saslName(name); !ok || !given {
			return nil, errScramAuthz
		}
	}
	f.header, f.bare = text[:len(text)-len(bare)], bare
	if strings.HasPrefix(bare, "m=") {
		return nil, errScramMandatory
	}
	fields := strings.Split(bare, ",")
	name, given := strings.CutPrefix(fields[0], "n=")
	if f.user, ok = saslName(name); !ok || !given {
		return nil, errScramUser
	}
	if len(fields) < 2 {
		return nil, errScramNonce
	}
	if f.nonce, ok = strings.CutPrefix(fields[1], "r="); !ok || !isPrintable(f.nonce) {
		return nil, errScramNonce
	}
	return f, checkExtensions(fields[2:])
}

func parseClientFinal(message []byte) (*clientFinal, error) {
	text, err := scramText(message)
	if err != nil {
		return nil, err
	}
	end := strings.LastIndex(text, ",p=")
	if end < 0 {
		return nil, errScramProof
	}
	f := &clientFinal{withoutProof: text[:end]}
	if f.proof, err = base64.StdEncoding.Strict().DecodeString(text[end+len(",p="):]); err != nil || len(f.proof) == 0 {
		return nil, errScramProof
	}
	fields := strings.Split(f.withoutProof, ",")
	binding, ok := strings.CutPrefix(fields[0], "c=")
	if f.binding, err = base64.StdEncoding.Strict().DecodeString(binding); err != nil || !ok || len(f.binding) == 0 {
		return nil, errScramBinding
	}
	if len(fields) < 2 {
		return nil, errScramNonce
	}
	if f.nonce, ok = strings.CutPrefix(fields[1], "r="); !ok || !isPrintable(f.nonce) {
		return nil, errScramNonce
	}
	return f, checkExtensions(fields[2:])
}

// checkExtensions demands the form of extensions; they are optional ones and mean nothing here.
func checkExtensions(fields []string) error {
	for _, x := range fields {
		if len(x) < 3 || x[1] != '=' || !isLetter(x[0]) {
			return errScramExtension
		}
	}
	return nil
}

// saslName decodes a saslname: "=2C" is a comma, "=3D" an equals sign, and "=" nothing else.
func saslName(s string) (string, bool) {
	if s == "" || len(s) > 3*maxName {
		return "", false
	}
	if strings.IndexByte(s, '=') < 0 {
		return s, len(s) <= maxName
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '=' {
			b.WriteByte(s[i])
			continue
		}
		switch {
		case strings.HasPrefix(s[i:], "=2C"):
			b.WriteByte(',')
		case strings.HasPrefix(s[i:], "=3D"):
			b.WriteByte('=')
		default:
			return "", false
		}
		i += 2
	}
	return b.String(), b.Len() <= maxName
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

// isBindingName is cb-name.
func isBindingName(s string) bool {
	for i := range len(s) {
		if c := s[i]; !isLetter(c) && (c < '0' || c > '9') && c != '.' && c != '-' {
			return false
		}
	}
	return s != ""
}

// isPrintable is a nonce: ASCII without blanks and commas.
func isPrintable(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < 0x21 || c > 0x7e || c == ',' {
			return false
		}
	}
	return s != ""
}
