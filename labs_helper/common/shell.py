"""The notebook that this code runs in, as IPython knows it."""

from __future__ import annotations

import sys
from typing import Any


def running_shell() -> Any:
    """IPython's shell, or None in a plain Python. IPython is never imported for it.

    Example:
        running_shell().execution_count
    """
    get_ipython = getattr(sys.modules.get("IPython"), "get_ipython", None)
    return None if get_ipython is None else get_ipython()
