# Everything a new machine needs, one command each. `make help` lists them.

# A source tree, a source tarball, an image or a cache key; the distribution's source when not given.
KERNEL ?= $(shell scripts/kernel-source)
# The small configuration builds in minutes.
export KTSTR_BASE_CONFIG ?= lean

KTSTR = target/debug/cargo-ktstr ktstr

.PHONY: help demo demo-schedulers test test-coverage test-export test-kernel-bugs test-release test-kvm test-perf soak lint doc bench setup setup-demo setup-tests built built-kernel kernel tool clean
.DEFAULT_GOAL := help

help: ## This list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 24

demo: setup-demo tool ## See it work: demo tests in your distribution's own kernel
	@scripts/demo "$$(scripts/distribution-kernel)"

demo-schedulers: setup-tests kernel ## Build a kernel with sched_ext and run the scheduler demos in it
	@scripts/demo --schedulers "$(KERNEL)"

# The image in the cache; building it first is `make kernel`. Make exports nothing to `shell` before 4.4.
IMAGE = $(shell KTSTR_BASE_CONFIG=$(KTSTR_BASE_CONFIG) $(KTSTR) kernel build --kernel "$(KERNEL)" | sed -n 's/^image: *//p')

# What tests of schedulers and of KVM run on.
TEST_ENV = KTSTR_TEST_SCHEDULERS="$$(scripts/kernel-schedulers "$(KERNEL)" "$(IMAGE)")" \
	KTSTR_TEST_NESTED_HOST="$$(scripts/distribution-kernel --kvm)"

# Some tests wait for a machine more than they compute: one more than there are CPUs.
TEST_THREADS = $(shell echo $$(($$(nproc) + 1)))

test: setup-tests built-kernel ## Install what is missing, build a kernel, run every test of the project
	$(TEST_ENV) $(KTSTR) test --kernel "$(KERNEL)" -- --workspace --no-fail-fast --test-threads $(TEST_THREADS)
	scripts/demo --schedulers "$(KERNEL)" --workspace
	cargo nextest run --workspace -E 'binary_id(ktstr-driver::embed)' --run-ignored all
	cargo test --workspace --doc --quiet

test-release: setup-tests built ## Download a release from a mirror on this machine, build and boot it: two minutes and more
	KTSTR_TEST_SOURCE="$(KERNEL)" cargo nextest run --workspace -E 'binary_id(cargo-ktstr::release)' --run-ignored only

test-kvm: setup-tests built-kernel ## All tests of machines on the KVM of an emulated host: twenty minutes
	$(TEST_ENV) $(KTSTR) test --kernel "$(KERNEL)" -- --workspace --run-ignored only \
		-E 'binary(nested) - test(a_long_console) - test(some_machines) - test(boots_in_a_row)' \
		--test-threads 1

test-coverage: setup-tests built-kernel ## Reports of coverage on a project that is built with counters: two minutes and more
	@scripts/setup --coverage
	$(TEST_ENV) KTSTR_KERNEL="$(IMAGE)" cargo nextest run --workspace -E 'binary_id(cargo-ktstr::coverage)' \
		--run-ignored only --test-threads 1

test-export: setup-tests built-kernel ## Every way out of an exported test, in a machine that stands for bare metal: ten minutes
	$(TEST_ENV) KTSTR_KERNEL="$(IMAGE)" cargo nextest run --workspace -E 'binary(export)' \
		--run-ignored all --test-threads 1

test-kernel-bugs: setup-tests built ## Scheduler bugs put back into a kernel, each caught by its test: twenty minutes
	scripts/kernel-bugs "$(KERNEL)"

test-perf: setup-tests built-kernel ## perf-delta of a scheduler that burns time, and 20 of identical commits: an hour and more
	KTSTR_KERNEL="$(IMAGE)" cargo nextest run --workspace -E 'binary_id(cargo-ktstr::perf_delta)' --run-ignored only \
		--test-threads 1

# How often, beside how many busy loops.
RUNS = 10
LOOPS = 2

soak: setup-tests built-kernel ## Run every test ten times on a busy machine and count failures (RUNS=, LOOPS=)
	$(TEST_ENV) KTSTR_KERNEL="$(IMAGE)" scripts/soak $(RUNS) $(LOOPS)

lint: setup-tests ## Formatting and clippy, warnings as errors
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --all-features -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --quiet

bench: setup-tests kernel ## Measure: ratios from one run
	KTSTR_TEST_SCHEDULERS="$$(scripts/kernel-schedulers "$(KERNEL)" "$(IMAGE)")" cargo bench -p ktstr-benches

setup: ## Install what is missing
	@scripts/setup

setup-demo:
	@scripts/setup --demo

setup-tests: setup # What the tests do better with, where the distribution has it
	@scripts/setup --tests

# All of the workspace at once, the command with it: a package by itself has other features, and is compiled once more.
built: setup
	cargo build --workspace --all-targets

built-kernel: built
	$(KTSTR) kernel build --kernel "$(KERNEL)"

kernel: setup tool ## Build and cache the kernel
	$(KTSTR) kernel build --kernel "$(KERNEL)"

tool:
	cargo build -p cargo-ktstr

clean: ## Remove what cargo built; cached kernels stay (cargo ktstr kernel clean)
	cargo clean
