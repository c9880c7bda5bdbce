package bench

import (
	"crypto/sha1" // #nosec G505 -- hashes of made-up passwords
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"strings"

	"portolan/ldap"
	"portolan/ldif"
)

// DefaultBase is the suffix of the generated data set.
const DefaultBase = "dc=example,dc=org"

// MaxPeople is how many people a data set can have: their numbers have seven digits, so that a request for one has the
// length of a request for another.
const MaxPeople = 9_999_999

const (
	numberWidth = 7
	maxGroups   = 999_999
	// SeededGroupMembers is how many members each of DataSet.Groups has.
	SeededGroupMembers = 10
)

// DataSet describes a directory that is made up from a few numbers: the same numbers give the same octets. The passwords
// of its entries are known to everybody who has this program, so it must not be loaded beside anything that matters.
type DataSet struct {
	Base string // the suffix; its first RDN is dc or o
	Seed uint64
	// People stand beneath ou=people and are numbered from zero.
	People int
	// Groups are groupOfNames of SeededGroupMembers people each, beneath ou=groups.
	Groups int
	// PosixGroups are groups of the same size by memberUid.
	PosixGroups int
	// Members, where not zero, is how many members BigGroup has. At most People.
	Members int
}

// Validate says what is wrong with the numbers.
func (d *DataSet) Validate() error {
	switch {
	case d.People < 1 || d.People > MaxPeople:
		return fmt.Errorf("%d people cannot be made: 1 to %d can", d.People, MaxPeople)
	case d.Groups < 0 || d.Groups > maxGroups || d.PosixGroups < 0 || d.PosixGroups > maxGroups:
		return fmt.Errorf("there can be up to %d groups of a kind", maxGroups)
	case d.Members < 0 || d.Members > d.People:
		return fmt.Errorf("a group of %d members needs as many people: there are %d", d.Members, d.People)
	}
	_, _, err := suffixRDN(d.Base)
	return err
}

func suffixRDN(base string) (attr, value string, err error) {
	dn, err := ldap.ParseDN(base)
	if err != nil {
		return "", "", fmt.Errorf("the base %q is not a DN: %w", base, err)
	}
	if len(dn) == 0 || len(dn[0]) != 1 {
		return "", "", fmt.Errorf("the base %q does not begin with dc= or o=: write one such as %s", base, DefaultBase)
	}
	attr, value = strings.ToLower(dn[0][0].Type), string(dn[0][0].Value)
	if attr != "dc" && attr != "o" {
		return "", "", fmt.Errorf("the base %q does not begin with dc= or o=: write one such as %s", base, DefaultBase)
	}
	return attr, value, nil
}

// Reader is the name of the account that reads.
func (d *DataSet) Reader() string { return "uid=reader,ou=services," + d.Base }

// Writer is the name of the account that changes entries. It is a member of Admins.
func (d *DataSet) Writer() string { return "uid=writer,ou=services," + d.Base }

// BigGroup is the name of the group with Members members.
func (d *DataSet) BigGroup() string { return "cn=everyone,ou=groups," + d.Base }

// SmallGroup is the name of the first of Groups.
func (d *DataSet) SmallGroup() string { return "cn=" + groupName('g', 0) + ",ou=groups," + d.Base }

// Admins is the name of the group to which Portolan's built-in access rules give the right to change entries.
func (d *DataSet) Admins() string { return "cn=admins,ou=groups," + d.Base }

// Person returns the name of a person.
func (d *DataSet) Person(n int) string { return "uid=u" + number(n) + ",ou=people," + d.Base }

// ServicePassword is the password of Reader and Writer.
const ServicePassword = "known-to-everybody"

// passwordPrefix stands before the number in a person's password.
const passwordPrefix = "password-"

// Password returns the password of a person.
func Password(n int) string { return passwordPrefix + number(n) }

// groupName has fewer digits than the number of a person: a search for one does not find groups.
func groupName(kind byte, n int) string { return fmt.Sprintf("%c%06d", kind, n) }

func number(n int) string {
	s := strconv.Itoa(n)
	return strings.Repeat("0", max(0, numberWidth-len(s))) + s
}

