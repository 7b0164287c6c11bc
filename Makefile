# Every target makes .venv if it is missing, installs there what it needs and
# leaves the rest of the machine alone.

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
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(VENV)/.installed-plot ## Train a network on Fashion-MNIST; plots go to runs/demo
	@$(RUN) examples/train_fashion_mnist.py \
		2> >(grep --line-buffered -vE '$(TENSORFLOW_NOISE)' >&2)

TESTS = $(RUN) -m pytest --numprocesses $(WORKERS) --dist loadscope --no-loadscope-reorder \
	--durations 20 tests/$(PART) $(PYTEST_ARGS)

.PHONY: test
test: $(VENV)/.installed-dev ## Run the tests, or those of one PART
	@$(TESTS)

.PHONY: quick
quick: $(VENV)/.installed-dev ## Run the fast tests and a slow one of each capability
	@$(TESTS) --quick

.PHONY: durations
durations: $(VENV)/.installed-dev ## Run the tests and record how long each takes
	@$(TESTS) --record-durations

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
	rm -rf $(VENV) build dist mutants runs .hypothesis .import_linter_cache \
		.mypy_cache .pytest_cache .ruff_cache \
		docs/_build docs/auto_examples docs/generated docs/sg_execution_times.rst
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# One stamp for each extra, so that the second time costs nothing.
$(VENV)/.installed-%: pyproject.toml | $(RUN)
	@echo "Installing keras_dnn[$*] in $(VENV) ..."
	@$(RUN) -m pip install --quiet --editable '.[$*]'
	@touch $@

$(RUN):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "keras_dnn needs Python 3.11 or newer. Name one: make PYTHON=python3.12" >&2; \
		exit 1; \
	}
	@$(PYTHON) -m venv --clear $(VENV)
