"""The NVIDIA card of a machine, as the driver's own program `nvidia-smi` tells it, and MLX's package for it.

Nothing here imports MLX: a CUDA package without a card or with an old driver can end the process that imports it.
"""

from __future__ import annotations

import functools
import importlib.metadata
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import Literal

from labs_helper.common.numbers import whole

# What MLX's packages need, from MLX's installation page (mlx 0.32): a driver for each CUDA, and a card of SM 7.5.
DRIVERS = {"mlx-cuda-12": (550, 54), "mlx-cuda-13": (580, 0)}
CAPABILITY = (7, 5)
_FIELDS = "name,driver_version,memory.total,memory.free,compute_cap"
_MIB = 2**20

Backend = Literal["mlx-cpu", "mlx-cuda-12", "mlx-cuda-13"]
BACKENDS: tuple[Backend, ...] = ("mlx-cpu", "mlx-cuda-12", "mlx-cuda-13")


@dataclass(frozen=True)
class Card:
    """An NVIDIA card.

    Attributes:
        name: as the driver tells it.
        driver: its version, as people write it.
        memory: in bytes.
        free: of that, in bytes, at the moment of asking.
        capability: which instructions it has ("compute capability", "SM").
    """

    name: str
    driver: str
    memory: int
    free: int
    capability: tuple[int, ...]

    @property
    def release(self) -> tuple[int, ...]:
        """The first two numbers of the driver's version."""
        return _version(self.driver)[:2]


def card() -> Card | None:
    """The first card; None without one, without its driver, or on a Mac.

    Example:
        card().memory / 2**30
    """
    if sys.platform == "darwin":
        return None
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    command = [program, f"--query-gpu={_FIELDS}", "--format=csv,noheader,nounits"]
    try:
        asked = subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace", timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return parse(asked.stdout) if asked.returncode == 0 else None


def parse(text: str) -> Card | None:
    """The first card in what `nvidia-smi` prints; None if that is anything else.

    Example:
        parse("NVIDIA L4, 580.65.06, 23034, 22000, 8.9").name      # "NVIDIA L4"
    """
    for line in text.splitlines():
        parts = [part.strip() for part in line.rsplit(",", 4)]
        if len(parts) != 5:
            continue
        name, driver, memory, free, capability = parts
        total, left = whole(memory), whole(free)
        if total is not None and left is not None and _version(driver) and _version(capability):
            return Card(name, driver, total * _MIB, left * _MIB, _version(capability))
    return None


def _version(text: str) -> tuple[int, ...]:
    """The numbers of a version; empty if it is none, as "[N/A]"."""
    numbers = [whole(part) for part in text.split(".")]
    return () if None in numbers else tuple(number for number in numbers if number is not None)


def backends() -> tuple[Backend, ...]:
    """The packages that compute for MLX and are installed. More than one is a mistake: their files have one name.

    Example:
        backends()      # ("mlx-cpu",)
    """
    return tuple(name for name in BACKENDS if _is_installed(name))


def _is_installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def trouble(found: Card | None, installed: tuple[Backend, ...]) -> Literal["both", "card", "driver", "old"] | None:
    """Why MLX cannot compute on the card with these packages; None if it can, or if no CUDA package is installed.

    Example:
        trouble(None, ("mlx-cuda-13",))      # "card"
    """
    cuda = [name for name in installed if name in DRIVERS]
    if not cuda:
        return None
    if len(installed) > 1:
        return "both"
    if found is None:
        return "card"
    if found.capability < CAPABILITY:
        return "old"
    return "driver" if found.release < DRIVERS[cuda[0]] else None


def fitting(found: Card) -> Literal["cuda", "cuda12"] | None:
    """The extra of this course for a card and its driver; None if MLX cannot use it.

    Example:
        fitting(card())      # "cuda"
    """
    if found.capability < CAPABILITY or found.release < DRIVERS["mlx-cuda-12"]:
        return None
    return "cuda12" if found.release < DRIVERS["mlx-cuda-13"] else "cuda"


@functools.cache
def is_used() -> bool:
    """Whether MLX computes on an NVIDIA card here: one of its CUDA packages is installed, and card and driver suit it.

    Asked once in a process: neither changes while it runs.

    Example:
        is_used()
    """
    installed = backends()
    return any(name in DRIVERS for name in installed) and trouble(card(), installed) is None
