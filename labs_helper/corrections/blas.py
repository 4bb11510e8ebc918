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

LIBRARY = "libopenblas.so.0"


@dataclass(frozen=True)
class BlasStatus:
    """fast: MLX computes with a fast BLAS. found: which one. advice: what to do if it is slow."""

    fast: bool
    found: str
    advice: str = ""


_status: BlasStatus | None = None


def preload() -> BlasStatus:
    """Open OpenBLAS for the whole process, if this is Linux and MLX is not imported yet.

    Returns what was found; never raises, since MLX also works without it, only slowly.

    Example:
        preload().fast
    """
    global _status
    if _status is None or not _status.fast:
        _status = _look()
    return _status


def status() -> BlasStatus:
    """What `preload` found; preloads if nobody has yet.

    Example:
        print(status().found)
    """
    return preload()


def _look() -> BlasStatus:
    if not sys.platform.startswith("linux"):
        return BlasStatus(True, "the system's own (Accelerate, Metal)")
    if os.environ.get("LABS_BLAS") == "0":
        return BlasStatus(False, "MLX's reference BLAS (LABS_BLAS=0)", "Unset LABS_BLAS.")
    if "openblas" in os.environ.get("LD_PRELOAD", "").lower():
        return BlasStatus(True, "OpenBLAS (LD_PRELOAD)")
    if "mlx.core" in sys.modules:
        return BlasStatus(
            False,
            "MLX's reference BLAS: mlx was imported before the labs could open OpenBLAS",
            "Restart the kernel and run check_setup() first. The labs work as they are, only slower.",
        )
    try:
        ctypes.CDLL(LIBRARY, mode=ctypes.RTLD_GLOBAL)
    except OSError:
        return BlasStatus(
            False,
            f"MLX's reference BLAS: {LIBRARY} is not on this machine",
            "Install it: sudo apt-get install libopenblas0-pthread (Debian, Ubuntu) or "
            "conda install openblas. The labs work without it, only slower.",
        )
    return BlasStatus(True, "OpenBLAS")
