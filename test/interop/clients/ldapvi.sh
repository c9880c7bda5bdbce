#!/usr/bin/env bash
# ldapvi finds the naming contexts by the root DSE, edits entries as text, and makes templates from the schema.
# needs: ldapvi ldap-utils
set -euo pipefail
. test/interop/recipe.sh
work=$(mktemp -d -p "$WORK")
printf 'TLS_CACERT %s\n' "$LDAPTLS_CACERT" >"$work/ldaprc"
export HOME=$work LDAPCONF=$work/ldaprc TERM=dumb EDITOR=$work/editor VISUAL=$work/editor
bind=(-D "$ADMIN" -w "$ADMINPW")
is "$(ldapvi -h "$LDAPS" "${bind[@]}" --discover --out '(uid=alice)' cn | grep ^cn:)" "cn: Alice Archer" "discovery"
is "$(ldapvi -h "$LDAP" -Z "${bind[@]}" -b "$SUFFIX" --out '(uid=*)' uid | grep -c '^uid: ')" 13 "everybody, over StartTLS"
is "$(ldapvi -h "$LDAPS" "${bind[@]}" --read '' --out | grep ^namingContexts:)" "namingContexts: $SUFFIX" "the root DSE"

# edit COMMAND ARGUMENT... runs ldapvi on a terminal, with an editor that runs the sed command. ldapvi calls it with +LINE FILE
# and goes by the file's time whether anything was edited.
edit() {
	printf '#!/bin/sh\nfor file; do :; done\ncp "$file" %q\nsed -i -e %q "$file"\ntouch -d "1 minute" "$file"\n' "$work/seen" "$1" >"$work/editor"
	chmod +x "$work/editor"
	shift
	timeout 180 script -qec "$(printf '%q ' ldapvi -h "$LDAPS" "${bind[@]}" --noquestions "$@")" /dev/null >"$work/out" </dev/null || { cat "$work/out"; exit 1; }
}
title() { ldapsearch -LLL -H "$LDAPS" -x -D "$ALICE" -w "$ALICEPW" -b "$SUFFIX" "(uid=$1)" title | sed -n 's/^title: //p'; }
edit 's/^title: .*/title: Edited/' -b "$SUFFIX" '(|(uid=carol)(uid=dave))'
is "$(title carol), $(title dave)" "Edited, Edited" "two edited entries"

# The template of a class shows what an entry of it must have and, in comments, what it may.
edit "s/^add .*/add uid=vi,ou=people,$SUFFIX/; s/^\(cn\|sn\|uid\):.*/\1: vi/; s/^#title:.*/title: Added/" -b "$SUFFIX" --may -o inetOrgPerson
for line in "^cn:" "^sn:" "^#mail:" "^#telephoneNumber:" "^# structural object class: inetOrgPerson"; do
	grep -qi -- "$line" "$work/seen" || { echo "no $line in the template:"; cat "$work/seen"; exit 1; }
done
is "$(title vi)" Added "an entry from a template"
edit "/^[0-9]/,\$d" -b "$SUFFIX" '(uid=vi)'
is "$(title vi)" "" "an entry taken out of the text is deleted"
