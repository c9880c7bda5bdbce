#!/usr/bin/env bash
# Dovecot's authentication, with the configuration of docs/recipes/dovecot.md.
# needs: dovecot-ldap
set -euo pipefail
. test/interop/recipe.sh
service mail
work=$(mktemp -d -p "$WORK")
chmod 755 "$work"
recipe dovecot /etc/dovecot/dovecot-ldap.conf.ext >"$work/ldap.conf"
{
	cat <<-END
		base_dir = $work/run
		state_dir = $work/state
		log_path = $work/log
		protocols =
		ssl = no
		auth_failure_delay = 0 secs
		service anvil {
		  unix_listener anvil-auth-penalty {
		    mode = 0
		  }
		}
	END
	recipe dovecot /etc/dovecot/conf.d/auth-ldap.conf.ext | sed "s#/etc/dovecot/dovecot-ldap.conf.ext#$work/ldap.conf#"
} >"$work/dovecot.conf"
dovecot -F -c "$work/dovecot.conf" >"$work/out" 2>&1 &
daemon=$!
trap 'got=$?; [ $got -eq 0 ] || tail -n 20 "$work/log" "$work/out"; kill "$daemon" 2>/dev/null || true; wait "$daemon" 2>/dev/null || true' EXIT
await "Dovecot's socket" test -S "$work/run/auth-client"
try() { timeout 180 doveadm -c "$work/dovecot.conf" auth test "$1" "$2"; }
try alice "$ALICEPW"
try bob "$(password bob)"
refused "a wrong password" try alice wrong
refused "somebody else's password" try bob "$ALICEPW"
refused "an unknown user" try nobody "$ALICEPW"
refused "a star" try '*' "$ALICEPW"
refused "an injected user" try '*)(uid=*' "$ALICEPW"
is "$(doveadm -c "$work/dovecot.conf" user -f home bob)" /home/bob "a home directory"
is "$(doveadm -c "$work/dovecot.conf" user -f uid bob)" 10002 "a uid"
is "$(doveadm -c "$work/dovecot.conf" user '*' | wc -l)" 13 "everybody"
