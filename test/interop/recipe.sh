# Sourced by the clients that are services: their configuration is taken from docs/recipes, so that recipes are executed.
# A recipe is written for ldap.example.org with the authority's certificate in /etc/ssl/certs/portolan.pem and the password
# THE-PASSWORD; those three are replaced by this run's.

# recipe NAME FILE prints the block that docs/recipes/NAME.md shows for FILE: the fenced one that follows a line with `FILE`.
recipe() {
	local text
	text=$(awk -v want="\`$2\`" '
		inside && /^```$/ { exit }
		inside { print; next }
		index($0, want) { named = 1; next }
		named && /^```/ { inside = 1 }
	' "docs/recipes/$1.md")
	[ -n "$text" ] || { echo "docs/recipes/$1.md shows no $2" >&2; return 1; }
	sed -e "s#ldaps://ldap\.example\.org#$LDAPS#g" -e "s#ldap://ldap\.example\.org#$LDAP#g" \
		-e "s#/etc/ssl/certs/portolan\.pem#$WORK/ca.pem#g" -e "s#THE-PASSWORD#$SERVICEPW#g" <<<"$text"
}

# password UID prints a person's password.
password() { awk -F'\t' -v dn="uid=$1,ou=people,$SUFFIX" '$1 == dn {print $2}' "$PASSWORDS"; }

# service NAME takes a service account's password for THE-PASSWORD.
service() {
	SERVICEPW=$(awk -F'\t' -v dn="cn=$1,ou=services,$SUFFIX" '$1 == dn {print $2}' "$PASSWORDS")
	[ -n "$SERVICEPW" ] || { echo "no password of cn=$1 in $PASSWORDS" >&2; return 1; }
}

# is GOT WANT WHAT
is() { [ "$1" = "$2" ] || { echo "$3: got <$1>, want <$2>"; exit 1; }; }

# refused WHAT command... wants the command to fail.
refused() {
	local what=$1
	shift
	if "$@"; then echo "$what: accepted"; exit 1; fi
}

# await WHAT command... tries the command until it succeeds, 20 seconds at most.
await() {
	local what=$1
	shift
	for _ in $(seq 200); do
		if "$@" >/dev/null 2>&1; then return; fi
		sleep 0.1
	done
	echo "$what is not there after 20 seconds"
	exit 1
}

# port prints a free TCP port of loopback, with udp a free UDP port.
port() {
	/usr/bin/python3 -c 'import socket, sys; s = socket.socket(type=socket.SOCK_DGRAM if sys.argv[1:] == ["udp"] else socket.SOCK_STREAM); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])' "$@"
}
