"""How nbconvert writes slides that need nothing but their file: the template beside this, and what fills it."""

from __future__ import annotations

import base64
import re
from importlib import resources
from typing import TYPE_CHECKING, Any

from nbconvert import SlidesExporter

from labs_helper.common.translate import _
from labs_helper.course.formulas import WithFormulas
from labs_helper.errors import LabError

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from nbformat import NotebookNode


class Deck(WithFormulas, SlidesExporter):  # type: ignore[misc]  # nbconvert has no types
    """Slides as one HTML file: no server, no kernel, no other file.

    Args:
        title: what the browser's window is called.

    Raises:
        LabError: the package with reveal.js is not installed.

    Example:
        html, _resources = Deck("Instruct").from_notebook_node(notebook, {"metadata": {"path": "notebooks"}})
    """

    def __init__(self, title: str, **settings: Any) -> None:
        super().__init__(
            template_name="deck",
            extra_template_basedirs=[str(resources.files("labs_helper.course"))],
            embed_images=True,
            **settings,
        )
        self._deck = {"title": title, **_parts()}

    def from_notebook_node(
        self, nb: NotebookNode, resources: dict[str, Any] | None = None, **settings: Any
    ) -> tuple[str, dict[str, Any]]:
        """The page, and nbconvert's notes about it."""
        html, notes = super().from_notebook_node(nb, {**(resources or {}), "deck": self._deck}, **settings)
        return html, notes


def _parts() -> dict[str, str]:
    """The programs and styles of reveal.js, as they are in the package that brings them."""
    try:
        folder = resources.files("sphinx_revealjs") / "_static" / "revealjs"
    except ImportError as error:
        raise LabError(
            _("Slides need the package sphinx-revealjs."),
            _("Install it: pip install sphinx-revealjs"),
        ) from error
    styles = [folder / "dist" / "reveal.css", folder / "dist" / "theme" / "white-contrast.css"]
    return {
        # The theme's own font is another file: the system's is read as well.
        "styles": re.sub(r"@import[^;]*;", "", "\n".join(path.read_text("utf-8") for path in styles)),
        "reveal": _inline(folder / "dist" / "reveal.js"),
        "notes": _inline(folder / "plugin" / "notes" / "notes.js"),
    }


def _inline(program: Traversable) -> str:
    """A program as an address that holds it: written into the page, its text could end the element that holds it."""
    return "data:text/javascript;base64," + base64.b64encode(program.read_bytes()).decode()
