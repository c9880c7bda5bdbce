# Portolan: make run, make test. Everything else is for those who change it.

GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X portolan/internal/cli.version=$(VERSION)
export CGO_ENABLED ?= 0

# The toolchain that go.mod names, where it can be had; "make GOTOOLCHAIN=local" builds with the Go that is installed.
ifeq ($(origin GOTOOLCHAIN),undefined)
GOTOOLCHAIN := $(shell GO='$(GO)' test/toolchain.sh)
endif
export GOTOOLCHAIN

FUZZTIME ?= 10s

.PHONY: all build run test vet race lint vuln bench bench-compare fuzz interop chaos holes clean

all: build

build:
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/portolan ./cmd/portolan

# run builds the server and starts an example directory on loopback.
run: build
	./bin/portolan demo

# test is the whole suite: format, vet, the import policy, all tests.
test: vet
	$(GO) test -timeout 15m ./...

vet:
	@out=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$out" ]; then echo "not gofmt-ed, run gofmt -w:"; echo "$$out"; exit 1; fi
	$(GO) vet ./...

# race runs the tests of what is concurrent under the race detector.
race:
	CGO_ENABLED=1 $(GO) test -race -short -timeout 30m ./internal/... ./ldap ./ldif ./ber

# lint analyses the source with golangci-lint and gosec, in the versions that test/lint.sh names; it builds them where they are missing.
lint:
	@test/lint.sh golangci-lint gosec

# vuln looks for known vulnerabilities in what is used, where vuln.go.dev can be reached.
vuln:
	@test/lint.sh govulncheck

# fuzz runs every fuzz target for FUZZTIME.
fuzz:
	@test/fuzz.sh $(FUZZTIME)

# interop installs third-party clients where they are missing and runs them against a real server.
interop: build
	test/interop/run.sh

# chaos kills the real binary under load, fills its disk, and verifies what it acknowledged.
chaos: build
	PORTOLAN_CHAOS=full $(GO) test -count=1 -timeout 30m -v ./test/chaos

# holes turns each defence off in turn and demands that its test fails; see test/holes.
holes:
	@bash -o pipefail -c "$(GO) test -v -count=1 -timeout 60m ./test/holes -run TestWithoutDefences -off | grep -vE '^(=== | *--- PASS)'"

# bench compares Portolan with slapd, which it installs where it is missing; see test/bench/run.sh.
bench: build
	test/bench/run.sh

# bench-compare compares the Go benchmarks with those of the commit before; see test/bench/compare.sh.
bench-compare:
	test/bench/compare.sh

clean:
	rm -rf bin
