package control

import (
	"bytes"
	"context"

	"portolan/ber"
	"portolan/internal/access"
	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/internal/schema"
	"portolan/ldap"
)

// EffectiveRightsOID is the get effective rights control of Sun and 389 Directory Server.
const EffectiveRightsOID = "1.3.6.1.4.1.42.2.27.9.5.2"

// EffectiveRights adds to each entry of a result what somebody may do with it, in the form of 389 Directory Server:
//
//	entryLevelRights: vadn
//	attributeLevelRights: cn:rsc, userPassword:wo, member:rscWO
//
// v is to view the entry, a to add beneath it, d to delete and n to rename it; r, s, c, w and o are to read, search, compare,
// add and delete values of an attribute, W and O to add and delete the own name as a value. Everybody may ask about himself;
// about others who has the right to control the entry, and other entries are returned without rights. The rights are those
// of the subject on the requester's connection.
func EffectiveRights(p *op.Ports) op.Control {
	return op.Control{
		OID: EffectiveRightsOID, Name: "effectiveRights", Source: "draft-ietf-ldapext-acl-model, as in 389 Directory Server",
		Applies: on(ldap.TagSearchRequest),
		Parse:   parseEffectiveRights,
		Around: func(ctx context.Context, req *op.Request, value any, next func(context.Context) error) error {
			asked := value.(*rightsRequest)
			r := &rightsReport{req: req, ports: p, named: asked.attrs}
			var err error
			if r.subject, err = asked.who(p.Directory, req); err != nil {
				return err
			}
			req.Search.MoreAttributes = append(req.Search.MoreAttributes, r.entry)
			return next(ctx)
		},
	}
}

// rightsRequest is GetRightsControl: who, and further attributes.
type rightsRequest struct {
	authzID string
	self    bool
	attrs   [][]byte
}

// parseEffectiveRights takes the value as the document has it, SEQUENCE { authzId, SEQUENCE OF AttributeType OPTIONAL }, and as
// command line tools send it, the authorization identity alone. Without a value it is about the requester.
func parseEffectiveRights(c ldap.Control) (any, error) {
	malformed := ldap.Errorf(ldap.ProtocolError, `the value of the get effective rights control is neither "dn:" and a name nor a GetRightsControl`)
	q := &rightsRequest{authzID: string(c.Value), self: len(c.Value) == 0}
	if len(c.Value) > 0 && c.Value[0] == ber.Sequence {
		r := ber.Reader(c.Value)
		var seq, list ber.Reader
		var who []byte
		var has bool
		if !r.Element(ber.Sequence, &seq) || !r.Empty() || !seq.Bytes(ber.OctetString, &who) ||
			!seq.Optional(ber.Sequence, &list, &has) || !seq.Empty() {
			return nil, malformed
		}
		for !list.Empty() {
			var attr []byte
			if !list.Bytes(ber.OctetString, &attr) {
				return nil, malformed
			}
			if len(q.attrs) == maxListed {
				return nil, tooMany("get effective rights")
			}
			q.attrs = append(q.attrs, attr)
		}
		q.authzID, q.self = string(who), len(who) == 0
	}
	if kind, _, ok := bytes.Cut([]byte(q.authzID), []byte(":")); !q.self && (!ok || !bytes.EqualFold(kind, []byte("dn")) && !bytes.EqualFold(kind, []byte("u"))) {
		return nil, malformed
	}
	return q, nil
}

// who returns the subject. A name that is nobody's is a subject like others: whether there is such an entry is not told. nil
// is a user id that is nobody's.
func (q *rightsRequest) who(d op.Directory, req *op.Request) (*op.Identity, error) {
	if q.self {
		return req.Identity, nil
	}
	id, err := d.ParseAuthzID(q.authzID, req.Identity.Method)
	if err != nil || id != nil {
		return id, err
	}
	kind, dn, _ := bytes.Cut([]byte(q.authzID), []byte(":"))
	if !bytes.EqualFold(kind, []byte("dn")) {
		return nil, nil
	}
	view := d.View()
	defer view.Close()
	norm, err := view.Schema().NormalizeDN(nil, dn)
	if err != nil {
		return nil, err
	}
	return &op.Identity{Name: dit.Name{DN: string(dn), Norm: string(norm)}, Method: req.Identity.Method}, nil
}

// rightsReport is one search with the control.
type rightsReport struct {
	req     *op.Request
	ports   *op.Ports
	named   [][]byte
	subject *op.Identity

	reader op.Reader
	own    op.Sight // the requester's
	see    op.Sight // the subject's
}

