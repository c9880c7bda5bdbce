package scan

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"portolan/internal/client"
	"portolan/ldap"
)

// secretAttributes hold passwords, hashes, keys and seeds in the schemas of the servers that there are.
var secretAttributes = []string{
	"userPassword", "authPassword", "userPKCS12", "pwdHistory", "olcRootPW",
	"sambaNTPassword", "sambaLMPassword", "sambaPasswordHistory", "sambaClearTextPassword", "sambaPreviousClearTextPassword", "sambaTrustPassword",
	"krbPrincipalKey", "krbMKey", "krbExtraData", "krb5Key",
	"nisSecretKey", "ipaNTHash", "ipaNTTrustAuthOutgoing", "ipatokenOTPkey", "oathSecret", "ipaKrbPrincipalKey",
	"nsslapd-rootpw", "nsDS5ReplicaCredentials", "nsMultiplexorCredentials",
	"unicodePwd", "dBCSPwd", "lmPwdHistory", "ntPwdHistory", "supplementalCredentials", "ms-Mcs-AdmPwd", "msLAPS-Password", "msDS-ManagedPassword",
	"radiusTunnelPassword", "dhcpKeySecret", "portolanScramKeys",
}

// Bounds on what is read.
const (
	someEntries   = 20
	manyEntries   = 2000
	maxAttributes = 512
)

func rootRequest() *ldap.SearchRequest {
	return &ldap.SearchRequest{Scope: ldap.ScopeBase, Filter: ldap.Present("objectClass"), Attributes: [][]byte{[]byte("*"), []byte("+")}}
}

// readRootDSE reads what strangers see of the root DSE. The error says why nobody answers there as LDAP servers do.
func (s *scanner) readRootDSE(ctx context.Context, dial func(context.Context) (*client.Conn, error)) (map[string][]string, error) {
	root := map[string][]string{}
	_, err := s.once(ctx, dial, rootRequest(), func(m *ldap.Message) error {
		e, ok := m.Op.(*ldap.SearchResultEntry)
		if !ok {
			return nil
		}
		for _, a := range e.Attributes[:min(len(e.Attributes), maxAttributes)] {
			name := strings.ToLower(string(a.Type))
			for _, v := range a.Values[:min(len(a.Values), maxAttributes)] {
				root[name] = append(root[name], string(v))
			}
		}
		return nil
	})
	return root, err
}

// about returns the values of an attribute of the root DSE, whichever listener has shown it.
func (s *scanner) about(attribute string) []string {
	attribute = strings.ToLower(attribute)
	if v := s.root[attribute]; len(v) > 0 {
		return v
	}
	return s.rootTLS[attribute]
}

// readRoot says what the root DSE shows and keeps the naming contexts.
func (s *scanner) readRoot(_ context.Context) {
	names := s.about("namingContexts")
	if s.o.Base != "" {
		s.contexts = append(s.contexts, s.o.Base)
	}
	for _, n := range names[:min(len(names), maxContexts)] {
		if n != "" && !slices.ContainsFunc(s.contexts, func(c string) bool { return strings.EqualFold(c, n) }) {
			s.contexts = append(s.contexts, n)
		}
	}
	f := Finding{ID: "anonymous-rootdse", Severity: Info, Seen: "strangers read the root DSE"}
	switch {
	case len(s.root)+len(s.rootTLS) == 0:
		f.Severity, f.Seen = OK, "strangers read nothing of the root DSE"
	case len(names) > 0:
		f.Seen += ": it names " + few(names, maxContexts)
	}
	s.add(f)
	id := Finding{ID: "identity", Severity: OK, Seen: "the server does not say what it is"}
	if name, version := s.about("vendorName"), s.about("vendorVersion"); len(name)+len(version) > 0 {
		id.Severity, id.Seen = Info, "the server says what it is: "+few(append(slices.Clip(name), version...), 4)
		id.Means = "whoever knows of a hole in one version finds the servers that have it"
	} else if kind := s.about("structuralObjectClass"); len(kind) > 0 {
		id.Severity, id.Seen = Info, "the server gives away what it is: "+few(kind, 2)
	}
	s.add(id)
}

// seen is what a search as a stranger has shown.
type seen struct {
	entries    int
	dns        []string
	attributes []string
	answer     answer
}

