"""Slides of a lab, from its solution edition."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from labs_helper.common import translate
from labs_helper.common.files import write_whole
from labs_helper.common.translate import _
from labs_helper.course.timetable import HEADING, TIME, from_its_heading, lab_notebooks
from labs_helper.course.translation import offered
from labs_helper.errors import LabError

_KINDS = ("fragment", "notes", "skip", "slide")  # tags of cells, which are also nbconvert's slide types
_REVEALS = re.compile(r"\breveal\(")  # the result of a guess: not on the slide on which the room still guesses
_ASKS = re.compile(r"^(check|hint|check_setup|predict)\(", re.M)  # nothing to show, or an answer
_UP_TO_IMAGES = re.compile(r"(\]\(|\bsrc=\")(?:\.\./)+images/")
_SECTION = re.compile(r"^## (\d+)\. ")


def slides(
    lab: str, destination: Path | None = None, *, folder: Path | None = None, language: str | None = None
) -> Path:
    """Write the slides of a lab, as one HTML file that needs nothing else, with the outputs of the solution edition.

    Every cell tagged `slide` begins a slide, `fragment` a step of one, `notes` speaker's notes; `skip` leaves a cell
    out. A notebook without such a tag gets a slide for each heading, one for each cell of code after the first of a
    slide, and one for each result that is guessed first. Answers of exercises are left out either way, and so is the
    check of the machine. The speaker's notes of a section also hold what the teaching guide says about it.

    Args:
        lab: its number or file name.
        destination: the HTML file; in `dist/` by default.
        folder: the notebooks folder; the course's by default.
        language: of the edition, where the lab has one, and of the notes, where the guide has one.

    Raises:
        BadRequest: there is no such lab.
        LabError: its solution edition is not here, or a package that slides are made of.

    Example:
        slides("01")      # dist/01-instruct.slides.html
    """
    import nbformat

    from labs_helper.course.deck import Deck

    learner = lab_notebooks([lab], folder=folder, language=language)[0]
    english = lab_notebooks([lab], folder=folder)[0]
    root = english.parent.parent
    path = learner.parent / "solutions" / learner.name
    if not path.exists():
        raise LabError(
            _("{path} is not here.").format(path=path),
            _("Slides show stored outputs: use the whole repository, not the zip."),
        )
    spoken = "" if learner == english else f".{learner.parent.name}"
    destination = destination or root / "dist" / f"{learner.stem}{spoken}.slides.html"
    notebook = nbformat.read(path, as_version=4)
    guide = f"docs/teaching/{learner.stem[:2]}.md"
    told = offered.file_of(guide, learner.parent.name) if spoken else guide
    notebook.cells = _with_notes(notebook.cells, _rows(root / guide), _rows(root / told))
    _mark_slides(notebook.cells)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":  # nbconvert takes no picture from above the folder that it is told
            cell.source = _UP_TO_IMAGES.sub(r"\1images/", cell.source)
    titles = (HEADING.search(cell.source) for cell in notebook.cells if cell.cell_type == "markdown")
    title = next((TIME.sub("", heading[1]) for heading in titles if heading), learner.stem)
    deck = Deck(title)
    deck.language_code = notebook.metadata.get("labs", {}).get("language", translate.ENGLISH)
    html, _resources = deck.from_notebook_node(notebook, {"metadata": {"path": str(root)}})
    destination.parent.mkdir(parents=True, exist_ok=True)
    write_whole(destination, html.encode())
    return destination


def _with_notes(cells: list[Any], guide: list[list[str]], told: list[list[str]]) -> list[Any]:
    """The cells, with what the guide says of a section as notes after its heading, told in another language."""
    from nbformat.v4 import new_markdown_cell

    noted: list[Any] = []
    for cell in cells:
        noted.append(cell)
        number = _SECTION.match(from_its_heading(cell.source)) if cell.cell_type == "markdown" else None
        if number and (notes := _notes(guide, told or guide, number[1])):
            noted.append(new_markdown_cell(notes, metadata={"tags": ["notes"]}))
    return noted


def _rows(guide: Path) -> list[list[str]]:
    """The rows of a guide's tables; none if there is no such guide."""
    lines = guide.read_text("utf-8").splitlines() if guide.is_file() else []
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines if line.startswith("|")]
    return [[part.strip().replace(r"\|", "|") for part in row] for row in rows]  # no table around it: no escape


def _notes(guide: list[list[str]], told: list[list[str]], number: str) -> str:
    """What the guide's tables say of a section: misconceptions that its cells answer, and what to do, as a list.

    Which rows those are the English guide says; a translation has the same rows.
    """
    here = re.compile(rf"\bsection {number}\b")
    both = list(zip(guide, told, strict=True))
    in_short = [said[1] for row, said in both if len(row) == 2 and row[0].startswith(f"{number}. ")]
    thought = [f"{said[0]} {said[2]}" for row, said in both if len(row) == 3 and here.search(row[1])]
    return "\n".join(f"- {text}" for text in in_short + thought)


def _mark_slides(cells: list[Any]) -> None:
    """Turn tags into the slide types that nbconvert knows."""
    tags = [set(cell["metadata"].get("tags", [])) for cell in cells]
    tagged = any(own & {"slide", "fragment"} for own in tags)
    code_before = False  # on this slide
    for cell, own in zip(cells, tags, strict=True):
        text, is_code = cell.source, cell.cell_type == "code"
        kind = "-"
        if {"solution", "skip"} & own or (is_code and _ASKS.search(text)) or not text.strip():
            kind = "skip"
        elif tagged or "notes" in own:
            kind = next((kind for kind in _KINDS if kind in own), "-")
        elif HEADING.match(from_its_heading(text)) if not is_code else code_before or _REVEALS.search(text):
            kind = "slide"
        if kind != "skip":
            code_before = is_code or (code_before and kind != "slide")
        cell["metadata"]["slideshow"] = {"slide_type": kind}
