# Phi-3.5 Labs. `make lab` and `make test` are all a newcomer needs; each sets up .venv on its first use.
#
#   make lab                       JupyterLab on notebooks/00-start-here.ipynb     PORT=8888  BROWSER=0
#   make test                      every test, every notebook of both editions     TESTS="tests/models/test_models.py"
#   make browser-test              JupyterLab in headless Chromium, and in Firefox where it is installed
#   make hub-test                  JupyterHub with three learners in headless Chromium (needs npm)
#   make notebooks                 both editions from notebooks/src                LABS="00 01"  LANG=ko
#   make site                      documents and solved labs as a site, in build/site
#   make bench                     speed against plain mlx_lm
#   make checkpoints               train the bundled checkpoints again (hours on two cores; .venv-training with torch)
#   make training-test             the tests of training, in .venv-training
#   make setup | lint | clean
#
# PYTHON=python3.12 picks the Python that makes .venv. VENV=path uses another environment, which is made if missing.
# In the conda environment of environment.yml that environment is used; other active environments are left alone.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PORT ?= 8888
# Learner editions run from the learners' zip (tests/course/test_learners_zip.py), and once is enough.
TESTS ?= tests notebooks/solutions
LABS ?=
ifeq ($(CONDA_DEFAULT_ENV),phi35-labs)
VENV ?= $(CONDA_PREFIX)
endif
VENV ?= .venv
# Training has an environment of its own: with torch beside it, `import mlx_lm` takes twice as long.
TRAINING_VENV ?= .venv-training

BIN := $(VENV)/bin
READY := $(VENV)/.labs-ready
TRAINING_READY := $(TRAINING_VENV)/.labs-training-ready
BROWSER_READY := $(VENV)/.labs-browser-ready
HUB_READY := $(VENV)/.labs-hub-ready
SITE_READY := $(VENV)/.labs-site-ready
PYTHON ?= $(shell for each in python3.11 python3.12 python3.13 python3.14 python3; do \
	$$each -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$each; break; }; done)

# What tests and notebooks run with: bundled models, no network, and no compiler runs (on Linux each costs a second).
# Whatever tests and benchmarks solve is nobody's progress.
OFFLINE := LABS_MODELS=tiny HF_HUB_OFFLINE=1 MLX_DISABLE_COMPILE=1 LABS_PROGRESS=off
# A limit on the whole run, where the system has `timeout` (macOS does not; pytest's own limits still hold there).
LIMIT := $(if $(shell command -v timeout),timeout --kill-after=20 1200)
PYTEST := $(OFFLINE) $(LIMIT) $(BIN)/python -m pytest

.PHONY: help lab test browser-test hub-test training-test notebooks checkpoints site bench setup lint clean blas-note

help:
	@sed -n '3,15s/^# *//p' Makefile

setup: $(READY)

# With the environment on PATH, `!labs reset 01` works in a cell.
lab: $(READY) blas-note
	PATH="$(abspath $(BIN)):$$PATH" JUPYTER_PREFER_ENV_PATH=1 $(BIN)/python -m jupyterlab --ServerApp.ip=127.0.0.1 --ServerApp.port=$(PORT) \
		--ServerApp.root_dir="$(CURDIR)" --LabApp.default_url=/lab/tree/notebooks/00-start-here.ipynb \
		$(if $(filter 0,$(BROWSER)),--no-browser) $(if $(filter 0,$(shell id -u)),--allow-root)

# Two files at a time: most tests use one core, or wait for a process of their own.
TWO := -n 2 --dist loadfile

test: $(READY) blas-note
	$(PYTEST) $(TESTS) $(TWO) -m "not browser and not hub and not training" --nbval-lax --nbval-current-env --nbval-cell-timeout=60

browser-test: $(BROWSER_READY)
	$(PYTEST) tests -m browser --timeout=600 $(TWO)

hub-test: $(HUB_READY)
	$(PYTEST) tests -m hub

# LANG is also a variable of every shell: only the one that is given to make counts.
SPOKEN := $(if $(filter command line,$(origin LANG)),--language $(LANG))

notebooks: $(READY)
	$(BIN)/labs notebooks build $(LABS) $(SPOKEN)

# -W: a broken link between documents ends the build. The check after it reads the pages themselves.
site: $(SITE_READY)
	$(LIMIT) $(BIN)/python -m sphinx -q -E -W --keep-going -j auto -c docs/site -d build/site-cache . build/site
	$(BIN)/python docs/site/check.py build/site

bench: $(READY) blas-note
	$(OFFLINE) $(BIN)/python -m benchmarks

checkpoints: $(TRAINING_READY)
	$(TRAINING_VENV)/bin/python -m training make

training-test: $(TRAINING_READY)
	$(OFFLINE) $(LIMIT) $(TRAINING_VENV)/bin/python -m pytest tests/training $(TWO) -m training

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --platform win32 --no-warn-unreachable
	$(BIN)/python tests/as_on_windows.py
	$(BIN)/lint-imports
	$(BIN)/python docs/style_check.py

# Stored outputs, downloaded models and bundled checkpoints stay. What goes comes back with `make setup`.
clean:
	rm -rf .venv .venv-training .pytest_cache .ruff_cache build
	find . -name __pycache__ -prune -exec rm -rf {} +
	find . -name .ipynb_checkpoints -prune -exec rm -rf {} +

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed. Install it, or name it: make PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { echo "$(PYTHON) cannot make environments. On Debian or Ubuntu: apt install python3-venv"; exit 1; }
	$(PYTHON) -m venv "$(VENV)"

$(READY): pyproject.toml constraints.txt | $(BIN)/python
	@echo "Setting up $(VENV): one to three minutes, about 1.8 GB of disk ..."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@# No question about news at the first start: the course asks the network for nothing.
	@$(BIN)/jupyter labextension disable --level=sys_prefix "@jupyterlab/apputils-extension:announcements" 2>/dev/null
	@touch $@

$(TRAINING_READY): pyproject.toml constraints.txt | $(BIN)/python
	@echo "Setting up $(TRAINING_VENV) with torch ..."
	$(BIN)/python -m venv "$(TRAINING_VENV)"
	$(TRAINING_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,training]'
	@touch $@

$(BROWSER_READY): $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,browser]'
	@touch $@

# JupyterHub's own proxy is an npm package. It lies inside the environment and goes with it.
$(HUB_READY): $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,hub]'
	npm install --silent --no-fund --no-audit --no-package-lock --prefix "$(VENV)/hub-proxy" configurable-http-proxy@5.2.0
	@touch $@

$(SITE_READY): $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,site]'
	@touch $@

# MLX's Linux wheel multiplies matrices with a reference BLAS, tens of times slower than OpenBLAS.
blas-note: $(READY)
	@$(BIN)/python -c 'from labs_helper.corrections import blas; s = blas.preload(); s.fast or print("NOTE:", s.library, s.advice)'
