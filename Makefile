# The only entry point: people and CI use the same verbs. `make` alone lists them.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

include tools/versions.mk

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TOOLS := .tools
NODE_BIN := $(TOOLS)/node/node_modules/.bin
BUF := $(NODE_BIN)/buf
NODE_HOST := clients/typescript/node_modules/.installed
PYTEST := $(BIN)/python -m pytest
PYTEST_ARGS ?=
# As many processes as processors; a file's tests stay together, since they share servers. PYTEST_ARGS=-n0: one process.
PARALLEL := -n auto --dist loadfile

##@ Use

.PHONY: help
help: ## List the verbs
	@awk 'BEGIN {FS = ":.*## "} /^##@ / {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' Makefile

.PHONY: setup
setup: $(VENV)/.installed ## Make .venv with the server, the SDK and what the tests need

.PHONY: demo
demo: setup $(NODE_HOST) ## Watch an order survive kill -9, wait for a person, and end
	$(BIN)/python -m tests.e2e.demo

.PHONY: run
run: setup ## A server, a demo worker and the live ledger in one terminal
	$(BIN)/perdure dev

##@ Test

.PHONY: test
test: setup ## The tests that need nothing but Python
	$(PYTEST) $(PARALLEL) -m "not long and not node and not postgres" --ignore=tests/conformance --ignore=tests/differential --ignore=tests/robustness $(PYTEST_ARGS)

.PHONY: contract
contract: setup ## The suite that defines a storage backend, on every store
	$(PYTEST) tests/contract $(PARALLEL) -m "not long" $(PYTEST_ARGS)

.PHONY: postgres
postgres: setup ## What needs a PostgreSQL: the store, replicas, restarts of the database
	$(PYTEST) tests $(PARALLEL) -m "postgres and not long and not node" --ignore=tests/differential --ignore=tests/robustness $(PYTEST_ARGS)

.PHONY: differential
differential: setup ## One random stream of calls, crashes and clock jumps through every store: all must answer alike
	$(PYTEST) tests/differential -n auto -m "not long" $(PYTEST_ARGS)

.PHONY: conformance
conformance: setup $(NODE_HOST) ## The clients' exam: hosts in other languages against a real server
	$(PYTEST) tests -m "node and not long" $(PYTEST_ARGS)

.PHONY: robustness
robustness: setup ## Crash enumeration, network and disk faults, traces, seeded mutants: the bounded part
	$(PYTEST) tests/robustness -m "not long" --ignore=tests/robustness/test_kill_loop.py $(PYTEST_ARGS)

.PHONY: kill-loop
kill-loop: setup ## Load by real clients while servers and workers are killed, for three minutes; then the checker
	$(PYTEST) tests/robustness/test_kill_loop.py -m "not long" $(PYTEST_ARGS)

.PHONY: robustness-long
robustness-long: setup ## The same and the kill loop without bounds (all mutants, half an hour a store); hours
	$(PYTEST) tests/robustness tests/differential -m long --timeout=0 $(PYTEST_ARGS)

.PHONY: bench
bench: setup ## Throughput and latency beside a bare skeleton in the same run
	$(BIN)/python -m tests.bench $(BENCH_ARGS)

.PHONY: bench-single
bench-single: setup ## Timers, a long run, fan-out, restart and idle streams, each measured once
	$(BIN)/python -m tests.bench.single $(BENCH_ARGS)

##@ Check

.PHONY: fmt
fmt: setup $(TOOLS)/node/.installed ## Format Python and the contract
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .
	$(BUF) format proto -w

.PHONY: lint
lint: setup $(TOOLS)/node/.installed ## Style, layers, and the contract's lint and compatibility
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --config pyproject.toml
	$(BUF) lint proto
	$(BUF) format proto --diff --exit-code
	@release=$$(awk '!/^(#|$$)/ {line = $$2} END {print line}' RELEASES); \
	if [ -z "$$release" ]; then echo "buf breaking: nothing released yet, nothing to compare with"; \
	elif [ "$$(git rev-parse --is-shallow-repository)" = true ] && ! git cat-file -e "$$release^{commit}" 2>/dev/null; \
	then echo "buf breaking: NOT CHECKED, this clone is shallow and lacks $$release"; \
	else echo "buf breaking: against $$release"; $(BUF) breaking proto --against ".git#ref=$$release,subdir=proto"; fi

