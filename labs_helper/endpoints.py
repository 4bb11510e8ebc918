"""Which model server to ask, from the environment: LABS_ENDPOINT, LABS_ENDPOINT_MODEL, LABS_ENDPOINT_KEY.

The key is read at the moment of a request and is kept in no object of ours.
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from labs_helper.errors import BadRequest, EndpointFailed

_NO_KEY = "none"  # what is sent as the key where there is none: servers on the own machine ignore it


@dataclass(frozen=True)
class Preset:
    """A known address. known: what was known about it; checked: when; ended: set if the service is no more."""

    name: str
    url: str
    key: str
    known: str
    checked: str
    source: str
    ended: str = ""


@dataclass(frozen=True)
class Endpoint:
    """A server that speaks OpenAI's chat format. model: what to ask it for; None takes the one that it has."""

    url: str
    model: str | None = None
    timeout: float = 120.0

    @property
    def host(self) -> str:
        """Host and port, for messages."""
        return urlsplit(self.url).netloc

    @property
    def name(self) -> str:
        """How the labs call it."""
        return f"{self.model or 'the model'} at {self.host}"


def presets() -> list[Preset]:
    """The known addresses, from endpoints.toml.

    Example:
        [preset.name for preset in presets()]
    """
    text = (Path(__file__).parent / "endpoints.toml").read_text(encoding="utf-8")
    return [Preset(name=name, **values) for name, values in tomllib.loads(text).items()]


def from_environment() -> Endpoint:
    """The endpoint that LABS_ENDPOINT names: an address, or the name of a preset. Asks nobody.

    LABS_ENDPOINT_TIMEOUT: seconds to wait for the next piece of an answer, 120 by default.
    Raises BadRequest if it is not set or not an address, EndpointFailed for a service that has ended.

    Example:
        os.environ["LABS_ENDPOINT"] = "mlx"
        from_environment().url      # 'http://127.0.0.1:8080/v1'
    """
    named = os.environ.get("LABS_ENDPOINT", "").strip()
    known = presets()
    names = ", ".join(preset.name for preset in known if not preset.ended)
    if not named:
        raise BadRequest("LABS_ENDPOINT is not set.", f"Set it to the address of a server, or to one of: {names}.")
    preset = next((preset for preset in known if preset.name == named.lower()), None)
    url = (preset.url if preset else named).rstrip("/")
    ended = next((each.ended for each in known if each.ended and urlsplit(each.url).hostname == _host(url)), "")
    if ended:
        raise EndpointFailed(f"{ended}.", 'Run the model on your machine: load("instruct"), or take another server.')
    if "<" in url:
        raise BadRequest(
            f"The preset {named} needs the name of your own resource.", f"Set LABS_ENDPOINT to {url} with it filled in."
        )
    _check(url, names)
    if not urlsplit(url).path:
        url += "/v1"
    return Endpoint(url, os.environ.get("LABS_ENDPOINT_MODEL", "").strip() or None, _timeout())


def key() -> str:
    """The key, for the one who sends it. "none" if LABS_ENDPOINT_KEY is not set."""
    return os.environ.get("LABS_ENDPOINT_KEY", "").strip() or _NO_KEY


def has_key() -> bool:
    """Whether LABS_ENDPOINT_KEY is set.

    Example:
        has_key()
    """
    return key() != _NO_KEY


def redacted(text: str) -> str:
    """A text with the key taken out, wherever a server or a library has repeated it.

    Example:
        redacted("Incorrect API key provided: abc")
    """
    return text.replace(key(), "***") if has_key() else text


def _host(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _check(url: str, names: str) -> None:
    try:
        parts = urlsplit(url)
        right = parts.scheme in ("http", "https") and parts.hostname and (parts.port or True)
        hidden = parts.username is not None or parts.query or parts.fragment
    except ValueError:
        right, hidden = False, False
    if hidden:
        # Not repeated: what stands there may be a password.
        raise BadRequest(
            "LABS_ENDPOINT holds more than an address.", "Leave out user, password and ?...; use LABS_ENDPOINT_KEY."
        )
    if not right:
        raise BadRequest(
            f"LABS_ENDPOINT is {redacted(url)!r}.",
            f"Set it to an address such as http://127.0.0.1:8080/v1, or to: {names}.",
        )


def _timeout() -> float:
    named = os.environ.get("LABS_ENDPOINT_TIMEOUT", "").strip() or "120"
    try:
        seconds = float(named)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 86400:
        raise BadRequest(f"LABS_ENDPOINT_TIMEOUT is {named!r}.", "Set it to a number of seconds, or unset it.")
    return seconds
