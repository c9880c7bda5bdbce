#!/usr/bin/env bash
# Content synchronization with others, both ways and at the same time. Provider Portolan: slapd, python-ldap and another
# Portolan follow it. Provider slapd: Portolan follows it. Each goes through the same events; after every one all copies
# must become what the provider has.
# needs: slapd ldap-utils python3-ldap
set -euo pipefail
. test/interop/servers.sh

# What a server has: entries with sorted lines, in the order of their names.
dump() { # dump URL DN PASSWORD
	ldapsearch -LLL -o ldif-wrap=no -H "$1" -x -D "$2" -w "$3" -b "$SUFFIX" '*' entryUUID entryCSN creatorsName modifyTimestamp structuralObjectClass 2>&1 | /usr/bin/python3 -c '
import sys
entries = [e.split("\n") for e in sys.stdin.read().strip().split("\n\n")]
print("\n\n".join(sorted("\n".join([e[0]] + sorted(e[1:])) for e in entries)))'
}
same() { # same WHAT URL1 DN1 PASSWORD1 URL2 DN2 PASSWORD2
	local end=$((SECONDS + 180))
	while [ $SECONDS -lt $end ]; do
		dump "$2" "$3" "$4" >"$dir/want"
		dump "$5" "$6" "$7" >"$dir/have"
		! cmp -s "$dir/want" "$dir/have" || return 0
		sleep 0.1
	done
	diff "$dir/want" "$dir/have" || true
	fail "$1: not the same"
}

initialize p
admin=cn=admin,$SUFFIX
LDAPTLS_CACERT=$dir/p/ca.pem
export LDAPTLS_CACERT
ppw=$(secret p)
purl=ldap://127.0.0.1:$p_port
serve p

initialize r
sed -i '/^admin_password_file/d; /^admin_dn/d' "$dir/r/portolan.toml"
cp "$dir/p/admin.password" "$dir/r/"
echo "$ppw" >"$dir/ppw" && chmod 600 "$dir/ppw"
sed -i "s#^suffix = .*#&\nadmin_dn = \"$admin\"\nadmin_password_file = \"admin.password\"#" "$dir/r/portolan.toml"
rm -rf "$dir/r/data"
cat >>"$dir/r/portolan.toml" <<EOF
[[replica]]
url = "$purl"
ca_file = "$dir/p/ca.pem"
bind_dn = "$admin"
password_file = "$dir/ppw"
retry = "200ms"
retry_max = "1s"
EOF
rurl=ldap://127.0.0.1:$r_port
serve r

# slapd: a consumer of p, and a provider for q.
slapd_config s p >"$dir/s.conf"
cat >>"$dir/s.conf" <<EOF
syncrepl rid=001 provider=$purl type=refreshAndPersist retry="1 +" searchbase="$SUFFIX" scope=sub
	schemachecking=off bindmethod=simple binddn="$admin" credentials="$ppw" starttls=critical tls_cacert=$dir/p/ca.pem
EOF
slapd_config t p >"$dir/t.conf"
cat >>"$dir/t.conf" <<EOF
overlay syncprov
syncprov-checkpoint 1 1
EOF
s_port=$(port) t_port=$(port)
surl=ldap://127.0.0.1:$s_port turl=ldap://127.0.0.1:$t_port
slapd s "$surl"
slapd t "$turl"
ldapadd -H "$turl" -x -D "$admin" -w slapd-secret >/dev/null <<EOF
dn: $SUFFIX
objectClass: top
objectClass: dcObject
objectClass: organization
dc: example
o: example
EOF
initialize q
rm -rf "$dir/q/data"
echo slapd-secret >"$dir/tpw" && chmod 600 "$dir/tpw"
cat >>"$dir/q/portolan.toml" <<EOF
[[replica]]
url = "$turl"
ca_file = "$dir/p/ca.pem"
bind_dn = "$admin"
password_file = "$dir/tpw"
retry = "200ms"
retry_max = "1s"
EOF
qurl=ldap://127.0.0.1:$q_port qpw=$(secret q)
serve q

