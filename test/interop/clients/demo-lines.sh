#!/usr/bin/env bash
# Every line that the demo prints works as printed.
# needs: ldap-utils
set -euo pipefail
grep -E '^    ' "$DEMO_OUTPUT" | sed 's/^    //' >"$WORK/lines"
[ "$(wc -l <"$WORK/lines")" -ge 7 ]
while IFS= read -r line; do
	echo "\$ $line"
	timeout 180 bash -c "$line" </dev/null
done <"$WORK/lines"
