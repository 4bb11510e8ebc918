"""A reader of another language meets no English sentence in the labs that are offered, nor in what they show."""

from __future__ import annotations

from pathlib import Path

import english
import nbformat
import pytest

from labs_helper.course import slides
from labs_helper.course.page import Page
from labs_helper.course.translation import offered

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
EDITIONS = sorted(
    path
    for language in offered.languages()
    for number in language.labs
    for pattern in (f"{number}-*.ipynb", f"solutions/{number}-*.ipynb")
    for path in (NOTEBOOKS / language.code).glob(pattern)
)


@pytest.mark.parametrize("path", EDITIONS, ids=lambda path: path.relative_to(NOTEBOOKS).as_posix())
def test_no_english_sentence_is_left(path):
    notebook = nbformat.read(path, as_version=4)
    allowed = [*english.ALLOWED, *english.written_by_the_author(notebook)]
    left = [
        f"cell {number}: {run}"
        for number, cell in enumerate(notebook.cells)
        for texts in (english.of_cell(cell), english.of_outputs(cell))
        for run in english.found(texts, allowed, language=path.relative_to(NOTEBOOKS).parts[0])
    ]
    assert left == []


def test_the_scanner_finds_english_wherever_a_reader_meets_it():
    svg = "PHN2Zz48dGV4dD5wb3NpdGlvbiBpbiB0aGUgdGV4dDwvdGV4dD48L3N2Zz4="  # a picture with a label
    markup = (
        '<p>모델 <b>4</b></p><img alt="a map of the labs"><button title="Stop the answer"></button>'
        f"<img src='data:image/svg+xml;base64,{svg}'><style>color: of the page</style>"
    )
    assert english.found(english.of_html(markup)) == ["position in the text", "a map of the labs", "Stop the answer"]
    assert english.found(["토큰 3개. Nothing is left here."], ()) == ["Nothing is left here"]
    cells = [
        nbformat.v4.new_markdown_cell("글입니다.\n\n- This is a sentence.\n\n`run it as you like`"),
        nbformat.v4.new_code_cell('ask("Where is the sea?")  # your turn to ask\nprint("It is done.")'),
    ]
    cells[1].outputs = [nbformat.v4.new_output("stream", text="Where is the sea?\nIt was not found.\n")]
    assert english.found(english.of_cell(cells[0])) == ["This is a sentence"]
    assert set(english.found(english.of_cell(cells[1]))) == {"your turn to ask", "It is done"}
    notebook = nbformat.v4.new_notebook(cells=cells)
    allowed = english.written_by_the_author(notebook)
    assert english.found(english.of_outputs(cells[1]), allowed) == ["It was not found"]


@pytest.mark.parametrize(
    "text", ["Changsha, Hunan, China", "Run, Stop, Ask", "labs_helper 0.1.0, mlx-lm", "토큰 three of"]
)
def test_names_are_no_sentence(text):
    assert english.found([text]) == []


@pytest.mark.parametrize(
    "path", [path for path in EDITIONS if path.match("*/solutions/00-*")], ids=lambda path: path.parts[-3]
)
def test_its_slides_and_its_page_name_its_language(path, tmp_path):
    """A screen reader takes the voice from it."""
    language = path.parts[-3]
    made = slides.slides("00", tmp_path / "slides.html", language=language)
    assert f'<html lang="{language}">' in made.read_text("utf-8")
    html, _notes = Page().from_filename(str(path))
    assert f'<html lang="{language}">' in html
