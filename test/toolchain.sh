#!/usr/bin/env bash
# Prints the value of GOTOOLCHAIN with which make and CI build: the toolchain that go.mod names, which has the mended standard
# library, where the Go that is installed is older and that one is there or can be fetched; else "local", and standard error says
# what is missing. A GOTOOLCHAIN in the environment is somebody's wish and is printed as it is.
set -uo pipefail
cd "$(dirname "$0")/.."

if [ -n "${GOTOOLCHAIN:-}" ]; then
	echo "$GOTOOLCHAIN"
	exit 0
fi
have=$(GOTOOLCHAIN=local "${GO:-go}" env GOVERSION) || { echo local; exit 0; }
# "auto" takes the newer of the two. About 70 MB are fetched the first time.
if want=$(GOTOOLCHAIN=auto timeout 180 "${GO:-go}" env GOVERSION 2>/dev/null) && [ -n "$want" ]; then
	[ "$want" = "$have" ] && echo local || echo "$want"
	exit 0
fi
named=$(sed -nE 's/^toolchain (go[0-9.]+)$/\1/p' go.mod)
echo "*** $have builds this: ${named:-the toolchain of go.mod}, which mends known holes of its standard library, cannot be fetched here ***" >&2
echo local
