"""The check of style finds what docs/style.md asks us not to write, in every kind of text, and nothing in code."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
spec = spec_from_file_location("style_check", ROOT / "docs" / "style_check.py")
style_check = sys.modules["style_check"] = module_from_spec(spec)
spec.loader.exec_module(style_check)
RULES = style_check.rules()


def lines(path: Path) -> list[int]:
    return [int(problem.removeprefix(str(path)).split(":")[1]) for problem in style_check.problems(path, RULES)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Two files.\n\nThe ids stand in two files.", [3]),
        ("The part of\nwhich we spoke.", [1]),
        ("It is *of* **which** we spoke.", [1]),
        ("Write `of which`, and\n\n```\nstands in\n```\n\nno more. It stands in a file.", [7]),
        ("See [this](stands-in.md) and <https://example.org/news>.", []),
        ("A word that that man said, and the the other.", [1]),
        ("One thing: of\n\nwhich is not one turn.", []),
        ("- one of\n- which", []),
        ("There is no file of it. It is no file.", [1]),
        ("You are allowed to stop. It allows to stop.", [1]),
        ("a well-known newsletter, an endearing bearskin", []),
    ],
)
def test_markdown(tmp_path, text, expected):
    path = tmp_path / "page.md"
    path.write_text(text, "utf-8")
    assert lines(path) == expected


def test_sources_of_notebooks(tmp_path):
    path = tmp_path / "src" / "01-x.py"
    path.parent.mkdir()
    path.write_text(
        "# %% [markdown]\n# # Title\n#\n# It lies\n# in a file. `It lies in code.`\n\n# %%\n"
        'print("it lies in a text for a model")  # it lies in a comment\n',
        "utf-8",
    )
    assert lines(path) == [4, 8]


def test_modules(tmp_path):
    path = tmp_path / "module.py"
    text = '''"""What lies in here."""

X = "it lies in data"


def f(name):
    """Say it.

    It lies in the middle.

    Example:
        f("lies in")  # lies in
    """
    # a comment lies in here
    return _("The file {stands_in} is here.") + _n(
        "It stands in one place.", "They stand in two.", 2)
'''
    path.write_text(text, "utf-8")
    assert lines(path) == [1, 9, 16, 16]


def test_each_rule_says_what_to_write_and_can_be_found():
    assert len(RULES) > 30
    for rule in RULES:
        assert rule.instead and not rule.pattern.search(""), rule


def test_the_page_shows_what_the_check_finds(tmp_path):
    """Each turn in the left column of the page's table is one that the check knows."""
    page = (ROOT / "docs" / "style.md").read_text("utf-8")
    wrong = [row.split("`")[1] for row in page.splitlines() if row.startswith("| `")]
    assert len(wrong) >= 10
    for text in wrong:
        path = tmp_path / "turn.md"
        path.write_text(text, "utf-8")
        assert lines(path) == [1], text


def test_the_command_names_file_line_and_words(tmp_path):
    path = tmp_path / "page.md"
    path.write_text("Fine.\nIt lives on.", "utf-8")
    command = [sys.executable, str(ROOT / "docs" / "style_check.py")]
    ran = subprocess.run([*command, str(path)], capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 1
    assert f'{path}:2: "lives on" -> keeps running' in ran.stdout
    path.write_text("Fine.", "utf-8")
    assert subprocess.run([*command, str(path)], capture_output=True, timeout=60, check=False).returncode == 0
