package ldaptest

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"hash"
	"math"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Code is what an authenticator shows for an otpauth URI at a time (RFC 6238), steps later.
func Code(uri string, at time.Time, steps int64) (string, error) {
	u, err := url.Parse(uri)
	if err != nil || u.Scheme != "otpauth" || u.Host != "totp" {
		return "", fmt.Errorf("%q is not an otpauth URI of a token of time-based codes", uri)
	}
	q := u.Query()
	seed, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(q.Get("secret"))
	if err != nil {
		return "", err
	}
	digits, err := strconv.Atoi(q.Get("digits"))
	if err != nil {
		return "", err
	}
	period, err := strconv.ParseInt(q.Get("period"), 10, 64)
	if err != nil || period <= 0 {
		return "", fmt.Errorf("the period of %q is none", uri)
	}
	mac := hmac.New(map[string]func() hash.Hash{"SHA1": sha1.New, "SHA256": sha256.New, "SHA512": sha512.New}[q.Get("algorithm")], seed)
	if err := binary.Write(mac, binary.BigEndian, at.Unix()/period+steps); err != nil {
		return "", err
	}
	sum := mac.Sum(nil)
	n := binary.BigEndian.Uint32(sum[sum[len(sum)-1]&15:]) & math.MaxInt32
	return fmt.Sprintf("%0*d", digits, uint64(n)%uint64(math.Pow10(digits))), nil
}

// derive makes variables of others: "totp $uri NAME [STEPS]" is the code of a token now or some steps later, "lines $text NAME"
// the lines of a text, as NAME1, NAME2 and so on.
func (d *dialogue) derive(s *step) error {
	r, err := d.take(s)
	if err != nil {
		return err
	}
	if len(r.args) < 2 {
		return fmt.Errorf("write what it is made of, and the name of the variable")
	}
	from, name := r.args[0], r.args[1]
	if s.verb == "lines" {
		for i, line := range strings.Split(from, "\n") {
			d.vars[name+strconv.Itoa(i+1)] = line
		}
		return nil
	}
	var steps int64
	if len(r.args) > 2 {
		if steps, err = strconv.ParseInt(r.args[2], 10, 64); err != nil {
			return err
		}
	}
	d.vars[name], err = Code(from, d.s.clock.Now(), steps)
	return err
}