var givenNames = strings.Fields(`Ada Alan Amara Anders Anna Antonio Astrid Beatriz Björn Carmen Chen Chloé Dagmar Daniel Diego Dmitri
	Elena Emil Esra Farid Fatima Felix Gabriel Greta Hanna Hugo Ines Isaac Ivana Jakub Jana Jelena Joao Jonas Kaito Karin Katarzyna
	Lars Leila Lena Linh Lucía Magnus Malik Mareike Mario Mei Mikael Mina Nadia Niko Noor Olga Omar Paula Pavel Priya Rafael Rosa
	Sanna Sofia Tariq Tomasz Yuki`)

var surnames = strings.Fields(`Abe Adler Ahmed Almeida Andersson Bakker Bauer Becker Berg Bianchi Brown Castro Cohen Costa Dubois
	Eriksen Evans Fernandez Fischer Garcia Hansen Haas Ibrahim Ivanova Jansen Johansson Kaya Keller Khan Kim Kowalska Kumar Larsen
	Laurent Lee Lopez Maier Martin Meyer Moreau Nagy Nakamura Nguyen Novak Okafor Olsen Pereira Petrov Popescu Ricci Rossi Santos
	Sato Schmidt Silva Singh Svensson Tanaka Torres Virtanen Wagner Wang Yilmaz Zhang`)

var titles = strings.Fields("Accountant Analyst Architect Assistant Consultant Designer Director Engineer Librarian Manager Nurse Planner Researcher Secretary Teacher Technician")

var places = strings.Fields("Aarhus Berlin Bordeaux Gdansk Helsinki Kyoto Leiden Lisboa Madrid Oslo Praha Sevilla Torino Uppsala Wien Zagreb")

// WriteLDIF writes the data set, parents before children. progress, which may be nil, is told how many people are done.
func (d *DataSet) WriteLDIF(out io.Writer, progress func(people int)) error {
	if err := d.Validate(); err != nil {
		return err
	}
	w := ldif.NewWriter(out, ldif.WriterOptions{}) // slapadd does not take a version line alone
	if err := w.Comment("Made by portolan bench --make-ldif. Everybody knows the passwords: never load it beside real data."); err != nil {
		return err
	}
	if err := d.writeTop(w); err != nil {
		return err
	}
	for n := range d.People {
		if err := w.WriteEntry(d.Person(n), d.attributes(n)); err != nil {
			return err
		}
		if progress != nil && (n+1)%1000 == 0 {
			progress(n + 1)
		}
	}
	if err := d.writeGroups(w); err != nil {
		return err
	}
	return w.Close()
}

func (d *DataSet) writeTop(w *ldif.Writer) error {
	attr, value, err := suffixRDN(d.Base)
	if err != nil {
		return err
	}
	top := list("objectClass", "organization", "o", value)
	if attr == "dc" {
		top = list("objectClass", "organization", "objectClass", "dcObject", "o", value, "dc", value)
	}
	err = w.WriteEntry(d.Base, top)
	for _, ou := range []string{"people", "groups", "services"} {
		err = errors.Join(err, w.WriteEntry("ou="+ou+","+d.Base, list("objectClass", "organizationalUnit", "ou", ou)))
	}
	for i, name := range []string{"reader", "writer"} {
		err = errors.Join(err, w.WriteEntry("uid="+name+",ou=services,"+d.Base, list("objectClass", "account", "objectClass", "simpleSecurityObject",
			"uid", name, "userPassword", ssha(ServicePassword, d.Seed, uint64(MaxPeople+1+i)))))
	}
	return errors.Join(err, w.WriteEntry(d.Admins(), list("objectClass", "groupOfNames", "cn", "admins", "member", d.Writer())))
}

func (d *DataSet) writeGroups(w *ldif.Writer) error {
	for g := range d.Groups {
		attrs := list("objectClass", "groupOfNames", "cn", groupName('g', g))
		for _, n := range d.members(g) {
			attrs = append(attrs, list("member", d.Person(n))...)
		}
		if err := w.WriteEntry("cn="+groupName('g', g)+",ou=groups,"+d.Base, merge(attrs)); err != nil {
			return err
		}
	}
	for g := range d.PosixGroups {
		attrs := list("objectClass", "organizationalRole", "objectClass", "posixGroup", "cn", groupName('p', g), "gidNumber", strconv.Itoa(firstGID+g))
		for _, n := range d.members(d.Groups + g) {
			attrs = append(attrs, list("memberUid", "u"+number(n))...)
		}
		if err := w.WriteEntry("cn="+groupName('p', g)+",ou=groups,"+d.Base, merge(attrs)); err != nil {
			return err
		}
	}
	if d.Members == 0 {
		return nil
	}
	member := ldap.Attribute{Type: []byte("member"), Values: make([][]byte, d.Members)}
	for n := range d.Members {
		member.Values[n] = []byte(d.Person(n))
	}
	return w.WriteEntry(d.BigGroup(), append(list("objectClass", "groupOfNames", "cn", "everyone"), member))
}

