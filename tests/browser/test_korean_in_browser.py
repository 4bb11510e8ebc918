"""The Korean labs in a real JupyterLab: what a learner reads there, and what a screen reader says, holds no English."""

from __future__ import annotations

import english
import nbformat
import pytest
from lab import ROOT, until, write_notebook

pytestmark = pytest.mark.browser

# Texts of the notebook with what is inside shadows and frames, names of controls, and pictures as they are in the page.
# JupyterLab names its own parts in the language of its menus, and code has a test of its own.
READ = """
const said = [], pictures = [];
const left = 'script, style, code, kbd, .jp-InputArea-editor, .jp-InputPrompt, .jp-OutputPrompt, .jp-Notebook-footer,'
  + 'jp-toolbar, .jp-cell-toolbar, .jp-Toolbar';
const own = node => /(^|\\s)(jp|lm|cm)-/.test(node.getAttribute('class') || '');
function read(node) {
  if (node.nodeType === Node.TEXT_NODE) { if (node.data.trim()) said.push(node.data); return; }
  if (node.nodeType === Node.ELEMENT_NODE) {
    if (node.matches(left)) return;
    for (const name of ['alt', 'aria-label', 'aria-description', 'title', 'placeholder'])
      if (node.hasAttribute(name) && !own(node)) said.push(node.getAttribute(name));
    if (node.tagName === 'IMG') pictures.push(node.outerHTML);
    if (node.tagName === 'IFRAME' && node.contentDocument) read(node.contentDocument.body);
    if (node.shadowRoot) read(node.shadowRoot);
  }
  for (const child of node.childNodes) read(child);
}
read(document.querySelector('.jp-NotebookPanel:not(.lm-mod-hidden) .jp-Notebook'));
return [said, pictures];
"""
WIDGETS = [
    "from labs_helper import benchmarks, chat, check, compare, hint, load, memory\nmodel = load('instruct')",
    "chat(model)",
    "compare([model, load('instruct-previous')], ['Where is Lima?']).wait()",
    "benchmarks()",
    "check('0.1', 'Kenya')",
    "hint('0.1')",
    "memory()",
    "model.ask('Where is Lima?', max_tokens=0)",
]


def read(page) -> tuple[list[str], list[str]]:
    """The texts of the page, and how many of them are Korean."""
    said, pictures = page.driver.execute_script(READ)
    texts = [*said, *(text for picture in pictures for text in english.of_html(picture))]
    return texts, [text for text in texts if any("가" <= letter <= "힣" for letter in text)]


def test_a_lab_is_korean_to_its_end(open_page):
    lab = "00-start-here"
    page = open_page(f"notebooks/ko/{lab}.ipynb")
    page.in_kernel("import os; os.environ['LABS_DEQUANTIZE'] = 'auto'")
    page.run_all(150)
    assert page.errors() == []
    texts, korean = read(page)
    page.screenshot(f"korean-{lab}")
    notebook = nbformat.read(ROOT / "notebooks" / "ko" / f"{lab}.ipynb", as_version=4)
    assert len(korean) > 100
    assert english.found(texts, (*english.ALLOWED, *english.written_by_the_author(notebook))) == []


def test_widgets_are_korean_while_they_are_used(server, open_page):
    """The chat with its settings, its live region and an answer; and an error, provoked on purpose."""
    write_notebook(server.folder / "notebooks" / "ko" / "widgets.ipynb", WIDGETS)
    page = open_page("notebooks/ko/widgets.ipynb")
    page.run_all(150)
    (refused,) = page.errors()
    assert english.found([refused]) == [] and any("가" <= letter <= "힣" for letter in refused)
    (box,) = page.boxes("instruct-tiny와 대화")
    page.show(page.field(box, "메시지"))
    page.field(box, "메시지").send_keys("Where is Changsha?")
    page.click(page.button(box, "보내기"))
    until(lambda: page.status(box) == "끝났습니다.", 60, "the chat answers")
    assert "Where is Changsha?" in box.text
    texts, korean = read(page)
    page.screenshot("korean-widgets")
    assert len(korean) > 50
    assert english.found(texts, (*english.ALLOWED, r"Where is (?:Changsha|Lima)\?")) == []
