"""What the Hugging Face hub has of a model: which files, of which size, with which sums."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labs_helper.catalog import ModelCard
from labs_helper.common import network
from labs_helper.common.markup import printable
from labs_helper.common.translate import _
from labs_helper.errors import DownloadFailed
from labs_helper.store import manifest
from labs_helper.store.transfer import Remote

if TYPE_CHECKING:
    from huggingface_hub import HfApi

TIMEOUT = 8  # seconds for the listing; a learner should not wait longer to hear that the network is down
# Never *.py: the engines have their own code for these models, and a checkpoint should be data.
_WANTED = ("*.json", "*.jinja", "model*.safetensors", "tokenizer.model", "LICENSE*", "NOTICE*", "README.md")


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
        DownloadFailed: offline, or the hub does not answer, or not with the model.

    Example:
        plan(real_card("phi-3.5-mini-instruct-4bit")).size
    """
    from huggingface_hub import HfApi, hf_hub_url
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # public, and missing in __all__

    endpoint = (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")
    network.proxy_for(endpoint)  # refuses a proxy that the hub's package would answer with an ImportError
    repository, revision, entries = _ask(HfApi(endpoint=endpoint), card, endpoint)
    if repository.lower() != str(card.repository).lower():
        print(_("{old} has moved to {new}.").format(old=card.repository, new=printable(repository)))
    files = []
    for name, size, digest, kind in entries:
        if _wanted(name, card):
            url = hf_hub_url(repository, name, revision=revision, endpoint=endpoint)
            files.append(Remote(name, url, size, digest, kind))
    if not any(file.name.endswith((".safetensors", ".gguf")) for file in files):
        raise DownloadFailed(
            _("{repository} has no weights in a safe format ({file}).").format(
                repository=repository, file=card.file or "model*.safetensors"
            ),
            _other_ways(),
        )
    if card.sha256 and any(f.name == card.file and (f.kind, f.digest) != ("sha256", card.sha256) for f in files):
        raise DownloadFailed(
            _("{file} in {repository} is not the file that this course knows (its SHA-256 sum differs).").format(
                file=card.file, repository=repository
            ),
            _("Do not use it until somebody has looked at what changed."),
        )
    return Plan(card.name, tuple(files), repository, revision, build_hf_headers(), may_lead_elsewhere=True)


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
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in _WANTED)


def _ask(api: HfApi, card: ModelCard, endpoint: str) -> tuple[str, str, list[tuple[str, int, str, str]]]:
    """(repository, commit, [(name, size, sum, kind of sum)]) as the hub has them now."""
    from huggingface_hub import errors

    repository = str(card.repository)
    try:
        info = api.model_info(repository, files_metadata=True, timeout=TIMEOUT)
        entries = []
        for entry in info.siblings or []:
            digest, kind = (entry.lfs.sha256, "sha256") if entry.lfs else (entry.blob_id, "git")
            if digest is None or entry.size is None:
                raise ValueError("a file without its sum or size")
            entries.append((entry.rfilename, int(entry.size), digest.lower(), kind))
        if info.sha is None:
            raise ValueError("a listing without its commit")
        return str(info.id), info.sha.lower(), entries
    except errors.OfflineModeIsEnabled as error:
        raise DownloadFailed(
            _("HF_HUB_OFFLINE is set, so nothing is asked from the hub."),
            _("Unset it to download. {other_ways}").format(other_ways=_other_ways()),
        ) from error
    except errors.GatedRepoError as error:
        raise DownloadFailed(
            _("{repository} wants its terms accepted first.").format(repository=repository),
            _("Accept them on {endpoint}/{repository}, then log in with `hf auth login`.").format(
                endpoint=endpoint, repository=repository
            ),
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise _not_public(repository, endpoint) from error
    except errors.HfHubHTTPError as error:
        raise _for_status(error.response.status_code, error.response.headers, repository, endpoint) from error
    # The HTTPError of the HTTP library that the hub's package uses, httpx or httpx2.
    except errors.HTTPError as error:  # type: ignore[attr-defined]  # no connection, no name, no answer in time
        raise DownloadFailed(
            _("{endpoint} does not answer ({kind}).").format(endpoint=endpoint, kind=type(error).__name__),
            _("Check the network connection (and proxy). {other_ways}").format(other_ways=_other_ways()),
        ) from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DownloadFailed(
            _("{endpoint} answers with something that is not a list of files.").format(endpoint=endpoint),
            _("A login page of the network may be in between: open a web page in a browser, log in, and try again."),
        ) from error


def _for_status(status: int, headers: Mapping[str, str], repository: str, endpoint: str) -> DownloadFailed:
    if status == 429:
        wait = headers.get("Retry-After")
        when = _("in {count} seconds").format(count=wait) if wait and wait.isdigit() else _("in some minutes")
        return DownloadFailed(
            _("{endpoint} has had too many requests from this network.").format(endpoint=endpoint),
            _("Try again {when}, or log in (`hf auth login`) for a limit of your own. {other_ways}").format(
                when=when, other_ways=_other_ways()
            ),
        )
    if status == 401:  # what the hub says to strangers, whether a repository is private or does not exist
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
            _("{endpoint} has trouble of its own ({status}).").format(endpoint=endpoint, status=status),
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
