#!/usr/bin/env bash
# make bench-compare: the Go benchmarks of the hot path, of this checkout against another commit (BASE, the one before
# where nothing is said), compared by benchstat. With changes that are not committed the base is HEAD.
#
#   BASE=main BENCH='Decode|Eval' COUNT=10 PACKAGES='./ldap ./internal/dit' make bench-compare
set -euo pipefail
cd "$(dirname "$0")/../.."
benchstat=golang.org/x/perf/cmd/benchstat@v0.0.0-20260908200009-22c9c6c9d4da
base=HEAD
[ -n "$(git status --porcelain)" ] || base=HEAD^
base=$(git rev-parse --verify "${BASE:-$base}^{commit}")
read -ra packages <<<"${PACKAGES:-./ber ./ldap ./internal/schema ./internal/dit ./internal/access ./internal/store ./internal/engine ./internal/session ./internal/audit ./internal/guard}"
work=$(mktemp -d)
trap 'git worktree remove --force "$work/base" >/dev/null 2>&1 || true; rm -rf "$work"' EXIT
git worktree add -q --detach "$work/base" "$base"
# The binary of a package is named after it.
name() { echo "$1" | tr -c 'a-zA-Z0-9\n' _; }
# build CHECKOUT DIRECTORY: everything is built before anything is measured. A package that one side has not is left out.
build() {
	mkdir -p "$2"
	local p
	for p in "${packages[@]}"; do
		if [ -d "$1/$p" ]; then (cd "$1" && go test -c -o "$2/$(name "$p").test" "$p"); fi
	done
}
build "$work/base" "$work/old.bin"
build . "$work/new.bin"
# In turn, so that what else the machine does hits both alike.
for _ in $(seq "${COUNT:-6}"); do
	for side in old new; do
		from=$work/base
		[ $side = old ] || from=.
		for p in "${packages[@]}"; do
			t=$work/$side.bin/$(name "$p").test
			[ -x "$t" ] || continue
			(cd "$from/$p" && timeout 300 "$t" -test.run '^$' -test.bench "${BENCH:-.}" -test.benchmem -test.benchtime "${BENCHTIME:-50ms}") >>"$work/$side.txt" ||
				echo "$side: the benchmarks of $p failed" >&2
		done
	done
done
echo "old: $(git log -1 --format='%h %s' "$base")"
echo "new: $(git log -1 --format='%h %s')$([ -z "$(git status --porcelain)" ] || echo ' and what is not committed')"
CGO_ENABLED=0 go run "$benchstat" "old=$work/old.txt" "new=$work/new.txt"
