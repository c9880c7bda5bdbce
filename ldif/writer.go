package ldif

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"strings"

	"portolan/ldap"
)

// WriterOptions shape what is written.
type WriterOptions struct {
	// Width is the column at which lines are folded; 0 is 76, as RFC 2849 has it, a negative one does not fold.
	Width int
	// Version begins the output with "version: 1".
	Version bool
}

// Writer writes records. It is for one goroutine. After an error of the underlying writer every call returns it.
type Writer struct {
	out   *bufio.Writer
	width int
	opts  WriterOptions
	begun bool
	line  []byte
}

// NewWriter returns a Writer to w. Flush or Close must be called at the end.
func NewWriter(w io.Writer, opts WriterOptions) *Writer {
	width := opts.Width
	switch {
	case width == 0:
		width = 76
	case width > 0 && width < 2:
		width = 2 // a continuation is a space and at least one octet
	}
	return &Writer{out: bufio.NewWriterSize(w, 64<<10), width: width, opts: opts}
}

// Flush writes what is buffered.
func (w *Writer) Flush() error {
	if err := w.begin(); err != nil {
		return err
	}
	return w.out.Flush()
}

// Close flushes. It does not close the underlying writer.
func (w *Writer) Close() error { return w.Flush() }

func (w *Writer) begin() error {
	if w.begun {
		return nil
	}
	w.begun = true
	if !w.opts.Version {
		return nil
	}
	_, err := w.out.WriteString("version: 1\n\n")
	return err
}

// Comment writes text as a comment of its own, each of its lines as one.
func (w *Writer) Comment(text string) error {
	if err := w.begin(); err != nil {
		return err
	}
	for line := range strings.SplitSeq(strings.ReplaceAll(text, "\r", ""), "\n") {
		w.line = append(append(w.line[:0], "# "...), line...)
		if err := w.emit(); err != nil {
			return err
		}
	}
	return w.out.WriteByte('\n')
}

// WriteEntry writes a content record from attributes as the protocol has them. An attribute without values is left out.
func (w *Writer) WriteEntry(dn string, attrs []ldap.Attribute) error {
	if err := w.field("dn", []byte(dn)); err != nil {
		return err
	}
	for i := range attrs {
		if !isDescription(attrs[i].Type) || reserved(string(attrs[i].Type)) {
			return badName(string(attrs[i].Type))
		}
		for _, v := range attrs[i].Values {
			if err := w.value(append(w.line[:0], attrs[i].Type...), v); err != nil {
				return err
			}
		}
	}
	return w.out.WriteByte('\n')
}

// WriteRecord writes one record, which reads back as the same record. A name that is not an attribute description is an
// error, after which the output is not to be used.
func (w *Writer) WriteRecord(r *Record) error {
	if err := w.field("dn", []byte(r.DN)); err != nil {
		return err
	}
	if err := w.controls(r); err != nil {
		return err
	}
	if r.Kind != Content {
		if err := w.field("changetype", []byte(r.Kind.String())); err != nil {
			return err
		}
	}
	var err error
	switch r.Kind {
	case Content, Add:
		err = w.attributes(r)
	case Delete:
	case Modify:
		err = w.mods(r.Mods)
	case ModDN:
		err = w.modDN(r)
	default:
		err = fmt.Errorf("ldif: a record of %s cannot be written", r.Kind)
	}
	if err != nil {
		return err
	}
	return w.out.WriteByte('\n')
}

func (w *Writer) attributes(r *Record) error {
	written := 0
	for i := range r.Attributes {
		a := &r.Attributes[i]
		if reserved(a.Name) {
			return fmt.Errorf("ldif: %q means something else than an attribute in LDIF", a.Name)
		}
		if err := w.fields(a.Name, a.Values); err != nil {
			return err
		}
		written += len(a.Values)
	}
	if r.Kind == Add && written == 0 {
		return fmt.Errorf("ldif: changetype: add needs at least one attribute")
	}
	return nil
}

