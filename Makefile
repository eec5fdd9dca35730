# One command per intent, the same by hand and in CI. `make` alone lists them.

ARCH    ?= x86_64
# What a panic does in `make tiny`: abort, or unwind to keep a panicking callback from ending the instance.
PANIC   ?= abort
NIGHTLY ?= nightly
IMAGE   ?= fc-hooks:latest
# For `emulator`: features of the package, such as those that are not in the default build.
EMULATOR_FEATURES ?=
EMULATOR_IMAGE    ?= fc-emulator:latest
# For `build`, `tiny` and `image`: an example instead of the inspector.
EXAMPLE ?=
# For `image`: a binary of one's own, wherever it is.
BIN     ?=
# For `make run`: arguments of the binary. For `make test`: arguments of `cargo test`.
ARGS    ?=

# What is built is named below by its path in target/, wherever the environment sends other builds.
unexport CARGO_TARGET_DIR CARGO_BUILD_TARGET_DIR

TRIPLE   := $(ARCH)-unknown-linux-musl
# What panics print of the way there is of no use in a stripped binary, and two fifths of its bytes.
FEATURES := no_backtrace $(if $(filter on_tiny_http,$(EXAMPLE)),tiny_http)
# An example is built as the crate of an author is: without the adapter and the inspector.
WHAT     := $(if $(EXAMPLE),--example $(EXAMPLE) --no-default-features,--bin fc-hooks) --features '$(FEATURES)'
OUTPUT   := $(TRIPLE)/release/$(if $(EXAMPLE),examples/$(EXAMPLE),fc-hooks)
BUILT    := target/$(OUTPUT)
TINY     := target/tiny/$(OUTPUT)
PLATFORM := linux/$(if $(filter aarch64,$(ARCH)),arm64,amd64)
EMULATOR := target/$(TRIPLE)/release-emulator/fc-emulator
MACS     := x86_64-apple-darwin aarch64-apple-darwin

# RUSTFLAGS of the environment would replace those of .cargo/config.toml, which the static targets cannot link without.
STATIC_CARGO := env -u RUSTFLAGS -u CARGO_ENCODED_RUSTFLAGS -u CARGO_BUILD_RUSTFLAGS cargo

