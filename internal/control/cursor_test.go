package control

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/ldap"
)

// sortedPage asks for one page of a sorted result of ids 1 to total, and returns how many entries there were on it.
func sortedPage(p *op.Ports, c *op.Conn, filter string, size int, cookie []byte, total int) (n int, next []byte, err error) {
	paged := Paged(4, p)
	value, err := paged.Parse(pagedResponse(size, cookie))
	if err != nil {
		return 0, nil, err
	}
	req := &op.Request{Conn: c, Op: &ldap.SearchRequest{Filter: ldap.Present(filter)}}
	plan := &req.Search
	plan.Order = func(dst []byte, _ op.Candidate) ([]byte, error) { return dst, nil }
	err = paged.Around(context.Background(), req, value, func(context.Context) error {
		ids := plan.From
		if ids == nil {
			all := make([]op.Sorted, total)
			for i := range all {
				all[i].ID = dit.ID(i + 1)
			}
			picked := all
			if plan.Pick != nil {
				if picked, err = plan.Pick(all); err != nil {
					return err
				}
			}
			n = len(picked)
			return nil
		}
		for _, id := range ids {
			if n == plan.Max {
				plan.More = true
				break
			}
			n++
			plan.Last = id
		}
		return nil
	})
	if err != nil {
		return n, nil, err
	}
	reply, err := parsePaged(req.Reply.Controls[0])
	if err != nil {
		return n, nil, err
	}
	return n, reply.(*pagedRequest).cookie, nil
}

// free reports how many octets of an account can be had.
func free(m *op.Memory, total int) bool {
	h := m.Hold(total)
	if h != nil {
		h.Release()
	}
	return h != nil
}

func TestSortedPages(t *testing.T) {
	p, c := &op.Ports{Memory: op.NewMemory(1000)}, &op.Conn{}
	var cookie []byte
	for i, want := range []int{3, 3, 3, 1} {
		n, next, err := sortedPage(p, c, "cn", 3, cookie, 10)
		if err != nil || n != want || (len(next) == 0) != (i == 3) {
			t.Fatalf("page %d: %d entries, cookie %x, %v", i, n, next, err)
		}
		cookie = next
	}
	if !free(p.Memory, 1000) {
		t.Error("a list that was read to its end is kept")
	}
	// Lists are dropped with the identity that they belong to.
	if _, _, err := sortedPage(p, c, "cn", 3, nil, 10); err != nil {
		t.Fatal(err)
	}
	c.SetIdentity(&op.Identity{Name: dit.Name{Norm: "cn=x"}})
	if !free(p.Memory, 1000) {
		t.Error("lists outlive the identity")
	}
	if _, _, err := sortedPage(p, c, "cn", 3, nil, 10); err != nil {
		t.Fatal(err)
	}
	c.End()
	if !free(p.Memory, 1000) {
		t.Error("lists outlive the connection")
	}
}

func TestListsMakeRoomForOthers(t *testing.T) {
	p := &op.Ports{Memory: op.NewMemory(20 * idSize)}
	first, second := &op.Conn{}, &op.Conn{}
	_, cookie, err := sortedPage(p, first, "cn", 3, nil, 15)
	if err != nil || len(cookie) == 0 {
		t.Fatal(err)
	}
	_, other, err := sortedPage(p, second, "cn", 3, nil, 15)
	if err != nil || len(other) == 0 {
		t.Fatal(err)
	}
	if _, _, err := sortedPage(p, first, "cn", 3, cookie, 15); ldap.CodeOf(err) != ldap.UnwillingToPerform {
		t.Errorf("a list that made room for another: %v", err)
	}
	if n, _, err := sortedPage(p, second, "cn", 3, other, 15); err != nil || n != 3 {
		t.Error(n, err)
	}
	// A list that does not fit at all.
	if _, _, err := sortedPage(p, first, "cn", 3, nil, 25); ldap.CodeOf(err) != ldap.Busy {
		t.Errorf("a list larger than the account: %v", err)
	}
}

// TestCursorsOfManyAtOnce is for the race detector: many searches page on few connections, short of memory all the time.
func TestCursorsOfManyAtOnce(t *testing.T) {
	p := &op.Ports{Memory: op.NewMemory(64 * idSize)}
	conns := []*op.Conn{{}, {}}
	var all sync.WaitGroup
	for w := range 8 {
		all.Add(1)
		go func() {
			defer all.Done()
			c, filter := conns[w%len(conns)], fmt.Sprint("a", w)
			for i := range 100 {
				if i%33 == 0 {
					c.SetIdentity(nil)
				}
				_, cookie, err := sortedPage(p, c, filter, 5, nil, 20)
				for err == nil && len(cookie) > 0 {
					_, cookie, err = sortedPage(p, c, filter, 5, cookie, 20)
				}
				if code := ldap.CodeOf(err); err != nil && code != ldap.Busy && code != ldap.UnwillingToPerform {
					t.Error(err)
				}
			}
		}()
	}
	all.Wait()
	for _, c := range conns {
		c.End()
	}
	if !free(p.Memory, 64*idSize) {
		t.Error("memory was lost on the way")
	}
}
