"""Give a lab back as it was handed out, and keep what the learner made of it.

    from labs_helper.course.reset import restore
    restore("01")          # in a terminal: labs reset 01

The notebook as handed out comes from its source in `notebooks/src/`; an edition without sources (the zip of
`labs workshop zip`) brings it in `data/notebooks/`. No network and no git is needed.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from labs_helper import catalog
from labs_helper.errors import BadRequest, LabError

COPIES = "*.copy-*.ipynb"  # what a learner's copies are called, for everything that goes through the notebooks


@dataclass(frozen=True)
class Restored:
    """What `restore` did. `copy` is the learner's version, or None where there was nothing to keep."""

    notebook: Path
    copy: Path | None
    changed: bool

    def __str__(self) -> str:
        if not self.changed:
            return f"{self.notebook.name} is as it was handed out: nothing to do."
        kept = f" Your version is now {self.copy.name}, in the same folder." if self.copy else ""
        return (
            f"{self.notebook.name} is as it was handed out.{kept}\n"
            "If it is open in JupyterLab: File > Reload Notebook from Disk, and do not save the open one before."
        )

    __repr__ = __str__


def restore(lab: str | int, *, folder: Path | None = None) -> Restored:
    """Restore the learner edition of a lab; the version that is there is kept beside it, under a dated name.

    lab: a number ("01", 1) or a file name ("01-instruct"). folder: the notebooks folder; the course's by default.
    An earlier copy is never overwritten. The copy is complete on disk before the notebook changes, and the notebook
    changes in one step.
    Raises BadRequest for a lab that does not exist, LabError if a file cannot be written.

    Example:
        restore("01").copy      # notebooks/01-instruct.copy-2026-03-01-141500.ipynb
    """
    folder = catalog.course_folder() / "notebooks" if folder is None else Path(folder)
    stem, text = pristine(lab, folder=folder)
    notebook, wanted = folder / f"{stem}.ipynb", text.encode()
    try:
        mine = notebook.read_bytes() if notebook.exists() else None
        if mine == wanted:
            return Restored(notebook, None, False)
        copy = None if mine is None else _keep(mine, notebook)
        put(notebook, wanted)
    except OSError as error:
        raise LabError(
            f"{notebook} could not be restored ({error.strerror or error}).",
            "It is as it was. Look whether the disk is full and whether you may write in this folder.",
        ) from error
    return Restored(notebook, copy, True)


def pristine(lab: str | int, *, folder: Path | None = None) -> tuple[str, str]:
    """The learner edition of a lab as it was handed out: its file name without ending, and its text.

    Raises BadRequest for a lab that does not exist, LabError if the tool that reads sources is missing.

    Example:
        pristine("00")[0]      # '00-start-here'
    """
    folder = catalog.course_folder() / "notebooks" if folder is None else Path(folder)
    name = str(lab).strip()
    name = name.zfill(2) if name.isdigit() else name.removesuffix(".ipynb")
    stored = folder.parent / "data" / "notebooks"
    found = sorted([*(folder / "src").glob("[0-9][0-9]-*.py"), *stored.glob("[0-9][0-9]-*.ipynb")])
    for file in found:
        if name in (file.stem, file.stem[:2]):
            return file.stem, file.read_text("utf-8") if file.suffix == ".ipynb" else _from_source(file)
    labs = ", ".join(file.stem for file in found) or f"none; {folder / 'src'} is not there"
    raise BadRequest(f"There is no lab {str(lab)[:40]!r}.", f"Known labs: {labs}.")


def _from_source(file: Path) -> str:
    try:
        from labs_helper.course import authoring

        return authoring.learner_text(file)
    except ImportError as error:
        raise LabError(
            f"{file.name} cannot be turned into a notebook: {error}.", "Run `make setup`; it installs what is missing."
        ) from error


def _keep(content: bytes, notebook: Path) -> Path:
    """Write a copy beside a notebook under a name that no file has yet."""
    now, number = datetime.now().strftime("%Y-%m-%d-%H%M%S"), 1
    while True:
        more = "" if number == 1 else f"-{number}"
        copy = notebook.with_name(f"{notebook.stem}.copy-{now}{more}.ipynb")
        try:
            with copy.open("xb") as file:  # x: refuses a name that is taken, also by somebody else just now
                _fill(file, content)
        except FileExistsError:
            number += 1
        except BaseException:
            copy.unlink(missing_ok=True)
            raise
        else:
            return copy


def put(notebook: Path, content: bytes) -> None:
    """Write a file whole or not at all.

    Example:
        put(Path("notebooks/01-instruct.ipynb"), text.encode())
    """
    temporary = notebook.with_name(f".{notebook.name}.{secrets.token_hex(4)}.new")
    try:
        with temporary.open("xb") as file:
            _fill(file, content)
        os.replace(temporary, notebook)
    finally:
        temporary.unlink(missing_ok=True)


def _fill(file, content: bytes) -> None:
    file.write(content)
    file.flush()
    os.fsync(file.fileno())
