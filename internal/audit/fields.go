package audit

import (
	"strconv"
	"time"
	"unicode/utf8"

	"portolan/internal/op"
)

// timeLayout is that of every time in the log: UTC, microseconds.
const timeLayout = "2006-01-02T15:04:05.000000Z"

// begin appends the first two fields of a line's body. The order matters: readers look for the event behind the time.
func begin(b []byte, at time.Time, event string) []byte {
	b = appendTime(append(b, `"time":"`...), at)
	b = append(b, `","event":"`...)
	return append(append(b, event...), '"')
}

func key(b []byte, name string) []byte {
	return append(append(append(b, `,"`...), name...), `":`...)
}

// str appends a string field; the value is cut at maxText.
func str[T ~string | ~[]byte](b []byte, name string, value T) []byte {
	return quote(key(b, name), value)
}

func num(b []byte, name string, value uint64) []byte {
	return strconv.AppendUint(key(b, name), value, 10)
}

// maxText bounds a string value in octets of input, so that maxLine holds whatever a client sends: each octet becomes at
// most six.
const maxText = 2048

const hexDigits = "0123456789abcdef"

// quote appends a JSON string (RFC 8259 section 7). What is not UTF-8 becomes U+FFFD.
func quote[T ~string | ~[]byte](b []byte, s T) []byte {
	text := string(s)
	if len(text) > maxText {
		cut := maxText
		for cut > maxText-utf8.UTFMax && !utf8.RuneStart(text[cut]) {
			cut--
		}
		text = text[:cut] + "..."
	}
	b = append(b, '"')
	from := 0
	for i := 0; i < len(text); {
		c := text[i]
		if c >= 0x20 && c < 0x7f && c != '"' && c != '\\' {
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(text[i:])
		if r >= 0xa0 && r != utf8.RuneError && r != 0x2028 && r != 0x2029 {
			i += size
			continue
		}
		b = append(b, text[from:i]...)
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', c)
		case r == utf8.RuneError && size <= 1:
			b = append(b, `\ufffd`...)
		default:
			b = append(b, '\\', 'u', hexDigits[r>>12&15], hexDigits[r>>8&15], hexDigits[r>>4&15], hexDigits[r&15])
		}
		i += size
		from = i
	}
	return append(append(b, text[from:]...), '"')
}

// maxList bounds a list in octets of input, with one more item than that at most.
const maxList = 4096

// list appends a list of strings.
func list(b []byte, name string, n int, item func(b []byte, i int) []byte) []byte {
	b = append(key(b, name), '[')
	start := len(b)
	for i := range n {
		if i > 0 {
			b = append(b, ',')
		}
		if len(b)-start > maxList {
			b = append(b, `"... `...)
			b = append(strconv.AppendInt(b, int64(n-i), 10), ` more"`...)
			break
		}
		b = item(b, i)
	}
	return append(b, ']')
}

// where appends where an operation came from.
func where(b []byte, c *op.Conn) []byte {
	b = num(b, "conn", c.ID)
	switch {
	case c.Remote.IsValid():
		b = key(b, "from")
		b = append(c.Remote.AppendTo(append(b, '"')), '"')
	case c.Peer != nil:
		b = key(b, "from")
		b = strconv.AppendInt(append(b, `"unix uid=`...), int64(c.Peer.UID), 10)
		b = append(strconv.AppendInt(append(b, " pid="...), int64(c.Peer.PID), 10), '"')
	default:
		b = str(b, "from", string(c.Transport))
	}
	b = str(b, "via", c.Listener)
	if s := c.TLS(); s != nil {
		b = str(b, "tls", tlsVersion(s.Version))
	}
	return b
}

// tlsVersion is short for tls.VersionName, which every reader has to read.
func tlsVersion(v uint16) string {
	if v >= 0x0301 && v <= 0x030f {
		return "1." + strconv.Itoa(int(v-0x0301))
	}
	return "unknown"
}

// who appends as whom an operation was done.
func who(b []byte, id *op.Identity) []byte {
	if id == nil || id.IsAnonymous() && id.Proxied == nil {
		return str(b, "who", "")
	}
	if id.Proxied != nil {
		b = who(b, id.Proxied)
		return str(b, "authzid", "dn:"+id.Name.DN)
	}
	b = str(b, "who", id.Name.DN)
	if id.Method != "" {
		b = str(b, "method", id.Method)
	}
	if id.Apart != "" {
		b = str(b, "credential", id.Apart)
	}
	return b
}
