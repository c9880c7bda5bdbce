package engine

import (
	"bytes"
	"context"
	"errors"

	"github.com/google/uuid"

	"portolan/internal/access"
	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/internal/schema"
	"portolan/internal/store"
	"portolan/ldap"
)

// target finds the entry of a write and refuses what no client may write to.
func (tx *writeTx) target(dn []byte) (*dit.Entry, *access.Target, error) {
	entry, err := tx.e.find(tx, dn, tx.rights, findOptions{manage: tx.req.Write.ManageDsaIT})
	if err != nil {
		return nil, nil, err
	}
	name, err := tx.Name(entry)
	if err != nil {
		return nil, nil, err
	}
	target := &access.Target{Entry: entry, Name: name, Large: tx}
	if err := tx.relax(target); err != nil {
		return nil, nil, err
	}
	for _, before := range tx.req.Write.Before {
		if err := before(tx, entry, name); err != nil {
			return nil, nil, err
		}
	}
	return entry, target, nil
}

// relax lifts rules for an operation that asks for it, where the requester has the right to control the entry, or the one
// above an entry to be added.
func (tx *writeTx) relax(target *access.Target) error {
	if !tx.req.Write.Relax {
		return nil
	}
	if tx.rights.EntryRights(target)&access.Control == 0 {
		return ldap.Errorf(ldap.InsufficientAccessRights, "relaxing the rules takes the right to control the entry")
	}
	tx.relaxed = true
	return nil
}

// notSpecial refuses writes to entries that are not stored.
func (e *Engine) notSpecial(dn []byte) error {
	norm, err := normalize(e.Schema(), dn)
	if err != nil {
		return err
	}
	if e.special[norm] != nil || e.treeOf(norm) != nil {
		return ldap.Errorf(ldap.UnwillingToPerform, "%q is maintained by the server itself", clip(dn))
	}
	return nil
}

var errRights = ldap.Errorf(ldap.InsufficientAccessRights, "")

// errPasswordRights is errRights where it is the password of a new entry that the requester may not write.
var errPasswordRights = ldap.Errorf(ldap.InsufficientAccessRights, "")

// after shows the result of an operation to post-read, when all that follows from it is done.
func (tx *writeTx) after() error {
	if len(tx.req.Write.After) == 0 || tx.changed == 0 {
		return nil
	}
	entry, err := tx.Get(tx.changed)
	if err != nil || entry == nil {
		return err // what followed has deleted it
	}
	name, err := tx.Name(entry)
	if err != nil {
		return err
	}
	for _, after := range tx.req.Write.After {
		if err := after(tx, entry, name); err != nil {
			return err
		}
	}
	return nil
}

// write performs an add, delete, modify or modifyDN as one transaction of its own.
func (e *Engine) write(ctx context.Context, req *op.Request, set *Settings) error {
	if m, ok := req.Op.(*ldap.ModifyRequest); ok && e.isSubschema(m.Object) {
		return e.modifySubschema(req.Detach(ctx), req, m, set)
	}
	for range maxPrepares {
		run, err := e.plan(ctx, req, set)
		if err != nil {
			return err
		}
		if err = e.update(ctx, req, set, run); !errors.Is(err, errMoved) {
			switch err {
			case nil:
				e.unrestrict(req)
			case errPasswordRights:
				req.SetPolicyError(op.PasswordModNotAllowed) // draft-behera-ldap-password-policy section 8.2.3
			}
			return err
		}
	}
	return errContended
}

// unrestrict lets a session that had to change its password first go on, now that it has.
func (e *Engine) unrestrict(req *op.Request) {
	id := req.Conn.Identity()
	m, ok := req.Op.(*ldap.ModifyRequest)
	if !ok || !id.Restricted || !e.ownPassword(req, m) {
		return
	}
	for i := range m.Changes {
		if m.Changes[i].Op != ldap.ModDelete && len(m.Changes[i].Attribute.Values) > 0 {
			free := *id
			free.Restricted = false
			req.Conn.SetIdentity(&free)
			return
		}
	}
}

