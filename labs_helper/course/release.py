"""The learner edition as one zip: everything that is needed to run the labs, and no solutions."""

from __future__ import annotations

import os
import re
import zipfile
from pathlib import Path

from labs_helper import catalog
from labs_helper.course import reset
from labs_helper.errors import BadRequest, LabError

NAME = "phi35-labs"
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
    "pyproject.toml",
    "constraints.txt",
    "environment.yml",
)
_FOLDERS = ("labs_helper", "data/benchmarks", "data/checkpoints", "images", "docs", ".devcontainer")
_NOT = ("__pycache__", ".ipynb_checkpoints")
# In the text of a notebook file: a link never runs over the end of a line, or of a JSON string.
_TO_SOLUTIONS = re.compile(r"\[([^\]\[\"\n]*)\]\(solutions/[^)\"\n]*\)")
_TIME = (1980, 1, 1, 0, 0, 0)  # the same content makes the same zip, byte for byte


def build(destination: str | Path | None = None, *, root: Path | None = None) -> Path:
    """Write the zip. Notebooks come from their sources, never from what somebody has worked in.

    destination: a new file that ends in .zip; `dist/phi35-labs-learner.zip` by default. root: the course's folder.
    Raises BadRequest for a destination that cannot be used, LabError if a part of the course is missing.

    Example:
        build()      # dist/phi35-labs-learner.zip
    """
    root = catalog.course_folder() if root is None else Path(root)
    target = Path(destination).expanduser() if destination else root / "dist" / f"{NAME}-learner.zip"
    if target.suffix != ".zip" or target.is_dir():
        raise BadRequest(f"{target} is not the name of a zip file.", "Give a file that ends in .zip.")
    parts = contents(root)
    temporary = target.with_name(f".{target.name}.new")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as file:
            for name in sorted(parts):
                entry = zipfile.ZipInfo(f"{NAME}/{name}", _TIME)
                entry.external_attr, entry.compress_type = 0o100644 << 16, zipfile.ZIP_DEFLATED
                file.writestr(entry, parts[name])
        os.replace(temporary, target)
    except OSError as error:
        raise LabError(f"{target} could not be written ({error.strerror}).", "Choose another place.") from error
    finally:
        temporary.unlink(missing_ok=True)
    return target


def contents(root: Path) -> dict[str, bytes]:
    """What the zip holds, by name.

    Raises LabError if a part of the course is missing.

    Example:
        sorted(contents(catalog.course_folder()))[0]
    """
    found: dict[str, bytes] = {}
    for name in _FILES:
        if not (root / name).is_file():
            raise LabError(f"{name} is missing in {root}.", "Build the zip from the whole repository.")
        found[name] = (root / name).read_bytes()
    for folder in _FOLDERS:
        for file in sorted((root / folder).rglob("*")):
            inside = file.relative_to(root)
            hidden = any(part.startswith(".") for part in file.relative_to(root / folder).parts)
            if file.is_file() and not file.is_symlink() and not hidden and not set(_NOT) & set(inside.parts):
                found[inside.as_posix()] = file.read_bytes()
    labs = sorted((root / "notebooks" / "src").glob("[0-9][0-9]-*.py"))
    if not labs:
        raise LabError(f"There are no sources in {root / 'notebooks/src'}.", "Build the zip from the whole repository.")
    for lab in labs:
        stem, text = reset.pristine(lab.stem, folder=root / "notebooks")
        text = _TO_SOLUTIONS.sub(r"\1 (your instructor has them)", text)
        for folder in ("notebooks", "data/notebooks"):  # the second for `labs reset`
            found[f"{folder}/{stem}.ipynb"] = text.encode()
    return found
