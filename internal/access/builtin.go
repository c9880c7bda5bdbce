package access

import (
	"fmt"

	"portolan/ldap"
)

// DefaultAdmins is the administrators' group of the built-in rules, beneath each suffix.
const DefaultAdmins = "cn=admins,ou=groups"

// builtinOrigin is where messages say that the built-in rules stand.
const builtinOrigin = "built in"

// Default returns the built-in rules, the named set "default":
//
//   - who has authenticated reads, searches and compares everything below the suffixes but secrets and the state of others'
//     accounts: when a password was changed or was wrong, whether it is locked, when somebody was last here;
//   - who has authenticated reads those of the own entry, and of the credentials beneath it;
//   - everybody may change the password of the own entry, and reads it no more than anybody else;
//   - members of the group Admins beneath a suffix may do everything below that suffix, and set secrets without reading
//     them;
//   - with AnonymousRead, anonymous clients read, search and compare as users do.
func Default(o Options) ([]Rule, error) {
	if o.Admins == "" {
		o.Admins = DefaultAdmins
	}
	if dn, err := ldap.ParseDN(o.Admins); err != nil || len(dn) == 0 {
		return nil, fmt.Errorf("access rules: the group of administrators %s is not a DN; write the part above the suffix, such as %s", show(o.Admins), DefaultAdmins)
	}
	var everywhere []string
	for _, suffix := range o.Suffixes {
		everywhere = append(everywhere, "subtree:"+suffix)
	}
	if len(everywhere) == 0 {
		return nil, nil
	}
	reading := []string{"disclose", "search", "read", "compare"}
	state := accountState(o)
	most := []string{"entry", "*"}
	for _, name := range state {
		most = append(most, exceptPrefix+name)
	}
	rules := []Rule{{Name: "default: users read", Allow: reading, Who: []string{"users"}, On: everywhere, Attrs: most}}
	if len(state) > 0 {
		rules = append(rules, Rule{Name: "default: own account", Allow: reading[1:], Who: []string{"self", "parent"}, On: everywhere, Attrs: state})
	}
	if password := o.Schema.Known.UserPassword; password != nil {
		rules = append(rules, Rule{Name: "default: own password", Allow: []string{"write"}, Who: []string{"self"}, On: everywhere, Attrs: []string{password.Name()}})
	}
	secrets := settable(o)
	for i, suffix := range o.Suffixes {
		admins := []string{"group:" + o.Admins + "," + suffix}
		on := everywhere[i : i+1]
		rules = append(rules, Rule{Name: "default: admins", Allow: []string{"all"}, Who: admins, On: on})
		// An empty list would mean everything.
		if len(secrets) > 0 {
			rules = append(rules, Rule{Name: "default: admins set secrets", Allow: []string{"write"}, Who: admins, On: on, Attrs: secrets})
		}
	}
	if o.AnonymousRead {
		rules = append(rules, Rule{Name: "default: anonymous read", Allow: reading, Who: []string{"anonymous"}, On: everywhere, Attrs: most})
	}
	for i := range rules {
		rules[i].Origin = builtinOrigin
	}
	return rules, nil
}

// accountState names what the server notes about accounts and their passwords, and what administrators set for them beside the
// password: whom to attack and when nobody would notice.
func accountState(o Options) []string {
	var names []string
	for _, name := range []string{
		"pwdChangedTime", "pwdAccountLockedTime", "pwdFailureTime", "pwdGraceUseTime", "pwdReset", "pwdPolicySubentry", "pwdStartTime", "pwdEndTime",
		"pwdLastSuccess", "pwdAccountTmpLockoutEnd", "authTimestamp", "portolanAccountDisabled", "portolanAllowedFrom", "portolanExposedTime",
	} {
		if t := o.Schema.AttributeTypeString(name); t != nil {
			names = append(names, t.Name())
		}
	}
	return names
}

// settable names the secret attributes that clients can write at all.
func settable(o Options) []string {
	var names []string
	for _, t := range o.Schema.AttributeTypes() {
		if t.Secret && !t.NoUserModification && !t.Operational() {
			names = append(names, t.Name())
		}
	}
	return names
}
