# Sarcoscope: `make demo` shows the product on a real CT, `make test` runs every check.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install -q -c constraints.txt
LICENCES ?= all
CT_DATA ?= $(or $(SARCOSCOPE_CT_DATA),../shared/ct)

PAGES := src/sarcoscope/web/pages/index.html

.PHONY: demo serve test check format bench soak models tools pages guide clean

demo: $(VENV)/.core
	$(BIN)/sarcoscope demo

# The platform in a browser, filled with sample studies.
serve: $(VENV)/.core $(PAGES)
	$(BIN)/sarcoscope serve --demo

pages: $(PAGES)

frontend/node_modules/.ready: frontend/package.json frontend/package-lock.json
	@command -v npm >/dev/null || { echo "The pages need Node.js 20 or newer (npm)."; exit 1; }
	cd frontend && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

$(PAGES): frontend/node_modules/.ready $(shell find frontend/src frontend/index.html frontend/vite.config.mjs -type f)
	cd frontend && npm run --silent check && npm run --silent build
	@touch $@

test: check tools pages
	$(BIN)/python -m pytest -n auto --dist loadfile --ignore tests/e2e
	$(BIN)/python -m pytest tests/e2e

# What the tests need of Debian: independent DICOM programs, a PostgreSQL server, a browser.
tools:
	@ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing=1; \
	for program in dcmdump dciodvfy Orthanc chromium; do command -v $$program >/dev/null || missing=1; done; \
	if [ -n "$$missing" ]; then \
	  root=$$([ "$$(id -u)" = 0 ] || echo sudo); \
	  $$root apt-get update -q; \
	  DEBIAN_FRONTEND=noninteractive $$root apt-get install -y -q \
	    dcmtk dicom3tools orthanc orthanc-dicomweb postgresql chromium; \
	fi

check: $(VENV)/.all
	$(BIN)/ruff check src tests benchmarks scripts
	$(BIN)/ruff format --check src tests benchmarks scripts
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.all
	$(BIN)/ruff check --fix src tests benchmarks scripts
	$(BIN)/ruff format src tests benchmarks scripts

bench: $(VENV)/.all
	$(BIN)/python -m benchmarks.levels --data $(CT_DATA)
	$(BIN)/python -m benchmarks.tissues --data $(CT_DATA)
	$(BIN)/python -m benchmarks.phantoms
	$(BIN)/python -m benchmarks.speed
	$(BIN)/python -m benchmarks.models
	$(BIN)/python -m benchmarks.dicom
	$(BIN)/python -m benchmarks.platform
	$(BIN)/python -m benchmarks.cohort

soak: $(VENV)/.all
	$(BIN)/python -m tests.soak

# Makes the pictures of the user guide (docs/guide) again: real server, headless Chromium, synthetic phantoms.
guide: $(VENV)/.all tools pages
	$(BIN)/python -m scripts.guide_pictures

# Trains the shipped networks again from the reference CT (hours on two cores; seeded, goes on where it stopped).
# LICENCES=permissive leaves out what allows non-commercial use only.
models: $(VENV)/.all
	$(BIN)/python -m sarcoscope.training.canal --data $(CT_DATA) --out runs/$(LICENCES)/canal --licences $(LICENCES)
	$(BIN)/python -m sarcoscope.training.level_chain --data $(CT_DATA) --out runs/$(LICENCES)/levels --licences $(LICENCES)
	$(BIN)/python -m sarcoscope.training.tissue_compartments --data $(CT_DATA) --out runs/$(LICENCES)/tissues --licences $(LICENCES)

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Sarcoscope needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.core: $(VENV)/bin/python pyproject.toml constraints.txt
	@echo "Setting up (once, about a minute) ..."
	$(PIP) -e .
	@touch $@

$(VENV)/.all: $(VENV)/.core
	$(PIP) -e '.[dev,train]'
	@touch $@

clean:
	rm -rf $(VENV) build dist runs frontend/node_modules src/sarcoscope/web/pages
