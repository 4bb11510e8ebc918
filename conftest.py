"""Settings for the notebooks that pytest runs through nbval."""

import os
import shutil
import tempfile
from functools import cache

import pytest

# A test that solves an exercise is nobody's progress. Kernels and servers that tests start inherit this.
os.environ["LABS_PROGRESS"] = "off"

_MODELS_DIR = "LABS_MODELS_DIR"


@cache
def _own() -> str:
    return tempfile.mkdtemp(prefix="labs-models-")


# Copies that `labs reset` keeps belong to a learner.
collect_ignore_glob = ["notebooks/*.copy-*.ipynb"]


def pytest_collectstart(collector):
    """In cells whose outputs are compared, leave out warnings and progress lines."""
    if hasattr(collector, "skip_compare"):
        collector.skip_compare += ("stderr",)


@pytest.hookimpl(tryfirst=True)  # before nbval starts the kernel, which inherits this
def pytest_runtest_setup(item):
    """Give each worker's notebooks a models folder: both editions of lab 05 keep an adapter there and remove it."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return
    named = os.environ.get(_MODELS_DIR)
    if hasattr(item.parent, "skip_compare"):
        os.environ[_MODELS_DIR] = named or _own()
    elif named and _own.cache_info().currsize and named == _own():
        del os.environ[_MODELS_DIR]


def pytest_sessionfinish():
    """Remove that folder."""
    if _own.cache_info().currsize:
        shutil.rmtree(_own(), ignore_errors=True)
