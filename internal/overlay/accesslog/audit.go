package accesslog

import (
	"strconv"
	"time"

	"portolan/internal/dit"
	"portolan/internal/op"
)

// accesslogEntry is an entry as slapo-accesslog writes it. The journal has what was done: reads and what failed are not in
// it, so that reqResult is 0, and the time is one moment.
func (r *reader) accesslogEntry(c *change) *op.TreeEntry {
	start := r.start(c)
	te := &op.TreeEntry{ID: c.number + 1, Change: c.number, DN: "reqStart=" + start + "," + r.dn}
	target := c.OldDN
	if target == "" {
		target = c.NewDN
	}
	session := c.record.Meta.Session
	if session == "" {
		session = "internal"
	}
	class := [...]string{dit.ChangeAdd: "auditAdd", dit.ChangeModify: "auditModify", dit.ChangeRename: "auditModRDN", dit.ChangeDelete: "auditDelete"}[c.Kind]
	te.Attrs = append(te.Attrs,
		op.Text("objectClass", "top", "auditObject", "auditWriteObject", class),
		op.Text("structuralObjectClass", class),
		op.Text("reqStart", start),
		op.Text("reqEnd", c.record.Time.UTC().Format(generalTime)+"Z"),
		op.Text("reqType", c.Kind.String()),
		op.Text("reqSession", session),
		op.Text("reqDN", target),
		op.Text("reqResult", "0"),
		op.Text("reqEntryUUID", c.UUID.String()),
	)
	te.Attrs = append(te.Attrs, r.common(c, "reqAuthzID")...)
	var mod, old [][]byte
	switch c.Kind {
	case dit.ChangeAdd:
		for _, d := range r.deltas(c) {
			mod = appendMarked(mod, d.Description, '+', d.Added)
		}
	case dit.ChangeDelete:
		for _, d := range r.deltas(c) {
			old = appendOld(old, d)
		}
	case dit.ChangeModify:
		deltas := r.deltas(c)
		mod, old = changed(deltas)
	case dit.ChangeRename:
		n := r.renamed(c)
		te.Attrs = append(te.Attrs, op.Text("reqNewRDN", n.newRDN), op.Text("reqDeleteOldRDN", truth(n.deleteOld)))
		if n.moved {
			te.Attrs = append(te.Attrs, op.Text("reqNewSuperior", n.newSuperior))
		}
		mod, old = changed(n.rest)
	}
	if len(mod) > 0 {
		te.Attrs = append(te.Attrs, op.TreeAttr{Name: "reqMod", Values: mod})
	}
	if len(old) > 0 {
		te.Attrs = append(te.Attrs, op.TreeAttr{Name: "reqOld", Values: old})
	}
	return te
}

// changed are reqMod and reqOld of modifications. Values that have gone are those of reqOld.
func changed(deltas []delta) (mod, old [][]byte) {
	for _, m := range mods(deltas) {
		mod = appendMarked(mod, m.name, m.op, m.values)
	}
	for _, d := range deltas {
		old = appendOld(old, d)
	}
	return mod, old
}

// appendMarked appends values of reqMod: the attribute, a colon, the sort of modification, and the value.
func appendMarked(dst [][]byte, name string, sort byte, values [][]byte) [][]byte {
	head := append([]byte(name), ':', sort)
	if len(values) == 0 {
		return append(dst, head)
	}
	for _, v := range values {
		dst = append(dst, append(append(head[:len(head):len(head)], ' '), v...))
	}
	return dst
}

// appendOld appends values of reqOld.
func appendOld(dst [][]byte, d delta) [][]byte {
	for _, v := range d.Deleted {
		dst = append(dst, append([]byte(d.Description+": "), v...))
	}
	return dst
}

// start is reqStart, which names the entry: the time of the transaction, and digits behind the microseconds where several
// changes have the same. In a copy of other servers' content times come from there and say nothing of the order; there the
// digits are those of the record.
func (r *reader) start(c *change) string {
	csn := &c.record.CSN
	text := time.UnixMicro(csn.Micros).UTC().AppendFormat(nil, generalTime)
	switch {
	case !r.Journal.Ordered():
		text = digits(text, uint64(csn.Count), 8)
		text = digits(digits(text, c.record.Seq, 16), uint64(c.index)+1, 8)
	case csn.Count != 0 || c.index != 0:
		text = digits(digits(text, uint64(csn.Count), 8), uint64(c.index), 8)
	}
	return string(append(text, 'Z'))
}

func digits(dst []byte, v uint64, width int) []byte {
	text := strconv.FormatUint(v, 10)
	for i := len(text); i < width; i++ {
		dst = append(dst, '0')
	}
	return append(dst, text...)
}
