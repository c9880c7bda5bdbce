#!/usr/bin/env bash
# LDAP injection against the firewall of filter shapes: what an application that does not escape its input makes of it, sent by
# OpenLDAP's tools.
# needs: ldap-utils
set -euo pipefail
app="cn=vpn,ou=services,$SUFFIX"
password=$(awk -F'\t' -v dn="$app" '$1 == dn {print $2}' "$PASSWORDS")
guard() { ./bin/portolan guard "$1" --config "$(dirname "$PASSWORDS")/portolan.toml" "${@:2}"; }
# login NAME is the application: it forgets to escape.
login() { ldapsearch -LLL -x -H "$LDAPS" -D "$app" -w "$password" -b "ou=people,$SUFFIX" "(&(objectClass=person)(uid=$1))" mail 2>&1; }
refused() {
	local got=0 out
	out=$(login "$1") || got=$?
	[ "$got" -eq 53 ] || { echo "exit code $got, want 53, for $1: $out"; exit 1; }
	grep -q 'filter-shape firewall' <<<"$out" || { echo "no reason for $1: $out"; exit 1; }
}
entries() { grep -c '^dn:' || true; }

guard learn "$app" --for 1h >/dev/null
[ "$(login alice | entries)" = 1 ]
[ "$(login bob | entries)" = 1 ]
guard enforce "$app" --mode warn >/dev/null
[ "$(login '*' | entries)" -gt 5 ] # what an injection gets where nobody stops it
guard enforce "$app" >/dev/null
[ "$(login carol | entries)" = 1 ]
refused '*'
refused 'a*'
refused '*)(|(uid=x)'
refused '*)(userPassword={SSHA}*'
refused 'alice)(mail=a*'
refused 'alice)(|(objectClass=*)'
[ "$(login 'no\2asuch' | entries)" = 0 ] # escaped it is one value
guard shapes "$app" --json | grep -q '"refused": 6'
guard enforce "$app" --mode off >/dev/null
