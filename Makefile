# Sarcoscope: `make demo` shows the product on a real CT, `make test` runs every check.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install -q -c constraints.txt
LICENCES ?= all
CT_DATA ?= $(or $(SARCOSCOPE_CT_DATA),../shared/ct)

.PHONY: demo test check format bench soak models tools clean

demo: $(VENV)/.core
	$(BIN)/sarcoscope demo

test: check tools
	$(BIN)/python -m pytest -n auto

# The independent DICOM programs that the tests compare with (Debian packages).
tools:
	@for program in dcmdump dciodvfy Orthanc; do command -v $$program >/dev/null || missing=1; done; \
	if [ -n "$$missing" ]; then \
	  root=$$([ "$$(id -u)" = 0 ] || echo sudo); \
	  $$root apt-get update -q; \
	  DEBIAN_FRONTEND=noninteractive $$root apt-get install -y -q dcmtk dicom3tools orthanc orthanc-dicomweb; \
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

soak: $(VENV)/.all
	$(BIN)/python -m tests.soak

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
	rm -rf $(VENV) build dist runs
