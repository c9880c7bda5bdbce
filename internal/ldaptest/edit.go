package ldaptest

import (
	"context"
	"testing"

	"portolan/internal/dit"
	"portolan/internal/schema"
	"portolan/internal/store"
)

// Edit changes an entry in the store itself, as no client could: no overlay sees it, and only the schema is checked.
func (s *Server) Edit(t testing.TB, dn string, change func(s *schema.Schema, d *dit.Draft)) {
	t.Helper()
	_, err := s.Store.Update(context.Background(), store.Meta{Author: "test"}, func(tx *store.Tx) error {
		norm, err := tx.Schema().NormalizeDN(nil, []byte(dn))
		if err != nil {
			return err
		}
		e, _, err := tx.Lookup(string(norm))
		if err != nil {
			return err
		}
		d := e.Edit(tx)
		change(tx.Schema(), d)
		d.CSN = tx.NextCSN()
		d.Set(tx.Schema().Known.EntryCSN, d.CSN.Append(nil))
		sealed, large, err := d.Seal(tx.Shapes(), dit.SealOptions{})
		if err != nil {
			return err
		}
		_, err = tx.Put(store.PutRequest{Entry: sealed, Large: large})
		return err
	})
	if err != nil {
		t.Fatalf("%s: %v", dn, err)
	}
}
