"""A click on a link to a place brings that place to the top: inside a lab, and from a lab into a document."""

from __future__ import annotations

import shutil

import pytest
from lab import ROOT, LabServer, Page, until
from selenium.webdriver.common.by import By

pytestmark = pytest.mark.browser

_TOP_OF = """
const [words] = arguments;
const shown = window.jupyterapp.shell.currentWidget.node;
const heading = [...shown.querySelectorAll('h1, h2, h3')].find(each => each.textContent.startsWith(words));
if (!heading) return null;
const room = shown.getBoundingClientRect(), place = heading.getBoundingClientRect();
return place.top >= room.top - 2 && place.bottom <= room.bottom ? place.top - room.top : null;
"""


@pytest.fixture(scope="module")
def usual(needs_chromium, tmp_path_factory):
    """JupyterLab as people have it: cells far from the visible part are drawn later."""
    folder, home = tmp_path_factory.mktemp("labs"), tmp_path_factory.mktemp("home")
    for name in ("notebooks", "images", "docs"):
        shutil.copytree(ROOT / name, folder / name)
    with LabServer(folder, home, usual=True) as running:
        yield running


def click_and_find(page, link, heading):
    """Pixels from the top of the page to a heading, after a click on a link."""
    page.driver.find_element(By.LINK_TEXT, link).click()
    return until(lambda: page.driver.execute_script(_TOP_OF, heading), 20, f"{heading!r} is in view")


@pytest.mark.parametrize("edition", ["notebooks", "notebooks/solutions"])
def test_the_seven_uses_lead_to_their_sections(usual, tmp_path, edition):
    with Page(usual, tmp_path / "profile", f"{edition}/02-vision.ipynb") as page:
        assert page.driver.execute_script(_TOP_OF, "10. Use 7") is None
        for section, use in ((10, 7), (4, 1), (8, 5)):
            assert click_and_find(page, f"section {section}", f"{section}. Use {use}") < 300
            page.driver.execute_script(
                "window.jupyterapp.shell.currentWidget.content.scrollToItem(0);"
                "document.querySelector('.jp-WindowedPanel-outer').scrollTop = 0;"
            )
            until(
                lambda: page.driver.find_element(By.LINK_TEXT, "section 4").is_displayed(), 20, "the table is in view"
            )


@pytest.mark.parametrize(("lab", "word"), [("01-instruct", "KV cache"), ("03-moe", "SparseMixer")])
def test_a_new_word_leads_to_its_line_of_the_glossary(usual, tmp_path, lab, word):
    with Page(usual, tmp_path / "profile", f"notebooks/{lab}.ipynb") as page:
        page.show(until(lambda: page.driver.find_elements(By.LINK_TEXT, word), 20, f"{word} is a link")[0])
        assert click_and_find(page, word, word) < 300
        assert "glossary" in page.driver.execute_script("return window.jupyterapp.shell.currentWidget.title.label")
