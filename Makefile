# The front door. Each target is one command; `make` alone lists them.
CARGO ?= cargo
.DEFAULT_GOAL := help

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 18

build: ## Build both programs, optimised
	$(CARGO) build --release --locked

demo: build ## Seeds, daemon, ten seconds of load, report and balance
	./deploy/demo.sh

tools: ## Install what the tests need (apt and cargo)
	./deploy/install-test-tools.sh

test: tools ## Run every test
	$(CARGO) test --workspace --locked

check: tools ## Formatting, lints, tests
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	$(CARGO) test --workspace --locked

KILLS ?= 200
POWER_CUTS ?= 20
faults: tools ## Real faults: kill -9 (KILLS=N), full and dying disks, power cuts (root), a live backup, every bit of a journal flipped
	HONGBAO_KILLS=$(KILLS) HONGBAO_POWER_CUTS=$(POWER_CUTS) $(CARGO) test --locked -p hongbaod --test end_to_end -- \
	  --nocapture --test-threads 1 kill_9 full_disk dies backup
	HONGBAO_ALL_BITS=1 $(CARGO) test --locked -p hongbaod --test bit_flips -- --nocapture

bench: build ## The figures of the README, A/B in one run
	$(CARGO) bench --locked -p hongbaod --bench figures

million: build ## A million connections on this machine, both ends, 30k and 60k requests a second (root, 20 minutes)
	./deploy/million.sh

dashboards-check: tools ## Every alert fired by its fault, every panel with data: a real Prometheus over real daemons (root)
	$(CARGO) test --locked -p hongbaod --test dashboard
	$(CARGO) test --locked -p hongbaod --test alerts

deb: build ## Debian packages of the server and of the load generator, into target/debian
	./deploy/package.sh

deb-check: deb ## Install, upgrade, remove and purge them in a chroot; lintian (root)
	./deploy/package-check.sh

HISTORIES ?= 100000
gift-histories: ## Gifts against a reference model: HISTORIES=100000 of sends, opens, repeats, expiries and crashes
	HONGBAO_GIFT_HISTORIES=$(HISTORIES) $(CARGO) test --release --locked -p hongbaod --lib gift_histories -- --nocapture

SEEDS ?= 100000
sim: ## Run the whole daemon from SEEDS=100000 seeds on a simulated disk, network and clock, with faults
	$(CARGO) run --profile sim --locked -p hongbao-sim -- --seeds $(SEEDS)

FUZZ_SECONDS ?= 60
fuzz: ## Run each fuzz target for a minute (FUZZ_SECONDS=N for longer)
	command -v cargo-fuzz >/dev/null || $(CARGO) install --locked cargo-fuzz
	set -e; for target in wire_client wire_server seed; do \
	  RUSTC_BOOTSTRAP=1 $(CARGO) fuzz run --fuzz-dir protocol/fuzz $$target -- -max_total_time=$(FUZZ_SECONDS); \
	done

clean: ## Remove what was built
	$(CARGO) clean

.PHONY: help build demo tools test faults check bench million dashboards-check deb deb-check sim fuzz clean
