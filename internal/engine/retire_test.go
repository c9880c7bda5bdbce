package engine

import (
	"context"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"portolan/internal/access"
	"portolan/internal/dit"
	"portolan/internal/kv/memkv"
	"portolan/internal/op"
	"portolan/internal/schema"
	"portolan/internal/store"
	"portolan/ldap"
)

// bare is an engine over a store in memory, without a server.
func bare(t *testing.T, replace func(e *Engine, next *schema.Schema) error) *Engine {
	t.Helper()
	st, err := store.Open(memkv.New(store.Merger()), store.Options{Schema: schema.Default(), Suffixes: []string{"dc=org"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	var e *Engine
	e = New(Options{
		Store: st, Now: time.Now, Log: slog.New(slog.DiscardHandler),
		ReplaceSchema: func(_ context.Context, next *schema.Schema) error { return replace(e, next) },
	}, settingsFor(t, st.Schema(), nil))
	sp, err := e.Subschema()
	if err != nil {
		t.Fatal(err)
	}
	e.AddSpecial(sp)
	return e
}

func policyFor(t *testing.T, s *schema.Schema) *access.Policy {
	t.Helper()
	p, err := access.Compile([]access.Rule{
		{Name: "all", Allow: []string{"all"}, Who: []string{"users"}},
		{Name: "but", Deny: []string{"all"}, Who: []string{"users"}, Attrs: []string{"description"}},
	}, access.Options{Schema: s, Suffixes: []string{"dc=org"}})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func settingsFor(t *testing.T, s *schema.Schema, older *access.Policy) *Settings {
	return &Settings{Policy: policyFor(t, s), Older: older, Limits: func(*op.Identity, func(string) bool) op.Limits { return op.Limits{} }}
}

func requestOf(admin bool, o ldap.Op) *op.Request {
	id := &op.Identity{Name: dit.Name{DN: "uid=a,dc=org", Norm: "uid=a,dc=org"}, Admin: admin, Method: "simple"}
	c := &op.Conn{Transport: op.TCP, Loopback: true, Remote: netip.MustParseAddrPort("127.0.0.1:1")}
	c.SetIdentity(id)
	return &op.Request{Conn: c, Identity: id, Op: o, Start: time.Now()}
}

func addRequest(dn string, attrs ...string) *ldap.AddRequest {
	m := &ldap.AddRequest{Entry: []byte(dn)}
	for i := 0; i < len(attrs); i += 2 {
		m.Attributes = append(m.Attributes, ldap.Attribute{Type: []byte(attrs[i]), Values: [][]byte{[]byte(attrs[i+1])}})
	}
	return m
}

func changeRequest(dn string, mods ...ldap.Mod) *ldap.ModifyRequest {
	return &ldap.ModifyRequest{Object: []byte(dn), Changes: mods}
}

func mod(o ldap.ModOp, attr, value string) ldap.Mod {
	m := ldap.Mod{Op: o}
	m.Attribute.Type, m.Attribute.Values = []byte(attr), [][]byte{[]byte(value)}
	return m
}

// While a definition is on its way out nothing begins to use it: not the type, not the class, not in a name.
func TestNothingBeginsToUseWhatRetires(t *testing.T) {
	const typ, class = "( 2.25.1.1 NAME 'fleeting' EQUALITY caseIgnoreMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )", "( 2.25.1.2 NAME 'fled' SUP top AUXILIARY )"
	removing := false
	e := bare(t, func(e *Engine, next *schema.Schema) error {
		if removing {
			for _, m := range []ldap.Mod{
				mod(ldap.ModReplace, "fleeting", "x"), mod(ldap.ModAdd, "objectClass", "fled"), mod(ldap.ModAdd, "seeAlso", "cn=x,Fleeting=y,dc=org"),
			} {
				err := e.Serve(context.Background(), requestOf(true, changeRequest("dc=org", m)), nil)
				if ldap.CodeOf(err) != ldap.Busy {
					t.Errorf("%s while it is being removed: %v", m.Attribute.Type, err)
				}
			}
			if err := e.Serve(context.Background(), requestOf(true, changeRequest("dc=org", mod(ldap.ModReplace, "description", "x"))), nil); err != nil {
				t.Errorf("something else meanwhile: %v", err)
			}
		}
		old := e.Settings().Policy
		e.Set(settingsFor(t, next, old))
		return e.o.Store.ReplaceSchema(context.Background(), next)
	})
	do := func(o ldap.Op) error { return e.Serve(context.Background(), requestOf(true, o), nil) }
	for _, o := range []ldap.Op{
		addRequest("dc=org", "objectClass", "domain", "objectClass", "extensibleObject", "dc", "org"),
		changeRequest("cn=Subschema", mod(ldap.ModAdd, "attributeTypes", typ), mod(ldap.ModAdd, "objectClasses", class)),
	} {
		if err := do(o); err != nil {
			t.Fatal(err)
		}
	}
	remove := changeRequest("cn=Subschema", mod(ldap.ModDelete, "attributeTypes", typ), mod(ldap.ModDelete, "objectClasses", class))
	for _, m := range []ldap.Mod{
		mod(ldap.ModAdd, "fleeting", "x"), mod(ldap.ModAdd, "objectClass", "fled"), mod(ldap.ModAdd, "seeAlso", "cn=x,Fleeting=y,dc=org"),
	} {
		if err := do(changeRequest("dc=org", m)); err != nil {
			t.Fatal(err)
		}
		if err := do(remove); ldap.CodeOf(err) != ldap.UnwillingToPerform {
			t.Errorf("removed although %s has it: %v", m.Attribute.Type, err)
		}
		m.Op = ldap.ModDelete
		if err := do(changeRequest("dc=org", m)); err != nil {
			t.Fatal(err)
		}
	}
	removing = true
	if err := do(remove); err != nil {
		t.Fatal(err)
	}
	if err := do(changeRequest("dc=org", mod(ldap.ModReplace, "seeAlso", "fleeting=y"))); err != nil {
		t.Errorf("a name with an unknown type afterwards: %v", err)
	}
}

// Access is decided under the schema of the entries, whichever settings an operation began with.
func TestRightsFollowTheSchema(t *testing.T) {
	e := bare(t, func(*Engine, *schema.Schema) error { return nil })
	first := e.Schema()
	begun := e.Settings()
	next, err := first.WithLive([]schema.Definition{{Attr: "attributeTypes", Value: "( 2.25.1.1 NAME 'x' SUP name )"}})
	if err != nil {
		t.Fatal(err)
	}
	e.Set(settingsFor(t, next, begun.Policy))
	third, err := next.Base()
	if err != nil {
		t.Fatal(err)
	}
	target := &access.Target{Name: dit.Name{DN: "dc=org", Norm: "dc=org"}}
	for _, set := range []*Settings{begun, e.Settings()} {
		for i, s := range []*schema.Schema{first, next, third} {
			rights := e.rights(requestOf(false, nil), set, s)
			sn, description := rights.AttrRights(target, schema.Description{Type: s.Known.SN}), rights.AttrRights(target, schema.Description{Type: s.Known.Description})
			if want := i < 2; (sn&access.Read != 0) != want || description != 0 {
				t.Errorf("schema %d: sn %s, description %s", i, sn, description)
			}
		}
	}
}
