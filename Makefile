# `make lab` opens the notebooks. It sets up .venv on its first run.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CONVERTER := $(VENV)/litert-converter/ready
# The CPU build by name, so that pip can never take one with CUDA; on macOS every build is a CPU build.
TORCH := torch==2.13.0$(if $(filter Darwin,$(shell uname)),,+cpu)
CPU_INDEX := https://download.pytorch.org/whl/cpu

# Waiting threads sleep instead of spinning: tiny networks run beside a browser and a notebook server.
export OMP_WAIT_POLICY := PASSIVE
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help lab litert clean

help:  ## show this list
	@grep -E '^[a-z]+:.*## ' Makefile | sed -E 's/:.*## /|/' | awk -F'|' '{printf "make %-10s %s\n", $$1, $$2}'

lab: $(VENV)/.lab  ## open JupyterLab on the first notebook
	$(BIN)/jupyter-lab $(if $(filter 0,$(shell id -u)),--allow-root) $(ARGS) notebooks/00_start_here.ipynb

litert: $(CONVERTER)  ## get LiteRT's converter, in an environment of its own (750 MB)

clean:  ## remove the virtual environment and everything built
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .hypothesis

$(VENV)/.torch: Makefile
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' || { \
	  echo "compresslab needs Python 3.11, 3.12 or 3.13, and '$(PYTHON)' is not one of them; name one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --retries 1 --extra-index-url $(CPU_INDEX) "$(TORCH)"
	@$(BIN)/python -c 'import torch; assert torch.version.cuda is None' || { \
	  echo "The torch that pip installed is not the CPU build; see that $(CPU_INDEX) can be reached, then run make again"; exit 1; }
	touch $@

# "lab", "test" and "book" name the extra of pyproject.toml that is installed; with the stamp there nothing is done.
$(VENV)/.lab $(VENV)/.test $(VENV)/.book: $(VENV)/.%: $(VENV)/.torch pyproject.toml
	$(BIN)/python -m pip install -e ".[$*]"
	touch $@

# After the packages of .test or .lab, on which it stands.
$(CONVERTER): compresslab/runtimes/litert_converter.py | $(VENV)/.torch
	$(BIN)/python -m compresslab.runtimes.litert_converter

# For contributors and teachers: from here on nothing is in the student's edition.
.PHONY: test bench notebooks book teacher student
EDITIONS := $(or $(wildcard $(VENV)/.test $(VENV)/.lab),$(VENV)/.lab)

test: $(VENV)/.test $(CONVERTER)  ## run all tests
	$(BIN)/ruff check compresslab tests book
	$(BIN)/python -m pytest -n 2 --dist loadgroup $(ARGS)

bench: $(VENV)/.test $(CONVERTER)  ## measure the promises on speed and accuracy (an hour)
	$(BIN)/python tests/benchmark.py $(ARGS)

notebooks: $(VENV)/.test $(CONVERTER)  ## run the notebooks and save them with fresh outputs and badges
	$(BIN)/python tests/notebooks/refresh.py $(ARGS)

book: $(VENV)/.book  ## build the book: the lessons as saved, to read and to search
	rm -rf build/book
	$(BIN)/python -m sphinx -q -W --keep-going -c book . build/book
	@echo "Open build/book/index.html"

teacher: $(EDITIONS)  ## build the teacher's edition: solved notebooks and an answer key
	PYTHONPATH=tests $(BIN)/python -m notebooks.teacher $(ARGS)

student: $(EDITIONS)  ## build the student's edition: the course without its solutions
	PYTHONPATH=tests $(BIN)/python -m notebooks.student
