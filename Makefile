# Phi-3.5 Labs. `make lab` and `make test` are all a newcomer needs; each sets up .venv on its first use.
#
#   make lab                       JupyterLab on notebooks/00-start-here.ipynb     PORT=8888  BROWSER=0  LANG=ko
#   make test                      every test, every notebook of both editions     TESTS="tests/models/test_models.py"
#   make browser-test              JupyterLab in headless Chromium     LONG=1: whole labs that take minutes as well
#   make places-test               the views in Firefox, and in Notebook 7
#   make engine-test               whole labs with llama.cpp and ONNX Runtime in place of MLX
#   make languages-test            all labs in the other languages, both editions
#   make hub-test                  JupyterHub with three learners in headless Chromium (needs npm)
#   make notebooks                 both editions from notebooks/src                LABS="00 01"  LANG=ko
#   make site                      documents, solved labs and the page Ask as a site, in build/site     ENGINE=0
#   make site-serve                look at it, on this computer only              SITE_PORT=8000
#   make site-test                 the built site in headless browsers               QUICK=1
#   make bench                     speed against plain mlx_lm
#   make checkpoints               train the bundled checkpoints again (hours on two cores; .venv-training with torch)
#   make training-test             the tests of training, in .venv-training
#   make setup | lint | clean
#
# Without make, as on Windows: python start.py lab|test|setup|doctor. The commands here call it too.
# PYTHON=python3.12 picks the Python that makes .venv. GPU=cuda (or cuda12, cpu) picks what MLX computes on, WHEELHOUSE a
# folder or address with packages (`labs workshop wheelhouse`) instead of the network. VENV=path uses another environment, which is made if missing.
# In the conda environment of environment.yml that environment is used; other active environments are left alone.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PORT ?= 8888
SITE_PORT ?= 8000
# Learner editions run from the learners' zip (tests/course/test_learners_zip.py), and once is enough.
# Of the other languages one lab is enough here: a translation differs in words only. `languages-test` runs them all.
TESTS ?= tests notebooks/solutions notebooks/ko/solutions/00-start-here.ipynb
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
HUB_READY := $(VENV)/.labs-hub-ready
PLACES_READY := $(VENV)/.labs-places-ready
SITE_READY := $(VENV)/.labs-site-ready
# start.py says what to do where there is no Python for it. With uv alone, uv brings one.
PYTHON ?= $(shell for each in python3.11 python3.12 python3.13 python3.14 python3; do \
	$$each -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$each; break; }; done)
START := $(or $(PYTHON),$(if $(shell command -v uv),uv run --quiet --no-project,python3)) start.py
SETUP := $(START) setup $(if $(PYTHON),--python "$(PYTHON)") $(if $(GPU),--gpu $(GPU)) $(if $(WHEELHOUSE),--wheelhouse "$(WHEELHOUSE)")

# What tests and notebooks run with: bundled models, no network, and no compiler runs (on Linux each costs a second).
# Whatever tests and benchmarks solve is nobody's progress.
OFFLINE := LABS_MODELS=tiny HF_HUB_OFFLINE=1 MLX_DISABLE_COMPILE=1 LABS_PROGRESS=off
# A limit on the whole run, where the system has `timeout` (macOS does not; pytest's own limits still hold there).
LIMIT := $(if $(shell command -v timeout),timeout --kill-after=20 1500)
PYTEST := $(OFFLINE) $(LIMIT) $(BIN)/python -m pytest

.PHONY: FORCE help lab lab-in-english lab-in-a-language test browser-test places-test engine-test languages-test hub-test training-test notebooks checkpoints site site-serve site-test bench setup \
	lint lint-types lint-windows lint-rules clean blas-note

help:
	@sed -n '3,17s/^# *//p' Makefile

setup: $(READY)

# LANG is also a variable of every shell: only the one that is given to make counts.
SPOKEN := $(if $(filter command line,$(origin LANG)),--language $(LANG))

lab: $(if $(SPOKEN),lab-in-a-language,lab-in-english)

lab-in-a-language:
	$(START) lab $(SPOKEN) --venv "$(VENV)" --port $(PORT) $(if $(filter 0,$(BROWSER)),--no-browser) \
		$(if $(PYTHON),--python "$(PYTHON)") $(if $(GPU),--gpu $(GPU)) $(if $(WHEELHOUSE),--wheelhouse "$(WHEELHOUSE)")

# With the environment on PATH, `!labs reset 01` works in a cell.
lab-in-english: $(READY) blas-note
	PATH="$(abspath $(BIN)):$$PATH" JUPYTER_PREFER_ENV_PATH=1 $(BIN)/python -m jupyterlab --ServerApp.ip=127.0.0.1 --ServerApp.port=$(PORT) \
		--ServerApp.root_dir="$(CURDIR)" --LabApp.default_url=/lab/tree/notebooks/00-start-here.ipynb \
		$(if $(filter 0,$(BROWSER)),--no-browser) $(if $(filter 0,$(shell id -u)),--allow-root)

