# make lab | figures | check | test | course | site: each installs what it needs first, once.
# make setup installs what the notebooks need, make setup-test also what the tests need.
PYTHON ?= python3
DATA   ?= digits
DEVICE ?= auto
# Downloads, whichever folder a notebook runs in.
OOD_DATA ?= $(CURDIR)/data
export DATA DEVICE OOD_DATA

VENV := .venv
PY   := $(VENV)/bin/python
# These wait for a browser, and so run alone.
BROWSER := tests/widgets/test_browser.py tests/widgets/test_jupyterlab.py
# The first file that is newer than the tests' last success.
CHANGED = $(shell find ood_helpers notebooks tests figures Makefile README.md environment.yml CITATION.cff .ci \
	-newer $(VENV)/tested -not -path '*/__pycache__*' -not -path '*/.*_checkpoints*' 2>/dev/null | head -n 1)

.PHONY: lab figures check test test-long course site setup setup-test always

# Only this machine can reach it, and only with the token in the address; root is who one is in a container.
# It opens the start page, which leads to notebooks that may be written in: those in course/ are in no commit.
# JupyterLab's question about news would cover the notebook, and would ask the network.
NEWS := {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": false}}
lab: $(VENV)/installed course/made
	@mkdir -p $(VENV)/share/jupyter/lab/settings && echo '$(NEWS)' > $(VENV)/share/jupyter/lab/settings/overrides.json
	$(PY) -m jupyterlab --ip=127.0.0.1 --LabApp.default_url=/lab/tree/course/start.ipynb \
	  $(if $(filter 0,$(shell id -u)),--allow-root)

# What has changed is decided inside, notebook by notebook: nothing is run twice.
figures: $(VENV)/installed
	@$(PY) -m ood_helpers.course figures

# The developer's loop: lint, types and the fast tests of the core.
check: $(VENV)/test-installed
	$(PY) -m ruff format --check --quiet .
	$(PY) -m ruff check --quiet .
	$(PY) -m mypy
	$(PY) -m pytest -q -n 2 -m "not slow" tests/core tests/engine $(wildcard ood_helpers/*.py ood_helpers/engine/*.py)

test: $(VENV)/tested
	@echo "The tests passed and nothing has changed since; make -B test runs them again."

# The accessibility audit of the pages, and what drives Firefox; without npm their tests are skipped.
NODE_MODULES := $(VENV)/node_modules/puppeteer-core
$(NODE_MODULES): | $(VENV)/test-installed
	@if command -v npm >/dev/null; then npm install --silent --no-save --prefix $(VENV) axe-core@4 puppeteer-core@24; fi

$(VENV)/tested: $(VENV)/test-installed $(if $(CHANGED),always) | $(NODE_MODULES)
	$(PY) -m pytest -n 2 --dist loadfile $(addprefix --ignore=,$(BROWSER))
	$(PY) -m pytest $(BROWSER)
	@touch $@

# Kills, flips and generated cases by the thousand; what they came to is written to tests/long_report.md.
test-long: $(VENV)/test-installed
	$(PY) tests/long_report.py tests/project/test_reliability.py tests/core/test_losses.py tests/core/test_scores.py \
	  tests/core/test_metrics.py tests/engine/test_kernels.py tests/data/test_sets.py tests/core/test_config.py \
	  tests/project/test_other_images.py tests/widgets/test_timing.py

# Made from the notebooks as they are, with their outputs; anew only where something is newer than what was made.
SOURCES = $(wildcard notebooks/*.ipynb $(shell find ood_helpers -name "*.py" -o -path "*/static/*" 2>/dev/null) figures/digits/*.html)

course: course/made
	@echo "Students' and teachers' notebooks and slides are in course/."

site: site/index.html
	@echo "Open site/index.html in a browser; it needs no network."

course/made: $(SOURCES) | $(VENV)/installed
	@$(PY) -m ood_helpers.course course
	@touch $@

site/index.html: $(SOURCES) | $(VENV)/installed
	@$(PY) -m ood_helpers.course site

setup: $(VENV)/installed

setup-test: $(VENV)/test-installed

# The extras of pyproject.toml that an environment for notebooks, and one for the tests, has.
$(VENV)/installed: EXTRAS := notebooks
$(VENV)/test-installed: EXTRAS := notebooks,bridges,cluster,test

# An environment is built anew only where its Python or its pip does not start.
$(VENV)/installed $(VENV)/test-installed: pyproject.toml
	@$(PY) -c 'import pip' 2>/dev/null || { \
	  fail() { echo "$$1" >&2; exit 1; }; \
	  command -v "$(PYTHON)" >/dev/null || \
	    fail "There is no $(PYTHON) here: install Python 3.11 or newer, or name it: make PYTHON=python3.12."; \
	  "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    fail "$$("$(PYTHON)" -V) is too old: use Python 3.11 or newer, named as in make PYTHON=python3.12."; \
	  "$(PYTHON)" -c 'import venv, ensurepip' 2>/dev/null || \
	    fail "$(PYTHON) comes without venv: install it (on Debian and Ubuntu: apt install python3-venv)."; \
	  { "$(PYTHON)" -m venv $(VENV) && $(PY) -c 'import pip'; } >/dev/null 2>&1 || \
	    "$(PYTHON)" -m venv --clear $(VENV); }
	$(PY) -m pip install --disable-pip-version-check -e '.[$(EXTRAS)]'
	@touch $@ $(VENV)/installed
