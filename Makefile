# Everything here works from a fresh clone: each target sets up .venv first when it has to.
.PHONY: help setup demo test lint types docs clean
.DEFAULT_GOAL := help

PYTHON := .venv/bin/python
ARGS ?=

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' Makefile

setup: ## make or refresh .venv (Python 3.10, everything in it); instant when it is up to date
	@sh scripts/setup.sh

demo: setup ## train, export, verify and run a small model: out/demo
	.venv/bin/sqdr demo --out out/demo $(ARGS)

test: setup ## run the tests, a file to a process; make test ARGS="-n 0 -k name" for some of them in one
	$(PYTHON) -m pytest -n logical --maxprocesses 4 --dist loadfile $(ARGS)

lint: setup ## check the style and the layout of the code (ruff)
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .

# mypy does not follow the editable install, so it gets a copy laid out as installed (package-dir in
# pyproject.toml), and its answers are mapped back to the files they come from.
types: setup ## check the types (mypy, strict)
	@rm -rf build/types && mkdir -p build/types
	@cp -Rp src/sqdr build/types/sqdr
	@cp -Rp train export deploy hw_configs build/types/sqdr/
	@MYPYPATH=build/types $(PYTHON) -m mypy -p sqdr >build/types.log 2>&1; status=$$?; \
	sed -E -e 's,^build/types/sqdr/(train|export|deploy|hw_configs)/,\1/,' -e 's,^build/types/,src/,' build/types.log; \
	exit $$status

# Runs what the pages show, about two minutes. mkdocstrings reads the packages side by side, as they are installed.
docs: setup ## build the documentation, a warning being an error: build/docs/site/index.html
	@rm -rf build/docs/source && mkdir -p build/docs/source
	@cp -Rp src/sqdr build/docs/source/sqdr
	@cp -Rp train export deploy hw_configs build/docs/source/sqdr/
	NO_MKDOCS_2_WARNING=1 $(PYTHON) -m mkdocs build --strict

clean: ## remove build products and caches, but not .venv, out or runs
	rm -rf build dist *.egg-info src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src train export deploy hw_configs tests -name __pycache__ -type d -prune -exec rm -rf {} +
