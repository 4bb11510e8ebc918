"""The pages of the board speak the instructor's language, and no translation can become a part of their code."""

from __future__ import annotations

import re

import english
import pytest

from labs_helper.board import pages
from labs_helper.common import translate
from labs_helper.common.translate import speaking

PAGES = ("page.html", "join.html")
# Marks and code of the scripts: only the texts between quotes are shown.
CODE = (r"//[^\n]*", r"labs board \w+", r"--host \S+")


@pytest.mark.parametrize("name", PAGES)
def test_every_word_is_looked_up(name):
    with speaking("en"):
        made = pages.page(name)
    assert "[[" not in made and '<html lang="en">' in made
    shown = re.sub(r"<script>.*?</script>|<style>.*?</style>|<title>.*?</title>", "", made, flags=re.S)
    assert english.found(english.of_html(shown), CODE)


@pytest.mark.parametrize("name", PAGES)
def test_a_korean_page_has_no_english_sentence(name):
    with speaking("ko"):
        made = pages.page(name)
    assert '<html lang="ko">' in made
    shown = re.sub(r"<script>.*?</script>", "", made, flags=re.S)
    (script,) = re.findall(r"<script>(.*?)</script>", made, re.S)
    texts = re.findall(r'"([^"\n]*)"', re.sub(r"^\s*//.*$", "", script, flags=re.M))
    assert english.found([*english.of_html(shown), *texts], CODE) == []


def test_a_translation_cannot_end_a_text_or_a_tag(monkeypatch):
    monkeypatch.setattr(translate, "of_page", lambda _text: 'a "b" \\ </script><b>')
    made = pages.page("join.html")
    assert made.count("</script>") == 1 and "<b>" not in made
    assert '"a \\"b\\" \\\\ \\u003c/script>\\u003cb>"' in made
