package op

import (
	"net/netip"
	"time"

	"portolan/internal/dit"
	"portolan/internal/schema"
	"portolan/ldap"
)

// Apart are credentials of an account other than its password: an entry beneath it.
type Apart struct {
	// Kind is what they are, such as "app password"; Entry holds them, and Name is its own.
	Kind, Name string
	Entry      *dit.Entry
}

// Issue is a request for new credentials of an entry (RFC 3062).
type Issue struct {
	DN    string
	Entry *dit.Entry
	// Old and Chosen are what the client gives for the old and the new password, nil where it gives none.
	Old, Chosen []byte
	// Shown is what the client is told in the place of a generated password, this once.
	Shown []byte
}

// maxBeneath bounds how many entries beneath an account are looked at for credentials.
const maxBeneath = 10_000

// Beneath calls f for the entries right beneath e that are of a class, until it returns false. Where there are more than
// credentials need the error is adminLimitExceeded: what is not looked at must not let anybody in.
func Beneath(r Reader, e *dit.Entry, class *schema.ObjectClass, f func(child *dit.Entry) bool) error {
	if class == nil {
		return nil
	}
	var ids []dit.ID
	err := r.Children(e.ID, func(child dit.ID) bool {
		ids = append(ids, child)
		return len(ids) <= maxBeneath
	})
	if err != nil {
		return err
	}
	if len(ids) > maxBeneath {
		return ldap.Errorf(ldap.AdminLimitExceeded, "there are more than %d entries beneath the account", maxBeneath)
	}
	for _, id := range ids {
		child, err := r.Get(id)
		if err != nil {
			return err
		}
		if child != nil && child.IsA(r.Schema(), class) && !f(child) {
			return nil
		}
	}
	return nil
}

// Unusable says why an account, or an entry with credentials, cannot be used on a connection now, for what stands in the
// entry itself: disabled, or not from there. "" is nothing.
func Unusable(s *schema.Schema, e *dit.Entry, c *Conn) Reason {
	if string(e.First(schema.Description{Type: s.Known.PortolanAccountDisabled})) == "TRUE" {
		return "the account is disabled"
	}
	slot := e.Shape().FindType(s.Known.PortolanAllowedFrom)
	if slot < 0 || c.Transport == Unix {
		return ""
	}
	for v := e.Values(slot); ; {
		value, ok := v.Next()
		if !ok {
			return "the account may not be used from this address"
		}
		if network, ok := allowedFrom(value); ok && network.Contains(c.Remote.Addr().Unmap()) {
			return ""
		}
	}
}

// allowedFrom reads a value of portolanAllowedFrom: a network, or one address.
func allowedFrom(value []byte) (network netip.Prefix, ok bool) {
	if address, err := netip.ParseAddr(string(value)); err == nil {
		address = address.Unmap().WithZone("")
		return netip.PrefixFrom(address, address.BitLen()), true
	}
	network, err := netip.ParsePrefix(string(value))
	return network, err == nil
}

// CheckAllowedFrom refuses values of portolanAllowedFrom that no address would ever be in: an account with nothing else would be
// shut without a word.
func CheckAllowedFrom(s *schema.Schema, d *dit.Draft) error {
	a := d.Attr(schema.Description{Type: s.Known.PortolanAllowedFrom})
	if a == nil || !d.Touched(a.Desc) {
		return nil
	}
	for _, v := range a.Values {
		if _, ok := allowedFrom(v); !ok {
			return ldap.Errorf(ldap.InvalidAttributeSyntax, "portolanAllowedFrom: a value is no network: write such as 192.0.2.0/24 or 2001:db8::/32, or an address")
		}
	}
	return nil
}

// Outside reports whether a time is before pwdStartTime or not before pwdEndTime of an entry. Values that are no times keep
// it closed.
func Outside(s *schema.Schema, e *dit.Entry, now time.Time) bool {
	if v := e.First(schema.Description{Type: s.Known.PwdStartTime}); v != nil {
		if at, err := schema.ParseGeneralizedTime(v); err != nil || now.Before(at) {
			return true
		}
	}
	if v := e.First(schema.Description{Type: s.Known.PwdEndTime}); v != nil {
		if at, err := schema.ParseGeneralizedTime(v); err != nil || !now.Before(at) {
			return true
		}
	}
	return false
}
