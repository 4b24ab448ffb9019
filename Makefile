# Everything a newcomer needs: `make demo` and `make test`, with Python 3.10 or later, a Rust toolchain and make.
#
# One virtual environment (.venv) and one build folder (target) serve every target. Choose the interpreter that makes the
# environment with PYTHON=…; choose single checks with `make test CHECKS="ruff mypy"`.

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell sh packaging/find-python)
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

# What the installed package is made of.
SOURCES := $(shell find rust python packaging -type f -not -path '*/.*' -not -path 'packaging/data/*' \
             -not -name '*.pyc' -not -name '*.so' -not -name '*.md') Cargo.toml Cargo.lock pyproject.toml

.DEFAULT_GOAL := install
.DELETE_ON_ERROR:
.NOTPARALLEL:

.PHONY: help
help: ## say what there is to make
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

.PHONY: install
install: $(VENV)/.installed ## build the package and install it into .venv

.PHONY: demo
demo: install ## take the tour, then run the main job on examples/ and see that every outcome is the intended one
	$(BIN)/dirigent demo
	$(BIN)/python examples/check_demo.py

.PHONY: test
test: install $(VENV)/.tools ## run every check; those that lack a tool are listed as not run
	$(BIN)/python tests/checks.py $(CHECKS)

.PHONY: dev
dev: $(VENV)/.tools ## install for people who change the code: Python files count as they stand, Rust is built quickly
	@rm -f $(VENV)/.installed
	$(PIP) install --editable .

.PHONY: format
format: $(VENV)/.tools ## lay out all code as the checks want it
	cargo fmt --all
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format --quiet .

.PHONY: dist
dist: $(VENV)/.tools ## build the wheel and the source distribution into dist/
	$(BIN)/python -m build --outdir dist --sdist .
	$(BIN)/python -m build --outdir dist --wheel .

.PHONY: clean
clean: ## remove everything that was made here
	rm -rf $(VENV) target dist packaging/data python/dirigent/*.so

$(VENV)/.made: packaging/find-python
	@test -n "$(PYTHON)" || { sh packaging/find-python --explain; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(PIP) install --upgrade pip
	@touch $@

$(VENV)/.tools: $(VENV)/.made pyproject.toml
	$(PIP) install --group test
	@touch $@

$(VENV)/.installed: $(VENV)/.made $(SOURCES)
	@command -v cargo >/dev/null || { echo "make: there is no cargo on PATH: install Rust 1.90 or later, then try again" >&2; exit 1; }
	@echo "building dirigent (minutes the first time)"
	$(PIP) install .
	@touch $@
