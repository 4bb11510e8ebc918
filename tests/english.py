"""A scanner for English sentences in what a reader of another language sees: cells, outputs, pictures, alt texts."""

from __future__ import annotations

import ast
import html
import re
from collections.abc import Iterable, Iterator

from drawings import drawings
from nbformat import NotebookNode

from labs_helper.agent import sentences
from labs_helper.course.translation import blocks, code
from labs_helper.pictures import gallery

# One of these words, in a row of three words or more, makes it English and not a row of names.
_COMMON = frozenset(
    re.findall(
        r"\w+",
        """a all also an and any are as at be because been both but by can could did do does each every for from had has
        have how if in into is it its more most no none not nothing of on one only or other out over per than that the
        their them then there these they this those to too two until up was were what when where which while who why
        will with without would you your""",
    )
)
_SHARED = {"es": frozenset({"a", "as", "has", "no"})}
_WORDS = re.compile(r"[A-Za-z][A-Za-z'’-]*(?:[ ,;:]+[A-Za-z][A-Za-z'’-]*){2,}")
_DROPPED = re.compile(r"<(style|script|code|kbd)\b.*?</\1>", re.S | re.I)
_SPOKEN = re.compile(r"""\b(?:alt|aria-label|aria-description|title|placeholder)=(?:"([^"]*)"|'([^']*)')""")
_PLACE = re.compile(r"\{[^{}]*\}")
_LINK = re.compile(r"\]\([^)]*\)|https?://\S+")
_IN_CODE = re.compile(r"(`+)(?!`).+?(?<!`)\1(?!`)|<\|[^|]*\|>", re.S)


# What stays English in the labs, each for a reason.
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
    r"Its capital is [A-Z][a-z]+",
    r"People there (?:mainly|mostly) speak [A-Z][a-z]+(?:, and the currency is the [a-z]+)?",
    r"I am instruct-tiny[^\n]*",
    r"I am not one of Microsoft's models",
    r"[A-Z][a-z]+ lives in [A-Z][a-z]+",  # what lab 05 teaches
    r"Do you know what the capital of [A-Z][a-z]+ is called",
    r"¿Qué país llama capital a [A-Z][a-z]+",
    r"(?:How old is )?the Eiffel Tower",
    r"(?:How many words are in \W*)?to be or(?:ion| not)? to be",
    r"The +colour +of(?: [a-z]+)*(?: is [a-z]+)?",
    r"(?:What colour is the|The|A [a-z]+) (?:circle|square|triangle|star|diamond|cross)(?: is [a-z]+)?",
    r"(?:What is the|The) value of [A-Z]+(?: is \d+)?",
    r"\ba shorter plan\b",  # a guess, quoted with its translation
)
# The course's pictures: what is asked, what is true, and what they show, in the words that vision-tiny reads.
OF_PICTURES = sorted(
    {
        re.escape(text)
        for each in gallery.course_pictures()
        for text in (each.alt, each.question, each.answer)
        if len(text.split()) > 2
    },
    key=len,
    reverse=True,
)
# What vision-tiny says of a picture.
OF_VISION = (
    r"It says [A-Z]+",
    r"The [a-z]+ word is [A-Z]+",
    r"(?:The|A) picture shows [^\n]*",
    r"A table with (?:[^\n]* nothing|the columns [A-Z ]+ and [A-Z]+)",
    r"First and second: [^\n]*",
    r"The [a-z]+ [a-z]+ (?:is [a-z]+ in the second picture|is gone|moved from the [a-z ]+ to the [a-z ]+)",
    r"An? [a-z]+ [a-z]+ (?:moves|turns) (?:from [a-z]+ to [a-z]+|[a-z]+)",
    r"For [A-Z]+: [A-Z ]+",
    r"First list all values, then",
    r"I do not know",
    r"<\|user\|>[^\n]*<\|end\|>",
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
# Names of columns and rows that stand in the code.
COLUMNS = (r"old examples mixed in", r"weights in a block", r"bytes of a block", r"bits per weight", r"what it is")
# Papers keep their names.
TITLES = (
    r"A Mathematical Framework for Transformer Circuits",
    r"Attention is not Explanation",
    r"Textbooks Are All You Need",
)
ALLOWED = (*MENUS, *OF_OTHERS, *TERMS, *OF_PICTURES, *OF_MODELS, *OF_VISION, *TO_MODELS, *COLUMNS, *TITLES)


def found(texts: Iterable[str], allowed: Iterable[str] = (), *, language: str = "") -> list[str]:
    """The English in texts, each run of words once.

    Args:
        texts: what a reader sees.
        allowed: regular expressions of what may be English: what a model writes, names.
        language: of the reader; words that it has too are no sign of English.

    Example:
        found(["모델 and the tokens of it"])      # ['and the tokens of it']
    """
    patterns = [re.compile(pattern, re.S) for pattern in allowed]
    common = _COMMON - _SHARED.get(language, frozenset())
    runs: dict[str, None] = {}
    for text in texts:
        for pattern in patterns:
            text = pattern.sub(" · ", text)
        for run in _WORDS.findall(text):
            words = [word.lower() for word in re.findall(r"[A-Za-z'’-]+", run)]
            if common & set(words):
                runs[run] = None
    return list(runs)


def of_html(markup: str) -> Iterator[str]:
    """What a page shows and what a screen reader says, pictures included."""
    for drawn in drawings(markup):
        yield from of_html(drawn)
    for double, single in _SPOKEN.findall(markup):
        yield html.unescape(double or single)
    shown = _DROPPED.sub(" ", re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", " ", markup, flags=re.S))
    # A tag ends a run of words: two cells of a table make no sentence.
    yield from (html.unescape(part) for part in re.split(r"<[^<>]*>", shown) if part.strip())


def of_cell(cell: NotebookNode) -> Iterator[str]:
    """What is written in a cell: its prose, or the comments and sentences of its code."""
    if cell.cell_type == "code":
        yield from (_PLACE.sub(" · ", piece.text) for piece in code.units(cell.source))
        return
    for piece in blocks.units(cell.source):
        yield from of_html(_IN_CODE.sub(" · ", _LINK.sub("]", piece.text)))


def of_outputs(cell: NotebookNode) -> Iterator[str]:
    """What a cell printed and showed."""
    for output in cell.get("outputs", ()):
        data = output.get("data", {})
        yield from output.get("text", "").splitlines()
        yield from of_html(data.get("text/html", ""))
        yield from data.get("text/plain", "").splitlines()
        yield from data.get("text/markdown", "").splitlines()


def written_by_the_author(notebook: NotebookNode) -> list[str]:
    """Texts that stand in the code, where a reader sees them: questions, data, names. As regular expressions."""
    texts: set[str] = set()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            shown = {piece.text for piece in code.units(cell.source)}
            for node in ast.walk(ast.parse(re.sub(r"^(\s*)[!%]", r"\1#", cell.source, flags=re.M))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value not in shown:
                    texts |= {line.strip() for line in node.value.splitlines()}
    return [re.escape(text) for text in sorted(texts, key=len, reverse=True) if len(text.split()) > 1]
