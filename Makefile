# `make` alone tells what there is.
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
# Inputs, not seconds: a target that finds nothing may fail when its time is up
# (go.dev/issue/75804).
FUZZ ?= 20000
PKGS ?= work
# Those of the table; all others take a long time and have no target.
BENCH ?= ^Benchmark(Submission|BDAT|MessageMemory|Login|Lookup|IdleConnections|PassThrough|Queue|Accept|Log|Deliver|Server|Record)$$

# The race detector leaves out what is C translated to Go: it made SQLite four times as
# slow and can find nothing there that is ours. These two packages alone: others have
# generic code, of which the linker keeps one copy for all.
RACE = -race -gcflags=modernc.org/sqlite/lib=-race=false -gcflags=github.com/ncruces/go-sqlite3-wasm/v6=-race=false

.PHONY: help
help: ## show this
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

.PHONY: test
test: ## run the tests, without the slow ones
	go test work

.PHONY: long
long: ## run all tests, with each driver of each database
	GATEPOST_LONG=1 go test -timeout 30m work

.PHONY: race
race: ## run the tests of PKGS (all) with the race detector, in random order
	go test $(RACE) -shuffle=on -timeout 30m $(PKGS)

.PHONY: lint
lint: ## gofmt, vet, staticcheck, plain words, and tidy go.mod files
	@test -z "$$(gofmt -l . | tee /dev/stderr)"
	go vet work
	go run ./internal/plainwords
	go run $(STATICCHECK) ./... ./examples/... ./examples/opentelemetry/... ./internal/integration/...
	go mod tidy -diff
	cd examples && go mod tidy -diff
	cd examples/opentelemetry && go mod tidy -diff
	cd internal/integration && go mod tidy -diff

# What else has to compile: the library everywhere, the examples where people try
# them, and the tests of internal/integration, which need Unix, with 32 bits.
PLATFORMS = windows/amd64 darwin/arm64 freebsd/amd64 linux/386
VET_windows = ./... ./examples/...
VET_darwin = ./... ./examples/...
VET_freebsd = ./...
VET_linux = work

.PHONY: platforms
platforms: $(PLATFORMS:%=platform/%) ## vet for other platforms

platform/%:
	GOOS=$(*D) GOARCH=$(*F) CGO_ENABLED=0 go vet $(VET_$(*D))

.PHONY: fuzz
fuzz: ## run each fuzz target with FUZZ (20000) inputs
	@for pkg in $$(go list work); do \
		for target in $$(go test -list '^Fuzz' $$pkg | grep '^Fuzz'); do \
			echo "$$pkg $$target"; \
			go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZ)x -fuzzminimizetime 100x $$pkg || exit 1; \
		done; \
	done

.PHONY: bench
bench: ## run the benchmarks and print their ratios as one table
	@go test -run '^$$' -bench '$(BENCH)' -benchtime 5s work | go run ./internal/integration/benchtable
