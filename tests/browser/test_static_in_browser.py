"""Each notebook of both editions as a page of nbconvert, read in a browser where no kernel runs and no network is.

axe-core looks at the pages that learners open; LABS_BROWSER_ALL=1 shows it the solved ones too.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from lab import ROOT, axe_findings
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from test_notebooks_in_browser import NOTEBOOKS as OPENED

pytestmark = pytest.mark.browser

NOTEBOOKS = [
    path.relative_to(ROOT).as_posix()
    for folder in ("notebooks", "notebooks/solutions")
    for path in sorted((ROOT / folder).glob("[0-9]*.ipynb"))
    if ".copy-" not in path.name
]
WIDGET = re.compile(r"^(?:\w+ = )?(?:chat|compare|look|experts|benchmarks)\(", re.M)
# What nbconvert draws and no notebook can change: the numbers of the cells, the colours of code, links in text without
# a line under them.
TEMPLATE = (".jp-InputPrompt", ".jp-OutputPrompt", ".highlight")
TEMPLATE_RULES = ("link-in-text-block",)
# What a person sees of each output: its size on the page, its words, and the pictures in it.
OUTPUTS = """
return [...document.querySelectorAll('.jp-OutputArea-output')].map(output => ({
  height: output.getBoundingClientRect().height,
  text: output.innerText.trim(),
  pictures: [...output.querySelectorAll('img')].map(img => [img.naturalWidth, img.alt]),
  // A list below a picture of attention works by itself; the test below sees to it.
  controls: output.querySelectorAll(':is(button, input, select, textarea):not(.labs-choice select)').length,
}));
"""


def outputs_of(path: Path) -> list[tuple[str, dict]]:
    """The source of its cell, and each stored output."""
    cells = json.loads(path.read_text("utf-8"))["cells"]
    return [("".join(cell["source"]), output) for cell in cells for output in cell.get("outputs", [])]


def problems(shown: list[dict]) -> list[str]:
    """Outputs that say nothing, pictures that did not load or have no text, and controls without a kernel."""
    found = []
    for number, output in enumerate(shown):
        if output["height"] < 5 or not (output["text"] or output["pictures"]):
            found.append(f"output {number} shows nothing")
        found += [f"output {number}: a picture is broken" for width, _ in output["pictures"] if not width]
        found += [f"output {number}: a picture without text" for _, alt in output["pictures"] if not alt.strip()]
        if output["controls"]:
            found.append(f"output {number}: {output['controls']} controls that do nothing")
        if re.search(r"Error displaying widget|Loading widget|Traceback \(most recent", output["text"]):
            found.append(f"output {number} is an error: {output['text'][:80]}")
    return found


@pytest.fixture(scope="module")
def page_of(tmp_path_factory):
    """A function: the page of a notebook, with the pictures of the course beside it; made once."""
    from nbconvert import HTMLExporter

    folder = tmp_path_factory.mktemp("pages")
    shutil.copytree(ROOT / "images", folder / "images")

    def made(notebook: str) -> Path:
        page = (folder / notebook).with_suffix(".html")
        if not page.exists():
            page.parent.mkdir(parents=True, exist_ok=True)
            page.write_text(HTMLExporter().from_filename(str(ROOT / notebook))[0], "utf-8")
        return page

    return made


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_a_notebook_can_be_read_without_a_kernel(notebook, browser, page_of):
    path = ROOT / notebook
    assert "widgets" not in json.loads(path.read_text("utf-8"))["metadata"]
    browser.get(page_of(notebook).as_uri())

    headings = [each.text for each in browser.find_elements(By.TAG_NAME, "h1")]
    assert len(headings) == 1 and headings[0].strip()
    code = browser.find_elements(By.CSS_SELECTOR, ".jp-CodeCell .jp-InputArea")
    assert len(code) >= 10 and all(each.is_displayed() for each in code)
    broken = browser.execute_script(
        "return [...document.images].filter(img => !img.naturalWidth || !img.alt.trim()).map(img => img.outerHTML)"
    )
    assert broken == []

    stored, shown = outputs_of(path), browser.execute_script(OUTPUTS)
    assert len(shown) == len(stored)
    assert problems(shown) == []
    if "/solutions/" not in notebook:
        assert shown == []
        return
    assert len(shown) >= 10
    # A widget is as rich as what it stands for: it has its HTML form there, with more than a line of text or a picture.
    widgets = [
        each
        for (source, output), each in zip(stored, shown)
        if WIDGET.search(source) and output["output_type"] == "execute_result"
    ]
    assert widgets or not any(WIDGET.search(source) for source, _ in stored)
    for each in widgets:
        words = " ".join([each["text"], *(alt for _, alt in each["pictures"])])
        assert len(words.split()) >= 12, words


@pytest.mark.parametrize("notebook", OPENED)
def test_axe_finds_nothing_in_a_notebook_as_a_page(notebook, browser, page_of):
    browser.get(page_of(notebook).as_uri())
    assert axe_findings(browser, outside=TEMPLATE, without=TEMPLATE_RULES) == []


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


def test_what_a_learner_saves_can_be_read_without_a_kernel(browser, tmp_path):
    """JupyterLab keeps the live widget beside its HTML form, without its state. The form is what is shown then."""
    from nbconvert import HTMLExporter

    notebook = json.loads((ROOT / "notebooks/solutions/01-instruct.ipynb").read_text("utf-8"))
    live = [
        output
        for cell in notebook["cells"]
        for output in cell.get("outputs", [])
        if WIDGET.search("".join(cell["source"])) and output["output_type"] == "execute_result"
    ]
    for number, output in enumerate(live):
        view = {"model_id": f"{number:032x}", "version_major": 2, "version_minor": 0}
        output["data"] = {"application/vnd.jupyter.widget-view+json": view, **output["data"]}
    (tmp_path / "saved.ipynb").write_text(json.dumps(notebook), "utf-8")
    (tmp_path / "saved.html").write_text(HTMLExporter().from_filename(str(tmp_path / "saved.ipynb"))[0], "utf-8")
    browser.get((tmp_path / "saved.html").as_uri())
    shown = browser.execute_script(OUTPUTS)
    assert len(live) >= 3 and problems(shown) == []
    assert any("Where is Changsha?" in each["text"] and "Hunan" in each["text"] for each in shown)


def test_a_list_below_a_picture_works_without_a_kernel(browser, tmp_path):
    from labs_helper.figures import choice

    entries = [choice.Entry(name, f"<p>facts of {name}</p>") for name in "abc"]
    frames = choice.frames([choice.Box(0, n / 3, 1, 1 / 3) for n in range(3)])
    picture = f'<div style="position:relative;width:300px;height:300px">{frames}</div>'
    page = tmp_path / "list.html"
    page.write_text(choice.choice(picture, "Choose:", entries, chosen=1), "utf-8")
    browser.get(page.as_uri())
    chosen = browser.find_element(By.TAG_NAME, "select")

    def seen():
        text = browser.find_element(By.CSS_SELECTOR, ".labs-facts").text
        return text, [each.rect["y"] for each in browser.find_elements(By.TAG_NAME, "i") if each.is_displayed()]

    (words, (middle,)), places = seen(), []
    assert words == "facts of b"
    for key, facts in ((Keys.ARROW_DOWN, "c"), (Keys.HOME, "a"), (Keys.END, "c"), ("a", "a")):
        chosen.send_keys(key)
        words, (top,) = seen()
        assert words == f"facts of {facts}"
        places.append(round(top - middle))
    assert places == [100, -100, 100, -100]


def test_the_check_can_fail(browser, tmp_path):
    bad = [
        "<div></div>",
        '<img src="nowhere.png" alt="a">',
        "<p>Send <button>Send</button></p>",
        "<p>Error displaying widget: model not found</p>",
    ]
    page = tmp_path / "page.html"
    page.write_text("".join(f'<div class="jp-OutputArea-output">{each}</div>' for each in bad), "utf-8")
    browser.get(page.as_uri())
    found = problems(browser.execute_script(OUTPUTS))
    assert [text.split()[1].rstrip(":") for text in found] == ["0", "1", "2", "3"]


def test_the_page_to_keep_needs_no_network_follows_the_theme_and_wraps_in_print(browser, tmp_path):
    from labs_helper.course.page import page

    browser.set_network_conditions(offline=True, latency=0, throughput=0)
    browser.get(page(str(ROOT / "notebooks/solutions/01-instruct.ipynb"), tmp_path / "01.html").as_uri())
    assert problems(browser.execute_script(OUTPUTS)) == []
    drawn = "return [...document.querySelectorAll('math')].map(m => m.getBoundingClientRect().width)"
    assert min(browser.execute_script(drawn)) > 5 and "$$" not in browser.find_element(By.TAG_NAME, "main").text
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []

    def lightness(scheme, media=""):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})
        return browser.execute_script(
            "const light = (e, name) =>"
            " Math.max(...getComputedStyle(e)[name].match(/[0-9.]+/g).slice(0, 3).map(Number));"
            "const text = document.querySelector('.jp-MarkdownCell p');"
            "const code = document.querySelector('.highlight pre');"
            "return [light(document.body, 'backgroundColor'), light(text, 'color'), light(code, 'color'),"
            " getComputedStyle(document.querySelector('.labs-chart')).filter !== 'none'];"
        )

    ground, text, code, turned = lightness("light")
    assert ground > 240 and text < 60 and code < 120 and not turned
    ground, text, code, turned = lightness("dark")
    assert ground < 60 and text > 180 and code > 150 and turned
    # Paper is light whatever the theme, as wide as A4, and no line of code or text, no chart, table or picture goes
    # beyond its edge or needs a scroll bar.
    ground, text, _code, turned = lightness("dark", "print")
    assert ground > 240 and text < 60 and not turned
    browser.set_window_size(720, 1000)
    cut = browser.execute_script(
        "return [...document.querySelectorAll('pre, .jp-RenderedMarkdown, figure, figure *')]"
        ".filter(e => e.scrollWidth > e.clientWidth + 1 || e.getBoundingClientRect().right > innerWidth + 1)"
        ".map(e => e.textContent.trim().slice(0, 80));"
    )
    assert cut == []
