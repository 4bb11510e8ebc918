"""The part that the servers share: an address that is taken, how long they wait, and that they end."""

from __future__ import annotations

import threading
import time

import pytest

from labs_helper.common.servers import Server
from labs_helper.errors import EndpointFailed


class Idle(Server):
    """Listens and does nothing."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0):
        super().__init__(host, port)
        self._socket.listen()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._end.wait, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._end.set()
        self._thread.join(5)
        self._socket.close()


def test_its_address():
    with Idle() as server:
        assert server.port > 0
        assert [server.url] == server.addresses == [f"http://127.0.0.1:{server.port}"]


@pytest.mark.parametrize(("host", "port"), [("no.such.host.invalid", 0), ("127.0.0.1", 70_000), ("192.0.2.1", 0)])
def test_an_address_that_cannot_be_used(host, port):
    with pytest.raises(EndpointFailed, match=f"{host}:{port} cannot be used") as caught:
        Idle(host, port)
    assert "--port" in caught.value.do


def test_a_port_that_is_taken_and_then_free_again():
    with Idle() as server, pytest.raises(EndpointFailed, match="cannot be used"):
        Idle(port=server.port)
    with Idle(port=server.port) as again:
        assert again.port == server.port


def test_it_waits_as_long_as_it_is_told_and_no_longer_than_it_runs():
    with Idle() as server:
        started = time.monotonic()
        server.wait(0.002)
        assert 0.1 < time.monotonic() - started < 5
        threading.Timer(0.1, server.close).start()
        server.wait()
    server.close()  # twice is fine
