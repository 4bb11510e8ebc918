"""Fetch one file over HTTP: resumed after every break, checked against its sum before it gets its name.

Why not huggingface_hub's own download: since its version 2 a broken download is thrown away (every attempt writes
to a new temporary file), so on bad Wi-Fi a file of gigabytes never arrives. The package still does the listing and the
tokens (`labs_helper.store.hub`); this module moves the bytes, from the hub and from a computer in the same room.
"""

from __future__ import annotations

import re
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import httpx

from labs_helper.common import network, platforms, timeouts
from labs_helper.common.numbers import whole
from labs_helper.common.routes import Routes
from labs_helper.common.translate import _
from labs_helper.errors import DownloadFailed
from labs_helper.store import manifest

ATTEMPTS = 6  # in a row without a single new byte
PAUSE = 0.5  # seconds before the second attempt; doubles
LONGEST_PAUSE = 30.0  # seconds; a server that asks for more is answered with an error
ANSWER = 40.0  # seconds until the headers of an answer are there, all of them
SLOWEST = (60.0, 65_536)  # seconds, and bytes that must come in them; less is no download
_BUSY = (408, 425, 429, 500, 502, 503, 504)


@dataclass(frozen=True)
class Remote:
    """A file to fetch.

    Attributes:
        size: in bytes.
        digest: its sum, in hexadecimal.
        kind: of the sum: "sha256", or "git" (see `manifest.git_sum`).
    """

    name: str
    url: str
    size: int
    digest: str
    kind: str = "sha256"


class _Broken(Exception):
    """The connection ended early or the server is busy: worth another attempt after `pause` seconds.

    `slow`: it brought next to nothing, so the attempt counts as failed.
    """

    def __init__(self, why: str, pause: float = 0.0, *, slow: bool = False):
        self.why, self.pause, self.slow = why, pause, slow
        super().__init__(why)


def client(
    url: str, headers: dict[str, str] | None = None, *, redirects: bool = False, seconds: float = 20
) -> httpx.Client:
    """An HTTP client with limits on every wait. It gives its headers to no other host on a redirect.

    Args:
        url: what it will ask first.
        headers: to send with each request.
        redirects: whether to follow them. A computer in the room has no reason to lead elsewhere.
        seconds: the longest wait for the next piece of an answer.

    Raises:
        BadRequest: the environment names a proxy that cannot be used.

    Example:
        with client("http://192.168.1.20:8787") as http: ...
    """
    network.proxy_for(url)  # a proxy that cannot be used is told now, not in the middle
    return httpx.Client(
        headers=headers,
        timeout=httpx.Timeout(connect=5, read=seconds, write=10, pool=10),
        follow_redirects=redirects,
        max_redirects=5,
        transport=Routes(),
        trust_env=False,  # httpx alone would ask this computer through a proxy
    )


def small(http: httpx.Client, url: str, limit: int, seconds: float) -> tuple[httpx.Response, bytes]:
    """An answer that is small, as it goes over the wire, and what it says: a list of files, not a file.

    Args:
        http: from `client`.
        url: what to ask.
        limit: bytes after which reading stops; the text is then longer than this.
        seconds: for the whole answer.

    Raises:
        httpx.HTTPError: nothing answers, or what answers is not HTTP.
        timeouts.TooLong: the answer is not complete in time.

    Example:
        small(http, "http://192.168.1.20:8787/models.json", limit=1_000_000, seconds=20)
    """

    def read() -> tuple[httpx.Response, bytes]:
        content = b""
        # A compressed answer could unfold to gigabytes, and is not asked for.
        with http.stream("GET", url, headers={"Accept-Encoding": "identity"}) as response:
            for chunk in response.iter_raw():
                content += chunk
                if len(content) > limit:
                    break
        return response, content

    try:
        return timeouts.wait_at_most(seconds, read)
    except timeouts.TooLong:
        http.close()  # the end of a request that still waits
        raise


def is_encoded(response: httpx.Response) -> bool:
    """Whether an answer is compressed although that was not asked for.

    Example:
        is_encoded(response)      # False
    """
    return str(response.headers.get("Content-Encoding", "identity")).strip().lower() != "identity"


