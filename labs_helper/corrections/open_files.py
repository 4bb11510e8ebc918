"""Keep this process's limit of open files while mlx-lm is imported.

What: `import mlx_lm` sets RLIMIT_NOFILE to (2048, 4096). On most machines that lowers the hard limit of the
    whole kernel, and an ordinary user cannot raise it again.
Where: mlx_lm/utils.py, `resource.setrlimit(...)` at module level (mlx-lm 0.32.2).
"""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterator


@contextlib.contextmanager
def keep_file_limit() -> Iterator[None]:
    """Within this context nobody can lower the limit of open files; asking for more is granted.

    The limit is guarded and not put back afterwards, because a lowered hard limit stays lowered.

    Example:
        with keep_file_limit():
            import mlx_lm
    """
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
