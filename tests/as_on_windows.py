"""Import every module of labs_helper as if this were Windows: `python tests/as_on_windows.py`, in `make lint`.

What Windows has not is taken away: modules such as fcntl, signals, calls of `os`, /proc. `sys` and `os` say Windows.
Other packages are imported before that, as they are for this system. So the test finds what our own code takes for
granted, and nothing about MLX or Jupyter; a run on Windows is the workflow's.
"""

from __future__ import annotations

import builtins
import importlib
import importlib.abc
import io
import os
import pathlib
import pkgutil
import signal
import sys
import types
from collections.abc import Sequence
from typing import Any

MODULES = ("fcntl", "grp", "posix", "pty", "pwd", "resource", "termios", "tty")
SIGNALS = ("SIGALRM", "SIGHUP", "SIGKILL", "SIGUSR1", "SIGUSR2", "alarm", "setitimer", "getitimer", "ITIMER_REAL")
CALLS = ("O_NOFOLLOW", "O_CLOEXEC", "fork", "geteuid", "getuid", "getpgid", "killpg", "mkfifo", "setsid", "uname")


class _NotOnWindows(importlib.abc.MetaPathFinder):
    def find_spec(self, name: str, path: Sequence[str] | None = None, target: Any = None) -> None:
        if name in MODULES:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def modules() -> list[str]:
    """Every module of labs_helper, without the page of its widgets, which is no Python."""
    import labs_helper

    return [module.name for module in pkgutil.walk_packages(labs_helper.__path__, "labs_helper.")]


def become_windows() -> None:
    """Change this process for good. labs_helper has to be imported again afterwards."""
    for name in modules():
        importlib.import_module(name)
    for name in [name for name in sys.modules if name.split(".")[0] == "labs_helper"]:
        del sys.modules[name]
    sys.meta_path.insert(0, _NotOnWindows())
    for name in MODULES:
        sys.modules.pop(name, None)
    for owner, names in ((signal, SIGNALS), (os, CALLS)):
        for name in names:
            if hasattr(owner, name):
                delattr(owner, name)
    os.O_BINARY = 0  # type: ignore[attr-defined]
    sys.modules["winreg"] = _registry()
    opened, stat = io.open, os.stat

    def refuse(path: object) -> None:
        if str(path).startswith(("/proc", "/sys/")):
            raise FileNotFoundError(path)

    def open_elsewhere(file: Any, *arguments: Any, **named: Any) -> Any:
        refuse(file)
        return opened(file, *arguments, **named)

    def stat_elsewhere(path: Any, *arguments: Any, **named: Any) -> os.stat_result:
        refuse(path)
        return stat(path, *arguments, **named)

    builtins.open = io.open = open_elsewhere
    os.stat = stat_elsewhere
    # pathlib chooses the class of a path by os.name; the files are still on this system.
    pathlib.Path.__new__.__globals__["WindowsPath"] = pathlib.PosixPath
    sys.platform, os.name = "win32", "nt"


def _registry() -> types.ModuleType:
    module = types.ModuleType("winreg")

    def open_key(_root: int, _name: str) -> None:
        raise FileNotFoundError("no such key")

    module.__dict__.update(HKEY_LOCAL_MACHINE=0, OpenKey=open_key, QueryValueEx=lambda _key, _name: (0, 0))
    return module


def problems() -> list[str]:
    """A line for each module that cannot be imported."""
    become_windows()
    failed = []
    for name in modules():
        try:
            importlib.import_module(name)
        except Exception as error:
            failed.append(f"{name}: {type(error).__name__}: {error}")
    return failed


if __name__ == "__main__":
    found = problems()
    print("\n".join(found) or f"{len(modules())} modules can be imported as on Windows.")
    sys.exit(bool(found))
