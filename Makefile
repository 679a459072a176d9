# Everything that can be done with this repository. `make help` lists it.

SHELL := /bin/bash
.DEFAULT_GOAL := help

TOOLS   := $(CURDIR)/.cache/bin
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
COMMIT  := $(shell git rev-parse HEAD 2>/dev/null)
LINKED  := github.com/shoal-p2p/shoal/internal/version
LDFLAGS := -s -w -X $(LINKED).number=$(VERSION) -X $(LINKED).commit=$(COMMIT)
NODES   ?= 3
SOAK    ?= 50

export PATH := $(TOOLS):$(PATH)

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

.PHONY: build
build: ## build bin/shoal
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/shoal ./cmd/shoal

.PHONY: demo
demo: build ## pull an image on NODES=3 nodes with real containerds, and show where the bytes came from
	hack/install demo
	go run ./integration/demo -nodes $(NODES)

.PHONY: test
test: tools ## all checks and tests that need no cluster: lint, docs, unit tests with the race detector, brief fuzzing
	$(MAKE) --no-print-directory lint check-generated
	hack/go-test -race ./...
	hack/go-test ./p2p/swarmsim # a swarm of 1,000 takes minutes under the race detector
	hack/fuzz 5000x
	hack/vulncheck

.PHONY: test-e2e
test-e2e: build ## black-box tests with real containerds and registries in network namespaces (root)
	hack/install e2e
	hack/go-test -tags e2e -count 1 -timeout 35m ./integration/...

.PHONY: soak
soak: build ## SOAK=50 pulls in a row into each containerd, in both ways, whose agent is killed at random moments (root)
	hack/install e2e
	SOAK_PULLS=$(SOAK) hack/go-test -tags e2e -count 1 -timeout 60m -v -run TestSoak ./integration

.PHONY: bench-node
bench-node: build ## one node against direct downloads, nginx and docker-registry
	hack/install bench
	go run ./integration/benchnode
	go test -run '^$$' -bench Pull ./supernode

.PHONY: bench-proxy
bench-proxy: build ## the forward proxy against tinyproxy, and how long certificates take
	hack/install bench
	go run ./integration/benchproxy
	go test -run '^$$' -bench Issue ./proxy/ca

.PHONY: bench-swarm
bench-swarm: build ## swarms on shaped links against one node alone, a registry and a cache (root); ARGS="-n 8" for one
	hack/install bench
	go run ./integration/benchswarm $(ARGS)

.PHONY: bench-containerd
bench-containerd: build ## the ways into containerd's content store against a plain pull (root); ARGS="-cases few-1" for one
	hack/install cluster
	go run ./integration/benchcontainerd $(ARGS)

.PHONY: bench-file
bench-file: build ## shoal get on 8 nodes at once against one node alone (root)
	hack/install bench
	go run ./integration/benchfile $(ARGS)

.PHONY: bench-disk
bench-disk: build ## what a download writes to the disk, against a plain one (root)
	hack/install bench
	go run ./integration/benchfile -disk $(ARGS)

.PHONY: lint
lint: tools ## gofumpt, go vet, golangci-lint
	@out=$$(gofumpt -l $$(git ls-files '*.go' | grep -v -E '\.pb\.go$$|\.connect\.go$$')); \
	if [ -n "$$out" ]; then echo "not formatted; run make fmt:"; echo "$$out"; exit 1; fi
	go vet -tags e2e ./...
	golangci-lint run
	@go -C contrib/containerd list -mod=readonly -deps . >/dev/null || { echo "run go mod tidy in contrib/containerd"; exit 1; }

.PHONY: fmt
fmt: tools ## format the code
	gofumpt -w $$(git ls-files '*.go' | grep -v -E '\.pb\.go$$|\.connect\.go$$')

.PHONY: generate
generate: tools ## regenerate the wire code and the references in docs
	buf generate
	go run ./cmd/shoal docs docs

.PHONY: check-generated
check-generated: generate ## fail if what is generated is not current
	@git diff --exit-code -- docs p2p/wire || { echo "run make generate and commit the result"; exit 1; }

.PHONY: fuzz
fuzz: ## run every fuzz target for a minute
	hack/fuzz 60s

.PHONY: tools
tools: ## install what builds and checks the code, into .cache/bin
	@hack/install tools

.PHONY: clean
clean: ## remove what was built and cached
	rm -rf bin .cache
