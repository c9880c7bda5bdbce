package engine

import (
	"crypto/tls"
	"errors"
	"strings"

	"portolan/internal/access"
	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/internal/schema"
	"portolan/ldap"
)

// findOptions say how an entry named by a client is looked for.
type findOptions struct {
	deref  bool // dereference aliases on the way and at the end
	manage bool // treat referral objects as entries (RFC 3296)
	search bool // references are for a search: the URL carries the scope
	scope  ldap.Scope
}

// maxAliases bounds the aliases that one name may lead through.
const maxAliases = 16

// find returns the entry that a client named. Errors are what the client is told: invalidDNSyntax, noSuchObject with
// matchedDN, referral, aliasProblem. What the client may not know of does not exist for it.
func (e *Engine) find(r op.Reader, dn []byte, rights *access.Evaluator, o findOptions) (*dit.Entry, error) {
	norm, err := normalize(r.Schema(), dn)
	if err != nil {
		return nil, err
	}
	for hops := 0; ; hops++ {
		entry, matched, err := r.Lookup(norm)
		if err != nil {
			return nil, err
		}
		if !o.manage {
			if err := e.referred(r, norm, entry, matched, hops > 0, o); err != nil {
				return nil, err
			}
		}
		if entry == nil {
			next, err := e.throughAlias(r, norm, matched, o)
			if err != nil {
				return nil, err
			}
			if next == "" {
				return nil, led(hops, e.noSuchObject(r, rights, matched))
			}
			norm = next
		} else {
			name, err := r.Name(entry)
			if err != nil {
				return nil, err
			}
			target := access.Target{Entry: entry, Name: name, Large: r}
			if rights.EntryRights(&target)&access.Disclose == 0 {
				return nil, led(hops, e.noSuchObject(r, rights, parentOf(r, entry)))
			}
			if !entry.Alias || !o.deref {
				return entry, nil
			}
			if norm, err = aliasTarget(r, entry); err != nil {
				return nil, err
			}
		}
		if hops == maxAliases {
			return nil, ldap.Errorf(ldap.LoopDetect, "more than %d aliases lead on from %q", maxAliases, clip(dn))
		}
	}
}

// normalize is the canonical form of a name that a client sent.
func normalize(s *schema.Schema, dn []byte) (string, error) {
	norm, err := s.NormalizeDN(nil, dn)
	if err != nil {
		if e, ok := errors.AsType[*ldap.Error](err); ok {
			return "", e
		}
		return "", ldap.Errorf(ldap.InvalidDNSyntax, "%q is not a distinguished name: %v", clip(dn), err)
	}
	return string(norm), nil
}

// throughAlias continues a name through an alias among its ancestors.
func (e *Engine) throughAlias(r op.Reader, norm string, matched *dit.Entry, o findOptions) (string, error) {
	if !o.deref || matched == nil || !matched.Alias {
		return "", nil
	}
	name, err := r.Name(matched)
	if err != nil {
		return "", err
	}
	target, err := aliasTarget(r, matched)
	if err != nil {
		return "", err
	}
	return strings.TrimSuffix(norm, name.Norm) + target, nil
}

// aliasTarget returns the canonical name that an alias points to.
func aliasTarget(r op.Reader, alias *dit.Entry) (string, error) {
	value := alias.First(schema.Description{Type: r.Schema().Known.AliasedObjectName})
	if value == nil {
		return "", ldap.Errorf(ldap.AliasProblem, "an alias without aliasedObjectName")
	}
	norm, err := normalize(r.Schema(), value)
	if err != nil {
		return "", ldap.Errorf(ldap.AliasProblem, "an alias that points to no valid name")
	}
	return norm, nil
}

