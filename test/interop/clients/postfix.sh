#!/usr/bin/env bash
# Postfix's lookups, with the configuration of docs/recipes/postfix.md.
# needs: postfix-ldap
set -euo pipefail
. test/interop/recipe.sh
service mail
work=$(mktemp -d -p "$WORK")
chmod 755 "$work"
printf 'compatibility_level = 3.6\nmail_name = interop\n' >"$work/main.cf"
recipe postfix /etc/postfix/ldap-people.cf >"$work/people.cf"
recipe postfix /etc/postfix/ldap-lists.cf >"$work/lists.cf"
ask() { postmap -c "$work" -q "$1" "ldap:$work/$2.cf"; }
is "$(ask alice@example.org people)" alice "a recipient"
is "$(ask ALICE@EXAMPLE.ORG people)" alice "a recipient in capitals"
refused "an unknown recipient" ask nobody@example.org people
refused "an injected recipient" ask '*)(uid=*@example.org' people
is "$(ask editors@lists.example.org lists | tr , '\n' | sort | paste -sd ' ')" \
	"erin@example.org frank@example.org grace@example.org judy@example.org" "a list"
is "$(ask nested@lists.example.org lists | tr , '\n' | sort | paste -sd ' ')" \
	"erin@example.org frank@example.org grace@example.org judy@example.org trent@example.org" "a list of lists"
sed -i 's/^bind_pw = .*/bind_pw = wrong/' "$work/people.cf"
refused "a wrong password of the service" ask alice@example.org people
