"""The check that `make site` makes of the built pages, and what the site is built from."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
problems = runpy.run_path(str(ROOT / "docs/site/check.py"))["problems"]


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ('<a href="other/b.html#here">b</a> <a href="#top">top</a><p id="top"></p><a href="https://a.b">x</a>', 0),
        ('<a href="mailto:a@example.org">a</a><img src="data:image/png;base64,aaaa"><a href="other/">folder</a>', 0),
        ('<a href="nowhere.html">a</a><img src="nowhere.png">', 2),
        ('<a href="other/b.html#nowhere">a</a><a href="#nowhere">b</a>', 2),
        ('<a href="../outside.html">a</a>', 1),
        ('<script src="https://cdn.example.org/x.js"></script><link href="//fonts.example.org/f.css">', 2),
    ],
)
def test_links_and_requests_are_found(tmp_path, body, found):
    site = tmp_path / "site"
    (site / "other").mkdir(parents=True)
    (tmp_path / "outside.html").write_text("outside", "utf-8")
    (site / "a.html").write_text(body, "utf-8")
    (site / "other" / "b.html").write_text('<h2 id="here">b</h2>', "utf-8")
    (site / "other" / "index.html").write_text("index", "utf-8")
    assert len(problems(site)) == found


def test_an_empty_site_is_a_problem(tmp_path):
    assert len(problems(tmp_path)) == 1


def test_every_document_is_in_the_site():
    """Sphinx complains of a document that is in no table of contents, but not of one that it is not shown."""
    index = (ROOT / "docs/site/index.md").read_text("utf-8")
    named = set(re.findall(r"^\.\./([a-z-]+)$", index, re.M))
    assert named == {path.stem for path in (ROOT / "docs").glob("*.md")}
