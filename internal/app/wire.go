package app

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"portolan/internal/config"
	"portolan/internal/control"
	"portolan/internal/control/sync"
	"portolan/internal/engine"
	"portolan/internal/extop"
	"portolan/internal/monitor"
	"portolan/internal/op"
	"portolan/internal/overlay/accesslog"
	"portolan/internal/overlay/appauth"
	"portolan/internal/overlay/autonumber"
	"portolan/internal/overlay/collective"
	"portolan/internal/overlay/constraint"
	"portolan/internal/overlay/dynlist"
	"portolan/internal/overlay/lastbind"
	"portolan/internal/overlay/memberof"
	"portolan/internal/overlay/otp"
	"portolan/internal/overlay/ppolicy"
	"portolan/internal/overlay/refint"
	"portolan/internal/overlay/remoteauth"
	"portolan/internal/overlay/ttl"
	"portolan/internal/overlay/unique"
	"portolan/internal/overlay/valsort"
	"portolan/internal/sasl"
)

// This file is THE list of every extension, in running order. An extension is wired by one line here; what the root DSE,
// the documentation and the configuration reference say follows from these lists.

// overlays run in this order inside the transaction. All of them are always there; what one does is its table's to say.
var overlays = []overlay{
	wired("autonumber", autonumber.Defaults, autonumber.New), // before those that judge values
	wired("dynlist", dynlist.Defaults, dynlist.New),
	wired("memberof", memberof.Defaults, memberof.New),
	wired("collective", collective.Defaults, collective.New),
	wired("ttl", ttl.Defaults, ttl.New),
	wired("refint", refint.Defaults, refint.New),
	wired("unique", unique.Defaults, unique.New),
	wired("constraint", constraint.Defaults, constraint.New), // behind all that changes values

	// Credentials beside the password: before all that look at it, or count wrong ones.
	wired("appauth", appauth.Defaults, appauth.New),
	wired("otp", otp.Defaults, otp.New),
	wired("remoteauth", remoteauth.Defaults, remoteauth.New),

	wired("ppolicy", ppolicy.Defaults, ppolicy.New),
	wired("valsort", valsort.Defaults, valsort.New),
	wired("lastbind", lastbind.Defaults, lastbind.New), // behind all that may refuse a bind
	wired("accesslog", accesslog.Defaults, accesslog.New),
}

// controls wrap an operation in this order, the first outermost.
func controls(c *config.Config, p *op.Ports) []op.Control {
	l := &c.Limits
	persistent := op.NewPlaces(l.MaxPersistent)
	return append([]op.Control{
		control.SessionTracking(),
		extop.TransactionControl(extop.TransactionLimits{Operations: l.TransactionOperations, Octets: l.TransactionBytes}, p),
		control.ProxyAuthz(p), // what follows is done as the other identity
		control.PasswordPolicy(),
		control.AccountUsability(p),
		control.AuthzID(),
		control.DontUseCopy(p),
		control.ManageDsaIT(),
		control.Subentries(),
		sync.New(p, persistent),
		control.PersistentSearch(p, persistent),
		control.Relax(),
		control.Permissive(),
		control.TreeDelete(),
		control.NoOp(),
		control.Assertion(p),
		control.PreRead(p),
		control.PostRead(p),
		control.Sort(l.MaxSorted, p), // before those that cut the sorted result up
		control.VLV(l.MaxCursors, p),
		control.Paged(l.MaxCursors, p),
		control.ValSort(),
		control.MatchedValues(), // before those that must not bring discarded values back
		control.Deref(p),
		control.EffectiveRights(p),
	}, control.ExpiryNotices()...)
}

// extended are the extended operations but StartTLS, which is the session's.
func extended(e *engine.Engine, p *op.Ports) []op.Extended {
	return []op.Extended{
		extop.WhoAmI(),
		extop.PasswordModify(e, p.Rand),
		extop.Cancel(),
		extop.Refresh(p),
		extop.TransactionStart(p),
		extop.TransactionEnd(p),
	}
}

