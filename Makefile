# `make demo` and `make test` set everything up on a machine with Python 3.11 to 3.13.
PYTHON ?= python3
CORES ?= all
TESTERS ?= logical
LOCK := envs/requirements.txt
READY := .venv/.ready
SLURM := .venv/slurm/.ready
PUBLISHING := .venv/publishing/.ready
UV_LOCK := .venv/bin/uv pip compile --universal --fork-strategy fewest \
  --generate-hashes --no-emit-index-url --no-annotate --no-header --quiet
RUN := PATH="$(CURDIR)/.venv/bin:$$PATH"

.PHONY: help environment slurm publishing demo doctor dataset status docs test test-long test-all check bench faults \
  scale studies gpu gpu-bundle lock clean

help:
	@echo "make demo   run the demonstration to results/report.html"
	@echo "make dataset RAW=folder NAME=mine  draft a table and a description of your own images"
	@echo "make doctor show what this machine has and what the configured run will take;"
	@echo "            DOCTOR='--configfile mine.yaml' for another configuration"
	@echo "make status show how far the run in this folder is; with STATUS=--watch again and again,"
	@echo "            STATUS=--page as a page that refreshes itself"
	@echo "make slurm  add Snakemake's executor for SLURM to the environment"
	@echo "make docs   write the documentation as a site to results/docs"
	@echo "make test   run the tests, but those that take minutes each"
	@echo "make test-all  run those, too (a real SLURM, faults, data sets to their end)"
	@echo "make check  check format, style and the workflow's rules"
	@echo "make bench  compare with nnU-Net's commands, write results/benchmarks.csv"
	@echo "make faults stop and damage miniature runs in many ways, write results/faults.csv"
	@echo "make scale  simulate very large runs, write results/scale.csv"
	@echo "make studies  run the published studies in miniature, write results/studies.csv"
	@echo "make gpu    check and time training and prediction on a GPU, write results/gpu.csv"
	@echo "make gpu-bundle  gather what make gpu needs where there is no network"
	@echo "make lock   renew the locked versions in envs/"

environment: $(READY)

# The lock is installed by uv, itself in the locked version, which checks every hash. Bytecode is
# compiled here once: where PYTHONDONTWRITEBYTECODE is set, every job would do it anew.
$(READY): $(LOCK)
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else \
	  f"Segflow needs Python 3.11 to 3.13, found {v[0]}.{v[1]}; use make PYTHON=python3.12 ...")'
	@echo "The environment .venv is made first, once: some gigabytes come from the package index."
	$(PYTHON) -m venv --clear .venv
	.venv/bin/python -m pip install --quiet "$$(sed -n 's/^\(uv==[^ ;]*\).*/\1/p' $(LOCK))"
	.venv/bin/uv pip sync --quiet --compile-bytecode --python .venv/bin/python --require-hashes $(LOCK)
	.venv/bin/python -m compileall -q workflow/scripts
	@touch $@

demo: $(READY)
	@$(RUN) PYTHONPATH=workflow/scripts python -m run_demonstration --cores $(CORES)

dataset: $(READY)
	@$(RUN) PYTHONPATH=workflow/scripts python -m draft_dataset "$(RAW)" "$(NAME)"

# The environment is left as it is: a run may be using it.
status:
	@$(RUN) PYTHONPATH=workflow/scripts python -m show_status $(STATUS)

doctor: $(READY)
	@$(RUN) PYTHONPATH=workflow/scripts python -m show_machine $(DOCTOR)

slurm: $(READY)
	.venv/bin/uv pip install --quiet --python .venv/bin/python --require-hashes --requirement envs/slurm.txt

# For the tests the executor has a folder of its own: every Snakemake imports what is beside it.
$(SLURM): envs/slurm.txt $(READY)
	.venv/bin/uv pip install --quiet --python .venv/bin/python --target $(@D) \
	  --require-hashes --requirement envs/slurm.txt
	@touch $@

# What checks and shows what is published needs versions of its own, so it has a folder of its own.
$(PUBLISHING): envs/publishing.txt $(READY)
	.venv/bin/uv pip install --quiet --python .venv/bin/python --target $(@D) \
	  --require-hashes --requirement envs/publishing.txt
	@touch $@

publishing: $(PUBLISHING)

docs: $(PUBLISHING)
	PYTHONPATH=.venv/publishing .venv/bin/python -m mkdocs build --quiet
	@echo "open results/docs/index.html, or with a search: python -m http.server -d results/docs"

PYTEST_ALL = $(RUN) python -m pytest --numprocesses $(TESTERS) --no-loadscope-reorder

test: $(READY)
	$(PYTEST_ALL) -m "not long" $(PYTEST)

# A real SLURM, faults survived, data sets from raw files to metrics: what takes minutes.
test-long: $(READY) $(SLURM) $(PUBLISHING)
	$(PYTEST_ALL) -m long $(PYTEST)

test-all: test test-long

check: $(READY)
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) snakefmt --check Snakefile rules
	$(RUN) PYTHONPATH=workflow/scripts lint-imports --no-cache
	$(RUN) snakemake --lint

bench: $(READY)
	$(RUN) python tests/benchmarks/bench.py

faults: $(READY)
	$(RUN) PYTHONPATH=tests:tests/helpers:workflow/scripts python -m faults.inject $(FAULTS)

scale: $(READY)
	$(RUN) python tests/scale/scale.py

studies: $(READY)
	$(RUN) CORES=$(CORES) python tests/studies/run_studies.py $(STUDIES)

# The environment may be missing: the machine that has the GPU may have no network.
gpu:
	@$(RUN) python3 tests/gpu/run_checks.py $(GPU)

gpu-bundle: $(READY)
	.venv/bin/python tests/gpu/bundle.py

lock: $(READY)
	$(UV_LOCK) pyproject.toml --extra test --output-file $(LOCK)
	echo snakemake-executor-plugin-slurm | $(UV_LOCK) - --constraint $(LOCK) --output-file envs/slurm.txt
	$(UV_LOCK) --group publishing --output-file envs/publishing.txt

clean:
	rm -rf .venv