var errContended = ldap.Errorf(ldap.Busy, "the entry is being changed by others all the time: try it again later")

// plan does all of a write that comes before the transaction, and returns what the transaction is to do. It may be planned
// again.
func (e *Engine) plan(ctx context.Context, req *op.Request, set *Settings) (func(*writeTx) error, error) {
	switch m := req.Op.(type) {
	case *ldap.ModifyRequest:
		return e.planModify(ctx, req, m, set)
	case *ldap.AddRequest:
		return e.planAdd(ctx, req, m, set)
	case *ldap.DelRequest:
		return e.planDelete(m)
	case *ldap.ModifyDNRequest:
		return e.planModifyDN(m)
	}
	return nil, ldap.Errorf(ldap.ProtocolError, "this is not a request that changes entries")
}

// planModify prepares RFC 4511 section 4.6. Passwords are hashed outside the transaction, against the entry as it is now.
func (e *Engine) planModify(ctx context.Context, req *op.Request, m *ldap.ModifyRequest, set *Settings) (func(*writeTx) error, error) {
	if len(m.Object) == 0 || mayBeSpecial(m.Object) {
		// Any other name is normalized where the entry is looked for, which says whether it is a name at all.
		if err := e.notSpecial(m.Object); err != nil {
			return nil, err
		}
	}
	if req.Identity.MustChange() && !e.ownPassword(req, m) {
		return nil, mustChange(req)
	}
	entry, err := e.forPrepare(req, set, m)
	if err != nil {
		return nil, err
	}
	ready, err := e.prepare(req.Detach(ctx), req, set, m.Object, entry, m.Changes)
	if err != nil {
		return nil, err
	}
	return func(tx *writeTx) error { return tx.modify(m, ready) }, nil
}

// forPrepare returns the entry that passwords are prepared for; nil where there are none in the request, or no entry
// that the client may write to: the transaction says so.
func (e *Engine) forPrepare(req *op.Request, set *Settings, m *ldap.ModifyRequest) (*dit.Entry, error) {
	if !changesPassword(e.Schema(), m.Changes) {
		return nil, nil
	}
	view := e.o.Store.View()
	defer view.Close()
	rights := e.rights(req, set, view.Schema())
	entry, err := e.find(view, m.Object, rights, findOptions{manage: req.Write.ManageDsaIT})
	if err != nil {
		if code := ldap.CodeOf(err); req.Write.Batched && (code == ldap.NoSuchObject || code == ldap.Referral) {
			return nil, nil // an earlier operation of the batch may add it; and controls come with the transaction
		}
		return nil, err
	}
	name, err := view.Name(entry)
	if err != nil {
		return nil, err
	}
	// Without the right to write it, nothing is hashed or compared: not even the time may tell.
	target := &access.Target{Entry: entry, Name: name, Large: view}
	for i := range m.Changes {
		if err := mayModify(view.Schema(), rights, target, &m.Changes[i]); err != nil && isPassword(view.Schema(), m.Changes[i].Attribute.Type) {
			req.SetPolicyError(op.PasswordModNotAllowed) // draft-behera-ldap-password-policy section 8.2.3
			return nil, err
		}
	}
	return entry, nil
}

// ownPassword reports whether a modify changes the password of the requester's own entry and nothing else.
func (e *Engine) ownPassword(req *op.Request, m *ldap.ModifyRequest) bool {
	norm, err := normalize(e.Schema(), m.Object)
	if err != nil || norm != req.Identity.Name.Norm || req.Identity.Proxied != nil {
		return false
	}
	for i := range m.Changes {
		if !isPassword(e.Schema(), m.Changes[i].Attribute.Type) {
			return false
		}
	}
	return true
}

