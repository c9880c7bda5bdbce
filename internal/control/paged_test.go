package control

import (
	"context"
	"testing"

	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/ldap"
)

// page runs one page of a search over ids 1 to total and returns the ids, the cookie and the error.
func page(c *op.Conn, m *ldap.SearchRequest, size int, cookie []byte, total int) (ids []dit.ID, next []byte, err error) {
	paged := Paged(2, &op.Ports{Memory: op.NewMemory(1 << 20)})
	value, err := paged.Parse(pagedResponse(size, cookie))
	if err != nil {
		return nil, nil, err
	}
	req := &op.Request{Conn: c, Op: m}
	err = paged.Around(context.Background(), req, value, func(context.Context) error {
		for id := req.Search.After + 1; int(id) <= total; id++ {
			if req.Search.Max > 0 && len(ids) == req.Search.Max {
				req.Search.More = true
				break
			}
			ids = append(ids, id)
			req.Search.Last = id
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	if len(req.Reply.Controls) != 1 {
		return nil, nil, ldap.Errorf(ldap.Other, "%d response controls", len(req.Reply.Controls))
	}
	reply, err := parsePaged(req.Reply.Controls[0])
	if err != nil {
		return nil, nil, err
	}
	return ids, reply.(*pagedRequest).cookie, nil
}

func TestPagesFollowEachOther(t *testing.T) {
	c := &op.Conn{}
	a := &ldap.SearchRequest{Base: []byte("dc=a"), Filter: ldap.Present("uid")}
	b := &ldap.SearchRequest{Base: []byte("dc=b"), Filter: ldap.Present("uid")}
	first, cookieA, err := page(c, a, 2, nil, 5)
	if err != nil || len(first) != 2 || len(cookieA) == 0 {
		t.Fatal(first, cookieA, err)
	}
	// Another paged search in between, and pages of another size.
	if _, _, err := page(c, b, 1, nil, 3); err != nil {
		t.Fatal(err)
	}
	rest, end, err := page(c, a, 3, cookieA, 5)
	if err != nil || len(rest) != 3 || rest[0] != 3 || len(end) != 0 {
		t.Fatal(rest, end, err)
	}
	if _, _, err := page(c, a, 2, cookieA, 5); ldap.CodeOf(err) != ldap.UnwillingToPerform {
		t.Errorf("a cookie that was used: %v", err)
	}
}

func TestCookiesOfOthersAreRefused(t *testing.T) {
	c := &op.Conn{}
	a := &ldap.SearchRequest{Base: []byte("dc=a"), Filter: ldap.Present("uid")}
	for name, use := range map[string]func(cookie []byte) error{
		"another search": func(cookie []byte) error {
			_, _, err := page(c, &ldap.SearchRequest{Base: []byte("dc=b"), Filter: ldap.Present("uid")}, 2, cookie, 5)
			return err
		},
		"another connection": func(cookie []byte) error { _, _, err := page(&op.Conn{}, a, 2, cookie, 5); return err },
		"another identity": func(cookie []byte) error {
			c.SetIdentity(&op.Identity{Name: dit.Name{DN: "cn=x", Norm: "cn=x"}})
			_, _, err := page(c, a, 2, cookie, 5)
			return err
		},
		"garbage": func([]byte) error { _, _, err := page(c, a, 2, []byte("x"), 5); return err },
	} {
		_, cookie, err := page(c, a, 2, nil, 5)
		if err != nil || len(cookie) == 0 {
			t.Fatal(cookie, err)
		}
		if err := use(cookie); ldap.CodeOf(err) != ldap.UnwillingToPerform {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTheOldestCursorGivesWay(t *testing.T) {
	c := &op.Conn{}
	var cookies [][]byte
	searches := []*ldap.SearchRequest{{Base: []byte("dc=1")}, {Base: []byte("dc=2")}, {Base: []byte("dc=3")}}
	for _, m := range searches {
		m.Filter = ldap.Present("uid")
		_, cookie, err := page(c, m, 1, nil, 3)
		if err != nil {
			t.Fatal(err)
		}
		cookies = append(cookies, cookie)
	}
	if _, _, err := page(c, searches[0], 1, cookies[0], 3); ldap.CodeOf(err) != ldap.UnwillingToPerform {
		t.Errorf("the oldest of three, of which two are kept: %v", err)
	}
	for _, i := range []int{1, 2} {
		if _, _, err := page(c, searches[i], 1, cookies[i], 3); err != nil {
			t.Errorf("cursor %d: %v", i, err)
		}
	}
	// Size zero with a cookie abandons the search.
	_, cookie, err := page(c, searches[0], 1, nil, 3)
	if err != nil {
		t.Fatal(err)
	}
	if ids, end, err := page(c, searches[0], 0, cookie, 3); err != nil || len(ids) != 0 || len(end) != 0 {
		t.Error(ids, end, err)
	}
	if _, _, err := page(c, searches[0], 1, cookie, 3); err == nil {
		t.Error("an abandoned cookie is taken")
	}
}

func FuzzPaged(f *testing.F) {
	f.Add([]byte(nil))
	f.Add(pagedResponse(10, []byte("12345678")).Value)
	f.Fuzz(func(t *testing.T, value []byte) {
		v, err := parsePaged(ldap.Control{OID: []byte(PagedOID), Value: value, HasValue: true})
		if err != nil {
			if ldap.CodeOf(err) != ldap.ProtocolError {
				t.Fatal(err)
			}
			return
		}
		if v.(*pagedRequest).size < 0 {
			t.Fatal("a negative size is taken")
		}
	})
}
