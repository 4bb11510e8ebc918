"""The README can be read in sixty seconds: a promise, a picture, two commands, what one learns, who it is for."""

from __future__ import annotations

import re
from pathlib import Path

from labs_helper.catalog import labs

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "README.md").read_text("utf-8")


def test_the_parts_come_in_the_order_in_which_a_newcomer_needs_them():
    parts = [
        TEXT.index("**See how"),
        TEXT.index("<picture>"),
        TEXT.index("## Start"),
        TEXT.index("```\ngit clone"),
        TEXT.index("## What you will be able to do"),
        TEXT.index("## Who it is for"),
    ]
    assert parts == sorted(parts)


def test_what_comes_before_the_labs_is_short():
    """At 200 words a minute, sixty seconds. The picture's description and the links to other languages are not read."""
    before = re.sub(r"<!-- home: languages -->.*?<!-- home: end -->", "", TEXT[: TEXT.index("| lab |")], flags=re.S)
    seen = re.sub(r"<[^>]*>", "", before, flags=re.S)
    assert len(seen.split()) <= 200
    (promise,) = re.findall(r"^\*\*(.+?)\*\*$", seen, re.M | re.S)
    assert len(promise.split()) <= 30


def test_two_lines_of_commands_start_it():
    (first, *_rest) = re.findall(r"```\n(.*?)```", TEXT, re.S)
    assert [line.split()[0] for line in first.strip().splitlines()] == ["git", "make"]


def test_each_lab_says_what_one_can_do_afterwards():
    rows = {row[:2]: row for row in re.findall(r"^\| \[(\d\d .+)$", TEXT, re.M)}
    assert list(rows) == [lab.number for lab in labs()]
    for lab in labs():
        assert f"(notebooks/{lab.stem}.ipynb)" in rows[lab.number]
        assert len(rows[lab.number].split("|")[1].split()) >= 8


def test_accuracy_is_in_the_cards():
    assert not re.search(r"\b[01]\.\d\d\b", TEXT)
    for card in (ROOT / "data" / "checkpoints").glob("*/MODEL_CARD.md"):
        assert card.relative_to(ROOT).as_posix() in TEXT
