"""The door for sentences: a catalog for a language, plurals, and English where there is none."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from labs_helper.common import translate
from labs_helper.common.translate import _, _n
from labs_helper.errors import BadRequest

PLURALS = "Content-Type: text/plain; charset=UTF-8\nPlural-Forms: nplurals=2; plural=(n != 1);\n"


def write_catalog(file: Path, sentences: dict[str, str]) -> None:
    """A .mo file (gnu.org/software/gettext, "MO Files"): sorted originals, their translations, all texts."""
    pairs = sorted((original.encode(), text.encode()) for original, text in {"": PLURALS, **sentences}.items())
    texts, tables, start = b"", [b"", b""], 28 + 16 * len(pairs)
    for column in (0, 1):
        for pair in pairs:
            tables[column] += struct.pack("<II", len(pair[column]), start + len(texts))
            texts += pair[column] + b"\0"
    head = struct.pack("<7I", 0x950412DE, 0, len(pairs), 28, 28 + 8 * len(pairs), 0, 0)
    file.parent.mkdir(parents=True)
    file.write_bytes(head + tables[0] + tables[1] + texts)


@pytest.fixture
def pirate(tmp_path, monkeypatch):
    """A language of four sentences."""
    write_catalog(
        tmp_path / "pirate" / "LC_MESSAGES" / "labs_helper.mo",
        {
            "{name} is not set.": "Arr, {name} be not set.",
            "What to do: {do}": "Orders: {do}",
            "{count} token\0{count} tokens": "{count} doubloon\0{count} doubloons",
        },
    )
    monkeypatch.setattr(translate, "FOLDER", tmp_path)


def test_a_language_with_a_catalog(pirate, monkeypatch):
    assert _("{name} is not set.") == "{name} is not set.", "English unless LABS_LANGUAGE says otherwise"
    monkeypatch.setenv("LABS_LANGUAGE", " pirate ")
    assert _("{name} is not set.").format(name="LABS_ENDPOINT") == "Arr, LABS_ENDPOINT be not set."
    assert [_n("{count} token", "{count} tokens", n).format(count=n) for n in (1, 3)] == ["1 doubloon", "3 doubloons"]
    monkeypatch.setenv("LABS_LANGUAGE", "")
    assert _("{name} is not set.") == "{name} is not set.", "looked up when shown"


def test_without_a_catalog_or_a_sentence_the_english_is_shown(pirate, monkeypatch):
    for language in ("pirate", "no-such-language", "../..", "*"):
        monkeypatch.setenv("LABS_LANGUAGE", language)
        assert _("A sentence that nobody translated.") == "A sentence that nobody translated."
        assert [_n("one", "many", n) for n in (1, 0, 2)] == ["one", "many", "many"]


def test_the_words_around_an_error_are_translated_when_it_is_shown(pirate, monkeypatch):
    error = BadRequest("What.", "Do.")
    monkeypatch.setenv("LABS_LANGUAGE", "pirate")
    assert error._render_traceback_() == ["BadRequest: What.", "Orders: Do."]  # the hook of IPython has this name
