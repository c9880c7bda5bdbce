#!/usr/bin/env bash
# SSSD with its NSS and PAM modules and sudo rules, with the configuration of docs/recipes/sssd.md and sudo.md.
# needs: ldap-utils
# private: sssd-ldap libnss-sss libpam-sss libsss-sudo sudo-ldap pamtester
set -euo pipefail
. test/interop/recipe.sh
in_private
service sssd
work=$(mktemp -d -p "$WORK")
recipe sssd /etc/sssd/sssd.conf >/etc/sssd/sssd.conf
chmod 600 /etc/sssd/sssd.conf
recipe sssd /etc/nsswitch.conf >/etc/nsswitch.conf
echo 'root ALL=(ALL) ALL' >/etc/sudoers
printf 'auth required pam_sss.so\naccount required pam_sss.so\npassword required pam_sss.so\n' >/etc/pam.d/portolan
printf 'auth required pam_sss.so\naccount required pam_permit.so\n' >/etc/pam.d/sudo
recipe sudo ldapadd | ldapadd -H "$LDAPS" -x -D "$ADMIN" -w "$ADMINPW" >/dev/null
sssd -i -d 0x03f0 --logger=stderr >"$work/log" 2>&1 &
daemon=$!
finish() {
	[ $? -eq 0 ] || tail -n 25 "$work/log"
	kill "$daemon" 2>/dev/null || true
	wait "$daemon" 2>/dev/null || true
	ldapdelete -r -H "$LDAPS" -x -D "$ADMIN" -w "$ADMINPW" "ou=sudoers,$SUFFIX" || true
}
trap finish EXIT
await "alice" getent passwd alice
logins
pam portolan alice "$ALICEPW"
pam portolan frank "$(password frank)" # a member of a group of a group of staff
pam portolan frank "$(password frank)" # and again, with the groups already in the cache
refused "a wrong password" pam portolan alice wrong
refused "somebody else's password" pam portolan bob "$ALICEPW"
refused "who is not in staff" pam portolan mallory "$(password mallory)"
refused "an unknown user" pam portolan nobody2 "$ALICEPW"
new_password wang
sudo_rules
