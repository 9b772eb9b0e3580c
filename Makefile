# Every target first makes sure that what it needs is there (scripts/setup.sh, scripts/bench_peers.sh); nothing else uses the network.

PYTHON_SOURCES := sonic tests scripts
SHELL_SCRIPTS = $(wildcard scripts/*.sh scripts/kernels/*.sh sonic/host/*.sh sonic/buildimage/*.sh) \
	$(addprefix debian/telegen-sonic.,postinst prerm postrm) sonic/debug-dump/telegen .ci/run
BPF_SOURCES = $(wildcard bpf/*.c bpf/*.h)
VENV := target/venv/bin

.PHONY: help setup build demo test test-kernels test-sonic-cli test-automation bench bench-peers check clean measure
.PHONY: pages deb test-deb test-compat test-flood test-soak test-capabilities image test-image test-manifest cross-arm64
.DEFAULT_GOAL := help

help: ## show this
	@sed -n 's/^\([a-z0-9-]*\):.*## /make \1\t/p' $(MAKEFILE_LIST) | expand -t 20

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

test-flood: ## what floods of rows and stuck sessions cost, at f1b4f54 and now (as root; an hour)
	@scripts/setup.sh build
	@python3 scripts/test_flood.py

test-compat: ## upgrades from f1b4f54 and downgrades to it, with both daemons on a virtual switch (as root); NAMES chooses
	@scripts/setup.sh test
	cargo build --release
	@$(VENV)/python -B scripts/compat $(NAMES)

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

test-soak: ## random jobs and faults on a virtual switch for SECONDS (3600; as root); SEED=N repeats the choices of a run
	@scripts/setup.sh test
	cargo build --release
	@$(VENV)/python -B scripts/soak

pages: ## write man pages, completions and the table of results anew, after a change of command line or measures
	@scripts/setup.sh build
	TELEGEN_BLESS=1 cargo test --quiet --test command_line_pages

deb: ## build the Debian package into target/deb, and show it to lintian
	@scripts/setup.sh deb
	@scripts/deb.sh

test-deb: deb ## install, use, upgrade and purge the package under systemd, on a virtual switch (as root)
	@scripts/setup.sh vm
	cargo build --bin telegen-lab
	@python3 -B scripts/test_deb.py target/deb/telegen-sonic_*_$$(dpkg --print-architecture).deb target/debug/telegen-lab

test-capabilities: ## run the end-to-end suite with a daemon that has the unit's capabilities and system calls only (as root)
	@scripts/setup.sh capabilities
	@scripts/test_capabilities.sh

image: deb ## build the application-extension image, if there is a docker or podman
	@scripts/image.sh

test-image: image ## run that image on a virtual switch as SONiC would (as root)
	@scripts/setup.sh vm
	cargo build --bin telegen-lab
	@image=target/image/telegen-$$(dpkg-parsechangelog --show-field Version)-$$(dpkg --print-architecture).tar.gz; \
	if [ -e $$image ]; then python3 -B scripts/test_image.py $$image target/debug/telegen-lab; \
	else echo "SKIPPED: test-image: there is no image, see above"; fi

test-manifest: ## show the manifest to sonic-package-manager; SONIC_UTILITIES=DIR is a checkout of sonic-utilities
	@scripts/setup.sh test
	$(VENV)/python -B -m pytest -q -rs tests/python/test_app_extension.py

cross-arm64: ## cross-compile for arm64, run that under qemu-user, and package it
	@scripts/setup.sh deb
	@scripts/setup.sh cross
	scripts/cross.sh arm64 build --release --locked --bin telegen-sonic
	cargo build --bin telegen-lab
	@scripts/test_arm64.sh target/aarch64-unknown-linux-gnu/release/telegen-sonic target/debug/telegen-lab
	@scripts/deb.sh arm64
