# make demo    install everything, make a film four times as large and twice as smooth
# make test    install everything, run the fast suite
# make wheels  the wheels of every platform, and the source archive
# make card    everything that needs an NVIDIA card, in under five minutes; make card-kit: what a bare machine needs for it
# make train-card    minutes of training on a card; make train-kit: what it needs on a bare machine
# Needs Python 3.12, a C++ compiler and make; PYTHON=... names another Python. CLIP=... is a video for the demo.

PYTHON ?= $(shell command -v python3.12 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# One process a core; whoever is done first takes over tests of the other.
PYTEST := $(BIN)/python -m pytest --numprocesses auto --dist worksteal
SOURCES := pyproject.toml requirements.txt vs_sr/__init__.py vs_sr/_names.py vs_sr/arguments.py $(wildcard plugins/vapoursynth/* plugins/vapoursynth/src/*)

.PHONY: install demo test slow lint bench card card-kit train-kit train-card train-back wheels clean

install: $(STAMP)

$(STAMP): $(SOURCES)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 12))' || \
		{ echo "vs_sr needs Python 3.12 or newer; $(PYTHON) is older. Use make PYTHON=/path/to/python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==0.13.8
	$(BIN)/uv pip install --python $(BIN)/python -r requirements.txt
	$(BIN)/uv pip install --python $(BIN)/python --no-deps --reinstall-package vs-sr -e .
	@touch $@

demo: install
	$(BIN)/vs-sr demo $(if $(CLIP),--clip "$(CLIP)")

test: install
	$(PYTEST) -m "not slow"

slow: install
	$(PYTEST) -m slow

bench: install
	$(BIN)/python -m pytest --benchmark

# On a machine with a card: on what `make install` has made or, where build/card-kit was brought along, on torch and
# CuPy of any Python there. CARD="--rehearse" runs it without a card, CARD="--only kernels" a part of it.
card:
	$(or $(wildcard $(BIN)/python),$(PYTHON)) -m tools.card $(CARD)

card-kit: install
	$(BIN)/python -m tools.card.kit $(KIT)

# Minutes on a card for the next recipe of benchmarks/training/order.toml. KIT="--video FILE" and what else the recipe
# needs; DEVICE=cpu rehearses; BACK=folder brings home what train-card left there, into RUN=folder of a run.
train-kit: install
	$(BIN)/python -m tools.train.kit $(KIT)

train-card:
	$(or $(wildcard $(BIN)/python),$(PYTHON)) -m tools.train --minutes $(or $(MINUTES),9) --device $(or $(DEVICE),cuda) $(TRAIN)

train-back: install
	$(BIN)/python -m tools.train.pieces $(or $(BACK),build/train-card) --into $(RUN) --keep

# The wheels of every platform and the source archive, in dist/, checked; PLATFORM=win_amd64 builds one.
wheels: $(VENV)/.wheels
	$(BIN)/python -m tools.wheels $(if $(PLATFORM),--platform $(PLATFORM))

$(VENV)/.wheels: $(STAMP) tools/wheels/requirements.txt
	$(BIN)/uv pip install --python $(BIN)/python -r tools/wheels/requirements.txt
	@touch $@

lint: install
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy --platform linux
	$(BIN)/mypy --platform win32
	$(BIN)/mypy --platform darwin
	$(BIN)/mypy plugins/vs_sr_spandrel plugins/vs_sr_openvino plugins/vs_sr_onnxruntime

clean:
	rm -rf $(VENV) build demo dist
