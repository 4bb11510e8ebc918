"""Comments and sentences inside the code of a cell: find them, and put others in their place.

What runs is the same in every language, and `same_code` proves it on the syntax tree. Only comments, docstrings, the
literal texts that `print` shows and the words of a figure (its title, its takeaway ...) may differ.
"""

from __future__ import annotations

import ast
import io
import re
import textwrap
import tokenize
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from labs_helper.common.markup import columns
from labs_helper.course.translation.blocks import Kind, Piece

WIDTH = 110  # columns of a comment that is wrapped again; a Hangul syllable has two
_LITERAL = re.compile(r"""([fFrRuU]*)("(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')""")
_PLACE = re.compile(r"\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\}")
_ESCAPE = re.compile(r"\\.")
_WORD = re.compile(r"[^\W\d_]{2,}")
_OF_FIGURES = frozenset(
    {"takeaway", "title", "unit", "alt", "label", "xlabel", "ylabel", "what"}
)  # arguments that are words
_IPYTHON = re.compile(r"^(\s*)[!%]", re.M)


@dataclass(frozen=True)
class _Span:
    """A unit in code: where it starts and ends, and what has to be kept around its translation."""

    start: int
    end: int
    text: str
    kind: Kind
    indent: str = ""


def units(code: str) -> Iterator[Piece]:
    """The comments and sentences of a cell, in order.

    Example:
        [piece.text for piece in units('print("It fits.")  # your turn')]      # ['It fits.', 'your turn']
    """
    return (
        Piece(code[span.start : span.end], span.text, span.kind, code.count("\n", 0, span.start))
        for span in _spans(code)
    )


def translated(code: str, translate: Callable[[str], str | None]) -> str:
    """The code with the units that have a translation in other words.

    Example:
        translated("x = ...  # your turn", {"your turn": "직접 해 보세요"}.get)      # 'x = ...  # 직접 해 보세요'
    """
    for span in reversed(list(_spans(code))):
        words = translate(span.text)
        if words is not None:
            put = _comment(words, span.indent) if span.kind == "comment" else words
            code = code[: span.start] + put + code[span.end :]
    return code


def same_code(one: str, other: str) -> bool:
    """Whether two cells do the same: one syntax tree, texts that only a reader sees aside.

    Example:
        same_code("print('yes')  # a", "print('네')")      # True
    """
    try:
        return _shape(one) == _shape(other)
    except SyntaxError:
        return False


def _spans(code: str) -> list[_Span]:
    return sorted([*_comments(code), *_texts(code)], key=lambda span: span.start)


def _plain(code: str) -> str:
    """The code without what IPython alone understands, at the same places."""
    return _IPYTHON.sub(r"\1#", code)


def _comments(code: str) -> Iterator[_Span]:
    """Comments. Neighbouring lines that have nothing but a comment are one unit."""
    lines = code.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    group: list[tuple[int, int, str]] = []  # row, column, text
    found = []
    for token in tokenize.generate_tokens(io.StringIO(code).readline):
        if token.type != tokenize.COMMENT or _IPYTHON.match(lines[token.start[0] - 1]):
            continue
        row, column = token.start
        alone = not lines[row - 1][:column].strip()
        follows = bool(group) and group[-1][:2] == (row - 1, column) and alone
        if group and not (follows and not lines[group[-1][0] - 1][: group[-1][1]].strip()):
            found.append(group)
            group = []
        group.append((row, column, token.string))
    if group:
        found.append(group)
    for group in found:
        text = " ".join(string.lstrip("#").strip() for _row, _column, string in group)
        if not _WORD.search(text) or text.startswith(("noqa", "type:")):
            continue
        (row, column, _first), (last_row, last_column, last) = group[0], group[-1]
        alone = not lines[row - 1][:column].strip()
        start, end = starts[row - 1] + column, starts[last_row - 1] + last_column + len(last)
        yield _Span(start, end, text, "comment", lines[row - 1][:column] if alone else "")


def _comment(text: str, indent: str) -> str:
    rows, row, room = [], "", WIDTH - len(indent) - 2
    for word in text.split(" "):
        if row and columns(f"{row} {word}") > room:
            rows.append(row)
            row = word
        else:
            row = f"{row} {word}" if row else word
    rows.append(row)
    if not indent and not rows[1:]:
        return f"# {row}"
    return f"\n{indent}".join(f"# {row}" for row in rows)


def _texts(code: str) -> Iterator[_Span]:
    """Literal texts that `print` and figures show, and docstrings, without their quotes."""
    try:
        tree = ast.parse(_plain(code))
    except SyntaxError:
        return
    starts = [0]
    for line in code.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    lines = code.splitlines()

    def place(row: int, column: int) -> int:
        return starts[row - 1] + len(lines[row - 1].encode()[:column].decode())

    for node in _shown(tree):
        start, end = place(node.lineno, node.col_offset), place(node.end_lineno or 0, node.end_col_offset or 0)
        for literal in _LITERAL.finditer(code, start, end):
            inner = literal[2][1:-1]
            words = _PLACE.sub(" ", inner) if "f" in literal[1].lower() else inner
            if _WORD.search(_ESCAPE.sub(" ", words)):
                yield _Span(literal.start(2) + 1, literal.end(2) - 1, inner, "text in code")


def _shown(tree: ast.AST) -> Iterator[ast.expr]:
    """The expressions whose text only a reader sees."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            for argument in node.args:
                yield from _said(argument)
        elif isinstance(node, ast.keyword) and node.arg in _OF_FIGURES and _is_text(node.value):
            yield node.value
        elif isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None:
            first = node.body[0]
            assert isinstance(first, ast.Expr)  # it has a docstring
            yield first.value


def _said(node: ast.expr) -> Iterator[ast.expr]:
    """The texts in what `print` is given: itself, one of two, joined with + or in a list."""
    if _is_text(node):
        yield node
    elif isinstance(node, ast.IfExp):
        yield from (*_said(node.body), *_said(node.orelse))
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        yield from (*_said(node.left), *_said(node.right))
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "join":
        for listed in node.args:
            if isinstance(listed, ast.GeneratorExp | ast.ListComp):
                yield from _said(listed.elt)


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


class _WithoutTexts(ast.NodeTransformer):
    """Replace what a reader sees by what is filled into it."""

    def __init__(self, shown: set[int]) -> None:
        self.shown = shown

    def generic_visit(self, node: ast.AST) -> ast.AST:
        if id(node) not in self.shown:
            return super().generic_visit(node)
        values = [ast.dump(part) for part in getattr(node, "values", []) if isinstance(part, ast.FormattedValue)]
        return ast.Constant(" ".join(sorted(values)))

    visit_Constant = visit_JoinedStr = generic_visit


def _shape(code: str) -> str:
    tree = ast.parse(_plain(code))
    shown = {id(node) for node in _shown(tree)}
    commands = re.findall(r"^\s*[!%].*", code, re.M)
    return ast.dump(_WithoutTexts(shown).visit(tree)) + textwrap.indent("\n".join(commands), "")
