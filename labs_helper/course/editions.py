"""The two editions of a lab, made from its source. Nothing here runs a cell or writes a file but `write`.

`labs_helper.course.authoring` explains the source format, the tags and the rules.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from labs_helper.common.files import write_whole
from labs_helper.common.translate import _

if TYPE_CHECKING:
    from nbformat import NotebookNode

METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"file_extension": ".py", "mimetype": "text/x-python", "name": "python"},
}
_LINK = re.compile(r"""(\]\(|\b(?:src|href)=["'])(\.\./|solutions/)""")


def read(source: Path) -> list[NotebookNode]:
    """The cells of a source, with their metadata and a stable id.

    Example:
        [cell.cell_type for cell in read(Path("notebooks/src/01-instruct.py"))]
    """
    import jupytext

    cells: list[NotebookNode] = jupytext.reads(source.read_text("utf-8"), fmt="py:percent").cells
    seen: dict[str, int] = {}
    for cell in cells:
        # jupytext records blank lines so that it can restore the text; a notebook is never turned back here.
        for key in ("lines_to_next_cell", "lines_to_end_of_cell_marker"):
            cell.metadata.pop(key, None)
        # The id follows the text: a cell keeps it when others come and go around it.
        digest = hashlib.sha256(f"{cell.cell_type}\n{cell.source}".encode()).hexdigest()[:12]
        seen[digest] = seen.get(digest, 0) + 1
        cell.id = digest if seen[digest] == 1 else f"{digest}-{seen[digest]}"
    return cells


def tags(cell: NotebookNode) -> list[str]:
    """The tags of a cell.

    Example:
        "solution" in tags(cell)
    """
    return list(cell.metadata.get("tags", []))


def edition(cells: list[NotebookNode], kind: Literal["learner", "solution"], *, depth: int = 0) -> NotebookNode:
    """A notebook without outputs: the cells of one edition.

    Args:
        cells: of the source, as `read` gives them.
        kind: which edition.
        depth: how many folders below `notebooks/` the learner edition is; links are changed to match.

    Example:
        edition(read(source), "learner")
    """
    import nbformat

    left_out = {"learner": {"solution"}, "solution": {"exercise", "learner"}}[kind]
    notebook = nbformat.v4.new_notebook(metadata=fresh_metadata())
    notebook.nbformat_minor = 5
    for cell in cells:
        if left_out & set(tags(cell)):
            continue
        new_cell = nbformat.v4.new_code_cell if cell.cell_type == "code" else nbformat.v4.new_markdown_cell
        text = cell.source
        if cell.cell_type == "markdown":
            text = _moved(text, kind, depth)
        notebook.cells.append(new_cell(text, id=cell.id, metadata=dict(cell.metadata)))
    return notebook


def _moved(text: str, kind: Literal["learner", "solution"], depth: int) -> str:
    """A text with links as they are seen from the folder of an edition."""
    up = "../" * (depth + (kind == "solution"))
    beside = "" if kind == "solution" else "solutions/"
    return _LINK.sub(lambda m: m[1] + (f"{up}../" if m[2] == "../" else beside), text)


def fresh_metadata() -> NotebookNode:
    """The metadata of every notebook, as a copy that may be changed.

    Example:
        notebook.metadata = fresh_metadata()
    """
    import nbformat

    return nbformat.from_dict(json.loads(json.dumps(METADATA)))


def learner_text(source: Path) -> str:
    """The learner edition of a source, as the text of its file.

    Example:
        learner_text(Path("notebooks/src/00-start-here.py"))
    """
    return text(edition(read(source), "learner"))


def broken_rules(name: str, cells: list[NotebookNode]) -> list[str]:
    """The rules on tags and stubs that a source breaks, one sentence each.

    Args:
        name: the file name of the source, for the sentences.
        cells: its cells, as `read` gives them.

    Example:
        broken_rules("01-instruct.py", read(source))      # []
    """
    problems = []
    code = [cell for cell in cells if cell.cell_type == "code"]
    for cell in cells:
        if cell.cell_type not in ("code", "markdown"):
            problems.append(
                _("{name}: a cell is of the kind {kind!r}. Only code and Markdown are allowed.").format(
                    name=name, kind=cell.cell_type
                )
            )
        if cell.cell_type != "code" and "exercise" in tags(cell):
            problems.append(
                _("{name}: the tag `exercise` belongs on the code cell with the stub, not on prose.").format(name=name)
            )
    for number, cell in enumerate(code):
        if "exercise" in tags(cell):
            problems += _stub_problems(name, cell, code[number + 1 :])
    return problems


def _stub_problems(name: str, stub: NotebookNode, following: list[NotebookNode]) -> list[str]:
    solution: list[str] = []
    for cell in following:
        if "solution" not in tags(cell):
            break
        solution += [line.strip() for line in cell.source.splitlines()]
    lines = [line.strip() for line in stub.source.strip().splitlines()]
    if not solution:
        return [
            _("{name}: the stub that begins {line!r} needs a `solution` code cell right after it.").format(
                name=name, line=lines[0] if lines else _("(empty)")
            )
        ]
    return [
        _("{name}: the stub line {line!r} is not in its solution.").format(name=name, line=line)
        for line in lines
        if line and not line.startswith("#") and "..." not in line and line not in solution
    ]


def load(path: Path) -> NotebookNode:
    """A stored notebook.

    Example:
        load(Path("notebooks/01-instruct.ipynb")).cells
    """
    import nbformat

    return nbformat.read(path, as_version=4)


def text(notebook: NotebookNode) -> str:
    """The text of a notebook's file.

    Example:
        text(notebook)
    """
    import nbformat

    return f"{nbformat.writes(notebook)}\n"


def write(path: Path, notebook: NotebookNode) -> None:
    """Write a notebook in one step, if it is valid.

    Example:
        write(Path("notebooks/01-instruct.ipynb"), notebook)
    """
    import nbformat

    nbformat.validate(notebook)
    write_whole(path, text(notebook).encode())
