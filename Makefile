# make test    everything that must hold, on a machine with Python 3.11 and nothing else
# make demo    two Glances, an archive between them; IMAGES=DIR for your own disk images
# make docs    docs/ and the specification as HTML, in build/html; warnings are errors
# make practice  two Glances to practise on, until Ctrl-C: docs/tutorial.md
# make man     the manual page, as build/man/glancearchive.1
# make bench   measures it beside restic, borg, zstd, curl and the OpenStack clients, for hours; BENCH_ARGS=--quick for
#              one run each, BENCH_ARGS=--trial to see within minutes that all of it works, BENCH_ARGS=--help for more
# make soak    kills and damages at random for MINUTES=10, from a printed SEED
# make damage  damages an archive thousands of times, from a printed SEED, and prints the table of docs/damage.md;
#              DAMAGE_ARGS=--write puts it there, DAMAGE_ARGS=--help for more
# make clean   removes what the two have made here

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
PYTEST_ARGS ?=
# A process for each core, each with whole files of tests: what a file or a worker shares, servers above all, is
# started few times. PYTEST_WORKERS= runs them one after the other.
PYTEST_WORKERS ?= -n logical --maxprocesses 8 --dist loadfile

MINUTES ?= 10
DAMAGE_ARGS ?=

.PHONY: test demo docs man practice bench soak damage cloud system clean
.DELETE_ON_ERROR:

test: $(VENV)/.dev cloud
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/mypy --strict -p tests.cloud -p tests.faults -p demo
	@# Tests start the program hundreds of times, and it may not be allowed to keep what it compiles by itself.
	$(BIN)/python -m compileall -q glancearchive
	$(BIN)/python -m pytest $(PYTEST_WORKERS) $(PYTEST_ARGS)

demo: $(VENV)/.runtime cloud
	$(BIN)/python -m demo.demo

practice: $(VENV)/.runtime cloud
	@$(BIN)/python -m demo.practice

docs: $(VENV)/.dev
	$(BIN)/python -m sphinx -W --keep-going --quiet --conf-dir docs --doctree-dir build/doctrees . build/html
	@echo build/html/index.html

# Built before `pip install .` or a wheel, it is installed as share/man/man1/glancearchive.1.
man: $(VENV)/.runtime
	@mkdir -p build/man
	$(BIN)/glancearchive manual > build/man/glancearchive.1

# The environment that Glance and Keystone run from; see tests/cloud/environment.py.
cloud: | system
	@$(PYTHON) -m tests.cloud.environment

# Tools some tests use. They are installed where that can be done without asking; elsewhere those tests are
# skipped, and say so.
system:
	@missing=(); \
	has() { command -v "$$1" >/dev/null || [ -x "/usr/sbin/$$1" ]; }; \
	has zstd || missing+=(zstd); \
	has file || missing+=(file); \
	has qemu-img || missing+=(qemu-utils); \
	has mkfs.ext4 || missing+=(e2fsprogs); \
	has par2 || missing+=(par2); \
	has mkfs.exfat || missing+=(exfatprogs); \
	has mount.exfat-fuse || missing+=(exfat-fuse); \
	$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv); \
	if [ "$${#missing[@]}" -gt 0 ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "installing $${missing[*]}"; \
		{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
			"$${missing[@]}" >/dev/null; } || echo "could not install all of: $${missing[*]}; going on without"; \
	fi

$(VENV)/.runtime: setup.py pyproject.toml | system
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/.dev: setup.py pyproject.toml | system
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@ $(VENV)/.runtime

$(VENV)/.bench: $(VENV)/.runtime benchmarks/requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r benchmarks/requirements.txt
	@touch $@

bench: $(VENV)/.bench cloud
	$(BIN)/python -m benchmarks.run $(BENCH_ARGS)

soak: $(VENV)/.dev cloud
	GLANCEARCHIVE_SOAK=1 $(BIN)/python -m pytest tests/format/test_damage.py tests/faults/test_largest_file.py --timeout 3600
	$(BIN)/python -m tests.faults.soak --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

damage: $(VENV)/.dev
	$(BIN)/python -m benchmarks.damage $(if $(SEED),--seed $(SEED)) $(DAMAGE_ARGS)

clean:
	rm -rf $(VENV) .cache build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
