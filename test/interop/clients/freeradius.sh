#!/usr/bin/env bash
# FreeRADIUS, with the configuration of docs/recipes/freeradius.md.
# needs: freeradius-ldap freeradius-utils
set -euo pipefail
. test/interop/recipe.sh
service vpn
work=$(mktemp -d -p "$WORK")
radius=$(port udp)
recipe freeradius /etc/freeradius/3.0/mods-available/ldap >"$work/ldap"
recipe freeradius /etc/freeradius/3.0/sites-available/portolan | sed "s/port = 1812/port = $radius/" >"$work/site"
grep -q "port = $radius" "$work/site"
cat >"$work/radiusd.conf" <<END
libdir = /usr/lib/freeradius
logdir = $work
run_dir = $work
pidfile = $work/pid
client localhost {
    ipaddr = 127.0.0.1
    secret = testing123
}
security {
    reject_delay = 0
}
modules {
    \$INCLUDE /etc/freeradius/3.0/mods-available/always
    \$INCLUDE $work/ldap
}
\$INCLUDE $work/site
END
freeradius -f -l "$work/log" -d "$work" -D /usr/share/freeradius -n radiusd >"$work/out" 2>&1 &
daemon=$!
trap 'got=$?; [ $got -eq 0 ] || tail -n 30 "$work/log" "$work/out"; kill "$daemon" 2>/dev/null || true; wait "$daemon" 2>/dev/null || true' EXIT
await "FreeRADIUS" grep -q 'Ready to process requests' "$work/log"
try() {
	printf 'User-Name = "%s"\nUser-Password = "%s"\n' "$1" "$2" |
		timeout 180 radclient -D /usr/share/freeradius -x -r 1 -t 80 "127.0.0.1:$radius" auth testing123 >"$work/answer" 2>&1 || true
	grep -oE 'Received Access-(Accept|Reject)' "$work/answer" || cat "$work/answer"
}
is "$(try trent "$(password trent)")" "Received Access-Accept" "a member"
is "$(try frank "$(password frank)")" "Received Access-Accept" "a member of a member"
is "$(try trent wrong)" "Received Access-Reject" "a wrong password"
is "$(try alice "$ALICEPW")" "Received Access-Reject" "somebody who is no member"
is "$(try nobody "$ALICEPW")" "Received Access-Reject" "an unknown user"
is "$(try '*' "$ALICEPW")" "Received Access-Reject" "a star"
is "$(try '*)(uid=*' "$ALICEPW")" "Received Access-Reject" "an injected user"
