"""Links to a place inside a page find it in JupyterLab, where a heading has another address than on GitHub.

JupyterLab makes a heading's address from its text, with "-" for each space, and keeps capitals and signs. It also knows
`<a id="..."></a>`. tests/browser/test_links_in_browser.py clicks; docs/site/check.py reads the built site.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted((ROOT / "notebooks" / "src").glob("[0-9]*.py"))
TARGET = re.compile(r'<a id="([\w-]+)"></a>')
ELSEWHERE = re.compile(r"\]\((\.\./[\w/.-]+\.md)#([^)\s]+)\)")
INSIDE = re.compile(r'(?:\]\(|href=")#([\w-]+)')


def places(text: str) -> set[str]:
    """Where a link can lead to in a Markdown text that JupyterLab shows."""
    headings = {heading.strip().replace(" ", "-") for heading in re.findall(r"^#+ (.+)$", text, re.M)}
    return headings | set(TARGET.findall(text))


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_links_from_a_lab_into_a_document_find_their_place(source):
    links = ELSEWHERE.findall(source.read_text("utf-8"))
    assert links
    for target, place in links:
        document = (ROOT / "notebooks" / target).resolve()
        assert place in places(document.read_text("utf-8")), f"{target}#{place}"


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_links_inside_a_lab_have_one_target_each(source):
    text = source.read_text("utf-8")
    assert sorted(set(INSIDE.findall(text))) == sorted(TARGET.findall(text))


def test_the_seven_uses_are_linked_to_their_sections():
    """The card of Phi-3.5-vision names them in this order."""
    text = (ROOT / "notebooks" / "src" / "02-vision.py").read_text("utf-8")
    linked = re.findall(r'^# \|.*\| <a href="#use-(\d)">section (\d+)</a> \|$', text, re.M)
    headings = re.findall(r'^# <a id="use-(\d)"></a>\n#\n# ## (\d+)\. Use (\d)', text, re.M)
    assert [place for place, _section in linked] == list("1234567")
    assert [(use, section, use) for use, section in linked] == headings
