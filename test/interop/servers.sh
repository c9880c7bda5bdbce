# Servers of its own for a client script, sourced by it: Portolans made by "portolan init" and slapds. Their files are in
# $dir, which is $WORK/NAME-OF-THE-SCRIPT; all of them end with the script.
# shellcheck shell=bash
dir=$WORK/$(basename "${0%.*}") portolan=$PWD/bin/portolan
mkdir -p "$dir"
pids=()
stop() { # stop PID...
	local pid
	for pid; do kill "$pid" 2>/dev/null || true; done
	for pid; do wait "$pid" 2>/dev/null || true; done
}
trap 'stop "${pids[@]}"' EXIT
port() { test/interop/port; }
fail() {
	echo "$*"
	for log in "$dir"/*.log; do echo "== $log"; grep -v 'new index' "$log" | tail -n 12; done
	exit 1
}
until_ready() { # until_ready FILE WORD
	local end=$((SECONDS + 180))
	while [ $SECONDS -lt $end ]; do ! grep -q "$2" "$1" 2>/dev/null || return 0; sleep 0.1; done
	fail "no <$2> in $1"
}

# A Portolan: its files are in $dir/NAME, its ldap port is NAME_port. more is added to its configuration.
initialize() { # initialize NAME [MORE]
	local name=$1 secure
	printf -v "${name}_port" %s "$(port)"
	secure=$(port)
	local plain=${name}_port
	"$portolan" init --suffix "$SUFFIX" --dir "$dir/$name" --address 127.0.0.1 --ldap-port "${!plain}" --ldaps-port "$secure" >"$dir/$name.init"
	printf '%s\n' "${2-}" >>"$dir/$name/portolan.toml"
}
starts=0
serve() { # serve NAME: its process is NAME_pid, its log NAME_log
	printf -v "$1_log" %s "$dir/$1-$((starts += 1)).log"
	local log=${1}_log
	"$portolan" serve --config "$dir/$1/portolan.toml" >"${!log}" 2>&1 &
	printf -v "$1_pid" %s $!
	pids+=($!)
	until_ready "${!log}" '^portolan: ready'
}
secret() { sed -n 's/^with the password *\([^ ]*\) .*/\1/p' "$dir/$1.init"; }

# The configuration of a slapd: its database is in $dir/NAME-db, its certificate that of the Portolan CERTIFICATE.
slapd_config() { # slapd_config NAME CERTIFICATE
	mkdir -p "$dir/$1-db"
	cat <<-END
		include /etc/ldap/schema/core.schema
		include /etc/ldap/schema/cosine.schema
		include /etc/ldap/schema/inetorgperson.schema
		pidfile $dir/$1.pid
		argsfile $dir/$1.args
		modulepath /usr/lib/ldap
		moduleload back_mdb
		moduleload syncprov
		moduleload ppolicy
		TLSCACertificateFile $dir/$2/ca.pem
		TLSCertificateFile $dir/$2/server.pem
		TLSCertificateKeyFile $dir/$2/server.key
		sizelimit unlimited
		database mdb
		suffix $SUFFIX
		directory $dir/$1-db
		rootdn cn=admin,$SUFFIX
		rootpw slapd-secret
		index entryUUID,entryCSN eq
	END
}
anew=() # (-c rid=001) for a consumer that forgets what it has had
slapd() { # slapd NAME URLS [LEVEL]: its process is NAME_pid, its log NAME_log
	printf -v "$1_log" %s "$dir/$1-$((starts += 1)).log"
	local log=${1}_log
	/usr/sbin/slapd -d "${3-sync}" -f "$dir/$1.conf" -h "$2" "${anew[@]}" >"${!log}" 2>&1 &
	printf -v "$1_pid" %s $!
	pids+=($!)
	until_ready "${!log}" 'slapd starting'
}