# Panic messages hold the paths of the sources. Those of this machine are nobody's business, and they cost bytes. Put
# together in the recipe's shell, because the registry's folders are there only after a fetch.
remap = flags="'--remap-path-prefix=$(CURDIR)/='"; \
	for folder in "$${CARGO_HOME:-$$HOME/.cargo}"/registry/src/*/ $(1); do \
	  flags="$$flags,'--remap-path-prefix=$$folder='"; \
	done

# $(1): name of a thing, $(2): how to say that there is none.
need = command -v $(1) >/dev/null 2>&1 || { echo "make $@: $(2)" >&2; exit 1; }

show = printf '%s bytes  %s\n' "$$(wc -c < $(1) | tr -d ' ')" "$(1)"

.PHONY: help
help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' Makefile
	@echo
	@echo "  ARCH=aarch64 with build, tiny, image and emulator; EXAMPLE=<name> with build, tiny and image;"
	@echo "  PANIC=unwind with tiny; BIN=<path> and IMAGE=<name> with image;"
	@echo "  ARGS=<arguments> with run, tests and fc-stress"

# The unwinder names what is broken in its tables before it aborts. That takes the C library's `printf`, and nothing
# else in these binaries prints by it.
SILENT_UNWINDER := ,'-Clink-arg=--defsym=fprintf=getpid','-Clink-arg=--defsym=snprintf=getpid'\
,'-Clink-arg=--defsym=fflush=getpid','-Clink-arg=--defsym=__assert_fail=abort'

# LLVM inlines less than it likes to, and unrolls little. What each request runs through says so in the source.
LESS_CODE := ,'-Cllvm-args=-inline-threshold=50','-Cllvm-args=-inlinehint-threshold=100'\
,'-Cllvm-args=-unroll-threshold=40'

.PHONY: build
build: target-$(TRIPLE) ## the static binary, on stable Rust
	@$(STATIC_CARGO) fetch --quiet --target $(TRIPLE)
	@$(call remap); $(STATIC_CARGO) build --release $(WHAT) --target $(TRIPLE) --target-dir target \
	  --config "target.$(TRIPLE).rustflags=[$$flags$(LESS_CODE)$(SILENT_UNWINDER)]"
	@$(call show,$(BUILT))

# Without its feature `store`: SQLite is a megabyte, and its code in C needs a compiler for musl.
.PHONY: emulator
emulator: target-$(TRIPLE) ## the emulator as one static file, which runs on any Linux
	@$(STATIC_CARGO) fetch --quiet --target $(TRIPLE)
	@$(call remap); $(STATIC_CARGO) build --profile release-emulator -p fc-emulator --bin fc-emulator \
	  --no-default-features --features 'serve $(EMULATOR_FEATURES)' --target $(TRIPLE) --target-dir target \
	  --config "target.$(TRIPLE).rustflags=[$$flags]"
	@$(call show,$(EMULATOR))
	@[ -n "$(EMULATOR_FEATURES)" ] || [ "$$(wc -c < $(EMULATOR))" -le 3000000 ] \
	  || { echo "make $@: the file is larger than 3 MB" >&2; exit 1; }

# The standard library rebuilt for size, without its symbolizer for backtraces, and optimised together with the rest.
# Panics no longer say in which line. docs/performance.md says what each flag saves. With PANIC=abort nothing unwinds,
# so the tables for it go, and the unwinder goes with them: only backtraces still name it, and these have no frames now.
TINY_FLAGS_abort := ,'-Cforce-unwind-tables=no','-Clink-arg=--no-eh-frame-hdr'\
,'-Clink-arg=--defsym=_Unwind_Backtrace=getpid','-Clink-arg=--defsym=_Unwind_GetIP=getpid'
TINY_FLAGS_unwind :=

.PHONY: tiny
tiny: tiny-toolchain ## the smallest binary: std rebuilt for size, on nightly Rust
	@$(STATIC_CARGO) +$(NIGHTLY) fetch --quiet --target $(TRIPLE)
	@$(call remap,"$$(rustc +$(NIGHTLY) --print sysroot)/lib/rustlib/src/rust/"); \
	$(STATIC_CARGO) +$(NIGHTLY) build --release $(WHAT) --target $(TRIPLE) --target-dir target/tiny \
	  -Zbuild-std=std,panic_$(PANIC) -Zbuild-std-features=optimize_for_size \
	  --config "profile.release.opt-level='z'" --config "profile.release.panic='$(PANIC)'" \
	  --config "profile.release.package.std.opt-level='s'" \
	  --config "target.$(TRIPLE).rustflags=[$$flags,'-Zlocation-detail=none'$(TINY_FLAGS_$(PANIC))]"
	@$(call show,$(TINY))

.PHONY: nightly
nightly:
	@$(call need,rustup,needs a nightly toolchain and so rustup (https://rustup.rs))
	@rustup run $(NIGHTLY) rustc --version >/dev/null 2>&1 \
	  || rustup toolchain install $(NIGHTLY) --profile minimal --no-self-update \
	  || { echo "make: no nightly toolchain here, and none to be had" >&2; exit 1; }

.PHONY: tiny-toolchain
tiny-toolchain: nightly
	@[ -d "$$(rustc +$(NIGHTLY) --print sysroot)/lib/rustlib/src/rust/library" ] \
	  || rustup component add --toolchain $(NIGHTLY) rust-src
	@[ -d "$$(rustc +$(NIGHTLY) --print target-libdir --target $(TRIPLE))" ] \
	  || rustup target add --toolchain $(NIGHTLY) $(TRIPLE)

# Adds a target to the toolchain in use. One that came without rustup may have it all the same.
.PHONY: target-%
target-%:
	@$(call need,rustc,no Rust here: install it by rustup (https://rustup.rs))
	@[ -d "$$(rustc --print target-libdir --target $*)" ] || { \
	  $(call need,rustup,this Rust has no target $* and there is no rustup to add it (https://rustup.rs)); \
	  rustup target add $*; }

.PHONY: run
run: ## build for this machine and serve
	@cargo run --bin fc-hooks -- $(ARGS)

# The debug build of the emulator, because the tests need it too.
.PHONY: demo
demo: build ## one whole life of the inspector, with a real freeze, in the terminal
	@cargo build --quiet -p fc-emulator
	@target/debug/fc-emulator run -- $(BUILT)

# It builds as `cargo test` does, and runs several test binaries at the same time: most tests wait most of the time.
RUN_TESTS := cargo run --quiet -p fc-testkit --bin run-tests -- --workspace

.PHONY: test
test: ## the tests; those that need a Docker engine say so where there is none
	@$(RUN_TESTS) $(ARGS)

.PHONY: test-times
test-times: ## the same, and the slowest ten tests
	@TEST_TIMES=10 $(RUN_TESTS) $(ARGS)

.PHONY: test-all
test-all: ## the tests that take longer, too
	@cargo test --workspace $(ARGS) -- --include-ignored

.PHONY: resources
resources: build ## the figures of threads, wake-ups, memory, system calls and allocations
	@cargo test --quiet -p fc-hooks --test resources --test allocations --test adapter_allocations

.PHONY: peers
peers: ## the servers that benchmarks compare with; names those that cannot be built here
	@bench/peers/build

.PHONY: bench-targets
bench-targets: ## every server that is measured: our binaries and the peers
	@$(MAKE) --no-print-directory build
	@$(MAKE) --no-print-directory build EXAMPLE=hello
	@$(MAKE) --no-print-directory build EXAMPLE=echo
	@$(MAKE) --no-print-directory build EXAMPLE=on_tiny_http
	@$(MAKE) --no-print-directory tiny || echo "make tiny does not work here: it will be skipped"
	@$(MAKE) --no-print-directory peers
	@cargo build --quiet --release -p fc-bench

BENCH := target/release/fc-bench bench --export-json target/bench.json --export-html target/report.html

.PHONY: bench
bench: bench-targets ## starts, load, bursts, payloads, density …, with peers; target/report.html, bench/history.csv
	@$(BENCH) --history bench/history.csv $(ARGS)

.PHONY: bench-quick
bench-quick: bench-targets ## the same in two minutes: a first look
	@$(BENCH) --quick $(ARGS)

# A guest for each contender takes minutes, so this is no part of `bench`.
.PHONY: bench-restore
bench-restore: bench-targets ## restores of virtual machines and by CRIU; target/restore.html, target/restore.json
	@.ci/vm-tools
	@target/release/fc-bench restore --export-json target/restore.json --export-html target/restore.html $(ARGS)

.PHONY: bench-proxy
bench-proxy: build ## proxies before one program, the adapter among them; target/proxy.html, target/proxy.json
	@bench/proxies/build
	@cargo build --quiet --release -p fc-bench
	@target/release/fc-bench proxy --export-json target/proxy.json --export-html target/proxy.html $(ARGS)

# RECORD=1 writes down what the oracles say, and where we differ.
RECORD ?=

.PHONY: framing
framing: ## where requests end, by our server and by h11, hyper and node; says aloud which of them cannot be had here
	@$(if $(RECORD),FC_HOOKS_FRAMING_RECORD=1 cargo test -p fc-hooks --test framing -- --ignored the_oracles_say)
	@cargo test -p fc-hooks --test framing $(ARGS) -- --include-ignored

# SEED=n replays one world; WORLDS=n runs n from there on.
.PHONY: sim
sim: ## whole worlds from a seed over a simulated kernel, invariants checked at every step: SEED=, WORLDS=50000
	@FC_HOOKS_SEED=$(or $(SEED),1) FC_HOOKS_WORLDS=$(or $(WORLDS),$(if $(SEED),1,50000)) \
	  cargo test -p fc-hooks --lib --profile sim -- --exact server::event_loop::tests::sim::worlds --nocapture

.PHONY: sim-adapter
sim-adapter: ## the same for the adapter, between clients and a program that misbehave: SEED=, WORLDS=20000
	@FC_HOOKS_SEED=$(or $(SEED),1) FC_HOOKS_WORLDS=$(or $(WORLDS),$(if $(SEED),1,20000)) \
	  cargo test -p fc-hooks --lib --profile sim -- --exact server::adapter::proxy::tests::worlds --nocapture

FUZZED   ?= $(patsubst tests/fuzz/fuzz_targets/%.rs,%,$(wildcard tests/fuzz/fuzz_targets/*.rs))
SECONDS  ?= 60

# What is found new goes to target/fuzz/corpus, so that the committed cases stay as they are; what fails, to
# tests/fuzz/artifacts, from where it moves to tests/fuzz/regressions once it is mended.
.PHONY: fuzz
fuzz: fuzz-toolchain ## every fuzz target for SECONDS=60 each; FUZZED=<names> for some of them
	@failed=; for name in $(FUZZED); do \
	  found=target/fuzz/corpus/$$name; log=target/fuzz/$$name.log; mkdir -p $$found; \
	  cargo +$(NIGHTLY) fuzz run --fuzz-dir tests/fuzz --target-dir target/fuzz $$name $$found \
	    $$(ls -d tests/fuzz/corpus/$$name tests/fuzz/regressions/$$name 2>/dev/null) -- -max_total_time=$(SECONDS) \
	    -max_len=4096 -timeout=10 -rss_limit_mb=2048 -dict=tests/fuzz/http.dict -print_final_stats=1 >$$log 2>&1 \
	    || { failed="$$failed $$name"; grep -A 3 'panicked at\|ERROR\|^error' $$log; echo "the rest is in $$log"; }; \
	  awk -v name=$$name '/cov: / { for (i = 1; i < NF; i++) if ($$i == "cov:") edges = $$(i + 1) } \
	    /^stat::number_of_executed_units/ { runs = $$2 } /^stat::average_exec_per_sec/ { rate = $$2 } \
	    END { printf "%-12s %10d executions, %7d/s, %5d edges\n", name, runs, rate, edges }' $$log; \
	done; [ -z "$$failed" ] || { echo "make $@: failed:$$failed" >&2; exit 1; }

.PHONY: fuzz-toolchain
fuzz-toolchain: nightly
	@cargo fuzz --version >/dev/null 2>&1 || cargo install cargo-fuzz --locked \
	  || { echo "make fuzz: no cargo-fuzz here, and none to be had" >&2; exit 1; }

.PHONY: attack
attack: build ## slow, greedy and broken clients by the thousand, a healthy one beside them; ARGS=--quick is short
	@cargo build --quiet --release -p fc-stress
	@target/release/fc-stress attack --export-json target/attack.json $(ARGS)

# The inspector behind the adapter, which keeps connections to it.
.PHONY: attack-adapter
attack-adapter: build ## the same attacks on the adapter; ARGS=--quick is short
	@cargo build --quiet --release -p fc-stress
	@target/release/fc-stress attack --kept 256 $(ARGS) -- env FC_HOOKS_INITIALIZE='POST /initialize' \
	  FC_HOOKS_PRE_FREEZE='GET /pre-freeze' FC_HOOKS_PRE_STOP='GET /pre-stop' $(BUILT) -- $(BUILT)

# An outside opinion, two minutes; SECS=10 is shorter.
SECS ?= 30

.PHONY: slowhttptest
slowhttptest: build ## slow heads, bodies, ranges and readers by Debian's slowhttptest: the service must stay available
	@command -v slowhttptest >/dev/null 2>&1 \
	  || { echo "SKIPPED: slowhttptest is not installed (Debian: apt-get install slowhttptest)"; exit 0; }; \
	rm -f target/slowhttptest.log; \
	$(BUILT) --listen 127.0.0.1:0 --log-markers off >target/slowhttptest.log & server=$$!; trap 'kill $$server' EXIT; \
	looks=0; until grep -qs listening target/slowhttptest.log; do looks=$$((looks + 1)); \
	  [ $$looks -lt 100 ] || { echo "make $@: the server does not start" >&2; exit 1; }; sleep 0.1; \
	done; url=http://$$(sed -n 's/.*listening on //p' target/slowhttptest.log)/; failed=; \
	for how in '-H -i 5 -x 24' '-B -t POST -i 5 -s 8192 -x 10' '-R -a 10 -b 3000' '-X -w 512 -y 1024 -n 5 -z 32 -k 3'; do \
	  slowhttptest $$how -c 1000 -r 300 -l $(SECS) -p 3 -u $$url >target/slowhttptest.txt 2>&1; \
	  yes=$$(grep -ac 'service available:.*YES' target/slowhttptest.txt); \
	  no=$$(grep -ac 'service available:.*NO' target/slowhttptest.txt); \
	  echo "slowhttptest $$how: available at $$yes looks, not at $$no"; \
	  [ "$$yes" -gt 0 ] && [ "$$no" = 0 ] || failed=1; \
	done; [ -z "$$failed" ] || { echo "make $@: the service was not available" >&2; exit 1; }

# Counts what ran, and ends with another code unless pre-stop ran once.
TALLY := env SUBJECT=tally target/$(TRIPLE)/release/examples/subject

.PHONY: tally
tally:
	@$(MAKE) --no-print-directory build EXAMPLE=subject
	@cargo build --quiet --release -p fc-stress

.PHONY: freezes
freezes: tally ## 2,000 freezes at random moments under load: by control groups, by SIGSTOP, 300 in a container
	@target/release/fc-stress freezes $(ARGS) -- $(TALLY)
	@target/release/fc-stress freezes --freeze-with sigstop $(ARGS) -- $(TALLY)
	@if docker info >/dev/null 2>&1; then \
	  $(MAKE) --no-print-directory image EXAMPLE=subject IMAGE=fc-hooks-tally && \
	  target/release/fc-stress freezes --count 300 --image fc-hooks-tally --env SUBJECT=tally $(ARGS); \
	else echo "SKIPPED: freezes in a container: no Docker engine answers"; fi

# The adapter before the same function. It keeps connections to it.
BEHIND := env FC_HOOKS_INITIALIZE='POST /initialize' FC_HOOKS_PRE_FREEZE='GET /pre-freeze' \
	FC_HOOKS_PRE_STOP='GET /pre-stop' SUBJECT=tally \
	target/$(TRIPLE)/release/fc-hooks -- target/$(TRIPLE)/release/examples/subject

.PHONY: freezes-adapter
freezes-adapter: build tally ## 2,000 freezes of the adapter and a program at random moments under load
	@target/release/fc-stress freezes --kept 40 $(ARGS) -- $(BEHIND)

FREEZES ?= 300

# The callback of an echo takes a part of its call, and a freeze inside of a callback leaves no sign: in the middle of a
# call three of ten may be missed, at the moment of a reply none.
.PHONY: freeze-at-reply
freeze-at-reply: build ## FREEZES=300 at the moment of a reply, and as many in the middle of a call
	@cargo build --quiet --release -p fc-stress
	@target/release/fc-stress freeze-at-reply --count $(FREEZES) $(ARGS) -- $(BUILT)
	@target/release/fc-stress freeze-at-reply --count $(FREEZES) --in-call 8000000 \
	  --misses-max $$(($(FREEZES) * 3 / 10)) $(ARGS) -- $(BUILT)

.PHONY: soak
soak: tally ## ten minutes of load, trouble and freezes: memory and descriptors stay as they are
	@target/release/fc-stress soak $(ARGS) -- $(TALLY)

# ROWS=vm-pause/tsc tries one row; emulator/src/vm/matrix.rs has all of them. KERNEL=FILE boots another kernel.
ROWS   ?=
KERNEL ?=

.PHONY: vm
vm: ## virtual machines paused, saved, restored and cloned, and what the inspector notices: ROWS=vm-pause/tsc
	@.ci/vm-tools
	@$(MAKE) --no-print-directory build
	@$(MAKE) --no-print-directory build EXAMPLE=reseed
	@cargo build --quiet --release -p fc-emulator --example vm-matrix
	@target/release/examples/vm-matrix $(if $(ROWS),--rows '$(ROWS)',--reseed target/$(TRIPLE)/release/examples/reseed) \
	  $(if $(KERNEL),--vm-kernel '$(KERNEL)') $(ARGS) -- $(BUILT)

# ROWS='Express Puma' checks the servers whose names have one of these words.
.PHONY: real-servers
real-servers: ## what real servers do with a call that waits during a freeze, as a table: ROWS='Express Puma'
	@mkdir -p target
	@emulator/tests/real-servers/install | tee target/real-servers.ready
	@cargo build --quiet --release -p fc-emulator --bin fc-emulator --example real-servers
	@target/release/examples/real-servers $(CURDIR)/target/release/fc-emulator target/real-servers \
	  target/real-servers.ready $(ROWS) >target/real-servers.md; status=$$?; cat target/real-servers.md; exit $$status

CALLS ?= 10000

.PHONY: serve-calls
serve-calls: ## CALLS=10000 while instances of `serve` are frozen, reclaimed and killed: none lost or doubled
	@SERVE_CALLS=$(CALLS) cargo test --quiet -p fc-emulator --test serve no_call_is_lost -- --nocapture

.PHONY: serve-bench
serve-bench: build ## `serve` beside nginx and the bare freezer, 200 instances; target/serve-bench.json
	@cargo build --quiet --release -p fc-emulator --bin fc-emulator --example serve-bench
	@target/release/examples/serve-bench target/release/fc-emulator $(BUILT) target/serve-bench.json $(ARGS)

.PHONY: sdk
sdk: ## the official clients of the platform, installed below target/sdk, call the emulator
	@emulator/tests/sdk/install
	@cargo test --quiet -p fc-emulator --test sdk

.PHONY: manifests
manifests: build ## the manifests of deploy/ by the schemas of their platforms; installs the tools below target/deploy
	@deploy/tests/install
	@cargo build --quiet -p fc-emulator --bin fc-emulator
	@python=target/deploy/python/bin/python; [ -x $$python ] || python=python3; $$python deploy/tests/manifests.py

.PHONY: swarm
swarm: build ## the stack of deploy/ on Docker Swarm: a rolling update under load, pre-stop, memory limits
	@deploy/tests/swarm

.PHONY: adapter-tools
adapter-tools: build
	@emulator/tests/adapter-servers/install | tee target/adapter-servers.ready
	@cargo build --quiet --release -p fc-emulator --bin fc-emulator --example adapter-servers \
	  --example adapter-freezes

.PHONY: adapter-servers
adapter-servers: adapter-tools ## programs without any hook: rules that each breaks alone, and behind the adapter
	@target/release/examples/adapter-servers $(CURDIR)/target/release/fc-emulator $(CURDIR)/$(BUILT) \
	  target/adapter-servers target/adapter-servers.ready >target/adapter-servers.md; status=$$?; \
	cat target/adapter-servers.md; exit $$status

# ROWS=Node tries one of them; COUNT=20 is shorter. The last row takes five minutes.
COUNT ?= 100

.PHONY: adapter-freezes
adapter-freezes: adapter-tools ## servers frozen behind the adapter for longer than their limits: no call is lost
	@target/release/examples/adapter-freezes $(CURDIR)/$(BUILT) target/adapter-servers \
	  $(CURDIR)/target/adapter-servers.ready $(COUNT) $(ROWS)

.PHONY: adapter-clients
adapter-clients: ## curl, fetch of Node, requests of Python and a WebSocket of Chromium through the adapter
	@tests/clients/install
	@cargo test -p fc-hooks --test adapter_clients $(ARGS) -- --include-ignored

.PHONY: deny
deny: ## licences, sources, duplicates and known weaknesses of every dependency, by cargo-deny
	@.ci/deny

.PHONY: miri
miri: nightly ## the unit tests under Miri
	@.ci/miri $(ARGS)

.PHONY: sanitize
sanitize: tiny-toolchain ## the process tests under the address sanitizer
	@.ci/sanitize

.PHONY: torture
torture: ## everything that tries to break the server: two hours and a half, on a machine of its own
	$(MAKE) sim WORLDS=1000000
	$(MAKE) framing
	$(MAKE) fuzz SECONDS=660
	$(MAKE) attack ARGS=--strict
	$(MAKE) slowhttptest
	$(MAKE) freezes
	$(MAKE) freeze-at-reply
	$(MAKE) soak
	cargo test -p fc-stress --test freezes -- --ignored
	$(MAKE) sanitize
	$(MAKE) miri
	$(MAKE) deny

.PHONY: test-poll
test-poll: ## the tests of the library and the binary on poll(2), which other kernels get
	@RUSTFLAGS='--cfg fc_hooks_poll' cargo test -p fc-hooks --target-dir target/poll $(ARGS)

# The rows of the table: FILE::TEST and a reason.
DIFFERENCES := tests/tiny_http/differences.txt

.PHONY: test-tiny-http
test-tiny-http: ## the tests on the engine of the feature `tiny_http`; says aloud what it leaves out, and why
	@awk '!/^#/ { name = $$1; $$1 = ""; print "SKIPPED: " name ": tiny_http" $$0 }' $(DIFFERENCES)
	@cargo test -p fc-hooks --features tiny_http --target-dir target/tiny_http --test tiny_http $(ARGS)
	@failed=; for file in contract calls job http process freeze; do \
	  FC_HOOKS_TEST_ENGINE=tiny_http cargo test -p fc-hooks --features tiny_http --target-dir target/tiny_http \
	    --test $$file $(ARGS) -- --exact $$(sed -n "s/^$$file::\([^ ]*\) .*/--skip \1/p" $(DIFFERENCES)) \
	    || failed="$$failed $$file"; \
	done; [ -z "$$failed" ] || { echo "make $@: failed:$$failed" >&2; exit 1; }

