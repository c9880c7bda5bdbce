package engine

import (
	"context"
	"errors"
	"strconv"
	"time"

	"portolan/internal/access"
	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/internal/schema"
	"portolan/internal/store"
	"portolan/ldap"
)

// writeTx is a transaction in the eyes of an operation and of the overlays: the store's, with operational attributes,
// Prepare and Derive hooks and the limit on changes added. It implements op.Tx.
type writeTx struct {
	*store.Tx
	e      *Engine
	req    *op.Request
	set    *Settings
	rights *access.Evaluator
	now    []byte // generalizedTime of the transaction
	shown  int    // changes that Derive has seen

	changed dit.ID     // what the operation is about, for post-read
	relaxed bool       // the operation may break rules, see relax
	keys    []scramKey // of the passwords that the operation sets
}

// update runs one write as one transaction and fills in what the access log wants to know. It detaches the request: a
// write waits for the disk.
func (e *Engine) update(ctx context.Context, req *op.Request, set *Settings, fn func(tx *writeTx) error) error {
	if err := e.mayWrite(req, set); err != nil {
		return err
	}
	ctx = req.Detach(ctx)
	commit, err := e.o.Store.Update(ctx, metaOf(req), func(stx *store.Tx) error {
		tx := e.begin(stx, set)
		if err := tx.perform(req, fn); err != nil {
			return err
		}
		if req.Write.NoOp {
			return errNoOp
		}
		return nil
	})
	if err != nil {
		return e.writeError(err)
	}
	req.Trace.Seq = commit.Seq
	return nil
}

// metaOf says in the journal who asked for a write.
func metaOf(req *op.Request) store.Meta {
	meta := store.Meta{Author: req.Identity.Name.DN}
	if c := req.Conn; c != nil && c != internalConn {
		session := strconv.AppendUint(append(make([]byte, 0, 32), "conn="...), c.ID, 10)
		meta.Session = string(strconv.AppendInt(append(session, " op="...), int64(req.ID), 10))
	}
	if req.Identity.Proxied != nil {
		meta.AuthzID = "dn:" + req.Identity.Proxied.Name.DN
	}
	return meta
}

// begin returns the transaction as operations see it.
func (e *Engine) begin(stx *store.Tx, set *Settings) *writeTx {
	return &writeTx{Tx: stx, e: e, set: set, now: schema.AppendGeneralizedTime(nil, stx.Now().UTC().Truncate(time.Second))}
}

// perform does one operation in the transaction, with all that follows from it.
func (tx *writeTx) perform(req *op.Request, fn func(tx *writeTx) error) error {
	tx.req, tx.rights, tx.changed, tx.relaxed, tx.keys = req, tx.e.rights(req, tx.set, tx.Schema()), 0, false, nil
	if err := fn(tx); err != nil {
		return err
	}
	tx.relaxed = false
	if err := tx.derive(); err != nil {
		return err
	}
	return tx.after()
}

// Batch implements op.Directory.
func (e *Engine) Batch(ctx context.Context, reqs []*op.Request) (failed int, err error) {
	set := e.Settings()
	for range maxPrepares {
		if failed, err = e.batch(ctx, reqs, set); !errors.Is(err, errMoved) {
			return failed, err
		}
	}
	return failed, errContended
}

func (e *Engine) batch(ctx context.Context, reqs []*op.Request, set *Settings) (failed int, err error) {
	if len(reqs) == 0 {
		return -1, nil
	}
	runs := make([]func(*writeTx) error, len(reqs))
	for i, req := range reqs {
		if err := e.mayWrite(req, set); err != nil {
			return i, err
		}
		req.Limits = set.Limits(req.Identity, e.members.inGroup(e, req.Identity))
		req.Write = op.WritePlan{Batched: true}
		if runs[i], err = e.plan(ctx, req, set); err != nil {
			return i, err
		}
	}
	commit, err := e.o.Store.Update(ctx, metaOf(reqs[0]), func(stx *store.Tx) error {
		failed = -1
		tx := e.begin(stx, set)
		for i, req := range reqs {
			// The transaction may run again: what controls left behind in the request is of the run before.
			req.Write, req.Reply = op.WritePlan{Batched: true}, op.Reply{}
			err := e.withControls(ctx, req, func(context.Context) error { return tx.perform(req, runs[i]) })
			e.respond(req)
			if err != nil {
				failed = i
				return err
			}
			if req.Write.NoOp {
				failed = i
				return errNoOp
			}
		}
		return nil
	})
	if err != nil {
		return failed, e.writeError(err)
	}
	for _, req := range reqs {
		req.Trace.Seq = commit.Seq
	}
	return -1, nil
}

