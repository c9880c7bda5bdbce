#!/usr/bin/env bash
# The password policy in the eyes of OpenLDAP's tools: its control on bind, password modify, modify and add, and the account
# usability control on search.
# needs: ldap-utils
set -euo pipefail
admin=(-x -D "$ADMIN" -w "$ADMINPW")
p="ou=policies,$SUFFIX" who="uid=policied,ou=people,$SUFFIX"
user=(-x -D "$who" -w)
is() { [ "$1" = "$2" ] || { echo "got <$1>, want <$2>"; exit 1; }; }
has() { grep -q -- "$1" <<<"$2" || { echo "no <$1> in <$2>"; exit 1; }; }
lacks() { ! grep -q -- "$1" <<<"$2" || { echo "<$1> in <$2>"; exit 1; }; }
try() { # try CODE command...: what it says on both outputs
	local want=$1 got=0 out
	shift
	out=$("$@" 2>&1) || got=$?
	[ "$got" -eq "$want" ] || { echo "exit code $got, want $want: $*: $out" >&2; exit 1; }
	echo "$out"
}
usable() { ldapsearch -LLL -H "$LDAPS" "${admin[@]}" -b "$who" -s base -E accountUsability 1.1; }
set_policy() { ldapmodify -H "$LDAPS" "${admin[@]}" >/dev/null <<<"dn: cn=tight,$p
changetype: modify
$1"; }

ldapadd -H "$LDAPS" "${admin[@]}" >/dev/null <<EOF
dn: $p
objectClass: organizationalUnit
ou: policies

dn: cn=tight,$p
objectClass: applicationProcess
objectClass: portolanPwdPolicy
cn: tight
pwdAttribute: userPassword
pwdCheckQuality: 2
pwdMinLength: 8
pwdMaxLength: 24
portolanPwdMinStrength: 2
pwdInHistory: 2
pwdSafeModify: TRUE
pwdMustChange: TRUE
pwdLockout: TRUE
pwdMaxFailure: 3
pwdLockoutDuration: 300

dn: $who
objectClass: inetOrgPerson
uid: policied
cn: Polly Policied
sn: Policied
userPassword: gravel-orchid-0
pwdPolicySubentry: cn=tight,$p
EOF
ldapsearch -LLL -x -H "$LDAP" -b '' -s base supportedControl | grep -q 1.3.6.1.4.1.42.2.27.8.5.1

# Must change, and only that.
out=$(try 0 ldapwhoami -e ppolicy -H "$LDAPS" "${user[@]}" gravel-orchid-0)
has "Password must be changed" "$out"
out=$(try 50 ldapsearch -e ppolicy -H "$LDAPS" "${user[@]}" gravel-orchid-0 -b "$SUFFIX" -s base)
has "changed" "$out"
has "reset" "$(usable)"
try 0 ldappasswd -H "$LDAPS" "${user[@]}" gravel-orchid-0 -a gravel-orchid-0 -s gravel-orchid-1 >/dev/null
out=$(try 0 ldapwhoami -e ppolicy -H "$LDAPS" "${user[@]}" gravel-orchid-1)
lacks "ppolicy" "$out"

# Quality, history, the old password.
out=$(try 1 ldappasswd -e ppolicy -H "$LDAPS" "${user[@]}" gravel-orchid-1 -a gravel-orchid-1 -s short)
has "Password is too short" "$out"
out=$(try 1 ldappasswd -e ppolicy -H "$LDAPS" "${user[@]}" gravel-orchid-1 -a gravel-orchid-1 -s gravel-orchid-gravel-orchid-1)
has "too long" "$out"
out=$(try 1 ldappasswd -e ppolicy -H "$LDAPS" "${user[@]}" gravel-orchid-1 -a gravel-orchid-1 -s PollyPolicied)
has "quality" "$out"
out=$(try 1 ldappasswd -e ppolicy -H "$LDAPS" "${user[@]}" gravel-orchid-1 -a gravel-orchid-1 -s gravel-orchid-0)
has "list of old passwords" "$out"
out=$(try 1 ldappasswd -e ppolicy -H "$LDAPS" "${user[@]}" gravel-orchid-1 -s gravel-orchid-2)
has "old password" "$out"
out=$(try 50 ldapmodify -e ppolicy -H "$LDAPS" "${user[@]}" gravel-orchid-1 <<<"dn: $who
changetype: modify
replace: userPassword
userPassword: gravel-orchid-2")
has "old password" "$out"
generated=$(ldappasswd -H "$LDAPS" "${user[@]}" gravel-orchid-1 -a gravel-orchid-1 | sed 's/New password: //')
try 0 ldapwhoami -H "$LDAPS" "${user[@]}" "$generated" >/dev/null

# Expiry: the password is some seconds old, a thousand at most, so that policies make it what they want.
set_policy $'add: pwdMaxAge\npwdMaxAge: 100000\n-\nadd: pwdExpireWarning\npwdExpireWarning: 99999'
sleep 2
out=$(try 0 ldapwhoami -e ppolicy -H "$LDAPS" "${user[@]}" "$generated")
has "Password expires in 99[0-9][0-9][0-9] seconds" "$out"
has "expire=99[0-9][0-9][0-9]" "$(usable)"
set_policy $'replace: pwdMaxAge\npwdMaxAge: 1\n-\ndelete: pwdExpireWarning\n-\nadd: pwdGraceAuthNLimit\npwdGraceAuthNLimit: 1'
sleep 1
out=$(try 0 ldapwhoami -e ppolicy -H "$LDAPS" "${user[@]}" "$generated")
has "0 grace logins remain" "$out"
out=$(try 49 ldapwhoami -e ppolicy -H "$LDAPS" "${user[@]}" "$generated")
has "Password expired" "$out"
has "expired" "$(usable)"
set_policy $'delete: pwdMaxAge\n-\ndelete: pwdGraceAuthNLimit'

# A lock is told to nobody who guesses; it shows, and is taken away.
for _ in 1 2 3; do out=$(try 49 ldapwhoami -e ppolicy -H "$LDAPS" "${user[@]}" wrong); done
out=$(try 49 ldapwhoami -e ppolicy -H "$LDAPS" "${user[@]}" "$generated")
lacks "ocked" "$out"
has "seconds_before_unlock=\([12][0-9][0-9]\|300\)" "$(usable)"
is "$(ldapsearch -LLL -H "$LDAPS" "${admin[@]}" -b "$who" -s base pwdFailureTime pwdAccountLockedTime | grep -c '^pwd')" 4
ldapmodify -H "$LDAPS" "${admin[@]}" >/dev/null <<EOF
dn: $who
changetype: modify
delete: pwdAccountLockedTime
-
delete: pwdFailureTime
EOF
is "$(ldapwhoami -H "$LDAPS" "${user[@]}" "$generated")" "dn:$who"
is "$(ldapsearch -LLL -H "$LDAPS" "${admin[@]}" -b "$who" -s base authTimestamp pwdLastSuccess | grep -c '^\(auth\|pwd\).*Z$')" 2
ldapdelete -H "$LDAPS" "${admin[@]}" "$who" "cn=tight,$p" "$p"
