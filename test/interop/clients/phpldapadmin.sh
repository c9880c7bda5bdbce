#!/usr/bin/env bash
# phpLDAPadmin: logs in, builds its tree from the root DSE, shows entries and the schema, and adds, renames and deletes.
# needs: curl ldap-utils
# private: phpldapadmin php-cli php-ldap php-xml
set -euo pipefail
. test/interop/recipe.sh
in_private
work=$(mktemp -d -p "$WORK")
chmod 711 "$work"
host=${LDAP#ldap://}
cat >/etc/phpldapadmin/config.php <<END
<?php
\$config->custom->appearance['friendly_attrs'] = array();
\$servers = new Datastore();
\$servers->newServer('ldap_pla');
\$servers->setValue('server','name','Portolan');
\$servers->setValue('server','host','${host%:*}');
\$servers->setValue('server','port',${host#*:});
\$servers->setValue('server','tls',true);
\$servers->setValue('login','auth_type','session');
END
http=$(port)
php -d session.save_path="$work" -d error_log="$work/error.log" -S "127.0.0.1:$http" -t /usr/share/phpldapadmin/htdocs >"$work/log" 2>&1 &
daemon=$!
trap 'got=$?; [ $got -eq 0 ] || tail -n 20 "$work/log" "$work/page"; kill "$daemon" 2>/dev/null || true; wait "$daemon" 2>/dev/null || true' EXIT
get() { curl -sS --max-time 180 -L -b "$work/jar" -c "$work/jar" "http://127.0.0.1:$http/$1" "${@:2}" >"$work/page"; }
has() { grep -qF -- "$1" "$work/page" || { echo "no <$1> on the page"; return 1; }; }
await "phpLDAPadmin" curl -sS "http://127.0.0.1:$http/index.php"
get index.php
get cmd.php --data-urlencode cmd=login --data-urlencode server_id=1 --data-urlencode nodecode[login_pass]=1 \
	--data-urlencode "login=$ADMIN" --data-urlencode "login_pass=$ADMINPW"
has "Logged in"
# The tree: the naming context comes from the root DSE, what is beneath from searches of one level.
get "cmd.php?cmd=refresh&server_id=1&noheader=1"
get "cmd.php?cmd=expand&server_id=1&dn=$(printf %s "$SUFFIX" | sed 's/=/%3D/g; s/,/%2C/g')"
has "ou=people"
has "ou=groups"
get "cmd.php?cmd=template_engine&server_id=1&dn=uid=alice,ou=people,$SUFFIX"
has "Alice Archer"
has "homeDirectory"
# The schema, each part of it.
get "cmd.php?cmd=schema&server_id=1&view=objectclasses&viewvalue=inetOrgPerson"
has preferredLanguage
has organizationalPerson
get "cmd.php?cmd=schema&server_id=1&view=attributes&viewvalue=mail"
has caseIgnoreIA5Match
get "cmd.php?cmd=schema&server_id=1&view=syntaxes"
has 1.3.6.1.4.1.1466.115.121.1.15
get "cmd.php?cmd=schema&server_id=1&view=matching_rules"
has caseIgnoreSubstringsMatch
get "cmd.php?cmd=server_info&server_id=1"
has 1.2.840.113556.1.4.319
has 1.3.6.1.4.1.1466.20037
# A search, an export, a new entry from an import, and its end.
get "cmd.php?cmd=query_engine&server_id=1&query=none&search=true&format=list&scope=sub&filter=(uid=b*)&base=$SUFFIX&display_attrs=cn,mail"
has bob@example.org
get cmd.php --data-urlencode cmd=import --data-urlencode server_id=1 --data-urlencode "ldif=dn: uid=pla,ou=people,$SUFFIX
objectClass: inetOrgPerson
uid: pla
cn: Php Ldap Admin
sn: Admin
"
asked() { ldapsearch -LLL -H "$LDAPS" -x -D "$ALICE" -w "$ALICEPW" -b "$SUFFIX" "$@"; }
is "$(asked '(uid=pla)' cn | grep ^cn:)" "cn: Php Ldap Admin" "an imported entry"
get cmd.php --data-urlencode cmd=rename --data-urlencode server_id=1 --data-urlencode "dn=uid=pla,ou=people,$SUFFIX" --data-urlencode new_rdn=uid=pla2
is "$(asked '(uid=pla2)' 1.1)" "dn: uid=pla2,ou=people,$SUFFIX" "a renamed entry"
get cmd.php --data-urlencode cmd=delete --data-urlencode server_id=1 --data-urlencode "dn=uid=pla2,ou=people,$SUFFIX"
is "$(asked '(uid=pla2)' 1.1)" "" "a deleted entry"
