# The project's daily commands. `demo`, `test`, `bench`, `lint` and `format` do the set-up themselves, on a fresh Debian 12 too.

bin := .venv/bin
python := $(bin)/python
sources := control datapath bench tests

# Arguments for the programs behind the targets: make demo ARGS="...", make test ARGS="-k lease", make bench ARGS="..."
ARGS ?=

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup machine demo test unit namespaces kernel system interop bench fuzz lint format

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Debian packages, the BPF file system and .venv; quick when nothing is missing
	@.ci/setup

machine: # what `kernel` and some unit tests need beyond that; the demo and the benches do without
	@.ci/setup --machine

demo: setup ## kill a home agent in network namespaces and watch its mobile nodes come back (root)
	@$(python) -m bench.demo $(ARGS)

# The emulated machine leaves half of the processors to the unit tests, which wait for nobody. The tests in namespaces do.
test: setup machine lint ## everything CI runs: lint, unit and property tests, tests in namespaces and in QEMU (root)
	@mkdir -p .pytest_cache; setsid $(MAKE) --no-print-directory kernel >.pytest_cache/kernel.log 2>&1 & kernel=$$!; \
	trap 'kill -- -$$kernel 2>/dev/null' EXIT INT TERM; \
	$(MAKE) --no-print-directory unit || exit 1; \
	wait $$kernel; status=$$?; cat .pytest_cache/kernel.log; exit $$status
	@$(MAKE) --no-print-directory namespaces

unit: setup ## tests that need no privilege, on all cores
	@$(python) -m pytest -q -n auto -m "not namespaces and not kernel" $(ARGS)

# Three files at a time, in namespaces and with pins of their own: most of the tests wait for something most of the time.
# tests/conftest.py has the longest ones first, which xdist would keep for the end, because they have the fewest tests.
namespaces: setup ## tests with real XDP and sockets in network namespaces (root)
	@.ci/tier $(python) namespaces -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

# Its 2 processors are emulated: 5 to 8 minutes, of which the machine itself takes 20 seconds to start.
kernel: setup machine ## tests inside Debian's own kernel, under QEMU (root)
	@.ci/tier $(python) kernel $(ARGS)

# One after the other: an emulated machine beside other tests takes more than twice as long, and they wait in vain.
system: machine namespaces kernel ## the two tiers above (root)

# The tests of both tiers that talk to strongSwan, and what they have shown into the documentation.
interop: setup machine ## talk to strongSwan, here and under QEMU, and write docs/interoperability.md (root)
	@rm -f docs/interoperability.md
	@$(python) -m pytest -q -m "interop or collision" --write-interoperability docs/interoperability.md $(ARGS)

bench: setup ## rehearse a failover and measure it; ARGS="--mobile-nodes 1000 --loss 1" and more (root)
	@$(python) -m bench.failover $(ARGS)

fuzz: setup ## look for inputs that parsers and IKE SAs do not survive; ARGS=600 for 10 minutes a target, default 60 seconds
	@$(python) -c "import atheris" 2>/dev/null || $(bin)/pip install -q -e ".[fuzz]"
	@for target in $$($(python) -m tests.fuzz --list 2>/dev/null); do $(python) -m tests.fuzz $$target $(or $(ARGS),60) || exit 1; done

lint: setup ## ruff, mypy --strict and the import contracts
	@$(bin)/ruff check $(sources)
	@$(bin)/ruff format --check $(sources)
	@$(bin)/mypy
	@$(bin)/lint-imports --no-logo

format: setup ## let ruff put imports and layout in order
	@$(bin)/ruff check --fix $(sources)
	@$(bin)/ruff format $(sources)
