# `make help` lists the targets. Everything that is generated goes into build/, the Python environment into .venv/.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup check-system lint test test-slow test-arm instructions test-oldest coverage docs pictures site formal netlist faults mutants fuzz soak sim bench train export verilog synth timing flash clean test-pynq synth-ultra96 bitstream release

PYTHON ?= python3.11
LIBPYTHON := the shared library of Python, for cocotb (Debian, Ubuntu: apt install libpython3.11)
VENV := .venv
PY := $(VENV)/bin/python
CONFIG ?= a
PHOTO ?=
PYTHON310 ?= python3.10
BOARD ?= pynq-z2
JOBS ?= 2
PYNQ_VERSIONS ?= 3.1.2 4.0.0
FLOW ?= vivado
CLOCK ?= 150
# One thread a process: the tests run JOBS processes.
TEST := OMP_NUM_THREADS=1 $(PY) -m pytest -n $(JOBS) --dist loadfile

help:  ## Show this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):[^#]*## */\1\t/' | expand -t 16

setup: $(VENV)/.installed  ## Make .venv with everything that simulation, training and tests need

# Redone when the requirements change, and only then.
$(VENV)/.installed: requirements.txt pyproject.toml
	@$(MAKE) --no-print-directory check-system
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	pwd > "$$($(PY) -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/codenet-checkout.pth"  # hw, sim, models
	@$(PY) -c 'import find_libpython as f, sys; f.find_libpython() or sys.exit("missing on this system: $(LIBPYTHON)")'
	touch $@

check-system:
	@missing=; need() { command -v "$$1" >/dev/null || missing="$$missing\n  $$1 (Debian, Ubuntu: apt install $$2)"; }; \
	need $(PYTHON) "python3.11 python3.11-venv libpython3.11"; need g++ g++; need make make; need perl perl; \
	if command -v $(PYTHON) >/dev/null && ! $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null; then \
		missing="$$missing\n  the venv module of $(PYTHON) (Debian, Ubuntu: apt install python3.11-venv)"; fi; \
	if [ -n "$$missing" ]; then printf "missing on this system:$$missing\n" >&2; exit 1; fi

lint: setup  ## Check format, style and types
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy

test: lint  ## Lint and run the quick tests
	$(TEST) -m "not slow"

test-slow: setup  ## Run the slow tests (whole frames of large networks in RTL simulation, training)
	$(TEST) -m slow

test-arm: setup  ## Run the runtime on an emulated 32-bit ARM (root, qemu-user-static, debootstrap), compare with this machine
	$(PY) -m tests.board.arm

instructions: setup  ## Count what an emulated Cortex-A9 executes for a frame, write docs/host.md (qemu-user, gcc, apt)
	$(PY) -m tests.instructions

test-oldest: setup  ## Run the runtime's tests with the oldest Python, NumPy and Pillow that it supports (PYTHON310=python3.10)
	$(PY) -m tests.board.oldest $(PYTHON310)

test-pynq: $(PYNQ_VERSIONS:%=.venv-pynq-%/.installed)  ## Run the PYNQ driver with the real package pynq on the RTL (PYNQ_VERSIONS="3.1.2 4.0.0")
	@for version in $(PYNQ_VERSIONS); do echo "pynq $$version"; \
		OMP_NUM_THREADS=1 .venv-pynq-$$version/bin/python -m pytest $(PYNQ_TESTS) || exit 1; done

PYNQ_TESTS := tests/codenet/devices/test_pynq.py tests/sim/platforms/test_pynq.py tests/sim/platforms/test_pynq_remote.py tests/hw/flow/test_hwh.py

# An environment of their own, as pynq insists on old versions of NumPy, gRPC and Protobuf.
.venv-pynq-%/.installed: requirements-pynq.txt
	@$(MAKE) --no-print-directory check-system
	test -x .venv-pynq-$*/bin/python || $(PYTHON) -m venv .venv-pynq-$*
	.venv-pynq-$*/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-pynq.txt pynq==$*
	touch $@

coverage: setup  ## Run the quick tests of codenet and report its coverage in build/coverage (ARGS=tests/codenet/golden)
	$(TEST) -m "not slow" --cov=codenet --cov-report=term:skip-covered --cov-report=html:build/coverage $(or $(ARGS),tests/codenet)

site: .venv-site/.installed  ## Make the site of docs/ and the API reference in build/site; fails at dead links, undocumented names
	.venv-site/bin/python docs/site/build.py

# An environment of its own: the generator has nothing to do with what it describes.
.venv-site/.installed: requirements-site.txt
	@$(MAKE) --no-print-directory check-system
	test -x .venv-site/bin/python || $(PYTHON) -m venv .venv-site
	.venv-site/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-site.txt
	touch $@

