"""The reader of PO files says what polib says."""

from __future__ import annotations

from pathlib import Path

import polib
import pytest

from labs_helper.common import po

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted([*ROOT.glob("labs_helper/locale/*/LC_MESSAGES/*.po"), *ROOT.glob("notebooks/locale/*/*.po")])


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_it_reads_what_polib_reads(file):
    catalog, entries = po.read(file), polib.pofile(str(file)).translated_entries()
    assert catalog.texts == {entry.msgid: entry.msgstr for entry in entries if not entry.msgid_plural}
    assert catalog.forms == {
        (entry.msgid, entry.msgid_plural): tuple(text for _n, text in sorted(entry.msgstr_plural.items()))
        for entry in entries
        if entry.msgid_plural
    }


def test_every_part_of_the_format(tmp_path):
    file = tmp_path / "one.po"
    file.write_text(
        'msgid ""\nmsgstr "Plural-Forms: nplurals=3; plural=(n==1 ? 0 : n<5 ? 1 : 2);\\n"\n\n'
        '#. a note\n#: somewhere.py\nmsgid "a \\"b\\"\\n"\n"c\\\\n"\nmsgstr "A"\n\n'
        '#, fuzzy, python-format\n#| msgid "old"\nmsgid "unsure"\nmsgstr "?"\n\n'
        'msgid "{n} cat"\nmsgid_plural "{n} cats"\nmsgstr[0] "kot"\nmsgstr[1] "koty"\nmsgstr[2] "kotów"\n\n'
        'msgid "empty"\nmsgstr ""\n\n#~ msgid "gone"\n#~ msgstr "weg"\n'
    )
    catalog = po.read(file)
    assert catalog.texts == {'a "b"\nc\\n': "A"}
    assert [catalog.plural("{n} cat", "{n} cats", n) for n in (1, 2, 9)] == ["kot", "koty", "kotów"]
    assert [catalog.text(text) for text in ("unsure", "empty", "gone")] == ["unsure", "empty", "gone"]
    assert catalog.plural("dog", "dogs", 1) == "dog" and catalog.plural("dog", "dogs", 0) == "dogs"


def test_no_file_is_an_empty_catalog(tmp_path):
    assert po.read(tmp_path / "none.po") == po.Catalog()
