"""Each word of the glossary is linked in the section of a lab that first uses it, and each link leads to a word."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TARGET = re.compile(r'^<a id="([\w-]+)"></a>\n\n', re.M)
WITH_TARGETS = (ROOT / "docs" / "glossary.md").read_text("utf-8")
GLOSSARY = TARGET.sub("", WITH_TARGETS)
SOURCES = {path.name[:2]: path.read_text("utf-8") for path in sorted((ROOT / "notebooks" / "src").glob("[0-9]*.py"))}
ENTRY = re.compile(r"^## ([^\n]+)\n\n(.+?)\s*(?:\*\(([\d, ]+)\)\*)?\s*(?=\n## |\Z)", re.M | re.S)
ENTRIES = {word: (meaning, labs.split(", ") if labs else []) for word, meaning, labs in ENTRY.findall(GLOSSARY)}
LINK = re.compile(r"glossary\.md#([\w-]+)")


def anchor(word: str) -> str:
    """As GitHub makes it from a heading."""
    return re.sub(r"[^\w\- ]", "", word.lower()).replace(" ", "-")


ANCHORS = {anchor(word) for word in ENTRIES}


def test_the_words_are_in_order_and_have_a_meaning():
    assert len(ENTRIES) == GLOSSARY.count("\n## ") > 80
    assert list(ENTRIES) == sorted(ENTRIES, key=str.lower) and len(ANCHORS) == len(ENTRIES)
    assert all(len(meaning) > 20 for meaning, _labs in ENTRIES.values())
    for linked in re.findall(r"\]\(#([\w-]+)\)", GLOSSARY):
        assert linked in ANCHORS


@pytest.mark.parametrize("lab", SOURCES)
def test_each_lab_links_its_words_once_and_each_link_leads_somewhere(lab):
    linked = LINK.findall(SOURCES[lab])
    assert linked and set(linked) <= ANCHORS
    assert {anchor(word) for word, (_meaning, labs) in ENTRIES.items() if lab in labs} == set(linked)
    assert len(linked) == len(set(linked))


def test_each_target_stands_above_its_word():
    targets = re.findall(TARGET.pattern + r"## (.+)$", WITH_TARGETS, re.M)
    assert len(targets) == WITH_TARGETS.count("<a id=") > 10
    assert all(target == anchor(word) for target, word in targets)


def test_documents_link_words_that_exist():
    for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        assert set(LINK.findall(path.read_text("utf-8"))) <= ANCHORS, path
