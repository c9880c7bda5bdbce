#!/usr/bin/env bash
# saslauthd (in a session of its own: at its end it signals its whole process group), with the configuration of docs/recipes/saslauthd.md.
# needs: sasl2-bin
set -euo pipefail
. test/interop/recipe.sh
service mail
work=$(mktemp -d -p "$WORK")
recipe saslauthd /etc/saslauthd.conf >"$work/saslauthd.conf"
setsid saslauthd -d -a ldap -O "$work/saslauthd.conf" -m "$work" -n 0 >"$work/log" 2>&1 &
daemon=$!
trap 'kill "$daemon" 2>/dev/null || true; wait "$daemon" 2>/dev/null || true' EXIT
await "saslauthd's socket" test -S "$work/mux"
test_login() { testsaslauthd -f "$work/mux" -u "$1" -p "$2"; }
test_login alice "$ALICEPW"
test_login bob "$(password bob)"
test_login alice "$ALICEPW"
refused "a wrong password" test_login alice wrong
refused "somebody else's password" test_login bob "$ALICEPW"
refused "an unknown user" test_login nobody "$ALICEPW"
refused "a star" test_login '*' "$ALICEPW"
refused "an injected user" test_login '*)(uid=*' "$ALICEPW"
refused "an empty password" test_login alice ''
