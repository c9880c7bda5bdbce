package ldaptest

import (
	"fmt"
	"strings"

	"portolan/ldap"
)

// nextOf awaits one entry or reference of an operation that goes on, and compares it.
func (d *dialogue) nextOf(c *talker, s *step, id int32) error {
	if len(s.answer) == 0 {
		return fmt.Errorf("next wants an entry or a reference")
	}
	want := expected{expectLine: s.answer[0], parts: s.answer[1:]}
	var others []ldap.Message
	for {
		m, err := c.next()
		if err != nil {
			return err
		}
		if m.ID != id {
			others = append(others, m)
			continue
		}
		c.queue = append(others, c.queue...)
		// The end, which is still to come, is taken for granted.
		got := []ldap.Message{m, {ID: id, Op: &ldap.SearchResultDone{}}}
		end := expected{expectLine: expectLine{words: []word{{text: "success"}}}}
		if diffs := d.compare([]expected{want}, &end, got, ldap.TagSearchRequest); len(diffs) > 0 {
			d.t.Errorf("%s:%d: %s next: %s\ngot:\n%s", d.name, s.line, s.conn, strings.Join(diffs, "\n\t"), render(got[:1]))
		}
		return nil
	}
}
