# The whole set-up: `make demo` and `make test`. Both make .venv on their own.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
OLDEST := .venv-oldest
# the oldest stack that is supported; it is what Colab preinstalls
OLDEST_PINS := "tensorflow==2.20.*" "keras==3.13.2"
METADATA := setup.cfg pyproject.toml
PIP_FLAGS := --quiet --disable-pip-version-check
PYTEST_FLAGS :=
# processes of `make test`: each loads TensorFlow once
WORKERS := 2

# damaged files that `make fuzz` reads, and what they are drawn by
INPUTS := 10000
SEED := 1

export TF_CPP_MIN_LOG_LEVEL ?= 3

.PHONY: help demo test test-full test-oldest fuzz lint format docs benchmark clean

help:
	@echo "make demo         fit and denoise simulated images; pictures and tables in demo/"
	@echo "make test         lint, then all tests but the slow ones"
	@echo "make test-full    lint, then all tests with coverage"
	@echo "make test-oldest  all tests on the oldest supported TensorFlow and Keras"
	@echo "make fuzz         read INPUTS=10000 damaged files and count what comes of it"
	@echo "make lint         ruff, ruff format, mypy"
	@echo "make docs         the documentation as a site, in build/docs"
	@echo "make benchmark    bgoptimizer against other tools on scenes with known background"
	@echo "make clean        remove the virtual environments, demo/ and caches"

# Stamps: a later run installs again only if the metadata changed.
$(VENV)/.installed: $(METADATA)
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install $(PIP_FLAGS) -e .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(VENV)/bin/python -m pip install $(PIP_FLAGS) -e ".[test,jax]"
	@touch $@

$(VENV)/.installed-benchmarks: $(VENV)/.installed
	$(VENV)/bin/python -m pip install $(PIP_FLAGS) -e ".[benchmarks]"
	@touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(VENV)/bin/python -m pip install $(PIP_FLAGS) -e ".[docs]"
	@touch $@

$(OLDEST)/.installed: $(METADATA)
	$(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python -m pip install $(PIP_FLAGS) -e ".[test]" $(OLDEST_PINS)
	@touch $@

demo: $(VENV)/.installed
	$(VENV)/bin/python -m bgoptimizer.demo demo
	$(VENV)/bin/python -m bgrem.demo demo/denoise

test: lint
	$(VENV)/bin/python -m pytest -m "not slow" -n $(WORKERS) --dist loadfile $(PYTEST_FLAGS)

test-full: lint
	$(VENV)/bin/python -m pytest --cov=common --cov=bgoptimizer --cov=bgrem \
		--cov-report=term $(PYTEST_FLAGS)

test-oldest: $(OLDEST)/.installed
	$(OLDEST)/bin/python -m pytest $(PYTEST_FLAGS)

fuzz: $(VENV)/.installed-test
	$(VENV)/bin/python tests/fuzz/run.py --inputs $(INPUTS) --seed $(SEED) --keep build/fuzz --log

lint: $(VENV)/.installed-test
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

format: $(VENV)/.installed-test
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

docs: $(VENV)/.installed-docs
	$(VENV)/bin/python -m sphinx -W --keep-going -q -b html -d build/doctrees docs build/docs
	@echo "open build/docs/index.html"

benchmark: $(VENV)/.installed-benchmarks
	$(VENV)/bin/python benchmarks/background.py

clean:
	rm -rf $(VENV) $(OLDEST) demo build *.egg-info .coverage .pytest_cache .ruff_cache .mypy_cache
