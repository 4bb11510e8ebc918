"""Give a lab back as it was handed out, and keep the learner's version.

The notebook as handed out comes from its source in `notebooks/src/`; an edition without sources (the zip of
`labs workshop zip`) brings it in `data/notebooks/`. Neither a network nor git is needed.

Example:
    from labs_helper.course.reset import restore
    restore("01")          # in a terminal: labs reset 01
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from labs_helper.catalog import course_folder
from labs_helper.catalog.labs import NOTEBOOKS, SOURCES, normal, pick
from labs_helper.common import platforms, translate
from labs_helper.common.files import dated_copy, write_whole
from labs_helper.common.translate import _, _n
from labs_helper.errors import BadRequest, LabError
from labs_helper.exercises import progress


@dataclass(frozen=True)
class Restored:
    """What `restore` did.

    Attributes:
        notebook: the lab.
        copy: the learner's version, or None where there was nothing to keep.
        changed: whether the notebook was not yet as it was handed out.
        guesses: how many guesses of `predict` were removed.
    """

    notebook: Path
    copy: Path | None
    changed: bool
    guesses: int = 0

    def __str__(self) -> str:
        removed = _n("{count} guess was removed.", "{count} guesses were removed.", self.guesses)
        guesses = [removed.format(count=self.guesses)] if self.guesses else []
        if not self.changed:
            unchanged = _("{name} is as it was handed out: nothing to do.").format(name=self.notebook.name)
            return " ".join([unchanged, *guesses])
        sentences = [_("{name} is as it was handed out.").format(name=self.notebook.name), *guesses]
        if self.copy:
            sentences.append(_("Your version is now {name}, in the same folder.").format(name=self.copy.name))
        reload = _(
            "If it is open in JupyterLab, choose File > Reload Notebook from Disk, and do not save it first. If "
            "JupyterLab says File Changed, choose Revert."
        )
        return f"{' '.join(sentences)}\n{reload}"

    __repr__ = __str__


def restore(lab: str | int, *, folder: Path | None = None, language: str | None = None) -> Restored:
    """Restore the learner edition of a lab; the learner's version is kept beside it, under a dated name.

    An earlier copy is never overwritten. The copy is complete on disk before the notebook changes, and the notebook
    changes in one step. Then the guesses that the learner made in this lab are removed.

    Args:
        lab: a number ("01", 1) or a file name ("01-instruct").
        folder: the notebooks folder; the course's by default.
        language: of the edition; by default the one that is spoken here, if the lab has an edition in it.

    Raises:
        BadRequest: there is no such lab, or no edition of it in that language.
        LabError: a file cannot be written, or the guesses cannot be removed now.

    Example:
        restore("01").copy      # notebooks/01-instruct.copy-2026-03-01-141500.ipynb
    """
    folder = _folder(folder)
    spoken = _offered(lab, language, folder)
    stem, text = pristine(lab, folder=folder, language=spoken)
    notebook, wanted = (folder / spoken if spoken else folder) / f"{stem}.ipynb", text.encode()
    try:
        mine = notebook.read_bytes() if notebook.exists() else None
        # A git that writes CRLF (core.autocrlf) changes every line and nothing that the learner wrote.
        if mine is not None and mine.replace(b"\r\n", b"\n") == wanted:
            return Restored(notebook, None, changed=False, guesses=progress.forget_guesses(stem[:2]))
        copy = None if mine is None else dated_copy(notebook, mine)
        write_whole(notebook, wanted)
    except OSError as error:
        raise LabError(
            _("{notebook} could not be restored ({reason}).").format(notebook=notebook, reason=error.strerror or error),
            _("It is unchanged. Check that the disk has space and that you can write in this folder."),
        ) from error
    return Restored(notebook, copy, changed=True, guesses=progress.forget_guesses(stem[:2]))


def pristine(lab: str | int, *, folder: Path | None = None, language: str = "") -> tuple[str, str]:
    """The learner edition of a lab as it was handed out: its file name without ending, and its text.

    Args:
        lab: a number or a file name.
        folder: the notebooks folder; the course's by default.
        language: the code of a language that offers the lab; empty for English.

    Raises:
        BadRequest: there is no such lab.
        LabError: the package that reads sources is missing.

    Example:
        pristine("00")[0]      # '00-start-here'
    """
    folder = _folder(folder)
    stored = folder.parent / "data" / "notebooks" / language
    file = pick([*sorted((folder / "src").glob(SOURCES)), *sorted(stored.glob(NOTEBOOKS))], lab)[0]
    return file.stem, file.read_text("utf-8") if file.suffix == ".ipynb" else _from_source(file, language)


def _folder(folder: Path | None) -> Path:
    return course_folder() / "notebooks" if folder is None else Path(folder)


def _offered(lab: str | int, language: str | None, folder: Path) -> str:
    """The language of the edition to restore; empty for English."""
    from labs_helper.course.translation import offered

    wanted = translate.code(language or translate.language())
    known = offered.languages(folder.parent / "labs_helper" / "locale" / offered.TABLE)
    labs = {spoken.code: spoken.labs for spoken in known}.get(wanted, ())
    if wanted == translate.ENGLISH or normal(lab)[:2] in labs:
        return "" if wanted == translate.ENGLISH else wanted
    if language is None:
        return ""
    raise BadRequest(
        _("Lab {lab} has no edition in the language {language!r}.").format(lab=normal(lab)[:2], language=language[:40]),
        _("It has: {languages}.").format(
            languages=", ".join(["en", *(spoken.code for spoken in known if normal(lab)[:2] in spoken.labs)])
        ),
    )


def _from_source(file: Path, language: str) -> str:
    try:
        from labs_helper.course.editions import learner_text

        if language:
            from labs_helper.course.translation.cells import learner_text_in

            return learner_text_in(file, language)
        return learner_text(file)
    except ImportError as error:  # jupytext, which an installation for learners may lack
        raise LabError(
            _("{name} cannot be turned into a notebook: {reason}.").format(name=file.name, reason=error),
            _("Run `{command}`; it installs what is missing.").format(command=platforms.command("setup")),
        ) from error
