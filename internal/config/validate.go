package config

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// Validate checks what one key cannot show by itself: keys that need each other or exclude each other, URLs, the form of
// DNs and attribute names. Load and Parse have done it; it is for configurations made in code. The error is an
// *ErrorList.
func (c *Config) Validate() error {
	var errs errorSet
	v := validator{c: c, errs: &errs}
	v.all()
	return errs.err()
}

type validator struct {
	c    *Config
	errs *errorSet
	bad  map[string]bool // keys whose value was refused already
}

// fail adds an error about a key unless the key has one.
func (v *validator) fail(path, hint, format string, args ...any) {
	if v.bad[path] {
		return
	}
	v.errs.add(v.at(path), hint, format, args...)
}

// at is the place of a key that was written; else that of its table.
func (v *validator) at(path string) Position {
	for p := path; p != ""; {
		if at, ok := v.c.places[p]; ok {
			return at
		}
		i := strings.LastIndexAny(p, ".[")
		if i < 0 {
			break
		}
		p = p[:i]
	}
	return Position{File: v.c.file}
}

// badBelow reports whether the key or anything in it was refused.
func (v *validator) badBelow(path string) bool {
	for p := range v.bad {
		if p == path || strings.HasPrefix(p, path+".") || strings.HasPrefix(p, path+"[") {
			return true
		}
	}
	return false
}

func (v *validator) all() {
	if v.c.DataDir == "" {
		v.fail("data_dir", `write data_dir = "/var/lib/portolan"`, "data_dir is empty")
	}
	v.directory()
	v.listeners()
	v.tls()
	v.indexes()
	v.access()
	v.limits()
	v.replicas()
	v.metrics()
	if n := v.c.Store.EntryCache; n < 0 || n > 0 && n < minEntryCache {
		v.fail("store.entry_cache", `write entry_cache = "256MiB", or 0 for a part of the memory there is`, "store.entry_cache is %d octets, at least 1MiB is needed", n)
	}
	for i, f := range v.c.Schema.Files {
		if path := fmt.Sprintf("schema.files[%d]", i); f == "" {
			v.fail(path, `write files = ["/etc/portolan/local.schema"]`, "schema.files holds an empty name")
		}
	}
}

// minEntryCache is the least that an entry cache is of use with.
const minEntryCache = 1 << 20

func (v *validator) metrics() {
	text := v.c.Metrics.Listen
	if text == "" {
		return
	}
	a, err := netip.ParseAddrPort(text)
	if err != nil || !a.Addr().IsLoopback() {
		v.fail("metrics.listen", `write a loopback address and a port, such as listen = "127.0.0.1:9389"; a proxy with TLS and a login can serve others`, "%s is not a loopback address and a port", show(text))
	}
}

func (v *validator) directory() {
	d := &v.c.Directory
	if d.Suffix != "" && len(d.Suffixes) > 0 {
		v.fail("directory.suffixes", "write all of them in suffixes", "suffix and suffixes are both written")
	}
	all := d.AllSuffixes()
	if len(all) == 0 && !v.badBelow("directory.suffix") && !v.badBelow("directory.suffixes") {
		v.errs.add(v.at("directory.suffix"), `write under [directory]: suffix = "dc=example,dc=org"`, "directory.suffix is missing")
	}
	type seen struct{ plain, text string }
	var before []seen
	for i, s := range all {
		path := "directory.suffix"
		if d.Suffix == "" || i > 0 {
			path = fmt.Sprintf("directory.suffixes[%d]", i-len(all)+len(d.Suffixes))
		}
		if !v.dn(path, "suffix", s) {
			continue
		}
		plain := plainDN(s)
		for _, b := range before {
			low, high := s, b.text
			switch {
			case plain == b.plain:
				v.fail(path, "leave one of them out", "suffix %s is listed twice", show(s))
			case strings.HasSuffix(plain, ","+b.plain), strings.HasSuffix(b.plain, ","+plain):
				if len(b.plain) > len(plain) {
					low, high = high, low
				}
				v.fail(path, "leave the lower one out", "suffix %s lies beneath suffix %s, which holds it already", show(low), show(high))
			default:
				continue
			}
			break
		}
		before = append(before, seen{plain, s})
	}
	if d.AdminDN != "" {
		v.dn("directory.admin_dn", "admin_dn", d.AdminDN)
	} else if d.AdminPasswordFile != "" && !v.bad["directory.admin_dn"] {
		v.fail("directory.admin_password_file", `write admin_dn = "cn=admin,dc=example,dc=org"`, "admin_password_file does nothing without admin_dn")
	}
}

// dn checks the form of a DN as far as that is possible without the parser, which comes later and is strict.
func (v *validator) dn(path, name, s string) bool {
	if looksLikeDN(s) {
		return true
	}
	v.fail(path, `write it like "dc=example,dc=org"`, "%s: %s is not a DN", name, show(s))
	return false
}

// looksLikeDN reports whether s is a list of type=value (RFC 4514 3).
func looksLikeDN(s string) bool {
	for _, rdn := range splitDN(s) {
		typ, _, ok := strings.Cut(rdn, "=")
		if !ok || !isAttribute(strings.Trim(typ, " ")) {
			return false
		}
	}
	return true
}