func (tx *writeTx) modify(m *ldap.ModifyRequest, ready *prepared) error {
	entry, target, err := tx.target(m.Object)
	if err != nil {
		return err
	}
	if ready.seq != 0 && ready.seq != entry.Seq && entry.Seq != tx.Seq() {
		return errMoved
	}
	s := tx.Schema()
	tx.keys = ready.keys
	d := entry.Edit(tx)
	computed := 0
	for i := range ready.mods {
		mod := &ready.mods[i]
		taken, err := tx.writeView(entry, target, mod)
		if err != nil {
			return err
		}
		if taken {
			computed++
			continue
		}
		desc, err := writable(s, mod.Attribute.Type, tx.relaxed)
		if err != nil {
			return err
		}
		if err := mayModify(s, tx.rights, target, mod); err != nil {
			return err
		}
		if err := apply(s, d, desc, mod, tx.req.Write.Permissive); err != nil {
			return err
		}
	}
	if err := keepsName(s, entry, d); err != nil {
		return err
	}
	if err := keepsSuperclasses(s, ready.mods, d); err != nil {
		return err
	}
	if tx.relaxed {
		if err := tx.checkRelaxed(d); err != nil {
			return err
		}
	}
	tx.changed = entry.ID
	if computed > 0 && computed == len(ready.mods) {
		return nil
	}
	return tx.finish(d)
}

// writeView offers a change to the view that computes its attribute. What is only computed is not in the entry: a change
// of such attributes alone leaves the entry as it is.
func (tx *writeTx) writeView(entry *dit.Entry, target *access.Target, mod *ldap.Mod) (taken bool, err error) {
	s := tx.Schema()
	desc, err := s.Describe(mod.Attribute.Type)
	if err != nil || desc.Type == nil || desc.Options != "" {
		return false, nil // writable says what is wrong
	}
	view := tx.e.views(s).of(desc.Type)
	if view == nil || view.Write == nil {
		return false, nil
	}
	if err := mayModify(s, tx.rights, target, mod); err != nil {
		return false, err
	}
	return view.Write(tx, tx.req, entry, desc.Type, mod.Op, mod.Attribute.Values)
}

// writable resolves an attribute description that a client wants to write.
func writable(s *schema.Schema, name []byte, relax bool) (schema.Description, error) {
	desc, err := s.Describe(name)
	if err != nil {
		return desc, ldap.Errorf(ldap.InvalidAttributeSyntax, "%q is not an attribute description: %v", clip(name), err)
	}
	if desc.Type == nil {
		return desc, ldap.Errorf(ldap.UndefinedAttributeType, "%q: attribute type or option undefined", clip(name))
	}
	if desc.IsRange() {
		return desc, errRange(desc)
	}
	if desc.Type.NoUserModification && !(relax && relaxable(s, desc)) {
		return desc, ldap.Errorf(ldap.ConstraintViolation, "%s: is maintained by the server, no user modification allowed", desc)
	}
	if desc.Type.Obsolete && !relax {
		return desc, ldap.Errorf(ldap.ConstraintViolation, "%s: the attribute type is obsolete", desc)
	}
	return desc, nil
}

// relaxable are the attributes that a manager may write though the server maintains them (draft-zeilenga-ldap-relax section
// 3.6). The document wants all others left alone.
func relaxable(s *schema.Schema, desc schema.Description) bool {
	known := &s.Known
	switch desc.Type {
	case known.EntryUUID, known.CreateTimestamp, known.ModifyTimestamp, known.CreatorsName, known.ModifiersName:
		return desc.Options == ""
	}
	return false
}

