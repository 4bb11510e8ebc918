"""uvicorn with bounds on connections: how many there may be, and how long each may take.

uvicorn's own `limit_concurrency` counts connections that say nothing as well and then refuses everybody, and it waits
for the headers of a request for ever.
"""

from __future__ import annotations

import asyncio

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from labs_helper.common.connections import Connections

_TICKS = 10  # of uvicorn, in a second


class Listener(uvicorn.Server):
    """A uvicorn server that ends connections which do nothing.

    Args:
        config: its settings; their protocol should come from `protocol`.
        connections: the connections of that protocol.
        seconds: how long a connection may do nothing.

    Example:
        Listener(uvicorn.Config(app, http=protocol(connections)), connections, 10).run()
    """

    def __init__(self, config: uvicorn.Config, connections: Connections, seconds: float):
        super().__init__(config)
        self._connections, self._seconds = connections, seconds

    async def on_tick(self, counter: int) -> bool:
        """What uvicorn does ten times a second."""
        if counter % _TICKS == 0:
            self._connections.end_idle(self._seconds)
        return await super().on_tick(counter)


def protocol(connections: Connections) -> type[H11Protocol]:
    """uvicorn's protocol, which notes its connections, and when they make progress.

    Example:
        uvicorn.Config(app, http=protocol(Connections(400)))
    """

    class Noted(H11Protocol):
        _noted: RequestResponseCycle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in the base
            super().connection_made(transport)
            address = self.client[0] if self.client else "unknown"
            connections.add(self, address, transport.abort, self._is_busy)

        def connection_lost(self, exc: Exception | None) -> None:
            connections.remove(self)
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.cycle is not self._noted:  # a request has begun
                self._noted = self.cycle
                connections.moved(self)

        def on_response_complete(self) -> None:
            connections.moved(self)
            super().on_response_complete()

        def _is_busy(self) -> bool:
            return self.cycle is not None and not self.cycle.more_body and not self.cycle.response_complete

    return Noted
