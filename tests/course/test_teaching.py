"""The teaching guide fits the notebooks: sections exist, minutes add up, plans end when they say."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path

import pytest

from labs_helper import cli
from labs_helper.catalog import find_lab, labs
from labs_helper.catalog.labs import Lab
from labs_helper.course import timetable
from labs_helper.course.translation import offered
from labs_helper.errors import BadRequest

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs" / "teaching"
LABS = [lab.number for lab in labs()]


def sections(number: str) -> list[timetable.Section]:
    (path,) = timetable.lab_notebooks([number])
    return timetable.sections(path)


def text(number: str) -> str:
    return (GUIDE / f"{number}.md").read_text("utf-8")


# --- Minutes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", LABS)
def test_the_minutes_of_a_lab_add_up(number):
    """Sections make the lab, and the exercises of a section leave time to read it."""
    found, lab = sections(number), find_lab(number)
    assert sum(section.minutes for section in found) == lab.minutes
    assert sum(section.core for section in found) == (lab.core or lab.minutes)
    for section in found:
        exercises = sum(int(re.search(r"(\d+) minutes?\)", name)[1]) for name in section.exercises)
        assert exercises < section.minutes, f"{section.title}: {exercises} minutes of exercises in {section.minutes}"


def said(minutes: int) -> str:
    """As the texts write it: 45 minutes, 2 hours, 2 hours 30 minutes."""
    hours, rest = divmod(minutes, 60)
    parts = [f"{hours} hour{'s' * (hours > 1)}"] if hours else []
    return " ".join([*parts, *([f"{rest} minutes"] if rest else [])])


def time_of(lab: Lab) -> str:
    """As the head of a lab, README and notebook 00 write it."""
    return f"core {said(lab.core)}, everything {said(lab.minutes)}" if lab.core else said(lab.minutes)


@pytest.mark.parametrize("number", LABS)
def test_every_text_says_the_same_time(number):
    lab = find_lab(number)
    head = "".join(json.loads((ROOT / f"notebooks/{lab.stem}.ipynb").read_text("utf-8"))["cells"][0]["source"])
    assert re.search(r"^\| time \| (.+?)[;|]", head, re.M)[1].strip() == time_of(lab)
    (row,) = re.findall(rf"^\| \[{number} .*$", (ROOT / "README.md").read_text("utf-8"), re.M)
    assert row.split("|")[-2].strip() == time_of(lab)
    cells = json.loads((ROOT / "notebooks/00-start-here.ipynb").read_text("utf-8"))["cells"]
    table = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    (row,) = re.findall(rf"^\| \[?{number}\W.*$", table, re.M)
    assert row.split("|")[-2].strip() == time_of(lab)


# --- The guide of each lab -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", LABS)
def test_each_lab_has_a_guide_with_every_part(number):
    headings = re.findall(r"^## (.+)$", text(number), re.M)
    expected = [
        "Goals",
        "What they should know before",
        "Three misconceptions",
        "Questions for the room",
        "What to skip",
    ]
    assert headings == [*expected, "Where they get stuck", "Sections"]
    part = dict(zip(headings, re.split(r"^## .+$", text(number), flags=re.M)[1:]))
    assert len(re.findall(r"^\| \"", part["Three misconceptions"], re.M)) == 3
    assert len(re.findall(r"^\d\. \*.+\?\*? ", part["Questions for the room"].replace("\n   ", " "), re.M)) >= 3
    assert f"({number}.md)" in (GUIDE / "README.md").read_text("utf-8")


@pytest.mark.parametrize("number", LABS)
def test_the_guide_lists_the_sections_as_they_are(number):
    listed = re.findall(r"^\| (\d+\. .+?) \| (optional)?", text(number), re.M)
    assert listed == [
        (section.title, "" if section.core else "optional") for section in sections(number) if section.number
    ]


TOLD = [
    (language.code, number)
    for language in offered.languages()
    for number in LABS
    if number in language.labs and f"docs/teaching/{number}.md" in language.documents
]


@pytest.mark.parametrize(("language", "number"), TOLD)
def test_a_translated_guide_lists_the_sections_as_the_translated_lab_has_them(language, number):
    (path,) = (ROOT / "notebooks" / language).glob(f"{number}-*.ipynb")
    guide = (ROOT / offered.file_of(f"docs/teaching/{number}.md", language)).read_text("utf-8")
    listed = re.findall(r"^\| (\d+\. .+?) \|", guide, re.M)
    assert listed == [section.title for section in timetable.sections(path) if section.number]


@pytest.mark.parametrize("number", LABS)
def test_sections_and_exercises_that_the_guide_names_exist(number):
    """ "section 6" is one of this lab, "lab 01, section 6" one of another; numbers after "and" count too."""
    guide = text(number)
    known = {lab: {section.number for section in sections(lab)} for lab in LABS}
    named = re.findall(r"(?:[Ll]ab (\d\d), )?[Ss]ections? (\d+(?:(?:, | and | or )\d+)*)", guide)
    assert named
    for lab, numbers in named:
        assert set(re.findall(r"\d+", numbers)) <= known[lab or number], f"{lab or number}: {numbers}"
    exercises = {name.split(" ")[0] for lab in LABS for section in sections(lab) for name in section.exercises}
    assert set(re.findall(r"[Ee]xercise (\d\.\d+)", guide)) <= exercises


# --- Plans and the run sheets made from them -------------------------------------------------------------------------


def clock(text: str) -> int:
    """Minutes after midnight of what begins with a time."""
    return int(text[:2]) * 60 + int(text[3:5])


@pytest.mark.parametrize("plan", timetable.plans(), ids=lambda plan: plan.name)
def test_a_plan_ends_when_it_says_with_breaks_and_lunch(plan):
    lines = timetable.planned(plan.name).splitlines()
    rows = [(clock(line), line) for line in lines if re.match(r"\d\d:\d\d", line)]
    assert clock(plan.end) - 30 <= rows[-1][0] <= clock(plan.end), rows[-1]
    rests = [at for at, line in rows if line.endswith((" break", " lunch"))]
    starts = [rows[0][0], *rests, rows[-1][0]]
    assert max(after - before for before, after in pairwise(starts)) <= 150
    runs_at_noon = rows[0][0] < 12 * 60 and rows[-1][0] > 13 * 60 + 15
    assert sum(line.endswith(" lunch") for _at, line in rows) == runs_at_noon


def test_the_guide_lists_the_plans_as_they_are():
    rows = re.findall(r"^\| `(.+)$", (GUIDE / "README.md").read_text("utf-8"), re.M)
    listed = [[cell.strip(" `") for cell in row.strip(" |").split("|")] for row in rows]
    assert listed == [
        [
            plan.name,
            plan.title,
            ", ".join(plan.labs),
            ", ".join([*["optional parts"] * plan.core, *plan.skip]),
            plan.start,
            plan.end,
        ]
        for plan in timetable.plans()
    ]


@pytest.mark.parametrize(
    "language", [spoken.code for spoken in offered.languages() if "docs/teaching/README.md" in spoken.documents]
)
def test_a_plan_in_another_language_has_the_title_of_the_translated_guide(language, capsys):
    guide = (ROOT / offered.file_of("docs/teaching/README.md", language)).read_text("utf-8")
    titles = dict(re.findall(r"^\| `(.+?)` \| (.+?) \|", guide, re.M))
    assert set(titles) == {plan.name for plan in timetable.plans()}
    for plan in timetable.plans():
        assert cli.main(["workshop", "run-sheet", "--plan", plan.name, "--language", language]) == 0
        shown = capsys.readouterr().out
        assert shown.splitlines()[0] == titles[plan.name] != plan.title
        assert not re.search(r" (break|lunch|end)$|exercise|left out", shown, re.M)


def test_the_command_prints_a_plan(capsys):
    assert cli.main(["workshop", "run-sheet", "--plan", "day", "--start", "10:00"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("Language and vision\n\nSTART")
    assert "10:00" in shown and "lunch" in shown and "left out: 9. " in shown and "1.25 times" in shown
    assert cli.main(["workshop", "run-sheet", "--plan", "nosuch"]) == 1
    assert "half-day" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("start", "lunches"),
    [("09:00", 1), ("11:00", 1), ("12:25", 0), ("13:30", 0), ("08:00", 1)],
)
def test_lunch_comes_once_and_only_in_the_middle(start, lunches):
    assert timetable.run_sheet(["01", "02"], start=start).count(" lunch") == lunches


@pytest.mark.parametrize("options", [{"skip": ["01.99"]}, {"skip": ["02.1"]}, {"pace": 0}, {"lunch": "noon"}])
def test_what_cannot_be_planned_is_refused(options):
    with pytest.raises(BadRequest):
        timetable.run_sheet(["01"], **options)
