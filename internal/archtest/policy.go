// Package archtest holds the import policy of the module as text and checks it against the source.
package archtest

// Policy says which packages of this module a package may import: "name < names". A package may import only what is
// named on its line; a name that ends in a star stands for the packages beneath a folder. Tests of a package (_test.go)
// may import everything that stands above the package here, and the packages of TestOnly and Whole.
//
// A right that is missing is given here, with the reason beside it. Do not add one to make a build pass: an arrow that
// points up is a design question.
const Policy = `
ber                  <
ldap                 < ber
ldif                 < ldap
internal/schema      < ldap
internal/dit         < ber ldap internal/schema            # ber: entries are kept in wire form
internal/inorder     <
internal/kv          <
internal/kv/*        < internal/kv
internal/store       < ber ldap internal/schema internal/dit internal/kv internal/inorder
internal/access      < ldap internal/schema internal/dit
internal/credential  <
internal/op          < ber ldap internal/dit internal/schema internal/access   # ber: messages that precede a result; schema, access: extensions are given attribute types and effective rights
internal/client      < ber ldap
internal/bench       < ber ldap ldif internal/client          # ldif: it makes its own data set
internal/engine      < ber ldap internal/schema internal/dit internal/store internal/access internal/credential internal/op
internal/overlay     < *                                      # only its test, which runs the examples of all overlays
internal/overlay/*   < ber ldap internal/schema internal/dit internal/access internal/credential internal/client internal/op
internal/control     < ber ldap internal/schema internal/dit internal/access internal/op
internal/control/*   < ber ldap internal/schema internal/dit internal/access internal/op internal/control
internal/extop       < ber ldap internal/schema internal/dit internal/access internal/credential internal/op
internal/sasl        < ldap internal/dit internal/op internal/credential
internal/monitor     < ldap internal/dit internal/op
internal/metrics     < internal/monitor                      # monitor: what is written is its snapshot
internal/audit       < ldap internal/op
internal/guard       < ldap internal/dit internal/op
internal/guard/*     < ldap internal/schema internal/op      # schema: shapes of filters are the same by whatever name an attribute is called
internal/session     < ber ldap internal/op
internal/listen      < internal/op internal/session   # op: it fills in op.Conn
internal/replica     < ldap internal/schema internal/dit internal/store internal/client internal/op
internal/config      <
internal/certificate <
internal/privilege   <
internal/hasher      < internal/credential internal/privilege
internal/scan        < ldap internal/client internal/certificate
internal/posture     < ldap internal/schema internal/access internal/credential internal/certificate internal/config internal/overlay/* # overlays: it looks at their tables
internal/app         < *
internal/cli         < internal/app internal/guard/* internal/bench internal/posture internal/audit internal/scan internal/client internal/config internal/access internal/store internal/dit internal/schema internal/credential ldap ldif
cmd/portolan         < internal/cli
internal/ldaptest    < *
internal/archtest    <
test/*               < *
`

// Whole are packages that tests may import besides: tests that look at a whole server (ldaptest) make its configuration and
// ask its commands.
var Whole = []string{"internal/app", "internal/config"}

// TestOnly are packages that only tests may import.
var TestOnly = []string{"internal/kv/kvtest", "internal/ldaptest", "internal/kv/faultkv"}