def download(http: httpx.Client, remote: Remote, folder: Path, on_bytes: manifest.OnBytes) -> None:
    """Fetch a file into a folder, and go on where an earlier attempt stopped.

    Args:
        http: from `client`.
        remote: the file.
        folder: where it goes, under its own name.
        on_bytes: called with the number of new bytes, for a progress bar; negative when bytes turn out useless.

    Raises:
        DownloadFailed: the file does not arrive, or not as it was announced.

    Example:
        with client(remote.url) as http:
            download(http, remote, folder, bar.update)
    """
    target = folder / remote.name
    # The sum is part of the name, so that the rest of another revision is never continued.
    part = folder / f"{remote.name}.{remote.digest[:12]}.part"
    if target.is_file():
        if target.stat().st_size == remote.size and _is_right(target, remote):
            on_bytes(remote.size)
            return
        target.unlink()
    on_bytes(_size(part))
    failed, whole_again = 0, False
    while True:
        before = _size(part)
        if before == remote.size:
            part.touch()
            if _is_right(part, remote):
                platforms.rename(part, target)
                return
            part.unlink()
            on_bytes(-before)
            if whole_again:
                raise DownloadFailed(
                    _("{name} arrived damaged twice: its sum is not the one that was announced.").format(
                        name=remote.name
                    ),
                    _("Try again later, or from another network; something in between changes the data."),
                )
            whole_again = True
            continue
        try:
            _receive(http, remote, part, on_bytes)
        except (httpx.RequestError, _Broken) as error:
            slow = isinstance(error, _Broken) and error.slow
            failed = 0 if _size(part) > before and not slow else failed + 1
            pause = error.pause if isinstance(error, _Broken) else 0.0
            if failed >= ATTEMPTS or pause > LONGEST_PAUSE:
                raise _gave_up(remote, part, error) from error
            time.sleep(max(pause, PAUSE * 2**failed if failed else PAUSE / 2))


def _receive(http: httpx.Client, remote: Remote, part: Path, on_bytes: manifest.OnBytes) -> None:
    """One attempt: ask for the bytes that `part` lacks, and append them as they come."""
    have = _size(part)
    headers = {"Accept-Encoding": "identity"}  # a compressed answer cannot be resumed
    if have:
        headers["Range"] = f"bytes={have}-"
    request = http.build_request("GET", remote.url, headers=headers)
    try:
        # The client's own limits are for single pieces, and a server may send those for ever.
        response = timeouts.wait_at_most(ANSWER, http.send, request, stream=True)
    except timeouts.TooLong:
        raise _Broken(_("there was no answer in {seconds:.0f} seconds").format(seconds=ANSWER)) from None
    with closing(response):
        _check_status(response, remote)
        if have and response.status_code != 206:
            part.unlink()  # the server sends everything again
            on_bytes(-have)
            have = 0
        announced = _announced(response, have)
        if announced is not None and announced != remote.size:
            raise _wrong_size(remote, _("the server sends {announced:,}").format(announced=announced))
        seconds, least = SLOWEST
        since, then = time.monotonic(), have
        with part.open("ab") as file:
            for chunk in response.iter_raw():  # as it comes: with a chunk size, a break would lose what is held back
                have += len(chunk)
                if have > remote.size:
                    raise _wrong_size(remote, _("the server sends more"))
                file.write(chunk)
                on_bytes(len(chunk))
                if time.monotonic() - since > seconds:
                    if have - then < least:
                        raise _Broken(_("it arrives too slowly"), slow=True)
                    since, then = time.monotonic(), have
    if have < remote.size:
        raise _Broken(_("it ended after {have:,} of {size:,} bytes").format(have=have, size=remote.size))


def _check_status(response: httpx.Response, remote: Remote) -> None:
    status = response.status_code
    if status in (200, 206):
        return
    if status in _BUSY:
        pause = whole(response.headers.get("Retry-After", "")) or 0
        raise _Broken(_("the server is busy ({status})").format(status=status), float(pause))
    if status in (401, 403):
        raise DownloadFailed(
            _("The server does not let you have {name} ({status}).").format(name=remote.name, status=status),
            _("Log in with `hf auth login`, and accept the licence on the model's page if it asks for that."),
        )
    raise DownloadFailed(
        _("The server has no {name} any more ({status}).").format(name=remote.name, status=status)
        if status in (404, 410)
        else _("The server answers {status} for {name}.").format(status=status, name=remote.name),
        _("Start the command again; it asks for a new list of the files."),
    )


def _announced(response: httpx.Response, have: int) -> int | None:
    """The size of the whole file according to the answer's headers, if they say it."""
    if response.status_code == 206:
        answered = re.fullmatch(r"bytes ([0-9]+)-[0-9]+/([0-9]+)", response.headers.get("Content-Range", ""))
        if answered is None or whole(answered[1]) != have:
            raise _Broken(_("the server sends a different part from the one requested"))
        return whole(answered[2])
    return whole(response.headers.get("Content-Length", ""))


def _is_right(path: Path, remote: Remote) -> bool:
    return (manifest.git_sum if remote.kind == "git" else manifest.sha256)(path) == remote.digest


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _wrong_size(remote: Remote, what: str) -> DownloadFailed:
    return DownloadFailed(
        _("{name} should have {size:,} bytes and {what}.").format(name=remote.name, size=remote.size, what=what),
        _("The file has changed, or a proxy answers in its place. Try again later or from another network."),
    )


def _gave_up(remote: Remote, part: Path, error: Exception) -> DownloadFailed:
    why = str(error) or type(error).__name__
    return DownloadFailed(
        _("{name} did not arrive: {why}. {have:,} of {size:,} bytes are here.").format(
            name=remote.name, why=why, have=_size(part), size=remote.size
        ),
        _("Start the same command again, now or later: it goes on where it stopped."),
    )
