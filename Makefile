# A machine without ROS: everything lives in .venv, ROS 2 included (its packages are on PyPI).
# In a ROS 2 workspace use colcon instead.

PYTHON ?= python3
# Installed before the package, so that its open range picks no other version. PyPI's build for x86-64 Linux is
# CUDA's, of several GB with its libraries. Without an NVIDIA GPU the one for processors does the same:
#     make setup TORCH='torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu'
# Not by itself, as a second index that can't be reached costs pip's retries for every package.
# TORCH= leaves torch out: all but the source "autogaze" works without it.
TORCH ?= torch==2.13.0

# A sourced ROS must not mix with the one in .venv.
unexport AMENT_PREFIX_PATH CMAKE_PREFIX_PATH COLCON_PREFIX_PATH LD_LIBRARY_PATH PYTHONPATH ROS_DISTRO RMW_IMPLEMENTATION
# Set in every process that has imported PyPI's ROS 2: it says that the paths above are there.
unexport _ROS_WHEELS_BOOTSTRAP_COMPLETE

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install -q
# What the installed package is made from. Not the Python sources: .venv reads them from here.
PARTS := pyproject.toml setup.py CMakeLists.txt package.xml constraints.txt Makefile \
	$(wildcard cmake/* config/* launch/* msg/*)
# One file for each value of TORCH, so that another value is noticed.
TORCH_DONE := .venv/.torch-$(firstword $(shell printf '%s' '$(TORCH)' | cksum))

# What a pip build leaves behind here: old modules in build/lib would get into the next wheel, and
# pip takes an .egg-info on the path for the installed package, then cannot uninstall that.
LEFTOVERS := rm -rf build/lib* build/bdist* build/temp* autogaze_ros.egg-info; rmdir build 2>/dev/null || true

.PHONY: help setup demo test lint train clean

help:
	@echo "make demo [VIDEO=clip.mp4 | BAG=folder]   gaze at a clip as a camera would send it; results in out/demo"
	@echo "make test [ARGS=...]                      run all tests"
	@echo "make lint                                 check style and types"
	@echo "make train [MINUTES=30] [TRAIN=out/train]  train the built-in model anew on a GPU; goes on where it was stopped"
	@echo "make setup [PYTHON=python3.12] [TORCH=torch==...]   only make .venv"
	@echo "make clean                                remove .venv and all that was built"

setup: .venv/.done

demo: setup
	$(BIN)/autogaze demo $(if $(VIDEO),--video '$(VIDEO)') $(if $(BAG),--bag '$(BAG)')

test: setup
	$(BIN)/python -m pytest $(ARGS)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/mypy

# Needs a CUDA build of PyTorch 2.9 or later: make train TORCH='torch==...' with pip configured for its index, or
# PYTHON_TRAIN naming a Python that has one, with the package's other dependencies.
PYTHON_TRAIN ?= $(BIN)/python
MINUTES ?= 30
TRAIN ?= out/train

train: $(if $(filter $(BIN)/%,$(PYTHON_TRAIN)),setup)
	$(PYTHON_TRAIN) -m autogaze_ros.training train --out '$(TRAIN)' --minutes $(MINUTES)
	$(PYTHON_TRAIN) -m autogaze_ros.training export '$(TRAIN)' '$(TRAIN)/builtin'

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' || { \
	  echo "Python 3.11 or 3.12 is needed, '$(PYTHON)' is $$($(PYTHON) --version 2>&1)." \
	       "Name another: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, os, shutil, sys, sysconfig; \
	  header = os.path.join(sysconfig.get_path("include"), "Python.h"); \
	  sys.exit(not (shutil.which(os.environ.get("CXX", "c++")) and os.path.exists(header)))' 2>/dev/null || { \
	  echo "A C++ compiler and Python's headers and venv are needed:" \
	       "sudo apt install build-essential python3-dev python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv .venv

$(TORCH_DONE): | .venv/bin/python
	@rm -f .venv/.torch-*
	@$(if $(TORCH),echo "Installing $(TORCH) ..." && $(PIP) $(TORCH))
	@touch $@

# The package proper, for its messages and dependencies; then a path that puts this checkout before
# the installed copy, so that every command of .venv runs the sources as they are now.
.venv/.done: $(PARTS) $(TORCH_DONE)
	@echo "Building and installing autogaze_ros, with ROS 2 from PyPI (about a minute) ..."
	@rm -f .venv/lib/python*/site-packages/autogaze_ros_checkout.pth; $(LEFTOVERS)
	@$(PIP) -c constraints.txt '.[test$(if $(TORCH),$(comma)model)]'
	@$(LEFTOVERS)
	@for site in .venv/lib/python*/site-packages; do \
	  echo 'import sys; sys.path.insert(0, "$(CURDIR)")' > $$site/autogaze_ros_checkout.pth; done
	@touch $@

clean:
	rm -rf .venv build out *.egg-info .pytest_cache .mypy_cache .ruff_cache

comma := ,
