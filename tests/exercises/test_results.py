"""What `check` and `so_far` show: a word, an icon and a colour; tries; hints in folds; what is left."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from labs_helper.exercises import all_exercises, check, progress, so_far, tally
from labs_helper.exercises.looks import COLOURS, ICONS, NOT_YET, PASSED, TRY_AGAIN
from labs_helper.exercises.results import CheckResult

RIGHT, WRONG = (1, 40, 20, "no better than guessing"), (1, 40, 20, "better than guessing")  # of exercise 1.7


@pytest.fixture(autouse=True)
def nothing_tried():
    tally.replace({})
    yield
    tally.replace({})


@pytest.fixture(params=["on", "off"])
def kept(request, monkeypatch, tmp_path):
    """With the progress file and without it."""
    monkeypatch.setenv("LABS_PROGRESS", request.param)
    monkeypatch.setenv("LABS_DATA_DIR", str(tmp_path))


@pytest.mark.parametrize(
    ("value", "word", "status"), [(RIGHT, "PASSED", PASSED), (WRONG, "TRY AGAIN", TRY_AGAIN), (..., "NOT YET", NOT_YET)]
)
def test_each_state_has_its_word_icon_and_colour(value, word, status):
    result = check("1.7", value)
    page, text = result._repr_html_(), str(result)
    assert word in page and ICONS[status] in page
    assert re.search(rf"border-left:6px \w+ {COLOURS[status]}", page)
    assert text.startswith(f"{ICONS[status]} Exercise 1.7 - {word}: ")
    assert len(set(ICONS.values())) == len(set(COLOURS.values())) == 3


def luminance(colour):
    parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("ground", ["#ffffff", "#111111"], ids=["light", "dark"])
@pytest.mark.parametrize("status", COLOURS)
def test_colours_are_seen_in_both_themes(status, ground):
    """WCAG 1.4.11: 3:1 for what is no text. #111111 is JupyterLab's dark ground."""
    bright, dark = sorted((luminance(COLOURS[status]), luminance(ground)), reverse=True)
    assert (bright + 0.05) / (dark + 0.05) >= 3


def test_tries_and_the_rest_of_the_lab_are_told(kept):
    assert "1 try. 0 of 9 exercises of this lab passed." in str(check("1.7", WRONG))
    shown = check("1.7", RIGHT)
    assert "2 tries. 1 of 9 exercises of this lab passed." in str(shown)
    assert "2 tries. 1 of 9 exercises of this lab passed." in shown._repr_html_()
    assert "3 tries. 1 of 9" in str(check("1.7", WRONG))  # once passed is passed
    assert "3 tries" in str(check("1.7", ...)) and "try." not in str(check("1.2", ...))


def test_tries_of_an_earlier_kernel_count(monkeypatch, tmp_path):
    monkeypatch.setenv("LABS_PROGRESS", "on")
    monkeypatch.setenv("LABS_DATA_DIR", str(tmp_path))
    check("1.7", RIGHT)
    tally.replace({})  # as in a new kernel
    assert "1 try. 1 of 9" in str(check("1.2", [1]))
    tally.replace({})
    assert "2 tries. 1 of 9" in str(check("1.7", WRONG))


class Folds(HTMLParser):
    """The text at each depth of nested folds, and the labels of their buttons."""

    def __init__(self):
        super().__init__()
        self.depth, self.texts, self.labels, self._label = 0, {}, [], False

    def handle_starttag(self, tag, attributes):
        self.depth += tag == "details"
        self._label = self._label or tag == "summary"

    def handle_endtag(self, tag):
        self.depth -= tag == "details"
        self._label = self._label and tag != "summary"

    def handle_data(self, data):
        if self._label:
            self.labels.append(data)
        else:
            self.texts[self.depth] = self.texts.get(self.depth, "") + data


def test_under_try_again_each_hint_is_one_press_further():
    shown, hints = check("1.7", WRONG), all_exercises()["1.7"].hints
    folds = Folds()
    folds.feed(shown._repr_html_())
    assert folds.depth == 0 and shown.message in folds.texts[0]
    assert [folds.texts[step] for step in (1, 2, 3)] == list(hints)
    assert folds.labels == ["Show hint 1 of 3", "Show hint 2 of 3", "Show hint 3 of 3"]
    assert 'hint("1.7")' in str(shown) and not any(hint in str(shown) for hint in hints)


@pytest.mark.parametrize("value", [RIGHT, ...])
def test_elsewhere_no_hint_is_offered(value):
    assert "<details" not in check("1.7", value)._repr_html_()


def test_what_a_learner_types_stays_text():
    shown = CheckResult("<b>", "", TRY_AGAIN, "<script>", "<i>", 2, (1, 2), ("<u>",))._repr_html_()
    assert not re.search("<(b|script|i|u)>", shown) and "&lt;u&gt;" in shown


def test_a_lab_says_what_is_left(kept):
    check("1.7", RIGHT), check("1.2", [1]), check("1.2", [2])
    shown = so_far("01")
    text, page = str(shown), shown._repr_html_()
    assert text.startswith("Lab 01: 1 of 9 exercises passed.") and "Lab 01: 1 of 9 exercises passed." in page
    assert "✓ 1.7 passed" in text and "✗ 1.2 tried" in text and "○ 1.3 not tried" in text
    assert "1.2, Find the stop ids (2 tries)" in text and "1.2, Find the stop ids (2 tries)" in page
    assert [state.number for state in shown.left] == [f"1.{n}" for n in range(1, 10) if n != 7]
    assert "labs reset 01" in text and "labs reset 01" in page
    assert page.count("<li") == 9 + 8


def test_a_finished_lab_has_nothing_left(kept):
    for number in all_exercises("01"):
        progress.record(number, PASSED)
    shown = so_far(1)
    assert str(shown).startswith("Lab 01: 9 of 9 exercises passed.") and "Left" not in str(shown)
    assert "Left" not in shown._repr_html_()


def test_what_was_noted_yesterday_counts(monkeypatch, tmp_path):
    monkeypatch.setenv("LABS_PROGRESS", "on")
    monkeypatch.setenv("LABS_DATA_DIR", str(tmp_path))
    check("1.7", RIGHT)
    tally.replace({})
    assert len(so_far("1").left) == 8
    (tmp_path / "progress.sqlite").write_bytes(b"no database" * 100)
    shown = so_far("1")
    assert len(shown.left) == 9 and "cannot be read" in str(shown) and "cannot be read" in shown._repr_html_()


@pytest.mark.parametrize("lab", ["77", "x", "", "<b>"])
def test_a_lab_without_exercises_is_no_error(lab):
    shown = so_far(lab)
    assert "has no exercises" in str(shown) and "<b>" not in shown._repr_html_().replace("<b>lab", "")