formal: setup .venv-formal/.installed  ## Prove properties of the gateware for all inputs: build/trust.json (ARGS="'burst splitter'")
	$(PY) -m tests.formal $(ARGS)

# The solver is a program and has no wheel for some machines: so it is not in .venv, and make test does without it.
.venv-formal/.installed: requirements-formal.txt
	@$(MAKE) --no-print-directory check-system
	test -x .venv-formal/bin/python || $(PYTHON) -m venv .venv-formal
	.venv-formal/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-formal.txt
	touch $@

netlist: setup  ## Simulate what Yosys makes of the RTL: every kind of step, a detector, faults (ARGS=--small)
	$(PY) -m tests.netlist $(ARGS)

faults: setup  ## Single faults on the simulated board, counted by kind and outcome: build/trust.json (ARGS="--count 100")
	$(PY) -m tests.faults --jobs $(JOBS) $(ARGS)

mutants: setup  ## Mutants of hw, golden, compiler and runtime, and whether tests kill them: build/trust.json (ARGS="--count 100")
	$(PY) -m tests.mutants --jobs $(JOBS) $(ARGS)

fuzz: setup  ## Broken files for every reader: taken, or refused by name: build/trust.json (ARGS="graph --count 1000")
	$(PY) -m tests.fuzz --jobs $(JOBS) $(ARGS)

soak: setup  ## A thousand whole frames with any memory timing, every tensor compared: build/trust.json (ARGS="--count 100")
	$(PY) -m tests.soak --jobs $(JOBS) $(ARGS)

docs: setup  ## Write the generated pages: docs/registers.md, docs/isa.md
	$(PY) -m codenet.cli.reference docs

pictures: setup  ## Draw the block diagram and the waveforms of docs/ from the hardware
	$(PY) -m sim.pictures

sim: setup  ## Run a photo through the RTL and compare every tensor (CONFIG=a..g PHOTO=path)
	$(PY) -m sim.run --config $(CONFIG) $(if $(PHOTO),--photo "$(PHOTO)")

bench: setup  ## Measure frames of all configurations in RTL simulation: build/bench.json, charts, docs/results.md (ARGS="--configs a")
	$(PY) -m sim.benchmark $(ARGS)

train: setup  ## Train a detector (ARGS="--data FOLDER --output FOLDER")
	$(PY) -m models.train $(ARGS)

export: setup  ## Write a trained checkpoint as a graph file (ARGS="CHECKPOINT -o GRAPH")
	$(PY) -m models.export $(ARGS)

verilog: setup  ## Write the accelerator as Verilog to build/codenet.v
	$(PY) -m hw.verilog -o build/codenet.v

synth: setup  ## Synthesize for the xc7z020: resources by component, build/synth.json; fails over budget
	$(PY) -m hw.synthesis budget

synth-ultra96: setup  ## The whole of the larger accelerator for the Ultra96, the paper's board: build/synth-ultra96.json
	$(PY) -m hw.synthesis budget --board ultra96 --components total

timing: setup  ## Longest paths between registers by component, and place and route with nextpnr
	$(PY) -m hw.synthesis timing

bitstream: setup  ## Make the bitstream of a board in build/BOARD (BOARD=pynq-z2 FLOW=vivado|open CLOCK=150 ARGS=--slower)
	$(PY) -m hw.flow $(BOARD) --flow $(FLOW) --clock $(CLOCK) $(ARGS)

# USER is this machine's user unless it is given on the command line.
flash: setup  ## Copy to a board over SSH, install, try (HOST=pynq USER=xilinx DEVICE=pynq PROGRAMS="a.cdn" BITSTREAM=x.bit)
	$(if $(HOST)$(ARGS),,$(error HOST is missing: make flash HOST=pynq, the name or address of the board))
	$(PY) -m hw.flow.flash $(HOST) $(if $(filter command,$(origin USER)),--user $(USER)) $(if $(DEVICE),--device $(DEVICE)) --board $(BOARD) $(if $(BITSTREAM),--bitstream $(BITSTREAM)) $(if $(PROGRAMS),--programs $(PROGRAMS)) $(ARGS)

release: setup  ## Build the release from a clean checkout in build/release (ARGS="--without-bitstreams zybo-z7-20")
	$(PY) -m hw.flow.release $(ARGS)

clean:  ## Remove what was built, except trained checkpoints and .venv
	find build -mindepth 1 -maxdepth 1 ! -name train -exec rm -rf {} + 2>/dev/null || true
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