// members returns the numbers of different people, chosen by the seed and the group.
func (d *DataSet) members(group int) []int {
	r := rand.New(rand.NewPCG(d.Seed, 1<<32|uint64(group))) // #nosec G404 -- made-up groups, the same every time
	want := min(SeededGroupMembers, d.People)
	seen := make(map[int]bool, want)
	out := make([]int, 0, want)
	for len(out) < want {
		if n := r.IntN(d.People); !seen[n] {
			seen[n] = true
			out = append(out, n)
		}
	}
	return out
}

// uidNumber and gidNumber of the first. Those that the modify workload sets lie above them all.
const (
	firstUID = 10_000
	firstGID = 10_000
)

// attributes returns the sixteen attributes of a person.
func (d *DataSet) attributes(n int) []ldap.Attribute {
	r := rand.New(rand.NewPCG(d.Seed, uint64(n))) // #nosec G404 -- made-up people, the same every time
	given, sn := givenNames[r.IntN(len(givenNames))], surnames[r.IntN(len(surnames))]
	title, place := titles[r.IntN(len(titles))], places[r.IntN(len(places))]
	num := number(n)
	return merge(list(
		"objectClass", "person", "objectClass", "organizationalPerson", "objectClass", "inetOrgPerson", "objectClass", "posixAccount",
		"uid", "u"+num,
		"cn", given+" "+sn+" "+num,
		"sn", sn,
		"givenName", given,
		"mail", "u"+num+"@mail.example.org",
		"telephoneNumber", fmt.Sprintf("+49 30 %s %04d", num, r.IntN(10_000)),
		"title", title,
		"l", place,
		"employeeNumber", strconv.Itoa(100_000+n),
		"uidNumber", strconv.Itoa(firstUID+n),
		"gidNumber", strconv.Itoa(firstGID+r.IntN(1000)),
		"homeDirectory", "/home/"+num[:3]+"/u"+num,
		"loginShell", "/bin/bash",
		"description", title+" in "+place+", floor "+strconv.Itoa(r.IntN(40))+", room "+strconv.Itoa(r.IntN(1000))+
			"; prefers messages in the morning, speaks "+place+"'s dialect and is away on Fridays",
		"userPassword", ssha(Password(n), d.Seed, uint64(n)),
	))
}

// list makes attributes of one value each from names and values.
func list(pairs ...string) []ldap.Attribute {
	out := make([]ldap.Attribute, 0, len(pairs)/2)
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, ldap.Attribute{Type: []byte(pairs[i]), Values: [][]byte{[]byte(pairs[i+1])}})
	}
	return out
}

// merge puts values of neighbours with the same name into one attribute.
func merge(attrs []ldap.Attribute) []ldap.Attribute {
	out := attrs[:0]
	for _, a := range attrs {
		if n := len(out); n > 0 && string(out[n-1].Type) == string(a.Type) {
			out[n-1].Values = append(out[n-1].Values, a.Values...)
			continue
		}
		out = append(out, a)
	}
	return out
}

// ssha returns a salted SHA-1 hash as slapd's {SSHA} scheme has it. The salt follows from the seed: the data set is to be
// the same every time, and its passwords are no secrets.
func ssha(password string, seed, n uint64) string {
	var salt [8]byte
	binary.BigEndian.PutUint64(salt[:], rand.NewPCG(seed, n^1<<63).Uint64())
	h := sha1.New() // #nosec G401 -- hashes of made-up passwords, in a form that every server takes
	h.Write([]byte(password))
	h.Write(salt[:])
	return "{SSHA}" + base64.StdEncoding.EncodeToString(append(h.Sum(nil), salt[:]...))
}

// Entries is how many entries the data set has in all.
func (d *DataSet) Entries() int {
	n := topEntries + d.People + d.Groups + d.PosixGroups
	if d.Members > 0 {
		n++
	}
	return n
}

// topEntries are the suffix, three parts of the tree, two accounts, and the group of administrators.
const topEntries = 7