var errEnough = errors.New("enough has been seen")

// look searches and keeps what it sees of at most most entries.
func (s *scanner) look(ctx context.Context, c *client.Conn, q *ldap.SearchRequest, most int) (seen, error) {
	var out seen
	a, err := s.ask(ctx, c, q, func(m *ldap.Message) error {
		e, ok := m.Op.(*ldap.SearchResultEntry)
		if !ok {
			return nil
		}
		out.entries++
		if len(out.dns) < someEntries {
			out.dns = append(out.dns, string(e.Name))
		}
		for _, a := range e.Attributes {
			name, _, _ := strings.Cut(string(a.Type), ";")
			if len(a.Values) > 0 && len(out.attributes) < maxAttributes && !slices.ContainsFunc(out.attributes, func(have string) bool { return strings.EqualFold(have, name) }) {
				out.attributes = append(out.attributes, name)
			}
		}
		if out.entries >= most {
			return errEnough
		}
		return nil
	})
	out.answer = a
	if errors.Is(err, errEnough) {
		err = nil
	}
	return out, err
}

// stranger does something over a connection on which nobody has authenticated.
func (s *scanner) stranger(ctx context.Context, id string, do func(c *client.Conn) error) {
	c, err := s.best(ctx)
	if err == nil {
		defer c.Close()
		err = do(c)
	}
	if err != nil {
		s.add(Finding{ID: id, Severity: Info, Seen: "cannot be told: " + why(err)})
	}
}

func (s *scanner) readSchema(ctx context.Context) {
	name := "cn=Subschema"
	if v := s.about("subschemaSubentry"); len(v) > 0 && v[0] != "" {
		name = v[0]
	}
	s.stranger(ctx, "anonymous-schema", func(c *client.Conn) error {
		got, err := s.look(ctx, c, &ldap.SearchRequest{
			Base: []byte(name), Scope: ldap.ScopeBase, Filter: ldap.Eq("objectClass", "subschema"), Attributes: [][]byte{[]byte("objectClasses")},
		}, 1)
		f := Finding{ID: "anonymous-schema", Severity: OK, Seen: "strangers do not read the schema"}
		if got.entries > 0 && len(got.attributes) > 0 {
			f.Severity, f.Seen = Info, "strangers read the schema"
			f.Means = "it tells which applications the directory is used by"
		}
		if err == nil {
			s.add(f)
		}
		return err
	})
}

// readSpecial asks for the trees that servers keep beside the data.
func (s *scanner) readSpecial(ctx context.Context) {
	s.stranger(ctx, "anonymous-internals", func(c *client.Conn) error {
		var open []string
		for _, name := range slices.Concat(s.about("configContext"), s.about("monitorContext"), []string{"cn=config", "cn=monitor", "cn=changelog", "cn=accesslog"}) {
			if name == "" || slices.ContainsFunc(open, func(o string) bool { return strings.EqualFold(o, name) }) || len(open) >= maxContexts {
				continue
			}
			got, err := s.look(ctx, c, &ldap.SearchRequest{Base: []byte(name), Scope: ldap.ScopeBase, Filter: ldap.Present("objectClass")}, 1)
			if err != nil {
				return err
			}
			if got.entries > 0 {
				open = append(open, name)
			}
		}
		f := Finding{ID: "anonymous-internals", Severity: OK, Seen: "strangers read nothing of the server's configuration, statistics and logs"}
		if len(open) > 0 {
			f.Severity, f.Seen = Warn, "strangers read "+few(open, 8)
			f.Means, f.Do = "it tells how the server is set up, who is connected, or what was changed", "give it to administrators alone"
		}
		s.add(f)
		return nil
	})
}

