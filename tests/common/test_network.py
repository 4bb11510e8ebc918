"""Which way a request takes."""

from __future__ import annotations

import socket

import pytest

from labs_helper.common import network
from labs_helper.errors import BadRequest


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    return monkeypatch


NEAR = ["127.0.0.1", "127.1.2.3", "127.1", "localhost", "LOCALHOST.", "::1", "[::1]", "10.0.0.7", "172.31.9.9"]
NEAR += ["192.168.1.20", "169.254.1.1", "100.64.3.2", "fd00::1", "fe80::1%eth0", "::ffff:192.168.1.20", "mac-mini"]
NEAR += ["teacher.local", "pi.lan", "box.home.arpa", "model-server.models.svc.cluster.local", socket.gethostname()]
FAR = ["example.org", "integrate.api.nvidia.com", "8.8.8.8", "172.32.0.1", "2606:4700::1111", "::ffff:8.8.8.8"]
FAR += ["localhost.example.org", "192.168.1.20.example.org", "notlocal"[3:] + ".org"]


@pytest.mark.parametrize("host", NEAR)
def test_this_computer_and_the_room(host, environment):
    environment.setenv("ALL_PROXY", "http://proxy.example.org:3128")
    assert network.is_near(host)
    shown = f"[{host}]" if ":" in host and "[" not in host else host
    assert network.proxy_for(f"http://{shown}:8080/v1") is None


@pytest.mark.parametrize("host", FAR)
def test_everybody_else(host):
    assert not network.is_near(host)


def test_the_proxy_for_others_is_the_environments(environment):
    assert network.proxy_for("https://example.org/v1") is None
    environment.setenv("ALL_PROXY", "http://me:hunter2@all.example.org:1")
    environment.setenv("https_proxy", "secure.example.org:2")
    http, https = network.proxy_for("http://example.org/v1"), network.proxy_for("https://example.org/v1")
    assert (http.url, http.host) == ("http://me:hunter2@all.example.org:1", "all.example.org:1")
    assert (https.url, https.host) == ("http://secure.example.org:2", "secure.example.org:2")
    assert "hunter2" not in repr(http)
    environment.setenv("NO_PROXY", ".example.org")
    assert network.proxy_for("http://models.example.org/v1") is None


@pytest.mark.parametrize(
    "proxy", ["socks5://hunter2:1080", "socks://x", "http://me:hunter2", "hunter2://x", "http://", "http://hunter 2"]
)
def test_a_proxy_that_cannot_be_used(environment, proxy):
    environment.setenv("all_proxy", proxy)
    with pytest.raises(BadRequest, match="all_proxy") as caught:
        network.proxy_for("https://example.org")
    assert "hunter" not in str(caught.value)


def test_each_request_goes_the_way_of_its_own_address(environment, answering):
    """A redirect may lead from the room to the hub and back; the client cannot know that when it is made."""
    import httpx

    from labs_helper.common.routes import Routes

    def answer(line: str, *headers: str) -> bytes:
        return "\r\n".join((f"HTTP/1.1 {line}", "Content-Length: 0", "Connection: close", *headers, "", "")).encode()

    near = answering(answer("200 OK"))
    proxy = answering(answer("302 Found", f"Location: {near}/back"))
    environment.setenv("ALL_PROXY", proxy)
    room = answering(answer("302 Found", "Location: http://hub.example.org/file"))
    with httpx.Client(transport=Routes(), trust_env=False, follow_redirects=True, timeout=10) as http:
        response = http.get(room)
    assert response.status_code == 200 and str(response.url) == f"{near}/back"
    assert [str(step.url) for step in response.history] == [room, "http://hub.example.org/file"]
