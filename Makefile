# make demo   the main job to look at: two blank machines, powered on, boot through bootbox
# make test   everything, real machines included
# make bench  the figures, beside the peers, in one run
# make robust millions of mutated inputs, in process
# make fuzz   the four fuzzers, guided by what they reach, FUZZ_SECONDS each: before a release
# Each installs the Debian packages it lacks, and says which and why (tests/packages).

CARGO ?= cargo
# The three protocols and the checks share the inputs.
MUTATIONS ?= 3400000
FUZZ_SECONDS ?= 30

.PHONY: build demo test check bench robust fuzz

build:
	firmware/fetch
	$(CARGO) build --release

demo:
	tests/packages demo
	firmware/fetch
	$(CARGO) build --release --bin bootbox --example demo
	target/release/examples/demo target/release/bootbox

AS_ROOT = --config "target.'cfg(unix)'.runner = 'tests/as-root'"

# Four threads on two cores: firmware spends much of its time waiting.
test:
	tests/packages test
	firmware/fetch
	RUST_TEST_THREADS=4 $(CARGO) test $(AS_ROOT) --no-fail-fast

# What .ci/run asks before the tests.
check:
	tests/packages test
	firmware/fetch
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps
	fuzz/run 5

bench:
	tests/packages bench
	firmware/fetch
	$(CARGO) build --release
	$(CARGO) bench $(AS_ROOT) --bench bench

robust:
	firmware/fetch
	MUTATIONS=$(MUTATIONS) $(CARGO) test --profile robust --lib --test proxydhcp --test tftp mutated

fuzz:
	tests/packages test
	firmware/fetch
	fuzz/run --guided $(FUZZ_SECONDS)
