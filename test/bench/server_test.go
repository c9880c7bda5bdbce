// Package bench measures the server over loopback, client and server in one process: make bench.
package bench

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"portolan/ber"
	"portolan/internal/ldaptest"
	"portolan/ldap"
)

// people is how many entries there are to find.
const people = 2000

func start(b *testing.B) *ldaptest.Server {
	b.Helper()
	var ldif strings.Builder
	ldif.WriteString("dn: dc=example,dc=org\nobjectClass: organization\nobjectClass: dcObject\ndc: example\no: Example\n\n")
	for i := range people {
		fmt.Fprintf(&ldif, "dn: uid=u%d,dc=example,dc=org\nobjectClass: inetOrgPerson\nuid: u%d\ncn: User %d\nsn: User\nmail: u%d@example.org\n"+
			"telephoneNumber: +49 30 %d\ntitle: Engineer\ndescription: one of many entries of ordinary size\n\n", i, i, i, i, i)
	}
	return ldaptest.Start(b, ldaptest.Options{LDIF: ldif.String()})
}

// conn is a connection that is bound as the administrator.
type conn struct {
	net.Conn
	in  *bufio.Reader
	out []byte
	id  int32
}

func dial(b *testing.B, s *ldaptest.Server) *conn {
	b.Helper()
	nc, err := net.Dial("tcp", s.Addr)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { nc.Close() })
	c := &conn{Conn: nc, in: bufio.NewReaderSize(nc, 64<<10)}
	c.add(&ldap.BindRequest{Version: 3, Name: []byte(ldaptest.AdminDN), Password: []byte(ldaptest.AdminPassword)})
	if err := c.exchange(1); err != nil {
		b.Fatal(err)
	}
	return c
}

func (c *conn) add(m ldap.Op) {
	c.id++
	c.out = ldap.AppendMessage(c.out, c.id, m, nil)
}

// exchange sends what was added and reads until as many final responses have come.
func (c *conn) exchange(final int) error {
	if _, err := c.Write(c.out); err != nil {
		return err
	}
	c.out = c.out[:0]
	for final > 0 {
		head, err := c.in.Peek(2)
		if err != nil {
			return err
		}
		if n := int(head[1] & 0x7f); head[1] > 0x80 {
			if head, err = c.in.Peek(2 + n); err != nil {
				return err
			}
		}
		size, _ := ber.Frame(head, 1<<20)
		if head, err = c.in.Peek(size); err != nil {
			return err
		}
		if _, tag, ok := peek(head); ok && tag != ldap.TagSearchResultEntry {
			final--
		}
		if _, err := c.in.Discard(size); err != nil {
			return err
		}
	}
	return nil
}

// peek returns the message id and the identifier octet of the protocolOp.
func peek(frame []byte) (id int64, tag byte, ok bool) {
	r := ber.Reader(frame)
	var message ber.Reader
	if !r.Element(ber.Sequence, &message) || !message.Int(ber.Integer, &id) {
		return 0, 0, false
	}
	tag, ok = message.Peek()
	return id, tag, ok
}

// run spreads b.N requests over connections, a few outstanding on each.
func run(b *testing.B, conns, outstanding int, make func(n int64) ldap.Op) {
	s := start(b)
	list := []*conn{}
	for range conns {
		list = append(list, dial(b, s))
	}
	var next atomic.Int64
	var wait sync.WaitGroup
	b.ResetTimer()
	for _, c := range list {
		wait.Go(func() {
			for {
				n := next.Add(int64(outstanding))
				if n-int64(outstanding) >= int64(b.N) {
					return
				}
				for i := range outstanding {
					c.add(make(n + int64(i)))
				}
				if err := c.exchange(outstanding); err != nil && err != io.EOF {
					b.Error(err)
					return
				}
			}
		})
	}
	wait.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
}

func BenchmarkSearch(b *testing.B) {
	for _, c := range []struct{ conns, outstanding int }{{1, 1}, {16, 1}, {16, 16}} {
		b.Run(fmt.Sprintf("conns=%d/outstanding=%d", c.conns, c.outstanding), func(b *testing.B) {
			run(b, c.conns, c.outstanding, func(n int64) ldap.Op {
				return &ldap.SearchRequest{Base: []byte(ldaptest.Suffix), Scope: ldap.ScopeSub, Filter: ldap.Eq("uid", fmt.Sprintf("u%d", n%people))}
			})
		})
	}
}

func BenchmarkBind(b *testing.B) {
	run(b, 16, 1, func(int64) ldap.Op {
		return &ldap.BindRequest{Version: 3, Name: []byte(ldaptest.AdminDN), Password: []byte(ldaptest.AdminPassword)}
	})
}
