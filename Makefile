# The commands of this project. A newcomer needs two: `make run` and `make test`.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin

# Branch coverage of these modules is complete, and stays complete. These folders of unit
# tests reach all of it. The other unit tests run without, since it doubles their time.
COMPLETE := events/event events/record events/address hub/delivery/history \
  hub/clients/client hub/clients/registry hub/hub hub/lifecycle
COVERING := $(addprefix tests/unit/,answers events hub metrics mistakes streams)
comma := ,
empty :=
space := $(empty) $(empty)
INCLUDE := $(subst $(space),$(comma),$(COMPLETE:%=flask_sse_hub/%.py))

# Some machines forbid Python to keep bytecode. Without it, each of the several hundred
# servers of the live tests would compile the package again.
unexport PYTHONDONTWRITEBYTECODE

# Tests with servers and browsers wait more than they compute.
JOBS ?= $(shell expr $$(nproc 2>/dev/null || echo 2) + 2)

# The browser tests that use the example app, and those in each engine.
ENGINES := tests/browser/test_engines.py tests/browser/test_standard.py
DEMO := $(patsubst %,tests/browser/test_%.py,accessibility chat demo import pages tabs)

.PHONY: help run test prepared everything style format types imports unit unit-covering unit-others others \
  unit-gevent unit-pythons pythons-gevent pythons-plain live live-here live-elsewhere browser browser-demo browser-client browser-engines compat engines docs chaos fuzz \
  bench bench-peers bench-parts bench-scrape bench-capacity bench-proxies bench-navigations pictures dist client system clean

help: ## List the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  %-13s %s\n", $$1, $$2}' Makefile

run: $(VENV)/demo ## Start the example app on http://127.0.0.1:8000 (PORT, HOST)
	FLASK_DEMO=true $(BIN)/gunicorn

test: ## Run everything that CI runs
	$(MAKE) --jobs=$(JOBS) --output-sync prepared
	$(MAKE) --jobs=$(JOBS) --output-sync everything

prepared: $(VENV)/system $(VENV)/dev tests/node_modules tests/wheels client/node_modules

# The longest first, so that short jobs fill the time in which long ones wait.
everything: browser-client browser-demo browser-engines live-here pythons-gevent pythons-plain live-elsewhere unit-others others client unit-covering types style imports

style: $(VENV)/dev ## Check formatting and lint
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

format: $(VENV)/dev ## Format, and fix what the linter can fix
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

types: $(VENV)/dev ## Check the types, strictly
	$(BIN)/mypy

imports: $(VENV)/dev ## Check the import rule between packages
	$(BIN)/lint-imports --no-cache

client: client/node_modules ## Check, test and size the browser client
	if command -v npm >/dev/null; then cd client && npm run --silent check && npm test --silent; fi

unit: unit-covering unit-others ## Unit and contract tests, with coverage

unit-covering: $(VENV)/dev
	$(BIN)/coverage run -m pytest $(COVERING)
	$(BIN)/coverage report --include="$(INCLUDE)" --fail-under=100

unit-others: $(VENV)/dev
	$(BIN)/pytest tests/unit $(COVERING:%=--ignore %)

others: $(VENV)/dev tests/node_modules ## Tests of the wire, the docs and the example app
	$(BIN)/pytest -m "not live and not browser" --ignore tests/unit

unit-gevent: $(VENV)/dev ## The unit tests under gevent's patching
	$(BIN)/python -m tests.under_gevent tests/unit

unit-pythons: pythons-gevent pythons-plain ## The unit tests under gevent, and on the other Pythons of this machine

pythons-gevent: $(VENV)/dev
	./tests/other-pythons gevent

pythons-plain: $(VENV)/dev
	./tests/other-pythons plain

live: $(VENV)/dev tests/node_modules ## Tests through real servers
	$(BIN)/pytest -m live

# About half of the live tests each.
live-here: $(VENV)/dev
	$(BIN)/pytest -m live tests/live

live-elsewhere: $(VENV)/dev tests/node_modules
	$(BIN)/pytest -m live --ignore tests/live

browser: $(VENV)/dev tests/node_modules tests/wheels ## Tests in real browsers
	$(BIN)/pytest -m browser

# About a third of the browser tests each.
browser-engines: $(VENV)/dev tests/node_modules
	$(BIN)/pytest -m browser $(ENGINES)

browser-demo: $(VENV)/dev
	$(BIN)/pytest -m browser $(DEMO)

browser-client: $(VENV)/dev tests/node_modules tests/wheels
	$(BIN)/pytest -m browser $(DEMO:%=--ignore %) $(ENGINES:%=--ignore %)

compat: $(VENV)/dev tests/node_modules ## Try other packages and servers, and write docs/compatibility.md
	$(BIN)/python -m tests.compat

engines: $(VENV)/dev tests/node_modules ## Try the client in each browser engine, and write docs/browser.md
	$(BIN)/python -m tests.browser.engines

docs: $(VENV)/docs ## Build the documentation as a site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "The site is in site/: open site/index.html"

