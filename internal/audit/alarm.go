package audit

import "portolan/internal/op"

// Alarm adds a line about what a client did, beyond that of its operation. It does not wait for it to be written. Where there
// are too many in one second they are counted by network, as refusals are. Names of fields are constants of the program; a
// field named dn is a name as it was sent.
func (t *Trail) Alarm(event string, c *op.Conn, fields ...Field) {
	now := t.o.Now()
	r := repeat{event: event, from: source(c), via: c.Listener}
	if len(fields) > 0 {
		r.op = fields[0].Text
	}
	t.add(func() bool { return t.refuse(r, now) }, func(b []byte) []byte {
		b = where(begin(b, now, event), c)
		for _, f := range fields {
			switch {
			case f.Text == "":
			case f.Name == "dn":
				b = str(b, "dn", t.o.Secret.showStrictly([]byte(f.Text)))
			default:
				b = str(b, f.Name, f.Text)
			}
		}
		return b
	})
}
