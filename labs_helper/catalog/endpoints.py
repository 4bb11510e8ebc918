"""Which model server to ask, from the environment: LABS_ENDPOINT, LABS_ENDPOINT_MODEL, LABS_ENDPOINT_KEY.

The key is read at the moment of a request and is kept in no object of ours.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from labs_helper.common import addresses, settings
from labs_helper.common.markup import printable
from labs_helper.common.translate import _, of_table
from labs_helper.errors import BadRequest, EndpointFailed

_NO_KEY = "none"  # what is sent as the key where there is none: servers on the own machine ignore it


@dataclass(frozen=True)
class Preset:
    """An address that LABS_ENDPOINT can name in a word.

    Attributes:
        key: whether the server wants an API key, in words.
        known: what was known about it.
        checked: when that was true, or for which version.
        source: where it says so.
        ended: a sentence without its full stop if the service is no more, else empty.
    """

    name: str
    url: str
    key: str
    known: str
    checked: str
    source: str
    ended: str = ""


@dataclass(frozen=True)
class Endpoint:
    """A server that speaks OpenAI's chat format.

    Attributes:
        model: which of its models to ask; None takes the one that it has.
        timeout: seconds to wait for the next piece of an answer.
    """

    url: str
    model: str | None = None
    timeout: float = 120.0

    @property
    def host(self) -> str:
        """Host and port, for messages."""
        return urlsplit(self.url).netloc

    @property
    def name(self) -> str:
        """What the labs call it."""
        return _("{model} at {host}").format(model=self.model or _("the model"), host=self.host)


def presets() -> list[Preset]:
    """The known addresses, from endpoints.toml, described in the language that is set.

    Example:
        [preset.name for preset in presets()]
    """
    return [
        replace(preset, known=of_table(preset.known), ended=of_table(preset.ended) if preset.ended else "")
        for preset in _presets()
    ]


@cache
def _presets() -> tuple[Preset, ...]:
    text = (Path(__file__).parent / "endpoints.toml").read_text(encoding="utf-8")
    return tuple(Preset(name=name, **values) for name, values in tomllib.loads(text).items())


def from_environment() -> Endpoint:
    """The endpoint that LABS_ENDPOINT names: an address, or the name of a preset. Asks nobody.

    Raises:
        BadRequest: it is not set, or not an address.
        EndpointFailed: the service has ended.

    Example:
        os.environ["LABS_ENDPOINT"] = "mlx"
        from_environment().url      # 'http://127.0.0.1:8080/v1'
    """
    named = settings.ENDPOINT.text
    known = presets()
    names = ", ".join(preset.name for preset in known if not preset.ended)
    if not named:
        raise BadRequest(
            _("{name} is not set.").format(name=settings.ENDPOINT.name),
            _("Set it to the address of a server, or to one of: {names}.").format(names=names),
        )
    preset = next((preset for preset in known if preset.name == named.lower()), None)
    url = (preset.url if preset else named).rstrip("/")
    if preset and "<" in url:
        raise BadRequest(
            _("The preset {name} needs the name of your own resource.").format(name=named),
            _("Set {variable} to {url} with it filled in.").format(variable=settings.ENDPOINT.name, url=url),
        )
    address = addresses.parse(
        url, name=settings.ENDPOINT.name, example=_("http://127.0.0.1:8080/v1, or one of: {names}").format(names=names)
    )
    for service in known:
        if service.ended and urlsplit(service.url).hostname == address.host:
            raise EndpointFailed(
                _("{reason}.").format(reason=service.ended),
                _('Run the model on your machine: load("instruct"), or use another server.'),
            )
    url = str(address) if address.path else f"{address}/v1"
    return Endpoint(url, settings.ENDPOINT_MODEL.text or None, settings.ENDPOINT_TIMEOUT.get())


def key() -> str:
    """The key to send with a request; "none" if LABS_ENDPOINT_KEY is not set.

    Raises:
        BadRequest: what is set cannot be a key. The HTTP library would repeat it in its own error.
    """
    text = secret()
    if text and not re.fullmatch("[!-~]+", text):
        raise BadRequest(
            _("{name} holds a space, a line break or another character that no key has.").format(
                name=settings.ENDPOINT_KEY.name
            ),
            _("Copy the key again, without anything before or after it."),
        )
    return text or _NO_KEY


def secret() -> str:
    """What LABS_ENDPOINT_KEY is set to; empty if it is not set. For taking it out of texts."""
    return settings.ENDPOINT_KEY.text


def has_key() -> bool:
    """Whether LABS_ENDPOINT_KEY is set.

    Example:
        has_key()
    """
    return secret() not in ("", _NO_KEY)


def redacted(text: str) -> str:
    """A text with the key taken out, wherever a server or a library has repeated it.

    Example:
        redacted("Incorrect API key provided: abc")
    """
    return text.replace(secret(), "***") if has_key() else text


def shown(text: str) -> str:
    """What a server says, fit for a message: its first line, short, without the key and control characters.

    Example:
        shown("Model not found\\nTraceback ...")      # 'Model not found'
    """
    return printable(redacted(text).strip().split("\n")[0])[:200]
