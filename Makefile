# Two commands matter to a newcomer: make demo, make test.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules --no-print-directory

export GOFLAGS ?= -buildvcs=false
TOOL := go tool -modfile=.tools/tools.mod
BUF := $(TOOL) buf
# Debian's packages that are used and may be missing, as program=package.
DEBIAN := redis-server=redis-server gcc=gcc npm=npm python3=python3 git=git curl=curl chromium=chromium

.PHONY: help
help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: deps build lab ## run CloudOptim on a laptop-sized AWS and EKS; CLUSTER=dump.json tries your own, DEMO_EXIT=1 ends by itself
	@exec bin/lab demo $(if $(CLUSTER),--cluster "$(CLUSTER)") $(if $(DEMO_EXIT),--exit) $(if $(REPORT),--report "$(REPORT)")

.PHONY: test
test: deps build lab ## all tests, the end-to-end stories included
	go test ./...
	go test -tags e2e -count=1 -timeout 45m ./services/e2e/...

# The tests in files soak_test.go, and only they: each takes a minute or more.
.PHONY: soak
soak: deps build lab ## the failures that take minutes: ten thousand agents, thousands of pods, bursts
	@files=$$(git ls-files '*soak_test.go'); \
	tests=$$(sed -n 's/^func \(Test[A-Za-z0-9_]*\)(.*/\1/p' $$files | paste -sd'|'); \
	go test -tags soak -count=1 -p 1 -timeout 25m -run "^($$tests)\$$" $$(dirname $$files | sort -u | sed 's,^,./,')

.PHONY: check
check: generate clean-tree lint breaking test soak ## what CI runs: generate, clean tree, lint, breaking, test, soak

.PHONY: build
build: ui ## the binaries, into bin/
	@mkdir -p bin
	go build -tags ui -o bin/ ./services/central ./services/ml ./services/agent ./services/lab

# What was built from the same sources is not built again; the stamps lie outside git.
WEB := services/central/web
.PHONY: ui
ui: ## the admin UI: types, lint, tests, and its files into services/central/web/dist
	@cd $(WEB); mkdir -p .vite; \
	sum() { LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum; }; \
	now=$$(find . \( -name node_modules -o -name dist -o -name .vite \) -prune -o -type f -print0 | sum); \
	if [ -f dist/index.html ] && [ "$$now" = "$$(cat .vite/built 2>/dev/null)" ]; then exit 0; fi; \
	packages=$$(printf '%s\0' package.json package-lock.json .npmrc | sum); \
	if [ ! -d node_modules ] || [ "$$packages" != "$$(cat .vite/installed 2>/dev/null)" ]; then \
		npm ci --prefer-offline --loglevel=error; echo "$$packages" >.vite/installed; \
	fi; \
	npm run -s typecheck; npm run -s lint; npm run -s test; npm run -s build; \
	echo "$$now" >.vite/built

.PHONY: lab
lab: build ## the lab's heavy parts, cached outside the tree
	@bin/lab build

.PHONY: deps
deps: ## what the project needs from outside: Debian packages, PostgreSQL
	@missing=""; \
	for pair in $(DEBIAN); do command -v "$${pair%%=*}" >/dev/null || missing="$$missing $${pair##*=}"; done; \
	python3 -c 'import ensurepip, venv' 2>/dev/null || missing="$$missing python3-venv"; \
	if [ -n "$$missing" ]; then \
		echo "installing$$missing"; \
		sudo=""; [ "$$(id -u)" = 0 ] || sudo=sudo; \
		$$sudo apt-get update -qq && DEBIAN_FRONTEND=noninteractive $$sudo apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	fi
	@go run ./pkg/pgembed/install

.PHONY: generate
generate: ## everything under gen/, from proto/ and db/
	go run -modfile=.tools/tools.mod proto/third_party/vendor.go
	$(BUF) generate
	$(BUF) generate --template .tools/openapi.central.yaml
	$(BUF) generate --template .tools/openapi.ml.yaml
	$(TOOL) sqlc generate
	node $(WEB)/scripts/schema.mjs

.PHONY: clean-tree
clean-tree: # generated code is committed as it is generated
	@test -z "$$(git status --porcelain gen proto $(WEB)/src/api/schema.ts | tee /dev/stderr)" || { echo "generated code differs from what is committed"; exit 1; }

.PHONY: lint
lint: ## Go, proto and SQL
	go tool -modfile=.tools/lint.mod golangci-lint run ./...
	$(BUF) lint
	$(BUF) format -d --exit-code --path proto/cloudoptim
	$(TOOL) sqlc vet

# Since the last release, or else since the commit before: agents in the field
# must understand a newer central.
AGAINST ?= $(shell git describe --tags --abbrev=0 --match 'v*' 2>/dev/null || git rev-parse -q --verify HEAD~1)
.PHONY: breaking
breaking: ## the contract stays compatible
	$(if $(AGAINST),$(BUF) breaking --against '.git#ref=$(AGAINST)',@echo "no earlier commit to compare with")

.PHONY: bench
bench: deps build lab ## the figures in services/bench
	go run ./services/bench
