# make demo | test | test-fast | lint | bench | fuzz-sanitize | fuzz-jit | fuzz-virtio | clean
#
# Everything happens inside .venv; PYTHON chooses the interpreter it is made from.

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
SOURCES := $(shell find cores emu/engine -name '*.py' -o -name '*.c' -o -name '*.h' 2>/dev/null)

.PHONY: demo build witness test test-fast lint bench fuzz-sanitize fuzz-jit fuzz-virtio fuzz-devices clean

demo: build
	$(PY) -m images.demo --run

build: $(VENV)/.built

$(VENV)/.ready: pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "make: $(PYTHON) is missing: apt install python3"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "make: Python 3.10 or newer is needed"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "make: venv is missing: apt install python3-venv"; exit 1; }
	@$(PYTHON) -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' \
	  || { echo "make: Python.h is missing: apt install python3-dev"; exit 1; }
	@command -v $${CC:-gcc} >/dev/null || { echo "make: a C compiler is missing: apt install gcc libc6-dev"; exit 1; }
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) -m pip install -q --disable-pip-version-check "setuptools>=64" wheel "cffi>=1.15" "numpy>=1.24" "pytest>=7" "hypothesis>=6"
	@touch $@

$(VENV)/.built: $(VENV)/.ready setup.py $(SOURCES)
	$(PY) -m pip install -q --disable-pip-version-check --no-build-isolation --no-deps \
	  --config-settings editable_mode=compat -e .
	@touch $@

# Unicorn (GPL-2.0) is a witness that tests run as a separate program; without it they are skipped.
witness: build
	@$(PY) -c 'import importlib.util as u, sys; sys.exit(u.find_spec("unicorn") is None)' \
	  || $(PY) -m pip install -q --disable-pip-version-check "unicorn>=2.1,<2.2" \
	  || echo "make: Unicorn cannot be installed here; the tests that compare with it are skipped"

test: witness
	$(PY) -m tests.side_by_side

test-fast: witness
	$(PY) -m tests.side_by_side -m "not guest and not slow"

lint: build
	@$(PY) -c 'import ruff, mypy' 2>/dev/null || $(PY) -m pip install -q --disable-pip-version-check "ruff>=0.4" "mypy>=1.8"
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

# Lines and options: make bench BENCH="integer linux.pc --quick"
bench: build
	$(PY) -m emu bench $(BENCH)

# Random programs on the engines, interpreted and translated, and on whole boards, with address and undefined-behaviour sanitizers: SECONDS=600 SEED=7
SECONDS ?= 60
SEED ?= 1
ROUNDS ?= 200000
fuzz-sanitize: $(VENV)/.ready
	$(PY) -m emu.tools.sanitize --both --seconds $(SECONDS) --seed $(SEED)

# The JIT against the interpreter on random programs that get hot; says where to go on: SECONDS=600 SEED=7
fuzz-jit: build
	$(PY) -m tests.engine.fuzz_jit --seconds $(SECONDS) --seed $(SEED)

# Virtio devices under random rings, chains, registers and resets: ROUNDS for each device and dialect.
fuzz-virtio: $(VENV)/.ready
	EMU_FUZZ_VIRTIO=$(ROUNDS) EMU_FUZZ_SEED=$(SEED) $(PY) -m pytest -q \
		tests/devices/virtio/test_ring.py tests/devices/virtio/test_hostile.py tests/emu/test_disk_loan.py tests/emu/test_net_loan.py

# Every device under random accesses: ROUNDS for each.
fuzz-devices: $(VENV)/.ready
	EMU_FUZZ_DEVICES=$(ROUNDS) EMU_FUZZ_SEED=$(SEED) $(PY) -m pytest -q tests/devices/test_every_device.py -k never_raise

clean:
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis $(VENV)/.built
	rm -f emu/engine/_x86*.* emu/engine/_ppc*.*
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
