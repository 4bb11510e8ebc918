"""Addresses that people type: checked once, in one way, and never repeated where they may hold a password."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import TypeGuard
from urllib.parse import urlsplit

from labs_helper.common.translate import _
from labs_helper.errors import BadRequest

LOCAL_HOST = "127.0.0.1"  # a server that listens here is reached from this computer only
_IN_NO_HOST = set(' <>"\\^`{|}')  # such as the <resource> of an address that was copied and not filled in
ANY_HOST = ("", "0.0.0.0", "::")  # what a server listens on to be reached from the whole room


@dataclass(frozen=True)
class Address:
    """An http address in its parts, without user, password, query and fragment. `host` has no brackets."""

    scheme: str
    host: str
    port: int | None
    path: str

    @property
    def netloc(self) -> str:
        """Host and port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}" if self.port else host

    def __str__(self) -> str:
        return f"{self.scheme}://{self.netloc}{self.path}"


def parse(text: str, *, name: str, example: str, scheme: str = "", with_path: bool = True) -> Address:
    """The address in a text.

    Args:
        text: what somebody typed.
        name: what the text is, for the message: "LABS_ENDPOINT", "The address".
        example: a right one, for the message.
        scheme: assumed if the text has none; "" asks for one.
        with_path: whether a path may follow the host.

    Raises:
        BadRequest: not an http address, or one with more in it than an address. What was typed is not repeated: it
            may be a key, or hold a password.

    Example:
        parse("192.168.1.20:8787", name="The address", example="http://192.168.1.20:8787", scheme="http").port
    """
    text = text.strip()
    full = text if "://" in text or not scheme else f"{scheme}://{text}"
    try:
        parts = urlsplit(full)
        host, port = parts.hostname, parts.port
        hidden = bool(parts.username or parts.password or parts.query or parts.fragment)
    except ValueError:
        host, port, hidden = None, None, False
        parts = urlsplit("")
    if hidden or _may_hold_a_secret(text):
        raise BadRequest(
            _("{name} holds more than an address.").format(name=name),
            _(
                "Leave out user, password and everything after a question mark. Use an address such as {example}."
            ).format(example=example),
        )
    path = parts.path.rstrip("/")
    if not _is_host(host) or parts.scheme not in ("http", "https") or (path and not with_path):
        raise BadRequest(
            _("{name} is not an address.").format(name=name), _("Use one such as {example}.").format(example=example)
        )
    return Address(parts.scheme, host, port, path)


def is_local(host: str) -> bool:
    """Whether a server that listens on `host` is reached from this computer only.

    Example:
        is_local("0.0.0.0")      # False
    """
    return host in (LOCAL_HOST, "localhost", "::1")


def local(host: str, port: int) -> str:
    """How this computer reaches its own server, which listens on `host`.

    Example:
        local("0.0.0.0", 8787)      # "http://127.0.0.1:8787"
    """
    return str(Address("http", LOCAL_HOST if host in ANY_HOST else host, port, ""))


def reachable(host: str, port: int) -> list[str]:
    """Where others reach a server that listens on `host`: one address for each network that it listens in.

    Example:
        reachable("127.0.0.1", 8787)      # ["http://127.0.0.1:8787"]
    """
    if host not in ANY_HOST:
        return [local(host, port)]
    import psutil

    in_networks = [
        interface.address
        for interfaces in psutil.net_if_addrs().values()
        for interface in interfaces
        if interface.family == socket.AF_INET and not interface.address.startswith("127.")
    ]
    return [local(address, port) for address in in_networks] or [local(host, port)]


def _is_host(host: str | None) -> TypeGuard[str]:
    if not host or not host.isprintable() or set(host) & _IN_NO_HOST:
        return False
    try:
        host.encode("idna")  # what every look-up does first; it refuses labels that are empty or too long
    except UnicodeError:
        return False
    return True


def _may_hold_a_secret(text: str) -> bool:
    return "@" in text or "?" in text or "#" in text
