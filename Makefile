# Every target sets up what it needs: the environment lives in .venv, from constraints.txt.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Two tests at a time, one thread each: quicker than one at a time on two threads. Files in the order of tests/conftest.py.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations=15
# Where Python is told to keep no compiled modules, each of some hundred processes would compile torch anew.
unexport PYTHONDONTWRITEBYTECODE
DATA := $(if $(SYNGUARD_TEST_DATA),$(SYNGUARD_TEST_DATA),$(wildcard ../shared/data))

.PHONY: demo test units test-system lint format bench pictures clean

# Not compiled ahead: of 19,000 modules a few thousand are ever imported, and Python compiles those by itself, once.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $(STAMP)

demo: $(STAMP)
	$(BIN)/synguard demo --out demo

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Types are checked beside the first tests: mypy and pip keep one core busy, the tests want two.
test: $(STAMP)
	$(MAKE) --no-print-directory -j2 lint units

units: $(STAMP)
	$(PYTEST) -m 'not system'

# Debian packages, a real browser and the long truth tables. A skip counts as a failure here.
test-system: $(STAMP)
	tests/system/install
	SYNGUARD_NO_SKIPS=1 $(PYTEST) -m system

# The pictures of docs/reports.md, of invented runs.
pictures: $(STAMP)
	$(BIN)/python docs/pictures.py

bench: $(STAMP)
	$(BIN)/python benchmarks/clean_pass_chance.py
	$(BIN)/python benchmarks/audit_speed.py
	$(BIN)/python benchmarks/report_size.py
	$(BIN)/python benchmarks/planted_copies.py

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
