"""The one door for sentences that people see: `_("... {name} ...").format(name=...)`.

A text is looked up when it is shown, never at import, so the language may change while a program runs. Three places can
name the language; the first that does decides:

1. the code that runs: `with speaking("ko"):`;
2. LABS_LANGUAGE;
3. the notebook: what its metadata say, or its folder, `notebooks/ko/`.

Translations are in `labs_helper/locale/<language>/LC_MESSAGES/labs_helper.po`; where one is missing, the English text
is shown. This module imports nothing of the package that imports it in turn.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path

from labs_helper.common import po
from labs_helper.common.particles import KoreanText

DOMAIN = "labs_helper"
ENGLISH = "en"
FOLDER = Path(__file__).resolve().parents[1] / "locale"
_LARGEST_NOTEBOOK = 20_000_000  # bytes; more is no notebook of this course
_chosen: ContextVar[str | None] = ContextVar("labs_language", default=None)


def _(text: str) -> str:
    """The sentence in the language of the learner.

    Args:
        text: English, with named places in braces; call `.format` on the result, never before.

    Example:
        _("{name} needs {size} of memory.").format(name="phi-3.5-mini", size="2.4 GB")
    """
    return _looked_up(text)


def _looked_up(text: str) -> str:
    spoken = language()
    return text if spoken == ENGLISH else _shown(spoken, _catalog(spoken, FOLDER).text(text))


def of_page(text: str) -> str:
    """The translation of words that a page marks (labs_helper/board/pages.py); the extraction finds them there.

    Example:
        of_page("Projector view")      # 'Projector view'
    """
    return _looked_up(text)


def of_table(text: str) -> str:
    """The translation of words in a table of the package, such as what a setting may hold; the extraction knows where.

    Example:
        of_table("a folder")      # 'a folder'
    """
    return _looked_up(text)


def _n(one: str, many: str, count: int) -> str:
    """The singular or plural sentence for a count.

    Example:
        _n("{count} token", "{count} tokens", 3).format(count=3)      # '3 tokens'
    """
    spoken = language()
    return _shown(spoken, _catalog(spoken, FOLDER).plural(one, many, count))


def language() -> str:
    """The code of the language in which sentences are shown now, such as "ko".

    Example:
        language()      # 'en'
    """
    return _chosen.get() or code(os.environ.get("LABS_LANGUAGE", "")) or _of_the_notebook() or ENGLISH


@contextmanager
def speaking(spoken: str) -> Iterator[None]:
    """Show sentences in a language, whatever LABS_LANGUAGE and the notebook say.

    Example:
        with speaking("ko"):
            print(_("Stopped."))
    """
    token = _chosen.set(code(spoken))
    try:
        yield
    finally:
        _chosen.reset(token)


def code(text: str) -> str:
    """A language as the course spells it: "ko" for ko_KR.UTF-8, "KO" and ko-KR.

    Example:
        code("ko_KR.UTF-8")      # 'ko'
    """
    return text.strip().replace("-", "_").split(".")[0].split("_")[0].lower()


def languages() -> list[str]:
    """The codes of the languages that the package speaks, English first.

    Example:
        languages()      # ['en', 'ko']
    """
    return [ENGLISH, *sorted(path.parents[1].name for path in FOLDER.glob(f"*/LC_MESSAGES/{DOMAIN}.po"))]


@cache
def _catalog(spoken: str, folder: Path) -> po.Catalog:
    # The name may come from a variable that anybody set: only a plain word leads to a file.
    return po.read(folder / spoken / "LC_MESSAGES" / f"{DOMAIN}.po") if spoken.isalnum() else po.Catalog()


def _shown(spoken: str, text: str) -> str:
    return KoreanText(text) if spoken == "ko" and "{" in text else text


def _of_the_notebook() -> str:
    """The language of the notebook whose kernel this is; empty where there is none, or its language is English."""
    try:
        folder = os.getcwd()  # noqa: PTH109  # asked for every sentence, and a Path costs ten times as much
    except OSError:  # the folder is gone
        folder = ""
    return _of_file(os.environ.get("JPY_SESSION_NAME", "")) or _of_folder(folder)


@cache
def _of_file(name: str) -> str:
    """What the metadata of a notebook say. JupyterLab tells its kernels the file."""
    path = Path(name)
    try:
        if path.suffix != ".ipynb" or path.stat().st_size > _LARGEST_NOTEBOOK:
            return ""
        said = json.loads(path.read_text("utf-8"))["metadata"]["labs"]["language"]
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    return code(said) if isinstance(said, str) else ""


@cache
def _of_folder(name: str) -> str:
    """Other programs start a kernel in the folder of its notebook: notebooks/ko or notebooks/ko/solutions."""
    here = Path(name)
    folder = here.parent if here.name == "solutions" else here
    return folder.name if folder.parent.name == "notebooks" and folder.name in languages() else ""
