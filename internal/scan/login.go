package scan

import (
	"context"
	"slices"
	"strings"

	"portolan/ldap"
)

// clearTextBind sends a name and a password that nobody has in clear text. A server that says they are wrong has looked.
func (s *scanner) clearTextBind(ctx context.Context) {
	f := Finding{ID: "clear-text-bind", Severity: OK,
		Means: "passwords that clients send can be read on the way, and nothing makes a client notice that it forgot TLS",
		Do:    "let the server answer binds without TLS with confidentialityRequired (slapd: security simple_bind=128 or tls=1; Portolan: the default)"}
	if s.plain == "" {
		f.Seen = "there is no listener for clear text"
		s.add(f)
		return
	}
	a, err := s.once(ctx, s.clear, bind(s.nobody(), s.random(12)), nil)
	switch {
	case err != nil:
		f.Severity, f.Seen, f.Means, f.Do = Info, "the server does not answer a bind in clear text: "+why(err), "", ""
	case a.Code == ldap.ConfidentialityRequired, a.Code == ldap.StrongerAuthRequired:
		f.Seen = "a bind in clear text is refused unseen: " + a.text()
	case a.Code == ldap.Success:
		f.Severity, f.Seen = Fail, "a bind with a name and a password that nobody has is accepted"
		f.Means, f.Do = "whoever writes some name is that user", "see to it that binds are checked"
	case processed(a.Code) && s.loopback:
		f.Severity, f.Seen = Info, "a bind in clear text is checked, between two ends on this host: "+a.text()
		f.Means, f.Do = "nobody can listen there, and a server may make an exception for it", "scan from another host to see what it says there"
	case processed(a.Code):
		f.Severity, f.Seen = Fail, "a bind in clear text is checked: "+a.text()
	default:
		f.Severity, f.Seen, f.Means, f.Do = Info, "a bind in clear text is answered "+a.text(), "", ""
	}
	s.add(f)
}

// processed reports whether a result says that name and password were looked at.
func processed(c ldap.ResultCode) bool {
	switch c {
	case ldap.InvalidCredentials, ldap.NoSuchObject, ldap.InappropriateAuthentication, ldap.InsufficientAccessRights, ldap.InvalidDNSyntax:
		return true
	}
	return false
}

// unauthenticatedBind sends a name with an empty password: software that passes on what a person typed takes a success
// for a login (RFC 4513 section 5.1.2).
func (s *scanner) unauthenticatedBind(ctx context.Context) {
	f := Finding{ID: "unauthenticated-bind", Severity: OK,
		Means: "software that does not look for an empty password lets everybody in under every name",
		Do:    "refuse it (slapd: no allow bind_anon_cred; RFC 4513 section 5.1.2)"}
	a, err := s.once(ctx, s.best, bind(s.nobody(), ""), nil)
	switch {
	case err != nil:
		f.Severity, f.Seen, f.Means, f.Do = Info, "a name with an empty password is not answered: "+why(err), "", ""
	case a.Code == ldap.Success:
		f.Severity, f.Seen = Fail, "a name with an empty password is answered success"
	default:
		f.Seen = "a name with an empty password is refused: " + a.text()
	}
	s.add(f)
}

func (s *scanner) anonymousBind(ctx context.Context) {
	f := Finding{ID: "anonymous-bind", Severity: OK}
	a, err := s.once(ctx, s.best, bind("", ""), nil)
	switch {
	case err != nil:
		f.Severity, f.Seen = Info, "an anonymous bind is not answered: "+why(err)
	case a.Code == ldap.Success:
		f.Severity, f.Seen = Info, "an anonymous bind succeeds"
		f.Means = "by itself it gives nothing: what strangers read is asked below, and they need no bind for it"
	default:
		f.Seen = "an anonymous bind is refused: " + a.text()
	}
	s.add(f)
}

// weakMechanisms send what is as good as a password, or have been broken. RFC 6331 moves DIGEST-MD5 to historic.
var weakMechanisms = []string{"CRAM-MD5", "DIGEST-MD5", "NTLM", "LOGIN"}

// clearMechanisms send the password as it is.
var clearMechanisms = []string{"PLAIN", "LOGIN", "OAUTHBEARER", "XOAUTH2"}

func (s *scanner) mechanisms(_ context.Context) {
	const attribute = "supportedsaslmechanisms"
	inClear, all := s.root[attribute], s.root[attribute]
	if s.rootTLS != nil {
		all = append(slices.Clip(inClear), s.rootTLS[attribute]...)
	}
	if len(all) == 0 {
		return
	}
	all = slices.Compact(slices.Sorted(slices.Values(all)))
	named := func(list, of []string) (out []string) {
		for _, m := range list {
			if slices.ContainsFunc(of, func(x string) bool { return strings.EqualFold(x, m) }) {
				out = append(out, m)
			}
		}
		return out
	}
	f := Finding{ID: "mechanisms", Severity: OK, Seen: "SASL mechanisms: " + few(all, 12)}
	open, weak := named(inClear, clearMechanisms), named(all, weakMechanisms)
	switch {
	case len(open) > 0 && s.plain != "":
		f.Severity, f.Seen = Warn, "offered without TLS: "+few(open, 8)
		f.Means, f.Do = "clients that pick one send the password in clear text", "offer it under TLS alone"
		if s.loopback {
			f.Severity, f.Means = Info, f.Means+"; between two ends on this host nobody can listen"
		}
	case len(weak) > 0:
		f.Severity, f.Seen = Warn, "weak mechanisms are offered: "+few(weak, 8)
		f.Means, f.Do = "what goes over the wire lets an onlooker guess the password, and the server has to keep it in a form as good as clear text", "offer SCRAM-SHA-256 and EXTERNAL instead"
	}
	s.add(f)
}
