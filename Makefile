# Everything here sets itself up: see tools/setup.
PY := .venv/bin

# Tests start hundreds of processes: none of them is to compile everything anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup demo demo-organisation demo-exchange demo-outlook demo-provision check test test-long soak bench

help:
	@echo "make demo       move a small organisation between two real servers, and prove it"
	@echo "make demo-organisation  thirty accounts, two in trouble, killed, mended, cut over, proven"
	@echo "make demo-provision  300 people, made from a spreadsheet by the API, then their mail moves in"
	@echo "make demo-exchange  an Exchange server: scripts, roster, check, five mailboxes moved through a kill, proven"
	@echo "make demo-outlook  Outlook's plug-in under Wine: a forged one refused, installed, disabled, repaired, rolled out"
	@echo "make test       everything that CI runs (real Dovecots on loopback)"
	@echo "make test-long  the same with all seeds of the long tests"
	@echo "make bench      side by side with mbsync, doveadm and others: WORK=alibaba50 RUNS=3 TLS=off WRITE=1"
	@echo "make soak       faults of the network and kill -9, mixed by seed, for SECONDS=600 or more"
	@echo "make check      lint, types, layers and the fast tests: for use while working"

setup:
	@tools/setup

demo: setup
	@$(PY)/python -m tools.demo

demo-organisation: setup
	@$(PY)/python -m tools.demo.organisation

demo-provision: setup
	@$(PY)/python -m tools.demo.provisioning

demo-exchange: setup
	@$(PY)/python -m tools.demo.exchange

demo-outlook: setup
	@$(PY)/python -m tools.demo.outlook

check: setup
	$(PY)/ruff check .
	$(PY)/ruff format --check .
	$(PY)/mypy
	$(PY)/lint-imports
	$(PY)/python -m pytest -q -n 2 --dist worksteal --hypothesis-profile quick \
	  -m "not server and not long and not slow" --ignore tests/test_machine.py

test: setup
	$(PY)/ruff check .
	$(PY)/ruff format --check .
	$(PY)/mypy
	$(PY)/lint-imports
	$(PY)/python -m pytest -n 2 --dist worksteal

test-long: setup
	$(PY)/python -m pytest -n 2 --dist worksteal --long

# WORK: one or more works, all by default. RUNS, SCALE, TLS (on, off), TOOLS: see benchmarks --help.
# IMAPSYNC: a command that is imapsync. WRITE=1 writes docs/benchmarks.md.
bench: setup
	@tools/setup peers
	@IMAPSYNC="$(IMAPSYNC)" $(PY)/python -m benchmarks $(WORK) $(if $(RUNS),--runs $(RUNS)) \
	  $(if $(SCALE),--scale $(SCALE)) $(if $(TLS),--tls $(TLS)) $(if $(TOOLS),--tools $(TOOLS)) $(if $(WRITE),--write)

soak: setup
	@$(PY)/python -m tests.soak --seconds $(or $(SECONDS),600)
