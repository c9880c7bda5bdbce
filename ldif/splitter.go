package ldif

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// Splitter cuts a stream into the raw text of its records, without parsing them, so that several goroutines can parse.
// It is for one goroutine.
type Splitter struct {
	in      *bufio.Reader
	max     int
	line    int  // of the line that the next piece is part of
	partial bool // the next piece continues a line
	discard bool // the record that was refused has not been read to its end
	started bool // the start of the stream has been looked at
}

// NewSplitter returns a Splitter of r. Of opts it heeds MaxRecord.
func NewSplitter(r io.Reader, opts Options) *Splitter {
	return &Splitter{in: bufio.NewReaderSize(r, 256<<10), max: opts.maxRecord(), line: 1}
}

// Next returns the text of the next record, for a Parser, and the number of its first line. Blank lines, comments before
// the record and "version: 1" are passed over; a byte order mark is tolerated. The text is put into dst, which may be
// nil and is overwritten: who keeps the text passes another dst the next time.
//
// At the end the error is io.EOF. An *Error concerns one record: the next call goes on behind it. Every other error comes
// from the stream.
func (s *Splitter) Next(dst []byte) (block []byte, line int, err error) {
	if !s.started {
		if err := s.start(); err != nil {
			return nil, 0, err
		}
	}
	if s.discard {
		if err := s.skip(); err != nil {
			return nil, 0, err
		}
	}
	if dst = dst[:0]; cap(dst) == 0 {
		dst = make([]byte, 0, 1<<10)
	}
	first := 0
	comment := false // the last line before the record was a comment, or the rest of one
	for {
		at, begins := s.line, !s.partial
		piece, err := s.piece()
		if err != nil {
			if errors.Is(err, io.EOF) && first > 0 {
				return dst, first, nil
			}
			return nil, 0, err
		}
		whole := begins && !s.partial
		if first == 0 {
			switch {
			case !begins: // the rest of a very long comment
				continue
			case whole && isBlank(piece):
				comment = comment && piece[0] == ' '
				continue
			case piece[0] == '#', piece[0] == ' ' && comment:
				comment = true
				continue
			case piece[0] == ' ':
				s.discard = true
				return nil, 0, errorf(at, "a line that begins with a space continues the line before it, and there is none")
			case whole && hasPrefixFold(piece, "version:"):
				comment = false
				if string(bytes.TrimSpace(piece[len("version:"):])) != "1" {
					s.discard = true
					return nil, 0, errorf(at, "only \"version: 1\" of LDIF is known")
				}
				continue
			}
			first = at
		} else if whole && len(bytes.TrimRight(piece, "\r\n")) == 0 {
			return dst, first, nil
		}
		if len(piece) > s.max-len(dst) {
			s.discard = true
			return nil, 0, errorf(first, "the record has more than %d octets", s.max)
		}
		dst = append(dst, piece...)
	}
}

// start drops a byte order mark, and refuses the mark of an encoding that cannot be read.
func (s *Splitter) start() error {
	s.started = true
	head, err := s.in.Peek(3)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	switch {
	case bytes.HasPrefix(head, []byte("\xef\xbb\xbf")):
		_, err := s.in.Discard(3)
		return err
	case bytes.HasPrefix(head, []byte("\xff\xfe")), bytes.HasPrefix(head, []byte("\xfe\xff")):
		s.discard = true
		return errorf(1, "the file is in UTF-16; convert it to UTF-8")
	}
	return nil
}

// skip reads to the end of the record that was refused.
func (s *Splitter) skip() error {
	for {
		begins := !s.partial
		piece, err := s.piece()
		if err != nil {
			return err
		}
		if begins && !s.partial && len(bytes.TrimRight(piece, "\r\n")) == 0 {
			s.discard = false
			return nil
		}
	}
}

// piece returns the next line with its end, or as much of it as fits the buffer.
func (s *Splitter) piece() ([]byte, error) {
	piece, err := s.in.ReadSlice('\n')
	switch {
	case err == nil:
		s.line++
		s.partial = false
	case errors.Is(err, bufio.ErrBufferFull):
		s.partial = true
	case errors.Is(err, io.EOF) && len(piece) > 0: // the last line has no end
		s.partial = false
	default:
		return nil, err
	}
	return piece, nil
}

func isBlank(line []byte) bool { return len(bytes.Trim(line, " \t\r\n")) == 0 }

func hasPrefixFold(b []byte, prefix string) bool {
	return len(b) >= len(prefix) && bytes.EqualFold(b[:len(prefix)], []byte(prefix))
}
