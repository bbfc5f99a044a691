# Every target sets itself up: `make demo` and `make test` work on a bare machine with Python 3.11,
# make and a C compiler.

PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check --quiet --constraint constraints.txt
INTEGRATIONS := -e integrations/langchain -e integrations/llama_index

.PHONY: demo test lint types docs notebooks clean

demo: $(VENV)/.core
	$(BIN)/sac-rag demo

test: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadfile

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/pyright --pythonpath $(BIN)/python

notebooks: $(VENV)/.dev
	PYTHONWARNINGS=ignore HF_HUB_DISABLE_PROGRESS_BARS=1 $(BIN)/jupytext --to ipynb --set-kernel python3 --execute notebooks/0*.py
	$(BIN)/python -m pytest tests/notebooks

# torch by itself first, by its exact version: pip then finds the CPU build where one is at hand
$(VENV)/.torch: constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) torch==2.13.0
	touch $@

$(VENV)/.core: $(VENV)/.torch pyproject.toml
	$(PIP) -e .
	touch $@

$(VENV)/.dev: $(VENV)/.core integrations/langchain/pyproject.toml integrations/llama_index/pyproject.toml
	$(PIP) -e ".[langchain,llama-index,train,analysis,notebooks,dev]" $(INTEGRATIONS)
	touch $@

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache
