# `make demo` trains a small network on the built-in photographs and colorizes others; `make test` runs the tests,
# `make test-slow` those that compile much (GPU kernels without a GPU, their planted errors) and property tests with
# fresh examples (SEED=1: the same ones each time), `make test-levels` what computes at lower levels of instructions,
# with other threads and orders of sums.
# All make their own environment in .venv first; `make gpu` (9 minutes on a machine with a GPU; GPU="--part 1" for a
# portion) uses the Python that is there.

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
RUN = .venv/bin/python
CONSTRAINTS ?= constraints.txt
INSTALL = $(RUN) -m pip install --quiet --disable-pip-version-check --constraint $(CONSTRAINTS) --editable
AXE = axe-core@4.14.1
NOT_INSTALLED = { echo "make: not installed, pip says why; it needs a network once"; exit 1; }

.PHONY: demo test test-slow test-levels gpu lint clean

demo: .venv/core.done
	$(RUN) -m demo

test: .venv/test.done lint
	$(RUN) -m pytest -q -n 2 -m "not slow"

test-slow: .venv/test.done
	$(RUN) -m pytest -q -n 2 -m slow
	$(RUN) -m pytest -q -n 2 -m "hypothesis and not slow" --hypothesis-profile=thorough $(SEED:%=--hypothesis-seed=%) \
		--ignore-glob='*/test_gpu_*'

test-levels: .venv/test.done
	$(RUN) -m tests.tools.levels

gpu:
	$(PYTHON) -m tests.on_gpu $(GPU)

lint: .venv/test.done
	$(RUN) -m ruff check .
	$(RUN) -m mypy

.venv/core.done: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" && $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "make: Python 3.11 or newer is needed; name it with PYTHON=..."; exit 1; }
	@$(RUN) -m pip --version >/dev/null 2>&1 || $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "make: $(PYTHON) lacks the modules venv and ensurepip; Debian and Ubuntu: apt install python3-venv"; exit 1; }
	$(RUN) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv .venv
	$(INSTALL) . || $(NOT_INSTALLED)
	@touch $@

.venv/test.done: .venv/core.done
	$(INSTALL) '.[test]' || $(NOT_INSTALLED)
	@! command -v npm >/dev/null || npm install --silent --no-save --no-package-lock --fetch-retries 0 \
		--fetch-timeout 20000 --prefix .venv $(AXE) >/dev/null 2>&1 \
		|| echo "make: no axe-core from npm (no network?): the check of the page's accessibility will be skipped"
	@touch $@

clean:
	rm -rf .venv runs
