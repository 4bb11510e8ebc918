"""Addresses that people type: taken apart, refused, and never repeated where they may hold a secret."""

from __future__ import annotations

import pytest

from labs_helper.common import addresses
from labs_helper.errors import BadRequest


def parse(text: str, **options) -> addresses.Address:
    return addresses.parse(text, name="The address", example="http://192.168.1.20:8787", **options)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://192.168.1.20:8787", "http://192.168.1.20:8787"),
        (" http://Host:80/ ", "http://host:80"),
        ("https://hub.example.org/v1/", "https://hub.example.org/v1"),
        ("http://[fe80::1]:8787", "http://[fe80::1]:8787"),
        ("HTTP://localhost", "http://localhost"),
    ],
)
def test_good_addresses(text, shown):
    assert str(parse(text)) == shown
    assert str(parse(shown)) == shown


def test_a_scheme_is_assumed_only_where_that_is_asked_for():
    address = parse("192.168.1.20:8787", scheme="http")
    assert (str(address), address.host, address.port) == ("http://192.168.1.20:8787", "192.168.1.20", 8787)
    with pytest.raises(BadRequest, match="not an address"):
        parse("192.168.1.20:8787")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "http://",
        "ftp://host",
        "file:///etc/passwd",
        "http://host:99999",
        "http://host:port",
        "http://[::1",
        "http://a b",
    ],
)
def test_no_addresses(text):
    for scheme in ("", "http"):
        with pytest.raises(BadRequest, match="not an address") as caught:
            parse(text, scheme=scheme)
        assert caught.value.what == "The address is not an address.", "what was typed is not repeated"
        assert "http://192.168.1.20:8787" in caught.value.do


def test_a_path_only_where_it_belongs():
    assert parse("http://host/v1").path == "/v1"
    assert parse("http://host/", with_path=False).path == ""
    with pytest.raises(BadRequest, match="not an address"):
        parse("http://host/v1", with_path=False)


@pytest.mark.parametrize(
    "text",
    [
        "http://user:SECRET@host",
        "user:SECRET@host",
        "http://SECRET@host:99999",
        "http://host/?key=SECRET",
        "http://host:port?key=SECRET",
        "http://host#SECRET",
        "ftp://user:SECRET@[::1",
    ],
)
@pytest.mark.parametrize("scheme", ["", "http"])
def test_secrets_are_never_repeated(text, scheme):
    with pytest.raises(BadRequest) as caught:
        parse(text, scheme=scheme)
    shown = " ".join([str(caught.value), repr(caught.value), *caught.value._render_traceback_()])
    assert "SECRET" not in shown and caught.value.what == "The address holds more than an address."
    assert "SECRET" not in repr(caught.value.__cause__)


@pytest.mark.parametrize("key", ["nvapi-SECRETSECRETSECRET", "hf_SECRETSECRETSECRET", "SECRET" * 10])
def test_a_key_in_place_of_an_address_is_not_repeated(key):
    with pytest.raises(BadRequest, match="The address is not an address") as caught:
        parse(key)
    assert "SECRET" not in str(caught.value)


def test_how_servers_are_reached():
    assert addresses.local("0.0.0.0", 8787) == addresses.local("", 8787) == "http://127.0.0.1:8787"
    assert addresses.local("192.168.1.20", 80) == "http://192.168.1.20:80"
    assert addresses.local("::1", 80) == "http://[::1]:80"
    assert addresses.reachable("127.0.0.1", 8787) == ["http://127.0.0.1:8787"]
    assert addresses.is_local("127.0.0.1") and addresses.is_local("localhost") and not addresses.is_local("0.0.0.0")


def test_a_server_on_every_network_has_an_address_in_each(monkeypatch):
    import socket
    from types import SimpleNamespace

    import psutil

    def interface(address: str, family=socket.AF_INET) -> SimpleNamespace:
        return SimpleNamespace(address=address, family=family)

    networks = {
        "lo": [interface("127.0.0.1")],
        "wifi": [interface("192.168.1.20"), interface("fe80::1", socket.AF_INET6)],
        "cable": [interface("10.0.0.5")],
    }
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: networks)
    assert addresses.reachable("0.0.0.0", 8787) == ["http://192.168.1.20:8787", "http://10.0.0.5:8787"]
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: {"lo": [interface("127.0.0.1")]})
    assert addresses.reachable("0.0.0.0", 8787) == ["http://127.0.0.1:8787"]
