package engine

import (
	"context"

	"portolan/internal/op"
)

// Issue offers a password modify to the overlays whose entries hold credentials of their own kind. shown is what they want
// the client told. What the requester may do is asked when they write.
func (e *Engine) Issue(ctx context.Context, req *op.Request, dn, norm string, old, chosen []byte) (shown []byte, taken bool, err error) {
	view := e.o.Store.View()
	defer view.Close()
	entry, _, err := view.Lookup(norm)
	if err != nil || entry == nil {
		return nil, false, err
	}
	i := op.Issue{DN: dn, Entry: entry, Old: old, Chosen: chosen}
	for n := range e.o.Overlays {
		if f := e.o.Overlays[n].Issue; f != nil {
			if taken, err = f(ctx, req, &i); taken || err != nil {
				return i.Shown, taken, err
			}
		}
	}
	return nil, false, nil
}