.PHONY: types
types: setup $(TOOLS)/node/.installed ## Type check (pyright, strict)
	$(NODE_BIN)/pyright --pythonpath $(BIN)/python --warnings

.PHONY: verify
verify: setup gen-tools ## Regenerate what is generated and compare it with what is committed
	$(BIN)/python -m tools.verify_generated
	$(BIN)/python -m tools.state_machine --check

.PHONY: ci
ci: ## What CI runs
	bash .ci/run

##@ Generate

.PHONY: gen
gen: setup gen-tools ## Regenerate the contract's code in five languages, and the state machine's page
	$(BUF) generate proto --template proto/buf.gen.yaml
	$(BIN)/python -m tools.state_machine

.PHONY: gen-tools
gen-tools: $(TOOLS)/node/.installed $(TOOLS)/codegen/.installed $(TOOLS)/bin/.go $(TOOLS)/bin/.java $(TOOLS)/bin/.rust ## Install the generators into .tools

# What is installed, each behind a stamp, so that a second call costs nothing.

$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	PIP_CONSTRAINT="$(CURDIR)/constraints.txt" $(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[server,postgres,test,dev]'
	touch $@

$(TOOLS)/node/.installed: tools/package.json
	mkdir -p $(@D)
	cp tools/package.json $(@D)/package.json
	npm install --prefix $(@D) --no-package-lock --no-audit --no-fund --loglevel=error
	touch $@

# What a Node program needs beside the generated code: protobuf and a gRPC transport.
$(NODE_HOST): clients/typescript/package.json
	npm install --prefix clients/typescript --no-package-lock --no-audit --no-fund --loglevel=error
	touch $@

$(TOOLS)/codegen/.installed: tools/python-codegen.txt
	rm -rf $(@D)
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -r tools/python-codegen.txt
	touch $@

$(TOOLS)/bin/.go: clients/go/go.mod clients/go/go.sum
	mkdir -p $(@D)
	cd clients/go && GOBIN="$(CURDIR)/$(@D)" go install tool
	touch $@

# protoc and grpc-java publish executables per platform under these names.
JAVA_PLATFORM := $(subst Darwin,osx,$(subst Linux,linux,$(shell uname -s)))-$(subst arm64,aarch_64,$(subst aarch64,aarch_64,$(shell uname -m)))
MAVEN_COPY = mvn -B -q org.apache.maven.plugins:maven-dependency-plugin:$(MAVEN_DEPENDENCY_PLUGIN_VERSION):copy -DoutputDirectory=$(@D)/java

$(TOOLS)/bin/.java: tools/versions.mk
	mkdir -p $(@D)
	$(MAVEN_COPY) -Dartifact=com.google.protobuf:protoc:$(PROTOC_JAVA_VERSION):exe:$(JAVA_PLATFORM)
	$(MAVEN_COPY) -Dartifact=io.grpc:protoc-gen-grpc-java:$(GRPC_JAVA_VERSION):exe:$(JAVA_PLATFORM)
	install -m 755 $(@D)/java/protoc-$(PROTOC_JAVA_VERSION)-$(JAVA_PLATFORM).exe $(@D)/protoc-java
	install -m 755 $(@D)/java/protoc-gen-grpc-java-$(GRPC_JAVA_VERSION)-$(JAVA_PLATFORM).exe $(@D)/protoc-gen-grpc-java
	touch $@

$(TOOLS)/bin/.rust: tools/versions.mk
	mkdir -p $(@D)
	cargo install --quiet --locked --root $(TOOLS) --target-dir $(TOOLS)/cargo-target \
		protoc-gen-prost@$(PROTOC_GEN_PROST_VERSION) protoc-gen-tonic@$(PROTOC_GEN_TONIC_VERSION)
	rm -rf $(TOOLS)/cargo-target
	touch $@
