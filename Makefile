# Needletail. `make` builds, `make test` tests, `make demo` shows; each installs what is missing first.
SHELL := /bin/bash
.DELETE_ON_ERROR:

PREFIX ?= /usr/local
DESTDIR ?=
CONFIGURATION ?= release
TEST_FLAGS ?=

BPF_CLANG ?= clang-14
CLANG_FORMAT ?= clang-format-14
BPF_INCLUDES := -Ibpf -isystem /usr/include/$(shell gcc -print-multiarch 2>/dev/null || echo x86_64-linux-gnu)
BPF_CFLAGS := -target bpf -mcpu=v3 -O2 -g -std=gnu11 -Wall -Wextra -Werror $(BPF_INCLUDES)
BPF_HEADERS := $(wildcard bpf/*.h bpf/abi/*.h bpf/abi/*/*.h)
BPF_OBJECTS := bpf/out/needletail.bpf.o bpf/out/bench.bpf.o
BPF_FIXTURES := $(patsubst Tests/BPFTests/fixtures/%.bpf.c,bpf/out/%.bpf.o,$(wildcard Tests/BPFTests/fixtures/*.bpf.c))

PROGRAMS := needletail-agent needletail needletail-bench
# The runtime goes into the binary: one file is all a node needs.
RELEASE_FLAGS := -c release --static-swift-stdlib
C_SOURCES = $(shell git ls-files --cached --others --exclude-standard '*.c' '*.h')

.PHONY: all build bpf test demo bench lint format install clean dependencies completions

all: build

dependencies:
	@scripts/install-dependencies

bpf: dependencies $(BPF_OBJECTS)

bpf/out/%.bpf.o: bpf/%.bpf.c $(BPF_HEADERS) Makefile
	@mkdir -p bpf/out
	$(BPF_CLANG) $(BPF_CFLAGS) -c $< -o $@

bpf/out/%.bpf.o: Tests/BPFTests/fixtures/%.bpf.c Makefile
	@mkdir -p bpf/out
	$(BPF_CLANG) $(BPF_CFLAGS) -c $< -o $@

build: bpf
	swift build -c $(CONFIGURATION) $(if $(filter release,$(CONFIGURATION)),--static-swift-stdlib)
