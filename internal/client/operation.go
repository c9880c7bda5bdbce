package client

import (
	"bytes"
	"context"
	"fmt"
	"sync"

	"portolan/ldap"
)

// Response is the final response of an operation. It is the caller's.
type Response struct {
	ldap.Result
	Controls []ldap.Control
	// ServerCreds are the serverSaslCreds of a bind.
	ServerCreds    []byte
	HasServerCreds bool
	// Name and Value are responseName and responseValue of an extended operation.
	Name     string
	Value    []byte
	HasValue bool
}

var decoders = sync.Pool{New: func() any { return new(ldap.Decoder) }}

// Do performs any operation that has an answer and returns its final response. Messages before that go to each, which may
// be nil: search entries, references, intermediate responses. They are valid during the call only. An error of each ends
// the operation and is returned.
//
// The error is an *ldap.Error when the server has answered with a result that is not success; the response is returned
// beside it. compareFalse, compareTrue and saslBindInProgress are no errors. Any other error comes without a response:
// ctx.Err(), or what has ended the connection.
func (c *Conn) Do(ctx context.Context, op ldap.Op, controls []ldap.Control, each func(m *ldap.Message) error) (*Response, error) {
	final, ok := ldap.ResponseTag(op.Tag())
	if !ok {
		return nil, fmt.Errorf("an operation with tag %#x has no answer", op.Tag())
	}
	x, err := c.begin()
	if err != nil {
		return nil, err
	}
	defer c.end(x)
	if err := c.send(ctx, x.id, op, controls); err != nil {
		return nil, err
	}
	for {
		var f *frame
		select {
		case f = <-x.in:
		default:
			select {
			case f = <-x.in:
			case <-ctx.Done():
				c.giveUp(x.id, op)
				return nil, ctx.Err()
			case <-c.ended:
				// What came before the end is still good.
				select {
				case f = <-x.in:
				default:
					return nil, c.Err()
				}
			}
		}
		response, err := c.take(f, final, each)
		switch {
		case response != nil:
			return response, resultError(&response.Result)
		case err != nil:
			c.giveUp(x.id, op)
			return nil, err
		}
	}
}

// giveUp ends an operation that nobody waits for any more.
func (c *Conn) giveUp(id int32, op ldap.Op) {
	if _, bind := op.(*ldap.BindRequest); bind {
		// RFC 4511 section 4.11: a bind cannot be abandoned, and until it is answered nobody knows who the client is.
		c.fail(ErrClosed)
		return
	}
	c.abandon(id)
}

// take decodes a message and passes it on; a final one is returned.
func (c *Conn) take(f *frame, final byte, each func(*ldap.Message) error) (*Response, error) {
	defer f.release()
	d := decoders.Get().(*ldap.Decoder)
	defer func() {
		d.Reset()
		decoders.Put(d)
	}()
	m, err := d.Decode(f.b)
	if err != nil {
		return nil, c.protocolError("%v", err)
	}
	switch tag := m.Op.Tag(); {
	case tag == final:
		return finalResponse(&m), nil
	case tag == ldap.TagIntermediateResponse,
		final == ldap.TagSearchResultDone && (tag == ldap.TagSearchResultEntry || tag == ldap.TagSearchResultReference):
		if each == nil {
			return nil, nil
		}
		return nil, each(&m)
	default:
		return nil, c.protocolError("it answers a request with tag %#x", tag)
	}
}

// finalResponse copies a final response out of its message.
func finalResponse(m *ldap.Message) *Response {
	r := &Response{}
	switch p := m.Op.(type) {
	case *ldap.BindResponse:
		r.Result = p.Result
		r.ServerCreds, r.HasServerCreds = bytes.Clone(p.ServerCreds), p.HasServerCreds
	case *ldap.SearchResultDone:
		r.Result = p.Result
	case *ldap.ModifyResponse:
		r.Result = p.Result
	case *ldap.AddResponse:
		r.Result = p.Result
	case *ldap.DelResponse:
		r.Result = p.Result
	case *ldap.ModifyDNResponse:
		r.Result = p.Result
	case *ldap.CompareResponse:
		r.Result = p.Result
	case *ldap.ExtendedResponse:
		r.Result, r.Name = p.Result, p.Name
		r.Value, r.HasValue = bytes.Clone(p.Value), p.HasValue
	}
	for _, ctl := range m.Controls {
		ctl.OID, ctl.Value = bytes.Clone(ctl.OID), bytes.Clone(ctl.Value)
		r.Controls = append(r.Controls, ctl)
	}
	return r
}

func resultError(r *ldap.Result) error {
	switch r.Code {
	case ldap.Success, ldap.CompareTrue, ldap.CompareFalse, ldap.SASLBindInProgress:
		return nil
	}
	return &ldap.Error{Result: *r}
}

