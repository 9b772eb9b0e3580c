# Every target first makes sure that what it needs is there (scripts/setup.sh, scripts/bench_peers.sh); nothing else uses the network.

PYTHON_SOURCES := sonic tests scripts
SHELL_SCRIPTS = $(wildcard scripts/*.sh scripts/kernels/*.sh) .ci/run
BPF_SOURCES = $(wildcard bpf/*.c bpf/*.h)
VENV := target/venv/bin

.PHONY: help setup build demo test test-kernels test-sonic-cli test-automation bench bench-peers check clean measure
.DEFAULT_GOAL := help

help: ## show this
	@sed -n 's/^\([a-z-]*\):.*## /make \1\t/p' $(MAKEFILE_LIST) | expand -t 20

setup: ## install all that build, demo, test and check need
	@scripts/setup.sh all

build: ## build the release binaries
	@scripts/setup.sh build
	cargo build --release

demo: ## watch a job on a switch in a box, from start to clean-up (as root)
	@scripts/setup.sh demo
	cargo build --release
	@scripts/demo.sh

test: ## run every test (as root); TELEGEN_CAPTURES=DIR replays captures, too
	@scripts/setup.sh test
	@python3 scripts/run_tests.py

test-kernels: ## run the tap's tests (as root) on the kernels of SONiC's releases, under qemu
	@scripts/setup.sh kernels
	@scripts/test_kernels.sh

test-sonic-cli: ## run the plugins in the sonic-utilities that SONIC_UTILITIES names (as root)
ifndef SONIC_UTILITIES
	@echo "test-sonic-cli: skipped: SONIC_UTILITIES does not name a checkout of sonic-utilities (docs/sonic-cli.md)"
else
	@scripts/setup.sh sonic-cli
	cargo build
	target/venv-sonic-cli/bin/python -B -m pytest -q -rs tests/on_lab/test_sonic_cli.py
endif

test-automation: ## run the Ansible role and a generated REST client on a virtual switch (as root)
	@scripts/setup.sh automation
	cargo build
	target/venv-automation/bin/python -B -m pytest -q -rs tests/on_lab/test_ansible.py tests/on_lab/test_rest_client.py

check: ## formats, lints, docs, licences
	@scripts/setup.sh check
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps
	target/tools/bin/cargo-deny check licenses bans sources
	clang-format --dry-run -Werror $(BPF_SOURCES)
	$(VENV)/ruff check $(PYTHON_SOURCES)
	$(VENV)/ruff format --check $(PYTHON_SOURCES)
	shellcheck $(SHELL_SCRIPTS)
	yanglint -p tests/yang/modules yang/sonic-telegen.yang

# The debug build, whose dependencies are there already; but what reads the flow table is measured, too.
BENCH := cargo bench --profile dev --config profile.dev.package.telegen-sonic.opt-level=3 --bench

bench: ## measure what the tap costs and finds (as root), beside the goals: tables, and target/bench/tap.json
	@scripts/setup.sh build
	$(BENCH) tap -- $(PARTS)

bench-peers: ## the whole daemon beside softflowd and pmacctd on the same traffic (as root)
	@scripts/setup.sh demo
	cargo build --release
	@scripts/bench_peers.sh
	$(BENCH) peers

clean: ## remove target/, with the tools that setup put there
	cargo clean

measure: ## latency, idle cost and size of the release build on a virtual switch (as root)
	@scripts/setup.sh test
	cargo build --release
	$(VENV)/python -B scripts/measure.py
