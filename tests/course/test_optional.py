"""What a lab calls optional can be left out: nothing after it needs it, and the rest is a lab of the usual size."""

from __future__ import annotations

import ast
import builtins
import json
import re

import pytest

from labs_helper.catalog import labs
from labs_helper.course import timetable

HEADING = re.compile(r"^(#{2,6}) .*$", re.M)
CELLS, WORDS = 55, 3000  # docs/architecture.md, "From a source to a lab"


def cells(number: str) -> list[tuple[str, str, int]]:
    """Kind and text of each cell, and the number of the optional part that it belongs to; 0 is the core."""
    (path,) = timetable.lab_notebooks([number])
    return marked(
        [(cell["cell_type"], "".join(cell["source"])) for cell in json.loads(path.read_text("utf-8"))["cells"]]
    )


def marked(plain: list[tuple[str, str]]) -> list[tuple[str, str, int]]:
    """A part begins with a heading that says so, and ends before the next heading of its level or above."""
    result: list[tuple[str, str, int]] = []
    level = part = 0
    for kind, text in plain:
        for heading in HEADING.finditer(text) if kind == "markdown" else ():
            depth = len(heading[1])
            if not level or depth <= level:
                level = depth if timetable.OPTIONAL.match(heading[0]) else 0
                part += bool(level)
        result.append((kind, text, part if level else 0))
    return result


def names(code: str) -> tuple[set[str], set[str]]:
    """What a cell defines, and what it reads that it does not define itself."""
    tree = ast.parse("\n".join(line for line in code.splitlines() if not line.startswith(("!", "%"))))
    made: set[str] = set()
    read: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            (read if isinstance(node.ctx, ast.Load) else made).add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            made.add(node.name)
        elif isinstance(node, ast.arg):
            made.add(node.arg)
        elif isinstance(node, ast.alias):
            made.add((node.asname or node.name).partition(".")[0])
    return made, read - made


def missing(parts: list[tuple[str, str, int]]) -> list[str]:
    """Names that a cell reads and only another part, an optional one, defines."""
    known, found = {0: set(dir(builtins))}, []
    for kind, text, part in parts:
        if kind == "code":
            made, read = names(text)
            elsewhere = set().union(*(defined for other, defined in known.items() if other not in (0, part)))
            found += sorted((read & elsewhere) - known[0] - known.get(part, set()))
            known.setdefault(part, set()).update(made)
    return found


@pytest.mark.parametrize("number", [lab.number for lab in labs()])
def test_nothing_needs_what_is_optional(number):
    assert missing(cells(number)) == []


@pytest.mark.parametrize("lab", [lab for lab in labs() if lab.core], ids=lambda lab: lab.number)
def test_the_core_of_a_lab_has_the_usual_size(lab):
    core = [(kind, text) for kind, text, optional in cells(lab.number) if not optional]
    code = [text for kind, text in core if kind == "code" and not re.match(r"(predict|hint|check)\(", text)]
    prose = "\n".join(text for kind, text in core if kind == "markdown")
    prose = re.sub(r"^\*\*This is the learner edition\..*$", "", prose, flags=re.M)
    # Pictures' alt texts, tables, formulas and the addresses of links are not prose.
    prose = re.sub(r"!\[[^\]]*\]\([^)]*\)|^\|.*$|^\*New words.*$|^\$\$.*$|(?<=\])\([^)]*\)", "", prose, flags=re.M)
    assert len(code) <= CELLS
    assert len(re.findall(r"[^\W_]\S*", prose)) <= WORDS


@pytest.mark.parametrize("lab", [lab for lab in labs() if lab.core], ids=lambda lab: lab.number)
def test_optional_parts_begin_their_cell_and_are_counted_once(lab):
    """Text before the heading would seem to be optional too. An optional exercise inside would be taken off twice."""
    level = 0
    for kind, text, _optional in cells(lab.number):
        for heading in HEADING.finditer(text) if kind == "markdown" else ():
            depth, optional = len(heading[1]), timetable.OPTIONAL.match(heading[0])
            assert not (level and depth > level and optional), heading[0]
            assert not optional or timetable.from_its_heading(text).startswith(heading[0]), heading[0]
            if not level or depth <= level:
                level = depth if optional else 0


# -- the reader itself: the faults that it was written for ------------------------------------------------------------

PART = ("markdown", "## 2. More (optional, 5 minutes)")
NEXT = ("markdown", "## 3. On (4 minutes)")


@pytest.mark.parametrize(
    ("plain", "expected"),
    [
        ([PART, ("code", "a = 1"), NEXT, ("code", "print(a)")], ["a"]),
        ([PART, ("code", "a = 1"), ("code", "print(a)"), NEXT, ("code", "print(2)")], []),
        ([("code", "a = 1"), PART, ("code", "a = 2"), NEXT, ("code", "print(a)")], []),
        ([PART, ("code", "import math"), PART, ("code", "math.exp(1)")], ["math"]),
        ([PART, ("code", "a = 1"), NEXT, ("code", "a = 2\nprint(a)")], []),
        ([PART, ("code", "a = 1"), ("markdown", "### In it"), ("code", "print(a)")], []),
        (
            [
                NEXT,
                ("markdown", "### Exercise 2.2 (optional, hard, 12 minutes): go"),
                ("code", "def f(): ..."),
                ("markdown", "### Then"),
                ("code", "f()"),
            ],
            ["f"],
        ),
    ],
)
def test_the_reader_finds_what_would_be_missing(plain, expected):
    assert missing(marked(plain)) == expected
