// Command goldap is an ordinary day of github.com/go-ldap/ldap, a client that shares no code with the server.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/go-ldap/ldap/v3"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("ok")
}

// check is the first thing that went wrong in a row of checks.
type check struct{ err error }

func (c *check) that(yes bool, format string, args ...any) {
	if !yes && c.err == nil {
		c.err = fmt.Errorf(format, args...)
	}
}

// ok takes the result of a call that must succeed.
func (c *check) ok(err error, what string) {
	c.that(err == nil, "%s: %v", what, err)
}

// code takes the result of a call that must end with a result code.
func (c *check) code(err error, want uint16, what string) {
	c.that(ldap.IsErrorWithCode(err, want), "%s: %v, want %s", what, err, ldap.LDAPResultCodeMap[want])
}

func authority() (*tls.Config, error) {
	pem, err := os.ReadFile(os.Getenv("LDAPTLS_CACERT"))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("no certificate in LDAPTLS_CACERT")
	}
	return &tls.Config{RootCAs: pool, ServerName: "127.0.0.1"}, nil
}

func run() error {
	suffix, people := os.Getenv("SUFFIX"), "ou=people,"+os.Getenv("SUFFIX")
	admin, alice := os.Getenv("ADMIN"), os.Getenv("ALICE")
	config, err := authority()
	if err != nil {
		return err
	}
	var c check

	// The plain port, StartTLS, and rebinding as somebody else.
	l, err := ldap.DialURL(os.Getenv("LDAP"))
	if err != nil {
		return err
	}
	defer l.Close()
	c.ok(l.StartTLS(config), "StartTLS")
	c.code(l.Bind(alice, "wrong"), ldap.LDAPResultInvalidCredentials, "a wrong password")
	c.code(l.Bind("uid=nobody,"+people, "wrong"), ldap.LDAPResultInvalidCredentials, "an unknown user")
	c.ok(l.Bind(alice, os.Getenv("ALICEPW")), "bind")
	who, err := l.WhoAmI(nil)
	c.ok(err, "who am I")
	c.that(err == nil && who.AuthzID == "dn:"+alice, "who am I: %v", who)
	c.ok(l.Bind(admin, os.Getenv("ADMINPW")), "bind as somebody else")

	root, err := l.Search(ldap.NewSearchRequest("", ldap.ScopeBaseObject, ldap.NeverDerefAliases, 0, 0, false, "(objectClass=*)", []string{"*", "+"}, nil))
	c.ok(err, "root DSE")
	if c.err != nil {
		return c.err
	}
	c.that(root.Entries[0].GetAttributeValue("namingContexts") == suffix, "naming contexts %v", root.Entries[0].GetAttributeValues("namingContexts"))

	search := func(filter string, controls ...ldap.Control) *ldap.SearchRequest {
		return ldap.NewSearchRequest(suffix, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, 0, 0, false, filter, []string{"uid"}, controls)
	}
	paged, err := l.SearchWithPaging(search("(uid=*)"), 4)
	c.ok(err, "paging")
	c.that(err == nil && len(paged.Entries) == 13, "not 13 entries in pages of 4")
	control := ldap.NewControlPaging(4)
	first, err := l.Search(search("(uid=*)", control))
	c.ok(err, "the first page")
	if c.err != nil {
		return c.err
	}
	reply, _ := ldap.FindControl(first.Controls, ldap.ControlTypePaging).(*ldap.ControlPaging)
	c.that(reply != nil && len(reply.Cookie) > 0, "no cookie on the first page")
	if c.err != nil {
		return c.err
	}
	// Size zero ends a paged search before its end (RFC 2696 3).
	control.SetCookie(reply.Cookie)
	control.PagingSize = 0
	_, err = l.Search(search("(uid=*)", control))
	c.ok(err, "ending a paged search")

	sorting := ldap.NewControlServerSideSortingWithSortKeys([]*ldap.SortKey{{AttributeType: "uid", Reverse: true}})
	sorted, err := l.Search(search("(uid=*)", sorting))
	c.ok(err, "a sort")
	if c.err != nil {
		return c.err
	}
	var uids []string
	for _, e := range sorted.Entries {
		uids = append(uids, e.GetAttributeValue("uid"))
	}
	c.that(len(uids) == 13 && slices.IsSortedFunc(uids, func(a, b string) int { return strings.Compare(b, a) }), "sorted downwards: %v", uids)
	result, _ := ldap.FindControl(sorted.Controls, ldap.ControlTypeServerSideSortingResult).(*ldap.ControlServerSideSortingResult)
	c.that(result != nil && result.Result == ldap.ControlServerSideSortingCodeSuccess, "the sort's result: %v", result)

	subschema := root.Entries[0].GetAttributeValue("subschemaSubentry")
	definitions, err := l.Search(ldap.NewSearchRequest(subschema, ldap.ScopeBaseObject, ldap.NeverDerefAliases, 0, 0, false,
		"(objectClass=subschema)", []string{"objectClasses", "attributeTypes"}, nil))
	c.ok(err, "the schema")
	if c.err != nil {
		return c.err
	}
	defines := func(attribute, text string) bool {
		return slices.ContainsFunc(definitions.Entries[0].GetAttributeValues(attribute), func(d string) bool { return strings.Contains(d, text) })
	}
	c.that(defines("objectClasses", "NAME 'inetOrgPerson'") && defines("attributeTypes", "'mail'"), "the schema lacks inetOrgPerson or mail")

	limited := search("(uid=*)")
	limited.SizeLimit = 5
	some, err := l.Search(limited)
	c.code(err, ldap.LDAPResultSizeLimitExceeded, "a size limit")
	c.that(some != nil && len(some.Entries) == 5, "a size limit of 5 gave something else")
	injected, err := l.Search(search("(uid=" + ldap.EscapeFilter("*)(uid=*") + ")"))
	c.ok(err, "an escaped filter")
	c.that(err == nil && len(injected.Entries) == 0, "an injected filter finds something")
	nested, err := l.Search(search("(memberOf:1.2.840.113556.1.4.1941:=cn=staff,ou=groups," + suffix + ")"))
	c.ok(err, "in chain")
	c.that(err == nil && len(nested.Entries) >= 12, "in chain finds too few")
	_, err = l.Search(ldap.NewSearchRequest("uid=nobody,"+people, ldap.ScopeBaseObject, ldap.NeverDerefAliases, 0, 0, false, "(objectClass=*)", nil, nil))
	c.code(err, ldap.LDAPResultNoSuchObject, "a base that is not there")
	var problem *ldap.Error
	c.that(errors.As(err, &problem) && problem.MatchedDN == people, "matchedDN of %v", err)

	// Several searches at once on one connection.
	var all sync.WaitGroup
	counts := make([]int, 20)
	for i := range counts {
		all.Go(func() {
			if found, err := l.Search(search("(uid=*)")); err == nil {
				counts[i] = len(found.Entries)
			}
		})
	}
	all.Wait()
	for _, n := range counts {
		c.that(n == 13, "one of several searches at once found %d", n)
	}

	// Writes.
	dn := "uid=gopher," + people
	entry := ldap.NewAddRequest(dn, nil)
	for name, value := range map[string]string{"objectClass": "inetOrgPerson", "cn": "Gopher", "sn": "Göpher"} {
		entry.Attribute(name, []string{value})
	}
	c.ok(l.Add(entry), "add")
	c.code(l.Add(entry), ldap.LDAPResultEntryAlreadyExists, "add again")
	change := ldap.NewModifyRequest(dn, nil)
	change.Add("mail", []string{"gopher@example.org", "g@example.org"})
	change.Replace("title", []string{"Mascot"})
	change.Delete("mail", []string{"g@example.org"})
	c.ok(l.Modify(change), "modify")
	present := ldap.NewModifyRequest(dn, nil)
	present.Add("mail", []string{"GOPHER@example.org"})
	c.code(l.Modify(present), ldap.LDAPResultAttributeOrValueExists, "a value that is there")
	yes, err := l.Compare(dn, "title", "mascot")
	c.that(err == nil && yes, "compare true: %v", err)
	no, err := l.Compare(dn, "title", "clerk")
	c.that(err == nil && !no, "compare false: %v", err)
	_, err = l.Compare(dn, "description", "x")
	c.code(err, ldap.LDAPResultNoSuchAttribute, "compare of what is absent")
	_, err = l.PasswordModify(ldap.NewPasswordModifyRequest(dn, "", "the gopher 7"))
	c.ok(err, "password modify")

	// ldaps and ldapi.
	s, err := ldap.DialURL(os.Getenv("LDAPS"), ldap.DialWithTLSConfig(config))
	if err != nil {
		return err
	}
	defer s.Close()
	c.ok(s.Bind(dn, "the gopher 7"), "bind over ldaps")
	generated, err := s.PasswordModify(ldap.NewPasswordModifyRequest("", "the gopher 7", ""))
	c.ok(err, "a generated password")
	c.that(err == nil && s.Bind(dn, generated.GeneratedPassword) == nil, "bind with the generated password")
	path, err := url.PathUnescape(os.Getenv("LDAPI")[len("ldapi://"):])
	if err != nil {
		return err
	}
	unix, err := net.Dial("unix", path)
	if err != nil {
		return err
	}
	u := ldap.NewConn(unix, false)
	u.Start()
	defer u.Close()
	c.ok(u.ExternalBind(), "EXTERNAL")
	self, err := u.WhoAmI(nil)
	c.that(err == nil && self.AuthzID == "dn:"+admin, "who am I over the socket: %v %v", self, err)

	c.ok(l.ModifyDN(ldap.NewModifyDNRequest(dn, "uid=goose", true, "ou=services,"+suffix)), "rename and move")
	c.code(l.Del(ldap.NewDelRequest("ou=services,"+suffix, nil)), ldap.LDAPResultNotAllowedOnNonLeaf, "delete of what is not a leaf")
	c.ok(l.Del(ldap.NewDelRequest("uid=goose,ou=services,"+suffix, nil)), "delete")
	c.code(l.Del(ldap.NewDelRequest("uid=goose,ou=services,"+suffix, nil)), ldap.LDAPResultNoSuchObject, "delete again")
	return c.err
}
