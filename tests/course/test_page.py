"""A notebook as one page: nothing is asked of the network, formulas are drawn, and other files are refused."""

from __future__ import annotations

import json
import re

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from labs_helper.catalog import course_folder
from labs_helper.course.page import Page, page
from labs_helper.errors import BadRequest, LabError

CELLS = [
    "# Mine\n\nInline $x_1$, wrong $\\left(a$, and a block:\n\n$$\\frac{a}{b}$$\n",
    "\\begin{align}a &= b\\end{align}",
    "A [lab](01-instruct.ipynb), a [part](#Mine), a [page](https://example.org/x).",
    "```mermaid\ngraph TD; A-->B\n```",
    "![a star](../images/vision/one-shape.png) <img src='../images/vision/one-shape.png' alt='the same'>",
    "![none](../pyproject.toml)",
]


@pytest.fixture
def mine(tmp_path):
    """A notebook with formulas, pictures, links, a live widget and its static form."""
    view = {"model_id": "a" * 32, "version_major": 2, "version_minor": 0}
    live = {"application/vnd.jupyter.widget-view+json": view, "text/html": "<p>the static form</p>"}
    cells = [new_markdown_cell(text) for text in CELLS]
    outputs = [new_output("display_data", data=live), new_output("display_data", data={"text/latex": "$$y^2$$"})]
    cells.append(new_code_cell("chat()", outputs=outputs, execution_count=1))
    state = {"application/vnd.jupyter.widget-state+json": {"version_major": 2, "state": {"a" * 32: {}}}}
    notebook = new_notebook(cells=cells, metadata={"widgets": state})
    path = tmp_path / "mine.ipynb"
    nbformat.write(notebook, path)
    return path


def external(html: str) -> list[str]:
    """What a browser would fetch."""
    return re.findall(
        r"""(?:<script[^>]*\bsrc=|<link[^>]*\bhref=|<img[^>]*\bsrc=|url\(|import\s)["']?(?!data:)([^"')]+)""", html
    )


def test_a_page_holds_all_it_needs(mine, tmp_path):
    # As JupyterLab exports: the folder is that of the notebook, and here it is one of the course.
    html, _notes = Page().from_notebook_node(
        nbformat.read(mine, as_version=4), {"metadata": {"path": str(course_folder() / "notebooks"), "name": "mine"}}
    )
    assert external(html) == ["../pyproject.toml"], "a file that is no picture of the course is not read"
    assert html.count("<math") == 4 and "<mfrac>" in html and "<msup>" in html
    assert "<code>\\left(a</code>" in html, "a formula that cannot be read stays as it was written"
    assert len(re.findall(r"<img [^>]*data:image/png;base64", html)) == 2
    assert "the static form" in html and "widget-view" not in html
    assert 'href="https://example.org/x"' in html and 'href="#Mine"' in html and "01-instruct.ipynb" not in html
    assert 'media="screen and (prefers-color-scheme: dark)"' in html and "mermaid.esm" not in html
    assert json.loads(mine.read_text("utf-8"))["metadata"]["widgets"], "the notebook itself stays as it is"


def test_the_check_of_what_is_fetched_can_fail():
    html = '<script src="https://a/x.js"></script><style>a { background: url(b.png) }</style><link rel=x href="c">'
    assert external(html) == ["https://a/x.js", "b.png", "c"]


def test_a_lab_by_number_and_any_notebook_by_path(mine, tmp_path):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks/09-mine.ipynb").write_bytes(mine.read_bytes())
    written = page("09", folder=tmp_path / "notebooks")
    assert written == tmp_path / "dist/09-mine.html" and "<title>09-mine</title>" in written.read_text("utf-8")
    assert page(str(mine), tmp_path / "new/own.html").is_file()


@pytest.mark.parametrize("content", [b"{}", b"[1]", b"no JSON", b"\xff\xfe", b'{"cells": 3, "nbformat": 4}'])
def test_what_is_no_notebook_is_refused(content, tmp_path):
    path = tmp_path / "bad.ipynb"
    path.write_bytes(content)
    with pytest.raises(LabError, match="is not a notebook"):
        page(str(path), tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_a_notebook_that_is_not_here_is_refused(tmp_path):
    for name in ("99", str(tmp_path / "none.ipynb")):
        with pytest.raises(BadRequest):
            page(name)


def test_jupyterlab_can_offer_it():
    """It lists what has a name for its menu and can be made from nothing but the server's settings."""
    from importlib.metadata import entry_points

    offered = {each.name: each.load() for each in entry_points(group="nbconvert.exporters", name="offline-page")}
    assert offered == {"offline-page": Page} and Page(config=None).export_from_notebook


def test_a_lab_is_written_in_the_language_that_is_asked_for(tmp_path):
    there = tmp_path / "notebooks"
    (there / "ko").mkdir(parents=True)
    for folder, words in ((there, "English"), (there / "ko", "한국어")):
        cells = [nbformat.v4.new_markdown_cell(f"# {words}")]
        nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / "09-more.ipynb")
    english, korean = page("09", folder=there), page("09", folder=there, language="ko")
    assert (english.name, korean.name) == ("09-more.html", "09-more.ko.html")
    assert "한국어" in korean.read_text("utf-8") and "한국어" not in english.read_text("utf-8")
    assert page("09", folder=there, language="es") == english  # no such edition
