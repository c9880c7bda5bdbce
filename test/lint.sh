#!/usr/bin/env bash
# Analyses the source with tools that are not part of Go, each in a version that is written here: test/lint.sh NAME...
# A tool that is not there is built, in at most ten minutes. Where that cannot be done (no network, a Go too old or too new for
# it) this says so in capitals and does not fail, so that a machine without a network can run everything else. What a tool finds
# fails, but for a known vulnerability of Go's own library whose mended version cannot be had here: that is said in capitals too.
set -uo pipefail
cd "$(dirname "$0")/.."
wish=${GOTOOLCHAIN:-}
GOTOOLCHAIN=$(test/toolchain.sh)
export GOTOOLCHAIN
# As the binary is built: with cgo other code is in it.
export CGO_ENABLED=0
bin=$(go env GOPATH)/bin
failed=0 skipped=()

# there NAME VERSION MODULE: the tool in this version, built where it is not there.
there() {
	local file=$bin/$1 log
	if [ -x "$file" ] && go version -m "$file" 2>/dev/null | grep -qE "^\s+mod\s.*\s$2(\s|$)"; then return 0; fi
	log=$(mktemp)
	echo "building $1 $2"
	if ! timeout 600 go install "$3@$2" >"$log" 2>&1; then
		grep -v '^go: downloading' "$log" | tail -n 5
		rm -f "$log"
		return 1
	fi
	rm -f "$log"
}

skip() {
	skipped+=("$1")
	printf '\n*** NOT DONE: %s: %s ***\n\n' "$1" "$2"
}

# vulnerabilities reads what govulncheck says and prints a line for each: its ID, "go" or the module, the version that mends it or
# "none". What is imported or required, but not called, has no "Vulnerability #" and does not count.
vulnerabilities() {
	awk '
		function out() { if (id != "") print id, where, fixed; id = "" }
		/^Vulnerability #/ { out(); id = $NF; where = "?"; fixed = "none" }
		/^=== / { out() }
		/^  Standard library/ { where = "go" }
		/^  Module: / { where = $2 }
		/^    Fixed in: .*@/ { sub(/.*@/, ""); fixed = $1 }
		END { out() }'
}

# obtainable VERSION: this toolchain, or one that mends what it mends, is here or can be fetched. Who has set GOTOOLCHAIN=local
# does not want it.
obtainable() {
	[ "$wish" != local ] && GOTOOLCHAIN=$1 timeout 180 go version >/dev/null 2>&1
}

# judge reads vulnerabilities and says which of them can be mended here; it fails when there is one.
judge() {
	local id where fixed code=0 left=()
	while read -r id where fixed; do
		if [ "$where" != go ]; then
			echo "$id: in the module $where; mended in: $fixed"
			code=1
		elif [ "$fixed" != none ] && obtainable "$fixed"; then
			echo "$id: in the library of $(go env GOVERSION); write in go.mod: toolchain $fixed, or newer"
			code=1
		else
			left+=("$id (mended in $fixed)")
		fi
	done
	if [ ${#left[@]} -gt 0 ]; then
		printf '\n*** KNOWN VULNERABILITIES in the library of %s, which cannot be mended here: %s ***\n\n' "$(go env GOVERSION)" \
			"$(printf '%s, ' "${left[@]}" | sed 's/, $//')"
	fi
	return $code
}

for tool in "$@"; do
	echo "== $tool"
	case $tool in
	golangci-lint)
		there golangci-lint v2.7.2 github.com/golangci/golangci-lint/v2/cmd/golangci-lint || { skip "$tool" "it could not be built"; continue; }
		"$bin/golangci-lint" run --allow-parallel-runners ./... || failed=1
		;;
	gosec)
		# What is left out, and why, is in .gosec.
		there gosec v2.22.11 github.com/securego/gosec/v2/cmd/gosec || { skip "$tool" "it could not be built"; continue; }
		left=$(sed -nE 's/^(G[0-9]+).*/\1/p' .gosec | paste -sd,)
		# Without the variable gosec asks go list for the version of Go for each file.
		GOSECGOVERSION=$(go env GOVERSION) "$bin/gosec" -quiet ${left:+-exclude="$left"} -exclude-dir=test ./... || failed=1
		;;
	govulncheck)
		there govulncheck v1.1.4 golang.org/x/vuln/cmd/govulncheck || { skip "$tool" "it could not be built"; continue; }
		out=$("$bin/govulncheck" ./... 2>&1)
		code=$?
		if [ $code -ne 0 ] && ! echo "$out" | grep -q '^Vulnerability #'; then
			# The same reports are a module, which the proxy has.
			db=$(mktemp -d)
			dir=$(cd / && timeout 300 go mod download -json golang.org/x/vulndb@latest 2>/dev/null | sed -nE 's/^.*"Dir": "(.*)",$/\1/p')
			if [ -n "$dir" ] && go run ./test/vulndb "$dir" "$db"; then
				echo "with the reports of ${dir##*/}"
				out=$("$bin/govulncheck" -db "file://$db" ./... 2>&1)
				code=$?
			fi
			rm -rf "$db"
		fi
		echo "$out" | grep -vE '^ +#[0-9]+:' | tail -n 120
		if [ $code -ne 0 ] && ! echo "$out" | grep -q '^Vulnerability #'; then
			skip "$tool" "the database of vulnerabilities (vuln.go.dev) could not be read"
		elif [ $code -ne 0 ]; then
			echo "$out" | vulnerabilities | judge || failed=1
		else
			echo "nothing is known of what is called, with $(go env GOVERSION)"
		fi
		;;
	*)
		echo "there is no $tool: write golangci-lint, gosec or govulncheck"
		exit 2
		;;
	esac
done
[ ${#skipped[@]} -eq 0 ] || echo "*** NOT DONE: ${skipped[*]} ***"
exit $failed
