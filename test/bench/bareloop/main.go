// Command bareloop is the ceiling that make bench compares servers with: a TCP server that parses just enough of a request
// to look an entry up in a map, and copies prepared octets. It answers searches for (uid=X), base searches and simple
// binds; it checks no right, writes no log and changes nothing. It is no directory server.
package main

import (
	"crypto/sha1"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strings"

	"portolan/ber"
	"portolan/ldap"
	"portolan/ldif"
)

func main() {
	address := flag.String("listen", "127.0.0.1:0", "the address to listen on")
	flag.Parse()
	if err := run(*address, flag.Arg(0)); err != nil {
		fmt.Fprintln(os.Stderr, "bareloop:", err)
		os.Exit(1)
	}
}

func run(address, file string) error {
	d, err := load(file)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	for {
		nc, err := l.Accept()
		if err != nil {
			return err
		}
		go d.serve(nc)
	}
}

// entry is what an answer is copied from.
type entry struct {
	op       []byte // the whole SearchResultEntry
	password []byte // as stored
}

// directory finds entries by (uid=X) and by name, both exactly as they are written in the data.
type directory struct {
	uid, name map[string]*entry
}

func load(file string) (*directory, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	d := &directory{uid: make(map[string]*entry), name: make(map[string]*entry)}
	r := ldif.NewReader(f, ldif.Options{})
	for {
		rec, err := r.Next()
		if errors.Is(err, io.EOF) {
			return d, nil
		}
		if err != nil {
			return nil, err
		}
		e := &entry{}
		m := ldap.SearchResultEntry{Name: []byte(rec.DN)}
		uid := ""
		for _, a := range rec.Attributes {
			switch a.Name {
			case "userPassword":
				e.password = append([]byte(nil), a.Values[0]...)
				continue
			case "uid":
				uid = string(a.Values[0])
			}
			m.Attributes = append(m.Attributes, ldap.Attribute{Type: []byte(a.Name), Values: a.Values})
		}
		// A whole message, of which the envelope is cut off again.
		message, body := ber.Reader(ldap.AppendMessage(nil, 1, &m, nil)), ber.Reader(nil)
		var id int32
		if !message.Element(ber.Sequence, &body) || !body.Int32(ber.Integer, 1, 1, &id) {
			return nil, errors.New("the codec does not read what it writes")
		}
		e.op = append([]byte(nil), body...)
		d.name[rec.DN] = e
		if uid != "" {
			d.uid[uid] = e
		}
	}
}

func (d *directory) serve(nc net.Conn) {
	defer nc.Close()
	buf, out := make([]byte, 4096), []byte(nil)
	w := 0
	for {
		n, err := nc.Read(buf[w:])
		if n == 0 && err != nil {
			return
		}
		w += n
		at := 0
		for {
			size, state := ber.Frame(buf[at:w], 1<<20)
			if state == ber.FrameMore {
				if size > len(buf) {
					buf = append(make([]byte, 0, size), buf...)[:size]
				}
				break
			}
			if state != ber.FrameWhole {
				return
			}
			var ok bool
			if out, ok = d.answer(out, buf[at:at+size]); !ok {
				return
			}
			at += size
		}
		w = copy(buf, buf[at:w])
		if _, err := nc.Write(out); err != nil {
			return
		}
		out = out[:0]
	}
}

// answer appends the answer to a request; false ends the connection.
func (d *directory) answer(out, frame []byte) ([]byte, bool) {
	r := ber.Reader(frame)
	var m, op ber.Reader
	var id int32
	var tag byte
	if !r.Element(ber.Sequence, &m) || !m.Int32(ber.Integer, 0, ldap.MaxMessageID, &id) || !m.Any(&tag, &op) {
		return out, false
	}
	switch tag {
	case ldap.TagSearchRequest:
		e, ok := d.find(op)
		if !ok {
			return ldap.AppendResult(out, id, ldap.TagSearchResultDone, &ldap.Result{Code: ldap.UnwillingToPerform}, nil), true
		}
		if e != nil {
			out = ber.AppendHeader(out, ber.Sequence, intSize(id)+len(e.op))
			out = append(ber.AppendInt(out, ber.Integer, int64(id)), e.op...)
		}
		return ldap.AppendResult(out, id, ldap.TagSearchResultDone, &ldap.Result{}, nil), true
	case ldap.TagBindRequest:
		var res ldap.Result
		if !d.bind(op) {
			res.Code = ldap.InvalidCredentials
		}
		return ldap.AppendResult(out, id, ldap.TagBindResponse, &res, nil), true
	case ldap.TagUnbindRequest:
		return out, false
	}
	final, ok := ldap.ResponseTag(tag)
	if !ok {
		return out, true
	}
	return ldap.AppendResult(out, id, final, &ldap.Result{Code: ldap.UnwillingToPerform}, nil), true
}

// intSize is how many octets the message ID takes as an element.
func intSize(id int32) int {
	n := 3
	for x := id; x > 127; x >>= 8 {
		n++
	}
	return n
}

// find returns the entry that a search asks for, nil where there is none; false where the search is another than those
// that are answered.
func (d *directory) find(op ber.Reader) (*entry, bool) {
	var base, attr, value []byte
	var scope, number int32
	var only bool
	var filter ber.Reader
	if !op.Bytes(ber.OctetString, &base) || !op.Int32(ber.Enumerated, 0, 3, &scope) || !op.Int32(ber.Enumerated, 0, 3, &number) ||
		!op.Int32(ber.Integer, 0, ldap.MaxMessageID, &number) || !op.Int32(ber.Integer, 0, ldap.MaxMessageID, &number) || !op.Bool(ber.Boolean, &only) {
		return nil, false
	}
	if scope == int32(ldap.ScopeBase) {
		return d.name[string(base)], true
	}
	if !op.Element(ber.ContextSpecific|ber.Constructed|byte(ldap.FilterEquality), &filter) ||
		!filter.Bytes(ber.OctetString, &attr) || !filter.Bytes(ber.OctetString, &value) || string(attr) != "uid" {
		return nil, false
	}
	return d.uid[string(value)], true
}

func (d *directory) bind(op ber.Reader) bool {
	var version int32
	var name, password []byte
	if !op.Int32(ber.Integer, 1, 127, &version) || !op.Bytes(ber.OctetString, &name) || !op.Bytes(ber.ContextSpecific, &password) {
		return false
	}
	e := d.name[string(name)]
	return e != nil && ssha(string(e.password), password)
}

// ssha reports whether the password has this {SSHA} hash.
func ssha(stored string, password []byte) bool {
	text, ok := strings.CutPrefix(stored, "{SSHA}")
	raw, err := base64.StdEncoding.DecodeString(text)
	if !ok || err != nil || len(raw) < sha1.Size {
		return false
	}
	h := sha1.New()
	h.Write(password)
	h.Write(raw[sha1.Size:])
	return subtle.ConstantTimeCompare(h.Sum(nil), raw[:sha1.Size]) == 1
}
