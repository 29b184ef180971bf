# From a bare machine with python3 (3.11 or newer) to a result, each in one command.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: demo test test-s3 test-cluster drills lint bench bench-gpu fuzz clean

demo: $(INSTALLED)
	$(BIN)/abundant demo

test: lint
	$(BIN)/pytest --numprocesses 3 --no-loadscope-reorder

# Against Ceph's own S3 server, as root: apt-get install ceph-mon ceph-mgr ceph-osd radosgw
test-s3: $(INSTALLED)
	$(BIN)/pytest tests/rgw/check.py

# Deployments, as far as they can be checked without a cluster, the image, and nodes with addresses of their own, of
# which one after the other is lost; as root: apt-get install slurmctld slurm-client munge iproute2 buildah debootstrap
test-cluster: $(INSTALLED)
	ABUNDANT_LONG=1 $(BIN)/pytest tests/cluster --timeout 900
	$(BIN)/pytest tests/cluster/nodes/check.py tests/cluster/deployments/check.py --timeout 900

# Hundreds of runs that are killed and resumed; an hour. The same command goes on with those that are left.
drills: $(INSTALLED)
	$(BIN)/python -m tests.drills

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright --level error
	$(BIN)/lint-imports

bench: $(INSTALLED)
	$(BIN)/python -m tests.bench

# Where there is a card: stars per second of every network on it, and the readers that it needs.
bench-gpu: $(INSTALLED)
	$(BIN)/python -m tests.bench launches gpu

fuzz: $(INSTALLED)
	$(BIN)/python -m tests.fuzz

clean:
	rm -rf $(VENV) demo

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "Abundant needs Python 3.11 or newer"'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test]'
	touch $@
