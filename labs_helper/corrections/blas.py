"""Give MLX a fast BLAS on Linux.

What: the mlx wheel for Linux carries the reference BLAS, about 1.4 GFLOPS in fp32 on one core. With OpenBLAS
    opened first, MLX takes its `cblas_sgemm` instead: 68 to 107 GFLOPS on two cores (measured, mlx 0.32.4).
    Two are tried: the system's, and the older one inside the wheel of opencv-python, which mlx-vlm brings along. The
    second reaches 35 to 45 GFLOPS and needs nothing of the system; cv2 itself, which needs libGL, is not imported.
Where: the shared libraries of mlx-cpu import plain `cblas_*` names, which the dynamic linker resolves to the
    first library that was opened for everybody (RTLD_GLOBAL). So the order of opening decides.
Not needed: on a Mac MLX uses Metal and Accelerate; on Windows its package brings OpenBLAS along.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from labs_helper.common import settings
from labs_helper.common.translate import _

LIBRARY = "libopenblas.so.0"

Outcome = Literal["opened", "in opencv", "preloaded", "system", "switched off", "too late", "missing"]


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
        return self.outcome in ("opened", "in opencv", "preloaded", "system")

    @property
    def library(self) -> str:
        """Its name, and for the slow one the reason."""
        match self.outcome:
            case "opened":
                return "OpenBLAS"
            case "in opencv":
                return _("OpenBLAS from the package opencv-python")
            case "preloaded":
                return "OpenBLAS (LD_PRELOAD)"
            case "system":
                if sys.platform == "win32":
                    return _("OpenBLAS from MLX's own package")
                return _("the system's own (Accelerate, Metal)")
            case "switched off":
                return _("MLX's reference BLAS ({name}=0)").format(name=settings.BLAS.name)
            case "too late":
                return _("MLX's reference BLAS: mlx was imported before the labs could open OpenBLAS")
            case "missing":
                return _("MLX's reference BLAS: {library} is not on this machine").format(library=LIBRARY)

    @property
    def advice(self) -> str:
        """What to do about a slow one, or about one that could be faster; empty for the fastest."""
        match self.outcome:
            case "in opencv":
                return _(
                    "The system's own is about twice as fast for large products: "
                    "sudo apt-get install libopenblas0-pthread (Debian, Ubuntu)."
                )
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
    if _is_opened(LIBRARY):
        return "opened"
    if any(_is_opened(str(file)) for file in in_opencv()):
        return "in opencv"
    return "missing"


def in_opencv() -> list[Path]:
    """The OpenBLAS libraries inside the installed wheel of OpenCV; none if it is not installed or carries none.

    Example:
        in_opencv()[0].name      # "libopenblasp-r0-59ffcd50.3.15.so"
    """
    try:
        package = importlib.util.find_spec("cv2")  # looked for, not imported
    except (ImportError, ValueError):  # somebody has put something else in its place
        return []
    if package is None or package.origin is None:
        return []
    return sorted(Path(package.origin).parents[1].glob("opencv_*.libs/libopenblas*.so*"))


def _is_opened(library: str) -> bool:
    try:
        ctypes.CDLL(library, mode=ctypes.RTLD_GLOBAL)
    except OSError:
        return False
    return True
