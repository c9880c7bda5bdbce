package config

import (
	"fmt"
	"net/url"
	"strings"
	"time"
)

// Replica is one naming context that is copied from another server. A key that was not written is zero; the methods give
// what it means then.
type Replica struct {
	Place `toml:"-"`
	// URL is ldaps://, ldap:// (with StartTLS unless TLS is "off") or ldapi://.
	URL string `toml:"url"`
	// Base is a suffix of this server; use Config.ReplicaBase.
	Base string `toml:"base"`
	// BindDN with PasswordFile is a simple bind. CertFile with KeyFile is a certificate of this server as a client: without
	// BindDN it authenticates by SASL EXTERNAL.
	BindDN       string `toml:"bind_dn"`
	PasswordFile string `toml:"password_file,path"`
	CertFile     string `toml:"cert_file,path"`
	KeyFile      string `toml:"key_file,path"`
	// CAFile are the authorities that the provider's certificate must be of; empty is the system's.
	CAFile string `toml:"ca_file,path"`
	// TLS is "required" or "off"; empty is "required".
	TLS string `toml:"tls" enum:"required|off"`
	// Filter and Attributes select what is copied; empty is everything.
	Filter     string   `toml:"filter"`
	Attributes []string `toml:"attrs,one"`
	// Mode is "persist" or "poll"; empty is "persist". Poll is the time between two polls; with "persist" it is for
	// providers that do not take searches that persist, and 0 is not to poll.
	Mode string        `toml:"mode" enum:"persist|poll"`
	Poll time.Duration `toml:"poll"`
	// Retry and RetryMax are the waits after the first failure and after many; 0 is 1s and 1m.
	Retry    time.Duration `toml:"retry"`
	RetryMax time.Duration `toml:"retry_max"`
	// Referral is where clients are sent that want to write; empty is URL.
	Referral string `toml:"referral"`
	// Adopt says that entries may be there before the first refresh: those that the provider does not have are deleted.
	Adopt bool `toml:"adopt"`
}

// ReplicaBase returns the naming context of a replica: the only one of the server where none was written.
func (c *Config) ReplicaBase(r *Replica) string {
	if all := c.Directory.AllSuffixes(); r.Base == "" && len(all) == 1 {
		return all[0]
	}
	return r.Base
}

// Clear reports whether the provider is spoken to in clear text over a network.
func (r *Replica) Clear() bool {
	return r.TLS == "off" && strings.HasPrefix(strings.ToLower(r.URL), "ldap:")
}

// StartTLS reports whether TLS is to be begun on a connection in clear text.
func (r *Replica) StartTLS() bool {
	return r.TLS != "off" && strings.HasPrefix(strings.ToLower(r.URL), "ldap:")
}

// ReferralURL is where clients are sent that want to write.
func (r *Replica) ReferralURL() string {
	if r.Referral != "" {
		return r.Referral
	}
	return r.URL
}

// Waits returns the least and the most time between two attempts.
func (r *Replica) Waits() (first, most time.Duration) {
	first, most = r.Retry, r.RetryMax
	if first == 0 {
		first = time.Second
	}
	if most == 0 {
		most = max(time.Minute, first)
	}
	return first, most
}

func (v *validator) replicas() {
	seen := map[string]bool{}
	for i := range v.c.Replica {
		r := &v.c.Replica[i]
		if v.badBelow(fmt.Sprintf("replica[%d]", i)) {
			continue
		}
		v.replicaURL(r)
		v.replicaLogin(r)
		base := v.c.ReplicaBase(r)
		known := false
		for _, s := range v.c.Directory.AllSuffixes() {
			known = known || plainDN(s) == plainDN(base)
		}
		switch {
		case base == "":
			v.errs.add(r.Position, `write base = "dc=example,dc=org", one of suffixes`, "[[replica]] must say which suffix it is: there are several")
		case !known:
			v.errs.add(r.At("base"), "write one of the suffixes, or make it one under [directory]", "base: %s is no suffix of this server", show(base))
		case seen[plainDN(base)]:
			v.errs.add(r.At("base"), "leave one of them out", "suffix %s has two [[replica]]", show(base))
		}
		seen[plainDN(base)] = true
		if r.Mode == "poll" && r.Poll == 0 {
			v.errs.add(r.At("mode"), `write for example poll = "5m"`, "mode is \"poll\", and poll does not say how often")
		}
		if first, most := r.Waits(); first > most {
			v.errs.add(r.At("retry"), "", "retry (%v) is longer than retry_max (%v)", first, most)
		}
		for j, a := range r.Attributes {
			if name, _, _ := strings.Cut(strings.TrimPrefix(a, "@"), ";"); a != "*" && a != "+" && !isAttribute(name) {
				v.errs.add(r.At(fmt.Sprintf("attrs[%d]", j)), `write for example attrs = ["*", "+"]`, "attrs: %s is not an attribute", show(a))
			}
		}
	}
}

func (v *validator) replicaURL(r *Replica) {
	const hint = `write url = "ldaps://ldap1.example.org"`
	u, err := url.Parse(r.URL)
	switch {
	case r.URL == "":
		v.errs.add(r.At("url"), hint, "[[replica]] has no url")
	case err != nil || u.Scheme != "ldap" && u.Scheme != "ldaps" && u.Scheme != "ldapi":
		v.errs.add(r.At("url"), hint, "url: %s is not the URL of a provider", show(r.URL))
	case r.TLS == "off" && u.Scheme == "ldaps":
		v.errs.add(r.At("tls"), "leave it out, or write an ldap URL", "tls is \"off\", and url %s is TLS from the start", show(r.URL))
	}
	if r.Referral != "" {
		if u, err := url.Parse(r.Referral); err != nil || u.Scheme != "ldap" && u.Scheme != "ldaps" {
			v.errs.add(r.At("referral"), `write referral = "ldaps://ldap1.example.org"`, "referral: %s is not an LDAP URL", show(r.Referral))
		}
	}
}

func (v *validator) replicaLogin(r *Replica) {
	switch {
	case r.BindDN != "" && !looksLikeDN(r.BindDN):
		v.errs.add(r.At("bind_dn"), `write bind_dn = "cn=replicator,ou=services,dc=example,dc=org"`, "bind_dn: %s is not a DN", show(r.BindDN))
	case r.BindDN != "" && r.PasswordFile == "":
		v.errs.add(r.At("bind_dn"), `write password_file = "/etc/portolan/replica.password"`, "bind_dn is of no use without password_file")
	case r.BindDN == "" && r.PasswordFile != "":
		v.errs.add(r.At("password_file"), `write bind_dn = "cn=replicator,ou=services,dc=example,dc=org"`, "password_file is of no use without bind_dn")
	}
	switch {
	case r.CertFile != "" && r.KeyFile == "":
		v.errs.add(r.At("cert_file"), "write key_file beside it", "cert_file is of no use without key_file")
	case r.CertFile == "" && r.KeyFile != "":
		v.errs.add(r.At("key_file"), "write cert_file beside it", "key_file is of no use without cert_file")
	}
}
