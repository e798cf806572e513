# The whole set-up: `make demo` and `make test`. Both make .venv on their own.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
OLDEST := .venv-oldest
# the least versions that setup.cfg allows
OLDEST_PINS := tests/oldest.txt
METADATA := setup.cfg pyproject.toml
# what a release has: the wheel of the last commit, and the list of what an installation of it gets
RELEASE := .venv-release
TOOLS := .venv-tools
DIST := dist
WHEEL_SOURCE := build/wheel-source
# twice quiet: errors alone, no warnings
PIP_FLAGS := --quiet --quiet --disable-pip-version-check --root-user-action=ignore
PYTEST_FLAGS :=
# processes of the tests: each loads TensorFlow once
WORKERS := 2

# damaged files that `make fuzz` reads, and what they are drawn by
INPUTS := 10000
SEED := 1

export TF_CPP_MIN_LOG_LEVEL ?= 3

.PHONY: help demo test test-full test-oldest fuzz lint format docs benchmark wheel check-wheel sbom audit pixinsight clean

help:
	@echo "make demo         fit and denoise simulated images; pictures and tables in demo/"
	@echo "make test         lint, then all tests but the slow ones"
	@echo "make test-full    lint, then all tests with coverage"
	@echo "make test-oldest  all tests on the oldest supported versions of all dependencies"
	@echo "make fuzz         read INPUTS=10000 damaged files and count what comes of it"
	@echo "make lint         ruff, ruff format, mypy"
	@echo "make docs         the documentation as a site, in build/docs"
	@echo "make benchmark    bgoptimizer against other tools on scenes with known background"
	@echo "make wheel        the wheel of the last commit, in dist/; the same bytes each time"
	@echo "make check-wheel  build it twice and compare; install it, and check the weights in it"
	@echo "make sbom         dist/bgrem.cdx.json: all packages that an installation has (CycloneDX)"
	@echo "make audit        known vulnerabilities of these packages; needs the advisory database"
	@echo "make pixinsight   the update repository of the PixInsight script, in dist/pixinsight"
	@echo "make clean        remove the virtual environments, demo/, dist/ and caches"

# Stamps: a later run installs again only if the metadata changed.
$(VENV)/.installed: $(METADATA)
	@printf '%-68s' "install into $(VENV); TensorFlow is large, some minutes"
	@$(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/python -m pip install $(PIP_FLAGS) -e . && printf '%6d.0 s\n' $$SECONDS
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

$(OLDEST)/.installed: $(METADATA) $(OLDEST_PINS)
	$(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python -m pip install $(PIP_FLAGS) -e ".[test]" -c $(OLDEST_PINS)
	@touch $@

demo: $(VENV)/.installed
	@$(VENV)/bin/python -m bgoptimizer.demo demo
	@$(VENV)/bin/python -m bgrem.demo demo/denoise

test: lint
	$(VENV)/bin/python -m pytest -m "not slow" -n $(WORKERS) --dist loadfile $(PYTEST_FLAGS)

test-full: lint
	$(VENV)/bin/python -m pytest -n $(WORKERS) --dist loadfile --cov=common --cov=bgoptimizer --cov=bgrem \
		--cov-report=term $(PYTEST_FLAGS)

test-oldest: $(OLDEST)/.installed
	$(OLDEST)/bin/python -m pytest -n $(WORKERS) --dist loadfile $(PYTEST_FLAGS)

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

# time of all entries of the wheel and of the list of packages: that of the last commit
wheel sbom pixinsight: export SOURCE_DATE_EPOCH = $(shell git log -1 --format=%ct)

# From the files of the commit alone: what lies in the working tree or in build/ cannot get in.
wheel: $(VENV)/.installed-test
	rm -rf $(WHEEL_SOURCE) $(DIST)
	mkdir -p $(WHEEL_SOURCE)
	git archive HEAD | tar -x -C $(WHEEL_SOURCE)
	umask 022 && $(VENV)/bin/python -m pip wheel $(PIP_FLAGS) --no-deps --no-build-isolation \
		--wheel-dir $(DIST) $(WHEEL_SOURCE)
	sha256sum $(DIST)/*.whl

check-wheel: $(VENV)/.installed-test
	$(VENV)/bin/python -m pytest tests/test_wheel.py

# Without pip in it, the environment holds what the wheel needs and nothing else.
$(RELEASE)/.installed: wheel $(TOOLS)/.installed
	rm -rf $(RELEASE)
	$(PYTHON) -m venv --without-pip $(RELEASE)
	$(TOOLS)/bin/python -m pip --python $(RELEASE)/bin/python install $(PIP_FLAGS) $(DIST)/*.whl
	rm $(RELEASE)/lib/python*/site-packages/bgrem-*.dist-info/direct_url.json  # where the wheel lay
	@touch $@

$(TOOLS)/.installed: Makefile
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/python -m pip install $(PIP_FLAGS) "pip>=24" cyclonedx-bom pip-audit
	@touch $@

sbom: $(RELEASE)/.installed
	$(TOOLS)/bin/cyclonedx-py environment --output-reproducible -o $(DIST)/bgrem.cdx.json \
		$(RELEASE)/bin/python

# --strict: a package that could not be looked up is a failure; ours is in no database
audit: $(RELEASE)/.installed
	$(TOOLS)/bin/python -m pip --python $(RELEASE)/bin/python freeze --exclude bgrem > build/audit.txt
	$(TOOLS)/bin/pip-audit --strict --no-deps --disable-pip -r build/audit.txt

# needs no environment: the standard library alone
pixinsight:
	$(PYTHON) pixinsight/make_repository.py $(DIST)/pixinsight

clean:
	rm -rf $(VENV) $(OLDEST) $(RELEASE) $(TOOLS) $(DIST) demo build *.egg-info .coverage .pytest_cache .ruff_cache .mypy_cache
