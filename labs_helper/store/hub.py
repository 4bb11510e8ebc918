"""What the Hugging Face hub has of a model: its files, with their sizes and sums."""

from __future__ import annotations

import fnmatch
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

import httpx

from labs_helper.catalog import ModelCard
from labs_helper.common import addresses, timeouts
from labs_helper.common.markup import printable
from labs_helper.common.numbers import is_whole, whole
from labs_helper.common.translate import _
from labs_helper.errors import BadRequest, DownloadFailed
from labs_helper.store import manifest, transfer
from labs_helper.store.transfer import Remote

HUB = "https://huggingface.co"
LISTING = 5_000_000  # bytes of a listing; those of the models in the catalog have some ten thousand
TIMEOUT = 8  # seconds for the listing; a learner should not wait longer to hear that the network is down
# Never *.py: the engines have their own code for these models, and a checkpoint should be data.
_SUM = {"sha256": re.compile(r"[0-9a-fA-F]{64}"), "git": re.compile(r"[0-9a-fA-F]{40}")}
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
_WANTED = ("*.json", "*.jinja", "model*.safetensors", "tokenizer.model", "LICENSE*", "NOTICE*", "README.md")
_WANTED_OF_ONNX = ("*.json", "*.jinja", "*.onnx", "*.onnx.data", "LICENSE*", "NOTICE*", "README.md")


@dataclass(frozen=True)
class Plan:
    """Everything that a download needs to know.

    Attributes:
        name: of the model, in the catalog.
        revision: the commit of the repository.
        headers: to send with each request; they go to the urls of `files` and to no other host.
        may_lead_elsewhere: whether a redirect is followed; the hub keeps its large files on other hosts.
    """

    name: str
    files: tuple[Remote, ...]
    repository: str | None = None
    revision: str | None = None
    headers: dict[str, str] | None = None
    may_lead_elsewhere: bool = False

    @property
    def size(self) -> int:
        """The size of all files together, in bytes."""
        return sum(file.size for file in self.files)


def plan(card: ModelCard) -> Plan:
    """Ask the hub for the files of a model. One request, answered or refused within seconds.

    HF_ENDPOINT names another hub; a token comes from `hf auth login` or HF_TOKEN.

    Args:
        card: a real model of the catalog.

    Raises:
        BadRequest: HF_ENDPOINT is not an address, or the environment holds a token or a proxy that cannot be used.
        DownloadFailed: offline, or the hub does not answer, or not with the model.

    Example:
        plan(real_card("phi-3.5-mini-instruct-4bit")).size
    """
    from huggingface_hub import hf_hub_url
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # public, and missing in __all__

    endpoint, headers = _endpoint(), build_hf_headers()
    if not re.fullmatch(r"(Bearer [!-~]+)?", headers.get("authorization", "")):  # httpx would repeat it in its error
        raise BadRequest(
            _("The token for the hub holds a space or another character that no token has."),
            _("Copy it again into HF_TOKEN, without anything before or after it, or log in with `hf auth login`."),
        )
    repository, revision, entries = _ask(card, endpoint, headers)
    if repository.lower() != str(card.repository).lower():
        print(_("{old} has moved to {new}.").format(old=card.repository, new=printable(repository)))
    files = []
    inside = f"{card.folder}/" if card.folder else ""
    for name, size, digest, kind in entries:
        own = name.removeprefix(inside)
        if name.startswith(inside) and _wanted(own, card):
            url = hf_hub_url(repository, name, revision=revision, endpoint=endpoint)
            files.append(Remote(own, url, size, digest, kind))
    if not any(manifest.is_weights(file.name) for file in files):
        raise DownloadFailed(
            _("{repository} has no weights in a safe format ({file}).").format(
                repository=repository,
                file=card.file or (f"{inside}*.onnx" if card.format == "onnx" else "model*.safetensors"),
            ),
            _other_ways(),
        )
    for file in files:
        known = card.sums.get(file.name)
        # Small files have a sum of another kind in the listing; they are compared when they are here.
        if known and file.kind == "sha256" and file.digest != known:
            raise _other_file(file.name, repository)
    return Plan(card.name, tuple(files), repository, revision, headers, may_lead_elsewhere=True)


def _other_file(name: str, repository: str) -> DownloadFailed:
    return DownloadFailed(
        _("{file} in {repository} is not the file that this course knows (its SHA-256 sum differs).").format(
            file=name, repository=repository
        ),
        _("Do not use it until somebody has looked at what changed."),
    )


def check_sums(card: ModelCard, listing: manifest.Manifest) -> None:
    """Compare what has come with the sums that the catalog knows.

    Raises:
        DownloadFailed: a file is another one.

    Example:
        check_sums(card, Manifest.read(folder))
    """
    for file in listing.files:
        if card.sums.get(file.name, file.sha256) != file.sha256:
            raise _other_file(file.name, listing.repository or card.name)


def _endpoint() -> str:
    named = (os.environ.get("HF_ENDPOINT") or "").strip() or HUB
    return str(addresses.parse(named, name="HF_ENDPOINT", example=HUB))


