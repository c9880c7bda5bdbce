#!/usr/bin/env bash
# go-ldap, the LDAP client of most Go programs.
set -euo pipefail
exec go run ./test/interop/goldap
