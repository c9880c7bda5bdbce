#!/usr/bin/env bash
# Apache's mod_authnz_ldap, with the configuration of docs/recipes/apache.md.
# needs: apache2-bin curl
set -euo pipefail
. test/interop/recipe.sh
service vpn
work=$(mktemp -d -p "$WORK")
chmod 755 "$work"
mkdir -p "$work/www/engineers"
echo welcome >"$work/www/engineers/index.html"
http=$(port)
{
	for m in mpm_event authn_core authz_core authz_user auth_basic ldap authnz_ldap dir; do
		echo "LoadModule ${m}_module /usr/lib/apache2/modules/mod_$m.so"
	done
	cat <<-END
		ServerRoot $work
		ServerName 127.0.0.1
		Listen 127.0.0.1:$http
		PidFile $work/pid
		ErrorLog $work/error.log
		DocumentRoot $work/www
		User www-data
		Group www-data
		DefaultRuntimeDir $work
		Mutex file:$work default
	END
	recipe apache /etc/apache2/conf-available/portolan.conf
	recipe apache /etc/apache2/sites-available/intranet.conf
} >"$work/apache.conf"
apache2 -d "$work" -f "$work/apache.conf" -DFOREGROUND >"$work/log" 2>&1 &
daemon=$!
trap 'kill "$daemon" 2>/dev/null || true; wait "$daemon" 2>/dev/null || true' EXIT
await "Apache" curl -s -o "$work/out" "http://127.0.0.1:$http/"
get() { # get USER PASSWORD WANT
	is "$(curl -s --max-time 180 -o "$work/out" -w '%{http_code}' -u "$1:$2" "http://127.0.0.1:$http/engineers/")" "$3" "$1"
}
trap 'got=$?; [ $got -eq 0 ] || tail -n 20 "$work/error.log" "$work/log"; kill "$daemon" 2>/dev/null || true; wait "$daemon" 2>/dev/null || true' EXIT
is "$(curl -s -o "$work/out" -w '%{http_code}' "http://127.0.0.1:$http/engineers/")" 401 "nobody"
get alice "$ALICEPW" 200
is "$(cat "$work/out")" welcome "the page"
get bob "$(password bob)" 200
get alice wrong 401
get frank "$(password frank)" 401 # not a member
get nobody "$ALICEPW" 401
get '*' "$ALICEPW" 401
get '*)(uid=*' "$ALICEPW" 401
get alice '' 401
