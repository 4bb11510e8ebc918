"""No solution in the learners' zip: neither a function of one nor an expression of one, under whatever names.

Solutions and the zip's code are compared as syntax trees. Names of variables do not count, docstrings and annotations
are left out, and the order of what is added or multiplied does not matter. Hints are texts, and the last one nearly
gives the answer: that is what it is for.
"""

from __future__ import annotations

import ast
import builtins
import copy
import json
import re
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from labs_helper.course import editions, release

ROOT = Path(__file__).resolve().parents[2]
SMALLEST = 8  # parts of an expression; what is smaller is found anywhere

# Where the product itself computes what an exercise asks for. Each with its reason; nothing else may be added lightly.
ALLOWED = {
    ("labs_helper/common/information.py", "3.4"): "the figures of lab 03 measure with it",
    ("labs_helper/quantizing/rounding.py", "4.2"): "the sizes of rounded models are computed with it",
    (
        "labs_helper/corrections/vision/tiles.py",
        "2.2",
    ): "the repair that the lab shows: without it pictures are misread",
    **{
        ("labs_helper/reference/parts.py", number): "a Phi that is there to be read, after trying"
        for number in ("8.1", "8.2", "8.3", "8.4", "8.6")
    },
    ("labs_helper/reference/answering.py", "8.9"): "a Phi that is there to be read, after trying",
    **{
        ("docs/upstream/phimoe_graph.py", number): "a program for the maintainers of llama.cpp, which runs by itself"
        for number in ("8.3", "8.6")
    },
    **{
        (f"{folder}notebooks/08-inside.ipynb", "8.11"): "a cell of the lab asks it of other texts"
        for folder in ("", "data/")
    },
}


# --- Comparing code ---------------------------------------------------------------------------------------------


class Plain(ast.NodeTransformer):
    """A tree without what may differ in a copy: names of variables, docstrings, annotations."""

    def visit_Name(self, node: ast.Name) -> ast.Name:
        return ast.Name(node.id if hasattr(builtins, node.id) else "v", ast.Load())

    def visit_Call(self, node: ast.Call) -> ast.Call:
        called = node.func
        node = self.generic_visit(node)
        return ast.Call(called, node.args, node.keywords) if isinstance(called, ast.Name) else node

    def visit_arg(self, node: ast.arg) -> ast.arg:
        return ast.arg("v", None)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        node = self.generic_visit(node)
        return ast.Assign([node.target], node.value or ast.Constant(None))

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node = self.generic_visit(node)
        node.name, node.returns, node.decorator_list = "v", None, []
        if isinstance(node.body[0], ast.Expr) and isinstance(node.body[0].value, ast.Constant):
            node.body = node.body[1:] or [ast.Pass()]
        return node


