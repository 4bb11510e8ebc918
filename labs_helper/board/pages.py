"""The pages of the board, in the language of the instructor: `[[words]]` in the files are looked up."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

from labs_helper.common import translate

WORDS = re.compile(r"\[\[([^\[\]]+)\]\]")
_SCRIPT = re.compile(r"(<script>.*?</script>)", re.S)


def page(name: str) -> str:
    """A page with its words in the language that is spoken now.

    Args:
        name: of its file in this folder.

    Example:
        page("join.html")
    """
    text = Path(__file__).with_name(name).read_text("utf-8")
    text = text.replace('<html lang="en">', f'<html lang="{translate.language()}">')
    parts = _SCRIPT.split(text)
    return "".join(WORDS.sub(_in_script if part.startswith("<script>") else _shown, part) for part in parts)


def _shown(words: re.Match[str]) -> str:
    return html.escape(translate.of_page(words[1]))


def _in_script(words: re.Match[str]) -> str:
    """For the inside of a text in JavaScript, between double quotes."""
    return json.dumps(translate.of_page(words[1]), ensure_ascii=False)[1:-1].replace("<", "\\u003c")