// reserved says whether a name cannot be an attribute's because the line would be read as something else.
func reserved(name string) bool {
	return strings.EqualFold(name, "dn") || strings.EqualFold(name, "changetype") || strings.EqualFold(name, "control")
}

func (w *Writer) controls(r *Record) error {
	if len(r.Controls) > 0 && r.Kind == Content {
		return fmt.Errorf("ldif: a content record has no controls")
	}
	for i := range r.Controls {
		c := &r.Controls[i]
		if !isDescription(c.OID) {
			return badName(string(c.OID))
		}
		w.line = append(append(w.line[:0], "control: "...), c.OID...)
		w.line = fmt.Appendf(w.line, " %v", c.Critical)
		var err error
		if c.HasValue {
			err = w.value(w.line, c.Value)
		} else {
			err = w.emit()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *Writer) mods(mods []Mod) error {
	words := [...]string{ldap.ModAdd: "add", ldap.ModDelete: "delete", ldap.ModReplace: "replace", ldap.ModIncrement: "increment"}
	for i := range mods {
		m := &mods[i]
		if m.Op < 0 || int(m.Op) >= len(words) {
			return fmt.Errorf("ldif: a modification of kind %d cannot be written", m.Op)
		}
		if !isDescription([]byte(m.Name)) {
			return badName(m.Name)
		}
		if err := w.field(words[m.Op], []byte(m.Name)); err != nil {
			return err
		}
		if err := w.fields(m.Name, m.Values); err != nil {
			return err
		}
		if _, err := w.out.WriteString("-\n"); err != nil {
			return err
		}
	}
	return nil
}

func (w *Writer) modDN(r *Record) error {
	if err := w.field("newrdn", []byte(r.NewRDN)); err != nil {
		return err
	}
	flag := "0"
	if r.DeleteOldRDN {
		flag = "1"
	}
	if err := w.field("deleteoldrdn", []byte(flag)); err != nil || !r.HasNewSuperior {
		return err
	}
	return w.field("newsuperior", []byte(r.NewSuperior))
}

func (w *Writer) fields(name string, values [][]byte) error {
	for _, v := range values {
		if err := w.field(name, v); err != nil {
			return err
		}
	}
	return nil
}

func badName(name string) error {
	return fmt.Errorf("ldif: %q is not an attribute description", clip(name))
}

func (w *Writer) field(name string, v []byte) error {
	if !isDescription([]byte(name)) {
		return badName(name)
	}
	if err := w.begin(); err != nil {
		return err
	}
	return w.value(append(w.line[:0], name...), v)
}

// value writes a line that begins with head: a colon and the value, in base64 where it is no SAFE-STRING.
func (w *Writer) value(head, v []byte) error {
	w.line = append(head, ':')
	switch {
	case len(v) == 0:
	case isSafe(v):
		w.line = append(append(w.line, ' '), v...)
	default:
		w.line = base64.StdEncoding.AppendEncode(append(w.line, ": "...), v)
	}
	return w.emit()
}

// isSafe says whether v can stand as it is (SAFE-STRING of RFC 2849). Blanks at the end and control characters could,
// but get lost or do harm on the way, so they cannot here.
func isSafe(v []byte) bool {
	if c := v[0]; c == ' ' || c == ':' || c == '<' || v[len(v)-1] == ' ' {
		return false
	}
	for _, c := range v {
		if c < ' ' || c >= 0x7f {
			return false
		}
	}
	return true
}

// emit writes the line, folded.
func (w *Writer) emit() error {
	line := w.line
	if w.width > 0 && len(line) > w.width {
		if _, err := w.out.Write(line[:w.width]); err != nil {
			return err
		}
		line = line[w.width:]
		for len(line) > 0 {
			n := min(w.width-1, len(line))
			if _, err := w.out.WriteString("\n "); err != nil {
				return err
			}
			if _, err := w.out.Write(line[:n]); err != nil {
				return err
			}
			line = line[n:]
		}
	} else if _, err := w.out.Write(line); err != nil {
		return err
	}
	return w.out.WriteByte('\n')
}