func (s *scanner) readTree(ctx context.Context) {
	if len(s.contexts) == 0 {
		s.add(Finding{ID: "anonymous-tree", Severity: Info, Seen: "not asked: the server names no naming context; give one with --base"})
		return
	}
	s.stranger(ctx, "anonymous-tree", func(c *client.Conn) error {
		f := Finding{ID: "anonymous-tree", Severity: OK, Seen: "strangers read no entry"}
		entries := 0
		var attributes []string
		for _, base := range s.contexts {
			got, err := s.look(ctx, c, &ldap.SearchRequest{Base: []byte(base), Scope: ldap.ScopeSub, SizeLimit: someEntries, Filter: ldap.Present("objectClass")}, someEntries)
			if err != nil {
				return err
			}
			if got.entries == 0 {
				f.Details = append(f.Details, clean(base)+": "+got.answer.text())
				continue
			}
			s.readable = append(s.readable, base)
			entries += got.entries
			attributes = append(attributes, got.attributes...)
			f.Details = append(f.Details, clean(base)+": such as "+few(got.dns, 3))
		}
		if entries > 0 {
			f.Severity, f.Seen = Fail, fmt.Sprintf("strangers read entries (%d were taken), with %s", entries, few(attributes, 12))
			f.Means = "whoever reaches the server takes away names, addresses and groups: that is where guessing and phishing begin"
			f.Do = "let nobody read who has not authenticated (slapd: to * by users read by * none)"
		}
		s.add(f)
		return nil
	})
}

// secretsRequest asks for every entry that has a secret, and for the secrets.
func secretsRequest(base string) *ldap.SearchRequest {
	q := &ldap.SearchRequest{Base: []byte(base), Scope: ldap.ScopeSub, SizeLimit: someEntries}
	var any []ldap.Filter
	for _, name := range secretAttributes {
		any = append(any, ldap.Present(name))
		q.Attributes = append(q.Attributes, []byte(name))
	}
	q.Filter = ldap.Or(any...)
	return q
}

// secretsAmong returns the attributes that are secret.
func secretsAmong(attributes []string) []string {
	return slices.DeleteFunc(slices.Clone(attributes), func(a string) bool {
		return !slices.ContainsFunc(secretAttributes, func(x string) bool { return strings.EqualFold(x, a) })
	})
}

func (s *scanner) readSecrets(ctx context.Context) {
	if len(s.contexts) == 0 {
		return
	}
	s.stranger(ctx, "anonymous-secrets", func(c *client.Conn) error {
		f := Finding{ID: "anonymous-secrets", Severity: OK, Seen: "strangers read no secret, and find nothing by one"}
		var attributes []string
		found := 0
		for _, base := range s.contexts {
			got, err := s.look(ctx, c, secretsRequest(base), someEntries)
			if err != nil {
				return err
			}
			found += got.entries
			attributes = append(attributes, secretsAmong(got.attributes)...)
		}
		switch {
		case len(attributes) > 0:
			f.Severity, f.Seen = Fail, "strangers read "+few(slices.Compact(slices.Sorted(slices.Values(attributes))), 12)
			f.Means = "passwords can be guessed at home, a billion a second, or hashes and keys be used as they are"
			f.Do = "take these attributes from everybody, and change what they hold: it has to be taken for known"
		case found > 0:
			f.Severity, f.Seen = Warn, fmt.Sprintf("strangers find entries by their secrets (%d)", found)
			f.Means = "a filter on a value they can guess tells them whether it is right"
			f.Do = "take the right to search by these attributes from everybody"
		}
		s.add(f)
		return nil
	})
}

func (s *scanner) sizeLimit(ctx context.Context) {
	if len(s.readable) == 0 {
		return
	}
	s.stranger(ctx, "anonymous-size-limit", func(c *client.Conn) error {
		got, err := s.look(ctx, c, &ldap.SearchRequest{
			Base: []byte(s.readable[0]), Scope: ldap.ScopeSub, Filter: ldap.Present("objectClass"), Attributes: [][]byte{[]byte("1.1")},
		}, manyEntries)
		if err != nil {
			return err
		}
		f := Finding{ID: "anonymous-size-limit", Severity: OK}
		switch {
		case got.answer.Result == nil:
			f.Severity, f.Seen = Warn, fmt.Sprintf("strangers get %d entries with one search, and more", got.entries)
			f.Means, f.Do = "whoever reaches the server takes the whole directory away at once", "limit what a search returns to those who have not authenticated"
		case got.answer.Code == ldap.SizeLimitExceeded || got.answer.Code == ldap.AdminLimitExceeded:
			f.Seen = fmt.Sprintf("one search of a stranger ends after %d entries: %s", got.entries, got.answer.Code)
		default:
			f.Severity, f.Seen = Info, fmt.Sprintf("strangers get all %d entries that they may see with one search", got.entries)
		}
		s.add(f)
		return nil
	})
}
