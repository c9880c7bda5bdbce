package ldap

// ValidDN reports whether ParseDN takes a name. Of a plain one it does not allocate.
func ValidDN(dn []byte) bool {
	if isPlainDN(dn) {
		return true
	}
	_, err := ParseDN(string(dn))
	return err == nil
}

// plainValue has the octets that stand for themselves in the values of names, wherever they stand but for a space.
var plainValue = func() (t [256]bool) {
	for c := range t {
		t[c] = c >= ' ' && c < 0x7f
	}
	for _, c := range `,+=\";<>#` {
		t[c] = false
	}
	return t
}()

// isPlainDN knows the names that need no parser: attribute types by name, single-valued RDNs, values of printable ASCII in
// which nothing is escaped, no spaces around them.
func isPlainDN(dn []byte) bool {
	if len(dn) > MaxDNBytes {
		return false
	}
	for rdns := 0; ; rdns++ {
		eq := 0
		for eq < len(dn) && (isAlpha(dn[eq]) || eq > 0 && (isDigit(dn[eq]) || dn[eq] == '-')) {
			eq++
		}
		if eq == 0 || eq == len(dn) || dn[eq] != '=' || rdns == MaxRDNs {
			return false
		}
		dn = dn[eq+1:]
		end := 0
		for end < len(dn) && plainValue[dn[end]] {
			end++
		}
		if end == 0 || dn[0] == ' ' || dn[end-1] == ' ' || end < len(dn) && dn[end] != ',' {
			return false
		}
		if end == len(dn) {
			return true
		}
		dn = dn[end+1:]
	}
}
