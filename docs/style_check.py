"""Find turns of phrase that docs/style.md asks us not to use, in every text that a person reads.

    python docs/style_check.py              # the whole repository, as `make lint` does
    python docs/style_check.py README.md    # some files

The words are in docs/style.toml. What is read: Markdown files outside code; the Markdown cells and comments of
notebooks/src; in labs_helper the sentences that go through `_()` and `_n()`, and the docstrings.

codespell knows single words only, and Vale comes as a program that its packages download when they are first used.
"""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import tokenize
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PATTERNS = ("*.md", "notebooks/src/*.py", "labs_helper/*.py")
# What a script writes or somebody else wrote.
LEFT_OUT = ("tests/browser/axe-core/", "training/published/")

_CODE = (
    re.compile(r"^ *(```|~~~).*?^ *\1", re.S | re.M),
    re.compile(r"(`+)(?!`).+?(?<!`)\1(?!`)", re.S),
    re.compile(r"\$\$.+?\$\$", re.S),
    re.compile(r"<!-- ([\w ]+): begin -->.*?<!-- \1: end -->", re.S),  # written by a script: texts in pictures
    re.compile(r"<!--.*?-->", re.S),
    re.compile(r"<[a-z/][^>]*>", re.I),
    re.compile(r"(?<=\]\()[^)\s]+(?=[)\s])"),
    re.compile(r"https?://[^\s)>\"']+"),
    re.compile(r"\{[A-Za-z_][^{}\n]*\}"),
)


@dataclass(frozen=True)
class Rule:
    """One turn of phrase: how to find it, where it is right all the same, and what to write instead."""

    pattern: re.Pattern[str]
    allowed: re.Pattern[str] | None
    instead: str


@dataclass(frozen=True)
class Passage:
    """A text that is read in one go, and where it begins.

    Attributes:
        line: the line of its first character.
        text: with one line break for each line of the file.
    """

    line: int
    text: str


def rules(file: Path = ROOT / "docs" / "style.toml") -> list[Rule]:
    """The rules of a file.

    Example:
        [rule.instead for rule in rules()]
    """
    return [_rule(**entry) for entry in tomllib.loads(file.read_text("utf-8"))["rule"]]


def _rule(find: str, instead: str, but: str = "", case: bool = False) -> Rule:
    flags = 0 if case else re.IGNORECASE

    def compiled(text: str) -> re.Pattern[str]:
        spaced = text.replace(" ", r"[\s*_]+")  # emphasis may begin between two words
        return re.compile(rf"(?<![\w-])(?:{spaced})(?![\w-])", flags)

    return Rule(compiled(find), compiled(but) if but else None, instead)


def passages(path: Path) -> Iterator[Passage]:
    """The texts of a file that a person reads.

    Example:
        [passage.text for passage in passages(Path("README.md"))]
    """
    text = path.read_text("utf-8")
    if path.suffix == ".md":
        yield Passage(1, text)
    elif path.parent.name == "src":
        yield from _cells(text)
    else:
        yield from _sentences(text)


def _cells(text: str) -> Iterator[Passage]:
    """Each Markdown cell of a notebook's source, and each comment of its code."""
    lines = text.split("\n")
    starts = [number for number, line in enumerate(lines) if line.startswith("# %%")] + [len(lines)]
    code = [""] * len(lines)
    for start, end in pairwise(starts):
        if "[markdown]" in lines[start]:
            yield Passage(start + 2, "\n".join(line.removeprefix("#").strip(" ") for line in lines[start + 1 : end]))
        else:
            code[start + 1 : end] = lines[start + 1 : end]
    for token in tokenize.generate_tokens(io.StringIO("\n".join(code)).readline):
        if token.type == tokenize.COMMENT:
            yield Passage(token.start[0], token.string.lstrip("#"))


def _sentences(text: str) -> Iterator[Passage]:
    """The docstrings of a module, and its sentences that can be translated."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and ast.get_docstring(node):
                lines = str(first.value.value).split("\n")
                yield Passage(first.lineno, "\n".join(_without_examples(lines)))
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("_", "_n"):
            for argument in node.args:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    # Adjacent strings are one value: its own line breaks are not lines of the file.
                    yield Passage(argument.lineno, argument.value.replace("\n", " "))


def _without_examples(lines: list[str]) -> Iterator[str]:
    example: int | None = None  # how far the heading of the example is indented
    for line in lines:
        indent = len(line) - len(line.lstrip())
        if line.strip() == "Example:":
            example = indent
        elif example is not None and line.strip() and indent <= example:
            example = None
        yield line if example is None else ""


def problems(path: Path, wanted: list[Rule]) -> list[str]:
    """What a file says that docs/style.md asks us not to say, one line each, as `file:line`.

    Example:
        problems(Path("README.md"), rules())      # []
    """
    name = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
    found: set[tuple[int, str]] = set()
    for passage in passages(path):
        prose = passage.text
        for code in _CODE:
            # Code becomes a sign that no rule knows, as long as before, so that lines stay where they are.
            prose = code.sub(lambda match: re.sub(r"[^\n]", "\u25a1", match[0]), prose)
        for rule in wanted:
            right = [match.span() for match in rule.allowed.finditer(prose)] if rule.allowed else []
            for match in rule.pattern.finditer(prose):
                if any(start <= match.start() and match.end() <= end for start, end in right):
                    continue
                if re.search(r"\n\s*(\n|[-*|#>] )", match[0]):
                    continue  # two paragraphs, rows or list items
                line = passage.line + prose.count("\n", 0, match.start())
                said = " ".join(match[0].split())
                found.add((line, f'{name}:{line}: "{said}" -> {rule.instead}'))
    return [text for _line, text in sorted(found)]


def files(names: list[str] | None = None) -> list[Path]:
    """The files with texts for people: the named ones, or all of the repository.

    Example:
        files(["README.md"])
    """
    if names:
        return [Path(name).resolve() for name in names]
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", *PATTERNS]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    kept = [name for name in sorted(set(listed)) if name and not name.startswith(LEFT_OUT)]
    return [ROOT / name for name in kept if (ROOT / name).exists()]


def main(names: list[str]) -> int:
    """Print what was found, a line each.

    Returns:
        The exit code: 1 if there was anything.
    """
    wanted = rules()
    count = 0
    for path in files(names):
        lines = problems(path, wanted)
        count += len(lines)
        print("\n".join(lines), end="\n" if lines else "")
    if count:
        print(f"{count} to rewrite; docs/style.md says why.")
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
