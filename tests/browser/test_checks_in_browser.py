"""Checks and hints in a real JupyterLab: folds by keyboard and mouse, Run All, no kernel, cells out of order."""

from __future__ import annotations

import pytest
from lab import as_written_down, axe_findings, outline, until, write_notebook
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from labs_helper.exercises import all_exercises

pytestmark = pytest.mark.browser

CELLS = [
    "from labs_helper import check, hint\nfrom labs_helper.exercises import so_far",
    "answer = [1]",
    "check('1.2', answer)",
    "hint('1.2')",
    "check('1.7', (1, 40, 20, 'no better than guessing'))",
    "so_far('01')",
]


def text_of(page, number: int) -> str:
    """What can be read below a cell."""
    return (
        page.driver.find_elements(By.CSS_SELECTOR, ".jp-CodeCell")[number]
        .find_element(By.CSS_SELECTOR, ".jp-OutputArea")
        .text
    )


def summaries(page):
    return [
        each for each in page.driver.find_elements(By.CSS_SELECTOR, ".jp-OutputArea summary") if each.is_displayed()
    ]


def test_hints_open_one_by_one_with_the_keyboard_and_without_a_kernel(open_cells):
    page = open_cells("checks.ipynb", CELLS)
    hints = all_exercises()["1.2"].hints
    assert "✗ Exercise 1.2: TRY AGAIN." in text_of(page, 2) and "1 try. 0 of 9 exercises" in text_of(page, 2)
    assert "✓ Exercise 1.7: PASSED." in text_of(page, 4) and "Lab 01: 1 of 9 exercises passed." in text_of(page, 5)
    assert hints[0] not in text_of(page, 2)
    page.driver.execute_script(
        "document.querySelectorAll('.jp-CodeCell .jp-OutputArea-output').forEach((each, n) => each.id = `read-${n}`)"
    )
    # What a screen reader gets of TRY AGAIN and of PASSED.
    as_written_down("\n".join(outline(page.driver, f"#read-{number}") for number in (0, 2)), "checks.txt")
    page.driver.execute_script("window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    page.select_cell(2)
    for step, key in enumerate((Keys.ENTER, Keys.SPACE, Keys.ENTER)):
        page.tab_to(f"Show hint {step + 1} of {len(hints)}")
        page.press(key)
        until(lambda step=step: hints[step] in text_of(page, 2), 5, f"hint {step + 1} is there")
    page.screenshot("checks-hints")
    # The notebook had none of these keys: no cell is being edited, none is new, none ran.
    assert len(page.cells()) == len(CELLS)
    assert page.driver.execute_script("return window.jupyterapp.shell.currentWidget.content.mode") == "command"
    assert axe_findings(page.driver, ".jp-OutputArea") == []
    page.press(Keys.ENTER)  # and closes the last one again
    until(lambda: hints[2] not in text_of(page, 2), 5, "it is closed")
    page.click(summaries(page)[0])
    until(lambda: hints[0] not in text_of(page, 2), 5, "a click closes all of them")


def test_run_all_brings_no_hint_and_a_second_run_of_the_cell_does(open_cells):
    page = open_cells("hints.ipynb", CELLS)
    assert "Hint 1 of 3" in text_of(page, 3)
    page.run_all(60)
    assert "Hint 1 of 3" in text_of(page, 3) and "2 tries" in text_of(page, 2)
    page.select_cell(3)
    for step in (1, 2):
        page.press(Keys.CONTROL + Keys.ENTER)
        until(lambda step=step: f"Hint {step} of 3" in text_of(page, 3), 20, f"hint {step} is there")
    first = all_exercises()["1.2"].hints[0]
    assert first not in text_of(page, 3)
    page.click(next(each for each in summaries(page) if each.text == "Earlier: 1 hint"))
    until(lambda: first in text_of(page, 3), 5, "the earlier hint is there")


def test_after_a_restart_a_cell_in_the_middle_says_which_cells_to_run(server, open_page):
    write_notebook(server.folder / "01-instruct.ipynb", ["numbers = [1]", "print(numbers)", "print(numbres)"])
    page = open_page("01-instruct.ipynb")
    for number in (1, 2):
        page.select_cell(number)
        page.press(Keys.CONTROL + Keys.ENTER)
        until(lambda number=number: "NameError" in text_of(page, number), 30, "the error is there")
    until(lambda: "Run the cells above first: one of them makes `numbers`" in text_of(page, 1), 10, "what to do")
    page.screenshot("checks-order")
    assert "Run the cells above first" not in text_of(page, 2)  # misspelt: no cell makes it
    page.run_all(60)
    assert page.errors() == ["NameError: name 'numbres' is not defined"]
