#!/usr/bin/env bash
# Passwords taken over from an old slapd, which has them as {SSHA}, as people log in: over ldaps from one branch, over
# StartTLS from another. The old server refuses binds without TLS and is the witness of who was asked about: its log has
# every bind. A server whose certificate is not to be trusted, or that is down, is never taken for a wrong password.
# needs: slapd ldap-utils
set -euo pipefail
. test/interop/servers.sh

is() { [ "$1" = "$2" ] || fail "$3: got <$1>, want <$2>"; }
login() { # login CODE UID BRANCH PASSWORD: what was said
	local got=0 out
	out=$(ldapwhoami -H "$url" -x -D "uid=$2,ou=$3,$SUFFIX" -w "$4" 2>&1) || got=$?
	is "$got" "$1" "login of $2: $out"
	echo "$out"
}
asked() { # asked N: how often the old server was asked since the last time
	local now
	now=$(grep -c ' BIND dn="uid=.* method=' "$s_log" || true)
	is "$((now - seen))" "$1" "binds at the old server"
	seen=$now
}
has_password() { ldapsearch -LLL -o ldif-wrap=no -H "$url" -x -D "cn=admin,$SUFFIX" -w "$(secret p)" -b "uid=$1,ou=$2,$SUFFIX" -s base userPassword | sed -n 's/^userPassword:: //p' | base64 -d; }

# The old server: its authority is not that of the new one.
initialize old
slapd_config s old | sed '/^database/i security simple_bind=128' >"$dir/s.conf"
s_port=$(port) ss_port=$(port) seen=0
slapd_start() { slapd s "ldap://127.0.0.1:$s_port ldaps://127.0.0.1:$ss_port" stats; seen=0; }
slapd_start
{
	printf 'dn: %s\nobjectClass: dcObject\nobjectClass: organization\ndc: example\no: example\n\n' "$SUFFIX"
	printf 'dn: ou=Users,%s\nobjectClass: organizationalUnit\nou: Users\n\n' "$SUFFIX"
	for uid in amy ben cy dora eve; do
		printf 'dn: uid=%s,ou=Users,%s\nobjectClass: inetOrgPerson\nuid: %s\ncn: %s\nsn: X\nuserPassword: %s\n\n' \
			$uid "$SUFFIX" $uid $uid "$(/usr/sbin/slappasswd -h '{SSHA}' -s "$uid-secret")"
	done
} | LDAPTLS_CACERT=$dir/old/ca.pem ldapadd -H "ldaps://127.0.0.1:$ss_port" -x -D "cn=admin,$SUFFIX" -w slapd-secret >/dev/null

# The new one: accounts without passwords in three branches, the third of which does not trust the old server.
initialize p
remote() { # remote BRANCH URL CAFILE STARTTLS
	cat <<-END
		[[overlay.remoteauth.server]]
		base = "ou=$1,$SUFFIX"
		url = "$2"
		ca_file = "$3"
		starttls = $4
		dn = "uid={uid},ou=Users,$SUFFIX"
	END
}
{
	remote people "ldaps://127.0.0.1:$ss_port" "$dir/old/ca.pem" false
	remote staff "ldap://127.0.0.1:$s_port" "$dir/old/ca.pem" true
	remote strangers "ldaps://127.0.0.1:$ss_port" "$dir/p/ca.pem" false
} >>"$dir/p/portolan.toml"
serve p
url=ldaps://127.0.0.1:$(sed -n 's#^url = "ldaps://127.0.0.1:\([0-9]*\)".*#\1#p' "$dir/p/portolan.toml" | head -n 1)
LDAPTLS_CACERT=$dir/p/ca.pem
export LDAPTLS_CACERT
account() { printf 'dn: uid=%s,ou=%s,%s\nobjectClass: inetOrgPerson\nuid: %s\ncn: %s\nsn: X\n\n' "$1" "$2" "$SUFFIX" "$1" "$1"; }
unit() { printf 'dn: ou=%s,%s\nobjectClass: organizationalUnit\nou: %s\n\n' "$1" "$SUFFIX" "$1"; }
{ unit staff; unit strangers; account amy people; account cy people; account ben staff; account eve people; account dora strangers; } |
	ldapadd -H "$url" -x -D "cn=admin,$SUFFIX" -w "$(secret p)" >/dev/null
is "$("$portolan" status --config "$dir/p/portolan.toml" | grep -c 'remoteauth: [13] of [13] accounts')" 3 "branches that have accounts to take over"

# ldaps, and a wrong password first.
login 49 amy people wrong >/dev/null
asked 1
is "$(has_password amy people)" "" "password of amy"
is "$(login 0 amy people amy-secret)" "dn:uid=amy,ou=people,$SUFFIX" "who amy is"
asked 1
case $(has_password amy people) in '{ARGON2}'*) ;; *) fail "amy's password is not hashed here: $(has_password amy people)" ;; esac
login 0 amy people amy-secret >/dev/null
login 49 amy people wrong >/dev/null
asked 0

# StartTLS; who has no account there, or none here.
login 0 ben staff ben-secret >/dev/null
asked 1
login 49 nobody people nobody-secret >/dev/null
asked 0

# A certificate of an authority that is not trusted: the password does not leave, and the log says why.
out=$(login 52 dora strangers dora-secret)
grep -q 'cannot be checked now' <<<"$out" || fail "no reason: $out"
asked 0
is "$(has_password dora strangers)" "" "password of dora"
grep 'old server cannot be asked' "$p_log" | grep "ou=strangers" | grep -q 'certificate signed by unknown authority' || fail "the log does not name the certificate"

# The old server is gone: who was taken over does not notice, the others are told, and are not counted as guessing.
stop "$s_pid"
login 0 amy people amy-secret >/dev/null
login 0 ben staff ben-secret >/dev/null
login 49 ben staff wrong >/dev/null
for _ in 1 2 3; do
	out=$(login 52 cy people cy-secret)
	grep -q 'cannot be checked now' <<<"$out" || fail "no reason: $out"
done
is "$(has_password cy people)" "" "password of cy"
grep 'old server cannot be asked' "$p_log" | grep 'ou=people' | grep -q 'connection refused' || fail "the log does not say that nobody answers"
is "$(grep 'old server cannot be asked' "$p_log" | grep -c 'ou=people')" 1 "lines about it"

# Back again, it is asked once its rest of a second is over.
slapd_start
end=$((SECONDS + 180))
while [ $SECONDS -lt $end ]; do
	! ldapwhoami -H "$url" -x -D "uid=cy,ou=people,$SUFFIX" -w cy-secret >/dev/null 2>&1 || break
	sleep 0.1
done
asked 1
login 0 cy people cy-secret >/dev/null
asked 0

# Both are started anew without the old server: what was taken over has been kept.
stop "$s_pid" "$p_pid"
serve p
login 0 amy people amy-secret >/dev/null
login 0 cy people cy-secret >/dev/null
login 52 eve people eve-secret >/dev/null
status=$("$portolan" status --config "$dir/p/portolan.toml")
grep -q 'remoteauth: 1 of 3 accounts beneath ou=people' <<<"$status" || fail "status: $status"
grep -q 'remoteauth: every account beneath ou=staff.* is not needed any more' <<<"$status" || fail "status: $status"
! grep -rq -e '-secret' "$dir/p" "$dir"/p-*.log || fail "a password stands in a file: $(grep -rl -e '-secret' "$dir/p" "$dir"/p-*.log)"
echo "taken over: amy over ldaps, ben over StartTLS, cy after an outage"
