"""The timetable of a class, from the minutes in the notebooks."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from labs_helper.catalog.labs import notebooks, pick
from labs_helper.common import translate
from labs_helper.common.translate import _
from labs_helper.errors import BadRequest

HEADING = re.compile(r"^#{1,6} +(.+?)(?: \((?:optional, )?\d+ minutes?(?:, \d+ optional)?\))?\s*$", re.M)
# "(optional, 19 minutes)" of a part, "(optional, hard, 15 minutes)" of an exercise.
OPTIONAL = re.compile(r"^(#{2,6}) .*?\(optional, (?:[\w -]+, )?(\d+) minutes?\)", re.M)
LUNCH, LUNCH_MINUTES = "12:30", 60
WORK = 75  # minutes between breaks in a plan: most sections take 20 to 30
_TARGETS = re.compile(r'(?:<a id="[\w-]+"></a>\s*)*')
_EXERCISE = re.compile(r"^#{2,6} Exercise (\S+) \((.+?)\)", re.M)
_LINE = re.compile(r"^#{1,6} +(.+?)\s*$", re.M)
# The brackets with the minutes, in any language, and what follows them: "Exercise 1.1 (easy, 6 minutes): count tokens".
TIME = re.compile(r" \(([^()]*\d[^()]*)\)(?:: .*)?$")
_PART = re.compile(r"^#{3,6} (?!Exercise )(.+?) \(optional, \d+ minutes?\)", re.M)


@dataclass(frozen=True)
class Section:
    """A part of a lab.

    Attributes:
        title: its heading.
        minutes: from the metadata of its first cell.
        exercises: the exercises inside, each with its difficulty and its minutes.
        left_out: those of them that are optional.
        optional: the minutes of what its headings call optional: the section itself, or parts and exercises in it.
        parts: the titles of its optional parts that are no exercises.
    """

    title: str
    minutes: int
    exercises: tuple[str, ...] = ()
    left_out: frozenset[str] = frozenset()
    optional: int = 0
    parts: tuple[str, ...] = ()

    @property
    def core(self) -> int:
        """Minutes without what is optional."""
        return self.minutes - self.optional

    @property
    def number(self) -> str:
        """The number in its heading, such as "5"; "" without one."""
        numbered = re.match(r"(\d+)\. ", self.title)
        return numbered[1] if numbered else ""


def from_its_heading(text: str) -> str:
    """The text of a cell without the targets of links that may come before its heading.

    Example:
        >>> from_its_heading('<a id="use-1"></a>\\n\\n## 4. Use 1')
        '## 4. Use 1'
    """
    targets = _TARGETS.match(text)
    return text[targets.end() :] if targets else text


def sections(notebook: Path) -> list[Section]:
    """The sections of a notebook that say how long they take, in order.

    What is optional is read in the English edition: a translation has the same cells and headings, in other words.

    Example:
        sum(section.minutes for section in sections(notebook))
    """
    result: list[Section] = []
    cells, english = _cells(notebook), {cell["id"]: cell["source"] for cell in _cells(_original(notebook))}
    for cell in cells:
        if cell["cell_type"] != "markdown":
            continue
        said, text = "".join(cell["source"]), "".join(english.get(cell["id"], cell["source"]))
        if "minutes" in cell["metadata"]:
            heading = _LINE.search(said)
            title = TIME.sub("", heading[1]) if heading else _("Without a heading")
            result.append(Section(title, int(cell["metadata"]["minutes"])))
        if result:
            # What is optional in an optional section counts once.
            optional = sum(int(minutes) for _level, minutes in OPTIONAL.findall(text))
            last = result[-1]
            exercises, left_out, parts = _inside(text, said)
            result[-1] = replace(
                last,
                exercises=last.exercises + exercises,
                left_out=last.left_out | left_out,
                optional=min(last.minutes, last.optional + optional),
                parts=last.parts + parts,
            )
    return result


def _cells(notebook: Path) -> list[dict[str, Any]]:
    cells: list[dict[str, Any]] = json.loads(notebook.read_text("utf-8"))["cells"]
    return cells


def _original(notebook: Path) -> Path:
    """The English edition of a notebook in another language; the notebook itself where it is English, or alone."""
    folder = notebook.parent
    path = folder.parent / notebook.name
    return path if folder.name in translate.languages() and path.is_file() else notebook


def _inside(english: str, said: str) -> tuple[tuple[str, ...], frozenset[str], tuple[str, ...]]:
    """The exercises under the headings of a cell, those that are optional, and the optional parts, as it says them."""
    exercises, left_out, parts = [], set(), []
    for original, heading in zip(_LINE.finditer(english), _LINE.finditer(said)):
        time = TIME.search(heading[1])
        if exercise := _EXERCISE.match(original[0]):
            name = f"{exercise[1]} ({time[1] if time else exercise[2]})"
            exercises.append(name)
            if exercise[2].startswith("optional, "):
                left_out.add(name)
        elif _PART.match(original[0]):
            parts.append(TIME.sub("", heading[1]))
    return tuple(exercises), frozenset(left_out), tuple(parts)


def lab_notebooks(
    labs: Sequence[str] | None = None, *, folder: Path | None = None, language: str | None = None
) -> list[Path]:
    """The learner notebooks of the named labs ("01" or "01-instruct"), or of all labs.

    Args:
        labs: their names.
        folder: the notebooks folder; the course's by default.
        language: of the editions, where a lab has one; English by default.

    Raises:
        BadRequest: there is no such lab.

    Example:
        lab_notebooks(["00"])
    """
    known = notebooks(folder)
    chosen = [path for name in labs for path in pick(known, name)] if labs else known
    translated = [path.parent / translate.code(language or translate.ENGLISH) / path.name for path in chosen]
    return [other if other.is_file() else path for path, other in zip(chosen, translated, strict=True)]


@dataclass(frozen=True)
class Plan:
    """A class that somebody has thought through: which labs, what to leave out, when it ends.

    Attributes:
        name: for the command, such as "half-day".
        title: what the class learns.
        labs: their numbers in the order of the day.
        skip: sections to leave out, as "01.5": lab and number.
        start: the time of the first section.
        end: the time by which it is over.
        pace: how much longer a class takes than the authors say.
        core: whether the class leaves out what the labs call optional.
    """

    name: str
    title: str
    labs: tuple[str, ...]
    skip: tuple[str, ...]
    start: str
    end: str
    pace: float
    core: bool


@cache
def plans() -> tuple[Plan, ...]:
    """The plans of the teaching guide (plans.toml).

    Example:
        [plan.name for plan in plans()]
    """
    entries = tomllib.loads((Path(__file__).parent / "plans.toml").read_text("utf-8"))["plan"]
    return tuple(Plan(**{**entry, "labs": tuple(entry["labs"]), "skip": tuple(entry["skip"])}) for entry in entries)


def planned(name: str, *, start: str | None = None, folder: Path | None = None, language: str | None = None) -> str:
    """The timetable of a plan, under its title.

    Args:
        name: of the plan.
        start: another time than the plan's.
        folder: the notebooks folder; the course's by default.
        language: of the editions, where a lab has one.

    Raises:
        BadRequest: there is no such plan.

    Example:
        print(planned("half-day"))
    """
    for plan in plans():
        if plan.name == name:
            timetable = run_sheet(
                plan.labs,
                start=start or plan.start,
                work=WORK,
                skip=plan.skip,
                pace=plan.pace,
                core=plan.core,
                folder=folder,
                language=language,
            )
            return f"{translate.of_table(plan.title)}\n\n{timetable}"
    raise BadRequest(
        _("There is no plan {name!r}.").format(name=name[:40]),
        _("The plans are: {plans}.").format(plans=", ".join(plan.name for plan in plans())),
    )


def run_sheet(
    labs: Sequence[str] | None = None,
    *,
    start: str = "09:00",
    pause: int = 10,
    work: int = 60,
    lunch: str = LUNCH,
    skip: Sequence[str] = (),
    pace: float = 1.0,
    core: bool = False,
    folder: Path | None = None,
    language: str | None = None,
) -> str:
    """The timetable of a day, as lines of text.

    Args:
        labs: their numbers in the order of the day; None takes all.
        start: the time of the first section, such as "09:00".
        pause: minutes of a break, 0 for none.
        work: minutes after which the next section begins with a break.
        lunch: the time of an hour for lunch, if the class still runs then; "" for none.
        skip: sections to leave out, as "01.5": lab and number.
        pace: how much longer a class takes than the authors say, such as 1.25.
        core: leave out what the labs call optional.
        folder: the notebooks folder; the course's by default.
        language: of the editions, where a lab has one.

    Raises:
        BadRequest: a lab, a section or a time does not exist.

    Example:
        print(run_sheet(["00", "01"], start="13:30"))
    """
    if pause < 0 or work < 1 or not 0.5 <= pace <= 4:
        raise BadRequest(
            _("A break of {pause} minutes after {work} minutes of work, at pace {pace:g}, cannot be planned.").format(
                pause=pause, work=work, pace=pace
            ),
            _("Use whole minutes, at least 0 for a break and 1 for work, and a pace from 0.5 to 4."),
        )
    begin, noon = _minutes(start), _minutes(lunch) if lunch else 0
    # A class that begins shortly before lunch has had it.
    day = _Day(begin, pause, work, noon if begin <= noon - 60 else None)
    left_out, total = set(skip), 0
    for notebook in lab_notebooks(labs, folder=folder, language=language):
        day.note(f"-- {notebook.stem} --")
        for section in sections(notebook):
            key = f"{notebook.stem[:2]}.{section.number}"
            minutes = section.core if core else section.minutes
            if key in left_out or not minutes:
                left_out.discard(key)
                day.note("  " + _("left out: {title}").format(title=section.title))
                continue
            day.spend(section.title, max(1, round(minutes * pace)))
            for name in section.exercises:
                gone = core and name in section.left_out
                sentence = _("left out: exercise {name}") if gone else _("exercise {name}")
                day.note("  " + sentence.format(name=name))
            for title in section.parts if core else ():
                day.note("  " + _("left out: {title}").format(title=title))
            total += minutes
    if left_out:
        raise BadRequest(
            _("There is no section {name}.").format(name=", ".join(sorted(left_out))),
            _("Write lab and section, such as 01.5, of a lab of this day."),
        )
    sentence = _("{count} minutes of labs, as their authors estimate; an exercise is part of its section.")
    if pace != 1:
        sentence += " " + _("Here each takes {pace:g} times as long.")
    return "\n".join([*day.lines, _row(_time(day.now), "", _("end")), sentence.format(count=total, pace=pace)])


@dataclass
class _Day:
    """A timetable that grows section by section, with a break or lunch where one is due."""

    now: int
    pause: int
    work: int
    lunch: int | None
    since_break: int = 0
    lines: list[str] = field(default_factory=lambda: [_row(_("START"), _("MINUTES"), _("WHAT"))])

    def note(self, text: str) -> None:
        self.lines.append(_row("", "", text))

    def spend(self, title: str, minutes: int) -> None:
        # At the boundary that is nearest to the time of lunch.
        if self.lunch is not None and self.now + minutes / 2 >= self.lunch:
            self._rest(_("lunch"), LUNCH_MINUTES)
            self.lunch = None
        if self.pause and self.since_break and self.since_break + minutes > self.work:
            self._rest(_("break"), self.pause)
        self._add(title, minutes)
        self.since_break += minutes

    def _rest(self, name: str, minutes: int) -> None:
        self._add(name, minutes)
        self.since_break = 0

    def _add(self, title: str, minutes: int) -> None:
        self.lines.append(_row(_time(self.now), minutes, title))
        self.now += minutes


def _minutes(text: str) -> int:
    """Minutes after midnight of a time such as "09:00"."""
    clock = re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)", text.strip())
    if clock is None:
        raise BadRequest(
            _("{text!r} is not a time.").format(text=text), _("Write hours and minutes, such as 09:00 or 13:30.")
        )
    return int(clock[1]) * 60 + int(clock[2])


def _time(minutes: int) -> str:
    return f"{minutes // 60 % 24:02}:{minutes % 60:02}"


def _row(time: str, minutes: int | str, what: str) -> str:
    return f"{time:<5}  {minutes:>7}  {what}".rstrip()