// checkRelaxed refuses values of relaxed attributes that cannot be true, and a new entryUUID of an entry that has one: those
// who follow the directory know entries by it.
func (tx *writeTx) checkRelaxed(d *dit.Draft) error {
	known := &tx.Schema().Known
	touched := func(t *schema.AttributeType) bool { return d.Touched(schema.Description{Type: t}) }
	if d.Base != nil {
		if d.UUID.String() != string(d.First(known.EntryUUID)) {
			return ldap.Errorf(ldap.UnwillingToPerform, "entryUUID: can be chosen when an entry is added, not changed later")
		}
		for _, t := range []*schema.AttributeType{known.CreateTimestamp, known.ModifyTimestamp, known.CreatorsName, known.ModifiersName} {
			if d.First(t) == nil && d.Base.First(schema.Description{Type: t}) != nil {
				return ldap.Errorf(ldap.ConstraintViolation, "%s: cannot be removed", t.Name())
			}
		}
	}
	created, modified := d.First(known.CreateTimestamp), d.First(known.ModifyTimestamp)
	if !touched(known.CreateTimestamp) && !touched(known.ModifyTimestamp) {
		return nil
	}
	key := func(value []byte) []byte {
		if value == nil {
			value = tx.now
		}
		k, err := known.CreateTimestamp.Ordering.ValueKey(tx.Schema(), nil, value)
		if err != nil {
			return nil // the check of the value says what is wrong
		}
		return k
	}
	now := key(tx.now)
	if !touched(known.ModifyTimestamp) {
		modified = tx.now
	}
	switch {
	case bytes.Compare(key(created), now) > 0 || bytes.Compare(key(modified), now) > 0:
		return ldap.Errorf(ldap.ConstraintViolation, "the time of the creation or the modification is in the future")
	case bytes.Compare(key(created), key(modified)) > 0 && (created != nil || d.Base != nil):
		return ldap.Errorf(ldap.ConstraintViolation, "createTimestamp: is later than modifyTimestamp")
	}
	return nil
}

// mayModify asks the access rules about one change.
func mayModify(s *schema.Schema, rights *access.Evaluator, target *access.Target, mod *ldap.Mod) error {
	desc, err := s.Describe(mod.Attribute.Type)
	if err != nil || desc.Type == nil {
		return nil // the modify itself says what is wrong
	}
	have := rights.AttrRights(target, desc)
	var want access.Right
	switch {
	case mod.Op == ldap.ModAdd:
		want = access.Add
	case mod.Op == ldap.ModDelete:
		want = access.Delete
	default:
		want = access.Add | access.Delete
	}
	if have&want == want {
		return nil
	}
	// Rules may give single values away: everybody may add or delete himself.
	if len(mod.Attribute.Values) == 0 || mod.Op != ldap.ModAdd && mod.Op != ldap.ModDelete {
		return errRights
	}
	for _, v := range mod.Attribute.Values {
		if !rights.Value(target, desc, v, want) {
			return errRights
		}
	}
	return nil
}

// apply makes one change to a draft.
func apply(s *schema.Schema, d *dit.Draft, desc schema.Description, mod *ldap.Mod, permissive bool) error {
	switch mod.Op {
	case ldap.ModAdd:
		if len(mod.Attribute.Values) == 0 {
			return ldap.Errorf(ldap.ProtocolError, "%s: modify/add needs at least one value", desc)
		}
		if a := d.Attr(desc); desc.Type.Equality == nil && a != nil && a.Count() > 0 {
			// RFC 4512 section 2.5.1: single values of such a type are not to be added independently.
			return ldap.Errorf(ldap.InappropriateMatching, "%s: has no equality rule, so that values cannot be added to those there are; replace them all", desc)
		}
		return d.Add(s, desc, mod.Attribute.Values, permissive)
	case ldap.ModDelete:
		return d.Delete(s, desc, mod.Attribute.Values, permissive)
	case ldap.ModReplace:
		return d.Replace(s, desc, mod.Attribute.Values, permissive)
	case ldap.ModIncrement:
		return d.Increment(s, desc, mod.Attribute.Values)
	}
	return ldap.Errorf(ldap.ProtocolError, "%s: modify operation %d is not known", desc, mod.Op)
}

