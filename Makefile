# Targets are small and print what they run. `make help` lists them.
PYTHON ?= python3
VENV := .venv
# dvc runs each stage as `python -m stages.NAME`: that python must be the one of .venv.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
# onnxruntime reports its use to its maker otherwise.
export ORT_DISABLE_TELEMETRY := 1
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help setup repro audit inspect report test test-fast fuzz lint format readme bench \
	bench-serve production production-mobile release serve

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(READY)  ## make .venv with everything that the targets need

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
		{ echo "make: $(PYTHON) is $$($(PYTHON) --version 2>&1); Python 3.11 to 3.13 is needed (make PYTHON=python3.12 ...)" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[train,serve,scale,test,dev]'
	@touch $@

repro: $(READY)  ## run every stage that is out of date, then print the test metrics
	$(BIN)/dvc repro
	@$(BIN)/python -m stages.show_result

audit: $(READY)  ## does anything lie in two splits?
	@$(BIN)/python -m stages.audit_splits

inspect: $(READY)  ## a page to look at the crops: data/inspection/crops.html
	@$(BIN)/python -m stages.inspect_crops

# For CI as well, so it takes a python that has only dvc where there is no .venv.
report:  ## what this change does to parameters and metrics, as Markdown (BASE=main)
	@$(or $(wildcard $(BIN)/python),$(PYTHON)) -m stages.report_change --base $(or $(BASE),main)

# A file's tests stay together: they share services and clones.
PYTEST := $(BIN)/python -m pytest -n auto --dist loadfile

test: $(READY)  ## all tests, the fast ones first
	$(PYTEST) -m "not slow"
	$(PYTEST) -m slow

test-fast: $(READY)  ## the fast tests only
	$(PYTEST) -m "not slow"

# One event loop, whatever is installed: the extra [scale] brings uvloop.
# A request may take a whole queue's wait and its own work; what is not done by then is cut off.
serve: $(READY)  ## the service on http://127.0.0.1:8000 (PORT=9000; settings: .env.example)
	$(BIN)/uvicorn serve.main:app --host 127.0.0.1 --port $(or $(PORT),8000) --no-access-log \
		--loop asyncio --http serve.web.connection:Connection --timeout-graceful-shutdown 90

SECONDS ?= 600

fuzz: $(READY)  ## damaged images and videos through the decoders, for ten minutes (SECONDS=600)
	nice $(BIN)/python -m tests.bench.fuzz --seconds $(SECONDS)

lint: $(READY)  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)  ## let ruff rewrite what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

readme: $(READY)  ## make the README's tables and graph anew from metrics/ and dvc.yaml
	$(BIN)/python -m stages.write_readme

bench: $(READY)  ## measure everything against its alternatives (ten minutes, quiet machine), into metrics/bench.json
	$(BIN)/python -m tests.bench $(ARGS)

bench-serve: $(READY)  ## load test of the service on a quiet machine, into metrics/bench_serve.json
	$(BIN)/python -m tests.loadtest

# What both recipes share: swaps made on the fly, every seam with its surroundings, many pairs.
DATA = -S pseudo_swap.frac=1.0 -S pseudo_swap.tight_frac=0.25 -S crop_faces.context_max_px=640 \
	-S split_groups.val_frac=0.15 -S split_groups.test_frac=0.15 \
	-S seam.pairs=8000 -S 'seam.seeds=[1,2,3]' -S 'model.views=[aligned]'

PRODUCTION = $(DATA) -S model.backbone=convnext_tiny -S model.weights=hub \
	-S train.precision=auto -S train.epochs=30 -S train.pairs_per_epoch=4000 -S train.batch_size=32 \
	-S train.accumulate=2 -S train.lr=0.0003 -S train.ema_decay=0.999 -S train.warmup_epochs=2 \
	-S train.frozen_epochs=3 -S train.last_stages_until_epoch=15 -S train.patience=8

production: $(READY)  ## the user's recipe: ConvNeXt-Tiny, phases 1-3 / 4-15 / 16+ (ROOT=data for your own data)
	$(BIN)/dvc exp run -n production $(PRODUCTION) $(if $(ROOT),-S data.root=$(ROOT)) $(ARGS)

MOBILE = $(DATA) -S train.epochs=16 -S train.pairs_per_epoch=1200 -S train.batch_size=32 \
	-S train.lr=0.002 -S train.backbone_lr_scale=0.15 -S train.full_lr_scale=1.0 \
	-S train.min_lr_frac=0.01 -S train.ema_decay=0.99 -S train.last_stages_until_epoch=2 \
	-S train.patience=16 -S train.val_faces=320 -S train.precision=auto -S train.threads=1 \
	-S evaluate.ladder_faces=60

production-mobile: $(READY)  ## the released recipe: MobileNetV2, an hour on 2 cores (ROOT=data/photos)
	$(BIN)/dvc exp run -n production-mobile $(MOBILE) $(if $(ROOT),-S data.root=$(ROOT)) $(ARGS)

release: $(READY)  ## check data/export and put it into data/release (NOTES=file.md: added to its card)
	$(BIN)/python -m stages.release $(if $(FROM),--from $(FROM)) $(if $(NOTES),--notes $(NOTES))