// errNoOp undoes a transaction that was only tried (draft-zeilenga-ldap-noop).
var errNoOp = ldap.Errorf(ldap.NoOperation, "")

// mayWrite refuses writes to a server that takes none.
func (e *Engine) mayWrite(req *op.Request, set *Settings) error {
	switch {
	case set.ReadOnly:
	case e.o.MayWrite != nil:
		return e.o.MayWrite()
	default:
		return nil
	}
	if to := e.original(req, set); to != nil {
		return referral(to, "this server is a read-only replica")
	}
	return ldap.Errorf(ldap.UnwillingToPerform, "this server is in read-only mode")
}

// original returns where the original is of what a request is about; nil where that is no copy.
func (e *Engine) original(req *op.Request, set *Settings) []string {
	if len(set.Copies) == 0 {
		return nil
	}
	var dn []byte
	switch m := req.Op.(type) {
	case *ldap.AddRequest:
		dn = m.Entry
	case *ldap.ModifyRequest:
		dn = m.Object
	case *ldap.DelRequest:
		dn = m.Entry
	case *ldap.ModifyDNRequest:
		dn = m.Entry
	case *ldap.SearchRequest:
		dn = m.Base
	case *ldap.CompareRequest:
		dn = m.Entry
	default: // what an extended operation is about is most often who asks
		dn = []byte(req.Identity.Name.DN)
	}
	norm, err := normalize(e.Schema(), dn)
	for i := range set.Copies {
		if c := &set.Copies[i]; err == nil && schema.DNUnder([]byte(norm), []byte(c.Norm)) {
			return c.Referral
		}
	}
	return nil
}

func referral(to []string, why string) error {
	err := ldap.Errorf(ldap.Referral, "%s", why)
	err.Referrals = to
	return err
}

// writeError puts errors of the store that a client should understand into words.
func (e *Engine) writeError(err error) error {
	switch {
	case errors.Is(err, store.ErrNoSpace):
		return ldap.Errorf(ldap.UnwillingToPerform, "the server's disk is full: writes are refused until there is space, reads go on").Because(err)
	case errors.Is(err, store.ErrReadOnly):
		return ldap.Errorf(ldap.UnwillingToPerform, "this server is in read-only mode").Because(err)
	case errors.Is(err, store.ErrTooManyChanges):
		return ldap.Errorf(ldap.AdminLimitExceeded, "the operation would change too many entries at once; nothing was changed").Because(err)
	}
	return err
}

// stamp sets the operational attributes that every change carries (RFC 4512 section 3.4).
func (tx *writeTx) stamp(d *dit.Draft, isNew bool) error {
	known := &tx.Schema().Known
	author := []byte(tx.req.Identity.Name.DN)
	if isNew {
		if d.First(known.EntryUUID) == nil {
			id, err := tx.NextUUID()
			if err != nil {
				return err
			}
			d.UUID = id
			d.Set(known.EntryUUID, []byte(d.UUID.String()))
		}
		if d.First(known.CreateTimestamp) == nil {
			d.Set(known.CreateTimestamp, tx.now)
		}
		if d.First(known.CreatorsName) == nil {
			d.Set(known.CreatorsName, author)
		}
	}
	if tx.req.Write.Internal && !isNew {
		return nil
	}
	// Values of these are a manager's own words: nobody else gets so far with them.
	given := func(t *schema.AttributeType) bool {
		if isNew {
			return d.First(t) != nil
		}
		return tx.relaxed && d.Touched(schema.Description{Type: t})
	}
	if !given(known.ModifyTimestamp) {
		d.Set(known.ModifyTimestamp, tx.now)
	}
	if !given(known.ModifiersName) {
		d.Set(known.ModifiersName, author)
	}
	return nil
}

// put seals a draft and stores it with a new CSN; it is the one way of every write. keys are those of new passwords in it.
func (e *Engine) put(tx *store.Tx, set *Settings, d *dit.Draft, keys []scramKey, relaxed bool) error {
	if f := e.subschema.retiring.Load(); f != nil {
		if err := f.refuse(tx.Schema(), d); err != nil {
			return err
		}
	}
	followPassword(tx.Schema(), d, keys)
	csn := tx.NextCSN()
	d.CSN = csn
	d.Set(tx.Schema().Known.EntryCSN, csn.Append(nil))
	entry, large, err := d.Seal(tx.Shapes(), dit.SealOptions{
		LargeThreshold: set.LargeThreshold, CheckSecret: checkSecret(tx.Schema()), Relaxed: relaxed,
	})
	if err != nil {
		return err
	}
	if d.Base != nil && !relaxed {
		if err := sameStructure(tx.Schema(), d.Base, entry); err != nil {
			return err
		}
	}
	_, err = tx.Put(store.PutRequest{Entry: entry, Large: large})
	return err
}

