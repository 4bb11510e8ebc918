"""What an instructor needs: a timetable, a check of each machine, a class board, links, slides.

docs/instructors.md has the story.
"""

from __future__ import annotations

import io
import json
import os
import platform
import re
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from urllib.parse import quote, urlencode, urlsplit

from labs_helper import catalog, doctor, store
from labs_helper.common import personal
from labs_helper.course.release import NAME
from labs_helper.course.reset import COPIES
from labs_helper.errors import BadRequest, LabError

FIRST = "notebooks/00-start-here.ipynb"
_EXERCISE = re.compile(r"^#{2,6} Exercise (\S+) \((.+?)\)", re.M)
_HEADING = re.compile(r"^#{1,6} +(.+?)(?: \(\d+ minutes?\))?\s*$", re.M)


# -- the run sheet ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Section:
    """A part of a lab: its heading, its minutes from the notebook's metadata, and the exercises inside."""

    title: str
    minutes: int
    exercises: tuple[str, ...] = ()


def sections(notebook: Path) -> list[Section]:
    """The sections of a notebook that say how long they take, in order.

    Example:
        sum(section.minutes for section in sections(notebook))
    """
    found: list[Section] = []
    for cell in json.loads(notebook.read_text("utf-8"))["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] != "markdown":
            continue
        heading = _HEADING.search(text)
        if "minutes" in cell["metadata"]:
            found.append(Section(heading[1] if heading else "Without a heading", int(cell["metadata"]["minutes"])))
        exercises = tuple(f"{number} ({rest})" for number, rest in _EXERCISE.findall(text))
        if exercises and found:
            last = found[-1]
            found[-1] = Section(last.title, last.minutes, last.exercises + exercises)
    return found


def lab_notebooks(labs: list[str] | None = None, *, folder: Path | None = None) -> list[Path]:
    """The learner notebooks of the named labs ("01" or "01-instruct"), or of all of them.

    Raises BadRequest for a lab that does not exist.

    Example:
        lab_notebooks(["00"])
    """
    folder = catalog.course_folder() / "notebooks" if folder is None else folder
    known = [path for path in sorted(folder.glob("[0-9][0-9]-*.ipynb")) if not path.match(COPIES)]
    if not labs:
        return known
    found = []
    for lab in labs:
        matches = [path for path in known if lab in (path.stem, path.stem[:2])]
        if not matches:
            raise BadRequest(f"There is no lab {lab!r}.", f"Known labs: {', '.join(path.stem for path in known)}.")
        found += matches
    return found


def run_sheet(
    labs: list[str] | None = None, *, start: str = "09:00", pause: int = 10, work: int = 60, folder: Path | None = None
) -> str:
    """A timetable from the minutes in the notebooks, as lines of text.

    labs: their numbers in the order of the day; None takes all. start: "09:00". pause: minutes of a break, 0 for
    none. work: minutes after which the next section begins with a break.
    Raises BadRequest for a lab or a time that does not exist.

    Example:
        print(run_sheet(["00", "01"], start="13:30"))
    """
    found = re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)", start.strip())
    if found is None:
        raise BadRequest(f"{start!r} is not a time.", "Write hours and minutes, such as 09:00 or 13:30.")
    if pause < 0 or work < 1:
        raise BadRequest(f"A break of {pause} minutes after {work} of work cannot be planned.", "Use whole minutes.")
    now, since, total = int(found[1]) * 60 + int(found[2]), 0, 0
    lines = ["START  MINUTES  WHAT"]

    def line(minutes: int, what: str) -> None:
        nonlocal now
        lines.append(f"{now // 60 % 24:02}:{now % 60:02}  {minutes:>7}  {what}")
        now += minutes

    for notebook in lab_notebooks(labs, folder=folder):
        lines.append(f"{'':<5}  {'':>7}  -- {notebook.stem} --")
        for section in sections(notebook):
            if pause and since and since + section.minutes > work:
                line(pause, "break")
                since = 0
            line(section.minutes, section.title)
            since, total = since + section.minutes, total + section.minutes
            lines += [f"{'':<5}  {'':>7}    exercise {exercise}" for exercise in section.exercises]
    lines.append(f"{now // 60 % 24:02}:{now % 60:02}  {'':>7}  end")
    lines.append(f"{total} minutes of labs, as their authors estimate; an exercise is part of its section.")
    return "\n".join(lines)