# The file $(1) as $(2), alone in a folder of this build, which ends with it: two builds at a time share nothing.
# Whatever permissions the file had, nobody may run it in the image.
define context
mkdir -p target && context=$$(TMPDIR=target mktemp -d) && trap 'rm -rf "$$context"' EXIT INT TERM && \
  install -m 755 $(1) "$$context/$(2)"
endef

# The binary alone is what the engine gets, so it can be anywhere.
.PHONY: image
image: $(if $(BIN),,build) ## the container image, by Dockerfile.scratch
	@$(call need,docker,needs Docker)
	@docker info >/dev/null 2>&1 || { echo "make $@: the Docker engine does not answer" >&2; exit 1; }
	@$(call context,$(or $(BIN),$(BUILT)),function) && \
	set -- --platform $(PLATFORM) -f Dockerfile.scratch -t $(IMAGE) --build-arg BIN=function "$$context" && \
	if docker buildx version >/dev/null 2>&1; then \
	  docker buildx build --provenance=false --sbom=false --load "$$@"; \
	else \
	  DOCKER_BUILDKIT=0 docker build "$$@"; \
	fi
	@docker image inspect --format '{{.Size}} bytes  $(IMAGE)' $(IMAGE)

.PHONY: emulator-image
emulator-image: emulator ## the image of the emulator, by emulator/Dockerfile: EMULATOR_IMAGE=fc-emulator:latest
	@$(call need,docker,needs Docker)
	@docker info >/dev/null 2>&1 || { echo "make $@: the Docker engine does not answer" >&2; exit 1; }
	@$(call context,$(EMULATOR),fc-emulator) && \
	DOCKER_BUILDKIT=$(if $(shell docker buildx version 2>/dev/null),1,0) docker build --quiet \
	  --platform $(PLATFORM) -f emulator/Dockerfile -t $(EMULATOR_IMAGE) "$$context" >/dev/null
	@docker image inspect --format '{{.Size}} bytes  $(EMULATOR_IMAGE)' $(EMULATOR_IMAGE)