# python-ldap: a consumer that keeps its copy in a file.
cat >"$dir/follow.py" <<'EOF'
import ldap, ldap.syncrepl, ldap.ldapobject, sys, time
url, dn, password, base, out = sys.argv[1:]
copy, known, done = {}, {"cookie": None}, False
class Consumer(ldap.ldapobject.SimpleLDAPObject, ldap.syncrepl.SyncreplConsumer):
    present = set()
    def syncrepl_get_cookie(self): return known["cookie"]
    def syncrepl_set_cookie(self, cookie): known["cookie"] = cookie; self.write()
    def syncrepl_entry(self, dn, attributes, uuid): copy[uuid] = dn; self.present.add(uuid); self.write()
    def syncrepl_delete(self, uuids):
        for u in uuids: copy.pop(u, None)
        self.write()
    def syncrepl_present(self, uuids, refreshDeletes=False):
        if uuids is not None: self.present.update(uuids); return
        if refreshDeletes is False:
            for u in [u for u in copy if u not in self.present]: del copy[u]
        self.present = set(); self.write()
    def syncrepl_refreshdone(self): self.done = True; self.write()
    done = False
    def write(self):
        if self.done: open(out, "w").write("\n".join(sorted(copy.values())) + "\n")
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
EOF
follow() {
	(cd "$dir" && exec /usr/bin/python3 follow.py "$purl" "$admin" "$ppw" "$SUFFIX" followed) >>"$dir/follow.log" 2>&1 &
	follow_pid=$!
	pids+=($!)
}
follow
names_same() {
	local end=$((SECONDS + 180))
	while [ $SECONDS -lt $end ]; do
		ldapsearch -LLL -o ldif-wrap=no -H "$purl" -x -D "$admin" -w "$ppw" -b "$SUFFIX" 1.1 2>/dev/null | sed -n 's/^dn: //p' | LC_ALL=C sort >"$dir/want"
		! cmp -s "$dir/want" <(LC_ALL=C sort "$dir/followed" 2>/dev/null) || return 0
		sleep 0.1
	done
	diff "$dir/want" "$dir/followed" || true
	fail "$1: python-ldap has something else"
}
in_step() { # in_step WHAT
	same "$1, slapd follows Portolan" "$purl" "$admin" "$ppw" "$surl" "$admin" slapd-secret
	same "$1, Portolan follows Portolan" "$purl" "$admin" "$ppw" "$rurl" "$admin" "$ppw"
	same "$1, Portolan follows slapd" "$turl" "$admin" slapd-secret "$qurl" "$admin" "$qpw"
	names_same "$1"
	echo "$1: in step after $SECONDS s"
}
# change gives LDIF to both providers.
change() {
	local text
	text=$(sed "s/BASE/$SUFFIX/g")
	ldapmodify -H "$purl" -x -D "$admin" -w "$ppw" >/dev/null <<<"$text"
	ldapmodify -H "$turl" -x -D "$admin" -w slapd-secret >/dev/null <<<"$text"
}
# The entries that init made are in the one provider only.
in_step "at first"
person() {
	printf 'dn: uid=%s,ou=staff,BASE\nchangetype: add\nobjectClass: top\nobjectClass: person\nobjectClass: organizationalPerson\nobjectClass: inetOrgPerson\nuid: %s\ncn: %s\nsn: %s\nuserPassword: {SSHA}%s\n\n' \
		"$1" "$1" "$1" "$1" rzDBMH3kvY9Vr5KKhBd9DGQcYNp8ZAlD
}
unit() { printf 'dn: ou=%s,%sBASE\nchangetype: add\nobjectClass: top\nobjectClass: organizationalUnit\nou: %s\n\n' "$1" "${2-}" "$1"; }
rename() { printf 'dn: %s,BASE\nchangetype: modrdn\nnewrdn: %s\ndeleteoldrdn: 1\n%s\n' "$1" "$2" "${3+newsuperior: $3BASE
}"; }
{ unit staff; person amy; person ben; person cy; } | change
in_step "adds"
printf 'dn: uid=amy,ou=staff,BASE\nchangetype: modify\nreplace: description\ndescription: one\ndescription: two\n-\nadd: mail\nmail: amy@example.org\n' | change
rename "uid=ben,ou=staff" uid=bill | change
in_step "a modify and a rename"
{ unit old; rename "ou=staff" ou=people2 "ou=old,"; } | change
printf 'dn: uid=cy,ou=people2,ou=old,BASE\nchangetype: delete\n' | change
in_step "a moved subtree and a delete"
stop "$s_pid" "$r_pid" "$q_pid"
{ person2() { person "$1" | sed 's/ou=staff/ou=people2,ou=old/'; }; person2 dan; person2 eve; } | change
printf 'dn: uid=amy,ou=people2,ou=old,BASE\nchangetype: delete\n' | change
rename "uid=bill,ou=people2,ou=old" uid=amy | change
slapd s "$surl"; serve r; serve q
in_step "a restart of the consumers"
stop "$p_pid" "$t_pid"
serve p; slapd t "$turl"
{ unit new; rename "ou=people2,ou=old" ou=staff "ou=new,"; } | change
in_step "a restart of the providers"
# The journal forgets while nobody looks.
stop "$s_pid" "$r_pid" "$q_pid" "$follow_pid"
printf 'dn: uid=eve,ou=staff,ou=new,BASE\nchangetype: delete\n' | change
{ unit late; rename "ou=staff,ou=new" ou=staff "ou=late,"; } | change
printf '[journal]\nmax_age = "1s"\n' >>"$dir/p/portolan.toml"
stop "$p_pid"
sleep 1.1
printf 'dn: ou=old,BASE\nchangetype: modify\nreplace: description\ndescription: x\n' >"$dir/last"
serve p
change <"$dir/last"
end=$((SECONDS + 180)) first=0
while [ "$first" -le 5 ] && [ $SECONDS -lt $end ]; do
	first=$("$portolan" status --config "$dir/p/portolan.toml" --json | /usr/bin/python3 -c 'import json,sys; print(json.load(sys.stdin)["journal"]["first"])')
