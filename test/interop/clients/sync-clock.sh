#!/usr/bin/env bash
# Portolan follows a slapd whose clock steps back by an hour while it is down: libfaketime gives slapd its time (from a file, which
# could step under it, it makes slapd 2.5 crash). What slapd tells is copied, CSNs that are older than those of before included.
# Portolan's own clock steps in sync-rules.sh.
# needs: slapd ldap-utils faketime
set -euo pipefail
. test/interop/servers.sh
admin=cn=admin,$SUFFIX
initialize q
rm -rf "$dir/q/data"
LDAPTLS_CACERT=$dir/q/ca.pem
export LDAPTLS_CACERT
slapd_config t q >"$dir/t.conf"
printf 'overlay syncprov\nsyncprov-checkpoint 1 1\n' >>"$dir/t.conf"
t_port=$(port)
turl=ldap://127.0.0.1:$t_port
library=$(dpkg -L libfaketime | grep 'libfaketimeMT.so.1$')
provider() { # provider STEP: slapd by another clock than that of the machine
	LD_PRELOAD=$library FAKETIME=$1 slapd t "$turl"
}
provider +0
ldapadd -H "$turl" -x -D "$admin" -w slapd-secret >/dev/null <<END
dn: $SUFFIX
objectClass: top
objectClass: dcObject
objectClass: organization
dc: example
o: example
END
echo slapd-secret >"$dir/tpw" && chmod 600 "$dir/tpw"
cat >>"$dir/q/portolan.toml" <<END
[[replica]]
url = "$turl"
ca_file = "$dir/q/ca.pem"
bind_dn = "$admin"
password_file = "$dir/tpw"
retry = "200ms"
retry_max = "1s"
END
qurl=ldap://127.0.0.1:$q_port qpw=$(secret q)
serve q
dump() { # dump URL PASSWORD
	ldapsearch -LLL -o ldif-wrap=no -H "$1" -x -D "$admin" -w "$2" -b "$SUFFIX" '*' entryUUID entryCSN modifyTimestamp 2>&1 | /usr/bin/python3 -c '
import sys
entries = [e.split("\n") for e in sys.stdin.read().strip().split("\n\n")]
print("\n\n".join(sorted("\n".join([e[0]] + sorted(e[1:])) for e in entries)))'
}
in_step() { # in_step WHAT
	local end=$((SECONDS + 180))
	while [ $SECONDS -lt $end ]; do
		dump "$turl" slapd-secret >"$dir/want"
		dump "$qurl" "$qpw" >"$dir/have"
		if cmp -s "$dir/want" "$dir/have"; then
			echo "$1: in step after $SECONDS s"
			return
		fi
		sleep 0.1
	done
	diff "$dir/want" "$dir/have" || true
	fail "$1: not the same"
}
change() { sed "s/BASE/$SUFFIX/g" | ldapmodify -H "$turl" -x -D "$admin" -w slapd-secret >/dev/null; }
device() { printf 'dn: cn=%s,BASE\nchangetype: add\nobjectClass: top\nobjectClass: device\ncn: %s\n\n' "$1" "$1"; }
note() { printf 'dn: cn=%s,BASE\nchangetype: modify\nreplace: description\ndescription: %s\n\n' "$1" "$2"; }
by() { # by HOURS ENTRY: the entry was changed by a clock that is so far behind
	local is
	is=$(ldapsearch -LLL -H "$turl" -x -D "$admin" -w slapd-secret -b "cn=$2,$SUFFIX" -s base modifyTimestamp | sed -n 's/^modifyTimestamp: \([0-9]*\).*/\1/p')
	[ "$is" -le "$(date -u -d "$1 hours ago + 10 seconds" +%Y%m%d%H%M%S)" ] || fail "slapd's clock is not $1 hours behind: $is"
}
{ device a; device b; device c; } | change
in_step "at first"
stop "$t_pid"
provider -1h
{ note a one; device d; printf 'dn: cn=b,BASE\nchangetype: delete\n\n'; printf 'dn: cn=c,BASE\nchangetype: modrdn\nnewrdn: cn=cc\ndeleteoldrdn: 1\n'; } | change
by 1 a
in_step "a clock that is an hour behind"
stop "$q_pid"
serve q
in_step "a restart of Portolan"
stop "$t_pid"
provider -2h
{ note cc two; device e; } | change
by 2 cc
in_step "a clock that is two hours behind"
stop "$t_pid"
provider +0
{ note a three; printf 'dn: cn=e,BASE\nchangetype: delete\n'; } | change
in_step "the right time"
echo ok
