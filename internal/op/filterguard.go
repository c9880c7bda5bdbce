package op

import "portolan/ldap"

// FilterGuard is shown every filter that a client sends, before anything is read by it: that of a search, and those of
// controls (see Control.Filter). The engine calls it by name, once the connection may do the operation at all. Its error ends
// the operation and is told the client. It is safe for concurrent use; f is valid until the call returns.
type FilterGuard interface {
	Filter(req *Request, use FilterUse, f *ldap.Filter) error
}

// FilterUse is what a filter is there for.
type FilterUse uint8

// Uses of filters.
const (
	SearchFilter    FilterUse = iota // of a search request
	AssertionFilter                  // of the assertion control (RFC 4528)
	ValuesFilter                     // of the matched values control (RFC 3876), as the Or of its items
)

func (u FilterUse) String() string {
	return [...]string{"search", "assertion", "matched values"}[u]
}
