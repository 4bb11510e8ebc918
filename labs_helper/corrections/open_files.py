"""Keep this process's limit of open files while mlx-lm is imported, and let it be imported on Windows.

What: `import mlx_lm` sets RLIMIT_NOFILE to (2048, 4096). On most machines that lowers the hard limit of the
    whole kernel, and an ordinary user cannot raise it again. Windows has no module `resource`, so there the import
    fails, although nothing else in the package needs it.
Where: mlx_lm/utils.py, `import resource` and `resource.setrlimit(...)` at module level (mlx-lm 0.32.2).
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from types import ModuleType

from labs_helper.common import platforms


@contextlib.contextmanager
def keep_file_limit() -> Iterator[None]:
    """Within this context nobody can lower the limit of open files; asking for more is granted.

    The limit is guarded and not put back afterwards, because a lowered hard limit stays lowered.

    Example:
        with keep_file_limit():
            import mlx_lm
    """
    if sys.platform == "win32":
        stand_in()
        yield
        return
    import resource

    real = resource.setrlimit

    def raise_only(which: int, limits: tuple[int, int]) -> None:
        if which != resource.RLIMIT_NOFILE:
            real(which, limits)
            return
        soft, hard = resource.getrlimit(which)
        wanted = limits[0] if hard == resource.RLIM_INFINITY else min(limits[0], hard)
        if soft != resource.RLIM_INFINITY and wanted > soft:
            real(which, (wanted, hard))

    resource.setrlimit = raise_only
    try:
        yield
    finally:
        resource.setrlimit = real


def stand_in() -> None:
    """On Windows, put a module `resource` into this process in which limits can be set and mean nothing.

    A lab's own `import mlx_lm` finds it too, after check_setup(). A program that is started by itself, such as
    `mlx_lm.generate`, does not.

    Example:
        stand_in()
        import mlx_lm
    """
    if not platforms.is_windows() or "resource" in sys.modules:
        return
    module = ModuleType("resource", "Stands in for a module that Windows has not (labs_helper.corrections).")
    module.__dict__.update(RLIMIT_NOFILE=7, RLIM_INFINITY=-1, getrlimit=_no_limits, setrlimit=_ignore)
    sys.modules["resource"] = module


def _no_limits(_which: int) -> tuple[int, int]:
    return -1, -1


def _ignore(_which: int, _limits: tuple[int, int]) -> None:
    pass
