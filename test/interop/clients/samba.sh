#!/usr/bin/env bash
# Samba's ldapsam and a file server that logs in by it, with the configuration of docs/recipes/samba.md, on a server with its rules.
# needs: ldap-utils
# private: samba smbclient nslcd libnss-ldapd
set -euo pipefail
. test/interop/recipe.sh
in_private
work=$(mktemp -d -p "$WORK")
chmod 711 "$work"
own='' daemons=()
finish() {
	[ $? -eq 0 ] || tail -n 15 "$work"/*.log
	for d in "${daemons[@]}" $own; do
		kill "$d" 2>/dev/null || true
		wait "$d" 2>/dev/null || true
	done
}
trap finish EXIT
SERVICEPW=the-samba-password-7
own_server samba
recipe samba ldapadd | ldapadd -H "$LDAPS" -x -D "$ADMIN" -w "$ADMINPW" >/dev/null
recipe samba /etc/samba/smb.conf >/etc/samba/smb.conf
recipe samba /etc/ldap/ldap.conf >/etc/ldap/ldap.conf
smbpasswd -w "$SERVICEPW" >/dev/null
(
	service sssd
	recipe nslcd /etc/nslcd.conf >/etc/nslcd.conf
	recipe nslcd /etc/nsswitch.conf >/etc/nsswitch.conf
)
install -d -o nslcd -g nslcd /run/nslcd
nslcd -n >"$work/nslcd.log" 2>&1 &
daemons+=($!)
await "alice" getent passwd alice

set_password() { printf '%s\n%s\n' "$2" "$2" | smbpasswd -s -a "$1" >>"$work/smbpasswd.log" 2>&1; }
set_password alice first-of-alice-7
set_password bob first-of-bob-7
is "$(pdbedit -L 2>>"$work/pdbedit.log" | cut -d: -f1 | sort | paste -sd ' ')" "alice bob" "who can log in"
ask() { ldapsearch -LLL -o ldif-wrap=no -H "$LDAPS" -x -D "$ADMIN" -w "$ADMINPW" -b "$SUFFIX" "$@"; }
is "$(ask '(&(objectClass=sambaDomain)(sambaDomainName=*))' 1.1 | grep -c '^dn: sambaDomainName=')" 1 "the domain's entry"
is "$(ask '(uid=alice)' objectClass | grep -c sambaSamAccount)" 1 "alice's class"
is "$(ask '(uid=alice)' sambaNTPassword | grep -cE '^sambaNTPassword: [0-9A-F]{32}$')" 1 "alice's NT hash"
is "$(ldapsearch -LLL -H "$LDAPS" -x -D "$ALICE" -w first-of-alice-7 -b "$SUFFIX" '(uid=alice)' sambaNTPassword | grep -c ^sambaNTPassword || true)" 0 \
	"the NT hash is hidden, and the password is the directory's password"
refused "a write outside of the rules" ldapmodify -H "$LDAPS" -x -D "cn=samba,ou=services,$SUFFIX" -w "$SERVICEPW" <<END
dn: uid=bob,ou=people,$SUFFIX
changetype: modify
replace: mail
mail: samba@example.org
END
refused "another entry beneath the suffix" ldapadd -H "$LDAPS" -x -D "cn=samba,ou=services,$SUFFIX" -w "$SERVICEPW" <<END
dn: ou=mine,$SUFFIX
objectClass: organizationalUnit
END

smb=$(port)
install -d -o alice -g engineers /home/alice
install -d -o bob -g engineers /home/bob
echo hello >/home/alice/letter
chown alice /home/alice/letter
# At its end smbd signals its whole process group: it gets one of its own.
setsid smbd -F --no-process-group --debug-stdout -p "$smb" --option="pid directory=$work" >"$work/smbd.log" 2>&1 &
daemons+=($!)
# files USER PASSWORD SHARE prints the names in a share.
files() { timeout 180 smbclient "//127.0.0.1/$3" -p "$smb" -U "$1%$2" -c ls 2>&1; }
await "smbd" files alice first-of-alice-7 alice
is "$(files alice first-of-alice-7 alice | grep -c letter)" 1 "alice's files"
refused "a wrong password" files alice wrong alice
refused "somebody else's password" files bob first-of-alice-7 bob
refused "an unknown user" files nobody2 first-of-alice-7 alice
refused "somebody without an SMB password" files carol "$(password carol)" carol
files bob first-of-bob-7 bob >/dev/null
set_password bob second-of-bob-7
files bob second-of-bob-7 bob >/dev/null
refused "the old password" files bob first-of-bob-7 bob
pdbedit -x bob >>"$work/pdbedit.log" 2>&1
refused "a deleted account" files bob second-of-bob-7 bob
is "$(ask '(uid=bob)' objectClass mail | grep -cE 'sambaSamAccount|mail: bob@example.org')" 1 "bob is no Samba account any more, and himself"
