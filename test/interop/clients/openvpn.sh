#!/usr/bin/env bash
# OpenVPN with its plugin auth-ldap, with the configuration of docs/recipes/openvpn.md. No tunnel device is opened.
# needs: openvpn openvpn-auth-ldap
set -euo pipefail
. test/interop/recipe.sh
service vpn
work=$(mktemp -d -p "$WORK")
vpn=$(port)
recipe openvpn /etc/openvpn/auth-ldap.conf >"$work/auth-ldap.conf"
{
	cat <<-END
		mode server
		tls-server
		local 127.0.0.1
		port $vpn
		proto tcp-server
		dev null
		dev-type tun
		ca $WORK/demo/ca.pem
		cert $WORK/demo/server.pem
		key $WORK/demo/server.key
		dh none
		verb 3
	END
	recipe openvpn /etc/openvpn/server/server.conf | sed "s#/etc/openvpn/auth-ldap.conf#$work/auth-ldap.conf#"
} >"$work/server.conf"
openvpn --config "$work/server.conf" >"$work/log" 2>&1 &
daemon=$!
trap 'got=$?; [ $got -eq 0 ] || tail -n 30 "$work/log" "$work/client" || true; kill "$daemon" 2>/dev/null || true; wait "$daemon" 2>/dev/null || true' EXIT
await "OpenVPN" grep -q 'Initialization Sequence Completed' "$work/log"
try() { # try USER PASSWORD prints what became of a login
	printf '%s\n%s\n' "$1" "$2" >"$work/login"
	chmod 600 "$work/login"
	timeout 180 openvpn --client --dev null --dev-type tun --proto tcp-client --remote 127.0.0.1 "$vpn" --nobind --ca "$WORK/ca.pem" \
		--remote-cert-tls server --auth-user-pass "$work/login" --auth-retry none --connect-retry-max 1 --pull-filter ignore ping \
		--verb 3 --ping 0 --ping-exit 0 >"$work/client" 2>&1 &
	local client=$! end=$((SECONDS + 180))
	while [ $SECONDS -lt $end ]; do
		if grep -qE 'PUSH_REPLY|AUTH_FAILED' "$work/client" || ! kill -0 "$client" 2>/dev/null; then break; fi
		sleep 0.1
	done
	kill "$client" 2>/dev/null || true
	wait "$client" 2>/dev/null || true
	grep -oE 'PUSH_REPLY|AUTH_FAILED' "$work/client" | head -n 1 || cat "$work/client"
}
yes="PUSH_REPLY" no="AUTH_FAILED"
is "$(try alice "$ALICEPW")" "$yes" "a member"
is "$(try bob "$(password bob)")" "$yes" "another member"
is "$(try alice wrong)" "$no" "a wrong password"
is "$(try bob "$ALICEPW")" "$no" "somebody else's password"
is "$(try ivan "$(password ivan)")" "$no" "who is not a member"
is "$(try nobody "$ALICEPW")" "$no" "an unknown user"
is "$(try '*' "$ALICEPW")" "$no" "a star"
is "$(try '*)(uid=alice' "$ALICEPW")" "$no" "an injected user"
