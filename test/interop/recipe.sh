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
		-e "s#/etc/ssl/certs/portolan\.pem#$LDAPTLS_CACERT#g" -e "s#THE-PASSWORD#$SERVICEPW#g" <<<"$text"
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

# await WHAT command... tries the command until it succeeds, three minutes at most.
await() {
	local what=$1 end=$((SECONDS + 180))
	shift
	while [ $SECONDS -lt $end ]; do
		if "$@" >/dev/null 2>&1; then return; fi
		sleep 0.1
	done
	echo "$what is not there after three minutes"
	exit 1
}

# port prints a free TCP port of loopback, with udp a free UDP port.
port() { test/interop/port "$@"; }

# in_private fails unless the script runs in the copy of the root file system that run.sh makes: what follows changes /etc.
in_private() { [ -e /.portolan-interop ] || { echo "run it by way of test/interop/run.sh: it changes /etc"; exit 1; }; }

# logins checks accounts and groups as NSS gives them.
logins() {
	is "$(getent passwd alice)" "alice:$(getent passwd alice | cut -d: -f2):10001:10000:Alice Archer:/home/alice:/bin/bash" "alice"
	is "$(getent passwd 10002 | cut -d: -f1,6)" "bob:/home/bob" "a person by number"
	is "$(getent group engineers | cut -d: -f1,3)" "engineers:10000" "a group"
	is "$(getent group engineers | cut -d: -f4 | tr , '\n' | sort | paste -sd ' ')" "alice bob carol dave wang" "the members of a group"
	is "$(getent group nested | cut -d: -f4 | tr , '\n' | sort | paste -sd ' ')" "erin frank grace judy trent" "the members of a group with a group in it"
	is "$(id -Gn frank | tr ' ' '\n' | sort | paste -sd ' ')" "editors engineers nested staff" "the groups of frank"
	refused "an unknown account" getent passwd nobody2
	refused "an injected account" getent passwd '*)(uid=*'
	refused "a star" getent group '*'
}

# pam SERVICE USER PASSWORD logs in.
pam() { pamtester "$1" "$2" authenticate acct_mgmt <<<"$3" >"$work/pam" 2>&1; }

# new_password USER has the user change the password, and change it back.
new_password() {
	local old new=another-one-7
	old=$(password "$1")
	refused "a change with a wrong old password" change wrong "$new" "$1"
	change "$old" "$new" "$1"
	refused "the old password" pam portolan "$1" "$old"
	pam portolan "$1" "$new"
	change "$new" "$old" "$1"
	pam portolan "$1" "$old"
}
change() { printf '%s\n%s\n%s\n' "$1" "$2" "$2" | timeout 180 runuser -u "$3" -- pamtester portolan "$3" chauthtok >"$work/pam" 2>&1; }

# sudo_rules checks the rules of docs/recipes/sudo.md.
sudo_rules() {
	is "$(runuser -u erin -- sudo -n /usr/bin/id -u)" 0 "sudo by a group"
	refused "another command" runuser -u erin -- sudo -n /usr/bin/whoami
	refused "somebody without a rule" runuser -u alice -- sudo -n /usr/bin/id -u
	refused "without a password" runuser -u ivan -- sudo -n /usr/bin/whoami
	is "$(runuser -u ivan -- sudo -k -S -p '' /usr/bin/whoami <<<"$(password ivan)" 2>/dev/null)" root "sudo with a password"
	refused "sudo with a wrong password" runuser -u ivan -- sudo -k -S -p '' /usr/bin/whoami <<<wrong
	grep -q /usr/bin/whoami <<<"$(sudo -l -U ivan)" || { echo "sudo -l does not list ivan's rule"; exit 1; }
}

# own_server RECIPE makes this script another server, for recipes that have something to say about /etc/portolan/portolan.toml.
# LDAP, LDAPS and the rest are that server's from then on; own is its process, which the script ends.
own_server() {
	local dir=$work/server plain secure
	plain=$(port) secure=$(port)
	start_own() {
		: >"$work/server.err"
		./bin/portolan demo --dir "$dir" --ldap-port "$plain" --ldaps-port "$secure" >"$work/server.out" 2>"$work/server.err" </dev/null &
		own=$!
	}
	start_own
	await "the script's own server" grep -q '^portolan: ready' "$work/server.err"
	kill "$own"
	wait "$own" || true
	recipe "$1" /etc/portolan/portolan.toml >>"$dir/portolan.toml"
	start_own
	await "the script's own server" grep -q '^portolan: ready' "$work/server.err"
	cp "$dir/ca.pem" "$work/ca.pem" # dir is its owner's alone, and daemons have users of their own
	export LDAP=ldap://127.0.0.1:$plain LDAPS=ldaps://127.0.0.1:$secure LDAPTLS_CACERT=$work/ca.pem PASSWORDS=$dir/passwords.txt
	ADMINPW=$(awk -F'\t' -v dn="$ADMIN" '$1 == dn {print $2}' "$PASSWORDS") ALICEPW=$(password alice)
}
