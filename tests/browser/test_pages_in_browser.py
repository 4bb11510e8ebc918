"""Both editions as HTML pages without a kernel, as axe-core sees them in a browser."""

from __future__ import annotations

import pytest
from lab import ROOT, axe_findings
from test_notebooks_in_browser import NOTEBOOKS

pytestmark = pytest.mark.browser

# What nbconvert draws and no notebook can change: the numbers of the cells, the colours of code, links in text without
# a line under them.
TEMPLATE = (".jp-InputPrompt", ".jp-OutputPrompt", ".highlight")
TEMPLATE_RULES = ("link-in-text-block",)


def test_axe_can_find_something(browser, tmp_path):
    page = tmp_path / "bad.html"
    page.write_text(
        "<html lang=en><title>t</title><body><main><h1>t</h1><img src=x.png><input>"
        "<p style='color:#bbb'>pale</p><p class=theirs style='color:#bbb'>pale</p></main>",
        encoding="utf-8",
    )
    browser.get(page.as_uri())
    found = axe_findings(browser, outside=(".theirs",))
    assert sorted(line.split(":")[0] for line in found) == ["color-contrast", "image-alt", "label"]


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_axe_finds_nothing_in_a_notebook_as_a_page(notebook, browser, tmp_path):
    from nbconvert import HTMLExporter

    page = tmp_path / "page.html"
    page.write_text(HTMLExporter().from_filename(str(ROOT / notebook))[0], encoding="utf-8")
    browser.get(page.as_uri())
    assert axe_findings(browser, outside=TEMPLATE, without=TEMPLATE_RULES) == []
