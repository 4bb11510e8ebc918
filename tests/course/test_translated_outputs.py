"""A reader of another language meets no English sentence in the labs that are offered, nor in what they show."""

from __future__ import annotations

import re
from pathlib import Path

import english
import nbformat
import pytest

from labs_helper.agent import sentences
from labs_helper.course.translation import offered

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
EDITIONS = sorted(
    path
    for language in offered.languages()
    for number in language.labs
    for pattern in (f"{number}-*.ipynb", f"solutions/{number}-*.ipynb")
    for path in (NOTEBOOKS / language.code).glob(pattern)
)
# What stays English, each for a reason.
MENUS = (r"Run > Run All Above Selected Cell", r"File > Save and Export Notebook As")
# A package of others says this, before the lab explains it.
OF_OTHERS = (r"\[transformers\] This model config has set a.*?model architectures\.",)
# The English of a term, in brackets after its translation: 건초 더미 속 바늘(needle in a haystack).
TERMS = (r"\((?:[a-z-]+ ){1,4}[a-z-]+\)",)
# What the bundled models write, in the words of their training, and the questions in it.
OF_MODELS = (
    r"[A-Z][a-z]+(?: [A-Z][a-z]+)* is (?:a city|a country) in [A-Z][a-z]+(?:[, ]+[A-Z][a-z]+)*",
    r"(?:The|and what about the) (?:capital of )?(?:the )?[A-Z][a-z]+(?: [A-Z][a-z]+)*(?: is [A-Z][a-z]+)?",
    r"You could visit[^\n]*",
    r"I do not know that(?:\. It is outside my small world\.)?",
    r"What would you like to know",
    r"[^\n]*<\|end\|><\|user\|>[^\n]*",  # an answer that nothing stopped
    r"Paris is a city in(?=\W)",  # an answer that stops before the country
    r"The answer is",
    r"(?:How old is )?the Eiffel Tower",
    r"(?:How many words are in \W*)?to be or(?:ion| not)? to be",
    r"The +colour +of(?: [a-z]+)*(?: is [a-z]+)?",
    r"(?:What colour is the|The|A [a-z]+) (?:circle|square|triangle|star|diamond|cross)(?: is [a-z]+)?",
    r"(?:What is the|The) value of [A-Z]+(?: is \d+)?",
    r"\ba shorter plan\b",  # a guess, quoted with its translation
)
# What the agent says to a model, word for word: labs_helper/agent/sentences.py says why.
TO_MODELS = (
    r"Send the corrected plan",
    *(
        re.sub(r"\\\{\w+\\\}", r"\\S+", re.escape(text.rstrip(".")))
        for text in (
            sentences.REQUEST,
            sentences.NOT_JSON,
            sentences.WRONG_NUMBER_OF_STEPS,
            sentences.NO_TOOL,
            sentences.UNKNOWN_REFERENCE,
            sentences.WRONG_CHOICE,
            sentences.WRONG_TYPE,
            sentences.EXPRESSION_TOO_LONG,
            sentences.EXPRESSION_REFUSED,
            sentences.NO_PLACE,
        )
    ),
)
# Papers keep their names.
TITLES = (r"A Mathematical Framework for Transformer Circuits", r"Attention is not Explanation")
ALLOWED = (*MENUS, *OF_OTHERS, *TERMS, *OF_MODELS, *TO_MODELS, *TITLES)


@pytest.mark.parametrize("path", EDITIONS, ids=lambda path: path.relative_to(NOTEBOOKS).as_posix())
def test_no_english_sentence_is_left(path):
    notebook = nbformat.read(path, as_version=4)
    allowed = [*ALLOWED, *english.written_by_the_author(notebook)]
    left = [
        f"cell {number}: {run}"
        for number, cell in enumerate(notebook.cells)
        for texts in (english.of_cell(cell), english.of_outputs(cell))
        for run in english.found(texts, allowed)
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
