#!/usr/bin/env bash
# shelldap, a shell over Net::LDAP that reads the schema to complete and to check what it edits.
# needs: shelldap
set -euo pipefail
. test/interop/recipe.sh
work=$(mktemp -d -p "$WORK")
cat >"$work/.shelldap.rc" <<END
server: $LDAP
binddn: $ADMIN
bindpass: $ADMINPW
basedn: $SUFFIX
tls: yes
tls_cacert: $LDAPTLS_CACERT
cacheage: 0
END
chmod 600 "$work/.shelldap.rc"
# run COMMAND... has one shell do them.
run() {
	printf '%s\n' "$@" | HOME=$work TERM=dumb timeout 180 shelldap >"$work/out" 2>&1 || true
	sed -i 's/\x1b\[[0-9;]*m//g; s/^.*~ > //' "$work/out"
}
has() { grep -q -- "$1" "$work/out" || { cat "$work/out"; echo "there is no <$1>"; exit 1; }; }

run whoami 'cd ou=people' 'mkdir ou=shelf' ls 'cp uid=alice uid=alicia' 'cat uid=alicia'
has "^$ADMIN "
has '^- ou=shelf$'
has '^- uid=wang$'
has "^dn: uid=alicia,ou=people,$SUFFIX$"
has '^cn: Alice Archer$'
# Answers to questions are not commands: each removal is a shell of its own.
run 'cd ou=people' 'rm uid=alicia' y
has "^About to remove.*uid=alicia,ou=people,$SUFFIX: Success"
run 'cd ou=people' 'rm ou=shelf' y
has "ou=shelf,ou=people,$SUFFIX: Success"
run 'cd ou=people' 'grep uid=b*' 'inspect inetOrgPerson' 'inspect posixAccount'
has '^uid=bob,ou=people'
# The hierarchy of a class and its attributes, from the schema.
has '^ *inetOrgPerson (structural) --> organizationalPerson (structural) --> person (structural) --> top'
has '^ *sn (required, multivalue)'
has '^ *preferredLanguage (optional, single-value)'
has '^ *uidNumber (required, single-value)'