// keepsName refuses the removal of a value that names the entry (RFC 4511 section 4.6: notAllowedOnRDN).
func keepsName(s *schema.Schema, entry *dit.Entry, d *dit.Draft) error {
	if !d.TouchesNaming(s) {
		return nil
	}
	name, err := ldap.ParseDN(entry.RDN)
	if err != nil || len(name) == 0 {
		return err
	}
	for _, ava := range name[0] {
		t := s.AttributeTypeString(ava.Type)
		if t == nil {
			continue
		}
		desc := schema.Description{Type: t}
		if !d.Touched(desc) {
			continue
		}
		there, err := d.Has(s, desc, ava.Value)
		if err != nil {
			return err
		}
		if !there {
			return ldap.Errorf(ldap.NotAllowedOnRDN, "%s: a value that names the entry cannot be removed; rename the entry instead", t.Name())
		}
	}
	return nil
}

// planAdd prepares RFC 4511 section 4.7.
func (e *Engine) planAdd(ctx context.Context, req *op.Request, m *ldap.AddRequest, set *Settings) (func(*writeTx) error, error) {
	if err := e.notSpecial(m.Entry); err != nil {
		return nil, err
	}
	name, err := ldap.ParseDN(string(m.Entry))
	if err != nil {
		return nil, err
	}
	if len(name) == 0 {
		return nil, ldap.Errorf(ldap.UnwillingToPerform, "the root DSE cannot be added")
	}
	mods := make([]ldap.Mod, len(m.Attributes))
	for i := range m.Attributes {
		mods[i] = ldap.Mod{Op: ldap.ModAdd, Attribute: m.Attributes[i]}
		if len(m.Attributes[i].Values) == 0 {
			return nil, ldap.Errorf(ldap.ProtocolError, "%s: an attribute of an add needs at least one value", clip(m.Attributes[i].Type))
		}
	}
	if err := e.mayWrite(req, set); err != nil {
		return nil, err
	}
	if changesPassword(e.Schema(), mods) {
		// Rights first: who may not add here makes the server hash nothing.
		view := e.o.Store.View()
		err := e.mayAdd(view, e.rights(req, set, view.Schema()), name)
		view.Close()
		if err != nil {
			return nil, err
		}
	}
	ready, err := e.prepare(req.Detach(ctx), req, set, m.Entry, nil, mods)
	if err != nil {
		return nil, err
	}
	return func(tx *writeTx) error { return tx.add(name, ready) }, nil
}

// mayAdd asks for the right to add beneath the parent of a name.
func (e *Engine) mayAdd(r op.Reader, rights *access.Evaluator, name ldap.DN) error {
	above, _, err := r.Lookup(string(r.Schema().NormalizeParsed(nil, name[1:])))
	if err != nil || above == nil {
		return err // the add itself says what is wrong
	}
	aboveName, err := r.Name(above)
	if err != nil {
		return err
	}
	if rights.EntryRights(&access.Target{Entry: above, Name: aboveName, Large: r})&access.Add == 0 {
		return errRights
	}
	return nil
}

