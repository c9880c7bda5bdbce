package bench

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"portolan/ber"
	"portolan/ldap"
)

// The workloads.
const (
	Search     = "search"
	Base       = "base"
	And        = "and"
	Substring  = "substring"
	Scan       = "scan"
	Paged      = "paged"
	Bind       = "bind"
	Connect    = "connect"
	Modify     = "modify"
	Add        = "add"
	Member     = "member"
	Mixed      = "mixed"
	DefaultMix = "search=70,base=10,and=5,substring=5,modify=8,add=2"
)

// Workloads lists the workloads with what they do, for people.
func Workloads() [][2]string {
	return [][2]string{
		{Search, "search the whole tree for (uid=X), all attributes of the one entry"},
		{Base, "read one entry by its name"},
		{And, "search with an AND of three conditions that one entry meets"},
		{Substring, "search with (cn=*X*), which one entry matches"},
		{Scan, "read all people in one search"},
		{Paged, "read all people in one search after another with paged results"},
		{Bind, "simple bind on an open connection, a different person each time"},
		{Connect, "connect, bind, unbind, close"},
		{Modify, "replace the value of one indexed attribute (uidNumber)"},
		{Add, "add entries; they are deleted at the end"},
		{Member, "add a member to a group; the members are taken out again at the end"},
		{Mixed, "a mix of these on every connection: " + DefaultMix},
	}
}

// User is somebody who can bind.
type User struct{ DN, Password string }

// Requests say what the requests of a workload look like. Base, Filter and the keys may be left empty for the data set.
type Requests struct {
	Data DataSet
	// Base is where searches begin, and with the base workload the entry. It and Filter may contain placeholders.
	Base, Filter string
	// Attributes are those asked for; none is all user attributes.
	Attributes []string
	// Keys fill PlaceKey in Base and Filter.
	Keys []string
	// Users bind in the bind and connect workloads instead of people of the data set.
	Users []User
	// Group is what the member workload adds to; empty is the data set's BigGroup or else its SmallGroup.
	Group string
	// Entries is how many entries the answer to a search must have; negative is any number. It matters only where Base or
	// Filter is given: for the data set the number is known.
	Entries int
	// PageSize is that of the paged workload.
	PageSize int
	// Mix is the mix of the mixed workload, such as DefaultMix.
	Mix string
	// Run is a word that no other run has: added entries are named after it.
	Run string
}

// part is a workload, or one of those that are mixed.
type part struct {
	name     string
	weight   int
	final    byte // tag of the final response
	patterns []pattern
	entries  int  // that an answer must have; negative is any
	named    bool // the entry is the person of the request
	rdn      int  // with named: offset of the number in the name
	users    bool // bind: patterns are of users
	paged    int32
	search   *ldap.SearchRequest // paged: the next page is made from it
	serial   bool                // numbers of PlaceSerial are used
	undo     *pattern            // what takes back one request, by the same serial number
}

// Changes reports whether a workload changes entries.
func Changes(workload string) bool {
	switch workload {
	case Modify, Add, Member, Mixed:
		return true
	}
	return false
}

// parts returns what the workload consists of.
func (r *Requests) parts(workload string) ([]*part, error) {
	if workload != Mixed {
		p, err := r.part(workload)
		if err != nil {
			return nil, err
		}
		p.weight = 1
		return []*part{p}, nil
	}
	mix := r.Mix
	if mix == "" {
		mix = DefaultMix
	}
	var out []*part
	for item := range strings.SplitSeq(mix, ",") {
		name, share, ok := strings.Cut(strings.TrimSpace(item), "=")
		weight := 0
		if _, err := fmt.Sscanf(share, "%d", &weight); !ok || err != nil || weight < 1 {
			return nil, fmt.Errorf("%q is no part of a mix: write workload=share, such as %s", item, DefaultMix)
		}
		switch name {
		case Bind, Connect, Mixed, Scan, Paged:
			return nil, fmt.Errorf("%s cannot be mixed with others on one connection: run it beside them with another \"portolan bench\"", name)
		}
		if slices.ContainsFunc(out, func(p *part) bool { return p.name == name }) {
			return nil, fmt.Errorf("%s stands twice in the mix %s", name, mix)
		}
		p, err := r.part(name)
		if err != nil {
			return nil, err
		}
		p.weight = weight
		out = append(out, p)
	}
	return out, nil
}

