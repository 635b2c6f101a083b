# miOS: what a person types. Needs Go; Debian packages are installed by run and
# test when they are missing (scripts/install.sh).

# A tool of Debian's may be where only root's PATH leads.
export PATH := $(PATH):/usr/sbin:/sbin
# Where the programs go; tests that boot put them in a folder of their own.
BIN ?= bin
# Which figures make bench prints, as go test's -bench.
BENCH ?= .
# How many seeds of power cuts make soak runs.
SEEDS ?= 50
# All that running the story leaves.
OUT ?= out
# Where tests and scripts find the programs.
export MIOS_PROGRAMS := $(abspath $(BIN))
# Nothing that is built depends on where, when, from which commit or for which
# newer processor.
BUILD := CGO_ENABLED=0 GOAMD64=v1 GOARM64=v8.0 GOEXPERIMENT= go build -trimpath -buildvcs=false -ldflags "-s -w -buildid="
# Packages whose tests boot QEMU run by themselves, one after the other.
VM := ./emulator $(patsubst %,./%/...,$(wildcard test/qemu))
REST = $(filter-out $(shell go list $(VM)),$(shell go list ./...))
# Packages that have goroutines, in their code or their tests, run once more with
# the race detector: what is large there is short, and all of it runs without.
RACE = ./storage/... $(addprefix ./,$(sort $(dir $(shell grep -rlE --include=*.go \
	'^\s*go |[.]Go\>|"sync|"net/http"' api build cmd desk device format internal key publish serve))))

.PHONY: help build run check lint test soak bench fuzz vuln clean

help:
	@echo "make run [ONCE=1]  build all, and show a device from its keys to its first update"
	@echo "make build         mios and the device's programs, in bin/"
	@echo "make check         what is quick: formatting, vet, staticcheck, tests without QEMU"
	@echo "make test          every test; boots QEMU"
	@echo "make soak          power cuts by 50 seeds, or SEEDS=n: hours"
	@echo "make bench         figures"
	@echo "make fuzz          every fuzz target; COUNT=n inputs each"
	@echo "make lint          formatting, vet, staticcheck"
	@echo "make vuln          known vulnerabilities of dependencies; needs a network"
	@echo "make clean         remove what the others made, development keys included"

# miosd is the device's, for each architecture; -ramdisk is the loader and the
# first stage alone.
build:
	@echo "building $(BIN)/ (the first time takes a minute)"
	@$(BUILD) -o $(BIN)/mios ./cmd/mios
	@GOOS=linux GOARCH=amd64 $(BUILD) -o $(BIN)/miosd-amd64 ./cmd/miosd
	@GOOS=linux GOARCH=arm64 $(BUILD) -o $(BIN)/miosd-arm64 ./cmd/miosd
	@GOOS=linux GOARCH=amd64 $(BUILD) -tags ramdisk -o $(BIN)/miosd-ramdisk-amd64 ./cmd/miosd
	@GOOS=linux GOARCH=arm64 $(BUILD) -tags ramdisk -o $(BIN)/miosd-ramdisk-arm64 ./cmd/miosd

run: build
	@scripts/install.sh
	@exec $(BIN)/mios up --out $(OUT) $(if $(ONCE),--once)

lint:
	@unformatted=$$(find . -path ./out -prune -o -name '*.go' -print | xargs gofmt -l); \
		[ -z "$$unformatted" ] || { echo "run gofmt -w on:"; echo "$$unformatted"; exit 1; }
	@go vet ./...
	@go vet -tags ramdisk ./cmd/miosd
	@go tool staticcheck ./...
	@go tool staticcheck -tags ramdisk ./cmd/miosd

check: lint
	@go test -count=1 .
	@go test -short ./...

# A program with the race detector in it would sleep for a second as it ends, and
# the tests start hundreds; hence GORACE.
test: build
	@scripts/install.sh --tests
	@mkdir -p out && rm -f out/conformance.txt
	@export MIOS_TALLY=$(CURDIR)/out/conformance.txt; status=0; \
		echo "go test, without QEMU"; \
		go test -count=1 -timeout 20m $(REST) || status=1; \
		echo "go test -race -short, of what has goroutines"; \
		MIOS_CONFORMANCE= MIOS_TALLY= GORACE=atexit_sleep_ms=10 go test -race -short -vet=off -count=1 -timeout 20m $(RACE) || status=1; \
		echo "go test, with QEMU"; \
		scripts/vm-tests.sh $(VM) || status=1; \
		[ ! -f out/conformance.txt ] || sort out/conformance.txt; \
		exit $$status

soak: build
	@scripts/install.sh --tests
	MIOS_SOAK=$(SEEDS) nice go test -v -count=1 -timeout 24h -run 'TestKill|TestProcesses' ./publish/app
	MIOS_SOAK=$(SEEDS) nice go test -v -count=1 -timeout 24h -run TestPowerCut ./test/qemu

bench: build
	@scripts/install.sh --tests
	go test -run '^$$' -bench '$(BENCH)' -benchtime 1x -count 1 -p 1 -timeout 2h ./test/bench/...

fuzz:
	@scripts/fuzz.sh $(COUNT)

vuln:
	go run golang.org/x/vuln/cmd/govulncheck@v1.1.4 ./...

clean:
	rm -rf $(BIN) $(OUT)
