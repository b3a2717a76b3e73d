# SPDX-License-Identifier: Apache-2.0
# Two commands are all that most people need: `make run` and `make test`. Both set up .venv by themselves, may be
# repeated, and set nothing up again when nothing changed. With no .venv yet, `make PYTHON=python3.12 run` takes another Python.

PYTHON ?= python3
ARGS ?=

# What a shell may have left over must not reach the environment that is set up here.
unexport PYTHONPATH PYTHONHOME PYTHONSTARTUP PYTHONWARNINGS PYTHONUSERBASE VIRTUAL_ENV
unexport PIP_USER PIP_TARGET PIP_PREFIX PIP_ROOT PIP_REQUIRE_VIRTUALENV PIP_NO_DEPS
unexport PYTEST_ADDOPTS PYTEST_PLUGINS TOXENV TOX_ENV TOX_SKIP_ENV TOX_OVERRIDE

.DEFAULT_GOAL := help
.PHONY: help run test dev bundle clean

help:
	@echo 'make run    judge the simulated machines and the reference reader (needs python3 >= 3.11 and python3-venv)'
	@echo 'make test   run every test and check: the tests on each Python, lint, types, walls, docs, release'
	@echo 'make dev    put the tools for working on raplica into .venv: pytest, ruff, mypy, sphinx, pre-commit'
	@echo 'make bundle make dist/raplica.pyz: reader and suite as one file that needs python3 and nothing else'
	@echo 'make clean  remove what these commands made, .venv included'

run:
	@.ci/venv run '$(PYTHON)'
	.venv/bin/conformance run $(ARGS)

# Both parts always run, so that one report shows everything; the tests come last, their closing line at the end.
test:
	@.ci/venv test '$(PYTHON)'
	@echo 'raplica: lint, types, walls, docs, release and the quick set, side by side; then every test'
	@failed=0; \
	.venv/bin/python -m tox run-parallel --parallel-no-spinner --skip-env '^full$$' || failed=1; \
	.venv/bin/python -m tox run -e full -- $(ARGS) || failed=1; \
	if [ $$failed -ne 0 ]; then echo 'raplica: make test FAILED, see above' >&2; fi; \
	exit $$failed

dev:
	@.ci/venv dev '$(PYTHON)'

# The standard library is enough: no .venv is set up for it.
bundle:
	@'$(PYTHON)' -I .ci/bundle.py dist/raplica.pyz

clean:
	rm -rf .venv .tox build dist docs/_build docs/reference .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .benchmarks
	rm -f .coverage .coverage.*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
