package ldif

import (
	"errors"
	"io"
)

// Reader reads records one after the other. It is for one goroutine.
type Reader struct {
	split *Splitter
	parse *Parser
	block []byte
	err   error
}

// NewReader returns a Reader of r, which it reads ahead of the record that it returns.
func NewReader(r io.Reader, opts Options) *Reader {
	return &Reader{split: NewSplitter(r, opts), parse: NewParser(opts)}
}

// Next returns the next record, or io.EOF behind the last. The Record and its values are overwritten by the next call;
// its strings stay.
//
// An *Error is about one record. Next then returns it again and again, so that nobody passes over a record by accident:
// Skip says that this is meant. Every other error comes from the stream and is final.
func (r *Reader) Next() (*Record, error) {
	if r.err != nil {
		return nil, r.err
	}
	block, line, err := r.split.Next(r.block)
	if err != nil {
		r.block, r.err = r.block[:0], err
		return nil, err
	}
	r.block = block
	record, err := r.parse.Parse(block, line)
	if err != nil {
		r.err = err
		return nil, err
	}
	return record, nil
}

// Skip leaves out the record that Next could not read, so that the next call goes on behind it. It returns nil after an
// *Error and after no error at all, and otherwise the final error.
func (r *Reader) Skip() error {
	var e *Error
	if r.err != nil && !errors.As(r.err, &e) {
		return r.err
	}
	r.err = nil
	return nil
}

// Raw returns the text of the record that Next read last, also where it did not parse, without the blank line that ends
// it; a reject file takes it. It is empty where the record was above the limit. It is overwritten by Next.
func (r *Reader) Raw() []byte { return r.block }