// splitDN cuts at commas that are not escaped.
func splitDN(s string) []string {
	var parts []string
	begin := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case ',':
			parts = append(parts, s[begin:i])
			begin = i + 1
		}
	}
	return append(parts, s[begin:])
}

// plainDN writes a DN in one form that is good enough to see that two are the same.
func plainDN(s string) string {
	parts := splitDN(s)
	for i, p := range parts {
		typ, value, _ := strings.Cut(p, "=")
		parts[i] = strings.ToLower(strings.Trim(typ, " ") + "=" + strings.Trim(value, " "))
	}
	return strings.Join(parts, ",")
}

// isAttribute reports whether s is a descr or a numericoid (RFC 4512 1.4).
func isAttribute(s string) bool {
	if s == "" {
		return false
	}
	if s[0] >= '0' && s[0] <= '9' {
		for part := range strings.SplitSeq(s, ".") {
			if part == "" || strings.Trim(part, "0123456789") != "" || len(part) > 1 && part[0] == '0' {
				return false
			}
		}
		return true
	}
	for i := 0; i < len(s); i++ {
		c := s[i] | 0x20
		letter := c >= 'a' && c <= 'z'
		if !letter && (i == 0 || s[i] != '-' && (s[i] < '0' || s[i] > '9')) {
			return false
		}
	}
	return true
}

func (v *validator) listeners() {
	const hint = `write url = "ldaps://0.0.0.0:636"`
	var seen []Address
	var seenAt []Position
	for i := range v.c.Listen {
		l := &v.c.Listen[i]
		table := fmt.Sprintf("listen[%d]", i)
		path := table + ".url"
		if v.bad[path] {
			continue
		}
		if l.URL == "" {
			v.errs.add(l.At("url"), hint, "this listener has no url")
			continue
		}
		a, err := l.Address()
		if err != nil {
			v.errs.add(l.At("url"), hint, "url: %v", err)
			continue
		}
		for j, b := range seen {
			if a.overlaps(b) {
				v.errs.add(l.At("url"), "leave one of them out", "url: %s listens where the listener in line %d does", show(l.URL), seenAt[j].Line)
				break
			}
		}
		seen, seenAt = append(seen, a), append(seenAt, l.At("url"))
		if a.Network == "unix" && len(l.Allow)+len(l.Deny) > 0 {
			key := "allow"
			if len(l.Allow) == 0 {
				key = "deny"
			}
			v.errs.add(l.At(key), "leave it out; the permissions of the socket's directory say who may connect", "%s does nothing for an ldapi listener", key)
		}
		if a.Network != "tcp" && len(l.ProxyProtocolFrom) > 0 {
			v.errs.add(l.At("proxy_protocol_from"), "leave it out", "proxy_protocol_from does nothing for this listener; it is for ldap and ldaps")
		}
		v.listenerTLS(l, a)
	}
}

// listenerTLS refuses a listener that could serve nobody.
func (v *validator) listenerTLS(l *Listen, a Address) {
	const hint = `write cert_file and key_file under [tls]; "portolan init" makes both`
	if v.c.TLS.CertFile != "" || v.badBelow("tls") || v.bad["security.require_tls"] || a.Network != "tcp" {
		return
	}
	switch {
	case a.TLS:
		v.errs.add(l.At("url"), hint, "%s needs a certificate", show(l.URL))
	case v.c.Security.RequireTLS == "always", v.c.Security.RequireTLS == "non-loopback" && !a.Loopback():
		v.errs.add(l.At("url"), hint, "%s needs a certificate: clients must use StartTLS there (security.require_tls = %q)", show(l.URL), v.c.Security.RequireTLS)
	}
}

func (v *validator) tls() {
	t := &v.c.TLS
	switch {
	case t.CertFile != "" && t.KeyFile == "" && !v.bad["tls.key_file"]:
		v.fail("tls.cert_file", `write key_file = "/etc/portolan/server.key" beside it`, "cert_file is of no use without key_file")
	case t.CertFile == "" && t.KeyFile != "" && !v.bad["tls.cert_file"]:
		v.fail("tls.key_file", `write cert_file = "/etc/portolan/server.crt" beside it`, "key_file is of no use without cert_file")
	case t.CertFile == "" && t.ClientCAFile != "" && !v.bad["tls.cert_file"]:
		v.fail("tls.client_ca_file", `write cert_file = "/etc/portolan/server.crt" and its key_file`, "client_ca_file is of no use without cert_file")
	case t.ClientCertificate == "required" && t.ClientCAFile == "" && !v.bad["tls.client_ca_file"] && !v.bad["tls.client_certificate"]:
		v.fail("tls.client_certificate", `write client_ca_file = "/etc/portolan/clients.crt" beside it`, "client_certificate = \"required\" is of no use without client_ca_file: no certificate would do")
	}
}

