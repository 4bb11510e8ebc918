"""`labs models serve` with readers that stall, and `fetch --from` with servers that are odd, slow or endless."""

from __future__ import annotations

import gzip
import hashlib
import socket
import time
from contextlib import ExitStack

import httpx
import pytest

from labs_helper.common import connections as bounds
from labs_helper.common.connections import Connections
from labs_helper.errors import BadRequest, DownloadFailed
from labs_helper.store import lan, manifest, transfer
from labs_helper.store.transfer import Remote

NAME = "phi-3.5-mini-instruct-4bit"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    for name in ("HTTP_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(transfer, "PAUSE", 0.001)


def message(content: bytes, *lines: str, status: str = "200 OK") -> bytes:
    head = (f"HTTP/1.1 {status}", f"Content-Length: {len(content)}", "Connection: close", *lines, "", "")
    return "\r\n".join(head).encode("latin-1") + content


# --- Serving -------------------------------------------------------------------------------------------------------


@pytest.fixture
def served(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(bytes(32 * 2**20))
    listing = manifest.Manifest.of(tmp_path, NAME)

    def start() -> lan.Server:
        return lan.Server("127.0.0.1", 0, {NAME: (tmp_path, listing)})

    return start


def test_readers_that_stall_make_room_for_a_newcomer(served, monkeypatch):
    monkeypatch.setattr(lan, "CONNECTIONS", 10)
    with served() as server, ExitStack() as stack:
        for _ in range(30):
            reader = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=10))
            reader.sendall(f"GET /{NAME}/model.safetensors HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        started = time.monotonic()
        whole = httpx.get(f"{server.url}/{NAME}/model.safetensors", timeout=10)
        assert len(whole.content) == 32 * 2**20 and time.monotonic() - started < 5


@pytest.mark.parametrize(
    "text", [b"", b"GET / HTTP/1.1\r\nHost:", b"GET /%s/model.safetensors HTTP/1.1\r\nHost: x\r\n\r\n"]
)
def test_a_connection_without_progress_ends(served, monkeypatch, text):
    monkeypatch.setattr(lan, "STALLED", 0.5)
    with served() as server, socket.create_connection(("127.0.0.1", server.port), timeout=10) as raw:
        raw.sendall(text.replace(b"%s", NAME.encode()))
        # Private: nothing but the number of its connections shows that one has ended whose answers nobody reads.
        for expected in (1, 0):
            end = time.monotonic() + 8
            while len(server._connections) != expected:
                assert time.monotonic() < end
                time.sleep(0.02)


def test_the_idlest_of_the_largest_address_ends_first(monkeypatch):
    ended = []
    some = Connections(4, per_address=3)

    def add(key, address, busy=False):
        some.add(key, address, lambda: ended.append(key), lambda: busy)

    for key, address in (("a1", "a"), ("b1", "b"), ("a2", "a"), ("b2", "b")):
        add(key, address)
    add("c1", "c")  # full, nobody stalls: the address with most of them, its idlest
    assert ended == ["a1"]
    some.moved("a2")
    monkeypatch.setattr(bounds, "_PATIENCE", 0.0)
    add("c2", "c")  # all of them stall: the one that did nothing for longest
    assert ended == ["a1", "b1"] and len(some) == 4
    some.remove("b2")
    add("c3", "c", busy=True)
    add("c4", "c")  # a fourth of one address ends one of its own
    assert ended == ["a1", "b1", "c1"]
    time.sleep(0.05)
    some.end_idle(0.04)
    assert sorted(ended[3:]) == ["a2", "c2", "c4"] and len(some) == 1  # the busy one goes on
    time.sleep(0.1)
    some.end_idle(0.04)
    assert len(some) == 0


# --- Fetching ------------------------------------------------------------------------------------------------------


def test_a_list_that_unfolds_is_not_unfolded(answering):
    """E4: 100 MB of zeros in a few hundred bytes; the original had 3 GB."""
    bomb = gzip.compress(gzip.compress(bytes(100_000_000)))
    for encoding in ("gzip, gzip", "gzip", "deflate", "br"):
        with pytest.raises(DownloadFailed, match="not with a model"):
            lan.plan(NAME, answering(message(bomb, f"Content-Encoding: {encoding}")))


def test_identity_is_asked_for():
    asked = []
    empty = httpx.ByteStream(b"[]")
    transport = httpx.MockTransport(lambda request: asked.append(request) or httpx.Response(200, stream=empty))
    with httpx.Client(transport=transport) as http:
        lan._get(http, "http://127.0.0.1/models.json")
    assert asked[0].headers["Accept-Encoding"] == "identity"


ENDLESS = {
    "a byte at a time": (b"", b"H"),
    "endless continue": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "an endless head": (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
    "a body drop by drop": (b"HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\n", b" "),
}


@pytest.mark.parametrize(("text", "again"), ENDLESS.values(), ids=ENDLESS)
def test_asking_has_a_time_limit(answering, monkeypatch, text, again):
    monkeypatch.setattr(lan, "OVERALL", 0.5)
    started = time.monotonic()
    with pytest.raises(DownloadFailed, match="Nothing answers"):
        lan.plan(NAME, answering(text, again))
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(("text", "again"), ENDLESS.values(), ids=ENDLESS)
def test_a_download_has_a_slowest_pace(answering, monkeypatch, tmp_path, text, again):
    monkeypatch.setattr(transfer, "ANSWER", 0.4)
    monkeypatch.setattr(transfer, "SLOWEST", (0.4, 65_536))
    monkeypatch.setattr(transfer, "ATTEMPTS", 2)
    remote = Remote("model.safetensors", answering(text, again), 90_000, "0" * 64)
    started = time.monotonic()
    with transfer.client(remote.url) as http, pytest.raises(DownloadFailed, match="did not arrive"):
        transfer.download(http, remote, tmp_path, lambda count: None)
    assert time.monotonic() - started < 10


DATA = b"0123456789"
ODD = {
    "a time to wait that is no number": message(b"", "Retry-After: \u00b2", status="503 Busy"),
    "a long time to wait": message(b"", f"Retry-After: {'9' * 5000}", status="503 Busy"),
    "a range of 5,000 digits": message(DATA[4:], f"Content-Range: bytes 4-9/{'9' * 5000}", status="206 Part"),
    "a start of 5,000 digits": message(DATA[4:], f"Content-Range: bytes {'9' * 5000}-9/10", status="206 Part"),
}


@pytest.mark.parametrize("text", ODD.values(), ids=ODD)
def test_odd_headers_are_no_trouble(answering, monkeypatch, tmp_path, text):
    monkeypatch.setattr(transfer, "ATTEMPTS", 1)
    remote = Remote("config.json", answering(text), 10, hashlib.sha256(DATA).hexdigest())
    (tmp_path / f"config.json.{remote.digest[:12]}.part").write_bytes(DATA[:4])
    with transfer.client(remote.url) as http:
        if b"4-9/9" in text:  # a size that nobody can mean is as good as none
            transfer.download(http, remote, tmp_path, lambda count: None)
            assert (tmp_path / "config.json").read_bytes() == DATA
        else:
            with pytest.raises(DownloadFailed, match="did not arrive"):
                transfer.download(http, remote, tmp_path, lambda count: None)


def test_a_computer_in_the_room_leads_nowhere_else(answering, tmp_path):
    other = answering(message(DATA))
    remote = Remote("config.json", answering(message(b"", f"Location: {other}/x", status="302 Found")), 10, "0" * 64)
    with transfer.client(remote.url) as http, pytest.raises(DownloadFailed, match="answers 302"):
        transfer.download(http, remote, tmp_path, lambda count: None)
    with pytest.raises(DownloadFailed, match="answers 302"):
        lan.plan(NAME, remote.url)
    assert lan.Plan(NAME, (remote,)).may_lead_elsewhere is False


@pytest.mark.parametrize("address", ["http://[bad", "http://[bad]", f"http://{'a' * 64}.example", "http://a..b"])
def test_addresses_that_no_look_up_takes(address):
    with pytest.raises(BadRequest, match="not an address"):
        lan.plan(NAME, address)
