package control

import (
	"context"

	"portolan/internal/op"
	"portolan/ldap"
)

// OIDs of controls without a value that change how an update is done.
const (
	TreeDeleteOID = "1.2.840.113556.1.4.805"
	PermissiveOID = "1.2.840.113556.1.4.1413"
	RelaxOID      = "1.3.6.1.4.1.4203.666.5.12"
	NoOpOID       = "1.3.6.1.4.1.4203.666.5.2"
)

// asks is the Around of a control that asks one thing of a write.
func asks(set func(*op.WritePlan)) func(context.Context, *op.Request, any, func(context.Context) error) error {
	return func(ctx context.Context, req *op.Request, _ any, next func(context.Context) error) error {
		set(&req.Write)
		return next(ctx)
	}
}

// TreeDelete deletes an entry with all beneath it, in one transaction (draft-armijo-ldap-treedelete). The requester needs the
// right to delete each of them.
func TreeDelete() op.Control {
	return op.Control{
		OID: TreeDeleteOID, Name: "treeDelete", Source: "draft-armijo-ldap-treedelete-02",
		Applies: on(ldap.TagDelRequest),
		Parse:   noValue("tree delete", "draft-armijo-ldap-treedelete"),
		Around:  asks(func(plan *op.WritePlan) { plan.TreeDelete = true }),
	}
}

// Permissive lets a modify add values that are there and delete values that are not (Active Directory's
// LDAP_SERVER_PERMISSIVE_MODIFY_OID).
func Permissive() op.Control {
	return op.Control{
		OID: PermissiveOID, Name: "permissiveModify", Source: "MS-ADTS 3.1.1.3.4.1.8",
		Applies: on(ldap.TagModifyRequest),
		Parse:   noValue("permissive modify", "MS-ADTS 3.1.1.3.4.1.8"),
		Around:  asks(func(plan *op.WritePlan) { plan.Permissive = true }),
	}
}

// Relax lifts rules of the schema for who may control the entry (draft-zeilenga-ldap-relax). Clients should mark it as
// critical; it is honoured all the same.
func Relax() op.Control {
	return op.Control{
		OID: RelaxOID, Name: "relax", Source: "draft-zeilenga-ldap-relax-03",
		Applies: onUpdates,
		Parse:   noValue("relax rules", "draft-zeilenga-ldap-relax"),
		Around:  asks(func(plan *op.WritePlan) { plan.Relax = true }),
	}
}

// NoOp does all of an update but the update (draft-zeilenga-ldap-noop): noOperation says that it would have succeeded. It is
// honoured whether or not it is marked as critical: clients must mark it, and what is meant is clear.
func NoOp() op.Control {
	return op.Control{
		OID: NoOpOID, Name: "noOp", Source: "draft-zeilenga-ldap-noop-10",
		Applies: onUpdates,
		Verbs:   []string{passwordModifyOID},
		Parse:   noValue("no-op", "draft-zeilenga-ldap-noop"),
		Around:  asks(func(plan *op.WritePlan) { plan.NoOp = true }),
	}
}
