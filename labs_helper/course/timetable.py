"""The timetable of a class, from the minutes in the notebooks."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from labs_helper.catalog.labs import notebooks, pick
from labs_helper.common.translate import _
from labs_helper.errors import BadRequest

HEADING = re.compile(r"^#{1,6} +(.+?)(?: \(\d+ minutes?\))?\s*$", re.M)
_EXERCISE = re.compile(r"^#{2,6} Exercise (\S+) \((.+?)\)", re.M)


@dataclass(frozen=True)
class Section:
    """A part of a lab.

    Attributes:
        title: its heading.
        minutes: from the metadata of its first cell.
        exercises: the exercises inside, each with its difficulty and its minutes.
    """

    title: str
    minutes: int
    exercises: tuple[str, ...] = ()


def sections(notebook: Path) -> list[Section]:
    """The sections of a notebook that say how long they take, in order.

    Example:
        sum(section.minutes for section in sections(notebook))
    """
    result: list[Section] = []
    for cell in json.loads(notebook.read_text("utf-8"))["cells"]:
        if cell["cell_type"] != "markdown":
            continue
        text = "".join(cell["source"])
        if "minutes" in cell["metadata"]:
            heading = HEADING.search(text)
            result.append(Section(heading[1] if heading else _("Without a heading"), int(cell["metadata"]["minutes"])))
        exercises = tuple(f"{number} ({effort})" for number, effort in _EXERCISE.findall(text))
        if exercises and result:
            last = result[-1]
            result[-1] = Section(last.title, last.minutes, last.exercises + exercises)
    return result


def lab_notebooks(labs: Sequence[str] | None = None, *, folder: Path | None = None) -> list[Path]:
    """The learner notebooks of the named labs ("01" or "01-instruct"), or of all labs.

    Raises:
        BadRequest: there is no such lab.

    Example:
        lab_notebooks(["00"])
    """
    known = notebooks(folder)
    return [path for name in labs for path in pick(known, name)] if labs else known


def run_sheet(
    labs: Sequence[str] | None = None,
    *,
    start: str = "09:00",
    pause: int = 10,
    work: int = 60,
    folder: Path | None = None,
) -> str:
    """The timetable of a day, as lines of text.

    Args:
        labs: their numbers in the order of the day; None takes all.
        start: the time of the first section, such as "09:00".
        pause: minutes of a break, 0 for none.
        work: minutes after which the next section begins with a break.
        folder: the notebooks folder; the course's by default.

    Raises:
        BadRequest: a lab or a time does not exist.

    Example:
        print(run_sheet(["00", "01"], start="13:30"))
    """
    clock = re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)", start.strip())
    if clock is None:
        raise BadRequest(
            _("{text!r} is not a time.").format(text=start), _("Write hours and minutes, such as 09:00 or 13:30.")
        )
    if pause < 0 or work < 1:
        raise BadRequest(
            _("A break of {pause} minutes after {work} minutes of work cannot be planned.").format(
                pause=pause, work=work
            ),
            _("Use whole minutes, at least 0 for a break and 1 for work."),
        )
    now, since_break, total = int(clock[1]) * 60 + int(clock[2]), 0, 0
    lines = [_row(_("START"), _("MINUTES"), _("WHAT"))]
    for notebook in lab_notebooks(labs, folder=folder):
        lines.append(_row("", "", f"-- {notebook.stem} --"))
        for section in sections(notebook):
            if pause and since_break and since_break + section.minutes > work:
                lines.append(_row(_time(now), pause, _("break")))
                now, since_break = now + pause, 0
            lines.append(_row(_time(now), section.minutes, section.title))
            lines += [_row("", "", "  " + _("exercise {name}").format(name=name)) for name in section.exercises]
            now, since_break, total = now + section.minutes, since_break + section.minutes, total + section.minutes
    lines.append(_row(_time(now), "", _("end")))
    lines.append(
        _("{count} minutes of labs, as their authors estimate; an exercise is part of its section.").format(count=total)
    )
    return "\n".join(lines)


def _time(minutes: int) -> str:
    return f"{minutes // 60 % 24:02}:{minutes % 60:02}"


def _row(time: str, minutes: int | str, what: str) -> str:
    return f"{time:<5}  {minutes:>7}  {what}"
