# `make demo` and `make test` need python3 (3.11 or newer), pip and make, nothing else.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help demo test lint bench million purge idle nodes kill faults fuzz wheel clean

help:
	@echo "make demo   the whole program at work on loopback, half a minute, for a person to watch"
	@echo "make test   all tests, PostgreSQL ones included"
	@echo "make lint   ruff, mypy --strict, import-linter"
	@echo "make bench  messages a second and CPU a message, beside a private Postfix if there is one"
	@echo "make million  a queue of a million: start, commands, fresh mail (MILLION='--recipients 100000')"
	@echo "make purge  a history of ten million attempts is purged: does fresh mail notice (PURGE='--attempts 1000000')"
	@echo "make idle   ten thousand silent clients: memory of each, mail beside them (IDLE='--number 2000')"
	@echo "make nodes  N relays on one PostgreSQL, a part of a core each, against the model (root)"
	@echo "make kill   a long run of the SIGKILL test (KILLS=100)"
	@echo "make faults disk full, clock jumps, power cut, ...: nothing answered 250 is lost (root, gcc, strace)"
	@echo "make soak   half an hour of everything at once: flat memory, nothing lost (SOAK='--minutes 5')"
	@echo "make fuzz   coverage-guided fuzzing of what reads octets from strangers (FUZZ='--seconds 600')"
	@echo "make wheel  build the wheel into dist/"

$(READY): pyproject.toml setup.cfg .ci/constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c .ci/constraints.txt -e '.[dev]'
	@touch $@

demo: $(READY)
	$(BIN)/mta demo

test: $(READY)
	$(BIN)/python -m pytest -n 3 --dist loadgroup tests

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY)
	$(BIN)/python tests/bench/run.py $(BENCH)

million: $(READY)
	$(BIN)/python tests/bench/million.py $(MILLION)

purge: $(READY)
	$(BIN)/python tests/bench/purge.py $(PURGE)

idle: $(READY)
	$(BIN)/python tests/bench/idle.py $(IDLE)

nodes: $(READY)
	$(BIN)/python tests/bench/nodes.py $(NODES)

KILLS ?= 100
kill: $(READY)
	KILLS=$(KILLS) $(BIN)/python -m pytest tests/flow/test_kill.py --timeout 3600 -s

faults: $(READY)
	FAULTS=1 $(if $(filter command line,$(origin KILLS)),KILLS=$(KILLS)) $(BIN)/python -m pytest tests/faults $(PYTEST)

soak: $(READY)
	$(BIN)/python tests/faults/soak.py $(SOAK)

fuzz: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c .ci/constraints.txt -e '.[fuzz]'
	$(BIN)/python tests/fuzz/run.py $(FUZZ)

wheel: $(READY)
	$(BIN)/python -m build --wheel

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
