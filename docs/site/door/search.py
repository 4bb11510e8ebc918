"""The search of the site: Sphinx's own, with an index of its own for each language, and its sentences."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from docs.site.door.languages import N_, others, spoken, text_in
from labs_helper.common.translate import ENGLISH

_INDEX = re.compile(r"Search\.setIndex\((.*)\)", re.S)
_PARTICLES = """은 는 이 가 을 를 의 에 에서 에게 으로 로 와 과 도 만 까지 부터 보다 처럼 마다 이나 나 인 입니다 이다
들 들은 들을 들이 들의"""
_PARTICLE = re.compile(rf"(?<=[가-힣a-z0-9]{{2}})(?:{'|'.join(_PARTICLES.split())})$")
# What Sphinx's search says while it searches.
WORDS = (
    N_("Searching"),
    N_("Preparing search..."),
    N_("Search Results"),
    N_(
        "Your search did not match any documents. Please make sure that all words are spelled correctly and that you've"
        " selected enough categories."
    ),
    N_("Search finished, found one page matching the search query."),
    N_("Search finished, found ${resultCount} pages matching the search query."),
)


def words_in(language: str) -> str:
    """A script with the sentences of Sphinx's search. Its own way of adding them needs `eval`, which no page may use.

    Example:
        words_in("ko")[:20]
    """
    words = {text: text_in(language, text) for text in WORDS}
    one, many = WORDS[-2:]
    found: dict[str, str | list[str]] = {text: words[text] for text in WORDS[:-2]}
    found[one] = [words[one], words[many]]
    return (
        f"Object.assign(Documentation.TRANSLATIONS, {json.dumps(found, ensure_ascii=False)});\n"
        "Documentation.PLURAL_EXPR = (count) => Number(count !== 1);\n"
    )


def index_in(language: str) -> str:
    """The file with the words of the pages in a language.

    Example:
        index_in("ko")      # 'searchindex-ko.js'
    """
    return "searchindex.js" if language == ENGLISH else f"searchindex-{language}.js"


def divide(site: Path) -> None:
    """Give each language an index of its own pages, and the sentences of the search.

    Korean puts particles behind a word, and Sphinx finds a short word only if it stands alone: so the Korean index has
    every word without its particle, too.

    Args:
        site: what Sphinx has built.

    Example:
        divide(Path("build/site"))
    """
    file = site / index_in(ENGLISH)
    whole = json.loads(_INDEX.fullmatch(file.read_text("utf-8").strip())[1])  # type: ignore[index]
    known = {language.code for language in others()}
    for language in (ENGLISH, *sorted(known)):
        # Languages without pages of their own are found from the English ones.
        pages = [page for page in whole["docnames"] if (spoken(page) if spoken(page) in known else ENGLISH) == language]
        index = _index_of(whole, set(pages), language)
        text = json.dumps(index, ensure_ascii=False, separators=(",", ":"))
        (site / index_in(language)).write_text(f"Search.setIndex({text})", "utf-8")
        if language != ENGLISH:
            (site / "_static" / f"search-{language}.js").write_text(words_in(language), "utf-8")


def _index_of(whole: dict[str, Any], pages: set[str], language: str) -> dict[str, Any]:
    """The part of Sphinx's index that is about some pages."""
    kept = [number for number, page in enumerate(whole["docnames"]) if page in pages]
    new = {old: number for number, old in enumerate(kept)}
    index = dict(whole)
    for name in ("docnames", "filenames", "titles"):
        index[name] = [whole[name][old] for old in kept]
    for name in ("terms", "titleterms"):
        words: dict[str, set[int]] = {}
        for word, found in whole[name].items():
            there = {new[old] for old in (found if isinstance(found, list) else [found]) if old in new}
            for form in {word, _PARTICLE.sub("", word)} if language == "ko" and there else {word}:
                words.setdefault(form, set()).update(there)
        index[name] = {word: sorted(found) for word, found in sorted(words.items()) if found}
    index["alltitles"] = {
        title: there
        for title, places in whole["alltitles"].items()
        if (there := [[new[old], place] for old, place in places if old in new])
    }
    index["indexentries"] = {}  # of the programming languages that Sphinx documents
    return index
