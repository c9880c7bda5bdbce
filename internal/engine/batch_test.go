package engine_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"portolan/internal/ldaptest"
	"portolan/internal/op"
	"portolan/ldap"
)

// TestBatchesThatContend: batches that set the password of one entry, and count in another, all succeed, each as a whole. A
// password is hashed against the entry as it is before the transaction, so that they get in each other's way.
func TestBatchesThatContend(t *testing.T) {
	s := ldaptest.Start(t, ldaptest.Options{LDIF: company + `
dn: cn=counter,dc=example,dc=org
objectClass: account
objectClass: posixAccount
uid: counter
cn: counter
uidNumber: 0
gidNumber: 0
homeDirectory: /
`})
	const batches = 12
	alice := []byte("uid=alice,ou=people,dc=example,dc=org")
	change := func(id int32, object string, kind ldap.ModOp, attr, value string) *op.Request {
		return &op.Request{
			Conn: &op.Conn{Transport: op.Unix, Loopback: true}, ID: id, Identity: s.Engine.AdminIdentity("simple"),
			Op: &ldap.ModifyRequest{Object: []byte(object), Changes: []ldap.Mod{{Op: kind, Attribute: ldap.Attribute{Type: []byte(attr), Values: [][]byte{[]byte(value)}}}}},
		}
	}
	var all sync.WaitGroup
	var done sync.Map
	for i := range batches {
		all.Add(1)
		go func() {
			defer all.Done()
			secret := fmt.Sprint("secret-number-", i)
			reqs := []*op.Request{
				change(1, string(alice), ldap.ModReplace, "userPassword", secret),
				change(2, "cn=counter,dc=example,dc=org", ldap.ModIncrement, "uidNumber", "1"),
				change(3, string(alice), ldap.ModReplace, "description", secret),
			}
			for {
				failed, err := s.Engine.Directory().Batch(context.Background(), reqs)
				if err == nil {
					done.Store(secret, true)
					return
				}
				if ldap.CodeOf(err) != ldap.Busy {
					t.Errorf("update %d: %v", failed, err)
					return
				}
			}
		}()
	}
	all.Wait()
	admin := dial(t, s, ldaptest.AdminDN, ldaptest.AdminPassword)
	if ok, err := admin.Compare("cn=counter,dc=example,dc=org", "uidNumber", fmt.Sprint(batches)); err != nil || !ok {
		t.Errorf("not every batch has counted, or one has twice: %v", err)
	}
	entries, err := s.Search(context.Background(), ldaptest.AdminDN, &ldap.SearchRequest{Base: alice, Filter: ldap.Present("objectClass"), Attributes: [][]byte{[]byte("description")}})
	if err != nil || len(entries) != 1 {
		t.Fatal(err)
	}
	// The last batch has set both the description and the password.
	last := string(entries[0].Attributes[0].Values[0])
	if _, ok := done.Load(last); !ok {
		t.Errorf("%q was not acknowledged", last)
	}
	dial(t, s, string(alice), last)
}