chaos: $(VENV)/dev ## Minutes of killed workers, reloads and cuts, checked event by event
	for broker in sqlite redis; do for way in "" --generator; do \
	  $(BIN)/python -m tests.chaos --broker $$broker --seconds 120 $$way || exit 1; \
	  $(BIN)/python -m tests.chaos --broker $$broker --seconds 60 --scarce $$way || exit 1; \
	done; done
	for broker in sqlite redis; do \
	  $(BIN)/python -m tests.chaos.answers_storm --broker $$broker || exit 1; \
	  $(BIN)/python -m tests.chaos.answers_storm --broker $$broker --answers 200 --outages \
	    || exit 1; \
	  $(BIN)/python -m tests.chaos.presence_storm --broker $$broker || exit 1; done
	$(BIN)/python -m tests.attacks

fuzz: $(VENV)/dev ## Minutes of 100,000 cases and more, drawn anew each time
	$(BIN)/python -m tests.fuzz

bench: $(VENV)/bench ## Compare with other servers, and write docs/benchmarks.md and README.md
	$(BIN)/python -m benchmarks.compare --write
	$(BIN)/python -m benchmarks.figures --write
	$(BIN)/python -m docs.make_pictures

pictures: $(VENV)/dev ## Make the pictures of the README and of the documentation
	$(BIN)/python -m docs.make_pictures
	$(BIN)/python -m benchmarks.pictures

dist: $(VENV)/dev ## Build the source distribution and the wheel, and check both
	rm -rf dist
	$(BIN)/python -m build --outdir dist
	$(BIN)/twine check --strict dist/*

bench-peers: ## Install the servers that bench compares with
	PYTHON=$(PYTHON) ./benchmarks/peers/install

bench-parts: $(VENV)/dev ## Measure parts of the hub, each beside a baseline
	$(BIN)/python -m benchmarks.requests
	$(BIN)/python -m benchmarks.delivery
	$(BIN)/python -m benchmarks.brokers
	$(BIN)/python -m benchmarks.redis_appends
	$(BIN)/python -m benchmarks.followers
	$(BIN)/python -m benchmarks.sizing
	$(BIN)/python -m benchmarks.spread
	$(BIN)/python -m benchmarks.logout
	$(BIN)/python -m benchmarks.answers
	$(BIN)/python -m benchmarks.lasting
	$(BIN)/python -m benchmarks.presence
	$(BIN)/python -m benchmarks.presence_memory
	$(BIN)/python -m benchmarks.hooks
	$(BIN)/python -m benchmarks.patterns
	$(BIN)/python -m benchmarks.state

bench-scrape: $(VENV)/dev ## Measure 10,000 streams with a scrape each second, and without
	$(BIN)/python -m benchmarks.scrape

bench-capacity: $(VENV)/dev ## Measure the constants of `flask sse plan`, and write docs/capacity.md
	$(BIN)/python -m benchmarks.capacity --write

bench-proxies: $(VENV)/dev ## Measure proxies in front, and write docs/deploying.md
	$(BIN)/python -m benchmarks.proxies --write

bench-navigations: $(VENV)/dev ## Measure streams during downloads, and write docs/browser.md
	$(BIN)/python -m benchmarks.navigations --write

system: ## Install the system packages that the tests need
	./tests/install-system-packages

# A file, so that targets that need the packages do not wait for a look at them.
$(VENV)/system: tests/install-system-packages | $(BIN)/python
	./tests/install-system-packages
	touch $@

clean: ## Remove what the other targets made
	rm -rf $(VENV) client/node_modules tests/node_modules tests/wheels benchmarks/load/build
	rm -rf build dist site
	rm -rf .coverage .mypy_cache .pytest_cache .ruff_cache
	rm -rf benchmarks/peers/.venv benchmarks/peers/node_modules

$(BIN)/python:
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "Python 3.11 or later with venv is needed: apt-get install python3-venv"; exit 1; }

$(VENV)/demo: setup.cfg pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[demo]'
	touch $@

$(VENV)/docs: setup.cfg pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[docs]'
	touch $@

$(VENV)/dev: setup.cfg pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	$(BIN)/python tests/kit/entry_points_once.py
	touch $@ $(VENV)/demo $(VENV)/docs

$(VENV)/bench: $(VENV)/dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[bench]'
	touch $@

client/node_modules: client/package.json client/package-lock.json | $(VENV)/system
	if command -v npm >/dev/null; then \
	  cd client && npm ci --silent --no-audit --no-fund && touch node_modules; fi

tests/node_modules: tests/package.json tests/package-lock.json | $(VENV)/system
	if command -v npm >/dev/null; then \
	  cd tests && npm ci --silent --no-audit --no-fund && touch node_modules; fi

tests/wheels: tests/foreign_clients/downloads.txt | $(BIN)/python
	rm -rf $@
	$(BIN)/python -m pip download --quiet --disable-pip-version-check --no-deps \
	  --ignore-requires-python --only-binary :all: --require-hashes --dest $@ -r $< && touch $@
