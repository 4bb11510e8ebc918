"""Slides of a lab, from its solution edition."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

from labs_helper.common.files import write_whole
from labs_helper.common.translate import _
from labs_helper.course.timetable import HEADING, lab_notebooks
from labs_helper.errors import LabError

_KINDS = ("fragment", "notes", "skip", "slide")  # tags of cells, which are also nbconvert's slide types
_ASKS = re.compile(r"^(check|hint)\(", re.M)


def slides(lab: str, destination: Path | None = None, *, reveal: str | None = None, folder: Path | None = None) -> Path:
    """Write the slides of a lab, as one HTML file for a browser, with the stored outputs of the solution edition.

    Every cell tagged `slide` begins a slide, `fragment` a step of one, `notes` speaker's notes; `skip` leaves a cell
    out. A notebook without such a tag gets a slide for each heading. Answers of exercises are left out either way.

    Args:
        lab: its number or file name.
        destination: the HTML file; in `dist/` by default.
        reveal: where the browser finds reveal.js: an address, or a folder as seen from the file. nbconvert's own
            choice is a server on the internet.
        folder: the notebooks folder; the course's by default.

    Raises:
        BadRequest: there is no such lab.
        LabError: its solution edition is not here.

    Example:
        slides("01")      # dist/01-instruct.slides.html
    """
    from nbconvert import SlidesExporter

    learner = lab_notebooks([lab], folder=folder)[0]
    notebook = learner.parent / "solutions" / learner.name
    if not notebook.exists():
        raise LabError(
            _("{path} is not here.").format(path=notebook),
            _("Slides show stored outputs: use the whole repository, not the zip."),
        )
    destination = destination or learner.parent.parent / "dist" / f"{learner.stem}.slides.html"
    exporter = SlidesExporter()
    if reveal:
        exporter.reveal_url_prefix = reveal
    content = json.loads(notebook.read_text("utf-8"))
    _mark_slides(content["cells"])
    html, _resources = exporter.from_file(io.StringIO(json.dumps(content)), {"metadata": {"name": learner.stem}})
    destination.parent.mkdir(parents=True, exist_ok=True)
    write_whole(destination, html.encode())
    return destination


def _mark_slides(cells: list[dict[str, Any]]) -> None:
    """Turn tags into the slide types that nbconvert knows."""
    tags = [set(cell["metadata"].get("tags", [])) for cell in cells]
    tagged = any(own.intersection(_KINDS) for own in tags)
    for cell, own in zip(cells, tags, strict=True):
        text = "".join(cell["source"])
        if {"solution", "skip"} & own or (cell["cell_type"] == "code" and _ASKS.search(text)):
            kind = "skip"
        elif tagged:
            kind = next((kind for kind in _KINDS if kind in own), "-")
        else:
            kind = "slide" if cell["cell_type"] == "markdown" and HEADING.match(text) else "-"
        cell["metadata"]["slideshow"] = {"slide_type": kind}
