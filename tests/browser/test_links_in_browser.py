"""A click on a link to a place brings that place to the top: inside a lab, and from a lab into a document."""

from __future__ import annotations

import shutil

import pytest
from lab import ROOT, LabServer, Page, until
from selenium.webdriver.common.by import By

pytestmark = pytest.mark.browser

# Pixels. Cells get their true height when they are drawn, and JupyterLab then misses the top by some lines; in the
# solution edition, with its large outputs, by up to a screen. A second click corrects it.
NEAR, ON_THE_NEXT_SCREEN = 300, 1600
_FROM_THE_TOP = """
const [words] = arguments, shown = window.jupyterapp.shell.currentWidget.node;
const heading = [...shown.querySelectorAll('h1, h2, h3')].find(each => each.textContent.startsWith(words));
return heading ? heading.getBoundingClientRect().top - shown.getBoundingClientRect().top : null;
"""
_TO_THE_TOP = "window.jupyterapp.shell.currentWidget.node.querySelector('.jp-WindowedPanel-outer').scrollTop = 0;"


@pytest.fixture(scope="module")
def usual(needs_chromium, tmp_path_factory):
    """JupyterLab as people have it: cells far from the visible part are drawn later."""
    folder, home = tmp_path_factory.mktemp("labs"), tmp_path_factory.mktemp("home")
    for name in ("notebooks", "images", "docs"):
        shutil.copytree(ROOT / name, folder / name)
    with LabServer(folder, home, usual=True) as running:
        yield running


def from_the_top(page, heading):
    """Pixels from the top of what is shown to a heading; None if it is not drawn."""
    return page.driver.execute_script(_FROM_THE_TOP, heading)


def is_near_the_top(page, heading, most=NEAR):
    place = from_the_top(page, heading)
    return place is not None and abs(place) < most


@pytest.mark.parametrize(("edition", "most"), [("notebooks", NEAR), ("notebooks/solutions", ON_THE_NEXT_SCREEN)])
def test_the_seven_uses_lead_to_their_sections(usual, browser, edition, most):
    with Page(usual, browser, f"{edition}/02-vision.ipynb") as page:
        until(lambda: from_the_top(page, "Recap"), 150, "all cells are drawn")
        for section, use in ((10, 7), (4, 1), (8, 5)):
            heading = f"{section}. Use {use}"
            assert from_the_top(page, heading) > 2000
            for seconds in (20, 60):  # a second click corrects it, see above
                page.driver.find_element(By.LINK_TEXT, f"section {section}").click()
                try:
                    until(lambda heading=heading: is_near_the_top(page, heading, most), seconds, f"{heading!r} is near")
                    break
                except AssertionError:
                    if seconds == 60 or edition == "notebooks":
                        raise
            page.driver.execute_script(_TO_THE_TOP)
            until(lambda heading=heading: from_the_top(page, heading) > 2000, 20, "the lab is at its beginning again")


@pytest.mark.parametrize(("lab", "word"), [("01-instruct", "KV cache"), ("03-moe", "SparseMixer")])
def test_a_new_word_leads_to_its_line_of_the_glossary(usual, browser, lab, word):
    with Page(usual, browser, f"notebooks/{lab}.ipynb") as page:
        link = until(lambda: page.driver.find_elements(By.LINK_TEXT, word), 60, f"{word} is a link")[0]
        page.show(link)
        link.click()
        shown = "return window.jupyterapp.shell.currentWidget.title.label"
        until(lambda: "glossary" in page.driver.execute_script(shown), 60, "the glossary is open")
        until(lambda: is_near_the_top(page, word), 60, f"{word!r} is near the top")
