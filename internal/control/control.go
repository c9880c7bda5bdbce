// Package control has the controls, one file each. A control parses its value, tells the engine through op.SearchPlan and
// op.WritePlan what it wants, and adds its response.
package control

import (
	"slices"

	"portolan/internal/op"
	"portolan/ldap"
)

// on is a control's Applies: these requests and no others.
func on(tags ...byte) func(byte) bool {
	return func(tag byte) bool { return slices.Contains(tags, tag) }
}

// onUpdates are the requests that change entries.
var onUpdates = on(ldap.TagAddRequest, ldap.TagDelRequest, ldap.TagModifyRequest, ldap.TagModifyDNRequest)

// Extended operations that controls know: that of RFC 3062, an update like others, and the end of a transaction (RFC 5805).
const (
	passwordModifyOID = "1.3.6.1.4.1.4203.1.11.1"
	transactionEndOID = "1.3.6.1.1.21.3"
)

// noValue is the Parse of a control whose document says that controlValue is absent. An empty one is let pass: there are
// clients that send it.
func noValue(name, source string) func(ldap.Control) (any, error) {
	return func(c ldap.Control) (any, error) {
		if len(c.Value) > 0 {
			return nil, ldap.Errorf(ldap.ProtocolError, "the %s control takes no value (%s)", name, source)
		}
		return nil, nil
	}
}

// maxListed bounds the attributes that a control names: as many as limits.max_attributes takes of a search by itself.
const maxListed = 1000

// tooMany refuses a control that names more than maxListed.
func tooMany(control string) error {
	return ldap.Errorf(ldap.AdminLimitExceeded, "the %s control names more than %d attributes", control, maxListed)
}

// critical is noValue for a control that must be marked as critical.
func critical(name, source string) func(ldap.Control) (any, error) {
	parse := noValue(name, source)
	return func(c ldap.Control) (any, error) {
		if !c.Critical {
			return nil, ldap.Errorf(ldap.ProtocolError, "the %s control must be marked as critical (%s)", name, source)
		}
		return parse(c)
	}
}

// attached reports whether the request has a control.
func attached(req *op.Request, oid string) bool {
	return slices.ContainsFunc(req.Controls, func(c ldap.Control) bool { return string(c.OID) == oid })
}

// isCritical reports whether the request has a control that is marked as critical.
func isCritical(req *op.Request, oid string) bool {
	return slices.ContainsFunc(req.Controls, func(c ldap.Control) bool { return c.Critical && string(c.OID) == oid })
}
