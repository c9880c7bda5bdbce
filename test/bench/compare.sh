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
read -ra packages <<<"${PACKAGES:-./ber ./ldap ./internal/schema ./internal/dit ./internal/access ./internal/store ./internal/engine ./internal/session ./internal/audit}"
work=$(mktemp -d)
trap 'git worktree remove --force "$work/base" >/dev/null 2>&1 || true; rm -rf "$work"' EXIT
git worktree add -q --detach "$work/base" "$base"
# run COMMIT-DIRECTORY: the binaries are built before anything is measured.
build() {
	mkdir -p "$2"
	(cd "$1" && for p in "${packages[@]}"; do
		[ -d "$p" ] && go test -c -o "$2/$(echo "$p" | tr -c 'a-z0-9\n' _).test" "$p"
	done)
}
build "$work/base" "$work/old.bin"
build . "$work/new.bin"
# In turn, so that what else the machine does hits both alike.
for _ in $(seq "${COUNT:-6}"); do
	for side in old new; do
		from=. && [ $side = new ] || from=$work/base
		for t in "$work/$side.bin"/*.test; do
			p=$(basename "$t" .test)
			for q in "${packages[@]}"; do
				[ "$(echo "$q" | tr -c 'a-z0-9\n' _)" = "$p" ] || continue
				(cd "$from/$q" && timeout 300 "$t" -test.run '^$' -test.bench "${BENCH:-.}" -test.benchmem -test.benchtime "${BENCHTIME:-50ms}") >>"$work/$side.txt" ||
					echo "$q of $side failed: see above" >&2
			done
		done
	done
done
echo "old: $(git log -1 --format='%h %s' "$base")"
echo "new: $(git log -1 --format='%h %s')$([ -z "$(git status --porcelain)" ] || echo ' and what is not committed')"
CGO_ENABLED=0 go run "$benchstat" "$work/old.txt" "$work/new.txt"
