#!/usr/bin/env bash
# Runs every fuzz target of the module for the given time each; the first failure ends it.
set -euo pipefail
cd "$(dirname "$0")/.."
time=${1:-10s}
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# Go before 1.27 sometimes reports the end of -fuzztime as a failure (golang/go#75804): "context deadline exceeded", and nothing
# else. An input that fails says so otherwise: it is written down, and named. One that hangs is told by -timeout, in a panic.
only_out_of_time() {
	grep -qE '^ +context deadline exceeded$' "$1" &&
		! grep -qvE '^(fuzz: |    |--- FAIL|FAIL|exit status 1$)' "$1" &&
		! grep -qiE 'failing input|panic|_test\.go:|hung|terminated' "$1"
}

grep -rlE '^func Fuzz' --include='*_test.go' . | xargs -n1 dirname | sort -u | while read -r dir; do
	grep -hoE '^func Fuzz[A-Za-z0-9_]+' "$dir"/*_test.go | sed 's/^func //' | sort -u | while read -r target; do
		echo "fuzz $dir $target"
		if go test "$dir" -run '^$' -fuzz "^$target\$" -fuzztime "$time" </dev/null 2>&1 | tee "$log"; then
			continue
		fi
		only_out_of_time "$log" || exit 1
		echo "fuzz $dir $target: out of time in the midst of an input; none failed"
	done
done
echo "every fuzz target ran for $time"
