# make test       everything a fresh Debian machine can run; as root also the lab
# make test-slow  the long ones: big simulations, the model
# make model      the lease protocol, exhausted by Spin: model-check/README.md
# make check      format, linters, vet, unit tests: what to run before a commit
# make build      bin/keelson
# make demo       three hosts on this machine
# make bench      what the agents use at rest, printed
# make bench-decide   deciding beside Pacemaker's crm_simulate on the same cells
# make oracle     10,000 clusters decided on by both; ORACLE=n for others
# make bench-failover   failovers beside those of Pacemaker and keepalived; hours
# make histories  2,000 histories of the lease plane, 300 of whole nodes; HISTORIES=n, WHOLE=n for others
# make mutants    faults planted in the protocol, each found by the simulator
# make sim SEED=7 one history; what it breaks, shortened, with its trace

GO       ?= go
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS   = -s -w -X main.version=$(VERSION)
TOOLS     = $(CURDIR)/bin/tools
LAB_PKGS  = nginx-light
SLOW_PKGS = spin gcc libc6-dev

export CGO_ENABLED ?= 0

.PHONY: build demo check format lint vet proto proto-check proto-released unit race lab test test-slow bench bench-decide bench-failover oracle sim histories mutants model packages

build:
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/keelson ./cmd/keelson

demo: build
	bin/keelson demo

check: format vet lint proto-check unit

# The tools are pinned in modules of their own, so that what they need does not
# mix with what the product needs.
$(TOOLS)/golangci-lint: tools/lint/go.sum
	$(GO) build -C tools/lint -o $(TOOLS)/ github.com/golangci/golangci-lint/v2/cmd/golangci-lint mvdan.cc/gofumpt
$(TOOLS)/buf: tools/proto/go.sum go.sum
	$(GO) build -C tools/proto -o $(TOOLS)/ github.com/bufbuild/buf/cmd/buf
	$(GO) build -o $(TOOLS)/ google.golang.org/protobuf/cmd/protoc-gen-go connectrpc.com/connect/cmd/protoc-gen-connect-go

format: $(TOOLS)/golangci-lint
	@bad=$$($(TOOLS)/gofumpt -l cmd internal api/client test); \
	if [ -n "$$bad" ]; then echo "not formatted, run gofumpt -w:"; echo "$$bad"; exit 1; fi

vet:
	$(GO) vet ./...
	$(GO) vet -tags integration ./test/... ./internal/app/demo

lint: $(TOOLS)/golangci-lint
	$(TOOLS)/golangci-lint run ./...

# proto writes the generated code; proto-check fails if that would change it, or
# if the API breaks what was released: a method, field or value that is gone or has
# another number, name or type (api/released.binpb). proto-released takes today's API
# as what is released from now on; do that with each release.
proto: $(TOOLS)/buf
	PATH=$(TOOLS):$$PATH buf generate

proto-check: $(TOOLS)/buf
	PATH=$(TOOLS):$$PATH buf lint
	@rm -rf bin/_proto && mkdir -p bin/_proto
	@cp -r api buf.yaml buf.gen.yaml bin/_proto/ && cd bin/_proto && PATH=$(TOOLS):$$PATH buf generate && \
	diff -r api/keelson ../../api/keelson || { echo "generated code is old, run make proto"; exit 1; }
	PATH=$(TOOLS):$$PATH buf breaking --against api/released.binpb

proto-released: $(TOOLS)/buf
	PATH=$(TOOLS):$$PATH buf breaking --against api/released.binpb
	PATH=$(TOOLS):$$PATH buf build -o api/released.binpb

unit:
	$(GO) test ./...

race:
	CGO_ENABLED=1 $(GO) test -race ./...

# The lab needs root: it makes hosts out of namespaces. What failed is said once
# more at the end, since each failure prints much.
lab: SHELL := /bin/bash
lab: build
	@if [ "$$(id -u)" != 0 ]; then echo "SKIPPED: the lab tests need root"; exit 0; fi; set -o pipefail; \
	KEELSON_BINARY=$(CURDIR)/bin/keelson $(GO) test -tags integration -count=1 -timeout 60m -p 1 ./test/... ./internal/app/demo 2>&1 | tee bin/lab.log || { \
	  echo; echo "What failed in the lab (all of it is in bin/lab.log):"; \
	  grep -E -A4 '^ *--- FAIL|^panic:' bin/lab.log | cut -c1-300 | tail -n 60; exit 1; }