// Bind authenticates with a name and a password (RFC 4513 section 5.1). Both empty make the connection anonymous. A name
// without a password is refused here: servers may take it for an anonymous bind.
func (c *Conn) Bind(ctx context.Context, dn, password string, controls ...ldap.Control) (*Response, error) {
	if dn != "" && password == "" {
		return nil, ldap.Errorf(ldap.UnwillingToPerform, "a name without a password would be no authentication (RFC 4513 section 5.1.2): give the password")
	}
	return c.Do(ctx, &ldap.BindRequest{Version: 3, Name: []byte(dn), Password: []byte(password)}, controls, nil)
}

// BindSASL does one step of a SASL exchange; nil credentials are absent ones. While Response.Code is saslBindInProgress
// the next step is to be made from Response.ServerCreds.
func (c *Conn) BindSASL(ctx context.Context, mechanism string, credentials []byte, controls ...ldap.Control) (*Response, error) {
	return c.Do(ctx, &ldap.BindRequest{
		Version: 3, Auth: ldap.AuthSASL, Mechanism: []byte(mechanism), Credentials: credentials, HasCreds: credentials != nil,
	}, controls, nil)
}

// BindExternal authenticates by what the connection itself shows: the credentials of the process on a Unix socket, a
// client certificate under TLS (RFC 4422 appendix A). authzID is the identity to act as; empty for the own one.
func (c *Conn) BindExternal(ctx context.Context, authzID string) (*Response, error) {
	return c.BindSASL(ctx, "EXTERNAL", []byte(authzID))
}

// Results take what a search finds. Each function may be nil; what it is given is valid during the call.
type Results struct {
	Entry        func(e *ldap.SearchResultEntry, controls []ldap.Control) error
	Reference    func(uris []string) error
	Intermediate func(name string, value []byte) error
}

// Search performs a search. Entries are passed on as they come.
func (c *Conn) Search(ctx context.Context, req *ldap.SearchRequest, to Results, controls ...ldap.Control) (*Response, error) {
	return c.Do(ctx, req, controls, func(m *ldap.Message) error {
		switch p := m.Op.(type) {
		case *ldap.SearchResultEntry:
			if to.Entry != nil {
				return to.Entry(p, m.Controls)
			}
		case *ldap.SearchResultReference:
			if to.Reference != nil {
				return to.Reference(p.URIs)
			}
		case *ldap.IntermediateResponse:
			if to.Intermediate != nil {
				return to.Intermediate(p.Name, p.Value)
			}
		}
		return nil
	})
}

// Add adds an entry.
func (c *Conn) Add(ctx context.Context, dn string, attrs []ldap.Attribute, controls ...ldap.Control) (*Response, error) {
	return c.Do(ctx, &ldap.AddRequest{Entry: []byte(dn), Attributes: attrs}, controls, nil)
}

// Delete deletes an entry.
func (c *Conn) Delete(ctx context.Context, dn string, controls ...ldap.Control) (*Response, error) {
	return c.Do(ctx, &ldap.DelRequest{Entry: []byte(dn)}, controls, nil)
}

// Modify changes the attributes of an entry, all of it or nothing.
func (c *Conn) Modify(ctx context.Context, dn string, changes []ldap.Mod, controls ...ldap.Control) (*Response, error) {
	return c.Do(ctx, &ldap.ModifyRequest{Object: []byte(dn), Changes: changes}, controls, nil)
}

// ModifyDN renames an entry or moves it; newSuperior nil leaves it where it is.
func (c *Conn) ModifyDN(ctx context.Context, dn, newRDN string, deleteOldRDN bool, newSuperior *string, controls ...ldap.Control) (*Response, error) {
	req := &ldap.ModifyDNRequest{Entry: []byte(dn), NewRDN: []byte(newRDN), DeleteOldRDN: deleteOldRDN}
	if newSuperior != nil {
		req.NewSuperior, req.HasNewSuperior = []byte(*newSuperior), true
	}
	return c.Do(ctx, req, controls, nil)
}

// Compare reports whether an attribute of an entry has a value. An answer that is neither yes nor no is an error.
func (c *Conn) Compare(ctx context.Context, dn, attribute string, value []byte, controls ...ldap.Control) (bool, error) {
	r, err := c.Do(ctx, &ldap.CompareRequest{Entry: []byte(dn), Attr: []byte(attribute), Value: value}, controls, nil)
	switch {
	case err != nil:
		return false, err
	case r.Code == ldap.CompareTrue, r.Code == ldap.CompareFalse:
		return r.Code == ldap.CompareTrue, nil
	}
	return false, &ldap.Error{Result: r.Result}
}

// Extended performs an extended operation. value nil is an absent one. intermediate, which may be nil, gets the
// intermediate responses; what it is given is valid during the call.
func (c *Conn) Extended(ctx context.Context, oid string, value []byte, intermediate func(name string, value []byte) error, controls ...ldap.Control) (*Response, error) {
	req := &ldap.ExtendedRequest{Name: []byte(oid), Value: value, HasValue: value != nil}
	return c.Do(ctx, req, controls, func(m *ldap.Message) error {
		p, ok := m.Op.(*ldap.IntermediateResponse)
		if !ok || intermediate == nil {
			return nil
		}
		return intermediate(p.Name, p.Value)
	})
}
