"""Settings for the notebooks that pytest runs through nbval."""

import os

# A test that solves an exercise is nobody's progress. Kernels and servers that tests start inherit this.
os.environ["LABS_PROGRESS"] = "off"

# Copies that `labs reset` keeps belong to a learner.
collect_ignore_glob = ["notebooks/*.copy-*.ipynb"]


def pytest_collectstart(collector):
    """In cells whose outputs are compared, leave out warnings and progress lines."""
    if hasattr(collector, "skip_compare"):
        collector.skip_compare += ("stderr",)
