"""An HTTP transport that sends each request along the route for its own address."""

from __future__ import annotations

import httpx

from labs_helper.common import network


class Routes(httpx.BaseTransport):
    """Straight to this computer and the room, and through the environment's proxy to everybody else.

    The way is chosen for each request, since a redirect may lead from one side to the other: a mirror in the room
    answers with an address of the hub, which only the proxy reaches.

    Example:
        httpx.Client(transport=Routes(), trust_env=False)
    """

    def __init__(self) -> None:
        self._ways: dict[str | None, httpx.HTTPTransport] = {}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request.

        Raises:
            BadRequest: the environment names a proxy for it that cannot be used.
        """
        proxy = network.proxy_for(str(request.url))
        url = proxy.url if proxy else None
        if url not in self._ways:
            self._ways[url] = httpx.HTTPTransport(verify=network.trust(), trust_env=False, proxy=url)
        return self._ways[url].handle_request(request)

    def close(self) -> None:
        """End all connections."""
        for way in self._ways.values():
            way.close()
