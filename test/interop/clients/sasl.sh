#!/usr/bin/env bash
# OpenLDAP's tools with SASL by cyrus-sasl: PLAIN and SCRAM over TLS, with and without channel binding, as oneself and as another,
# and EXTERNAL with a client certificate and over the Unix socket.
# needs: ldap-utils libsasl2-modules openssl
set -euo pipefail
. test/interop/servers.sh
is() { [ "$1" = "$2" ] || fail "$3: got <$1>, want <$2>"; }
refused() { # refused CODE command...
	local want=$1 got=0
	shift
	"$@" >"$dir/refused" 2>&1 || got=$?
	[ "$got" -eq "$want" ] || fail "exit code $got, want $want: $* $(cat "$dir/refused")"
}

initialize p
sed -i 's#^\[tls\]$#&\nclient_ca_file = "clients.pem"#' "$dir/p/portolan.toml"
cat >>"$dir/p/portolan.toml" <<END
[[access]]
allow = "proxy"
who = "dn:uid=alice,ou=people,$SUFFIX"
on = "base:uid=bob,ou=people,$SUFFIX"
END
# The authority of the clients, and a certificate whose subject is alice's name.
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=clients -keyout "$dir/clients.key" -out "$dir/p/clients.pem" 2>/dev/null
certificate() { # certificate NAME SUBJECT
	openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "$2" -keyout "$dir/$1.key" -out "$dir/$1.csr" 2>/dev/null
	openssl x509 -req -in "$dir/$1.csr" -CA "$dir/p/clients.pem" -CAkey "$dir/clients.key" -CAcreateserial -days 2 -out "$dir/$1.pem" 2>/dev/null
}
domain=$(sed 's/^dc=//; s/,dc=/ /g' <<<"$SUFFIX" | tr ' ' '\n' | tac | sed 's#^#/DC=#' | tr -d '\n')
certificate alice "$domain/OU=people/UID=alice"
certificate nobody "$domain/OU=people/UID=nobody"
serve p
LDAPTLS_CACERT=$dir/p/ca.pem
export LDAPTLS_CACERT
plain=ldap://127.0.0.1:$p_port
secure=$(grep -o 'ldaps://127.0.0.1:[0-9]*' "$dir/p/portolan.toml" | head -n 1)
pw=portolan-and-cyrus-7
ldapmodify -a -c -H "$plain" -ZZ -x -D "cn=admin,$SUFFIX" -w "$(secret p)" >"$dir/add" 2>&1 <<END || true
dn: ou=people,$SUFFIX
objectClass: organizationalUnit
ou: people

dn: uid=alice,ou=people,$SUFFIX
objectClass: inetOrgPerson
cn: Alice
sn: A
userPassword: $pw

dn: uid=bob,ou=people,$SUFFIX
objectClass: inetOrgPerson
cn: Bob
sn: B
END
alice=dn:uid=alice,ou=people,$SUFFIX
who() { ldapwhoami -Q "$@"; }

for mechanism in PLAIN SCRAM-SHA-256; do
	is "$(who -Y $mechanism -U alice -w $pw -H "$secure")" "$alice" "$mechanism over ldaps"
	is "$(who -Y $mechanism -U alice -w $pw -H "$plain" -ZZ)" "$alice" "$mechanism over StartTLS"
	is "$(who -Y $mechanism -U alice -X "dn:uid=bob,ou=people,$SUFFIX" -w $pw -H "$secure")" "dn:uid=bob,ou=people,$SUFFIX" "$mechanism as bob"
	is "$(who -Y $mechanism -U alice -X u:bob -w $pw -H "$secure")" "dn:uid=bob,ou=people,$SUFFIX" "$mechanism as u:bob"
	refused 49 who -Y $mechanism -U alice -X u:admin -w $pw -H "$secure"
	refused 49 who -Y $mechanism -U alice -w wrong -H "$secure"
	refused 49 who -Y $mechanism -U nobody -w $pw -H "$secure"
done
is "$(who -U alice -w $pw -H "$secure")" "$alice" "the mechanism that cyrus-sasl chooses"
ldapwhoami -U alice -w $pw -H "$secure" 2>&1 | grep -q 'SASL/SCRAM-SHA-256 ' || fail "PLAIN was chosen where there is SCRAM"

# Channel binding: libldap calls every type "ldap", and cyrus-sasl the mechanism by its name without -PLUS.
export LDAPSASL_CBINDING=tls-endpoint
is "$(who -U alice -w $pw -H "$secure")" "$alice" "channel binding"
is "$(who -Y SCRAM-SHA-256-PLUS -U alice -w $pw -H "$plain" -ZZ)" "$alice" "-PLUS over StartTLS"
refused 49 who -Y SCRAM-SHA-256-PLUS -U alice -w wrong -H "$secure"
# tls-unique is there under TLS 1.2 alone.
export LDAPSASL_CBINDING=tls-unique
is "$(LDAPTLS_CIPHER_SUITE='NORMAL:-VERS-TLS1.3' who -U alice -w $pw -H "$secure")" "$alice" "tls-unique under TLS 1.2"
unset LDAPSASL_CBINDING

# EXTERNAL: the subject of the client's certificate; the user of the process.
with() { LDAPTLS_CERT=$dir/$1.pem LDAPTLS_KEY=$dir/$1.key who -Y EXTERNAL "${@:2}"; }
is "$(with alice -H "$secure")" "$alice" "EXTERNAL over ldaps"
is "$(with alice -H "$plain" -ZZ)" "$alice" "EXTERNAL over StartTLS"
is "$(with alice -X u:bob -H "$secure")" "dn:uid=bob,ou=people,$SUFFIX" "EXTERNAL as bob"
refused 49 with nobody -H "$secure"
is "$(who -Y EXTERNAL -H "$LDAPI")" "dn:$ADMIN" "EXTERNAL over the socket"
echo ok
