"""What the Hugging Face hub has of a model: which files, of which size, with which sums."""

from __future__ import annotations

import fnmatch
import os
from dataclasses import dataclass

from labs_helper.catalog import ModelCard
from labs_helper.errors import DownloadFailed
from labs_helper.store import manifest
from labs_helper.store.transfer import Remote

TIMEOUT = 8  # seconds for the listing; a learner should not wait longer to hear that the network is down
# Never *.py: the engines have their own code for these models, and a checkpoint should be data.
_WANTED = ("*.json", "*.jinja", "model*.safetensors", "tokenizer.model", "LICENSE*", "NOTICE*", "README.md")
_OTHER_WAYS = (
    "Without the hub: `labs models import PACK` takes a copy from a stick, and `labs models fetch NAME --from URL` "
    "one from a computer in the room that runs `labs models serve`."
)


@dataclass(frozen=True)
class Plan:
    """Everything a download needs to know. headers go to the named urls only."""

    name: str
    files: tuple[Remote, ...]
    repository: str | None = None
    revision: str | None = None
    headers: dict[str, str] | None = None

    @property
    def bytes(self) -> int:
        """The size of all files together, in bytes."""
        return sum(file.size for file in self.files)


def plan(card: ModelCard) -> Plan:
    """Ask the hub for the files of a model. One request, answered or refused within seconds.

    HF_ENDPOINT names another hub; a token comes from `hf auth login` or HF_TOKEN.
    Raises DownloadFailed with what to do: offline, unreachable, gated, gone, busy.

    Example:
        plan(catalog.find("phi-3.5-mini-instruct-4bit")[0]).bytes
    """
    from huggingface_hub import HfApi, hf_hub_url
    from huggingface_hub.utils import build_hf_headers

    endpoint = (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")
    repository, revision, entries = _ask(HfApi(endpoint=endpoint), card, endpoint)
    if repository.lower() != card.repository.lower():
        print(f"{card.repository} has moved to {repository}.")
    files = []
    for name, size, digest, kind in entries:
        if _wanted(name, card):
            url = hf_hub_url(repository, name, revision=revision, endpoint=endpoint)
            files.append(Remote(name, url, size, digest, kind))
    if not any(file.name.endswith((".safetensors", ".gguf")) for file in files):
        raise DownloadFailed(
            f"{repository} has no weights in a safe format ({card.file or 'model*.safetensors'}).", _OTHER_WAYS
        )
    if card.sha256 and any(f.name == card.file and (f.kind, f.digest) != ("sha256", card.sha256) for f in files):
        raise DownloadFailed(
            f"{card.file} in {repository} is not the file that this course knows (its SHA-256 sum differs).",
            "Do not use it until somebody has looked at what changed.",
        )
    return Plan(card.name, tuple(files), repository, revision, build_hf_headers())


def _wanted(name: str, card: ModelCard) -> bool:
    if not manifest.is_data(name):
        return False
    if card.file:
        return name in (card.file, "README.md") or name.upper().startswith(("LICENSE", "NOTICE"))
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in _WANTED)


def _ask(api, card: ModelCard, endpoint: str) -> tuple[str, str, list[tuple[str, int, str, str]]]:
    """(repository, commit, [(name, size, sum, kind of sum)]) as the hub has them now."""
    from huggingface_hub import errors

    repository = card.repository
    try:
        info = api.model_info(repository, files_metadata=True, timeout=TIMEOUT)
        entries = []
        for entry in info.siblings or []:
            digest, kind = (entry.lfs.sha256, "sha256") if entry.lfs else (entry.blob_id, "git")
            entries.append((entry.rfilename, int(entry.size), digest.lower(), kind))
        return str(info.id), info.sha.lower(), entries
    except errors.OfflineModeIsEnabled as error:
        raise DownloadFailed(
            "HF_HUB_OFFLINE is set, so nothing is asked from the hub.", f"Unset it to download. {_OTHER_WAYS}"
        ) from error
    except errors.GatedRepoError as error:
        raise DownloadFailed(
            f"{repository} wants its terms accepted first.",
            f"Accept them on {endpoint}/{repository}, then log in with `hf auth login`.",
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise _not_public(repository, endpoint) from error
    except errors.HfHubHTTPError as error:
        raise _for_status(error.response.status_code, error.response.headers, repository, endpoint) from error
    except errors.HTTPError as error:  # no connection, no name, no answer in time
        raise DownloadFailed(
            f"{endpoint} does not answer ({type(error).__name__}).",
            f"Check the network connection (and proxy). {_OTHER_WAYS}",
        ) from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DownloadFailed(
            f"{endpoint} answers with something that is not a list of files.",
            "A login page of the network may be in between: open a web page in a browser, log in, and try again.",
        ) from error


def _for_status(status: int, headers, repository: str, endpoint: str) -> DownloadFailed:
    if status == 429:
        wait = headers.get("Retry-After")
        when = f"in {wait} seconds" if wait and wait.isdigit() else "in some minutes"
        return DownloadFailed(
            f"{endpoint} has had too many requests from this network.",
            f"Try again {when}, or log in (`hf auth login`) for a limit of your own. {_OTHER_WAYS}",
        )
    if status == 401:  # what the hub says to strangers, whether a repository is private or does not exist
        return _not_public(repository, endpoint)
    if status == 403:
        return DownloadFailed(
            f"{endpoint} does not let you see {repository} ({status}).",
            "Log in with `hf auth login`; if you are logged in, the token is wrong or has expired.",
        )
    if status >= 500:
        return DownloadFailed(f"{endpoint} has trouble of its own ({status}).", f"Try again later. {_OTHER_WAYS}")
    return DownloadFailed(f"{endpoint} answers {status} for {repository}.", _OTHER_WAYS)


def _not_public(repository: str, endpoint: str) -> DownloadFailed:
    return DownloadFailed(
        f"There is no public repository {repository} on {endpoint}.",
        f"It was renamed, removed or made private, or your token has expired; `hf auth login` renews it. {_OTHER_WAYS}",
    )
