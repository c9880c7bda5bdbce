package sasl

import (
	"strings"
	"testing"
)

// FuzzScramMessages demands that no message panics, that what is taken is put together of what was sent, and that a name that
// is encoded again is the same.
func FuzzScramMessages(f *testing.F) {
	f.Add([]byte("n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL"))
	f.Add([]byte("p=tls-exporter,a=u:x=2Cy,n=us=3Der,r=abc,x=1"))
	f.Add([]byte("c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts="))
	f.Fuzz(func(t *testing.T, message []byte) {
		if first, err := parseClientFirst(message); err == nil {
			if first.header+first.bare != string(message) || first.user == "" || first.nonce == "" {
				t.Errorf("%q: %+v", message, first)
			}
			encoded := strings.ReplaceAll(strings.ReplaceAll(first.user, "=", "=3D"), ",", "=2C")
			if again, ok := saslName(encoded); !ok || again != first.user {
				t.Errorf("%q is encoded as %q, which is %q", first.user, encoded, again)
			}
		}
		if last, err := parseClientFinal(message); err == nil {
			if !strings.HasPrefix(string(message), last.withoutProof+",p=") || last.nonce == "" || len(last.binding) == 0 {
				t.Errorf("%q: %+v", message, last)
			}
		}
	})
}
