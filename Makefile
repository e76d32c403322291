# Two commands for a newcomer: `make quickstart` and `make test`. Each sets up what it needs, once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TORCH := torch==2.13.0
STAMP := $(VENV)/.installed

.PHONY: quickstart test test-slow test-properties test-matrix fuzz lint format bench clean

quickstart: $(STAMP)
	$(BIN)/chatdoctor quickstart

test: $(STAMP)
	$(BIN)/python -m pytest -m "not slow" -n auto --maxprocesses 4 --dist loadfile $(ARGS)

# The whole path as a user walks it, on the real data where it is at hand; minutes.
test-slow: $(STAMP)
	$(BIN)/python -m pytest -m slow $(ARGS)

# The properties on examples that were never tried.
test-properties: $(STAMP)
	HYPOTHESIS_PROFILE=new $(BIN)/python -m pytest -m "hypothesis and not slow" -n auto --maxprocesses 4 --dist loadfile $(ARGS)

# The lowest and the newest versions that the dependency ranges allow, each in an environment of its own.
test-matrix:
	$(PYTHON) bench/matrix.py $(ARGS)

# The readers against damaged files, guided by coverage; ten minutes.
fuzz: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check atheris
	$(BIN)/python fuzz/fuzz_readers.py --seconds 600 $(ARGS)

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(STAMP)
	$(BIN)/python bench/import_time.py
	$(BIN)/python bench/search.py
	$(BIN)/python bench/deidentify.py
	$(BIN)/python bench/duplicates.py
	$(BIN)/python bench/corpus_build.py
	$(BIN)/python bench/train.py
	$(BIN)/python bench/train.py --scale
	$(BIN)/python bench/chat.py

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt $(TORCH)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[all,dev]"
	touch $(STAMP)

clean:
	rm -rf $(VENV) runs build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
