#!/usr/bin/env bash
# Content synchronization for a reader who may not read all: slapd and python-ldap follow Portolan while an access rule changes,
# and while the provider's clock steps back by an hour, twice: under it, and while it is down. After every event the copies become
# what the reader sees.
# needs: slapd ldap-utils python3-ldap
set -euo pipefail
. test/interop/servers.sh
initialize p
admin=cn=admin,$SUFFIX reader=cn=replicator,$SUFFIX rpw=follow-the-provider-7
LDAPTLS_CACERT=$dir/p/ca.pem
export LDAPTLS_CACERT
ppw=$(secret p)
purl=ldap://127.0.0.1:$p_port
toml=$dir/p/portolan.toml
cat >>"$toml" <<END

[[access]]
allow = ["disclose", "search", "read"]
who = "dn:$reader"

[[access]]
allow = "read"
who = "dn:$reader"
attrs = ["userPassword"]

[[limits.for]]
who = "dn:$reader"
size_limit = 0
time_limit = "0"
max_examined = 0
END
cp "$toml" "$dir/open.toml"
serve p
change() { sed "s/BASE/$SUFFIX/g" | ldapmodify -H "$purl" -x -D "$admin" -w "$ppw" >/dev/null; }
change <<END
dn: $reader
changetype: add
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: replicator
userPassword: $rpw

dn: ou=staff,BASE
changetype: add
objectClass: organizationalUnit
ou: staff

dn: cn=amy,ou=staff,BASE
changetype: add
objectClass: person
cn: amy
sn: A

dn: ou=board,BASE
changetype: add
objectClass: organizationalUnit
ou: board

dn: cn=ben,ou=board,BASE
changetype: add
objectClass: person
cn: ben
sn: B
END

slapd_config s p >"$dir/s.conf"
cat >>"$dir/s.conf" <<END
syncrepl rid=001 provider=$purl type=refreshAndPersist retry="1 +" searchbase="$SUFFIX" scope=sub
	schemachecking=off bindmethod=simple binddn="$reader" credentials="$rpw" starttls=critical tls_cacert=$dir/p/ca.pem
END
s_port=$(port)
surl=ldap://127.0.0.1:$s_port
slapd s "$surl"
cat >"$dir/follow.py" <<'END'
import ldap, ldap.syncrepl, ldap.ldapobject, sys, time
url, dn, password, base, out = sys.argv[1:]
copy, known = {}, {"cookie": None}
class Consumer(ldap.ldapobject.SimpleLDAPObject, ldap.syncrepl.SyncreplConsumer):
    done, present = False, set()
    def syncrepl_get_cookie(self): return known["cookie"]
    def syncrepl_set_cookie(self, cookie): known["cookie"] = cookie; self.write()
    def syncrepl_entry(self, dn, attributes, uuid): copy[uuid] = (dn, attributes); self.present.add(uuid); self.write()
    def syncrepl_delete(self, uuids):
        for u in uuids: copy.pop(u, None)
        self.write()
    def syncrepl_present(self, uuids, refreshDeletes=False):
        if uuids is not None: self.present.update(uuids); return
        if refreshDeletes is False:
            for u in [u for u in copy if u not in self.present]: del copy[u]
        self.present = set(); self.write()
    def syncrepl_refreshdone(self): self.done = True; self.write()
    def write(self):
        if not self.done: return
        with open(out, "w") as f:
            for dn, attributes in sorted(copy.values(), key=lambda e: e[0]):
                f.write(dn + "\n" + "".join(sorted(f"  {a}: {v.decode()}\n" for a, values in attributes.items() if a in ("cn", "sn", "description") for v in values)))
while True:
    try:
        c = Consumer(url)
        c.start_tls_s(); c.simple_bind_s(dn, password)
        m = c.syncrepl_search(base, ldap.SCOPE_SUBTREE, mode="refreshAndPersist", filterstr="(objectClass=*)")
        while c.syncrepl_poll(all=1, msgid=m): pass
    except (ldap.UNAVAILABLE, ldap.SERVER_DOWN, ldap.CONNECT_ERROR) as e:
        print(e, flush=True)
    except ldap.LDAPError as e:
        print(e, flush=True)
        if e.args[0].get("result") != 4096: raise
        known["cookie"] = None; copy.clear()
    time.sleep(0.2)
END
(cd "$dir" && exec /usr/bin/python3 follow.py "$purl" "$reader" "$rpw" "$SUFFIX" followed) >"$dir/follow.log" 2>&1 &
pids+=($!)

