"""The learner edition as one zip: everything that is needed to run the labs, and no solutions."""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from pathlib import Path

from labs_helper.catalog import course_folder
from labs_helper.catalog.labs import SOURCES
from labs_helper.common import translate
from labs_helper.common.files import write_whole
from labs_helper.common.translate import _
from labs_helper.course import reset
from labs_helper.course.translation import offered
from labs_helper.errors import BadRequest, LabError

NAME = "phi35-labs"
HANDED_OUT = "data/handed-out.json"  # every file of the zip with its checksum, for `labs update`
# What a learner needs. Left out: sources and solutions, and the tests, which hold right answers as well.
_FILES = (
    "README.md",
    "LICENSE",
    "CHANGELOG.md",
    "CODE_OF_CONDUCT.md",
    "CITATION.cff",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "Makefile",
    "start.py",
    "pyproject.toml",
    "constraints.txt",
    "environment.yml",
)
# `data` whole, with the models: labs open its tables by name, and one that is missing shows only in a cell.
_FOLDERS = ("labs_helper", "data", "images", "docs", ".devcontainer")
_NOT = ("__pycache__", ".ipynb_checkpoints")
# Left out of the folders: the teaching guide has the answers to the questions that a class discusses, in every language
# and in the files that translators edit.
_TEACHING = re.compile(r"docs/(?:\w+/)?teaching/|docs/locale/")
# In a text: a link never runs over the end of a line, or of a notebook's JSON string.
_TO_SOLUTIONS = re.compile(r"\[([^\]\[\"\n]*)\]\(solutions/[^)\"\n]*\)")
_TO_TEACHING = re.compile(r"\[([^\]\[\"\n]*)\]\((?:\.\./)*(?:docs/)?(?:\w+/)?teaching/[^)\"\n]*\)")
_SPOKEN = re.compile(r"README\.(\w+)\.md|docs/(\w+)/")  # a document in another language
# What README.md says of the solutions; the zip has none.
_SOLUTIONS = re.compile(r"<!-- solutions -->\n.*?<!-- solutions: end -->\n", re.S)
_TIME = (2026, 1, 1, 0, 0, 0)  # the same content makes the same zip, byte for byte; JupyterLab shows the age


def build(destination: str | Path | None = None, *, root: Path | None = None) -> Path:
    """Write the zip. Notebooks come from their sources, never from files that somebody has worked in.

    Args:
        destination: a file that ends in .zip; `dist/phi35-labs-learner.zip` by default.
        root: the course's folder.

    Raises:
        BadRequest: the destination cannot be used.
        LabError: a part of the course is missing.

    Example:
        build()      # dist/phi35-labs-learner.zip
    """
    root = course_folder() if root is None else Path(root)
    target = Path(destination).expanduser() if destination else root / "dist" / f"{NAME}-learner.zip"
    if target.suffix != ".zip" or target.is_dir():
        raise BadRequest(
            _("{path} is not the name of a zip file.").format(path=target), _("Give a file that ends in .zip.")
        )
    packed = _packed(contents(root))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_whole(target, packed)
    except OSError as error:
        raise LabError(
            _("{path} could not be written ({reason}).").format(path=target, reason=error.strerror),
            _("Choose another folder."),
        ) from error
    return target


def checksum(content: bytes) -> str:
    """What the list of a zip says of a file."""
    return hashlib.sha256(content).hexdigest()


def contents(root: Path) -> dict[str, bytes]:
    """What the zip holds, by name.

    Raises:
        LabError: a part of the course is missing.

    Example:
        sorted(contents(course_folder()))[0]
    """
    whole = _("Build the zip from the whole repository.")
    files: dict[str, bytes] = {}
    for name in _FILES:
        if not (root / name).is_file():
            raise LabError(_("{name} is missing in {folder}.").format(name=name, folder=root), whole)
        files[name] = (root / name).read_bytes()
    files |= {path.name: path.read_bytes() for path in sorted(root.glob("README.*.md"))}
    for folder in _FOLDERS:
        for file in sorted((root / folder).rglob("*")):
            inside = file.relative_to(root)
            hidden = any(part.startswith(".") for part in file.relative_to(root / folder).parts)
            left_out = hidden or set(_NOT) & set(inside.parts) or _TEACHING.match(inside.as_posix())
            if file.is_file() and not file.is_symlink() and not left_out:
                files[inside.as_posix()] = file.read_bytes()
    for name in [name for name in files if name.endswith(".md")]:
        text = _SOLUTIONS.sub("", files[name].decode())
        with translate.speaking(_language(name)):
            text = _TO_TEACHING.sub(lambda link: _("{text} (in the repository)").format(text=link[1]), text)
        files[name] = text.encode()
    sources = sorted((root / "notebooks" / "src").glob(SOURCES))
    if not sources:
        raise LabError(_("There are no sources in {folder}.").format(folder=root / "notebooks/src"), whole)
    for language, labs in _editions(root):
        for source in sources:
            if labs is not None and source.name[:2] not in labs:
                continue
            with translate.speaking(language or translate.ENGLISH):
                stem, text = reset.pristine(source.stem, folder=root / "notebooks", language=language)
                text = _TO_SOLUTIONS.sub(lambda link: _("{text} (your instructor has them)").format(text=link[1]), text)
            for folder in ("notebooks", "data/notebooks"):  # the second for `labs reset`
                files[f"{folder}/{language}/{stem}.ipynb".replace("//", "/")] = text.encode()
    sums = {name: checksum(files[name]) for name in sorted(files)}
    return files | {HANDED_OUT: json.dumps(sums, indent=0).encode()}


def _language(document: str) -> str:
    """The language of a document, by its name."""
    spoken = _SPOKEN.match(document)
    code = (spoken[1] or spoken[2]) if spoken else ""
    return code if code in translate.languages() else translate.ENGLISH


def _editions(root: Path) -> list[tuple[str, tuple[str, ...] | None]]:
    """The languages of the course, English first as "", with the labs that each offers; None for all."""
    table = root / "labs_helper" / "locale" / offered.TABLE
    return [("", None), *((spoken.code, spoken.labs) for spoken in offered.languages(table))]


def _packed(files: dict[str, bytes]) -> bytes:
    """The files as the bytes of a zip, in one folder."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(f"{NAME}/{name}", _TIME)
            entry.external_attr, entry.compress_type = 0o100644 << 16, zipfile.ZIP_DEFLATED
            archive.writestr(entry, files[name])
    return packed.getvalue()