func (r *Requests) part(workload string) (*part, error) {
	switch workload {
	case Search, Base, And, Substring, Scan, Paged:
		return r.searchPart(workload)
	case Bind, Connect:
		return r.bindPart(workload)
	case Modify, Add, Member:
		return r.changePart(workload)
	}
	return nil, fmt.Errorf("there is no workload %q", workload)
}

// people is the filter of everybody in the data set.
const people = "(objectClass=inetOrgPerson)"

func (r *Requests) searchPart(workload string) (*part, error) {
	p := &part{name: workload, final: ldap.TagSearchResultDone, entries: 1, named: true, rdn: len("uid=u")}
	base, scope, filter := r.Data.Base, ldap.ScopeSub, r.Filter
	person := "uid=u" + PlacePerson
	switch workload {
	case Search:
		filter = cmpOr(filter, "("+person+")")
	case Base:
		base, scope = person+",ou=people,"+r.Data.Base, ldap.ScopeBase
		filter = cmpOr(filter, "(objectClass=*)")
	case And:
		filter = cmpOr(filter, "(&"+people+"(mail=u"+PlacePerson+"@mail.example.org)(sn=*))")
	case Substring:
		filter = cmpOr(filter, "(cn=*"+PlacePerson+"*)")
	case Scan, Paged:
		// There may be more people than the data set has: those that an add workload has left.
		filter, p.entries, p.named = cmpOr(filter, people), -1, false
		base = "ou=people," + r.Data.Base
	}
	if workload == Paged {
		if r.PageSize < 1 {
			return nil, errors.New("a page has at least one entry")
		}
		p.paged = int32(r.PageSize)
	}
	if r.Filter != "" || r.Base != "" {
		base, p.entries, p.named = cmpOr(r.Base, base), r.Entries, false
	}
	keys := []string{""}
	if strings.Contains(base+filter, PlaceKey) {
		if keys = r.Keys; len(keys) == 0 {
			return nil, fmt.Errorf("%s stands for a line of a file of keys: name one", PlaceKey)
		}
	}
	for _, key := range keys {
		q, err := r.search(base, scope, filter, key)
		if err != nil {
			return nil, err
		}
		var controls []ldap.Control
		if p.paged > 0 {
			p.search = q
			controls = []ldap.Control{pagedControl(p.paged, nil)}
		}
		if err := p.add(q, controls...); err != nil {
			return nil, err
		}
	}
	if p.paged > 0 && (len(p.patterns) > 1 || len(p.patterns[0].holes) > 0) {
		return nil, errors.New("paged reads the same each time: leave placeholders out")
	}
	return p, nil
}

func cmpOr(text, otherwise string) string {
	if text != "" {
		return text
	}
	return otherwise
}

func (r *Requests) search(base string, scope ldap.Scope, filter, key string) (*ldap.SearchRequest, error) {
	// A key is a value, so that in a filter it is escaped.
	f, err := ldap.ParseFilter(withHoles(strings.ReplaceAll(filter, PlaceKey, ldap.EscapeFilterValue(key))))
	if err != nil {
		return nil, fmt.Errorf("the filter %s: %w", filter, err)
	}
	q := &ldap.SearchRequest{Base: octets(strings.ReplaceAll(base, PlaceKey, key)), Scope: scope, Filter: f}
	for _, a := range r.Attributes {
		q.Attributes = append(q.Attributes, []byte(a))
	}
	return q, nil
}

func (r *Requests) bindPart(workload string) (*part, error) {
	p := &part{name: workload, final: ldap.TagBindResponse, entries: 0, users: true}
	for _, u := range r.Users {
		if err := p.add(&ldap.BindRequest{Version: 3, Name: []byte(u.DN), Password: []byte(u.Password)}); err != nil {
			return nil, err
		}
	}
	if len(r.Users) == 0 {
		return p, p.add(&ldap.BindRequest{
			Version: 3, Name: octets("uid=u" + PlacePerson + ",ou=people," + r.Data.Base), Password: octets(passwordPrefix + PlacePerson),
		})
	}
	return p, nil
}

