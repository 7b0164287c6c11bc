# Every target makes its virtual environment if it is missing, installs there what
# it needs and leaves the rest of the machine alone.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
# A half-made .venv must not pass for a whole one.
.DELETE_ON_ERROR:
# Two pips in one environment break it.
.NOTPARALLEL:

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
PYTEST_ARGS ?=
# A folder of tests/, such as callbacks or optimizers/schedules; all by default.
PART ?=
# Tracing keeps one core busy; tests that wait for another process keep none.
WORKERS ?= 3

# Nothing of the caller's Python reaches ours.
unexport PYTHONHOME PYTHONPATH PYTHONSAFEPATH PIP_PREFIX PIP_TARGET
export PYTHONNOUSERSITE := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_USER := 0
export KERAS_BACKEND := tensorflow
export MPLBACKEND := Agg
export TF_CPP_MIN_LOG_LEVEL ?= 2

# What TensorFlow says on import before its log level counts, and on a machine
# without a GPU.
TENSORFLOW_NOISE := All log messages before absl|(port|cudart_stub|cuda_platform)\.cc:

.PHONY: help
help: ## Show this list
	@echo "make TARGET [PYTHON=python3.12] [PART=callbacks] [PYTEST_ARGS='-k nesterov']"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(VENV)/.installed-plot ## Train a network on Fashion-MNIST; plots go to runs/demo
	@$(RUN) examples/train_fashion_mnist.py \
		2> >(grep --line-buffered -vE '$(TENSORFLOW_NOISE)' >&2)

PYTEST = -m pytest --numprocesses $(WORKERS) --dist loadscope --no-loadscope-reorder \
	--durations 20
TESTS = $(RUN) $(PYTEST) tests/$(PART) $(PYTEST_ARGS)

.PHONY: test
test: $(VENV)/.installed-dev ## Run the tests, or those of one PART
	@$(TESTS)

.PHONY: quick
quick: $(VENV)/.installed-dev ## Run the fast tests and a slow one of each capability
	@$(TESTS) --quick

.PHONY: zoo
zoo: $(VENV)/.installed-dev ## Run every public name on all models of the zoo
	@$(RUN) -m pytest --numprocesses $(WORKERS) --dist loadscope tests/zoo --zoo \
		$(PYTEST_ARGS)

.PHONY: durations
durations: $(VENV)/.installed-dev ## Run the tests and record how long each takes
	@$(TESTS) --record-durations

# Other versions and backends, each in an environment of its own. A sample of the
# tests unless FULL=1.
FULL ?=
SAMPLE = $(if $(FULL),,--quick)
# Old packages warn of what newer ones have mended, and nightly ones of what is to come.
OTHER_VERSIONS = $(PYTEST) $(SAMPLE) -W ignore::DeprecationWarning -W ignore::FutureWarning \
	tests/$(PART) $(PYTEST_ARGS)

.PHONY: test-lowest
test-lowest: .venv-lowest/.installed ## Run a sample of the tests, FULL=1 for all, with the lowest versions allowed
	@.venv-lowest/bin/python $(OTHER_VERSIONS)

.PHONY: test-nightly
test-nightly: .venv-nightly/.installed ## The same with the nightly builds of Keras and TensorFlow
	@.venv-nightly/bin/python $(OTHER_VERSIONS)

BACKENDS ?= jax torch

.PHONY: test-backends
test-backends: $(VENV)/.installed-dev $(BACKENDS:%=.venv-%/.installed) ## Compare Keras's other backends, JAX and PyTorch, with TensorFlow
	@$(RUN) -m pytest --durations 5 $(foreach name,$(BACKENDS),--backend $(name)=.venv-$(name)/bin/python) \
		tests/backends $(PYTEST_ARGS)

.PHONY: lint
lint: $(VENV)/.installed-dev ## Check format, style, types and who imports whom
	@$(RUN) -m ruff format --check --quiet .
	@$(RUN) -m ruff check --quiet .
	@$(RUN) -m mypy --no-error-summary
	@$(RUN) tests/type_completeness.py
	@$(VENV)/bin/lint-imports --no-logo

.PHONY: docs
docs: $(VENV)/.installed-docs ## Build the pages in docs/_build/html
	@$(RUN) -m sphinx -W --keep-going -q -b html docs docs/_build/html

.PHONY: bench
bench: $(VENV)/.installed-dev ## Measure speed against the rivals
	@for file in $(sort $(wildcard benchmarks/bench_*.py)); do \
		echo "== $$file"; $(RUN) "$$file"; \
	done

.PHONY: clean
clean: ## Remove what was built, .venv too
	rm -rf $(VENV) .venv-* build dist mutants runs .hypothesis .import_linter_cache \
		.mypy_cache .pytest_cache .ruff_cache \
		docs/_build docs/auto_examples docs/generated docs/sg_execution_times.rst
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# One stamp for each extra, so that the second time costs nothing.
$(VENV)/.installed-%: pyproject.toml | $(RUN)
	@echo "Installing keras_dnn[$*] in $(VENV) ..."
	@$(RUN) -m pip install --quiet --editable '.[$*]'
	@touch $@

# An environment is made again when what belongs in it changes.
.venv-%/.installed: PACKAGES = --requirement tests/environments/$*.txt
.venv-lowest/.installed: PACKAGES = --editable '.[test]' --constraint tests/environments/lowest.txt
.venv-nightly/.installed: PACKAGES = --editable '.[test]'
.venv-lowest/.installed .venv-nightly/.installed: pyproject.toml

.venv-%/.installed: tests/environments/%.txt
	@echo "Installing tests/environments/$*.txt in .venv-$* ..."
	@$(CHECK_PYTHON)
	@$(PYTHON) -m venv --clear .venv-$*
	@.venv-$*/bin/python -m pip install --quiet $(PACKAGES) || { $(NOT_INSTALLED); }
	@if [ $* = nightly ]; then \
		.venv-$*/bin/python -m pip uninstall --quiet --yes keras tensorflow && \
		.venv-$*/bin/python -m pip install --quiet --requirement $< || { $(NOT_INSTALLED); }; \
	fi
	@touch $@

NOT_INSTALLED = echo "The packages of tests/environments/$*.txt could not be installed: nothing was \
	tested. It needs a package index, and Python $$($(PYTHON) -c 'import sys; print(*sys.version_info[:2], sep=".")') must be one that \
	they were built for; name another one: make PYTHON=python3.11" >&2; exit 1

CHECK_PYTHON = $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	echo "keras_dnn needs Python 3.11 or newer. Name one: make PYTHON=python3.12" >&2; exit 1; }

$(RUN):
	@$(CHECK_PYTHON)
	@$(PYTHON) -m venv --clear $(VENV)
