# Needletail. `make` builds, `make test` tests, `make demo` shows; each installs what is missing first.
SHELL := /bin/bash
.DELETE_ON_ERROR:

PREFIX ?= /usr/local
DESTDIR ?=
CONFIGURATION ?= release
# Passed on to `swift test`, such as TEST_FLAGS='--filter Resolver'.
TEST_FLAGS ?=
# How many tests may have begun and not ended. Swift's pool has a thread per processor, and a test that computes or blocks
# holds one: with as many tests as processors one that waits for a server in the same process is never without.
TEST_WIDTH ?= $(shell nproc)

BPF_CLANG ?= clang-14
CLANG_FORMAT ?= clang-format-14
MULTIARCH = $(shell gcc -print-multiarch)
# A program has the parameter its hook gives it, used or not.
BPF_CFLAGS = -target bpf -mcpu=v3 -O2 -g -std=gnu11 -Wall -Wextra -Werror -Wno-unused-parameter -Ibpf -isystem /usr/include/$(MULTIARCH)
BPF_HEADERS := $(wildcard bpf/*.h bpf/abi/*.h bpf/abi/*/*.h)
BPF_OBJECTS := $(patsubst bpf/%.bpf.c,bpf/out/%.bpf.o,$(wildcard bpf/*.bpf.c))
BPF_FIXTURES := $(patsubst Tests/BPFTests/fixtures/%.bpf.c,bpf/out/%.bpf.o,$(wildcard Tests/BPFTests/fixtures/*.bpf.c))

PROGRAMS := needletail-agent needletail needletail-bench
# The demo runs the real programs, beside its own.
DEMO_PROGRAMS := needletail-agent needletail needletail-demo
# Such as DEMO_FLAGS=--quick.
DEMO_FLAGS ?=
# Where `make bench` leaves its results, and what it measures.
BENCH_OUT ?= .build/bench
BENCH_FLAGS ?= --flows 1,64k --services 1,1000 --families v4 --duration 100ms
# The Swift runtime goes into the binary: one file is all a node needs.
BUILD_FLAGS = -c $(CONFIGURATION) $(if $(filter release,$(CONFIGURATION)),--static-swift-stdlib)
# How many seeds `make fuzz` runs, 0 for no end; the first, none for a random one; and the steps of each.
FUZZ_SEEDS = 0
FUZZ_SEED =
FUZZ_STEPS = 20000
BUILT = .build/$(CONFIGURATION)
# For what needs root, when we are not.
SUDO = $(if $(filter-out 0,$(shell id -u)),sudo)
SHARE = $(DESTDIR)$(PREFIX)/share
C_SOURCES = $(shell git ls-files '*.c' '*.h')

.PHONY: all build bpf test fuzz demo bench lint format install clean dependencies

all: build

dependencies:
	@scripts/install-dependencies

bpf: dependencies
	@$(MAKE) --no-print-directory $(BPF_OBJECTS)

bpf/out/%.bpf.o: bpf/%.bpf.c $(BPF_HEADERS) Makefile
	@mkdir -p bpf/out
	$(BPF_CLANG) $(BPF_CFLAGS) -c $< -o $@

bpf/out/%.bpf.o: Tests/BPFTests/fixtures/%.bpf.c Makefile
	@mkdir -p bpf/out
	$(BPF_CLANG) $(BPF_CFLAGS) -c $< -o $@

build: bpf
	swift build $(BUILD_FLAGS)

# Needs root: most of it runs on the real kernel, in namespaces of its own. Ends with
# how many tests were skipped and why, and then the test runner's summary.
test: bpf lint
	@$(MAKE) --no-print-directory $(BPF_FIXTURES)
	swift build --build-tests
	@set -o pipefail; status=0; \
	swift test --skip-build --disable-xctest \
	  --experimental-maximum-parallelization-width $(TEST_WIDTH) $(TEST_FLAGS) 2>&1 \
	  | tee .build/test.log | sed -u '/Test run with /d' || status=$$?; \
	sed -n 's/.* Test .* skipped/skipped/p' .build/test.log | sort | uniq -c; \
	grep 'Test run with ' .build/test.log; exit $$status

# Random packets through programs and model, seed after seed, until they do not agree (or Ctrl-C). A failure names its
# seed: `make fuzz FUZZ_SEED=1234 FUZZ_SEEDS=1` runs it again.
fuzz: bpf
	@$(MAKE) --no-print-directory $(BPF_FIXTURES)
	swift build --build-tests
	NEEDLETAIL_FUZZ_SEED=$(FUZZ_SEED) NEEDLETAIL_FUZZ_SEEDS=$(FUZZ_SEEDS) NEEDLETAIL_FUZZ_STEPS=$(FUZZ_STEPS) \
	  swift test --skip-build --disable-xctest --filter DifferentialTests

# Network namespaces and BPF need root; building does not.
demo: bpf
	set -e; for program in $(DEMO_PROGRAMS); do swift build $(BUILD_FLAGS) --product $$program; done
	$(SUDO) $(BUILT)/needletail-demo $(DEMO_FLAGS)

# All suites with small settings, in some minutes; what came out stays in $(BENCH_OUT) as a document and as a page.
bench: bpf
	set -e; for program in needletail-bench needletail-agent; do swift build $(BUILD_FLAGS) --product $$program; done
	@mkdir -p $(BENCH_OUT) && rm -f $(BENCH_OUT)/bench.json $(BENCH_OUT)/bench.html
	status=0; $(SUDO) $(BUILT)/needletail-bench run all $(BENCH_FLAGS) -o json --output-file $(BENCH_OUT)/bench.json \
	  || status=$$?; \
	if [ -f $(BENCH_OUT)/bench.json ]; then \
	  $(BUILT)/needletail-bench report $(BENCH_OUT)/bench.json -o html --output-file $(BENCH_OUT)/bench.html && \
	  $(BUILT)/needletail-bench report $(BENCH_OUT)/bench.json && \
	  echo "Also in $(BENCH_OUT)/bench.json and $(BENCH_OUT)/bench.html"; \
	fi; exit $$status

lint: dependencies
	swift format lint --strict --parallel -r Package.swift Sources Tests
	$(CLANG_FORMAT) --dry-run -Werror $(C_SOURCES)

format: dependencies
	swift format -i --parallel -r Package.swift Sources Tests
	$(CLANG_FORMAT) -i $(C_SOURCES)

# Completions go where the shells look for them; zsh and fish have other names for the files.
install: build
	install -d $(DESTDIR)$(PREFIX)/bin $(SHARE)/bash-completion/completions $(SHARE)/zsh/site-functions \
	  $(SHARE)/fish/vendor_completions.d
	install -s -m 755 $(addprefix $(BUILT)/,$(PROGRAMS)) $(DESTDIR)$(PREFIX)/bin
	set -e; for program in $(PROGRAMS); do \
	  script="$(BUILT)/$$program --generate-completion-script"; \
	  $$script bash > $(SHARE)/bash-completion/completions/$$program; \
	  $$script zsh > $(SHARE)/zsh/site-functions/_$$program; \
	  $$script fish > $(SHARE)/fish/vendor_completions.d/$$program.fish; \
	done

clean:
	rm -rf .build bpf/out
