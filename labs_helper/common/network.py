"""Which way a request takes: straight to this computer and the room, and through the proxy to everybody else.

The HTTP libraries read HTTP_PROXY and its relatives by themselves and send requests for 127.0.0.1 through them as
well. A prompt and a key would then leave the machine. So no client of ours trusts the environment; it gets its proxy
from here.
"""

from __future__ import annotations

import functools
import ipaddress
import os
import socket
import ssl
from dataclasses import dataclass, field
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from labs_helper.common.translate import _
from labs_helper.errors import BadRequest

_ROOM_DOMAINS = (".localhost", ".local", ".lan", ".home", ".internal", ".home.arpa")
_SHARED = ipaddress.ip_network("100.64.0.0/10")  # addresses inside a provider's or a VPN's own network


@dataclass(frozen=True)
class Proxy:
    """A proxy. Attributes: url: with user and password, if it has them; host: what a message may show."""

    url: str = field(repr=False)
    host: str


def is_near(host: str) -> bool:
    """Whether a host is this computer or in its room: loopback, a private address, a name without a domain.

    Names are not looked up: that could take seconds, and NO_PROXY is there for names of a network's own.

    Example:
        >>> is_near("192.168.1.20"), is_near("raspberrypi.local"), is_near("example.org")
        (True, True, False)
    """
    name = host.strip("[]").rstrip(".").lower()
    address = _ip(name.split("%")[0])
    if address is not None:
        return address.is_private or address.is_loopback or address.is_link_local or address in _SHARED
    return "." not in name or name.endswith(_ROOM_DOMAINS) or name == socket.gethostname().lower()


def proxy_for(url: str) -> Proxy | None:
    """The proxy that requests to an address go through; None for the direct way.

    Raises:
        BadRequest: the environment names a proxy that cannot be used, such as SOCKS. It is not repeated: it may
            hold a password.

    Example:
        proxy_for("http://127.0.0.1:8080/v1")      # None, whatever HTTP_PROXY says
    """
    parts = urlsplit(url)
    if is_near(parts.hostname or ""):
        return None
    set_up = getproxies()
    kind = next((kind for kind in (parts.scheme, "all") if set_up.get(kind)), None)
    if kind is None or proxy_bypass(parts.netloc):
        return None
    text = set_up[kind] if "://" in set_up[kind] else f"http://{set_up[kind]}"
    try:
        proxy = urlsplit(text)
        host = f"{proxy.hostname}:{proxy.port}" if proxy.port else proxy.hostname
    except ValueError:
        raise _unusable(kind, _("{name} is not the address of a proxy.")) from None
    if proxy.scheme.startswith("socks"):
        raise _unusable(kind, _("{name} names a SOCKS proxy, which the labs cannot use."))
    if proxy.scheme not in ("http", "https") or not host or not host.isprintable() or " " in host:
        raise _unusable(kind, _("{name} is not the address of a proxy."))
    return Proxy(text, host)


@functools.cache
def trust() -> ssl.SSLContext:
    """The certificates that are believed: those that come with httpx, or SSL_CERT_FILE. Read once, as it takes a while.

    Example:
        httpx.Client(verify=trust())
    """
    import httpx

    return httpx.create_ssl_context()


def _ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        try:
            return ipaddress.IPv4Address(socket.inet_aton(text))  # 127.1 and other short forms that systems understand
        except (OSError, ValueError):
            return None
    return getattr(address, "ipv4_mapped", None) or address


def _unusable(kind: str, what: str) -> BadRequest:
    variable = f"{kind}_proxy"
    name = next((name for name in (variable.upper(), variable) if os.environ.get(name)), _("The system's proxy"))
    return BadRequest(
        what.format(name=name),
        _("Set it to an http proxy, such as http://HOST:3128, or add the server to NO_PROXY."),
    )