done
[ "$first" -gt 5 ] || fail "the journal was not trimmed: it begins with $first"
slapd s "$surl"; serve r; serve q; follow
in_step "a journal that was trimmed"
# Everything as it was before.
"$portolan" backup --config "$dir/p/portolan.toml" "$dir/backup" >/dev/null
{ unit lost; rename "ou=late" ou=later; } | change
in_step "a change after the backup"
stop "$p_pid"
"$portolan" restore --config "$dir/p/portolan.toml" --replace "$dir/backup" >/dev/null 2>&1
serve p
# slapd takes no entry that is older than the one it has: its consumers are to be loaded anew then.
same "a restore of the provider, Portolan follows Portolan" "$purl" "$admin" "$ppw" "$rurl" "$admin" "$ppw"
names_same "a restore of the provider"

# What a replica says of itself, and does with writes and binds.
python3 - "$portolan" status --config "$dir/r/portolan.toml" --json <<'EOF'
import json, subprocess, sys, time
end = time.monotonic() + 180
while True: # the entries may be there a moment before the refresh is over
    x = json.loads(subprocess.run(sys.argv[1:], capture_output=True, check=True).stdout)["replicas"][0]
    if x["state"] == "in step" and x["connected"] and x["seconds_behind"] == 0 and "csn=" in x["cookie"] and x["csn"]: break
    assert time.monotonic() < end, x
    time.sleep(0.1)
EOF
out=$(ldapmodify -H "$rurl" -x -D "$admin" -w "$ppw" 2>&1 <<<"dn: $SUFFIX
changetype: modify
replace: description
description: x" || true)
grep -q "referral\|Referral" <<<"$out" && grep -q "$purl" <<<"$out" || fail "a write to the replica: $out"
echo "all in step"
