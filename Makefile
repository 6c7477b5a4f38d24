# `make help` lists what can be made.

GO      ?= go
BIN     := $(shell $(GO) env GOPATH)/bin
FUZZ    ?= 10s
PACKAGE := ./cmd/mailbeacon

GOLANGCI_LINT_VERSION := v2.15.0
GOVULNCHECK_VERSION   := v1.9.0

.PHONY: help build test test-short format lint vuln fuzz fuzz-long bench bench-open soak kill-long cluster-kill-long cluster-faults-long consent-long startup import-long people-long rivals-long engines engines-stop tools ci clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 22

build: ## build bin/mailbeacon
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/mailbeacon $(PACKAGE)

test: ## every test, with the race detector
	@$(GO) test -race -run '^$$' ./... >/dev/null # builds them side by side
	$(GO) test -race -p 1 -timeout 25m ./... # several start a broker or a database: one after the other

test-short: ## the quick tests
	$(GO) test -short ./...

format: ## format the code
	gofmt -w $$(git ls-files '*.go')

lint: tools ## formatting, vet, golangci-lint with the import rules
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$unformatted" || { echo "not formatted (make format): $$unformatted"; exit 1; }
	$(GO) vet ./...
	$(BIN)/golangci-lint run --allow-parallel-runners ./...

vuln: tools ## known vulnerabilities, where the database can be had
	@.ci/vuln $(BIN)/govulncheck

fuzz: ## every fuzz target for FUZZ each (10s)
	@.ci/fuzz $(FUZZ)

fuzz-long: ## every fuzz target for 10 minutes each
	@.ci/fuzz 10m

bench: ## mailbeacon beside bare fasthttp and nginx, one table
	$(GO) run ./bench compare

bench-open: ## mailbeacon at a fixed rate, latency from the intended time
	$(GO) run ./bench open

kill-long: ## SIGKILL at random moments, 500 times
	MAILBEACON_KILLS=500 $(GO) test -timeout 2h -count 1 -run 'TestKill' -v ./internal/proctest

cluster-kill-long: ## SIGKILL of edges, consumers, Kafka and ClickHouse at random moments, 100 times
	MAILBEACON_CLUSTER_KILLS=100 $(GO) test -timeout 2h -count 1 -run 'TestClusterKill' -v ./internal/proctest

cluster-faults-long: ## every other fault of a cluster ten times, Kafka out of reach for 2 minutes each
	MAILBEACON_CLUSTER_FAULTS=10 MAILBEACON_CLUSTER_OUTAGE=2m $(GO) test -timeout 4h -count 1 -run 'TestClusterFaults' -v ./internal/proctest

consent-long: ## refusals against recording over two edges with faults and a leaping clock: 100 histories, each checked for linearizability
	MAILBEACON_CONSENT_RUNS=100 $(GO) test -timeout 2h -count 1 -run 'TestClusterConsent' -v ./internal/proctest

soak: ## ten minutes of load, memory flat
	MAILBEACON_SOAK=10m $(GO) test -timeout 30m -count 1 -run 'TestSoak' -v ./internal/proctest

startup: ## start to ready with a million events waiting
	$(GO) test -timeout 10m -count 1 -run 'TestStart' -v ./internal/proctest

import-long: ## import 10 million refusals, with kills, and start again with them
	MAILBEACON_IMPORT=10000000 $(GO) test -timeout 30m -count 1 -run 'TestImport' -v ./internal/proctest

people-long: ## the table of choices at 10 million people: look-ups, growth, snapshot and start
	MAILBEACON_PEOPLE=10000000 $(GO) test -timeout 10m -count 1 -run 'TestGrowth|TestSnapshotAndStart' -bench 'Look$$|Grow' -v ./internal/consent

rivals-long: ## rival owners of a partition in ClickHouse, 100 kills of the engine for each protocol
	MAILBEACON_KILLS=100 $(GO) test -timeout 30m -count 1 -run 'TestRivalsUnderKill' -v ./ingest/clickhouse

engines: ## a Kafka and a ClickHouse on loopback; prints the settings to use it with
	@$(GO) run ./cmd/engines up

engines-stop: ## end what `make engines` started
	@$(GO) run ./cmd/engines down

tools: $(BIN)/golangci-lint $(BIN)/govulncheck

$(BIN)/golangci-lint:
	$(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION)

$(BIN)/govulncheck:
	$(GO) install golang.org/x/vuln/cmd/govulncheck@$(GOVULNCHECK_VERSION)

ci: ## what the continuous integration runs
	bash .ci/run

clean: ## remove what was built
	rm -rf bin
