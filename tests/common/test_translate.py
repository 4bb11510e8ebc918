"""The door for sentences: a catalog for a language, plurals, and English where there is none."""

from __future__ import annotations

import json

import pytest

from labs_helper.common import translate
from labs_helper.common.translate import _, _n
from labs_helper.errors import BadRequest

PIRATE = """
msgid ""
msgstr "Plural-Forms: nplurals=2; plural=(n != 1);"

msgid "{name} is not set."
msgstr "Arr, {name} be not set."

msgid "What to do: {do}"
msgstr "Orders: {do}"

msgid "{count} token"
msgid_plural "{count} tokens"
msgstr[0] "{count} doubloon"
msgstr[1] "{count} doubloons"
"""


@pytest.fixture
def pirate(tmp_path, monkeypatch):
    """A language of three sentences."""
    file = tmp_path / "pirate" / "LC_MESSAGES" / "labs_helper.po"
    file.parent.mkdir(parents=True)
    file.write_text(PIRATE)
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


def test_who_names_the_language(pirate, tmp_path, monkeypatch):
    """The code, then LABS_LANGUAGE, then the notebook: its metadata, or its folder."""
    folder = tmp_path / "notebooks" / "pirate" / "solutions"
    folder.mkdir(parents=True)
    monkeypatch.delenv("LABS_LANGUAGE", raising=False)
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    assert translate.language() == "en"
    for place in (folder, folder.parent):
        monkeypatch.chdir(place)
        translate._of_folder.cache_clear()  # the list of languages is another one here
        assert translate.language() == "pirate"
    (tmp_path / "notebooks" / "klingon").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks" / "klingon")
    assert translate.language() == "en", "no such language: the folder has its name by chance"
    translate._of_folder.cache_clear()

    for number, (metadata, language) in enumerate(
        [
            ({"labs": {"language": "pirate"}}, "pirate"),
            ({}, "en"),
            ({"labs": 3}, "en"),
            ({"labs": {"language": 3}}, "en"),
        ]
    ):
        file = tmp_path / f"{number}.ipynb"
        file.write_text(json.dumps({"metadata": metadata}))
        monkeypatch.setenv("JPY_SESSION_NAME", str(file))
        assert translate.language() == language
    monkeypatch.setenv("JPY_SESSION_NAME", str(tmp_path / "0.ipynb"))
    monkeypatch.setenv("LABS_LANGUAGE", "en_GB.UTF-8")
    assert translate.language() == "en"
    with translate.speaking("pirate"):
        assert translate.language() == "pirate"
    assert translate.language() == "en"


@pytest.mark.parametrize(
    ("text", "code"), [("ko", "ko"), ("ko_KR.UTF-8", "ko"), ("ko-KR", "ko"), (" KO ", "ko"), ("", ""), ("../x", "")]
)
def test_a_language_has_one_spelling(text, code):
    assert translate.code(text) == code
