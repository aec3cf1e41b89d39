# Every target prints what it runs; `make help` lists them.
PYTHON ?= python3
VENV := .venv
# dvc runs each stage as `python -m stages.NAME`, which has to be the python of .venv.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
# Keeps onnxruntime from reporting its use to its maker.
export ORT_DISABLE_TELEMETRY := 1
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help setup repro audit inspect report test test-fast fuzz lint format readme bench \
	bench-serve production production-mobile rehearsal release serve

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 19

setup: $(READY)  ## create .venv with everything that the targets need

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
		{ echo "make: $(PYTHON) is $$($(PYTHON) --version 2>&1); Python 3.11 to 3.13 is needed (make PYTHON=python3.12 ...)" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[train,serve,scale,test,dev]'
	@touch $@

repro: $(READY)  ## run every stage that is out of date, then print the test metrics
	$(BIN)/dvc repro
	@$(BIN)/python -m stages.show_result

audit: $(READY)  ## prepare and divide the data, then check that nothing is in two splits
	$(BIN)/dvc repro audit_splits

inspect: $(READY)  ## make a page that shows every crop: data/inspection/crops.html
	@$(BIN)/python -m stages.inspect_crops

# CI calls it without .venv, with a python that has dvc alone.
report:  ## print what this change does to parameters and metrics, as Markdown (BASE=main)
	@$(or $(wildcard $(BIN)/python),$(PYTHON)) -m stages.report_change --base $(or $(BASE),main)

# The tests of a file share services and clones: one process runs them all.
PYTEST := $(BIN)/python -m pytest -n auto --dist loadfile

test: $(READY)  ## run all tests, the fast ones first
	$(PYTEST) -m "not slow"
	$(PYTEST) -m slow

test-fast: $(READY)  ## run the fast tests only
	$(PYTEST) -m "not slow"

# The extra [scale] installs uvloop; asyncio keeps the event loop the same with and without it.
# On SIGTERM requests get 90 s to end: the longest wait in the queue and their own work.
serve: $(READY)  ## start the service on http://127.0.0.1:8000 (PORT=9000; settings: .env.example)
	$(BIN)/uvicorn serve.main:app --host 127.0.0.1 --port $(or $(PORT),8000) --no-access-log \
		--loop asyncio --http serve.web.connection:Connection --timeout-graceful-shutdown 90

SECONDS ?= 600

fuzz: $(READY)  ## feed damaged images and videos to the decoders for ten minutes (SECONDS=600)
	nice $(BIN)/python -m tests.bench.fuzz --seconds $(SECONDS)

lint: $(READY)  ## check with ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)  ## let ruff fix and format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

readme: $(READY)  ## update the generated tables and the graph of the README files
	$(BIN)/python -m stages.write_readme

bench: $(READY)  ## measure speed against alternatives (ten minutes, quiet machine): metrics/bench.json
	$(BIN)/python -m tests.bench $(ARGS)

bench-serve: $(READY)  ## load-test the service (quiet machine): metrics/bench_serve.json
	$(BIN)/python -m tests.loadtest

rehearsal: $(READY)  ## run the data stages at scale on clips made from CLIPS (hours, VIDEOS=300): metrics/rehearsal.json
	$(BIN)/python -m tests.rehearsal $(CLIPS) --videos $(or $(VIDEOS),300) $(ARGS)

RECIPES := pipeline/training/recipes

production: $(READY)  ## train the full recipe: ConvNeXt-Tiny (ROOT=data: your own data; ARGS: for dvc exp run)
	$(BIN)/python -m stages.run_recipe $(RECIPES)/production.yaml $(if $(ROOT),-S data.root=$(ROOT)) $(ARGS)

production-mobile: $(READY)  ## train the released recipe: MobileNetV2, an hour on 2 cores (ROOT=data/photos)
	$(BIN)/python -m stages.run_recipe $(RECIPES)/production_mobile.yaml $(if $(ROOT),-S data.root=$(ROOT)) $(ARGS)

release: $(READY)  ## check data/export and copy it to data/release (NOTES=file.md: added to its card)
	$(BIN)/python -m stages.release $(if $(FROM),--from $(FROM)) $(if $(NOTES),--notes $(NOTES))

