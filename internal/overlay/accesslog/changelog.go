package accesslog

import (
	"encoding/base64"
	"strconv"

	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/internal/schema"
	"portolan/ldap"
)

// changelogEntry is an entry of draft-good-ldap-changelog. Its attribute changes has LDIF without the name, as the servers in
// use have it. Attributes that only a server writes are left out of it, but for those that say who and when: a reader that
// repeats the changes on another server could not write them.
func (r *reader) changelogEntry(c *change) *op.TreeEntry {
	number := strconv.FormatUint(c.number, 10)
	te := &op.TreeEntry{ID: c.number + 1, Change: c.number, DN: "changeNumber=" + number + "," + r.dn}
	target := c.OldDN
	if target == "" {
		target = c.NewDN
	}
	te.Attrs = append(te.Attrs,
		op.Text("objectClass", "top", "changeLogEntry"),
		op.Text("changeNumber", number),
		op.Text("targetDN", target),
		op.Text("changeType", c.Kind.String()),
		op.Text("changeTime", c.record.Time.UTC().Format("20060102150405Z")),
		op.Text("targetUniqueID", c.UUID.String()),
		op.Text("targetEntryUUID", c.UUID.String()),
		op.Text("structuralObjectClass", "changeLogEntry"),
	)
	te.Attrs = append(te.Attrs, r.common(c, "changeInitiatorsName")...)
	var text []byte
	switch c.Kind {
	case dit.ChangeAdd:
		for _, d := range r.deltas(c) {
			if shown(d.desc) {
				text = appendLines(text, d.Description, d.Added)
			}
		}
	case dit.ChangeModify:
		text = appendMods(text, r.deltas(c))
	case dit.ChangeRename:
		n := r.renamed(c)
		te.Attrs = append(te.Attrs, op.Text("newRDN", n.newRDN), op.Text("deleteOldRDN", truth(n.deleteOld)))
		if n.moved {
			te.Attrs = append(te.Attrs, op.Text("newSuperior", n.newSuperior))
		}
		text = appendMods(text, n.rest)
	}
	if len(text) > 0 {
		te.Attrs = append(te.Attrs, op.TreeAttr{Name: "changes", Values: [][]byte{text}})
	}
	return te
}

// common are the attributes of the server that both logs have. initiator is the attribute for who made the change.
func (r *reader) common(c *change, initiator string) []op.TreeAttr {
	attrs := []op.TreeAttr{
		op.Text("entryUUID", r.uuid(c.number).String()),
		op.Text("entryCSN", c.CSN.String()),
		op.Text("createTimestamp", c.record.Time.UTC().Format("20060102150405Z")),
	}
	if author := c.record.Meta.Author; author != "" {
		if _, err := ldap.ParseDN(author); err == nil {
			attrs = append(attrs, op.Text(initiator, author), op.Text("creatorsName", author))
		}
	}
	return attrs
}

// shown reports whether a change log has the attribute.
func shown(d schema.Description) bool {
	if !d.Type.NoUserModification {
		return true
	}
	switch d.Type.Name() {
	case "creatorsName", "createTimestamp", "modifiersName", "modifyTimestamp":
		return true
	}
	return false
}

func truth(b bool) string {
	if b {
		return "TRUE"
	}
	return "FALSE"
}

// appendMods appends modifications as RFC 2849 has them.
func appendMods(dst []byte, deltas []delta) []byte {
	var visible []delta
	for _, d := range deltas {
		if shown(d.desc) {
			visible = append(visible, d)
		}
	}
	words := map[byte]string{'+': "add: ", '-': "delete: ", '=': "replace: "}
	for _, m := range mods(visible) {
		dst = append(append(append(dst, words[m.op]...), m.name...), '\n')
		dst = append(appendLines(dst, m.name, m.values), "-\n"...)
	}
	return dst
}

// appendLines appends attrval-specs, unfolded.
func appendLines(dst []byte, name string, values [][]byte) []byte {
	for _, v := range values {
		dst = append(dst, name...)
		if safe(v) {
			dst = append(append(dst, ": "...), v...)
		} else {
			dst = base64.StdEncoding.AppendEncode(append(dst, ":: "...), v)
		}
		dst = append(dst, '\n')
	}
	return dst
}

// safe reports whether a value is a SAFE-STRING that no reader takes for anything else.
func safe(v []byte) bool {
	if len(v) == 0 {
		return true
	}
	if v[0] == ' ' || v[0] == ':' || v[0] == '<' || v[len(v)-1] == ' ' {
		return false
	}
	for _, c := range v {
		if c == 0 || c == '\n' || c == '\r' || c >= 0x80 {
			return false
		}
	}
	return true
}
