"""Rules that a screen reader depends on, for notebooks and documents, and for notebooks turned into HTML.

Colour alone as meaning cannot be found by a program; alt text in Markdown is checked in test_project.py.
"""

from __future__ import annotations

import itertools
import json
import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = [
    path
    for folder in ("notebooks", "notebooks/solutions", "notebooks/??", "notebooks/??/solutions")
    for path in sorted(ROOT.glob(f"{folder}/*.ipynb"))
    if ".copy-" not in path.name
]
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
VIEW = "application/vnd.jupyter.widget-view+json"


def name(path):
    return path.relative_to(ROOT).as_posix()


def cells(path):
    return json.loads(path.read_text("utf-8"))["cells"]


def levels(text):
    """The levels of the headings in a Markdown text, code left out."""
    text = re.sub(r"^(```|~~~).*?^\1", "", text, flags=re.S | re.M)
    return [len(marks) for marks in re.findall(r"^(#{1,6}) ", text, re.M)]


def heading_problems(found):
    problems = [] if found.count(1) == 1 and found[0] == 1 else [f"{found.count(1)} headings of level 1, not one first"]
    return problems + [
        f"level {after} follows level {before}" for before, after in itertools.pairwise(found) if after > before + 1
    ]


@pytest.mark.parametrize(("found", "count"), [([1, 2, 3, 2], 0), ([1, 3], 1), ([2, 1], 1), ([1, 2, 1], 1), ([], 1)])
def test_the_rule_for_headings_can_fail(found, count):
    assert len(heading_problems(found)) == count


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name)
def test_headings_of_notebooks(path):
    text = "\n\n".join("".join(cell["source"]) for cell in cells(path) if cell["cell_type"] == "markdown")
    assert heading_problems(levels(text)) == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_headings_of_documents(path):
    assert heading_problems(levels(path.read_text("utf-8"))) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name)
def test_links_say_where_they_lead(path):
    text = "\n".join("".join(cell["source"]) for cell in cells(path) if cell["cell_type"] == "markdown")
    texts = [found.strip().casefold() for found in re.findall(r"(?<!!)\[([^\]\[]+)\]\(", text)]
    assert not {"here", "this", "link", "click here", "more"} & set(texts)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name)
def test_every_lab_begins_with_the_machine_and_versions(path):
    first = next("".join(cell["source"]) for cell in cells(path) if cell["cell_type"] == "code")
    assert f'check_setup("{path.name[:2]}")' in first
    if path.parent.name == "solutions":
        outputs = next(cell["outputs"] for cell in cells(path) if cell["cell_type"] == "code")
        assert re.search(r": labs_helper \d", json.dumps(outputs)), "the line for a bug report, in any language"


# --- As HTML, where no kernel is -----------------------------------------------------------------------------------


class Page(HTMLParser):
    """What a screen reader meets in a page."""

    def __init__(self, html):
        super().__init__()
        self.language, self.levels, self.problems, self.text = None, [], [], []
        self._quiet = self._label = 0
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if tag == "html":
            self.language = values.get("lang")
        if re.fullmatch(r"h[1-6]", tag):
            self.levels.append(int(tag[1]))
        if tag == "img" and "alt" not in values:
            self.problems.append(f"img without alt: {str(values)[:80]}")
        if tag == "svg" and not ({"aria-label", "aria-labelledby", "aria-hidden"} & set(values)):
            self.problems.append(f"svg without a name: {str(values)[:80]}")
        self._label += tag == "label"
        named = self._label or {"aria-label", "title"} & set(values)  # a label around a control names it
        if tag in ("input", "select", "textarea", "iframe") and not named:
            self.problems.append(f"{tag} without a label")
        if int(values.get("tabindex") or 0) > 0:
            self.problems.append("a tabindex above 0 changes the order of the keyboard")
        self._quiet += tag in ("script", "style")

    def handle_endtag(self, tag):
        self._quiet -= tag in ("script", "style")
        self._label -= tag == "label"

    def handle_data(self, data):
        if not self._quiet:
            self.text.append(data)


@cache
def page(path):
    from nbconvert import HTMLExporter

    return Page(HTMLExporter().from_filename(str(path))[0])


BOTH = [ROOT / "notebooks/01-instruct.ipynb", ROOT / "notebooks/solutions/01-instruct.ipynb"]


@pytest.mark.parametrize("path", BOTH, ids=name)
def test_a_notebook_as_html_can_be_read_aloud(path):
    found = page(path)
    assert found.language
    assert found.problems == []
    assert heading_problems(found.levels) == []


def test_widgets_are_there_as_text_where_no_kernel_runs():
    """Each output of a widget carries its content as HTML, so that nothing is empty in nbconvert and on GitHub."""
    text = " ".join(" ".join(page(BOTH[1]).text).split())
    shown = 0
    for cell in cells(BOTH[1]):
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            assert VIEW not in data, "without a kernel this is an error message"
            shown += bool(
                re.search(r"^(\w+ = )?(chat|compare|look|benchmarks)\(", "".join(cell["source"]), re.M)
                and data.get("text/html")
            )
    assert shown >= 3
    # What the chat of the last section said: question and answer.
    assert "Where is Changsha?" in text and "And Lima?" in text
    assert not re.search(r"Error displaying widget|Loading widget", text)


def test_the_checks_of_pages_can_fail():
    bad = Page('<html><h1>a</h1><h3>b</h3><img src="x"><svg></svg><input><p tabindex="3">')
    assert bad.language is None and len(bad.problems) == 4 and heading_problems(bad.levels)
