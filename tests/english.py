"""A scanner for English sentences in what a reader of another language sees: cells, outputs, pictures, alt texts."""

from __future__ import annotations

import ast
import base64
import html
import re
from collections.abc import Iterable, Iterator

from nbformat import NotebookNode

from labs_helper.course.translation import blocks, code

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
_WORDS = re.compile(r"[A-Za-z][A-Za-z'’-]*(?:[ ,;:]+[A-Za-z][A-Za-z'’-]*){2,}")
_DROPPED = re.compile(r"<(style|script|code|kbd)\b.*?</\1>", re.S | re.I)
_SPOKEN = re.compile(r"""\b(?:alt|aria-label|aria-description|title|placeholder)=(?:"([^"]*)"|'([^']*)')""")
_SVG = re.compile(r"data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)")
_PLACE = re.compile(r"\{[^{}]*\}")
_LINK = re.compile(r"\]\([^)]*\)|https?://\S+")
_IN_CODE = re.compile(r"(`+)(?!`).+?(?<!`)\1(?!`)|<\|[^|]*\|>", re.S)


def found(texts: Iterable[str], allowed: Iterable[str] = ()) -> list[str]:
    """The English in texts, each run of words once.

    Args:
        texts: what a reader sees.
        allowed: regular expressions of what may be English: what a model writes, names.

    Example:
        found(["모델 and the tokens of it"])      # ['and the tokens of it']
    """
    patterns = [re.compile(pattern, re.S) for pattern in allowed]
    runs: dict[str, None] = {}
    for text in texts:
        for pattern in patterns:
            text = pattern.sub(" · ", text)
        for run in _WORDS.findall(text):
            words = [word.lower() for word in re.findall(r"[A-Za-z'’-]+", run)]
            if _COMMON & set(words):
                runs[run] = None
    return list(runs)


def of_html(markup: str) -> Iterator[str]:
    """What a page shows and what a screen reader says, pictures included."""
    for encoded in _SVG.findall(markup):
        yield from of_html(base64.b64decode(encoded).decode("utf-8", "replace"))
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
