"""Settings for the notebooks that pytest runs through nbval."""


def pytest_collectstart(collector):
    """In cells whose outputs are compared, leave out warnings and progress lines."""
    if hasattr(collector, "skip_compare"):
        collector.skip_compare += ("stderr",)
