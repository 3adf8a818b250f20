# Set-up, tests and demo. Everything is installed inside .venv; nothing outside this folder is changed.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# the first of these that starts and is new enough; PYTHON=/path/to/python chooses another
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for name in python3.11 python3; do $$name -c '$(NEW_ENOUGH)' 2>/dev/null && echo $$name && break; done)

# threads that spin while they wait slow each other down on few cores
export OMP_WAIT_POLICY ?= PASSIVE


.PHONY: bench bench-bundles bench-error-rates bench-gate bench-faithful bench-peers bench-station
.PHONY: help install lint test test-faults interop test-catalogue test-aarch64 demo clean distclean

help: ## say what can be made
	@sed -nE 's/^([a-z0-9-]+):[^#]*## (.*)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 24

install: $(STAMP) ## create .venv with both distributions and the tested versions of everything

$(STAMP): pyproject.toml runtimes/pyproject.toml constraints.txt
	@if ! "$(PYTHON)" -c '$(NEW_ENOUGH)' 2>/dev/null; then \
	  echo "PYTHON must be a Python 3.11 or newer; got '$(PYTHON)'." >&2; \
	  echo "Try: make install PYTHON=/path/to/python3.11" >&2; exit 2; fi
	@test -x $(BIN)/pip || "$(PYTHON)" -m venv $(VENV) || \
	  { echo "Try: apt-get install python3-venv, then make install" >&2; exit 1; }
	$(BIN)/python -m pip install --disable-pip-version-check --quiet \
	  -c constraints.txt -e ./runtimes -e '.[quickstart,dev]'
	@# types of TensorRT's calls, for mypy alone: beside the packages, or Python would take them for TensorRT
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --upgrade \
	  --target $(VENV)/stubs tensorrt-stubs==10.13.0.35.1
	@# they were generated, and a few signatures that nobody calls are not Python
	sed -i -E 's/^(    def .*\b)in: /\1in_: /; s/channel_axis: int\)/channel_axis: int = ...)/' \
	  $(VENV)/stubs/tensorrt_bindings/tensorrt.pyi
	@touch $@

lint: install ## ruff and mypy, strict; the runtime for the station's Python 3.10 too
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy -p edgetl_runtime --python-version 3.10

# parts of the suite, two at a time, each in a process of its own; the last one takes every folder the others do not
PARTS := commands host device house
TESTS_commands := tests/edgetl/cli
TESTS_host := tests/edgetl --ignore=tests/edgetl/cli
TESTS_device := tests/edgetl_runtime
TESTS_house := tests --ignore=tests/edgetl --ignore=tests/edgetl_runtime

# where each part leaves why it skipped tests
SKIPS := $(CURDIR)/build/skips

test: lint ## lint, then all tests; the last line says what was skipped and what would mend it
	@rm -rf "$(SKIPS)"
	+@status=0; $(MAKE) --no-print-directory --output-sync=target --jobs=2 $(PARTS:%=test-%) || status=$$?; \
	  $(BIN)/python tests/skips.py $(PARTS:%="$(SKIPS)/%.json"); exit $$status

$(PARTS:%=test-%): test-%: install
	@mkdir -p "$(SKIPS)"
	EDGETL_SKIPS="$(SKIPS)/$*.json" $(BIN)/pytest --durations=10 --durations-min=5 $(TESTS_$*)

test-catalogue: install ## export every backbone of the catalogue, prove parity, compile it for NVIDIA (slow)
	EDGETL_CATALOGUE=1 $(BIN)/pytest tests/contracts/test_backbones.py tests/contracts/test_nvidia.py

test-aarch64: install ## install and prove the runtime in an emulated 64-bit Arm userland (slow, needs root)
	EDGETL_AARCH64=1 $(BIN)/pytest tests/environments/test_aarch64.py

test-faults: install ## cut installing off everywhere, flip every bit, fuzz the reader (slow; recorded)
	$(BIN)/python benchmarks/all_faults.py

interop: install ## model-signing verifies our signatures and we verify its; makes its own environment once
	$(BIN)/python benchmarks/model_signing.py $(if $(wildcard .pytest_cache/model-signing/bin/python),,--create)

demo: install ## the whole way on real solar-cell images; results in quickstart/, replaced when repeated
	$(BIN)/edgetl quickstart --out quickstart --force

# the figures of benchmarks/README.md; RUN is a finished run, the bundles are made of it by bench-bundles
RUN ?= quickstart/run
BENCH := build/bench
bench: bench-error-rates bench-gate bench-faithful bench-peers bench-station ## every benchmark of latency; RUN=folder; quiet machine, about half an hour

bench-bundles: install ## the two bundles that the benchmarks measure, from RUN
	@mkdir -p $(BENCH)
	@test -f $(BENCH)/openvino.edgetl || $(BIN)/edgetl deploy "$(RUN)" --target ipc-openvino --precision int8 \
	  --line benchmark --out $(BENCH)/openvino.edgetl
	@test -f $(BENCH)/onnxruntime.edgetl || $(BIN)/edgetl deploy "$(RUN)" --target ipc-onnxruntime --precision int8 \
	  --line benchmark --out $(BENCH)/onnxruntime.edgetl

bench-error-rates: install ## how often a comparison is wrong, on a station made of a clock; 2 minutes
	$(BIN)/python benchmarks/error_rates.py

bench-gate: bench-bundles ## 20 comparisons of a bundle with itself, 10 with itself slowed; 10 minutes
	$(BIN)/python benchmarks/regression_gate.py $(BENCH)/onnxruntime.edgetl $(BENCH)/openvino.edgetl

bench-faithful: bench-bundles ## network latency against benchmark_app and MLPerf LoadGen; 2 minutes
	$(BIN)/python benchmarks/faithful.py $(BENCH)/openvino.edgetl

bench-peers: bench-bundles ## encoded image to class against peers; 3 minutes
	$(BIN)/python benchmarks/peers.py "$(RUN)" $(BENCH)/openvino.edgetl $(BENCH)/onnxruntime.edgetl

bench-station: bench-bundles ## neighbours, tails, starts; 2 minutes
	$(BIN)/python benchmarks/station.py $(BENCH)/openvino.edgetl $(BENCH)/onnxruntime.edgetl

clean: ## remove caches, build leftovers and the demo's results
	rm -rf build dist runtimes/build runtimes/dist quickstart .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -exec rm -rf {} +

distclean: clean ## remove .venv as well
	rm -rf $(VENV)
