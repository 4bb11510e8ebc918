"""`predict` and `reveal`: a guess is kept and shown beside what came out, and nothing typed stops a notebook."""

from __future__ import annotations

import ast
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy
import pytest
from marked_language import mark_sentences

from labs_helper import predict, reveal
from labs_helper.common import timeouts
from labs_helper.common.translate import _
from labs_helper.course import editions, reset
from labs_helper.exercises import check, predictions, progress, report
from labs_helper.exercises.results import CheckResult

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "notebooks" / "src").glob("*.py"))


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("LABS_PROGRESS", "on")
    monkeypatch.setenv("LABS_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setattr(progress, "_unwritten", {})  # private: what this kernel keeps; a test begins with nothing
    return tmp_path / "data"


def rows(data):
    with sqlite3.connect(data / "progress.sqlite") as connection:
        found = connection.execute("select place, guess from guess order by place").fetchall()
    connection.close()
    return found


@pytest.mark.parametrize(
    ("guess", "measured", "lines"),
    [
        (3, 5, ["Your guess: 3", "Measured: 5", "Measured is 2 more than your guess."]),
        (5, 3, ["Your guess: 5", "Measured: 3", "Measured is 2 less than your guess."]),
        (3, 12, ["Your guess: 3", "Measured: 12", "Measured is 4 times your guess."]),
        (12, 3, ["Your guess: 12", "Measured: 3", "Your guess is 4 times what was measured."]),
        (0, 12, ["Your guess: 0", "Measured: 12", "Measured is 12 more than your guess."]),
        (3, 3.0, ["Your guess: 3", "Measured: 3", "They are the same."]),
        (1e6, 2_500_000, ["Your guess: 1,000,000", "Measured: 2,500,000", "Measured is 2.5 times your guess."]),
        (
            0.5,
            numpy.float32(0.61234),
            ["Your guess: 0.5", "Measured: 0.6123", "Measured is 0.1123 more than your guess."],
        ),
        (5, float("nan"), ["Your guess: 5", "Measured: nan"]),
        (True, False, ["Your guess: True", "Measured: False"]),
        ("Chinese", "Korean", ["Your guess: Chinese", "Measured: Korean"]),
        ("many", 7, ["Your guess: many", "Measured: 7"]),
        (["a", "b"], ("b", "a"), ["Your guess: a, b", "Measured: b, a"]),
        ([1, 2], numpy.array([1, 2]), ["Your guess: 1, 2", "Measured: 1, 2", "They are the same."]),
        ({"en": 1}, {"en": 2.5}, ["Your guess: en: 1", "Measured: en: 2.5"]),
        ({"b", "a"}, {"a", "b"}, ["Your guess: a, b", "Measured: a, b", "They are the same."]),
        ([[1, 2], [3, 4]], 10, ["Your guess: [1, 2], [3, 4]", "Measured: 10"]),
    ],
)
def test_the_guess_is_shown_beside_what_came_out(guess, measured, lines):
    noted = predict("1.4a", guess)
    assert noted.lines == (lines[0].replace("Your guess", "Noted"),)
    shown = reveal("1.4a", measured)
    assert list(shown.lines) == lines
    assert str(shown) == "\n".join(["Guess 1.4a. " + lines[0], *lines[1:]])
    assert "<br>".join(lines) in shown._repr_html_()


@pytest.mark.parametrize("guess", [..., None, "", "...", [], [...], {"en": ...}])
def test_without_a_guess_one_line_says_so_and_the_notebook_goes_on(guess, data):
    noted, shown = predict("1.4a", guess), reveal("1.4a", 5)
    assert str(noted).startswith("Guess 1.4a. No guess yet.") and len(noted.lines) == 1
    assert str(shown) == "Guess 1.4a. No guess yet. Measured: 5"
    assert not data.exists()


def test_a_guess_outlives_the_kernel_and_dots_do_not_erase_it(data):
    code = "from labs_helper import predict, reveal\n{}"
    first = "predict('1.4a', 3)"
    subprocess.run([sys.executable, "-c", code.format(first)], check=True, timeout=60)
    later = code.format("print(predict('01.4a', ...)); print(reveal('1.4a', 5))")
    shown = subprocess.run([sys.executable, "-c", later], check=True, timeout=60, capture_output=True, text=True)
    assert "Your earlier guess is kept: 3" in shown.stdout and "Your guess: 3" in shown.stdout
    assert rows(data) == [("1.4a", "3")]


def test_it_is_stored_once_and_the_last_one_counts(data):
    for guess in (3, "four", 5):
        predict("1.4a", guess)
    predict("1.4b", [1, 2])
    assert rows(data) == [("1.4a", "5"), ("1.4b", "[1, 2]")]
    assert progress._unwritten == {}  # private: not kept in this kernel as well
    assert reveal("1.4a", 5).guess == 5


def test_guesses_and_results_share_a_file_and_do_not_mix(data):
    predict("1.7", 7)
    assert progress.entries() == {}
    assert check("1.7", (1, 40, 20, "no better than guessing")).passed
    assert list(progress.entries()) == ["1.7"] and rows(data) == [("1.7", "7")]
    assert "1 guess is kept" in report.report("01")
    assert "is kept" not in report.report("02")


def test_a_file_from_before_takes_guesses(data):
    check("1.7", (1, 40, 20, "no better than guessing"))
    predict("1.4a", 3)
    assert rows(data) == [("1.4a", "3")]


def test_a_locked_file_loses_no_guess(data, monkeypatch):
    monkeypatch.setattr(progress, "WAIT", 0.05)
    monkeypatch.setattr(progress, "_PATIENCE", 0.05)
    monkeypatch.setattr(progress, "_READING", 0.05)
    predict("1.4a", 3)
    other = sqlite3.connect(data / "progress.sqlite")
    other.execute("begin exclusive")
    assert "Not noted yet" in str(predict("1.4a", 4))
    assert reveal("1.4a", 5).guess == 4
    other.rollback()
    other.close()
    assert timeouts.wait_at_most(10, lambda: [None for _try in iter(lambda: rows(data)[0][1], "4")]) is not None
    assert rows(data) == [("1.4a", "4")]


def test_where_nothing_can_be_written_the_kernel_keeps_the_guess(data):
    data.write_text("a file where the folder should be")
    assert "only while this notebook is open" in str(predict("1.4a", 3))
    assert reveal("1.4a", 5).guess == 3


def test_with_progress_off_the_kernel_keeps_it_and_no_file_is_made(data, monkeypatch):
    monkeypatch.setenv("LABS_PROGRESS", "off")
    assert predict("1.4a", 3).lines == ("Noted: 3",)
    assert reveal("1.4a", 5).guess == 3
    assert not data.exists()


def test_a_damaged_file_or_a_strange_entry_is_no_guess(data):
    predict("1.4a", 3)
    with sqlite3.connect(data / "progress.sqlite") as connection:
        connection.execute("update guess set guess = 'not json'")
    connection.close()
    assert "No guess yet" in str(reveal("1.4a", 5))
    (data / "progress.sqlite").write_bytes(b"not a database" * 100)
    assert "No guess yet" in str(reveal("1.4a", 5))


def test_reset_removes_the_guesses_of_its_lab(data, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "notebooks"
    (folder / "src").mkdir(parents=True)
    (folder / "src" / "01-sample.py").write_text("# %% [markdown]\n# # A lab\n", "utf-8")
    predict("1.4a", 3), predict("01.b", 4), predict("2.1", 5), predict("11.1", 6)
    assert "2 guesses were removed." in str(reset.restore("01", folder=folder))
    assert rows(data) == [("2.1", "5")]
    assert "No guess yet" in str(reveal("1.4a", 3))
    predict("1.4a", 3)
    again = reset.restore("01", folder=folder)
    assert not again.changed and "nothing to do. 1 guess was removed." in str(again)
    monkeypatch.setenv("LABS_PROGRESS", "off")
    assert reset.restore("01", folder=folder).guesses == 0
    assert rows(data) == [("2.1", "5")]


class Rude:
    def _fail(self, *args, **kwargs):
        raise SystemExit(1)

    __len__ = __iter__ = __eq__ = __repr__ = __str__ = __float__ = tolist = _fail
    __hash__ = None


endless_list: list = []
endless_list.append(endless_list)


@pytest.mark.parametrize(
    "value",
    [object(), Rude(), [Rude()], {"a": Rude()}, print, (n for n in range(3)), endless_list, list(range(99)), 10**5000,
     "x" * 10**6, b"x", numpy.zeros((50, 50)), float("inf"), "\x1b[31mred\u202e", "<script>", "\ud800"],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_nothing_that_is_typed_raises_or_acts(value):
    for shown in (predict("1.4a", value), reveal("1.4a", value), predict(value, 1), reveal(value, 1)):
        assert 0 < len(str(shown)) < 1500
        assert "<script>" not in shown._repr_html_()
        assert "\x1b" not in str(shown) and "\ud800" not in str(shown)


def test_a_value_that_never_ends_is_stopped(monkeypatch):
    class Slow:
        def tolist(self):
            while True:
                pass

    monkeypatch.setattr(predictions, "_SECONDS", 0.2)
    assert "could not be read" in str(reveal("1.4a", Slow()))


def test_stop_still_stops():
    class Stopping:
        def tolist(self):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reveal("1.4a", Stopping())


@pytest.mark.parametrize("place", ["", "1", "4a", "99.1", "x.1", None, 1, "../1.1", "1." + "x" * 99])
def test_a_place_that_is_none_is_explained(place, data):
    assert "A place is the number of a lab" in str(predict(place, 3))
    assert not data.exists()


def test_no_verdict_is_passed(data):
    """A guess is nobody's mistake: neither form says right or wrong, and it is no result of an exercise."""
    predict("1.4a", 3)
    shown = reveal("1.4a", 1000)
    assert not isinstance(shown, CheckResult) and not hasattr(shown, "passed")
    words = f"{shown} {shown._repr_html_()}".lower()
    assert not any(word in words for word in ("right", "wrong", "correct", "passed", "well done", "sorry"))


def test_the_words_can_be_translated(monkeypatch):
    mark_sentences(monkeypatch)
    assert _("x") == "«x»"
    assert str(predict("1.4a", ...)).startswith("«Guess 1.4a.» «No guess yet.")
    predict("1.4a", 3)
    assert "«Your guess: 3»\n«Measured: 5»\n«Measured is 2 more than your guess.»" in str(reveal("1.4a", 5))


# --- The labs -----------------------------------------------------------------------------------------------------


def calls(notebook, name):
    """The calls of a function in an edition, in order: number of the cell, place, second argument."""
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    return [
        (number, ast.literal_eval(node.args[0]), node.args[1])
        for number, source in enumerate(code)
        for node in ast.walk(ast.parse("\n".join(line for line in source.splitlines() if line[:1] not in ("%", "!"))))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name
    ]


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
@pytest.mark.parametrize("kind", ["learner", "solution"])
def test_each_guess_of_a_lab_is_asked_for_once_and_revealed_later(source, kind):
    notebook = editions.edition(editions.read(source), kind)
    guessed, revealed = calls(notebook, "predict"), calls(notebook, "reveal")
    assert sorted(place for _cell, place, _value in guessed) == sorted({place for _cell, place, _value in revealed})
    first = {place: cell for cell, place, _value in reversed(revealed)}
    for cell, place, value in guessed:
        assert place.partition(".")[0] == str(int(source.stem[:2])), f"{place} is named after another lab"
        assert cell < first[place], f"{place} is revealed before it is asked for"
        is_open = any(isinstance(node, ast.Constant) and node.value is ... for node in ast.walk(value))
        assert is_open == (kind == "learner"), f"{place}: dots for the learner, a guess in the solution edition"
