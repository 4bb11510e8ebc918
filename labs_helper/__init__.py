"""Helpers for the Phi-3.5 labs: ten names, each loaded when it is first used.

    from labs_helper import check_setup, load, chat

Importing this package is cheap on purpose: no mlx, no transformers, no widgets. A learner who imports it in
the first cell should not wait, and a tool that only wants one name should not pay for the others.
"""

from __future__ import annotations

import importlib

__version__ = "0.1.0"

# public name -> the module that defines it
_WHERE = {
    "check_setup": "labs_helper.machine",
    "load": "labs_helper.models",
    "memory": "labs_helper.models",
    "chat": "labs_helper.widgets",
    "look": "labs_helper.widgets",
    "compare": "labs_helper.widgets",
    "experts": "labs_helper.widgets",
    "benchmarks": "labs_helper.widgets",
    "check": "labs_helper.exercises",
    "hint": "labs_helper.exercises",
}

__all__ = list(_WHERE)


def __getattr__(name: str):
    if name not in _WHERE:
        raise AttributeError(f"module 'labs_helper' has no attribute {name!r}; it offers {', '.join(__all__)}")
    value = getattr(importlib.import_module(_WHERE[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
