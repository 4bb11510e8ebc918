"""The slides of each lab, as a file in a browser without network, on screens of three sizes."""

from __future__ import annotations

import pytest
from lab import ROOT, until
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from labs_helper.course import slides

pytestmark = pytest.mark.browser

LABS = sorted(path.stem[:2] for path in (ROOT / "notebooks/src").glob("*.py"))
SIZES = [(1920, 1080), (1280, 800), (800, 600)]
# Of every slide: its words, what it hides to the right, whether what is too high can be scrolled, and broken pictures.
SLIDES = """
return [...document.querySelectorAll('.slides > section')].map((_section, number) => {
  Reveal.slide(number);
  const slide = Reveal.getCurrentSlide(), place = slide.getBoundingClientRect();
  return {
    words: slide.innerText.trim(),
    pictures: slide.querySelectorAll('img, svg, video').length,
    wide: Math.max(0, place.right - innerWidth, -place.left),
    clipped: slide.scrollHeight > slide.clientHeight + 2 && getComputedStyle(slide).overflowY != 'auto',
    broken: [...slide.querySelectorAll('img')].filter(img => img.complete && !img.naturalWidth).length,
  };
});
"""


@pytest.mark.parametrize("lab", LABS)
def test_slides_of_a_lab_are_whole_without_network(lab, browser, tmp_path):
    page = slides.slides(lab, tmp_path / "slides.html")
    browser.set_network_conditions(offline=True, latency=0, throughput=0)
    for size in SIZES:
        browser.set_window_size(*size)
        browser.get(page.as_uri())
        until(lambda: browser.execute_script("return window.Reveal && Reveal.isReady()"), 20, "the slides are there")
        shown = browser.execute_script(SLIDES)
        assert len(shown) > 5
        assert [slide for slide in shown if not (slide["words"] or slide["pictures"])] == []
        assert [slide for slide in shown if slide["wide"] > 1 or slide["clipped"] or slide["broken"]] == []
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_keys_turn_the_slides_and_formulas_are_drawn(browser, tmp_path):
    browser.set_network_conditions(offline=True, latency=0, throughput=0)
    browser.get(slides.slides("01", tmp_path / "slides.html").as_uri())
    until(lambda: browser.execute_script("return window.Reveal && Reveal.isReady()"), 20, "the slides are there")
    body = browser.find_element(By.TAG_NAME, "body")
    body.send_keys(Keys.ARROW_RIGHT)
    body.send_keys(Keys.ARROW_RIGHT)
    assert browser.execute_script("return Reveal.getIndices().h") == 2
    formula = browser.execute_script(
        "const formula = document.querySelector('math[display=block]');"
        "Reveal.slide(Reveal.getIndices(formula.closest('section')).h);"
        "return [formula.getBoundingClientRect().width, formula.querySelectorAll('mfrac').length]"
    )
    assert formula[0] > 50 and formula[1] > 0  # a fraction that is drawn, not its source
    notes = browser.execute_script("return Reveal.getSlideNotes(Reveal.getSlide(3)) || ''")
    assert notes == "" or "<li>" in notes
