package sync

import (
	"github.com/google/uuid"

	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/ldap"
)

// outgoing sends entries one behind: the last one of what belongs together can then be given the cookie.
type outgoing struct {
	req *op.Request

	held  []byte // a protocolOp that is still to be sent; empty for none
	state ldap.SyncState
	id    uuid.UUID
}

// entry sends what sight looks at.
func (o *outgoing) entry(state ldap.SyncState, id uuid.UUID, sight op.Sight, name dit.Name, m *ldap.SearchRequest) error {
	if err := o.flush(nil); err != nil {
		return err
	}
	held, err := op.AppendEntry(o.held[:0], sight, name, m.Attributes, m.TypesOnly)
	if err != nil {
		return err
	}
	o.hold(held, state, id)
	return nil
}

// empty sends an entry without attributes, or a reference without a URI.
func (o *outgoing) empty(state ldap.SyncState, id uuid.UUID, dn string, reference bool) error {
	var m ldap.Op = &ldap.SearchResultEntry{Name: []byte(dn)}
	if reference {
		m = &ldap.SearchResultReference{}
	}
	return o.other(state, id, m)
}

// reference sends a reference.
func (o *outgoing) reference(state ldap.SyncState, id uuid.UUID, uris []string) error {
	return o.other(state, id, &ldap.SearchResultReference{URIs: uris})
}

func (o *outgoing) other(state ldap.SyncState, id uuid.UUID, m ldap.Op) error {
	if err := o.flush(nil); err != nil {
		return err
	}
	o.hold(ldap.AppendOp(o.held[:0], m), state, id)
	return nil
}

// keepHeld bounds the memory that is kept from entry to entry.
const keepHeld = 64 << 10

func (o *outgoing) hold(held []byte, state ldap.SyncState, id uuid.UUID) {
	o.held, o.state, o.id = held, state, id
}

// flush sends what is held, with a cookie where there is one.
func (o *outgoing) flush(cookie []byte) error {
	if len(o.held) == 0 {
		return nil
	}
	err := op.SendEncoded(o.req, o.held, []ldap.Control{stateControl(o.state, o.id, cookie)})
	if o.held = o.held[:0]; cap(o.held) > keepHeld {
		o.held = nil
	}
	return err
}

// info sends a Sync Info Message behind what is held.
func (o *outgoing) info(v *ldap.SyncInfo) error {
	if err := o.flush(nil); err != nil {
		return err
	}
	return op.Send(o.req, &ldap.IntermediateResponse{Name: ldap.SyncInfoOID, Value: v.Append(nil), HasValue: true}, nil)
}
