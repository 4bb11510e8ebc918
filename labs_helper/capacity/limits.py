"""How much memory is free for a model: the least of what machine, container and GPU still have."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from labs_helper.common import nvidia, platforms, settings

Kind = Literal["machine", "container", "gpu", "card", "setting"]


@dataclass(frozen=True)
class Limit:
    """One bound on memory, in bytes.

    Attributes:
        kind: what sets it: "gpu" is what macOS gives a Mac's GPU, "card" is an NVIDIA card's own memory, "setting" is
            LABS_MEMORY_GB.
        total: all that it allows.
        left: what is free of that.
    """

    kind: Kind
    total: int
    left: int


def tightest() -> Limit:
    """The bound that leaves the least. LABS_MEMORY_GB, if set, takes the place of all others.

    Raises:
        BadRequest: LABS_MEMORY_GB is not a number.

    Example:
        tightest().kind      # 'container'
    """
    assumed = settings.MEMORY_GB.get()
    if assumed is not None:
        count = int(assumed * 1e9)
        return Limit("setting", count, count)
    import psutil

    memory = psutil.virtual_memory()
    limits = [Limit("machine", memory.total, memory.available)]
    limits += [Limit("container", most, max(0, most - in_use)) for most, in_use in container_limits()]
    if platforms.has_apple_gpu():
        limits.append(_gpu_limit(memory.total))
    elif nvidia.is_used():
        limits += _card_limits()
    return min(limits, key=lambda limit: limit.left)


def total() -> int:
    """Memory that this process may use in all, in bytes: the machine's, or its container's limit.

    Example:
        total() / 2**30
    """
    import psutil

    return min([int(psutil.virtual_memory().total), *(most for most, _in_use in container_limits())])


def free() -> int:
    """Memory that is free now for this process, in bytes: the least of machine, container and GPU.

    LABS_MEMORY_GB, in gigabytes, is taken instead if it is set.

    Example:
        free() / 2**30
    """
    return tightest().left


def used() -> int:
    """Memory that this process holds now, in bytes.

    Example:
        used() / 2**20
    """
    import psutil

    return int(psutil.Process().memory_info().rss)


# -- containers -------------------------------------------------------------------------------------------


def container_limits(
    root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")
) -> list[tuple[int, int]]:
    """(limit, in use) in bytes for each control group this process is in that has a limit. Linux only.

    Page cache that can be dropped at once is not counted as used.

    Example:
        container_limits()      # [(16000000000, 3000000000)] in a Codespace
    """
    bounds: list[tuple[int, int]] = []
    if not own.is_file():
        return bounds
    for line in own.read_text("utf-8").splitlines():
        _number_of_hierarchy, kinds, group = line.split(":", 2)
        if kinds == "":
            base, top = root, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in kinds.split(","):
            base, top = root / "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        folder = base / group.lstrip("/")
        while folder.is_relative_to(base):
            most, in_use = _number(folder / top[0]), _number(folder / top[1])
            if most is not None and in_use is not None and most < 2**60:  # v1 says "no limit" with a huge number
                bounds.append((most, in_use - _statistic(folder / "memory.stat", top[2])))
            if folder == base:
                break
            folder = folder.parent
    return bounds


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text("utf-8"))
    except (OSError, ValueError):  # not there, not ours to read, or "max"
        return None


def _statistic(file: Path, name: str) -> int:
    try:
        lines = file.read_text("utf-8").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.split()[0] == name), 0)


# -- NVIDIA ----------------------------------------------------------------------------------------------


def _card_limits() -> list[Limit]:
    """The card's own memory, on which MLX computes. Weights pass through the machine's, so that counts as well."""
    card = nvidia.card()
    return [] if card is None else [Limit("card", card.memory, card.free)]


# -- Apple silicon ----------------------------------------------------------------------------------------


def _gpu_limit(memory: int) -> Limit:
    """What Metal lets the GPU use of the unified memory. More than that loads, and then crawls.

    MLX knows the limit once it is imported; before that `iogpu.wired_limit_mb` tells it if somebody has set it, and
    otherwise it is Metal's usual share.

    Args:
        memory: of the machine, in bytes.
    """
    if "mlx.core" in sys.modules:
        import mlx.core as mx

        recommended = int(mx.device_info().get("max_recommended_working_set_size") or 0)
        if recommended:
            return Limit("gpu", recommended, max(0, recommended - mx.get_active_memory()))
    most = _wired_limit() or gpu_share(memory)
    return Limit("gpu", most, most)


def gpu_share(memory: int) -> int:
    """Metal's usual share of a Mac's memory for the GPU, in bytes: two thirds up to 32 GB, three quarters above.

    Source: 10,922 MiB of 16 GB, 21,845 of 32, 49,152 of 64 in ggml-org/llama.cpp#1870, #2011 and ollama/ollama#434.

    Example:
        gpu_share(16 * 2**30)
    """
    return memory * 2 // 3 if memory <= 32 * 2**30 else memory * 3 // 4


def _wired_limit() -> int:
    """iogpu.wired_limit_mb in bytes; 0 if it is not set or cannot be read."""
    command = ["sysctl", "-n", "iogpu.wired_limit_mb"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return 0
    return int(answer) * 2**20 if answer.isdigit() else 0