def _other_ways() -> str:
    return _(
        "Without the hub: `labs models import PACK` takes a copy from a stick, and `labs models fetch NAME --from URL` "
        "one from a computer in the room that runs `labs models serve`."
    )


def _wanted(name: str, card: ModelCard) -> bool:
    if not manifest.is_data(name):
        return False
    if card.file:
        return name in (card.file, "README.md") or name.upper().startswith(("LICENSE", "NOTICE"))
    wanted = _WANTED_OF_ONNX if card.format == "onnx" else _WANTED
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in wanted)


def _ask(card: ModelCard, endpoint: str, headers: dict[str, str]) -> tuple[str, str, list[tuple[str, int, str, str]]]:
    """(repository, commit, [(name, size, sum, kind of sum)]) as the hub has them now.

    Not through huggingface_hub: its client sends requests for a mirror on this computer through the proxy.
    """
    from huggingface_hub import constants

    repository = str(card.repository)
    if constants.HF_HUB_OFFLINE:
        raise DownloadFailed(
            _("HF_HUB_OFFLINE is set, so the labs ask the hub for nothing."),
            _("Unset it to download. {other_ways}").format(other_ways=_other_ways()),
        )
    with transfer.client(endpoint, headers, redirects=True, seconds=TIMEOUT) as http:
        try:
            url = f"{endpoint}/api/models/{repository}?blobs=true"
            response, content = transfer.small(http, url, LISTING, TIMEOUT)
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError, timeouts.TooLong) as error:
            raise DownloadFailed(
                _("{endpoint} does not answer ({kind}).").format(endpoint=endpoint, kind=type(error).__name__),
                _("Check the network connection (and proxy). {other_ways}").format(other_ways=_other_ways()),
            ) from error
    if response.status_code != 200:
        raise _for_status(response.status_code, response.headers, repository, endpoint)
    try:
        return _listing(content)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise DownloadFailed(
            _("{endpoint} answers with something that is not a list of files.").format(endpoint=endpoint),
            _("A login page of the network may be in between: open a web page in a browser, log in, and try again."),
        ) from error


def _listing(content: bytes) -> tuple[str, str, list[tuple[str, int, str, str]]]:
    """What the hub says about a repository. An error of a kind that `_ask` expects if it is something else.

    Names, sums and the commit become parts of paths and addresses, so each has to look like one.
    """
    said = json.loads(content)
    entries = []
    for entry in said["siblings"]:
        lfs = entry.get("lfs")
        digest, kind = (lfs["sha256"], "sha256") if lfs else (entry["blobId"], "git")
        if not _SUM[kind].fullmatch(digest) or not is_whole(entry["size"]) or entry["size"] < 0:
            raise ValueError("a file without its sum or size")
        entries.append((str(entry["rfilename"]), entry["size"], digest.lower(), kind))
    if not _SUM["git"].fullmatch(said["sha"]) or not _REPOSITORY.fullmatch(said["id"]):
        raise ValueError("a listing without its commit or its name")
    return said["id"], said["sha"].lower(), entries


def _for_status(status: int, headers: Mapping[str, str], repository: str, endpoint: str) -> DownloadFailed:
    code = headers.get("X-Error-Code", "")
    if code == "GatedRepo":
        return DownloadFailed(
            _("{repository} wants its terms accepted first.").format(repository=repository),
            _("Accept them on {endpoint}/{repository}, then log in with `hf auth login`.").format(
                endpoint=endpoint, repository=repository
            ),
        )
    if status == 429:
        wait = whole(headers.get("Retry-After", ""))
        when = _("in {count} seconds").format(count=wait) if wait is not None else _("in some minutes")
        return DownloadFailed(
            _("{endpoint} has had too many requests from this network.").format(endpoint=endpoint),
            _("Try again {when}, or log in (`hf auth login`) for a limit of your own. {other_ways}").format(
                when=when, other_ways=_other_ways()
            ),
        )
    # 401 is what the hub says to strangers, whether a repository is private or does not exist.
    if status == 401 or code == "RepoNotFound":
        return _not_public(repository, endpoint)
    if status == 403:
        return DownloadFailed(
            _("{endpoint} does not let you see {repository} ({status}).").format(
                endpoint=endpoint, repository=repository, status=status
            ),
            _("Log in with `hf auth login`; if you are logged in, the token is wrong or has expired."),
        )
    if status >= 500:
        return DownloadFailed(
            _("{endpoint} has a problem of its own ({status}).").format(endpoint=endpoint, status=status),
            _("Try again later. {other_ways}").format(other_ways=_other_ways()),
        )
    return DownloadFailed(
        _("{endpoint} answers {status} for {repository}.").format(
            endpoint=endpoint, status=status, repository=repository
        ),
        _other_ways(),
    )


def _not_public(repository: str, endpoint: str) -> DownloadFailed:
    return DownloadFailed(
        _("There is no public repository {repository} on {endpoint}.").format(repository=repository, endpoint=endpoint),
        _(
            "It was renamed, removed or made private, or your token has expired; `hf auth login` renews "
            "it. {other_ways}"
        ).format(other_ways=_other_ways()),
    )