packages:
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  dpkg -s $(LAB_PKGS) gcc libc6-dev >/dev/null 2>&1 || { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $(LAB_PKGS) gcc libc6-dev; }; \
	else echo "SKIPPED: Debian packages are installed by root only; tests that need them say so"; fi

test: packages format vet lint proto-check race histories mutants lab

test-slow: test model oracle
	KEELSON_SIM_SEEDS=100000 $(GO) test -count=1 -timeout 6h -v -run Invariants ./internal/sim
	KEELSON_SIM_SEEDS=10000 $(GO) test -count=1 -timeout 6h -v -run Invariants ./internal/sim/whole

# The oracle is crm_simulate, which needs no daemon. The list of disagreements is
# written anew; KEELSON_CORPUS adds mutants of the incumbent's own cases.
ORACLE ?= 10000
ORACLE_PKGS = pacemaker-cli-utils
oracle:
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && ! command -v crm_simulate >/dev/null; then \
	  apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $(ORACLE_PKGS); \
	fi
	KEELSON_ORACLE=$(ORACLE) KEELSON_ORACLE_REPORT=$(CURDIR)/test/oracle/testdata/disagreements.txt \
	$(GO) test -count=1 -timeout 2h -v -run 'AgainstTheIncumbent' ./test/oracle
	KEELSON_ORACLE=1000 $(GO) test -count=1 -timeout 1h -v -run 'Mutants' ./test/oracle

# The least of several rounds, by processor and by clock.
bench-decide:
	$(GO) test -count=3 -run '^$$' -bench 'Placement|Succession|Decide' -benchtime 50x ./internal/core/decide
	KEELSON_BENCH_DECIDE=7 $(GO) test -count=1 -timeout 1h -v -run SpeedBeside ./test/oracle

model:
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && ! dpkg -s $(SLOW_PKGS) >/dev/null 2>&1; then \
	  apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $(SLOW_PKGS); \
	fi
	model-check/run.sh

bench: build
	KEELSON_BINARY=$(CURDIR)/bin/keelson $(GO) test -tags integration -count=1 -run '^$$' -bench AtRest -benchtime 1x ./test/...

# bench-failover goes on where it was interrupted. KEELSON_BENCH_DIR, _CONTESTANTS,
# _FAULTS, _TRIALS and _SECONDS choose; `bin/bench -help` says more. The daemons
# that it installs are not started on the machine itself.
RIVAL_PKGS = pacemaker corosync pcs resource-agents keepalived iproute2
bench-failover: build
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && ! dpkg -s $(RIVAL_PKGS) >/dev/null 2>&1; then \
	  policy=/usr/sbin/policy-rc.d; \
	  [ -e $$policy ] || { trap "rm -f $$policy" EXIT; printf '#!/bin/sh\nexit 101\n' >$$policy; chmod +x $$policy; }; \
	  apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $(RIVAL_PKGS); \
	fi
	$(GO) build -o bin/bench ./test/bench
	bin/bench -keelson bin/keelson

SEED ?= 1
sim:
	$(GO) run ./cmd/keelson simulate --from $(SEED) --seeds 1

# The race detector makes these ten times slower; `race` plays a part of them.
HISTORIES ?= 2000
WHOLE ?= 300
histories:
	KEELSON_SIM_SEEDS=$(HISTORIES) $(GO) test -count=1 -timeout 1h -v -run Invariants ./internal/sim
	KEELSON_SIM_SEEDS=$(WHOLE) $(GO) test -count=1 -timeout 1h -v -run Invariants ./internal/sim/whole

# The tag exists for this alone: no build of the product has it.
mutants:
	$(GO) vet -tags keelson_mutant ./internal/core/bound ./internal/core/detect ./internal/core/custody ./internal/core/lease ./internal/core/plane ./internal/core/supervise ./internal/sim/...
	$(GO) test -tags keelson_mutant -count=1 -timeout 1h -v -run Mutant ./internal/sim/...
