"""The shape of the package: rooms a newcomer can guess, modules and functions of a size one can read."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "labs_helper"
SOURCES = sorted(PACKAGE.rglob("*.py"))


def test_the_top_level_is_short():
    entries = [path.name for path in PACKAGE.iterdir() if path.name not in ("__pycache__", "locale")]
    assert len(entries) <= 23, sorted(entries)


def test_architecture_names_every_room():
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    rooms = [path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name not in ("__pycache__", "locale")]
    for room in rooms:
        assert f"| `{room}/` |" in text, f"docs/architecture.md does not say what {room}/ is for"
    for path in re.findall(r"`((?:[a-z_]+/)+[a-z_]+\.py)`", text):
        assert (PACKAGE / path).is_file() or (ROOT / path).is_file(), f"docs/architecture.md names {path}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_and_functions_can_be_read(path):
    """At most 500 lines for a module and 60 for a function, its docstring aside.

    More needs a comment "long because ..." that says why.
    """
    text = path.read_text("utf-8")
    lines = text.splitlines()
    assert len(lines) <= 500 or "long because" in text
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            first = node.body[0]
            described = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
            docstring = first.end_lineno - first.lineno + 1 if described else 0
            length = node.end_lineno - node.lineno + 1 - docstring
            around = "\n".join(lines[max(0, node.lineno - 3) : node.lineno + 3]).lower()
            assert length <= 60 or "long because" in around, f"{node.name}: {length} lines"


def test_the_import_is_light():
    """No MLX, no transformers, no widgets, and nothing else that a first cell would wait for."""
    code = "import sys, labs_helper; print(sorted(m for m in sys.modules if m.split('.')[0] in sys.argv[1:]))"
    heavy = ["mlx", "mlx_lm", "transformers", "ipywidgets", "pandas", "numpy", "matplotlib", "PIL", "httpx", "pydantic"]
    ran = subprocess.run([sys.executable, "-c", code, *heavy], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout.strip() == "[]"


def examples() -> dict[str, list[str]]:
    """The lines of code in the examples of every docstring, by file and name."""
    lines: dict[str, list[str]] = {}
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                example = re.split(r"\n *Example:\n", ast.get_docstring(node) or "", maxsplit=1)[1:]
                name = f"{path.relative_to(PACKAGE)}:{getattr(node, 'name', '')}"
                lines[name] = [line.strip() for text in example for line in text.splitlines()]
    return lines


def test_examples_do_not_depend_on_the_folder():
    """A notebook runs in `notebooks/`, where "images/..." and "data/..." are not."""
    wrong = [
        (name, line)
        for name, lines in examples().items()
        for line in lines
        if re.search(r"(?<!course_folder\(\) / )[\"'](images|data)/", line)
    ]
    assert wrong == []


@pytest.mark.parametrize(
    "name",
    ["pictures/images.py:open_image", "pictures/keyframes.py:keyframes", "store/checkpoint.py:verify"],
)
def test_examples_run_in_the_notebooks_folder(name, monkeypatch):
    from labs_helper import store
    from labs_helper.catalog import course_folder
    from labs_helper.pictures.gallery import picture
    from labs_helper.pictures.images import open_image
    from labs_helper.pictures.keyframes import keyframes

    monkeypatch.chdir(ROOT / "notebooks")
    names = {"picture": picture, "open_image": open_image, "keyframes": keyframes}
    names |= {"course_folder": course_folder, "verify": store.verify}
    (line,) = examples()[name]
    assert eval(line, names)