def written(node: ast.AST) -> str:
    """A plain tree as text; what is added or multiplied comes in one order."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Mult)):
        return f"{type(node.op).__name__}({', '.join(sorted(written(part) for part in parts_of(node, type(node.op))))})"
    fields = []
    for name, value in ast.iter_fields(node):
        if name in ("ctx", "type_comment", "kind", "type_params"):
            continue
        if isinstance(value, list):
            fields.append(f"{name}=[{', '.join(written(v) if isinstance(v, ast.AST) else repr(v) for v in value)}]")
        else:
            fields.append(f"{name}={written(value) if isinstance(value, ast.AST) else repr(value)}")
    return f"{type(node).__name__}({', '.join(fields)})"


def parts_of(node: ast.AST, operator: type) -> Iterator[ast.AST]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, operator):
        yield from parts_of(node.left, operator)
        yield from parts_of(node.right, operator)
    else:
        yield node


def size(node: ast.AST) -> int:
    return sum(isinstance(part, (ast.expr, ast.stmt, ast.comprehension)) for part in ast.walk(node))


def pieces(source: str) -> dict[str, str]:
    """The functions and large expressions of a program: their plain text, and how they are written."""
    code = "\n".join("pass" if line.lstrip()[:1] in ("%", "!") else line for line in source.splitlines())
    tree = ast.parse(code)
    found = [
        node
        for node in ast.walk(tree)
        if isinstance(node, (ast.expr, ast.FunctionDef))
        and not isinstance(node, ast.Attribute)
        and size(node) >= SMALLEST
        and not is_data(node)
        and not is_shown(node)
    ]
    return {written(Plain().visit(copy.deepcopy(node))): ast.unparse(node) for node in found}


def is_data(node: ast.AST) -> bool:
    """A text, or a list of names or numbers: no formula."""
    try:
        ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False
    return not isinstance(node, ast.BinOp)


def is_shown(node: ast.AST) -> bool:
    """An f-string or a call of print: how a result is shown is no solution."""
    return isinstance(node, (ast.JoinedStr, ast.FormattedValue)) or (
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    )


# --- What must not be there, and where it must not be --------------------------------------------------------------


@cache
def solutions() -> dict[str, tuple[str, str]]:
    """Plain text -> the exercise, and how its solution writes it; what the stub shows already is left out."""
    found: dict[str, tuple[str, str]] = {}
    for source in sorted((ROOT / "notebooks" / "src").glob("*.py")):
        stub: dict[str, str] = {}
        waiting: dict[str, str] = {}
        for cell in editions.read(source):
            if cell.cell_type != "code":
                continue
            if "exercise" in editions.tags(cell):
                stub = pieces(cell.source)
            elif "solution" in editions.tags(cell):
                waiting |= {key: text for key, text in pieces(cell.source).items() if key not in stub}
            elif waiting:
                number = next(
                    (
                        node.args[0].value
                        for node in ast.walk(ast.parse(cell.source))
                        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("check", "predict")
                    ),
                    source.stem,
                )
                found |= {key: (number, text) for key, text in waiting.items()}
                waiting = {}
    return found


@cache
def names_of_solutions() -> dict[str, str]:
    """The functions that solutions define, and the lab of each."""
    return {
        node.name: source.stem
        for source in sorted((ROOT / "notebooks" / "src").glob("*.py"))
        for cell in editions.read(source)
        if "solution" in editions.tags(cell) and cell.cell_type == "code"
        for node in ast.walk(ast.parse(cell.source))
        if isinstance(node, ast.FunctionDef)
    }


def programs(name: str, content: bytes) -> Iterator[str]:
    if name.endswith(".py"):
        yield content.decode()
    elif name.endswith(".ipynb"):
        for cell in json.loads(content)["cells"]:
            if cell["cell_type"] == "code":
                yield "".join(cell["source"])


def solutions_in(files: dict[str, bytes]) -> list[str]:
    """One sentence for each piece of a solution that a file holds."""
    return [
        f"{name} holds a part of the solution of {solutions()[key][0]}: {text}"
        for name, content in files.items()
        for program in programs(name, content)
        for key, text in pieces(program).items()
        if key in solutions() and (re.sub(r"notebooks/\w\w/", "notebooks/", name), solutions()[key][0]) not in ALLOWED
    ]


def namesakes_in(files: dict[str, bytes]) -> list[str]:
    """Functions of the exercises that are called as a solution is: most likely they are one, written in another way."""
    return [
        f"{name} defines {node.name}, as the solution of {names_of_solutions()[node.name]} does"
        for name, content in files.items()
        if name.startswith("labs_helper/exercises/") and name.endswith(".py")
        for node in ast.walk(ast.parse(content))
        if isinstance(node, ast.FunctionDef) and node.name in names_of_solutions()
    ]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """What the zip holds once it is unpacked, by name."""
    folder = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(release.build(folder / "learner.zip")) as archive:
        archive.extractall(folder)
    root = folder / release.NAME
    return {
        str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.suffix in (".py", ".ipynb")
    }


def test_the_zip_holds_no_solution(files):
    assert len(files) > 100 and len(solutions()) > 50
    found = solutions_in(files) + namesakes_in(files)
    assert not found, "\n".join(found)


def test_what_is_allowed_is_there(files):
    """An entry that nothing needs any more goes."""
    for name, number in ALLOWED:
        keys = {key for program in programs(name, files[name]) for key in pieces(program)}
        assert any(solutions()[key][0] == number for key in keys & solutions().keys()), (name, number)


def test_neither_tests_nor_references_are_in_the_zip(files):
    assert not [name for name in files if name.startswith(("tests/", "references/", "notebooks/src", "notebooks/sol"))]


# Solutions under other names, some of which the zip once held.
BEFORE = {
    "renamed": """def in_memory(asked: list, places: int) -> float:
    'The share of hits.'
    here, count = [], 0
    for one in asked:
        if one in here:
            count += 1
            here.remove(one)
        here.append(one)
        if len(here) > places:
            here.pop(0)
    return count / len(asked)
""",
    "share": "def full(t):\n    return float((t.groupby(['position', 'layer'])['weight'].min() > 0.99).mean())\n",
    "edits": "row.append(min(before[j] + 1, row[-1] + 1, before[j - 1] + (a != b)))\n",
    "lambda": "f = lambda q, w, e: 'short' if w + q <= e else 'long'\n",
}


@pytest.mark.parametrize("name", BEFORE)
def test_a_solution_would_be_found(name):
    program = BEFORE[name].encode()
    assert solutions_in({"labs_helper/x.py": program})
    cell = {"cell_type": "code", "source": [BEFORE[name]]}
    assert solutions_in({"notebooks/x.ipynb": json.dumps({"cells": [cell]}).encode()})


@pytest.mark.parametrize("name", ["hit_rate", "route", "error_rate", "join_tiles"])
def test_a_function_called_as_a_solution_would_be_found(name):
    """Another way to write it is no other thing: the router and the cache were in the zip in words of their own."""
    assert namesakes_in({"labs_helper/exercises/x.py": f"def {name}(a, b):\n    return a\n".encode()})
    assert not namesakes_in({"labs_helper/exercises/x.py": b"def _hits(value):\n    return value\n"})
