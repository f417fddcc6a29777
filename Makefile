# Needs Python (3.11 or newer) and make; everything else is installed into .venv.

PYTHON ?= python3
VENV := .venv
CODEGEN := .venv-codegen
REQUIREMENTS := server/requirements
BIN := $(VENV)/bin
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check --no-deps

# An environment is made once and updated when what it was made from changes: these files say how far it is.
RUN := $(VENV)/.run-installed
DEV := $(VENV)/.dev-installed

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run demo test test-long check lint format bench bench-long faults faults-full fault-tools proto lock install clean distclean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

run: $(RUN) ## start the service, with a PostgreSQL of its own unless LEDGER_DATABASE_URL is set
	@exec $(BIN)/python -m ledger_server

demo: $(RUN) ## play the marketplace tutorial against a service of its own, or the one at LEDGER_ADDRESS
	@exec $(BIN)/python -m ledger_client.demo

test: $(DEV) ## run all tests but the long ones
	$(BIN)/python -m pytest -m "not long" tests

test-long: $(DEV) ## run the tests that take minutes
	$(BIN)/python -m pytest -m long tests

check: lint ## lint, SQL prepared, unit tests
	$(BIN)/python -m pytest -q tests/unit tests/service/test_sql.py

lint: $(DEV) $(CODEGEN)/.installed ## format, lint, types, protos, stubs fresh
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/buf lint protos
	$(CODEGEN)/bin/python protos/generate.py --check

format: $(DEV) ## format the code and repair what the linter can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(DEV) ## measure throughput and latency, briefly
	$(BIN)/python -m tests.benchmarks

bench-long: $(DEV) ## measure throughput and latency for longer, on more accounts
	$(BIN)/python -m tests.benchmarks --long

faults: $(DEV) fault-tools ## break everything around the service, a tenth as often as faults-full
	$(BIN)/python -m tests.faults

faults-full: $(DEV) fault-tools ## break everything around the service, for up to two hours
	$(BIN)/python -m tests.faults --full

# For faults only: tools that break what Python cannot. Without one of them there is no verdict.
fault-tools: ## install what make faults needs from Debian, as root
	@missing=""; command -v strace >/dev/null || missing=" strace"; \
	test -n "$$(find /usr/lib /usr/lib64 -name libfaketime.so.1 2>/dev/null)" || missing="$$missing libfaketime"; \
	if [ -n "$$missing" ]; then \
		if [ "$$(id -u)" != 0 ]; then \
			echo "make faults needs$$missing, and root (to mount a small disk, too)." >&2; \
			echo "Run it as root, or first: apt-get install$$missing" >&2; exit 1; \
		fi; \
		echo "Installing$$missing …"; apt-get update -qq && apt-get install -y -qq $$missing >/dev/null; \
	fi
	@test "$$(id -u)" = 0 || { echo "make faults needs root, to mount a small disk that it fills." >&2; exit 1; }

proto: $(CODEGEN)/.installed ## generate the Python stubs from protos/
	$(CODEGEN)/bin/python protos/generate.py

# Each lock is constrained by the one before, so that a package has one version in all of them.
LOCK := uv pip compile --quiet --generate-hashes --universal --python-version 3.11 --no-header --no-annotate \
	--no-emit-index-url $(foreach package,psutil platformdirs fasteners,--no-emit-package $(package))

lock: ## pin the requirements anew from their .in files (needs uv)
	@command -v uv >/dev/null || { echo "make lock needs uv: pip install uv" >&2; exit 1; }
	cd $(REQUIREMENTS) && $(LOCK) dev.in -o dev.txt
	cd $(REQUIREMENTS) && $(LOCK) -c dev.txt run.in -o run.txt
	cd $(REQUIREMENTS) && $(LOCK) -c run.txt server.in -o server.txt
	cd $(REQUIREMENTS) && $(LOCK) -c run.txt build.in -o build.txt
	cd $(REQUIREMENTS) && $(LOCK) codegen.in -o codegen.txt

install: $(DEV) $(CODEGEN)/.installed ## make the environments without running anything

clean: ## remove caches and build output; the environments and the data stay
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis client/dist server/dist
	find client server tests protos -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## remove the environments too; the data stays
	rm -rf $(VENV) $(CODEGEN)

# --- environments ---

# Debian's python3 comes without ensurepip, and says so only after having made half an environment.
define REQUIRE_PYTHON
command -v $(PYTHON) >/dev/null || { \
	echo "There is no '$(PYTHON)' here. Install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3" >&2; \
	exit 1; }; \
$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	echo "The ledger needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) -V 2>&1)." \
		"Name another one: make PYTHON=python3.12" >&2; \
	exit 1; }; \
$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	echo "'$(PYTHON)' cannot make virtual environments: the module ensurepip is missing." \
		"On Debian and Ubuntu install it with:" >&2; \
	$(PYTHON) -c 'import sys; print("  apt install python3.%d-venv" % sys.version_info[1])' >&2; \
	exit 1; }
endef

$(VENV)/bin/python:
	@$(REQUIRE_PYTHON)
	@echo "Creating the environment in $(VENV) …"
	@$(PYTHON) -m venv --clear $(VENV)

$(RUN): $(REQUIREMENTS)/run.txt client/pyproject.toml server/pyproject.toml | $(VENV)/bin/python
	@echo "Installing the pinned requirements …"
	@$(BIN)/python $(PIP_INSTALL) --require-hashes -r $(REQUIREMENTS)/run.txt
	@$(BIN)/python $(PIP_INSTALL) --no-build-isolation -e client -e server
	@touch $@

$(DEV): $(REQUIREMENTS)/dev.txt $(RUN)
	@echo "Installing the developer's tools …"
	@$(BIN)/python $(PIP_INSTALL) --require-hashes -r $(REQUIREMENTS)/dev.txt
	@touch $@

$(CODEGEN)/.installed: $(REQUIREMENTS)/codegen.txt
	@$(REQUIRE_PYTHON)
	@$(PYTHON) -m venv --clear $(CODEGEN)
	@$(CODEGEN)/bin/python $(PIP_INSTALL) --require-hashes -r $(REQUIREMENTS)/codegen.txt
	@touch $@