func (tx *writeTx) add(name ldap.DN, ready *prepared) error {
	s := tx.Schema()
	norm := s.NormalizeParsed(nil, name)
	if !tx.req.Write.ManageDsaIT {
		existing, matched, err := tx.Lookup(string(norm))
		if err != nil {
			return err
		}
		if err := tx.e.referred(tx, string(norm), existing, matched, false, findOptions{}); err != nil {
			return err
		}
	}
	if err := tx.mayAddHere(name, string(norm)); err != nil {
		return err
	}
	tx.keys = ready.keys
	d := dit.NewDraft()
	for i := range ready.mods {
		mod := &ready.mods[i]
		desc, err := writable(s, mod.Attribute.Type, tx.relaxed)
		if err != nil {
			return err
		}
		if err := apply(s, d, desc, mod, false); err != nil {
			return err
		}
		if tx.relaxed && desc.Type == s.Known.EntryUUID {
			if d.UUID, err = uuid.ParseBytes(mod.Attribute.Values[0]); err != nil {
				return ldap.Errorf(ldap.InvalidAttributeSyntax, "entryUUID: %v", err)
			}
		}
	}
	if d.Attr(schema.Description{Type: s.Known.ObjectClass}) == nil {
		return ldap.Errorf(ldap.ObjectClassViolation, "the entry has no objectClass")
	}
	if err := tx.mayAddAttributes(name, string(norm), d, ready.mods); err != nil {
		return err
	}
	if before := tx.req.Write.Before; len(before) > 0 {
		entry, err := tx.preview(name, d)
		if err != nil {
			return err
		}
		for _, f := range before {
			if err := f(tx, entry, dit.Name{DN: name.String(), Norm: string(norm)}); err != nil {
				return err
			}
		}
	}
	if tx.relaxed {
		if err := tx.checkRelaxed(d); err != nil {
			return err
		}
	}
	if err := tx.addAt(name, string(norm), d); err != nil {
		return err
	}
	added, _, err := tx.Lookup(string(norm))
	if err == nil && added != nil {
		tx.changed = added.ID
	}
	return err
}

// mayAddHere asks for the right to add beneath the parent; a suffix entry is the administrator's to add.
func (tx *writeTx) mayAddHere(name ldap.DN, norm string) error {
	if tx.Suffix(norm) {
		if !tx.req.Identity.Admin {
			return errRights
		}
		tx.relaxed = tx.req.Write.Relax
		return nil
	}
	if err := tx.e.mayAdd(tx, tx.rights, name); err != nil || !tx.req.Write.Relax {
		return err
	}
	above, _, err := tx.Lookup(string(tx.Schema().NormalizeParsed(nil, name[1:])))
	if err != nil || above == nil {
		return err // the add itself says what is wrong
	}
	aboveName, err := tx.Name(above)
	if err != nil {
		return err
	}
	return tx.relax(&access.Target{Entry: above, Name: aboveName, Large: tx})
}

// mayAddAttributes asks for the right to give a new entry its attributes, those of its name included. Rules that look
// into entries see it as it would be. That comes before anything says whether there is such an entry already, or whether
// an overlay would have it: who may not add it learns neither.
func (tx *writeTx) mayAddAttributes(name ldap.DN, norm string, d *dit.Draft, mods []ldap.Mod) error {
	if tx.req.Identity.Admin {
		return nil
	}
	target := &access.Target{Name: dit.Name{DN: name.String(), Norm: norm}, Large: tx, New: true}
	if tx.rights.LooksInside() {
		var err error
		if target.Entry, err = tx.preview(name, d); err != nil {
			return err
		}
	}
	for i := range mods {
		if err := mayModify(tx.Schema(), tx.rights, target, &mods[i]); err != nil {
			if isPassword(tx.Schema(), mods[i].Attribute.Type) {
				return errPasswordRights
			}
			return err
		}
	}
	for _, ava := range name[0] {
		naming := ldap.Mod{Op: ldap.ModAdd, Attribute: ldap.Attribute{Type: []byte(ava.Type), Values: [][]byte{ava.Value}}}
		if err := mayModify(tx.Schema(), tx.rights, target, &naming); err != nil {
			return err
		}
	}
	return nil
}

// preview makes the entry that a draft would be if it were added now, but for what overlays would do to it. It is for
// looking at, not for the store.
func (tx *writeTx) preview(name ldap.DN, d *dit.Draft) (*dit.Entry, error) {
	s := tx.Schema()
	p := d.Clone()
	p.RDN, p.NormRDN = name[0].String(), string(s.NormalizeRDN(nil, name[0]))
	above, _, err := tx.Lookup(string(s.NormalizeParsed(nil, name[1:])))
	if err != nil {
		return nil, err
	}
	if above != nil {
		p.Parent = above.ID
	}
	author := []byte(tx.req.Identity.Name.DN)
	p.Set(s.Known.CreatorsName, author)
	p.Set(s.Known.ModifiersName, author)
	p.Set(s.Known.CreateTimestamp, tx.now)
	p.Set(s.Known.ModifyTimestamp, tx.now)
	entry, _, err := p.Seal(tx.Shapes(), dit.SealOptions{Preview: true})
	return entry, err
}

