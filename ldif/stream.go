package ldif

// BeginEntry begins a content record of which the values are not all in memory at once: WriteValue writes each, EndEntry
// ends the record. Nothing else may be written in between.
func (w *Writer) BeginEntry(dn string) error { return w.field("dn", []byte(dn)) }

// WriteValue writes one value of the record that BeginEntry began. Values of one attribute should follow each other.
func (w *Writer) WriteValue(name, value []byte) error {
	if !isDescription(name) || reserved(string(name)) {
		return badName(string(name))
	}
	return w.value(append(w.line[:0], name...), value)
}

// EndEntry ends the record.
func (w *Writer) EndEntry() error { return w.out.WriteByte('\n') }
