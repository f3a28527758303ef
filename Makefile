# Each target does its own set-up, in a virtual environment of the project's own.

PYTHON ?= python3
VENV ?= .venv
PYTEST_ARGS ?=
BENCH_ARGS ?=
SERVERS_ARGS ?=
BENCH_VENV ?= .venv-bench
MCP_VENV ?= .venv-mcp
TOOLS_VENV ?= .venv-tools

python := $(VENV)/bin/python
# `extras` is each target's own. The first run takes a minute or two, and says what it does.
install = @echo "Installing the extras $(extras) into $(VENV) …" && \
	$(python) -m pip install --quiet --disable-pip-version-check --editable '.[$(extras)]'

.PHONY: help demo test fresh prove fuzz lint types tools check wheel quickstart docs screenshots bench findings servers clean
.DELETE_ON_ERROR:

help:
	@echo "make demo    sandbox providers, site, worker and beat; prints the address and the logins"
	@echo "make test    the whole test suite (PYTEST_ARGS='…' is passed on)"
	@echo "make fresh   both of README's commands on a bare Debian 12; needs root and debootstrap"
	@echo "make check   the demo driven by HTTP with nobody watching; exits 0 or 1"
	@echo "make mcp     the conformance suite of MCP, and others' servers and clients of it; needs npm"
	@echo "make prove   single flight, kills, habits, outages, connections, copies, deploys and scale, with real processes"
	@echo "make lint    ruff, mypy, import contracts, missing migrations"
	@echo "make bench   measurements beside the peers, on PostgreSQL (BENCH_ARGS='--scale 0.1' is passed on)"
	@echo "make findings  others' libraries and servers, seen doing what nobody would guess; needs npm"
	@echo "make tools   real trackers, profilers and auditors beside the app, every byte they keep searched"
	@echo "make servers real authorization servers: the app at each, and docs/reference/real-servers.md; needs npm"
	@echo "make types   a typed site checked against the wheel: mypy --strict and pyright"
	@echo "make wheel   the wheel in an empty project, on SQLite, PostgreSQL and MariaDB"
	@echo "make quickstart  docs/quickstart.md followed word for word, with the wheel in an empty folder"
	@echo "make docs    the documentation, into site/"
	@echo "make screenshots  a picture of every page, into docs/images; needs Chromium"
	@echo "make clean   removes what the other targets made"
	@echo "PYTHON=python3.13 picks another Python (3.11 or newer)."

demo: $(VENV)/demo.stamp
	$(python) manage.py demo

check: $(VENV)/demo.stamp
	$(python) manage.py demo --check

# tests/conftest.py puts the files in order.
test: $(VENV)/test.stamp
	$(python) -m pytest -n auto --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

fresh:
	.ci/fresh

# Two hours or so. Needs PostgreSQL (DATABASE_URL), MariaDB and RabbitMQ on their usual ports, and
# the programs of PostgreSQL, Redis and RabbitMQ, of which it starts servers of its own.
prove: $(VENV)/test.stamp
	$(python) -m bench.prove_single_flight
	$(python) -m bench.prove_kill
	$(python) -m bench.prove_habits
	$(python) -m bench.prove_limits
	$(python) -m bench.prove_outages
	$(python) -m bench.prove_connections
	$(python) -m bench.prove_copies
	$(python) -m bench.prove_deploy
	$(python) -m bench.prove_scale
	$(python) -m bench.prove_import
	$(python) -m bench.prove_fairness

# Others' servers, clients and the protocol's conformance suite, in an environment of their own.
mcp: $(MCP_VENV)/mcp.stamp
	$(MCP_VENV)/bin/python -m tests.mcp.run_conformance $(MCP_VENV)/npm
	$(MCP_VENV)/bin/python -m pytest tests/mcp/real

lint: $(VENV)/dev.stamp
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(python) manage.py makemigrations --check --dry-run

# Needs npm, for pyright.
types: $(VENV)/test.stamp
	$(python) -m tests.typed_host

# In an environment of their own, with the versions that tests/tools/requirements.txt pins.
tools: $(TOOLS_VENV)/tools.stamp
	$(TOOLS_VENV)/bin/python -m pytest -c tests/tools/pytest.ini --rootdir . -n 2 $(PYTEST_ARGS) tests/tools

wheel: $(VENV)/test.stamp
	$(python) -m tests.wheel

