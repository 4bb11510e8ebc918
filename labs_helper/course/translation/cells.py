"""The cells of a lab in another language. Their code, ids, tags and minutes stay as they are."""

from __future__ import annotations

import re
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import labs_helper
from labs_helper.common import po
from labs_helper.common.translate import _, _n, speaking
from labs_helper.course import editions
from labs_helper.course.translation import blocks, code, offered
from labs_helper.course.translation.sources import pieces
from labs_helper.errors import LabError

if TYPE_CHECKING:
    from nbformat import NotebookNode

_SIBLING = re.compile(r"(\]\()((\d\d)-[a-z0-9-]+\.ipynb)")
_DOCUMENT = re.compile(r"(\]\((?:\.\./)+)docs/([\w-]+\.md)")


def translated(cells: list[NotebookNode], catalog: po.Catalog, language: str) -> list[NotebookNode]:
    """The cells with their units in another language; where one has no translation, English and a line that says so.

    Args:
        cells: of the source, as `editions.read` gives them.
        catalog: the translations of the lab.
        language: its code.

    Raises:
        LabError: a translation changes what a cell does.

    Example:
        translated(editions.read(source), po.read(file), "ko")
    """
    fresh = []
    for cell in cells:
        new = deepcopy(cell)
        if cell.cell_type == "code":
            new.source = code.translated(cell.source, catalog.texts.get)
            if not code.same_code(cell.source, new.source):
                raise LabError(
                    _("A translation changes what this cell does: {cell!r}.").format(cell=cell.source[:60]),
                    _("Correct the texts of this cell in the PO file."),
                )
        else:
            new.source = blocks.join(blocks.cut(cell.source), catalog.texts.get)
            missing = sum(piece.text not in catalog.texts for piece in pieces("markdown", cell.source))
            if missing:
                new.source = f"{new.source.rstrip()}\n\n{_mark(missing, language)}\n".rstrip()
        fresh.append(new)
    return fresh


def edition(
    cells: list[NotebookNode],
    kind: Literal["learner", "solution"],
    language: str,
    labs: tuple[str, ...],
    documents: Path,
) -> NotebookNode:
    """One edition of translated cells, with its language and the package's version in its metadata.

    Args:
        cells: as `translated` gives them.
        kind: which edition.
        language: its code.
        labs: the labs that are offered in this language; links to others lead to the English ones.
        documents: the folder of the translated documents; links lead there where one exists.
    """
    notebook = editions.edition(cells, kind, depth=1)
    notebook.metadata["labs"] = {"language": language, "version": labs_helper.__version__}
    english = "../" if kind == "learner" else "../../solutions/"
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = _SIBLING.sub(lambda m: m[0] if m[3] in labs else f"{m[1]}{english}{m[2]}", cell.source)
            cell.source = _DOCUMENT.sub(
                lambda m: f"{m[1]}docs/{language}/{m[2]}" if (documents / m[2]).is_file() else m[0], cell.source
            )
    return notebook


def pair(source: Path, language: offered.Language) -> tuple[NotebookNode, NotebookNode]:
    """The learner and the solution edition of a lab in another language, without outputs.

    Args:
        source: the file in `notebooks/src/`; the translations are in `notebooks/locale/`.
        language: what it is.
    """
    folder = source.parents[1]
    catalog = po.read(folder / "locale" / language.code / f"{source.stem}.po")
    words = translated(editions.read(source), catalog, language.code)
    documents = folder.parent / "docs" / language.code
    return (
        edition(words, "learner", language.code, language.labs, documents),
        edition(words, "solution", language.code, language.labs, documents),
    )


def learner_text_in(source: Path, language: str) -> str:
    """The learner edition of a source in another language, as the text of its file.

    Example:
        learner_text_in(Path("notebooks/src/00-start-here.py"), "ko")
    """
    table = source.parents[2] / "labs_helper" / "locale" / offered.TABLE
    return editions.text(pair(source, offered.find(language, table))[0])


def _mark(count: int, language: str) -> str:
    with speaking(language):
        text = _n(
            "{count} paragraph above is in English: its translation is not ready.",
            "{count} paragraphs above are in English: their translation is not ready.",
            count,
        )
        return f"*{text.format(count=count)}*"