// planDelete prepares RFC 4511 section 4.8.
func (e *Engine) planDelete(m *ldap.DelRequest) (func(*writeTx) error, error) {
	if err := e.notSpecial(m.Entry); err != nil {
		return nil, err
	}
	return func(tx *writeTx) error {
		entry, target, err := tx.target(m.Entry)
		if err != nil {
			return err
		}
		if tx.req.Write.TreeDelete {
			return tx.deleteTree(entry)
		}
		if tx.rights.EntryRights(target)&access.Delete == 0 {
			return errRights
		}
		if err := tx.removeBelongings(entry); err != nil {
			return err
		}
		return tx.remove(entry)
	}, nil
}

// removeBelongings deletes what stands beneath an entry and is nothing without it, where there is nothing else: whoever
// deletes an account need not know what it holds.
func (tx *writeTx) removeBelongings(entry *dit.Entry) error {
	var ids []dit.ID
	err := tx.Children(entry.ID, func(child dit.ID) bool {
		ids = append(ids, child)
		return len(ids) <= maxBelongings
	})
	if err != nil || len(ids) > maxBelongings {
		return err
	}
	for _, id := range ids {
		child, err := tx.Get(id)
		if err != nil || child == nil || !tx.e.belongs(tx.Schema(), child) {
			return err
		}
	}
	for _, id := range ids {
		if err := tx.Delete(id); err != nil {
			return err
		}
	}
	return nil
}

// maxBelongings bounds what is looked at for it.
const maxBelongings = 1000

// belongs asks the overlays whether an entry is nothing without the one above it.
func (e *Engine) belongs(s *schema.Schema, child *dit.Entry) bool {
	for i := range e.o.Overlays {
		if f := e.o.Overlays[i].Belongs; f != nil && f(s, child) {
			return true
		}
	}
	return false
}

// deleteTree deletes an entry and all beneath it, the leaves first (draft-armijo-ldap-treedelete). Every entry needs the
// right; one that may not be deleted undoes all. Aliases and referral objects beneath it are entries like others.
func (tx *writeTx) deleteTree(entry *dit.Entry) error {
	var tree []*dit.Entry // parents before children
	if err := op.Walk(tx, entry.ID, func(e *dit.Entry) error {
		name, err := tx.Name(e)
		if err != nil {
			return err
		}
		if tx.rights.EntryRights(&access.Target{Entry: e, Name: name, Large: tx})&access.Delete == 0 {
			return errRights
		}
		tree = append(tree, e)
		if most := tx.req.Limits.Changes; most > 0 && len(tree) > most {
			return tooMany(most)
		}
		return nil
	}); err != nil {
		return err
	}
	for i := len(tree) - 1; i >= 0; i-- {
		if err := tx.remove(tree[i]); err != nil {
			return err
		}
	}
	return nil
}

// planModifyDN prepares RFC 4511 section 4.9.
func (e *Engine) planModifyDN(m *ldap.ModifyDNRequest) (func(*writeTx) error, error) {
	if err := e.notSpecial(m.Entry); err != nil {
		return nil, err
	}
	if m.HasNewSuperior {
		if err := e.notSpecial(m.NewSuperior); err != nil {
			return nil, err
		}
	}
	rdn, err := ldap.ParseRDN(string(m.NewRDN))
	if err != nil {
		return nil, err
	}
	return func(tx *writeTx) error { return tx.modifyDN(m, rdn) }, nil
}