quickstart: $(VENV)/test.stamp
	$(python) -m tests.quickstart

docs: $(VENV)/docs.stamp
	$(VENV)/bin/mkdocs build --strict

# The peers get an environment of their own, with the versions that bench/requirements.txt pins.
# An hour or two, for each night; FUZZ says how many of each kind.
FUZZ = 100000
fuzz: $(VENV)/test.stamp
	CONNECTED_ACCOUNTS_FUZZ_EXAMPLES=$(FUZZ) $(python) -m pytest tests/security/test_fuzz.py -rP --show-capture=stdout $(PYTEST_ARGS)

bench: $(BENCH_VENV)/bench.stamp
	$(BENCH_VENV)/bin/python -m bench $(BENCH_ARGS)

# Each installs others' packages in a folder of its own. All run, and a change in any is an error.
findings:
	@failed=; for script in findings/*.sh; do \
		echo "== $$script"; PYTHON="$(PYTHON)" "$$script" || failed="$$failed $$script"; \
	done; test -z "$$failed" || { echo "Not as recorded, or not run:$$failed"; exit 1; }

# Into .servers, which is kept for the next time. SERVERS_ARGS=--check compares and writes nothing,
# SERVERS_ARGS=--install does no more than that.
servers: $(VENV)/test.stamp
	$(python) -m tests.servers $(SERVERS_ARGS)

screenshots: $(VENV)/test.stamp
	$(python) -m tests.browser.screenshots

clean:
	rm -rf .demo db.sqlite3 db.sqlite3-shm db.sqlite3-wal
	rm -rf $(VENV) $(BENCH_VENV) $(MCP_VENV) $(TOOLS_VENV) .servers .tox build dist site htmlcov .coverage .coverage.*
	rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp is as old as the last installation: a newer pyproject.toml installs again.

$(VENV)/demo.stamp: extras = demo
$(VENV)/demo.stamp: pyproject.toml | $(VENV)/bin/pip
	$(install)
	@touch $@

$(VENV)/test.stamp: extras = demo,test,movers,histories
$(VENV)/test.stamp: pyproject.toml | $(VENV)/bin/pip
	$(install)
	@touch $@ $(VENV)/demo.stamp

$(VENV)/dev.stamp: extras = demo,test,movers,histories,dev
$(VENV)/dev.stamp: pyproject.toml | $(VENV)/bin/pip
	$(install)
	@touch $@ $(VENV)/demo.stamp $(VENV)/test.stamp

$(VENV)/docs.stamp: extras = docs
$(VENV)/docs.stamp: pyproject.toml | $(VENV)/bin/pip
	$(install)
	@touch $@

$(BENCH_VENV)/bench.stamp: pyproject.toml bench/requirements.txt | $(VENV)/bin/pip
	$(PYTHON) -m venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --requirement bench/requirements.txt
	@touch $@

$(MCP_VENV)/mcp.stamp: pyproject.toml tests/mcp/requirements.txt tests/mcp/real/package.json | $(VENV)/bin/pip
	$(PYTHON) -m venv $(MCP_VENV)
	$(MCP_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[demo,test]' --requirement tests/mcp/requirements.txt
	mkdir -p $(MCP_VENV)/npm
	cp tests/mcp/real/package.json $(MCP_VENV)/npm
	npm install --silent --no-audit --no-fund --legacy-peer-deps --prefix $(MCP_VENV)/npm
	@touch $@

$(TOOLS_VENV)/tools.stamp: pyproject.toml tests/tools/requirements.txt | $(VENV)/bin/pip
	$(PYTHON) -m venv $(TOOLS_VENV)
	$(TOOLS_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable . --requirement tests/tools/requirements.txt
	@touch $@

$(VENV)/bin/pip:
	@command -v $(PYTHON) >/dev/null || { \
		echo "$(PYTHON) was not found. Install Python 3.11 or newer, or name one: make PYTHON=/path/to/python"; \
		exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Python 3.11 or newer is needed; $(PYTHON) is $$($(PYTHON) --version 2>&1). Name another: make PYTHON=python3.13"; \
		exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
		echo "$(PYTHON) has no venv module. On Debian and Ubuntu: apt install python3-venv"; \
		exit 1; }
	@echo "Making a virtual environment in $(VENV) …"
	@$(PYTHON) -m venv $(VENV)