// mechanisms are the SASL mechanisms.
func mechanisms(c *config.Config, e *engine.Engine, p *op.Ports) ([]op.Mechanism, error) {
	return offered(c, append(sasl.Scram(e, p, func(name string) bool { return slices.Contains(c.SASL.Mechanisms, name) }),
		sasl.External(e, os.Geteuid()),
		sasl.Plain(e),
	))
}

// offered returns the mechanisms that a configuration names.
func offered(c *config.Config, all []op.Mechanism) ([]op.Mechanism, error) {
	names := make([]string, len(all))
	for i := range all {
		names[i] = all[i].Name
	}
	for i, name := range c.SASL.Mechanisms {
		if !slices.Contains(names, name) {
			at := c.At(fmt.Sprintf("sasl.mechanisms[%d]", i))
			return nil, config.ErrorAt(at, fmt.Sprintf("there is no mechanism %q", name), "write some of "+strings.Join(names, ", "))
		}
	}
	return slices.DeleteFunc(all, func(m op.Mechanism) bool { return !slices.Contains(c.SASL.Mechanisms, m.Name) }), nil
}

// scramIterations is the count of new SCRAM keys, 0 where no mechanism uses them.
func scramIterations(c *config.Config) int {
	if slices.ContainsFunc(c.SASL.Mechanisms, func(name string) bool { return strings.HasPrefix(name, "SCRAM-") }) {
		return c.SASL.ScramIterations
	}
	return 0
}

// trees are the parts of the directory that are computed.
func trees(_ *config.Config, _ *op.Ports, look func() monitor.Snapshot) []op.Tree {
	return []op.Tree{
		monitor.Tree(look),
	}
}

// feature is a value of supportedFeatures.
type feature struct{ oid, name, source string }

// features are what supportedFeatures lists.
var features = []feature{
	{"1.3.6.1.1.14", "modify-increment", "RFC 4525"},
	{"1.3.6.1.4.1.4203.1.5.1", "all operational attributes", "RFC 3673"},
	{"1.3.6.1.4.1.4203.1.5.2", "attributes by object class", "RFC 4529"},
	{"1.3.6.1.4.1.4203.1.5.3", "absolute true and false filters", "RFC 4526"},
	{"1.3.6.1.4.1.4203.1.5.4", "language tags", "RFC 3866"},
	{"1.3.6.1.4.1.4203.1.5.5", "language ranges", "RFC 3866"},
	{"1.3.6.1.4.1.4203.666.8.1", "subordinate subtree scope", "draft-sermersheim-ldap-subordinate-scope"},
}

func featureOIDs() []string {
	out := make([]string, len(features))
	for i, f := range features {
		out[i] = f.oid
	}
	return out
}

// startTLS is served by the session; the root DSE lists it where there is a certificate.
const startTLS = "1.3.6.1.4.1.1466.20037"

// overlay is an overlay with its table of the configuration.
type overlay struct {
	name string
	keys []string // of its table
	make func(c *config.Config) (op.Overlay, error)
}

// wired ties an overlay to the table [overlay.NAME].
func wired[O any](name string, defaults func() O, make func(O) op.Overlay) overlay {
	return overlay{name: name, keys: config.OptionKeys(defaults()), make: func(c *config.Config) (op.Overlay, error) {
		o := defaults()
		if err := c.DecodeOverlay(name, &o); err != nil {
			return op.Overlay{}, err
		}
		if v, ok := any(&o).(interface{ Validate() error }); ok {
			if err := v.Validate(); err != nil {
				return op.Overlay{}, config.ErrorAt(c.At("overlay."+name), err.Error(), "")
			}
		}
		return make(o), nil
	}}
}

// makeOverlays reads the tables of all overlays.
func makeOverlays(c *config.Config) ([]op.Overlay, error) {
	names := make([]string, len(overlays))
	for i := range overlays {
		names[i] = overlays[i].name
	}
	if err := c.CheckOverlays(names); err != nil {
		return nil, err
	}
	out := make([]op.Overlay, len(overlays))
	for i := range overlays {
		var err error
		if out[i], err = overlays[i].make(c); err != nil {
			return nil, err
		}
	}
	return out, nil
}
