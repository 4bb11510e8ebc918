"""The processes that train one model together, and what each of them must know of the others."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import tempfile
from contextlib import nullcontext
from dataclasses import dataclass, field

import torch
from torch import distributed, nn

from training.muon import add_up, fast_16_bits


def default_device() -> str:
    """Where training computes: a CUDA GPU if torch sees one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def default_workers() -> int:
    """Processes that draw batches ahead for a GPU, which would wait for this one; 0 without a GPU."""
    return max(1, (os.cpu_count() or 1) - 2) if torch.cuda.is_available() else 0


def process_count() -> int:
    """One process with a GPU, else two where there are two cores.

    Two threads of one process wait for each other at every small operation, and stall when anything else runs.
    """
    return 1 if torch.cuda.is_available() else min(2, os.cpu_count() or 1)


def precision(device: str):
    """16-bit matrix products where the hardware has them."""
    return torch.autocast(device, torch.bfloat16) if fast_16_bits(device) else nullcontext()


@dataclass
class Team:
    """The processes that train together. They hold equal weights; each computes its share of a step's parts."""

    rank: int = 0
    size: int = 1
    device: str = field(default_factory=default_device)
    workers: int = field(default_factory=default_workers)

    def share(self, parts: int) -> range:
        """The numbers of the parts that this process computes."""
        return range(self.rank, parts, self.size)

    def wait(self) -> None:
        """Return when every process has come here."""
        if self.size > 1:
            distributed.barrier()

    def total(self, value: float) -> float:
        """The sum of a number over all processes."""
        if self.size == 1:
            return value
        summed = torch.tensor(value, dtype=torch.float64)
        distributed.all_reduce(summed)
        return summed.item()

    def totals(self, sums: dict[str, float]) -> dict[str, float]:
        """The sum of each named number over all processes; a name may be missing in some of them."""
        if self.size == 1:
            return sums
        everyone: list[dict[str, float]] = [{}] * self.size
        distributed.all_gather_object(everyone, sums)
        return {name: sum(one.get(name, 0) for one in everyone) for one in everyone for name in one}

    def add_gradients(self, parameters: list[nn.Parameter]) -> None:
        """Give every process the sum of all gradients."""
        if self.size > 1:
            for p in parameters:
                p.grad = torch.zeros_like(p) if p.grad is None else p.grad
            add_up([p.grad for p in parameters])


def together(work, processes: int, *arguments, group: bool = True) -> None:
    """Run work(rank, processes, *arguments) in new processes.

    Args:
        group: they train one model; otherwise each has its own work, and their optimizers share nothing.
    """
    # glibc gives large blocks back to the system at once and asks for them again. On some machines most of the time
    # is spent there.
    os.environ |= {
        "MALLOC_MMAP_THRESHOLD_": "1000000000",
        "MALLOC_TRIM_THRESHOLD_": "4000000000",
        "MALLOC_TOP_PAD_": "268435456",
    }
    with tempfile.TemporaryDirectory() as folder:
        meeting = f"file://{folder}/meeting" if group else None
        torch.multiprocessing.spawn(_member, (work, processes, meeting, arguments), nprocs=processes)


def end_with_parent() -> None:
    """On Linux, end this process when the one that started it ends: a stopped training must not go on unseen."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG, linux/prctl.h


def _member(rank: int, work, processes: int, meeting: str | None, arguments: tuple) -> None:
    end_with_parent()
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // processes) if torch.cuda.is_available() else 1)
    if meeting:
        distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=processes)
    work(rank, processes, *arguments)
    if meeting:
        distributed.destroy_process_group()
    # Ending in the usual way tears down the threads of gloo while they may still wait for something: on a busy machine
    # that aborted a process whose work was done. The loop has written all files by now.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
