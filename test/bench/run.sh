#!/usr/bin/env bash
# Runs the Go benchmarks: the pieces of the hot path, and the server over loopback.
set -euo pipefail
cd "$(dirname "$0")/../.."
go test -run '^$' -bench . -benchmem -benchtime "${BENCHTIME:-1s}" ./ldap ./internal/schema ./internal/dit ./internal/access ./internal/audit ./internal/store ./internal/session ./test/bench
