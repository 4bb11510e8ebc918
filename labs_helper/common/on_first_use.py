"""Names of a package whose modules are imported when somebody asks for one of them."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def on_first_use(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """The `__getattr__` of a package that imports its modules late.

    Args:
        package: its `__name__`.
        homes: the module of each name, relative to the package.

    Example:
        __getattr__ = on_first_use(__name__, {"serve": "server"})
    """

    def find(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{package}.{homes[name]}"), name)

    return find