// sameStructure refuses a change of the structural object class (RFC 4512 section 2.4.2).
func sameStructure(s *schema.Schema, before, after *dit.Entry) error {
	d := schema.Description{Type: s.Known.StructuralObjectClass}
	was, is := before.First(d), after.First(d)
	if was != nil && string(was) != string(is) {
		return ldap.Errorf(ldap.ObjectClassModsProhibited, "the structural object class cannot change from %s to %s", was, is)
	}
	return nil
}

// finish takes a draft through the Prepare hooks and stores it.
func (tx *writeTx) finish(d *dit.Draft) error {
	if err := op.CheckAllowedFrom(tx.Schema(), d); err != nil {
		return err
	}
	for i := range tx.e.o.Overlays {
		if hook := tx.e.o.Overlays[i].Prepare; hook != nil {
			if err := hook(tx, tx.req, d.Base, d); err != nil {
				return err
			}
		}
	}
	if err := tx.stamp(d, d.Base == nil); err != nil {
		return err
	}
	if err := tx.e.put(tx.Tx, tx.set, d, tx.keys, tx.relaxed); err != nil {
		return err
	}
	return tx.withinLimit()
}

// withinLimit stops a transaction that has changed more entries than one operation may.
func (tx *writeTx) withinLimit() error {
	if most := tx.req.Limits.Changes; most > 0 && len(tx.Changes()) > most {
		return tooMany(most)
	}
	return nil
}

func tooMany(most int) error {
	return ldap.Errorf(ldap.AdminLimitExceeded,
		"the operation would change more than %d entries at once (limits.transaction_changes); nothing was changed", most)
}

// derive shows every change to the Derive hooks, those that the hooks make included, until there are no more.
func (tx *writeTx) derive() error {
	for ; tx.shown < len(tx.Changes()); tx.shown++ {
		c := tx.Changes()[tx.shown]
		for i := range tx.e.o.Overlays {
			if hook := tx.e.o.Overlays[i].Derive; hook != nil {
				if err := hook(tx, tx.req, c); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// Modify implements op.Tx.
func (tx *writeTx) Modify(d *dit.Draft) error { return tx.finish(d) }

// Add implements op.Tx.
func (tx *writeTx) Add(name ldap.DN, d *dit.Draft) error {
	return tx.addAt(name, string(tx.Schema().NormalizeParsed(nil, name)), d)
}

// Delete implements op.Tx.
func (tx *writeTx) Delete(id dit.ID) error {
	e, err := tx.Get(id)
	if err != nil || e == nil {
		return err
	}
	return tx.remove(e)
}

func (tx *writeTx) remove(e *dit.Entry) error {
	if _, err := tx.Remove(e); err != nil {
		return err
	}
	return tx.withinLimit()
}

// addAt places a new entry: beneath its parent, or as a suffix entry.
func (tx *writeTx) addAt(name ldap.DN, norm string, d *dit.Draft) error {
	existing, matched, err := tx.Lookup(norm)
	if err != nil {
		return err
	}
	if existing != nil {
		return ldap.Errorf(ldap.EntryAlreadyExists, "")
	}
	if tx.Suffix(norm) {
		d.Parent, d.RDN, d.NormRDN = 0, name.String(), norm
	} else {
		if err := tx.placeUnder(name, matched, d); err != nil {
			return err
		}
	}
	return tx.finish(d)
}

// placeUnder puts a draft beneath the entry that is its parent.
func (tx *writeTx) placeUnder(name ldap.DN, matched *dit.Entry, d *dit.Draft) error {
	s := tx.Schema()
	parentNorm := s.NormalizeParsed(nil, name[1:])
	if matched == nil {
		return ldap.Errorf(ldap.NoSuchObject, "the name is not beneath a naming context of this server")
	}
	matchedName, err := tx.Name(matched)
	if err != nil {
		return err
	}
	if matchedName.Norm != string(parentNorm) {
		return tx.e.noSuchObject(tx, tx.rights, matched)
	}
	if matched.Alias {
		return ldap.Errorf(ldap.AliasProblem, "an alias has no entries beneath it")
	}
	d.Parent, d.RDN, d.NormRDN = matched.ID, name[0].String(), string(s.NormalizeRDN(nil, name[0]))
	return nil
}
