#!/usr/bin/env bash
# OpenLDAP's tools over StartTLS, ldaps and ldapi.
# needs: ldap-utils
set -euo pipefail
admin=(-x -D "$ADMIN" -w "$ADMINPW")
alice=(-x -D "$ALICE" -w "$ALICEPW")
p="ou=people,$SUFFIX"
expect() { # expect CODE command...
	local want=$1 got=0
	shift
	"$@" || got=$?
	[ "$got" -eq "$want" ] || { echo "exit code $got, want $want: $*"; exit 1; }
}
is() { [ "$1" = "$2" ] || { echo "got <$1>, want <$2>"; exit 1; }; }
count() { ldapsearch -LLL -ZZ -H "$LDAP" "${alice[@]}" -b "$SUFFIX" "$@" 1.1 | grep -c '^dn:' || true; }

is "$(ldapwhoami -ZZ -H "$LDAP" "${alice[@]}")" "dn:$ALICE"
is "$(ldapwhoami -H "$LDAPS" "${admin[@]}")" "dn:$ADMIN"
is "$(ldapwhoami -Q -Y EXTERNAL -H "$LDAPI")" "dn:$ADMIN"
expect 49 ldapwhoami -ZZ -H "$LDAP" -x -D "$ALICE" -w wrong
expect 53 ldapwhoami -ZZ -H "$LDAP" -x -D "$ALICE" -w ''
expect 50 ldapsearch -x -H "$LDAPS" -b "$SUFFIX"
ldapsearch -LLL -x -H "$LDAP" -b '' -s base '*' '+' | grep >/dev/null "namingContexts: $SUFFIX"
ldapsearch -LLL -H "$LDAPS" "${alice[@]}" -b cn=Subschema -s base objectClasses attributeTypes | grep >/dev/null inetOrgPerson

ldapadd -ZZ -H "$LDAP" "${admin[@]}" <<EOF
dn: uid=tool,$p
objectClass: inetOrgPerson
objectClass: posixAccount
uid: tool
cn: Tool
sn: Tool
uidNumber: 20000
gidNumber: 100
homeDirectory: /home/tool
EOF
expect 68 ldapadd -H "$LDAPS" "${admin[@]}" <<EOF
dn: uid=tool,$p
objectClass: inetOrgPerson
cn: Tool
sn: Tool
EOF
ldapmodify -H "$LDAPI" -Q -Y EXTERNAL <<EOF
dn: uid=tool,$p
changetype: modify
add: mail
mail: tool@example.org
-
replace: title
title: First
-
increment: uidNumber
uidNumber: 5
EOF
expect 50 ldapmodify -ZZ -H "$LDAP" "${alice[@]}" <<EOF
dn: uid=tool,$p
changetype: modify
replace: title
title: Mine
EOF
expect 20 ldapmodify -ZZ -H "$LDAP" "${admin[@]}" <<EOF
dn: uid=tool,$p
changetype: modify
add: title
title: FIRST
EOF
expect 6 ldapcompare -ZZ -H "$LDAP" "${admin[@]}" "uid=tool,$p" uidNumber:20005
expect 5 ldapcompare -H "$LDAPS" "${admin[@]}" "uid=tool,$p" title:Second
expect 16 ldapcompare -H "$LDAPS" "${admin[@]}" "uid=tool,$p" description:x
ldappasswd -ZZ -H "$LDAP" "${admin[@]}" -s "a new one" "uid=tool,$p"
is "$(ldapwhoami -ZZ -H "$LDAP" -x -D "uid=tool,$p" -w 'a new one')" "dn:uid=tool,$p"
generated=$(ldappasswd -ZZ -H "$LDAP" -x -D "uid=tool,$p" -w 'a new one' -a 'a new one' | sed 's/New password: //')
ldapwhoami -ZZ -H "$LDAP" -x -D "uid=tool,$p" -w "$generated" >/dev/null
ldapmodrdn -ZZ -H "$LDAP" "${admin[@]}" -r "uid=tool,$p" uid=hammer
ldapmodrdn -H "$LDAPS" "${admin[@]}" -s "ou=services,$SUFFIX" "uid=hammer,$p" uid=hammer
expect 66 ldapdelete -H "$LDAPS" "${admin[@]}" "ou=services,$SUFFIX"
ldapdelete -ZZ -H "$LDAP" "${admin[@]}" "uid=hammer,ou=services,$SUFFIX"
expect 32 ldapdelete -ZZ -H "$LDAP" "${admin[@]}" "uid=hammer,ou=services,$SUFFIX"

is "$(count '(&(objectClass=posixAccount)(uid=alice))')" 1
is "$(count '(cn=*r*ch*)')" 2
is "$(count '(&(|(uid=bob)(uid=carol))(!(sn=clark)))')" 1
is "$(count '(uidNumber>=10012)')" 2
is "$(count '(sn=m\C3\BCller)')" 1
is "$(count '(uid=\2A\29\28uid=\2A)')" 0
is "$(count '(&(objectClass=posixGroup)(|(memberUid=bob)(member=uid=bob,ou=people,dc=example,dc=org)))')" 1
is "$(count '(&(objectClass=sudoRole)(|(sudoUser=+*)(sudoUser=!+*)))')" 0
is "$(count '(userPassword=*)')" 0
is "$(ldapsearch -LLL -ZZ -H "$LDAP" "${alice[@]}" -b "$SUFFIX" -E pr=3/noprompt '(uid=*)' 1.1 | grep -c '^dn:')" 13
