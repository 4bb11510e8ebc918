"""The languages of the site: which page is which page in another language, and the sentences of the site in it.

Sentences of the templates, of the scripts and of this folder are marked with `_`, `_n` or `N_`. Their translations are
in docs/locale/<language>/site.po, which `labs translate update` writes and `labs translate check` reads. English is
what stands in the files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from labs_helper.common import po
from labs_helper.common.particles import KoreanText
from labs_helper.common.translate import ENGLISH
from labs_helper.course.translation import blocks, offered

ROOT = Path(__file__).resolve().parents[3]
OWN = ("index", "ask/index")  # pages that are templates: ko/index is the Korean front page
LISTED = "docs/site/index"  # the page that lists all others
_FOLDERS = re.compile(r"(docs|notebooks)/([a-z][a-z])/(.+)")
# At the top of the site: README.ko, and search.ko, because Sphinx's search writes its links for a page that is there.
_AT_THE_TOP = re.compile(r"([A-Z_]+|search)\.([a-z][a-z])")
_AMOUNTS = {"ko": (1e4, "{:.0f}만")}


def N_(text: str) -> str:
    """Marks a sentence that is looked up later."""
    return text


COPYRIGHT = N_("Phi-3.5 Labs contributors, MIT licence")
# What the theme says on every page. It has no translations of its own; the first ones it does not even look up.
THEME_ATTRIBUTES = (
    N_("Toggle site navigation sidebar"),
    N_("Toggle table of contents sidebar"),
    N_("Toggle Light / Dark / Auto color theme"),
    N_("Link to this heading"),
    N_("All pages"),
    N_("This page"),
)
THEME_PICTURES = (  # titles of its pictures
    N_("Contents"),
    N_("Menu"),
    N_("Expand"),
    N_("Light mode"),
    N_("Dark mode"),
    N_("Auto light/dark, in light mode"),
    N_("Auto light/dark, in dark mode"),
)
THEME = (
    N_("Skip to content"),
    N_("Back to top"),
    N_("On this page"),
    N_("Next"),
    N_("Previous"),
    N_("Home"),
    N_("Search"),
    N_("Error"),
    N_("Please activate JavaScript to enable the search functionality."),
    N_("Copyright &#169; %(copyright)s"),
    N_("Made with "),
)


@dataclass(frozen=True)
class Edition:
    """The page in one language, as the switch shows it.

    Attributes:
        code: of the language.
        name: what its speakers call it.
        page: where the switch leads.
        same: whether that is this page in the language, and not the language's front page.
    """

    code: str
    name: str
    page: str
    same: bool


def others() -> tuple[offered.Language, ...]:
    """The languages besides English that the site has a front page in.

    Example:
        [language.code for language in others()]      # ['ko']
    """
    return tuple(language for language in offered.languages() if language.site)


def spoken(page: str) -> str:
    """The language of a page.

    Example:
        spoken("notebooks/ko/solutions/00-start-here"), spoken("README")      # ('ko', 'en')
    """
    return _parted(page)[0]


def page_in(language: str, page: str) -> str:
    """The name of a page in a language, whether it exists or not.

    Example:
        page_in("ko", "docs/glossary"), page_in("en", "README.ko")      # ('docs/ko/glossary', 'README')
    """
    english = _parted(page)[1]
    if language == ENGLISH:
        return english
    if english in OWN:
        return f"{language}/{english}"
    folder, _slash, rest = english.partition("/")
    return f"{folder}/{language}/{rest}" if folder in ("docs", "notebooks") else f"{english}.{language}"


def _parted(page: str) -> tuple[str, str]:
    """The language of a page, and the name of the English one."""
    code, _slash, own = page.partition("/")
    if len(code) == 2 and own in OWN:
        return code, own
    if found := _FOLDERS.fullmatch(page):
        return found[2], f"{found[1]}/{found[3]}"
    if found := _AT_THE_TOP.fullmatch(page):
        return found[2], found[1]
    return ENGLISH, page


def editions(page: str, exists: Callable[[str], bool]) -> list[Edition]:
    """Where the switch of a page leads: English, the languages of the site, and others that have this page.

    Args:
        page: its name.
        exists: whether the site has a page.

    Example:
        editions("SECURITY", lambda page: page == "SECURITY")[1].page      # 'ko/index'
    """
    found = [Edition(ENGLISH, "English", page_in(ENGLISH, page), True)]
    whole = {language.code for language in others()}
    for language in offered.languages():
        there = page_in(language.code, page)
        if exists(there):
            found.append(Edition(language.code, language.name, there, True))
        elif language.code in whole:
            found.append(Edition(language.code, language.name, page_in(language.code, "index"), False))
    return found


# --- sentences -----------------------------------------------------------------------------------------------------


@cache
def catalog(language: str) -> po.Catalog:
    """The site's translations in a language; none in English.

    Example:
        catalog("ko").text("Ask")
    """
    return po.read(ROOT / "docs/locale" / language / "site.po") if language != ENGLISH else po.Catalog()


def text_in(language: str, text: str) -> str:
    """A marked sentence in a language; its `format` fills the places.

    Example:
        text_in("ko", "Ask")      # '질문하기'
    """
    found = catalog(language).text(text)
    return KoreanText(found) if language == "ko" else found


def amount(number: float, language: str) -> str:
    """A number of millions as a language says it.

    Example:
        amount(4_600_000, "en"), amount(4_600_000, "ko")      # ('4.6 million', '460만')
    """
    scale, form = _AMOUNTS.get(language, (1e6, "{:.1f} million"))
    return form.format(number / scale)


def for_scripts(language: str) -> str:
    """The dictionary that a page carries for its scripts (static/labs/words.js), as JSON; empty in English.

    Example:
        for_scripts("en")      # ''
    """
    if language == ENGLISH:
        return ""
    found, known = catalog(language), _of_scripts()
    words: dict[str, str | tuple[str, ...]] = {text: found.texts[text] for text in known if text in found.texts}
    words |= {many: forms for (one, many), forms in found.forms.items() if one in known}
    return json.dumps(words, ensure_ascii=False).replace("<", "\\u003c")


@cache
def _of_scripts() -> frozenset[str]:
    from babel.messages.extract import extract_from_dir

    found = extract_from_dir(
        ROOT / "docs/site/static/labs", [("**.js", "javascript")], keywords={"_": None, "_n": (1, 2)}
    )
    return frozenset(text if isinstance(text, str) else text[0] for _file, _line, text, _comments, _context in found)


# --- the page that lists all others --------------------------------------------------------------------------------


def listing(english: str, language: str, exists: Callable[[str], bool]) -> str:
    """The page that lists all others, in another language: what the language has of each of its lists.

    Args:
        english: the source of the English page.
        language: which one.
        exists: whether the site has a page; a pattern counts as one that it has.

    Example:
        listing(Path("docs/site/index.md").read_text("utf-8"), "ko", lambda page: True)
    """
    found = catalog(language)

    def listed(block: re.Match[str]) -> str:
        entries = [_entry(line, language) for line in block[3].split()]
        kept = [entry for entry, page in entries if spoken(page) == language and exists(page)]
        options = re.sub(r"(?<=:caption: ).+", lambda words: found.text(words[0]), block[2])
        return f"{block[1]}{options}\n" + "".join(f"{entry}\n" for entry in kept) + "```" if kept else ""

    text = re.sub(r"(```\{toctree\}\n)((?::.+\n)*)\n([^`]*)```", listed, english)
    text = blocks.join(blocks.cut(text), found.texts.get)
    # Links are written as they are in the English page, one folder further up.
    text = re.sub(r"\]\((\.\./\.\./[\w./-]+)\.md\)", lambda link: f"]({_entry(link[1], language)[0]}.md)", text)
    rest = text_in(
        language, N_("What this language does not have yet is there in English: [all pages](../../site/index.md).")
    )
    return f"---\norphan: true\n---\n{text}\n\n{rest}\n"


def _entry(line: str, language: str) -> tuple[str, str]:
    """An entry of a list as the page in docs/<language>/site names it, and the page that it leads to."""
    parts = [*LISTED.split("/")[:-1], *line.split("/")]
    while ".." in parts:
        at = parts.index("..")
        del parts[at - 1 : at + 1]
    page = "/".join(parts)
    page = page_in(language, page) if spoken(page) == ENGLISH else page
    return f"../../../{page}", page
