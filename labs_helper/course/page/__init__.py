"""A notebook as one HTML file to keep, send or print: nothing of it is asked of the network.

JupyterLab offers it in File > Save and Export Notebook As; in a terminal it is `labs page`.
"""

from __future__ import annotations

import base64
import json
import mimetypes
from importlib import resources as files
from pathlib import Path
from typing import Any

from nbconvert import HTMLExporter

from labs_helper.catalog import course_folder
from labs_helper.common.files import write_whole
from labs_helper.common.translate import ENGLISH, _
from labs_helper.course.formulas import MathRenderer, WithFormulas
from labs_helper.course.timetable import lab_notebooks
from labs_helper.errors import BadRequest, LabError
from labs_helper.figures.base import DARK


class _Renderer(MathRenderer):
    """Also links within the page stay, and pictures of the course are found above the notebook's folder."""

    KEPT = (*MathRenderer.KEPT, "#")

    def _src_to_base64(self, src: str) -> str | None:  # nbconvert's own looks below the notebook's folder only
        found: str | None = super()._src_to_base64(src)
        return found or _of_the_course(Path(self.path, src))


class Page(WithFormulas, HTMLExporter):  # type: ignore[misc]  # nbconvert has no types
    """A notebook as one HTML file: no server, no kernel, no other file, no network.

    Formulas are MathML, pictures are inside, colours follow the reader's theme, and in print long lines are wrapped.

    Example:
        html, _resources = Page().from_filename("notebooks/01-instruct.ipynb")
    """

    RENDERER = _Renderer
    export_from_notebook = "HTML that needs no network"

    def __init__(self, **settings: Any) -> None:
        super().__init__(
            template_name="page",
            extra_template_basedirs=[str(files.files("labs_helper.course"))],
            embed_images=True,
            **settings,
        )

    def from_notebook_node(
        self, nb: Any, resources: dict[str, Any] | None = None, **settings: Any
    ) -> tuple[str, dict[str, Any]]:
        """The page, and nbconvert's notes about it."""
        # With the state of widgets, nbconvert would draw them with programs from the network; without it, it takes
        # the static form that each widget of ours has.
        nb = nb.copy()
        nb["metadata"] = {name: value for name, value in nb["metadata"].items() if name != "widgets"}
        self.language_code = nb["metadata"].get("labs", {}).get("language", ENGLISH)
        html, notes = super().from_notebook_node(nb, {**(resources or {}), "dark_charts": DARK}, **settings)
        return html, notes


def page(
    notebook: str, destination: Path | None = None, *, folder: Path | None = None, language: str | None = None
) -> Path:
    """Write a notebook as it was saved, with its answers and outputs, as one HTML file.

    Args:
        notebook: the number or file name of a lab, or the path of any notebook.
        destination: the HTML file; in `dist/` by default.
        folder: the notebooks folder; the course's own by default.
        language: of a lab that is named by its number, where it has an edition in it; English by default.

    Raises:
        BadRequest: there is no such lab or notebook.
        LabError: the file is not a notebook.

    Example:
        page("01")      # dist/01-instruct.html
    """
    folder = folder or course_folder() / "notebooks"
    if notebook.endswith(".ipynb"):
        source = Path(notebook)
        if not source.is_file():
            raise BadRequest(
                _("{path} is not here.").format(path=source), _("Name a lab, such as 01, or the path of a notebook.")
            )
    else:
        (source,) = lab_notebooks([notebook], folder=folder, language=language)
    if not _is_notebook(source):
        raise LabError(
            _("{path} is not a notebook.").format(path=source),
            _("Open it in JupyterLab to see what is wrong. `labs reset` gives a lab back as it was handed out."),
        )
    html, _notes = Page().from_filename(str(source.resolve()))
    spoken = "" if source.parent == folder or notebook.endswith(".ipynb") else f".{source.parent.name}"
    destination = destination or folder.parent / "dist" / f"{source.stem}{spoken}.html"
    destination.parent.mkdir(parents=True, exist_ok=True)
    write_whole(destination, html.encode())
    return destination


def _is_notebook(path: Path) -> bool:
    try:
        content = json.loads(path.read_text("utf-8"))
    except ValueError:  # no JSON, or no text
        return False
    return isinstance(content, dict) and isinstance(content.get("cells"), list) and "nbformat" in content


def _of_the_course(path: Path) -> str | None:
    """A picture among the course's own as an address that holds it. Other files above a notebook are not looked at."""
    images, found = (course_folder() / "images").resolve(), path.resolve()
    kind = mimetypes.guess_type(found.name)[0] or ""
    if not found.is_relative_to(images) or not kind.startswith("image/") or not found.is_file():
        return None
    return f"data:{kind};base64,{base64.b64encode(found.read_bytes()).decode()}"
