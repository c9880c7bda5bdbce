package ppolicy_test

import (
	"slices"
	"strings"
	"testing"

	"portolan/internal/ldaptest"
	"portolan/internal/schema"
)

// TestDefinitions compares the attribute types with those of draft-behera-ldap-password-policy-11 sections 5.2 and 5.3: number,
// syntax, equality and ordering rule, S for one value, N for no user modification, O for operational. Where a definition here
// is otherwise, that stands behind it.
func TestDefinitions(t *testing.T) {
	const arc = "1.3.6.1.4.1.42.2.27.8.1."
	// By the names of the draft's tables: what they have in common.
	kinds := map[string]string{
		"integer": "1.3.6.1.4.1.1466.115.121.1.27 integerMatch integerOrderingMatch",
		"boolean": "1.3.6.1.4.1.1466.115.121.1.7 booleanMatch -",
		"time":    "1.3.6.1.4.1.1466.115.121.1.24 generalizedTimeMatch generalizedTimeOrderingMatch",
		"name":    "1.3.6.1.4.1.1466.115.121.1.12 distinguishedNameMatch -",
		"oid":     "1.3.6.1.4.1.1466.115.121.1.38 objectIdentifierMatch -",
		"octets":  "1.3.6.1.4.1.1466.115.121.1.40 octetStringMatch -",
	}
	// Administrators unlock accounts, give them an end or another policy: these they may write, as with slapd.
	const written = "may be written"
	s := ldaptest.Start(t, ldaptest.Options{}).Engine.Schema()
	for _, x := range []struct{ name, number, kind, flags, otherwise string }{
		{"pwdAttribute", "1", "oid", "", ""},
		{"pwdMinAge", "2", "integer", "S", ""},
		{"pwdMaxAge", "3", "integer", "S", ""},
		{"pwdInHistory", "4", "integer", "S", ""},
		{"pwdCheckQuality", "5", "integer", "S", ""},
		{"pwdMinLength", "6", "integer", "S", ""},
		{"pwdMaxLength", "31", "integer", "S", ""},
		{"pwdExpireWarning", "7", "integer", "S", ""},
		{"pwdGraceAuthNLimit", "8", "integer", "S", ""},
		{"pwdGraceExpiry", "30", "integer", "S", ""},
		{"pwdLockout", "9", "boolean", "S", ""},
		{"pwdLockoutDuration", "10", "integer", "S", ""},
		{"pwdMaxFailure", "11", "integer", "S", ""},
		{"pwdFailureCountInterval", "12", "integer", "S", ""},
		{"pwdMustChange", "13", "boolean", "S", ""},
		{"pwdAllowUserChange", "14", "boolean", "S", ""},
		{"pwdSafeModify", "15", "boolean", "S", ""},
		{"pwdMinDelay", "24", "integer", "S", ""},
		{"pwdMaxDelay", "25", "integer", "S", ""},
		{"pwdMaxIdle", "26", "integer", "S", ""},
		{"pwdChangedTime", "16", "time", "SNO", ""},
		{"pwdAccountLockedTime", "17", "time", "SNO", written},
		{"pwdFailureTime", "19", "time", "NO", ""},
		{"pwdHistory", "20", "octets", "NO", ""},
		{"pwdGraceUseTime", "21", "time", "NO", "can be ordered"},
		{"pwdReset", "22", "boolean", "SO", ""},
		{"pwdPolicySubentry", "23", "name", "SNO", written},
		{"pwdStartTime", "27", "time", "SNO", written},
		{"pwdEndTime", "28", "time", "SNO", written},
		{"pwdLastSuccess", "29", "time", "SNO", ""},
	} {
		at := s.AttributeTypeString(x.name)
		if at == nil {
			t.Errorf("%s is not there", x.name)
			continue
		}
		want := kinds[x.kind]
		if got := at.Syntax.OID + " " + ruleName(at.Equality) + " " + ruleName(at.Ordering); got != want || at.OID != arc+x.number {
			t.Errorf("%s is %s %s, not %s %s", x.name, at.OID, got, arc+x.number, want)
		}
		if x.otherwise == written {
			x.flags = strings.ReplaceAll(x.flags, "N", "")
		}
		var flags string
		if at.SingleValue {
			flags += "S"
		}
		if at.NoUserModification {
			flags += "N"
		}
		if at.Usage == schema.DirectoryOperation {
			flags += "O"
		}
		if flags != x.flags {
			t.Errorf("%s has %q, not %q", x.name, flags, x.flags)
		}
	}
	class := s.ObjectClassBytes([]byte("pwdPolicy"))
	if class == nil || class.OID != "1.3.6.1.4.1.42.2.27.8.2.1" || class.Kind != schema.Auxiliary {
		t.Fatalf("pwdPolicy is %+v", class)
	}
	for _, name := range []string{
		"pwdMinAge", "pwdMaxAge", "pwdInHistory", "pwdCheckQuality", "pwdMinLength", "pwdMaxLength", "pwdExpireWarning", "pwdGraceAuthNLimit",
		"pwdGraceExpiry", "pwdLockout", "pwdLockoutDuration", "pwdMaxFailure", "pwdFailureCountInterval", "pwdMustChange", "pwdAllowUserChange",
		"pwdSafeModify", "pwdMinDelay", "pwdMaxDelay", "pwdMaxIdle",
	} {
		if !slices.Contains(class.May, s.AttributeTypeString(name)) {
			t.Errorf("pwdPolicy does not allow %s", name)
		}
	}
	if len(class.Must) != 1 || class.Must[0].Name() != "pwdAttribute" {
		t.Errorf("pwdPolicy demands %v", class.Must)
	}
}

func ruleName(r *schema.MatchingRule) string {
	if r == nil {
		return "-"
	}
	return r.Names[0]
}
