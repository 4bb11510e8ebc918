"""A server that runs in a thread of its own: how it takes its address, says where it is, waits and ends."""

from __future__ import annotations

import abc
import math
import socket
import sys
import threading
import time
from typing import Self

from labs_helper.common import addresses
from labs_helper.common.translate import _
from labs_helper.errors import EndpointFailed

BACKLOG = 1024  # connections that the system holds until the server takes them; beyond it a newcomer waits for seconds


class Server(abc.ABC):
    """The base of the servers of the labs. It listens from its construction until `close`; also a context manager.

    A subclass starts `self._thread` in its own constructor, which serves `self._socket`.

    Attributes:
        host: the address that it listens on: "127.0.0.1" is this computer alone, "0.0.0.0" every network it is in.
        port: its port, also where a free one was asked for.

    Raises:
        EndpointFailed: the address cannot be used.

    Example:
        with store.serve(host="0.0.0.0") as server:
            print(server.url)
    """

    _thread: threading.Thread

    def __init__(self, host: str, port: int):
        self.host = host
        self._socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        try:
            if sys.platform == "win32":
                # There SO_REUSEADDR would let two servers have one port.
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
            else:
                # A restart takes the same port again although old connections linger.
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind((host, port))
            # At once: of two that start at the same moment, both may bind, and only one may listen.
            self._socket.listen(BACKLOG)
        except (OSError, OverflowError) as error:
            self._socket.close()
            raise EndpointFailed(
                _("The address {host}:{port} cannot be used ({reason}).").format(host=host, port=port, reason=error),
                _("Choose another port with --port, or another address with --host."),
            ) from error
        self.port: int = self._socket.getsockname()[1]

    @property
    def url(self) -> str:
        """Where this computer reaches it."""
        return addresses.local(self.host, self.port)

    @property
    def addresses(self) -> list[str]:
        """Where others reach it: this computer's address in each of its networks, if it listens there."""
        return addresses.reachable(self.host, self.port)

    def wait(self, minutes: float | None = None) -> None:
        """Wait until somebody closes it or interrupts the program, or until the minutes are over."""
        end = math.inf if minutes is None else time.monotonic() + minutes * 60
        while self._thread.is_alive() and time.monotonic() < end:
            self._thread.join(min(0.5, max(0.0, end - time.monotonic())))

    @abc.abstractmethod
    def close(self) -> None:
        """Stop serving. Closing it twice is fine."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *reason: object) -> None:
        self.close()