# -- pre-flight -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Preflight:
    """Whether a machine is ready for a class. `problems`: what is wrong and what to do, one sentence each."""

    host: str
    ready: str
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing has to be done."""
        return not self.problems

    def __str__(self) -> str:
        if self.ok:
            return f"OK   {self.host}: {self.ready}"
        return "\n".join(f"FIX  {self.host}: {problem}" for problem in self.problems)


def preflight(labs: list[str] | None = None, *, models: list[str] | None = None, ask: bool = True) -> Preflight:
    """Check this machine for a class: everything of `check_setup`, the notebooks, JupyterLab, and one real question.

    labs: numbers such as "01"; None takes all that `check_setup` knows. models: real models that must be here and
    whole, by catalog name. ask: ask the bundled model something, which loads it (a few seconds).

    Example:
        print(preflight(["01"]))
    """
    problems: list[str] = []
    for lab in labs or [None]:
        report = doctor.check_setup(lab)
        bad = [row for row in report.rows if row.status == doctor.FIX]
        problems += [f"{row.name}: {row.found} {row.advice}".strip() for row in bad]
    problems += _files_in_the_way(labs)
    for name in models or []:
        try:
            card = next(card for card in catalog.find(name) if name != card.role or card.tier == "real")
            store.verify(store.locate(card), ships_code=card.ships_code)
        except StopIteration:
            problems.append(f"There is no real model for {name!r}.")
        except LabError as error:
            problems.append(str(error))
    ready = "ready"
    if ask and not problems:
        try:
            ready = _ask()
        except LabError as error:
            problems.append(str(error))
    return Preflight(platform.node() or "this machine", ready, tuple(dict.fromkeys(problems)))


def _files_in_the_way(labs: list[str] | None) -> list[str]:
    """Problems with notebooks that are missing or cannot be saved, and with a JupyterLab that is missing."""
    problems, folder = [], catalog.course_folder() / "notebooks"
    try:
        if not lab_notebooks(labs):
            problems.append(f"There are no notebooks in {folder}. Get the whole course again.")
    except BadRequest as error:
        problems.append(str(error))
    if folder.is_dir() and not os.access(folder, os.W_OK):
        problems.append(f"Nothing can be saved in {folder}. Copy the course to a folder of the learner.")
    if "jupyterlab missing" in doctor.versions():
        problems.append("JupyterLab is missing. Run `make setup`.")
    return problems


def _ask() -> str:
    from labs_helper.models.load import load

    model = load("instruct", tier="tiny")
    try:
        answer = model.ask("What is the capital of Kenya?", max_tokens=30, temperature=0)
    finally:
        model.release()
    if not answer.text.strip():
        raise LabError(f"{model.name} answered nothing.", "Run `labs doctor`, and restore data/checkpoints.")
    return f"ready; {model.name} answered in {answer.seconds:.1f} s"


# -- the class board --------------------------------------------------------------------------------------


def class_board(data: Path | None = None, host: str = "127.0.0.1", port: int = 8765, minutes: float | None = None):
    """Start the class board: a `Board`, which runs until it is closed.

    data: its file; None takes one for each day, so that a restart goes on with the same code. host: the address to
    listen on, "0.0.0.0" for every network. port: 0 takes a free one. minutes: how long the caller will let it run.
    Raises BadRequest for numbers that make no sense, LabError if the packages are missing or the file cannot be used,
    EndpointFailed if the address cannot.

    Example:
        board = class_board(host="0.0.0.0")
    """
    if not 0 <= port <= 65535:
        raise BadRequest(f"There is no port {port}.", "Take one from 1024 to 65535.")
    if minutes is not None and not 0 < minutes < float("inf"):
        raise BadRequest(f"The board cannot run for {minutes:g} minutes.", "Give a number above 0, or leave it out.")
    try:
        from labs_helper.board.server import Board
    except ImportError as error:
        raise LabError(
            f"The class board needs a package that is missing ({error.name}).",
            "Run `pip install -c constraints.txt -e '.[board]'` in the course's folder.",
        ) from error
    from labs_helper.exercises import all_exercises

    data = data or personal.folder() / f"class-board-{date.today().isoformat()}.sqlite"
    return Board(data, {number: each.title for number, each in all_exercises().items()}, host, port)


# -- links and slides -------------------------------------------------------------------------------------


def pull_link(hub: str, repository: str, branch: str = "main") -> str:
    """A link that brings the course into `phi35-labs` in a learner's home, by nbgitpuller, and opens notebook 00.

    hub: address of the JupyterHub. repository: address of the course's git repository, as learners would clone it.
    Raises BadRequest for something that is not an address.

    Example:
        pull_link("https://hub.example.org", "https://git.example.org/phi35-labs")
    """
    for address in (hub, repository):
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.netloc or parts.query or parts.fragment:
            raise BadRequest(f"{address!r} is not an address.", "Use one such as https://hub.example.org.")
    if not branch.strip():
        raise BadRequest("The branch has no name.", "Leave --branch out, or name one.")
    # The folder is named: nbgitpuller would take the last part of the address, ".git" included.
    values = {"repo": repository, "branch": branch, "targetpath": NAME, "urlpath": f"lab/tree/{NAME}/{FIRST}"}
    return f"{hub.rstrip('/')}/hub/user-redirect/git-pull?{urlencode(values, quote_via=quote, safe='')}"


def slides(lab: str, destination: Path | None = None, *, reveal: str | None = None, folder: Path | None = None) -> Path:
    """Slides of a lab, as one HTML file for a browser, from the solution edition with its stored outputs.

    Every cell tagged `slide` begins a slide, `fragment` a step of one, `notes` speaker's notes; `skip` leaves a cell
    out. A notebook without such a tag gets a slide for each heading. Answers of exercises are left out either way.
    reveal: where the browser finds reveal.js: an address, or a folder as seen from the file. nbconvert's own choice is
    a server on the internet.
    Raises BadRequest for a lab that does not exist, LabError if its solution edition is not here.

    Example:
        slides("01")      # dist/01-instruct.slides.html
    """
    from nbconvert import SlidesExporter

    (learner, *_) = lab_notebooks([lab], folder=folder)
    notebook = learner.parent / "solutions" / learner.name
    if not notebook.exists():
        raise LabError(f"{notebook} is not here.", "Slides show stored outputs: use the whole repository, not the zip.")
    destination = destination or learner.parent.parent / "dist" / f"{learner.stem}.slides.html"
    exporter = SlidesExporter()
    if reveal:
        exporter.reveal_url_prefix = reveal
    content = json.loads(notebook.read_text("utf-8"))
    _mark_slides(content["cells"])
    html, _ = exporter.from_file(io.StringIO(json.dumps(content)), {"metadata": {"name": learner.stem}})
    destination.parent.mkdir(parents=True, exist_ok=True)
    destination.write_text(html, "utf-8")
    return destination


def _mark_slides(cells: list[dict]) -> None:
    """Turn tags into the slide types that nbconvert knows."""
    kinds = {"slide", "fragment", "notes", "skip"}
    tags = [set(cell["metadata"].get("tags", [])) for cell in cells]
    tagged = any(kinds & each for each in tags)
    for cell, own in zip(cells, tags, strict=True):
        text = "".join(cell["source"])
        asks = cell["cell_type"] == "code" and re.search(r"^(check|hint)\(", text, re.M)
        if {"solution", "skip"} & own or asks:
            kind = "skip"
        elif tagged:
            kind = next(iter(sorted(kinds & own)), "-")
        else:
            kind = "slide" if cell["cell_type"] == "markdown" and _HEADING.match(text) else "-"
        cell["metadata"]["slideshow"] = {"slide_type": kind}