# What somebody sees, in the form in which follow.py writes it.
seen() { # seen URL DN PASSWORD [WITHOUT]
	ldapsearch -LLL -o ldif-wrap=no -H "$1" -x -D "$2" -w "$3" -b "$SUFFIX" cn sn description 2>/dev/null | /usr/bin/python3 -c '
import sys
entries = [e.split("\n") for e in sys.stdin.read().strip().split("\n\n") if e]
for e in sorted(entries, key=lambda e: e[0]):
    print("\n".join([e[0].removeprefix("dn: ")] + sorted("  " + line for line in e[1:])))'
}
in_step() { # in_step WHAT ENTRIES
	local n end=$((SECONDS + 180))
	while [ $SECONDS -lt $end ]; do
		seen "$purl" "$reader" "$rpw" >"$dir/want"
		seen "$surl" "$admin" slapd-secret >"$dir/have"
		n=$(grep -vc '^  ' "$dir/want" || true)
		if [ "$n" -eq "$2" ] && cmp -s "$dir/want" "$dir/have" && cmp -s "$dir/want" "$dir/followed"; then
			echo "$1: in step after $SECONDS s"
			return
		fi
		sleep 0.1
	done
	echo "the reader sees $n entries, want $2"
	diff "$dir/want" "$dir/have" || true
	diff "$dir/want" "$dir/followed" || true
	fail "$1: not the same"
}
reload() { # reload WHAT: the configuration was written anew
	kill -HUP "$p_pid"
	until_ready "${p_log}" "the configuration was reloaded.*changed=.*access"
	: >"$p_log"
}
note() { printf 'dn: cn=%s,BASE\nchangetype: modify\nreplace: description\ndescription: %s\n' "$1" "$2" | change; }

all=$(ldapsearch -LLL -H "$purl" -x -D "$admin" -w "$ppw" -b "$SUFFIX" 1.1 | grep -c '^dn:')
in_step "at first" "$all"
note amy,ou=staff one
in_step "a change" "$all"

# A rule takes the board away, and what changes there meanwhile; then it is gone again.
{ cat "$dir/open.toml"; printf '\n[[access]]\ndeny = ["disclose", "search", "read"]\nwho = "dn:%s"\non = "subtree:ou=board,%s"\n' "$reader" "$SUFFIX"; } >"$toml"
reload
in_step "a rule that hides entries" $((all - 2))
note ben,ou=board two
note amy,ou=staff two
in_step "changes of what is hidden" $((all - 2))
cp "$dir/open.toml" "$toml"
reload
# slapd ignores what is older than the newest that it has had, also where it has not had it: it is told to forget what that was.
stop "$s_pid"
anew=(-c rid=001)
slapd s "$surl"
anew=()
in_step "the rule is gone" "$all"
note ben,ou=board three
in_step "a change behind it" "$all"

# The clock steps back. The provider is "portolan serve" with a clock that the script moves: see test/interop/stepped.
go build -o "$dir/stepped" ./test/interop/stepped
of() { # of ENTRY ATTRIBUTE: the first 14 digits of a time
	ldapsearch -LLL -H "$purl" -x -D "$admin" -w "$ppw" -b "cn=$1,$SUFFIX" -s base "$2" | sed -n "s/^$2: \([0-9]*\).*/\1/p"
}
# behind ENTRY HOURS: it was modified by a clock that is so far behind, and its CSN is above all that were issued before.
newest=0
behind() {
	local modified csn most
	modified=$(of "$1" modifyTimestamp) csn=$(of "$1" entryCSN) most=$(date -u -d "$2 hours ago + 10 seconds" +%Y%m%d%H%M%S)
	[ "$modified" -le "$most" ] || fail "modifyTimestamp $modified: the clock is not $2 hours behind"
	[ "$csn" -ge "$newest" ] || fail "entryCSN $csn went back: $newest was issued"
	newest=$csn
}
stop "$p_pid"
portolan=$dir/stepped serve p
in_step "another clock" "$all"
note ben,ou=board before
behind ben,ou=board 0
in_step "a change before the clock steps" "$all"
kill -USR1 "$p_pid"
until_ready "$p_log" '^stepped: the clock went back'
note ben,ou=board four
behind ben,ou=board 1
printf 'dn: cn=cy,ou=board,BASE\nchangetype: add\nobjectClass: person\ncn: cy\nsn: C\n\ndn: cn=amy,ou=staff,BASE\nchangetype: delete\n' | change
behind cy,ou=board 1
in_step "changes by a clock that stepped back under the server" "$all"
stop "$s_pid"
note ben,ou=board five
slapd s "$surl"
in_step "a restart of slapd" "$all"
# A step while the provider is down, to where nothing was there yet.
stop "$p_pid"
printf '#!/bin/sh\nexec "%s" "$@" --behind 2h\n' "$dir/stepped" >"$dir/earlier"
chmod 755 "$dir/earlier"
portolan=$dir/earlier serve p
in_step "a start by a clock that is two hours behind" "$all"
note ben,ou=board six
behind ben,ou=board 2
in_step "a change by it" "$all"
stop "$s_pid"
note cy,ou=board seven
slapd s "$surl"
in_step "another restart of slapd" "$all"
# The clock is right again.
stop "$p_pid"
serve p
note ben,ou=board eight
behind ben,ou=board 0
in_step "the right time" "$all"
echo ok
