#!/usr/bin/env bash
# Runs real client software against a real server on loopback. Installs what is missing where it may (root, apt-get).
# Each client is a script in clients/, which gets: LDAP LDAPS LDAPI (URLs), SUFFIX, ADMIN ADMINPW, ALICE ALICEPW, and
# LDAPTLS_CACERT.
set -euo pipefail
cd "$(dirname "$0")/../.."
need=()
command -v ldapsearch >/dev/null || need+=(ldap-utils)
/usr/bin/python3 -c 'import ldap' 2>/dev/null || need+=(python3-ldap)
/usr/bin/python3 -c 'import ldap3' 2>/dev/null || need+=(python3-ldap3)
perl -MNet::LDAP -e1 2>/dev/null || need+=(libnet-ldap-perl libio-socket-ssl-perl)
if [ ${#need[@]} -gt 0 ]; then
	echo "installing ${need[*]}"
	apt-get update -q >/dev/null
	DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends "${need[@]}" >/dev/null
fi
work=$(mktemp -d)
server=
cleanup() {
	[ -z "$server" ] || kill "$server" 2>/dev/null || true
	[ -z "$server" ] || wait "$server" 2>/dev/null || true
	rm -rf "$work"
}
trap cleanup EXIT
port() { /usr/bin/python3 -c 'import socket; s=socket.socket(); s.bind(("127.0.0.1",0)); print(s.getsockname()[1])'; }
plain=$(port) secure=$(port)
./bin/portolan demo --dir "$work/demo" --ldap-port "$plain" --ldaps-port "$secure" >"$work/demo.out" 2>"$work/demo.err" </dev/null &
server=$!
for _ in $(seq 300); do
	grep -q '^portolan: ready' "$work/demo.err" && break
	kill -0 "$server" 2>/dev/null || { echo "the server ended:"; cat "$work/demo.err"; exit 1; }
	sleep 0.1
done
grep -q '^portolan: ready' "$work/demo.err" || { echo "the server is not ready:"; cat "$work/demo.err"; exit 1; }
password() { awk -F'\t' -v dn="$1" '$1 == dn {print $2}' "$work/demo/passwords.txt"; }
export SUFFIX=dc=example,dc=org LDAPTLS_CACERT=$work/demo/ca.pem WORK=$work DEMO_OUTPUT=$work/demo.out
export LDAP=ldap://127.0.0.1:$plain LDAPS=ldaps://127.0.0.1:$secure
LDAPI=ldapi://$(/usr/bin/python3 -c 'import sys,urllib.parse; print(urllib.parse.quote(sys.argv[1], safe=""))' "$work/demo/ldapi")
export LDAPI ADMIN=cn=admin,$SUFFIX ALICE=uid=alice,ou=people,$SUFFIX
ADMINPW=$(password "$ADMIN") ALICEPW=$(password "$ALICE")
export ADMINPW ALICEPW
passed=0 failed=0
for client in test/interop/clients/*; do
	name=$(basename "$client")
	if timeout 120 "$client" >"$work/$name.log" 2>&1 </dev/null; then
		echo "$name: ok"
		passed=$((passed + 1))
	else
		echo "$name: FAILED"
		sed 's/^/    /' "$work/$name.log" | tail -40
		failed=$((failed + 1))
	fi
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
