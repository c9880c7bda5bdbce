package replica_test

import (
	"strings"
	"testing"
	"time"

	"portolan/internal/ldaptest"
)

// The password policy at a copy (draft-behera-ldap-password-policy-11 section 11): policies, and of accounts when the password
// was changed, what it was before and whether it must be changed are the provider's; failures, locks by them and last logins
// are each server's own. A grace login, which must be written down, there is at the provider alone.
func TestPolicy(t *testing.T) {
	const overlay = "[overlay.ppolicy]\ndefault = \"cn=policy,dc=example,dc=org\"\ndisclose_lockout = true\n"
	p := newPair(t, ldaptest.Options{LDIF: people + "\n" + `dn: cn=policy,dc=example,dc=org
objectClass: applicationProcess
objectClass: pwdPolicy
cn: policy
pwdAttribute: userPassword
pwdMaxAge: 864000
pwdGraceAuthNLimit: 5
pwdInHistory: 3
pwdMustChange: TRUE
pwdLockout: TRUE
pwdMaxFailure: 2
pwdMaxIdle: 1728000
`, Config: overlay}, overlay)
	both := func(name, script string) {
		t.Helper()
		p.provider.Dialogue(t, name+", at the provider", script)
		p.same(name)
		p.replica.Dialogue(t, name+", at the replica", script)
	}
	const ann = "uid=ann,ou=people,dc=example,dc=org"
	admin := "m bind " + ldaptest.AdminDN + " " + ldaptest.AdminPassword + " => success\n"
	p.provider.Dialogue(t, "a new password", admin+"m modify "+ann+" ; replace userPassword ann-secret-2 => success\n")
	both("must change", "u bind "+ann+" ann-secret-2 ctl=ppolicy\n< success\n<   control ppolicy changeAfterReset\n"+
		"u search base=dc=example,dc=org scope=base => insufficientAccessRights\n"+
		"u modify "+ann+" ; replace userPassword x ; replace description x => insufficientAccessRights\n")
	p.replica.Dialogue(t, "the change itself is made at the provider", "u bind "+ann+" ann-secret-2 => success\n"+
		"u modify "+ann+" ; replace userPassword ann-secret-3 => referral ref=ldap://"+p.provider.Addr+"\n")
	p.provider.Dialogue(t, "the change", "u bind "+ann+" ann-secret-2 => success\nu modify "+ann+" ; replace userPassword ann-secret-3 => success\n")
	both("the state", admin+"m search base="+ann+" scope=base attrs=pwdChangedTime,pwdReset,pwdHistory,pwdPolicySubentry\n< entry "+ann+
		"\n<   pwdChangedTime: *\n<   pwdHistory: /.*/\n<   pwdHistory: /.*/\n<   pwdPolicySubentry: cn=policy,dc=example,dc=org\n< success\n")

	p.replica.Dialogue(t, "guesses", admin+strings.Repeat("u bind "+ann+" wrong => invalidCredentials\n", 2)+
		"u bind "+ann+" ann-secret-3 ctl=ppolicy\n< invalidCredentials\n<   control ppolicy accountLocked\n"+
		"m search base="+ann+" scope=base attrs=pwdFailureTime,pwdAccountLockedTime\n< entry "+ann+"\n<   pwdFailureTime: /.*/\n<   pwdFailureTime: /.*/\n< success\n")
	p.same("after guesses at the replica")
	p.provider.Dialogue(t, "no guesses here", admin+"m find (|(pwdFailureTime=*)(pwdAccountLockedTime=*)) => found\nu bind "+ann+" ann-secret-3 => success\n")

	// Nobody uses bob here, and that is no reason to hold against him: he may use the provider.
	const bob = "uid=bob,ou=people,dc=example,dc=org"
	p.provider.Dialogue(t, "bob", admin+"m modify "+bob+" ; replace userPassword bob-secret-2 ; replace pwdReset FALSE => success\n")
	p.same("bob")
	p.replica.Clock().Advance(9 * 24 * time.Hour)
	p.replica.Dialogue(t, "before its end", "u bind "+bob+" bob-secret-2 => success\n")
	p.replica.Clock().Advance(2 * 24 * time.Hour)
	p.replica.Dialogue(t, "no grace at the replica", "u bind "+bob+" bob-secret-2 ctl=ppolicy\n< invalidCredentials\n<   control ppolicy passwordExpired\n")
	p.provider.Clock().Advance(11 * 24 * time.Hour)
	p.provider.Dialogue(t, "grace at the provider", "u bind "+bob+" bob-secret-2 ctl=ppolicy\n< success\n<   control ppolicy grace=4\n")
	// A policy that ends the age of passwords is in force at both.
	p.provider.Dialogue(t, "another policy", admin+"m modify cn=policy,dc=example,dc=org ; delete pwdMaxAge => success\n"+
		"m add uid=new,ou=people,dc=example,dc=org ; objectClass inetOrgPerson ; uid new ; cn n ; sn n ; userPassword new-secret ; pwdReset FALSE => success\n")
	both("without an age", "u bind "+bob+" bob-secret-2 ctl=ppolicy => success\n")
	p.replica.Clock().Advance(19 * 24 * time.Hour)
	p.provider.Clock().Advance(21 * 24 * time.Hour)
	p.replica.Dialogue(t, "used here lately", "u bind "+bob+" bob-secret-2 => success\n")
	p.provider.Dialogue(t, "idle", "u bind "+bob+" bob-secret-2 => invalidCredentials\nu bind uid=new,ou=people,dc=example,dc=org new-secret => invalidCredentials\n")
	p.replica.Clock().Advance(21 * 24 * time.Hour)
	p.replica.Dialogue(t, "idle here", "u bind "+bob+" bob-secret-2 => invalidCredentials\nu bind uid=new,ou=people,dc=example,dc=org new-secret => success\n")
}