func (r *Requests) changePart(workload string) (*part, error) {
	p := &part{name: workload, entries: 0}
	var op, undo ldap.Op
	switch workload {
	case Modify:
		p.final = ldap.TagModifyResponse
		op = &ldap.ModifyRequest{Object: octets("uid=u" + PlacePerson + ",ou=people," + r.Data.Base), Changes: []ldap.Mod{
			{Op: ldap.ModReplace, Attribute: attribute("uidNumber", "1"+PlaceRandom)},
		}}
	case Add:
		p.final = ldap.TagAddResponse
		uid := "b" + r.Run + "-" + PlaceSerial
		dn := octets("uid=" + uid + ",ou=people," + r.Data.Base)
		op = &ldap.AddRequest{Entry: dn, Attributes: []ldap.Attribute{
			attribute("objectClass", "inetOrgPerson", "posixAccount"),
			attribute("uid", uid), attribute("cn", "Added Entry"), attribute("sn", "Added"), attribute("givenName", "Entry"),
			attribute("mail", uid+"@mail.example.org"), attribute("telephoneNumber", "+49 30 "+PlaceRandom), attribute("title", "Engineer"),
			attribute("l", "Berlin"), attribute("employeeNumber", PlaceSerial), attribute("uidNumber", "1"+PlaceRandom),
			attribute("gidNumber", "10000"), attribute("homeDirectory", "/home/"+uid), attribute("loginShell", "/bin/bash"),
			attribute("description", "added by portolan bench"),
		}}
		undo = &ldap.DelRequest{Entry: dn}
	case Member:
		p.final = ldap.TagModifyResponse
		group := r.Group
		if group == "" {
			if group = r.Data.SmallGroup(); r.Data.Members > 0 {
				group = r.Data.BigGroup()
			}
		}
		member := attribute("member", "uid=b"+r.Run+"-"+PlaceSerial+",ou=people,"+r.Data.Base)
		op = &ldap.ModifyRequest{Object: []byte(group), Changes: []ldap.Mod{{Op: ldap.ModAdd, Attribute: member}}}
		undo = &ldap.ModifyRequest{Object: []byte(group), Changes: []ldap.Mod{{Op: ldap.ModDelete, Attribute: member}}}
	}
	if undo != nil {
		u, err := newPattern(undo)
		if err != nil {
			return nil, err
		}
		p.undo = &u
	}
	return p, p.add(op)
}

func attribute(name string, values ...string) ldap.Attribute {
	a := ldap.Attribute{Type: []byte(name)}
	for _, v := range values {
		a.Values = append(a.Values, octets(v))
	}
	return a
}

// add adds one more request to choose from.
func (p *part) add(op ldap.Op, controls ...ldap.Control) error {
	pattern, err := newPattern(op, controls...)
	if err != nil {
		return err
	}
	p.patterns = append(p.patterns, pattern)
	p.serial = p.serial || pattern.uses(holeSerial)
	return nil
}

// pagedOID is the control of RFC 2696.
const pagedOID = "1.2.840.113556.1.4.319"

// pagedControl asks for the page behind a cookie.
func pagedControl(size int32, cookie []byte) ldap.Control {
	v, mark := ber.Begin(nil, ber.Sequence)
	v = ber.AppendInt(v, ber.Integer, int64(size))
	v = ber.AppendBytes(v, ber.OctetString, cookie)
	return ldap.Control{OID: []byte(pagedOID), Critical: true, Value: ber.End(v, mark), HasValue: true}
}

// pagedCookie returns the cookie of a response; empty at the end.
func pagedCookie(controls []ldap.Control) ([]byte, error) {
	for _, c := range controls {
		if string(c.OID) != pagedOID {
			continue
		}
		r := ber.Reader(c.Value)
		var seq ber.Reader
		var size int32
		var cookie []byte
		if !r.Element(ber.Sequence, &seq) || !seq.Int32(ber.Integer, 0, ldap.MaxMessageID, &size) || !seq.Bytes(ber.OctetString, &cookie) {
			return nil, errors.New("the paged results control of the answer is malformed")
		}
		return cookie, nil
	}
	return nil, errors.New("the answer has no paged results control")
}