func (v *validator) indexes() {
	for _, x := range []struct {
		name string
		list []string
	}{{"equality", v.c.Index.Equality}, {"substring", v.c.Index.Substring}, {"ordering", v.c.Index.Ordering}} {
		path := "index." + x.name
		if v.badBelow(path) {
			continue
		}
		for i, a := range x.list {
			if !isAttribute(a) {
				v.fail(fmt.Sprintf("%s[%d]", path, i), fmt.Sprintf(`write attribute names: %s = ["employeeNumber"]`, x.name), "index.%s: %s is not an attribute name", x.name, show(a))
			}
		}
	}
}

func (v *validator) access() {
	for i := range v.c.Access {
		r := &v.c.Access[i]
		if v.badBelow(fmt.Sprintf("access[%d]", i)) {
			continue
		}
		switch {
		case len(r.Allow) > 0 && len(r.Deny) > 0:
			v.errs.add(r.At("deny"), "write two rules", "an access rule has allow or deny, not both")
		case len(r.Allow) == 0 && len(r.Deny) == 0:
			v.errs.add(r.Position, `write for example allow = ["read", "search", "compare"]`, "an access rule needs allow or deny")
		}
	}
}

func (v *validator) limits() {
	l := &v.c.Limits
	if l.MaxPDUUnauthenticated > l.MaxPDU {
		path := "limits.max_pdu_unauthenticated"
		if _, ok := v.c.places[path]; !ok {
			path = "limits.max_pdu"
		}
		if !v.bad["limits.max_pdu"] && !v.bad["limits.max_pdu_unauthenticated"] {
			v.fail(path, "", "max_pdu_unauthenticated (%s) is larger than max_pdu (%s)", FormatSize(l.MaxPDUUnauthenticated), FormatSize(l.MaxPDU))
		}
	}
	for i := range l.For {
		f := &l.For[i]
		if v.badBelow(fmt.Sprintf("limits.for[%d]", i)) {
			continue
		}
		if len(f.Who) == 0 {
			v.errs.add(f.Position, `write who = "group:cn=applications,ou=groups,dc=example,dc=org"`, "limits.for.who is missing")
		}
		for j, who := range f.Who {
			kind, name, _ := strings.Cut(who, ":")
			switch {
			case who == "anonymous", who == "users":
			case (kind == "dn" || kind == "group") && looksLikeDN(name):
			default:
				v.errs.add(f.At(fmt.Sprintf("who[%d]", j)), `write "anonymous", "users", "dn:DN" or "group:DN"`, "who: %s names nobody", show(who))
			}
		}
		if f.SizeLimit == nil && f.TimeLimit == nil && f.MaxExamined == nil && f.Rate == nil && f.MaxOutstanding == nil && f.IdleTimeout == nil {
			v.errs.add(f.Position, "write for example size_limit = 0, or leave the table out", "this table sets no limit")
		}
	}
}

// Warnings says, in one line each, what is allowed but seldom meant.
func (c *Config) Warnings() []string {
	var list []string
	warn := func(path, format string, args ...any) {
		list = append(list, c.At(path).String()+": "+fmt.Sprintf(format, args...))
	}
	if len(c.Listen) == 0 {
		warn("listen", "there is no [[listen]]: the server can be reached through its control socket only")
	}
	if c.Security.RequireTLS == "never" {
		warn("security.require_tls", "passwords may travel in clear text over the network (require_tls = \"never\")")
	}
	if c.Security.Anonymous == "read" {
		warn("security.anonymous", "clients that have not authenticated may search (anonymous = \"read\"), as far as access rules let them")
	}
	if !c.Security.BuiltinAccess && len(c.Access) == 0 {
		warn("security.builtin_access", "there is no access rule: nobody but admin_dn can do anything (builtin_access = false)")
	}
	if c.Directory.AdminDN != "" && c.Directory.AdminPasswordFile == "" {
		warn("directory.admin_dn", "admin_dn can bind only with a password in an entry of that name: admin_password_file is not written")
	}
	for i := range c.Replica {
		if r := &c.Replica[i]; r.Clear() && !strings.Contains(r.URL, "//127.0.0.1") && !strings.Contains(r.URL, "//localhost") && !strings.Contains(r.URL, "//[::1]") {
			list = append(list, r.At("tls").String()+": the copy comes over the network in clear text, passwords among it (tls = \"off\")")
		}
	}
	if !c.Audit.Enabled {
		warn("audit.enabled", "nothing says who changed what: the audit log is off")
	}
	if c.Log.Access.File != "" && !c.Log.Access.Enabled {
		warn("log.access.file", "the access log is off: enabled is false")
	}
	for i := range c.Listen {
		l := &c.Listen[i]
		for _, p := range l.ProxyProtocolFrom {
			if p.Bits() == 0 {
				list = append(list, l.At("proxy_protocol_from").String()+": "+p.String()+" lets every client say which address it has")
			}
		}
		if a, err := l.Address(); err == nil && a.Network == "udp" && !a.Loopback() {
			list = append(list, l.At("url").String()+": cldap beyond loopback answers senders whose address is not proven")
		}
	}
	return list
}

// loopback reports whether host is a loopback address or the name of one.
func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