// entry appends the two attributes.
func (r *rightsReport) entry(_ context.Context, reader op.Reader, e *dit.Entry, name dit.Name, dst []byte) ([]byte, error) {
	if r.subject == nil || e.ID == 0 {
		return dst, nil // of entries that are not stored no rule speaks
	}
	if r.reader != reader {
		as := &op.Request{Conn: r.req.Conn, Identity: r.subject, Start: r.req.Start}
		r.own, r.see, r.reader = r.ports.Directory.Sight(r.req, reader), r.ports.Directory.Sight(as, reader), reader
	}
	r.own.LookAs(e, name)
	if !r.subject.Same(r.req.Identity) && r.own.EntryRights()&access.Control == 0 {
		return dst, nil
	}
	attrs, err := r.attributes(reader.Schema(), e)
	if err != nil {
		return dst, err
	}
	r.see.LookAs(e, name)
	var line []byte
	for i, d := range attrs {
		if i > 0 {
			line = append(line, ", "...)
		}
		line = append(append(line, d.String()...), ':')
		line = r.appendAttrRights(line, d)
	}
	if len(attrs) == 0 {
		line = append(line, "*:none"...)
	}
	dst = appendAttribute(dst, "entryLevelRights", appendEntryRights(nil, r.see.EntryRights()))
	return appendAttribute(dst, "attributeLevelRights", line), nil
}

func appendAttribute(dst []byte, name string, value []byte) []byte {
	dst, attr := ber.Begin(dst, ber.Sequence)
	dst = ber.AppendString(dst, ber.OctetString, name)
	dst, set := ber.Begin(dst, ber.Set)
	dst = ber.AppendBytes(dst, ber.OctetString, value)
	return ber.End(ber.End(dst, set), attr)
}

// letter is a right with the letter that stands for it.
type letter struct {
	right access.Right
	name  byte
}

func appendLetters(dst []byte, have access.Right, letters []letter) []byte {
	for _, l := range letters {
		if have&l.right != 0 {
			dst = append(dst, l.name)
		}
	}
	return dst
}

func appendEntryRights(dst []byte, have access.Right) []byte {
	return orNone(dst, appendLetters(dst, have, []letter{{access.Read, 'v'}, {access.Add, 'a'}, {access.Delete, 'd'}, {access.Rename, 'n'}}))
}

func (r *rightsReport) appendAttrRights(dst []byte, d schema.Description) []byte {
	out := appendLetters(dst, r.see.AttrRights(d), []letter{
		{access.Read, 'r'}, {access.Search, 's'}, {access.Compare, 'c'}, {access.Add, 'w'}, {access.Delete, 'o'},
	})
	if d.Type.Syntax.OID == dnSyntax && r.subject.Name.Norm != "" {
		own := r.see.ValueRights(d, []byte(r.subject.Name.DN))
		out = appendLetters(out, own, []letter{{access.Add, 'W'}, {access.Delete, 'O'}})
	}
	return orNone(dst, out)
}

func orNone(before, after []byte) []byte {
	if len(after) == len(before) {
		return append(after, "none"...)
	}
	return after
}

// attributes are those that the report is about: what the search asks for, as far as the requester may know of it, and what
// the control names. "*" is everything that the entry may have by its object classes.
func (r *rightsReport) attributes(s *schema.Schema, e *dit.Entry) ([]schema.Description, error) {
	var out []schema.Description
	seen := make(map[schema.Description]bool)
	add := func(d schema.Description) {
		if d.Type != nil && !seen[d] {
			seen[d] = true
			out = append(out, d)
		}
	}
	list := r.req.Op.(*ldap.SearchRequest).Attributes
	err := r.own.EachAttribute(list, func(d schema.Description, _ [][]byte) bool {
		add(d)
		return true
	})
	if err != nil {
		return nil, err
	}
	for _, name := range append(list[:len(list):len(list)], r.named...) {
		switch {
		case string(name) == "*":
			err = r.own.EachAttribute([][]byte{[]byte("objectClass")}, func(_ schema.Description, classes [][]byte) bool {
				for _, class := range classes {
					addClass(s, string(class), add)
				}
				return true
			})
		case len(name) > 1 && name[0] == '@':
			addClass(s, string(name[1:]), add)
		default:
			if d, err := s.Describe(name); err == nil {
				add(d)
			}
		}
	}
	return out, err
}

func addClass(s *schema.Schema, name string, add func(schema.Description)) {
	class := s.ObjectClass(name)
	if class == nil {
		return
	}
	for _, list := range [2][]*schema.AttributeType{class.AllMust, class.AllMay} {
		for _, t := range list {
			add(schema.Description{Type: t})
		}
	}
}