# Two files at a time: most tests use one core, or wait for a process of their own. WORKERS=4 on a machine with more.
WORKERS ?= 2
TWO := -n $(WORKERS) --dist loadfile

test: $(READY) blas-note
	$(PYTEST) $(TESTS) $(TWO) -m "not browser and not hub and not engines and not training and not site" --nbval-lax --nbval-current-env --nbval-cell-timeout=60

browser-test: $(READY)
	$(PYTEST) tests -m "browser and not places$(if $(LONG),, and not long)" --timeout=600 $(TWO)

# One file at a time: each place has a browser and a server of its own.
places-test: $(PLACES_READY)
	$(PYTEST) tests -m places --timeout=600

engine-test: $(READY)
	$(PYTEST) tests $(TWO) -m engines

# Both editions of a lab run side by side: with a thread for each core both wait for each other (lab 08: five minutes for one).
languages-test: $(READY)
	OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 $(PYTEST) $(wildcard notebooks/??) $(TWO) --nbval-lax --nbval-current-env --nbval-cell-timeout=120

hub-test: $(HUB_READY)
	$(PYTEST) tests -m hub

notebooks: $(READY)
	$(BIN)/labs notebooks build $(LABS) $(SPOKEN)

# -W: a broken link between documents ends the build. The engine of the page Ask is an npm package, fetched once into
# build/npm; ENGINE=0 leaves it out. The check at the end reads the pages themselves.
site: $(SITE_READY)
	rm -rf build/site
	$(LIMIT) $(BIN)/python -m sphinx -q -E -W --keep-going -j auto -c docs/site -d build/site-cache . build/site
	$(OFFLINE) $(BIN)/python -m docs.site.door build/site $(if $(filter 0,$(ENGINE)),--without-engine)
	$(BIN)/python docs/site/check.py build/site

site-serve: $(SITE_READY)
	@echo "The site is at http://127.0.0.1:$(SITE_PORT)/ (Ctrl+C ends it)"
	@$(BIN)/python -m http.server --bind 127.0.0.1 --directory build/site $(SITE_PORT)

# QUICK=1 leaves most to the site's own workflow: 50 of the 60 questions, the previous model, long prompts and seeds,
# all pages but two in axe-core, and Firefox.
site-test: $(SITE_READY)
	$(PYTEST) tests/site -m "site$(if $(filter 1,$(QUICK)), and not slow)" --timeout=600

bench: $(READY) blas-note
	$(OFFLINE) $(BIN)/python -m benchmarks

checkpoints: $(TRAINING_READY)
	$(TRAINING_VENV)/bin/python -m training make

training-test: $(TRAINING_READY)
	$(OFFLINE) $(LIMIT) $(TRAINING_VENV)/bin/python -m pytest tests/training $(TWO) -m training

# `make lint -j2` checks the types of two systems at the same time. Each has a cache of its own: in one they would replace
# each other's entries, and nothing would be kept.
lint: lint-types lint-windows lint-rules

lint-types: $(READY)
	$(BIN)/mypy
	$(BIN)/mypy start.py

lint-windows: $(READY)
	$(BIN)/mypy --platform win32 --no-warn-unreachable --cache-dir .mypy_cache/win32
	$(BIN)/python tests/as_on_windows.py

lint-rules: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/python docs/style_check.py

# Stored outputs, downloaded models and bundled checkpoints stay. What goes comes back with `make setup`.
clean:
	rm -rf .venv .venv-training .pytest_cache .ruff_cache build
	find . -name __pycache__ -prune -exec rm -rf {} +
	find . -name .ipynb_checkpoints -prune -exec rm -rf {} +

# Asked each time with GPU, which may be another than before.
$(READY): pyproject.toml constraints.txt $(if $(GPU),FORCE)
	@$(SETUP) --venv "$(VENV)"

$(TRAINING_READY): pyproject.toml constraints.txt
	@$(SETUP) --venv "$(TRAINING_VENV)" --extra training
	@touch $@

# JupyterHub's own proxy is an npm package. It lies inside the environment and goes with it.
$(HUB_READY): $(READY)
	@$(SETUP) --venv "$(VENV)" --extra hub
	npm install --silent --no-fund --no-audit --no-package-lock --prefix "$(VENV)/hub-proxy" configurable-http-proxy@5.2.0
	@touch $@

$(PLACES_READY): $(READY)
	@$(SETUP) --venv "$(VENV)" --extra places
	@touch $@

$(SITE_READY): $(READY)
	@$(SETUP) --venv "$(VENV)" --extra site
	@touch $@

# MLX's Linux wheel multiplies matrices with a reference BLAS, tens of times slower than OpenBLAS.
blas-note: $(READY)
	@$(BIN)/python -c 'from labs_helper.corrections import blas; s = blas.preload(); s.fast or print("NOTE:", s.library, s.advice)'
