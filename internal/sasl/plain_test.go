package sasl

import (
	"bytes"
	"strings"
	"testing"
)

func TestParsePlain(t *testing.T) {
	long := strings.Repeat("n", 255)
	for _, x := range []struct {
		message, authz, user, password string
		bad                            bool
	}{
		{message: "\x00tim\x00tanstaaftanstaaf", user: "tim", password: "tanstaaftanstaaf"},
		{message: "Ursel\x00Kurt\x00xipj3plmq", authz: "Ursel", user: "Kurt", password: "xipj3plmq"},
		{message: "\x00mü\x00pä", user: "mü", password: "pä"},
		{message: long + "\x00" + long + "\x00" + long, authz: long, user: long, password: long},
		{bad: true},
		{message: "\x00", bad: true},
		{message: "\x00\x00", bad: true},
		{message: "\x00tim\x00", bad: true},
		{message: "\x00\x00secret", bad: true},
		{message: "tim\x00secret", bad: true},
		{message: "\x00tim\x00secret\x00", bad: true},
		{message: "\x00tim\xff\x00secret", bad: true},
		{message: strings.Repeat("n", maxName+1) + "\x00tim\x00secret", bad: true},
	} {
		authz, user, password, ok := parsePlain([]byte(x.message))
		if ok == x.bad || authz != x.authz || user != x.user || string(password) != x.password {
			t.Errorf("%.40q: %q, %q, %q, %v", x.message, authz, user, password, ok)
		}
	}
}

// FuzzParsePlain demands that what is taken is what the message says, and that its parts are of the form.
func FuzzParsePlain(f *testing.F) {
	f.Add([]byte("a\x00b\x00c"))
	f.Add([]byte("\x00b\x00c\x00"))
	f.Fuzz(func(t *testing.T, message []byte) {
		authz, user, password, ok := parsePlain(message)
		if !ok {
			return
		}
		if again := authz + "\x00" + user + "\x00" + string(password); again != string(message) {
			t.Errorf("%q became %q", message, again)
		}
		if user == "" || len(password) == 0 || bytes.IndexByte(password, 0) >= 0 || strings.Contains(authz+user, "\x00") {
			t.Errorf("%q: %q, %q, %q", message, authz, user, password)
		}
	})
}