# For `new`: the folder of a function of one's own. Its last part is the name of the crate.
NAME ?=

# The crate depends on this checkout.
.PHONY: new
new: ## a function of your own from examples/template, in the folder NAME=../my-function
	@[ -n "$(NAME)" ] || { echo "make $@: say where, by NAME=../my-function" >&2; exit 1; }
	@[ ! -e "$(NAME)" ] || { echo "make $@: $(NAME) is there already" >&2; exit 1; }
	@mkdir -p "$$(dirname "$(NAME)")" && cp -R examples/template "$(NAME)" && rm -rf "$(NAME)/target"
	@cd "$(NAME)" && name=$$(basename "$$PWD") && \
	for file in Cargo.toml Dockerfile .dockerignore s.yaml; do \
	  sed -e "s|my-function|$$name|g" -e 's|version = "0.1", default|path = "$(CURDIR)", default|' $$file >$$file.new && \
	  mv $$file.new $$file || exit 1; \
	done
	@echo "$(NAME) is there. In it: cargo test; cargo run; cargo build --release --target $(TRIPLE)"

.PHONY: lint
lint: ## formatting, clippy and documentation, warnings denied
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --all-features -- -D warnings
	cargo clippy --workspace --all-targets --no-default-features -- -D warnings
	cargo clippy -p fc-hooks --lib --bins --no-default-features --features adapter,inspector -- -D warnings
	cargo clippy -p fc-hooks --lib --examples --no-default-features --features env_logger -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --all-features

.PHONY: check-mac
check-mac: $(MACS:%=target-%) ## that the library and the binary compile for macOS
	set -e; for target in $(MACS); do \
	  cargo check -p fc-hooks --target $$target; \
	  cargo check -p fc-hooks --lib --no-default-features --target $$target; \
	done

.PHONY: clean
clean: ## remove what was built
	@cargo clean
