package app

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"portolan/internal/access"
	"portolan/internal/config"
	"portolan/internal/op"
	"portolan/internal/schema"
	"portolan/internal/store"
)

// builtinIndexes are the indexes that every directory has: what mail servers, login stacks and web applications search
// by, so that an ordinary login never scans.
var builtinIndexes = map[store.IndexKind][]string{
	store.IndexEquality: {
		"objectClass", "uid", "cn", "sn", "givenName", "mail", "member", "uniqueMember", "memberUid", "uidNumber", "gidNumber",
		"owner", "manager", "seeAlso", "entryUUID", "memberURL",
	},
	store.IndexSubstring: {"cn", "sn", "givenName", "mail", "uid"},
	// Every change writes it: the index of its order answers for equality too.
	store.IndexOrdering: {"entryCSN"},
	store.IndexPresence: {"entryCSN"},
}

// indexes returns the indexes of a configuration: the built-in ones, those of the overlays, and its own.
// A built-in name that the schema of this server lacks is passed over; one that the configuration names is an error.
func indexes(c *config.Config, s *schema.Schema, overlays []op.Overlay) []store.IndexSpec {
	var out []store.IndexSpec
	add := func(kind store.IndexKind, names ...string) {
		for _, name := range names {
			spec := store.IndexSpec{Attribute: name, Kind: kind}
			if !slices.ContainsFunc(out, func(have store.IndexSpec) bool {
				return have.Kind == kind && strings.EqualFold(have.Attribute, name)
			}) {
				out = append(out, spec)
			}
		}
	}
	known := func(names []string) []string {
		return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return s.AttributeTypeString(name) == nil })
	}
	for _, kind := range []store.IndexKind{store.IndexEquality, store.IndexSubstring, store.IndexOrdering, store.IndexPresence} {
		add(kind, known(builtinIndexes[kind])...)
	}
	for i := range overlays {
		add(store.IndexEquality, known(overlays[i].Equality)...)
	}
	add(store.IndexEquality, c.Index.Equality...)
	add(store.IndexSubstring, c.Index.Substring...)
	add(store.IndexOrdering, c.Index.Ordering...)
	return out
}

// accessRules gives the rules of a configuration to package access.
func accessRules(c *config.Config) []access.Rule {
	out := make([]access.Rule, len(c.Access))
	for i := range c.Access {
		r := &c.Access[i]
		out[i] = access.Rule{
			Name: r.Name, Allow: r.Allow, Deny: r.Deny, Who: r.Who, On: r.On, Filter: r.Filter, Attrs: r.Attrs,
			From: r.From, TLS: r.TLS, Method: r.Method, Origin: r.Position.String(),
			At: func(key string) string { return r.At(key).String() },
		}
	}
	return out
}

// compileAccess makes the access policy of a configuration.
func compileAccess(c *config.Config, s *schema.Schema) (*access.Policy, error) {
	return access.Compile(accessRules(c), access.Options{
		Schema: s, Suffixes: c.Directory.AllSuffixes(), AdminDN: c.Directory.AdminDN,
		Builtin: c.Security.BuiltinAccess, AnonymousRead: c.Security.Anonymous == "read",
	})
}

// limitsFor compiles the limits into the question that the engine asks.
func limitsFor(c *config.Config, s *schema.Schema) (func(*op.Identity, func(string) bool) op.Limits, error) {
	l := &c.Limits
	general := op.Limits{Size: l.SizeLimit, Time: l.TimeLimit, Examined: l.MaxExamined, Changes: l.TransactionChanges}
	overrides, err := whoOverrides(c, s)
	if err != nil {
		return nil, err
	}
	limits := make([]op.Limits, len(overrides))
	for i, o := range overrides {
		limits[i] = general
		if o.limits.SizeLimit != nil {
			limits[i].Size = *o.limits.SizeLimit
		}
		if o.limits.TimeLimit != nil {
			limits[i].Time = *o.limits.TimeLimit
		}
		if o.limits.MaxExamined != nil {
			limits[i].Examined = *o.limits.MaxExamined
		}
	}
	return func(id *op.Identity, inGroup func(string) bool) op.Limits {
		if id.Admin {
			// The administrator is bound by nothing but the size of one transaction.
			return op.Limits{Changes: general.Changes}
		}
		for i := range overrides {
			if overrides[i].matches(id, inGroup) {
				return limits[i]
			}
		}
		return general
	}, nil
}

// override is one [[limits.for]], compiled.
type override struct {
	who    []func(id *op.Identity, inGroup func(string) bool) bool
	limits *config.LimitsFor
}

func (o *override) matches(id *op.Identity, inGroup func(string) bool) bool {
	for _, test := range o.who {
		if test(id, inGroup) {
			return true
		}
	}
	return false
}

// whoOverrides compiles [[limits.for]]; the first that matches is the one that counts.
func whoOverrides(c *config.Config, s *schema.Schema) ([]override, error) {
	out := make([]override, len(c.Limits.For))
	for i := range c.Limits.For {
		f := &c.Limits.For[i]
		out[i].limits = f
		for n, who := range f.Who {
			test, err := whoTest(s, who)
			if err != nil {
				return nil, config.ErrorAt(f.At(fmt.Sprintf("who[%d]", n)), err.Error(), `write "anonymous", "users", "dn:DN" or "group:DN"`)
			}
			out[i].who = append(out[i].who, test)
		}
	}
	return out, nil
}

// whoTest compiles one word of limits.for.who.
func whoTest(s *schema.Schema, who string) (func(*op.Identity, func(string) bool) bool, error) {
	kind, name, _ := strings.Cut(who, ":")
	switch kind {
	case "anonymous":
		return func(id *op.Identity, _ func(string) bool) bool { return id.IsAnonymous() }, nil
	case "users":
		return func(id *op.Identity, _ func(string) bool) bool { return !id.IsAnonymous() }, nil
	}
	norm, err := s.NormalizeDN(nil, []byte(name))
	if err != nil {
		return nil, err
	}
	want := string(norm)
	switch kind {
	case "dn":
		return func(id *op.Identity, _ func(string) bool) bool { return id.Name.Norm == want }, nil
	case "group":
		return func(_ *op.Identity, inGroup func(string) bool) bool { return inGroup(want) }, nil
	}
	return nil, fmt.Errorf("%q names nobody", who)
}

// freeSpace returns the octets that a process may still write to the file system of dir.
func freeSpace(dir string) (uint64, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return 0, err
	}
	return fs.Bavail * uint64(fs.Bsize), nil
}
