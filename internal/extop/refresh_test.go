package extop

import (
	"testing"

	"portolan/ldap"
)

// FuzzRefresh: a value is a name and a time in bounds, or a result that RFC 2589 knows.
func FuzzRefresh(f *testing.F) {
	f.Add([]byte("\x30\x06\x80\x01x\x81\x01\x05"), true)
	f.Add([]byte("\x30\x06\x80\x01x\x81\x01\x00"), true)
	f.Add([]byte(nil), false)
	f.Fuzz(func(t *testing.T, value []byte, has bool) {
		_, ask, err := parseRefresh(value, has)
		switch code := ldap.CodeOf(err); {
		case err == nil && (ask < 1 || ask > maxTTL):
			t.Errorf("%d seconds", ask)
		case err != nil && code != ldap.ProtocolError && code != ldap.SizeLimitExceeded:
			t.Error(err)
		}
	})
}