// noSuchObject is the answer about a name that is not there, with the closest ancestor that the client may know of.
func (e *Engine) noSuchObject(r op.Reader, rights *access.Evaluator, matched *dit.Entry) *ldap.Error {
	err := ldap.Errorf(ldap.NoSuchObject, "")
	for ; matched != nil; matched = parentOf(r, matched) {
		name, nameErr := r.Name(matched)
		if nameErr != nil {
			return ldap.AsError(nameErr)
		}
		target := access.Target{Entry: matched, Name: name, Large: r}
		if rights == nil || rights.EntryRights(&target)&access.Disclose != 0 {
			err.MatchedDN = name.DN
			break
		}
	}
	return err
}

// led is the answer where aliases led to a name that is not there: the problem is the alias (RFC 4511 appendix A.2).
func led(hops int, err *ldap.Error) *ldap.Error {
	if hops > 0 && err.Code == ldap.NoSuchObject {
		err.Code = ldap.AliasProblem
	}
	return err
}

func parentOf(r op.Reader, e *dit.Entry) *dit.Entry {
	if e.Parent == 0 {
		return nil
	}
	parent, err := r.Get(e.Parent)
	if err != nil {
		return nil
	}
	return parent
}

// referred returns the referral for a name at or beneath a referral object (RFC 3296 sections 5.2 and 5.3). Where aliases have
// led to the name the client does not know it, and every URL must say it (RFC 4511 section 4.1.10).
func (e *Engine) referred(r op.Reader, norm string, entry, matched *dit.Entry, led bool, o findOptions) error {
	unknown := ""
	if led {
		unknown = norm
	}
	at := entry
	if at == nil {
		at = matched
	}
	for ; at != nil; at = parentOf(r, at) {
		if !at.Referral {
			continue
		}
		name, err := r.Name(at)
		if err != nil {
			return err
		}
		urls := referralURLs(r, at, strings.TrimSuffix(norm, name.Norm), unknown, o)
		if len(urls) == 0 {
			return nil
		}
		ref := ldap.Errorf(ldap.Referral, "")
		ref.Referrals = urls
		ref.MatchedDN = name.DN
		return ref
	}
	return nil
}

// referralURLs are the values of ref, completed for a name that stands rest above the referral object; those without a name
// are given unknown, which may be empty. Labels behind the URL are cut off; what is no LDAP URL goes out as it is. What the
// URL says about a search has no place in the referral of another operation (RFC 3296 section 5.2).
func referralURLs(r op.Reader, entry *dit.Entry, rest, unknown string, o findOptions) []string {
	slot := entry.Shape().FindType(r.Schema().Known.Ref)
	if slot < 0 {
		return nil
	}
	var out []string
	for v := entry.Values(slot); ; {
		value, ok := v.Next()
		if !ok {
			return out
		}
		text, _, _ := strings.Cut(string(value), " ")
		u, err := ldap.ParseURL(text)
		if err != nil {
			out = append(out, text)
			continue
		}
		if u.DN != "" {
			u.DN = rest + u.DN
		} else {
			u.DN = unknown
		}
		if u.HasScope = o.search; o.search {
			u.Scope = o.scope
		} else {
			u.Attributes, u.Filter = nil, ""
		}
		out = append(out, u.String())
	}
}

// sendReference sends a continuation reference for a referral object in scope (RFC 4511 section 4.5.3).
func (s *search) sendReference(entry *dit.Entry) error {
	urls := s.References(s.m.Scope)
	if len(urls) == 0 {
		return nil
	}
	msg := ldap.Message{ID: s.req.ID, Op: &ldap.SearchResultReference{URIs: urls}}
	for _, each := range s.req.Search.EachReference {
		var err error
		if msg.Controls, err = each(s.r, entry, msg.Controls); err != nil {
			return err
		}
	}
	s.req.Trace.References++
	return s.w.End(msg.Append(s.w.Begin()))
}

// tlsBits is the strength of a cipher suite in bits.
func tlsBits(suite uint16) int {
	switch suite {
	case tls.TLS_AES_256_GCM_SHA384, tls.TLS_CHACHA20_POLY1305_SHA256,
		tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256:
		return 256
	}
	return 128
}