func (tx *writeTx) modifyDN(m *ldap.ModifyDNRequest, rdn ldap.RDN) error {
	entry, target, err := tx.target(m.Entry)
	if err != nil {
		return err
	}
	if tx.rights.EntryRights(target)&access.Rename == 0 {
		return errRights
	}
	if entry.Parent == 0 {
		return ldap.Errorf(ldap.UnwillingToPerform, "a naming context cannot be renamed or moved")
	}
	s := tx.Schema()
	d := entry.Edit(tx)
	if m.HasNewSuperior {
		if err := tx.moveUnder(m.NewSuperior, entry, d); err != nil {
			return err
		}
	}
	if m.DeleteOldRDN {
		if err := dropOldName(s, entry, d); err != nil {
			return err
		}
	}
	for _, ava := range rdn {
		desc, err := writable(s, []byte(ava.Type), false)
		if err != nil {
			return err
		}
		if err := d.Add(s, desc, [][]byte{ava.Value}, true); err != nil {
			return err
		}
	}
	d.RDN, d.NormRDN = rdn.String(), string(s.NormalizeRDN(nil, rdn))
	tx.changed = entry.ID
	return tx.taken(d, tx.finish(d))
}

// errElsewhere is the answer to a move to where a referral object says that another server's entries are (RFC 3296 section
// 5.6.2).
var errElsewhere = ldap.Errorf(ldap.AffectsMultipleDSAs, "the new name is at or beneath a referral object: the entries there are another server's")

// taken looks at a rename that failed: who does not manage referral objects is not told of one as of an entry.
func (tx *writeTx) taken(d *dit.Draft, err error) error {
	if tx.req.Write.ManageDsaIT || ldap.CodeOf(err) != ldap.EntryAlreadyExists {
		return err
	}
	above, failed := tx.Get(d.Parent)
	if failed != nil || above == nil {
		return err
	}
	name, failed := tx.Name(above)
	if failed != nil {
		return err
	}
	if there, _, failed := tx.Lookup(d.NormRDN + "," + name.Norm); failed == nil && there != nil && there.Referral {
		return errElsewhere
	}
	return err
}

// moveUnder gives a draft its new parent.
func (tx *writeTx) moveUnder(superior []byte, entry *dit.Entry, d *dit.Draft) error {
	if len(superior) == 0 {
		return ldap.Errorf(ldap.UnwillingToPerform, "an entry cannot be moved above the naming contexts")
	}
	parent, err := tx.e.find(tx, superior, tx.rights, findOptions{manage: tx.req.Write.ManageDsaIT})
	if ldap.CodeOf(err) == ldap.Referral {
		return errElsewhere
	}
	if err != nil {
		return err
	}
	name, err := tx.Name(parent)
	if err != nil {
		return err
	}
	if tx.rights.EntryRights(&access.Target{Entry: parent, Name: name, Large: tx})&access.Add == 0 {
		return errRights
	}
	if parent.Alias {
		return ldap.Errorf(ldap.AliasProblem, "an alias has no entries beneath it")
	}
	inside, err := tx.Under(parent, entry.ID)
	if err != nil {
		return err
	}
	if inside {
		return ldap.Errorf(ldap.UnwillingToPerform, "an entry cannot be moved beneath itself")
	}
	d.Parent = parent.ID
	return nil
}

// dropOldName removes the values of the old RDN. The new one puts back those that both have, as it writes them: a rename
// that changes the case alone changes the value.
func dropOldName(s *schema.Schema, entry *dit.Entry, d *dit.Draft) error {
	old, err := ldap.ParseRDN(entry.RDN)
	if err != nil {
		return err
	}
	for _, ava := range old {
		t := s.AttributeTypeString(ava.Type)
		if t == nil {
			continue
		}
		if err := d.Delete(s, schema.Description{Type: t}, [][]byte{ava.Value}, true); err != nil {
			return err
		}
	}
	return nil
}

var _ op.Tx = (*writeTx)(nil)
var _ op.Reader = (*store.View)(nil)
