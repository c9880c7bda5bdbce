#!/usr/bin/env bash
# make bench: Portolan beside slapd, same data, same load, same run. Installs slapd where it is missing and may be (root,
# apt-get). test/bench/sidebyside/main.go says what the environment chooses: BENCH_QUICK=1, BENCH_ENTRIES=N, ...
set -euo pipefail
cd "$(dirname "$0")/../.."
if ! { command -v slapd || [ -x /usr/sbin/slapd ]; } >/dev/null; then
	if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
		echo "installing slapd" >&2
		apt-get update -q >/dev/null
		# Installed without a configuration and without being started: the benchmark runs its own.
		echo 'slapd slapd/no_configuration boolean true' | debconf-set-selections
		RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends slapd >/dev/null
	else
		echo "slapd is not installed: its columns will be empty (on Debian: apt-get install slapd)" >&2
	fi
fi
go build -o bin/ ./test/bench/bareloop ./test/bench/sidebyside
exec nice -n "${BENCH_NICE:-0}" bin/sidebyside
