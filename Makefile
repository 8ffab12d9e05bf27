# make install   a virtual environment in .venv with what `assay` needs
# make dev       the same with every extra and the development tools, for what follows but audit
# make audit     install what is missing, audit the built-in subject `fashion` and write its page
# make test      the test suite, without what is marked slow
# make test-all  the whole test suite
# make check     format, lint, types, import contract and docs, exactly as CI runs them
# make docs      the documentation, in docs/_build/html
# make wheel     build the wheel and try it outside the checkout
# make clean     remove what these commands made

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(shell command -v uv 2>/dev/null)
THREADS := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1

# uv does not read pip's settings: hand on the one that may name a wheel of PyTorch.
empty :=
comma := ,
export UV_FIND_LINKS ?= $(subst $(empty) $(empty),$(comma),$(strip $(PIP_FIND_LINKS)))
export PIP_DISABLE_PIP_VERSION_CHECK := 1

ifdef UV
CREATE := $(UV) venv --quiet --allow-existing --python $(PYTHON) $(VENV)
INSTALL := $(UV) pip install --python $(BIN)/python
BUILD := $(UV) build --quiet --wheel --out-dir dist
else
CREATE := $(PYTHON) -m venv $(VENV)
INSTALL := $(BIN)/python -m pip install
BUILD := $(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .
endif

.PHONY: install dev audit test test-all check docs wheel clean

install: $(VENV)/installed
dev: $(VENV)/installed-dev

$(VENV)/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo 'assay needs Python 3.11 or later; name one with: make install PYTHON=python3.12' >&2; exit 1; }
ifndef UV
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	  { echo 'Python cannot make virtual environments here; install its module: apt-get install python3-venv' >&2; exit 1; }
endif
	@echo 'Installing PyTorch and what else assay needs into $(VENV): 1.3 GB with a CPU build of PyTorch,'
	@echo 'several more with its default build for Linux. This takes minutes, once.'
	$(CREATE)
	$(INSTALL) --editable . --constraint constraints.txt
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
ifndef UV
	$(INSTALL) --upgrade 'pip>=25.1' # older ones do not know dependency groups
endif
	$(INSTALL) --editable '.[devices,dask,ray,images,text,diffusion,lime]' --group dev --constraint constraints.txt
	@touch $@

audit: install
	@echo 'Training and auditing the built-in subject fashion, which takes about a minute.'
	$(BIN)/assay audit fashion

test: dev
	$(THREADS) $(BIN)/python -m pytest -n 2 -m "not slow"

test-all: dev
	$(THREADS) $(BIN)/python -m pytest -n 2

check: dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports
	$(THREADS) $(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html

docs: dev
	$(THREADS) $(BIN)/sphinx-build -W --keep-going -b html docs docs/_build/html

wheel: dev
	rm -rf build/wheel dist
	$(BUILD)
	$(INSTALL) --no-deps --target build/wheel dist/assay-*.whl
	cd build && PYTHONPATH=wheel ../$(BIN)/python -c "import assay, assay.data; print(assay.__file__, assay.data.load('fashion'))"

clean:
	rm -rf $(VENV) build dist docs/_build docs/methods docs/papers .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find src tests benchmarks tools docs -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
