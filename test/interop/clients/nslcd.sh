#!/usr/bin/env bash
# nslcd with its NSS and PAM modules, and sudo-ldap, with the configuration of docs/recipes/nslcd.md and sudo.md.
# needs: ldap-utils
# private: nslcd libnss-ldapd libpam-ldapd sudo-ldap pamtester
set -euo pipefail
. test/interop/recipe.sh
in_private
service sssd
work=$(mktemp -d -p "$WORK")
recipe nslcd /etc/nslcd.conf >/etc/nslcd.conf
recipe sudo /etc/sudo-ldap.conf >/etc/sudo-ldap.conf
{
	recipe nslcd /etc/nsswitch.conf
	recipe sudo /etc/nsswitch.conf
} >/etc/nsswitch.conf
chown root:nslcd /etc/nslcd.conf
chmod 640 /etc/nslcd.conf
chmod 440 /etc/sudo-ldap.conf
echo 'root ALL=(ALL) ALL' >/etc/sudoers
printf 'auth required pam_ldap.so\naccount required pam_ldap.so\npassword required pam_ldap.so\n' >/etc/pam.d/portolan
printf 'auth required pam_ldap.so\naccount required pam_permit.so\n' >/etc/pam.d/sudo
recipe sudo ldapadd | ldapadd -H "$LDAPS" -x -D "$ADMIN" -w "$ADMINPW" >/dev/null
install -d -o nslcd -g nslcd /run/nslcd
nslcd -n >"$work/log" 2>&1 &
daemon=$!
finish() {
	[ $? -eq 0 ] || tail -n 20 "$work/log"
	kill "$daemon" 2>/dev/null || true
	wait "$daemon" 2>/dev/null || true
	ldapdelete -r -H "$LDAPS" -x -D "$ADMIN" -w "$ADMINPW" "ou=sudoers,$SUFFIX" || true
}
trap finish EXIT
await "alice" getent passwd alice
logins
pam portolan alice "$ALICEPW"
pam portolan frank "$(password frank)" # a member of a group of a group of staff
refused "a wrong password" pam portolan alice wrong
refused "somebody else's password" pam portolan bob "$ALICEPW"
refused "who is not in staff" pam portolan mallory "$(password mallory)"
refused "an unknown user" pam portolan nobody2 "$ALICEPW"
new_password wang
sudo_rules
