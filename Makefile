# Countersign. `make help` lists every target; continuous integration runs the
# same ones (.ci/run).

SHELL := /bin/bash
.DEFAULT_GOAL := help

# What a long run does on top of the tests.
FUZZTIME ?= 30s

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## build the services and the command line into bin/
	go build -trimpath -o bin/ ./services/...

.PHONY: demo
demo: prerequisites build ## run five processes on a private PostgreSQL and show what they sign and refuse
	go run ./internal/demo -bin bin

.PHONY: test
test: prerequisites race ## test everything with the race detector
	go test -race -timeout 20m ./...

.PHONY: test-long
test-long: prerequisites race ## every test at full length (writes docs/reliability.md), then each fuzz test for FUZZTIME
	COUNTERSIGN_LONG=1 COUNTERSIGN_RELIABILITY=$(CURDIR)/docs/reliability.md \
		go test -race -count=1 -parallel 6 -timeout 60m ./...
	scripts/fuzz $(FUZZTIME)

.PHONY: bench
bench: prerequisites build ## measure latency, throughput, memory, history, replicas into bench.json (8 minutes, 24 GiB)
	go run ./internal/bench

.PHONY: bench-quick
bench-quick: prerequisites build ## the figures of one deployment, less exact, in under 50 s
	go run ./internal/bench -quick

.PHONY: lint
lint: bin/golangci-lint ## check format, vet and the linter's rules, the import rules among them
	@test -z "$$(gofmt -l . | tee /dev/stderr)" || { echo "next: make fmt"; exit 1; }
	go vet ./...
	bin/golangci-lint run ./...

.PHONY: fmt
fmt: ## format the Go files
	gofmt -w .

.PHONY: clean
clean: ## remove what was built
	rm -rf bin bench.json

.PHONY: prerequisites
prerequisites:
	@scripts/prerequisites postgresql

.PHONY: race
race:
	@scripts/prerequisites gcc

bin/golangci-lint: scripts/golangci-lint
	scripts/golangci-lint
