package ldaptest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"portolan/ber"
	"portolan/ldap"
)

// policyErrors are the names of PasswordPolicyResponseValue.error, by number.
var policyErrors = [...]string{
	"passwordExpired", "accountLocked", "changeAfterReset", "passwordModNotAllowed", "mustSupplyOldPassword",
	"insufficientPasswordQuality", "passwordTooShort", "passwordTooYoung", "passwordInHistory", "passwordTooLong",
}

// number reads an integer of at least a value from an element with this tag, and leaves the reader where it is if it is not.
func number(r *ber.Reader, tag byte, least int64, n *int64) bool {
	at := *r
	if !at.Int(tag, n) || *n < least || *n > ldap.MaxMessageID {
		return false
	}
	*r = at
	return true
}

// policyWords writes a password policy response as dialogues expect it: "grace=N" or "expires=N", then the error.
func policyWords(value []byte) ([]string, error) {
	r := ber.Reader(value)
	var seq, warning ber.Reader
	var has bool
	if !r.Element(ber.Sequence, &seq) || !r.Empty() || !seq.Optional(ber.ContextSpecific|ber.Constructed|0, &warning, &has) {
		return nil, fmt.Errorf("the value % x is no PasswordPolicyResponseValue", value)
	}
	var words []string
	if has {
		var n int64
		switch {
		case number(&warning, ber.ContextSpecific|0, 0, &n):
			words = append(words, "expires="+strconv.FormatInt(n, 10))
		case number(&warning, ber.ContextSpecific|1, 0, &n):
			words = append(words, "grace="+strconv.FormatInt(n, 10))
		}
		if len(words) == 0 || !warning.Empty() {
			return nil, fmt.Errorf("the warning in % x is none", value)
		}
	}
	if !seq.Empty() {
		var n int64
		if !number(&seq, ber.ContextSpecific|1, 0, &n) || !seq.Empty() || n >= int64(len(policyErrors)) {
			return nil, fmt.Errorf("the error in % x is none", value)
		}
		words = append(words, policyErrors[n])
	}
	return words, nil
}

// usableWords writes an ACCOUNT_USABLE_RESPONSE: "usable=SECONDS", or what is against it.
func usableWords(value []byte) ([]string, error) {
	r := ber.Reader(value)
	var n int64
	if number(&r, ber.ContextSpecific|0, -1, &n) && r.Empty() {
		return []string{"usable=" + strconv.FormatInt(n, 10)}, nil
	}
	r = value
	var info ber.Reader
	var inactive, reset, expired bool
	wrong := fmt.Errorf("the value % x is no ACCOUNT_USABLE_RESPONSE", value)
	if !r.Element(ber.ContextSpecific|ber.Constructed|1, &info) || !r.Empty() || !info.Bool(ber.ContextSpecific|0, &inactive) ||
		!info.Bool(ber.ContextSpecific|1, &reset) || !info.Bool(ber.ContextSpecific|2, &expired) {
		return nil, wrong
	}
	var words []string
	for _, f := range []struct {
		name string
		is   bool
	}{{"inactive", inactive}, {"reset", reset}, {"expired", expired}} {
		if f.is {
			words = append(words, f.name)
		}
	}
	for i, name := range []string{"grace", "unlock"} {
		if number(&info, ber.ContextSpecific|byte(3+i), 0, &n) {
			words = append(words, name+"="+strconv.FormatInt(n, 10))
		}
	}
	if !info.Empty() {
		return nil, wrong
	}
	return words, nil
}

// policyValue compares a control of the password policy with the words that it should be, in any order. What stands behind
// a "=" may be a pattern.
func (d *dialogue) policyValue(words []word, got []string, err error) string {
	if err != nil {
		return err.Error()
	}
	rest := slices.Clone(got)
	for _, w := range words {
		at := slices.IndexFunc(rest, func(have string) bool {
			name, value, ok := strings.Cut(w.text, "=")
			haveName, haveValue, _ := strings.Cut(have, "=")
			return name == haveName && (!ok || d.matches(value, []byte(haveValue)))
		})
		if at < 0 {
			return fmt.Sprintf("the control says %q", strings.Join(got, " "))
		}
		rest = slices.Delete(rest, at, at+1)
	}
	if len(rest) > 0 {
		return fmt.Sprintf("the control says %q", strings.Join(got, " "))
	}
	return ""
}
