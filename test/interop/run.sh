#!/usr/bin/env bash
# Runs real client software against a real server on loopback: test/interop/run.sh [NAME...], by default every script in
# clients/. What a client needs stands in comments of its script:
#
#   needs: WORD...      Debian packages, installed where neither a package nor a command of that name is there (root, apt-get)
#   npm: WORD...        packages of npm, put into a directory of this run
#   private: WORD...    Debian packages that change the machine they are installed on (nsswitch.conf, sudo). They are
#                       installed in a copy of the root file system (an overlay in memory) that ends with this run, and the
#                       script runs in it.
#
# A script gets LDAP LDAPS LDAPI (URLs), SUFFIX, ADMIN ADMINPW, ALICE ALICEPW, PASSWORDS (a file: DN, tab, password),
# LDAPTLS_CACERT, NODE_LIBRARIES, and WORK, a directory that ends with this run and has the authority's certificate in ca.pem.
set -euo pipefail
cd "$(dirname "$0")/../.."
clients=()
for client in test/interop/clients/*; do
	name=$(basename "$client")
	if [ $# -eq 0 ] || [[ " $* " == *" ${name%.*} "* ]]; then clients+=("$client"); fi
done
[ ${#clients[@]} -gt 0 ] || { echo "no client is named $*: the names are those of test/interop/clients, without the ending"; exit 2; }
wanted() { sed -snE "1,20s@^(#|//) $1: @@p" "${clients[@]}" | tr ' ' '\n' | sort -u; }
installed() { dpkg-query -W -f='${Status}' "$1" 2>/dev/null | grep -q 'ok installed'; }
# apt-get install, quiet unless it fails. No daemon is started by it.
install() {
	local answer=/usr/sbin/policy-rc.d made=
	[ -e $answer ] || { printf '#!/bin/sh\nexit 101\n' >$answer && chmod 755 $answer && made=yes; }
	DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends "$@" >"$work/apt.log" 2>&1 || { tail -n 20 "$work/apt.log"; return 1; }
	[ -z "$made" ] || rm -f $answer
}
work=$(mktemp -d)
server=
cleanup() {
	[ -z "$server" ] || kill "$server" 2>/dev/null || true
	[ -z "$server" ] || wait "$server" 2>/dev/null || true
	! mountpoint -q "$work/private" || umount -R "$work/private" 2>/dev/null || umount -Rl "$work/private"
	rm -rf "$work"
}
trap cleanup EXIT
chmod 711 "$work" # daemons that change to a user of their own find their files in it
began=$SECONDS
need=()
for word in $(wanted needs) python3 openssl; do
	command -v "$word" >/dev/null || installed "$word" || need+=("$word")
done
private=$(wanted private)
if [ ${#need[@]} -gt 0 ] || [ -n "$private" ]; then apt-get update -q >/dev/null; fi
if [ ${#need[@]} -gt 0 ]; then
	echo "installing ${need[*]}"
	install "${need[@]}"
fi
if [ -n "$private" ]; then
	echo "installing $(tr '\n' ' ' <<<"$private")in a copy of the root file system"
	mkdir "$work/private"
	mount -t tmpfs -o mode=755 interop "$work/private"
	mkdir "$work/private"/{upper,work,root}
	mount -t overlay -o "lowerdir=/,upperdir=$work/private/upper,workdir=$work/private/work" interop "$work/private/root"
	root=$work/private/root
	mount -t proc proc "$root/proc"
	mount --rbind /dev "$root/dev"
	mount --make-rslave "$root/dev"
	mkdir -p "$root$work" "$root$PWD"
	touch "$root/.portolan-interop"
	printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
	chmod 755 "$root/usr/sbin/policy-rc.d"
	# shellcheck disable=SC2086
	chroot "$root" env DEBIAN_FRONTEND=noninteractive SUDO_FORCE_REMOVE=yes apt-get install -yq --no-install-recommends $private \
		>"$work/apt.log" 2>&1 </dev/null || { tail -n 20 "$work/apt.log"; exit 1; }
	mount --bind "$work" "$root$work"
	mount --bind "$PWD" "$root$PWD"
fi
if [ -n "$(wanted npm)" ]; then
	export NODE_LIBRARIES=$work/node
	mkdir "$NODE_LIBRARIES"
	# shellcheck disable=SC2046
	npm install --prefix "$NODE_LIBRARIES" --no-audit --no-fund --loglevel=error $(wanted npm) >"$work/npm.log" 2>&1 || { tail -n 20 "$work/npm.log"; exit 1; }
fi
echo "installed in $((SECONDS - began)) s"
export PORTS=$work/ports # see port
plain=$(test/interop/port) secure=$(test/interop/port)
: >"$work/demo.err"
./bin/portolan demo --dir "$work/demo" --ldap-port "$plain" --ldaps-port "$secure" >"$work/demo.out" 2>"$work/demo.err" </dev/null &
server=$!
# Bounds only end what hangs: 180 seconds for a server to come up, 15 minutes for a client's script.
end=$((SECONDS + 180))
while [ $SECONDS -lt $end ]; do
	grep -q '^portolan: ready' "$work/demo.err" && break
	kill -0 "$server" 2>/dev/null || { echo "the server ended:"; cat "$work/demo.err"; exit 1; }
	sleep 0.1
done
grep -q '^portolan: ready' "$work/demo.err" || { echo "the server is not ready:"; cat "$work/demo.err"; exit 1; }
cp "$work/demo/ca.pem" "$work/ca.pem"
chmod 644 "$work/ca.pem"
password() { awk -F'\t' -v dn="$1" '$1 == dn {print $2}' "$PASSWORDS"; }
export SUFFIX=dc=example,dc=org LDAPTLS_CACERT=$work/ca.pem WORK=$work DEMO_OUTPUT=$work/demo.out PASSWORDS=$work/demo/passwords.txt
export LDAP=ldap://127.0.0.1:$plain LDAPS=ldaps://127.0.0.1:$secure
LDAPI=ldapi://$(python3 -c 'import sys,urllib.parse; print(urllib.parse.quote(sys.argv[1], safe=""))' "$work/demo/ldapi")
export LDAPI ADMIN=cn=admin,$SUFFIX ALICE=uid=alice,ou=people,$SUFFIX
ADMINPW=$(password "$ADMIN") ALICEPW=$(password "$ALICE")
export ADMINPW ALICEPW
passed=0 failed=()
for client in "${clients[@]}"; do
	name=$(basename "$client") began=$SECONDS run=()
	if grep -qE '^# private: ' "$client"; then run=(unshare --pid --fork --kill-child chroot "$work/private/root" env --chdir="$PWD"); fi
	if timeout 900 "${run[@]}" "$client" >"$work/$name.log" 2>&1 </dev/null; then
		echo "$name: ok ($((SECONDS - began)) s)"
		passed=$((passed + 1))
	else
		echo "$name: FAILED"
		sed 's/^/    /' "$work/$name.log" | tail -40
		failed+=("$name")
	fi
done
kill -0 "$server" 2>/dev/null || { echo "the server ended:"; cat "$work/demo.err"; exit 1; }
echo "$passed passed, ${#failed[@]} failed: ${failed[*]:-none}"
[ ${#failed[@]} -eq 0 ] && [ "$passed" -gt 0 ]
