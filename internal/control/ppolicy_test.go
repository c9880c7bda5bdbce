package control

import (
	"bytes"
	"testing"
	"time"

	"portolan/internal/op"
)

// TestPolicyReply holds the encoding to the octets of draft-behera-ldap-password-policy-11 section 6.2.
func TestPolicyReply(t *testing.T) {
	for _, x := range []struct {
		reply op.PolicyReply
		want  string
	}{
		{op.PolicyReply{Error: op.NoPolicyError, Expires: -1, Grace: -1}, "\x30\x00"},
		{op.PolicyReply{Error: op.PasswordExpired, Expires: -1, Grace: -1}, "\x30\x03\x81\x01\x00"},
		{op.PolicyReply{Error: op.PasswordTooLong, Expires: -1, Grace: -1}, "\x30\x03\x81\x01\x09"},
		{op.PolicyReply{Error: op.NoPolicyError, Expires: 200 * time.Second, Grace: -1}, "\x30\x06\xa0\x04\x80\x02\x00\xc8"},
		{op.PolicyReply{Error: op.NoPolicyError, Expires: 999 * time.Millisecond, Grace: -1}, "\x30\x05\xa0\x03\x80\x01\x00"},
		{op.PolicyReply{Error: op.NoPolicyError, Expires: -1, Grace: 0}, "\x30\x05\xa0\x03\x81\x01\x00"},
		{op.PolicyReply{Error: op.ChangeAfterReset, Expires: 5 * time.Second, Grace: -1}, "\x30\x08\xa0\x03\x80\x01\x05\x81\x01\x02"},
		// A warning is a choice of one.
		{op.PolicyReply{Error: op.NoPolicyError, Expires: 5 * time.Second, Grace: 2}, "\x30\x05\xa0\x03\x81\x01\x02"},
		{op.PolicyReply{Error: op.NoPolicyError, Expires: 1 << 62, Grace: -1}, "\x30\x08\xa0\x06\x80\x04\x7f\xff\xff\xff"},
	} {
		if got := appendPolicyReply(nil, &x.reply); !bytes.Equal(got, []byte(x.want)) {
			t.Errorf("%+v: % x, want % x", x.reply, got, x.want)
		}
	}
}

// TestUsability holds the encoding to that of Sun Directory Server and slapd.
func TestUsability(t *testing.T) {
	for _, x := range []struct {
		u    op.Usability
		want string
	}{
		{op.Usability{Grace: -1, UnlockIn: -1, Expires: -1}, "\x80\x01\xff"},
		{op.Usability{Grace: -1, UnlockIn: -1, Expires: 300 * time.Second}, "\x80\x02\x01\x2c"},
		{op.Usability{Inactive: true, Grace: -1, UnlockIn: 60 * time.Second, Expires: -1}, "\xa1\x0c\x80\x01\xff\x81\x01\x00\x82\x01\x00\x84\x01\x3c"},
		{op.Usability{Expired: true, Reset: true, Grace: 2, UnlockIn: -1, Expires: -1}, "\xa1\x0c\x80\x01\x00\x81\x01\xff\x82\x01\xff\x83\x01\x02"},
	} {
		if got := appendUsability(nil, &x.u); !bytes.Equal(got, []byte(x.want)) {
			t.Errorf("%+v: % x, want % x", x.u, got, x.want)
		}
	}
}
