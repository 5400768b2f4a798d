# `make demo` trains a small network on the built-in photographs and colorizes others; `make test` runs the tests,
# `make test-slow` those that compile much (GPU kernels without a GPU, their planted errors) and property tests with fresh
# examples, `make test-levels` what computes at lower levels of instructions, with other threads and orders of sums.
# All make their own environment in .venv first; `make gpu` (9 minutes on a machine with a GPU; GPU="--part 1" for a
# portion) uses the Python that is there.

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
RUN = .venv/bin/python
CONSTRAINTS ?= constraints.txt

.PHONY: demo test test-slow test-levels gpu lint clean

demo: .venv/core.done
	$(RUN) -m demo

test: .venv/test.done lint
	$(RUN) -m pytest -q -n 2 -m "not slow"

test-slow: .venv/test.done
	$(RUN) -m pytest -q -n 2 -m slow
	$(RUN) -m pytest -q -n 2 -m "hypothesis and not slow" --hypothesis-profile=thorough --ignore-glob='*/test_gpu_*'

test-levels: .venv/test.done
	$(RUN) -m tests.tools.levels

gpu:
	$(PYTHON) -m tests.on_gpu $(GPU)

lint: .venv/test.done
	$(RUN) -m ruff check .
	$(RUN) -m mypy

.venv/core.done: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "make: Python 3.11 or newer is needed; name it with PYTHON=..."; exit 1; }
	test -x $(RUN) || $(PYTHON) -m venv .venv
	$(RUN) -m pip install --quiet --disable-pip-version-check --constraint $(CONSTRAINTS) --editable .
	@touch $@

.venv/test.done: .venv/core.done
	$(RUN) -m pip install --quiet --disable-pip-version-check --constraint $(CONSTRAINTS) --editable '.[test]'
	@touch $@

clean:
	rm -rf .venv runs
