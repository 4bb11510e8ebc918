"""Give MLX a fast BLAS on Linux.

What: the mlx wheel for Linux carries the reference BLAS, about 1.4 GFLOPS in fp32 on one core. With OpenBLAS
    opened first, MLX takes its `cblas_sgemm` instead: 68 to 107 GFLOPS on two cores (measured, mlx 0.32.4).
Where: the shared libraries of mlx-cpu import plain `cblas_*` names, which the dynamic linker resolves to the
    first library that was opened for everybody (RTLD_GLOBAL). So the order of opening decides.
Not needed: on a Mac MLX uses Metal and Accelerate.
"""

from __future__ import annotations

import ctypes
import os
import sys
from dataclasses import dataclass
from typing import Literal

from labs_helper.common import settings
from labs_helper.common.translate import _

LIBRARY = "libopenblas.so.0"

Outcome = Literal["opened", "preloaded", "system", "switched off", "too late", "missing"]


@dataclass(frozen=True)
class BlasStatus:
    """Which BLAS MLX computes with.

    Attributes:
        outcome: how it came about. The sentences below are looked up when they are shown.
    """

    outcome: Outcome

    @property
    def fast(self) -> bool:
        """Whether it is a fast one."""
        return self.outcome in ("opened", "preloaded", "system")

    @property
    def library(self) -> str:
        """Its name, and for the slow one the reason."""
        match self.outcome:
            case "opened":
                return "OpenBLAS"
            case "preloaded":
                return "OpenBLAS (LD_PRELOAD)"
            case "system":
                return _("the system's own (Accelerate, Metal)")
            case "switched off":
                return _("MLX's reference BLAS ({name}=0)").format(name=settings.BLAS.name)
            case "too late":
                return _("MLX's reference BLAS: mlx was imported before the labs could open OpenBLAS")
            case "missing":
                return _("MLX's reference BLAS: {library} is not on this machine").format(library=LIBRARY)

    @property
    def advice(self) -> str:
        """What to do about a slow one; empty for a fast one."""
        match self.outcome:
            case "switched off":
                return _("Unset {name}.").format(name=settings.BLAS.name)
            case "too late":
                return _("Restart the kernel and run check_setup() first. The labs work as they are, but more slowly.")
            case "missing":
                return _(
                    "Install it: sudo apt-get install libopenblas0-pthread (Debian, Ubuntu) or "
                    "conda install openblas. The labs work without it, but more slowly."
                )
            case _:
                return ""


_status: BlasStatus | None = None


def preload() -> BlasStatus:
    """Open OpenBLAS for the whole process, if this is Linux and MLX is not imported yet. Cheap to call again.

    Returns:
        What MLX computes with. A missing library raises nothing: MLX also works without it.

    Raises:
        BadRequest: LABS_BLAS holds something that means nothing.

    Example:
        preload().fast
    """
    global _status
    if _status is None or not _status.fast:
        _status = BlasStatus(_open())
    return _status


def _open() -> Outcome:
    if not sys.platform.startswith("linux"):
        return "system"
    if not settings.BLAS.get():
        return "switched off"
    if "openblas" in os.environ.get("LD_PRELOAD", "").lower():
        return "preloaded"
    if "mlx.core" in sys.modules:
        return "too late"
    try:
        ctypes.CDLL(LIBRARY, mode=ctypes.RTLD_GLOBAL)
    except OSError:
        return "missing"
    return "opened"
