"""The connections of a server of ours: how many it holds, and which one ends when there is no room for another.

A server that refuses newcomers when it is full belongs to those who came first, even if they only hold their
connections open. Here the one ends that has done nothing for longest, so a newcomer always gets in, and a download
that was cut off goes on where it stopped.
"""

from __future__ import annotations

import sys
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass

_RAISED_TO = 4096  # open files that a server asks the system for: a Mac starts with 256
_PATIENCE = 2.0  # seconds without progress after which a connection counts as stalled


def room(most: int, *, files_each: int = 1, spare: int = 64) -> int:
    """How many connections this process can hold, `most` at most, by its limit of open files.

    The limit is raised first where the system lets a process do that.

    Args:
        most: the answer where files are no problem.
        files_each: what a connection takes, its socket included.
        spare: files that must stay free.

    Example:
        room(400)      # 400, or fewer under `ulimit -n 256`
    """
    if sys.platform == "win32":  # which has no such limit
        return most
    import resource

    import psutil

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _RAISED_TO if hard == resource.RLIM_INFINITY else min(hard, _RAISED_TO)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
        except (OSError, ValueError):
            pass
    if soft == resource.RLIM_INFINITY:
        return most
    return max(8, min(most, (soft - psutil.Process().num_fds() - spare) // files_each))


@dataclass
class _Held:
    address: str
    end: Callable[[], object]
    busy: Callable[[], bool]
    at: float


class Connections:
    """Open connections, those first that made progress longest ago. For one thread: the one of the server's loop.

    Args:
        most: how many in total.
        per_address: how many of one address; None takes three quarters of the total, as a hub has one address.

    Example:
        Connections(400).add(stream, "192.168.1.20", stream.close)
    """

    def __init__(self, most: int, per_address: int | None = None):
        self.most, self.per_address = most, per_address or max(1, most * 3 // 4)
        self._held: OrderedDict[Hashable, _Held] = OrderedDict()

    def __len__(self) -> int:
        return len(self._held)

    def add(
        self, key: Hashable, address: str, end: Callable[[], object], busy: Callable[[], bool] = lambda: False
    ) -> None:
        """Note a new connection. If there is no room for it, another one ends.

        Args:
            key: what the connection is called in the other methods.
            address: of the other side.
            end: ends it at once.
            busy: whether the server is working on its answer: such a connection ends last.
        """
        counts = Counter(held.address for held in self._held.values())
        if counts[address] >= self.per_address:
            self._end(self._idlest(address))
        elif len(self._held) >= self.most:
            # A stalled one of any address, or one of the address that has most.
            self._end(self._idlest(None, _PATIENCE) or self._idlest(counts.most_common(1)[0][0]))
        self._held[key] = _Held(address, end, busy, time.monotonic())

    def moved(self, key: Hashable) -> None:
        """Note progress: a request has arrived, a part of an answer has left."""
        held = self._held.get(key)
        if held is not None:
            held.at = time.monotonic()
            self._held.move_to_end(key)

    def remove(self, key: Hashable) -> None:
        """Note that a connection has ended."""
        self._held.pop(key, None)

    def end_idle(self, seconds: float) -> None:
        """End connections without progress for so long; those that the server works for get three times as long."""
        now = time.monotonic()
        for key, held in list(self._held.items()):
            if now - held.at <= seconds:
                break  # the others are younger
            if now - held.at > 3 * seconds or not held.busy():
                self._end(key)

    def _idlest(self, address: str | None, patience: float | None = None) -> Hashable | None:
        """The connection of this address, or of any, that made progress longest ago.

        With `patience`: only one that is idle and has made no progress for this many seconds. Without: a busy one if
        there is no other.
        """
        mine = [key for key, held in self._held.items() if address in (None, held.address)]
        for key in mine:
            if patience is not None and time.monotonic() - self._held[key].at < patience:
                return None
            if not self._held[key].busy():
                return key
        return mine[0] if mine and patience is None else None

    def _end(self, key: Hashable | None) -> None:
        held = self._held.pop(key, None)
        if held is not None:
            held.end()
