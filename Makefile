# Rollcall. `make` builds and tests; `make demo` shows the main job.
# Everything lands in this checkout (bin, .rollcall, out) and in the caches of
# go, npm and mvn.

SHELL      := /bin/bash
.SHELLFLAGS := -o pipefail -c
export CGO_ENABLED := 0
VERSION    := $(shell git describe --always --dirty 2>/dev/null || echo unknown)
LDFLAGS    := -s -w -X main.version=$(VERSION)
FUZZTIME   ?= 10s
BENCHCOUNT ?= 10

.PHONY: all build setup clients demo test lint generate bench bench-archive fuzz race clean

all: build test

build: ## the binaries, in bin/
	@mkdir -p bin
	go build -ldflags '$(LDFLAGS)' -o bin/ ./cmd/...

setup: build ## the engines: Kafka, Postgres, ClickHouse
	go run ./deploy/local/install

clients: ## the XMPP client library of the demo
	@cd deploy/e2e/demo && if [ node_modules -nt package-lock.json ]; then :; else echo "npm ci: the demo's clients"; npm ci --no-audit --no-fund --loglevel=error && touch node_modules; fi

demo: setup clients ## the main job, told step by step; KEEP=1 leaves it running
	node deploy/e2e/demo/demo.js $(if $(KEEP),--keep)

test: setup ## every test, on real engines too
	go test -timeout 30m ./...

lint: ## format, vet, staticcheck, protobuf rules, import rule, go.mod
	bash .ci/lint

generate: ## Go code from the .proto files
	go -C .ci/buf build -o "$(CURDIR)/bin/.buf" github.com/bufbuild/buf/cmd/buf
	bin/.buf generate

bench: setup ## ten runs of every benchmark, into out/bench.txt
	@mkdir -p out
	go test -run '^$$' -bench . -benchmem -count $(BENCHCOUNT) -timeout 3h ./... | tee out/bench.txt
	go tool benchstat out/bench.txt

bench-archive: setup ## pages, search and counters over 20 million generated events
	go test ./edge/archive -run '^$$' -bench Generated -benchtime 200x -archive.records 20000000 -timeout 2h

fuzz: ## every fuzz target for FUZZTIME
	@set -e; for p in $$(go list ./...); do \
	  for f in $$(go test -list '^Fuzz' $$p | grep '^Fuzz' || true); do \
	    echo "$$p $$f"; go test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x $$p; done; done

race: setup ## every test under the race detector (needs a C compiler)
	CGO_ENABLED=1 go test -race -timeout 60m ./...

clean: ## what was built; the engines in .rollcall stay
	rm -rf bin out deploy/e2e/demo/node_modules deploy/e2e/clients/*/node_modules
