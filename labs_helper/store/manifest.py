"""The list of a model's files with their SHA-256 sums, and the rules for what may be in it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from labs_helper.common import platforms
from labs_helper.common.translate import _
from labs_helper.errors import CheckpointRefused

NAME = "labs-manifest.json"
FORMAT = "phi35-labs-pack-1"
SIZE_LIMIT = 1_000_000  # bytes of a manifest; a real one has a few thousand
_MOST_FILES = 1000
_CHUNK = 2**20
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
# What a model consists of. Everything else is left out of packs and refused in them: above all code.
_DATA = re.compile(
    r".+\.(json|jinja|safetensors|gguf|onnx|onnx\.data|md)|tokenizer\.model|(LICENSE|NOTICE)(\.(md|txt))?",
    re.IGNORECASE,
)
# What macOS and Windows leave on every USB stick. Never copied, and no reason to refuse a pack.
_LITTER = re.compile(r"\._.*|\.DS_Store|\.Spotlight-V100|\.fseventsd|\.Trashes|Thumbs\.db|desktop\.ini")


OnBytes = Callable[[int], object]  # called with the number of bytes that came, for a progress bar


def _ignore(count: int) -> None:
    pass


def is_plain(name: str) -> bool:
    """Whether a name is one plain file or folder name on every system: no path, nothing hidden, ASCII.

    Example:
        is_plain("config.json"), is_plain("../config.json")      # (True, False)
    """
    return _PLAIN.fullmatch(name) is not None and not platforms.is_reserved(name)


def is_data(name: str) -> bool:
    """Whether a file of this name belongs to a model and holds data only.

    Example:
        is_data("model.safetensors"), is_data("modeling_phi3.py")      # (True, False)
    """
    return is_plain(name) and _DATA.fullmatch(name) is not None and name != NAME


def is_weights(name: str) -> bool:
    """Whether a file of this name holds weights.

    Example:
        is_weights("model.safetensors"), is_weights("config.json")      # (True, False)
    """
    return name.endswith((".safetensors", ".gguf", ".onnx", ".onnx.data"))


def is_litter(name: str) -> bool:
    """Whether a file is one that macOS or Windows leaves in folders it has shown.

    Example:
        is_litter("._config.json")      # True
    """
    return _LITTER.fullmatch(name) is not None


@dataclass(frozen=True)
class File:
    """One file of a model: its name, size in bytes, and SHA-256 sum in hexadecimal."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a model consists of.

    Attributes:
        repository: where it was fetched from; None if unknown.
        revision: the commit of that repository; None if unknown.

    Example:
        Manifest.read(folder).check(folder)
    """

    name: str
    files: tuple[File, ...]
    repository: str | None = None
    revision: str | None = None

    @property
    def size(self) -> int:
        """The size of all files together, in bytes."""
        return sum(file.size for file in self.files)

    def text(self) -> str:
        """The manifest as JSON, as a pack holds it."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1) + "\n"

    @classmethod
    def parse(cls, text: str | bytes, where: str) -> Manifest:
        """A manifest from its JSON, every field checked.

        Args:
            text: the JSON.
            where: the pack, folder or server that it came from, for the message.

        Raises:
            CheckpointRefused: it is anything but a manifest.

        Example:
            Manifest.parse((pack / NAME).read_bytes(), str(pack))
        """
        try:
            values = json.loads(text)
            files = tuple(File(**entry) for entry in values.pop("files"))
            kind = values.pop("format")
            listing = cls(files=files, **values)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise _refused(
                _("{file} in {where} cannot be read ({kind}).").format(
                    file=NAME, where=where, kind=type(error).__name__
                )
            ) from error
        if kind != FORMAT:
            raise _refused(
                _("The pack {where} has the format {kind!r}; this version knows {known!r}.").format(
                    where=where, kind=kind, known=FORMAT
                )
            )
        listing._check_fields(where)
        return listing

    def _check_fields(self, where: str) -> None:
        if not isinstance(self.name, str) or not is_plain(self.name):
            raise _refused(
                _("The manifest in {where} has an unusable model name ({name!r}).").format(
                    where=where, name=str(self.name)[:80]
                )
            )
        for text in (self.repository, self.revision):
            if text is not None and not (isinstance(text, str) and re.fullmatch(r"[\w./-]{1,200}", text)):
                raise _refused(_("The manifest in {where} names an unusable origin.").format(where=where))
        if not 0 < len(self.files) <= _MOST_FILES:
            raise _refused(_("The manifest in {where} lists {count} files.").format(where=where, count=len(self.files)))
        seen = set()
        for file in self.files:
            if isinstance(file.name, str) and platforms.is_reserved(file.name):
                raise CheckpointRefused(
                    _("The manifest in {where} lists {file!r}, a name that Windows keeps for itself.").format(
                        where=where, file=file.name[:80]
                    ),
                    _("Give the file another name where the model was made, and make the copy again."),
                )
            if not isinstance(file.name, str) or not is_data(file.name):
                raise _refused(
                    _("The manifest in {where} lists {file!r}, which is not part of a model.").format(
                        where=where, file=str(file.name)[:80]
                    )
                )
            if file.name.lower() in seen:  # on a Mac these would be one file
                raise _refused(_("The manifest in {where} lists {file} twice.").format(where=where, file=file.name))
            seen.add(file.name.lower())
            if type(file.size) is not int or not 0 <= file.size < 2**50:
                raise _refused(
                    _("The manifest in {where} gives no usable size for {file}.").format(where=where, file=file.name)
                )
            if not isinstance(file.sha256, str) or not re.fullmatch(r"[0-9a-f]{64}", file.sha256):
                raise _refused(
                    _("The manifest in {where} gives no usable sum for {file}.").format(where=where, file=file.name)
                )

    @classmethod
    def read(cls, folder: Path) -> Manifest | None:
        """The manifest of a model folder; None if it has none, as folders that other programs fetched.

        Example:
            Manifest.read(folder).revision
        """
        file = folder / NAME
        if not file.is_file():
            return None
        if file.stat().st_size > SIZE_LIMIT:
            raise _refused(_("{file} in {folder} is too large to be one.").format(file=NAME, folder=folder))
        return cls.parse(file.read_bytes(), str(folder))

    @classmethod
    def of(
        cls,
        folder: Path,
        name: str,
        repository: str | None = None,
        revision: str | None = None,
        on_bytes: OnBytes = _ignore,
    ) -> Manifest:
        """Make the manifest of a folder by reading all of its data files.

        Args:
            folder: the folder of the model.
            name: its name in the catalog.
            repository: where it was fetched from, if that is known.
            revision: the commit of that repository.
            on_bytes: called with the number of bytes after each read, for a progress bar.

        Example:
            Manifest.of(folder, "phi-3.5-mini-instruct-4bit").size
        """
        paths = [path for path in sorted(folder.iterdir()) if is_data(path.name) and path.is_file()]
        files = tuple(File(path.name, path.stat().st_size, sha256(path, on_bytes)) for path in paths)
        return cls(name, files, repository, revision)

    def check(self, folder: Path, on_bytes: OnBytes = _ignore) -> None:
        """Compare every file of a folder with this manifest.

        Args:
            folder: the folder of the model.
            on_bytes: called with the number of bytes after each read, for a progress bar.

        Raises:
            CheckpointRefused: a file differs; the message names the first one.

        Example:
            Manifest.read(folder).check(folder)
        """
        for file in self.files:
            path = folder / file.name
            if not path.is_file():
                raise _refused(_("{file} is missing in {folder}.").format(file=file.name, folder=folder))
            if path.stat().st_size != file.size:
                raise _refused(
                    _("{path} should have {expected:,} bytes and has {size:,}.").format(
                        path=path, expected=file.size, size=path.stat().st_size
                    )
                )
            if sha256(path, on_bytes) != file.sha256:
                raise _refused(
                    _("{path} is damaged: its SHA-256 sum is not the one in the manifest.").format(path=path)
                )


def sha256(path: Path, on_bytes: OnBytes = _ignore) -> str:
    """The SHA-256 sum of a file, in hexadecimal.

    Example:
        sha256(Path("model.safetensors"))
    """
    return _digest(hashlib.sha256(), path, on_bytes)


def git_sum(path: Path, on_bytes: OnBytes = _ignore) -> str:
    """The sum under which git knows a file: SHA-1 over "blob", its size, a zero byte and its content.

    The hub gives this one for its small files (git-scm.com/book, "Git Objects").

    Example:
        git_sum(Path("config.json"))
    """
    start = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    return _digest(start, path, on_bytes)


def _digest(digest: hashlib._Hash, path: Path, on_bytes: OnBytes) -> str:
    with path.open("rb") as opened:
        while chunk := opened.read(_CHUNK):
            digest.update(chunk)
            on_bytes(len(chunk))
    return digest.hexdigest()


def _refused(what: str) -> CheckpointRefused:
    return CheckpointRefused(what, _("Make the copy again, from a model that `labs models verify NAME` finds whole."))
