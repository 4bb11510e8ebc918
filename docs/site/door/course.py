"""What the front page shows of the course. Nothing is written twice: labs and what helps them come from the registry,
what a lab is about and the routes from notebook 00, the commands from the README, pictures from stored outputs.
"""

from __future__ import annotations

import base64
import html
import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

from labs_helper.catalog.labs import labs

ROOT = Path(__file__).resolve().parents[3]
SOLVED = ROOT / "notebooks/solutions"


@dataclass(frozen=True)
class Picture:
    """A stored output: a file for an <img>, or what a cell printed (`printed`).

    Attributes:
        chart: whether dark pages invert it.
    """

    alt: str = ""
    caption: str = ""
    name: str = ""
    data: bytes = b""
    chart: bool = False
    printed: str = ""
    markup: str = ""


@dataclass(frozen=True)
class Shown:
    """A stored answer, token by token: what a person will see when they ask.

    Attributes:
        tokens: the markup that the lab's own code drew.
        caption: what the lab's code says about it.
        unsure: the least sure token, with the probabilities of what else it could have been.
    """

    question: str
    tokens: str
    caption: str
    unsure: str


@dataclass(frozen=True)
class Stop:
    """A lab on the map. `there`: whether it exists already; `after`: labs that help before it."""

    number: str
    title: str
    about: str
    time: str
    page: str
    there: bool
    after: tuple[str, ...] = ()
    picture: Picture | None = None
    x: int = 0
    y: int = 0


@dataclass(frozen=True)
class Route:
    """A way through the course, with the labs that it names."""

    title: str
    text: str
    labs: tuple[str, ...] = field(default=())


def stops() -> list[Stop]:
    """The labs in the order of notebook 00's table, those that do not exist yet included.

    Example:
        [stop.number for stop in stops() if stop.there]
    """
    there = {lab.number: lab for lab in labs()}
    found = []
    for number, about, time in _rows():
        lab = there.get(number)
        found.append(
            Stop(
                number=number,
                title=lab.title if lab else "",
                about=about,
                time=time,
                page=f"notebooks/solutions/{lab.stem}.html" if lab else "",
                there=lab is not None,
                after=lab.after if lab else (),
                picture=picture(number) if lab else None,
            )
        )
    return _placed(found)


def routes() -> list[Route]:
    """The routes that notebook 00 names.

    Example:
        [route.title for route in routes()]      # ['Two hours', 'A day', 'Everything']
    """
    text = _plain_markdown(_cell_with("hree routes"))
    found = re.findall(r"^- \*\*(.+?):\*\* (.+(?:\n  .+)*)", text, re.M)
    return [Route(title, " ".join(way.split()), tuple(re.findall(r"\b0\d\b", way))) for title, way in found]


def commands() -> list[str]:
    """The commands that start the course, as the README has them.

    Example:
        commands()[-1]      # 'make lab'
    """
    return _found(r"<!-- home: start -->\s*```\n(.*?)```").strip().splitlines()


def needs() -> str:
    """The README's sentence that says what the start needs.

    Example:
        needs()
    """
    return " ".join(_found(r"^(You need git.+?)\n\n").split())


def promise() -> str:
    """The README's sentence that says what the course promises.

    Example:
        promise()
    """
    return " ".join(_found(r"^\*\*(.+?)\*\*$").split())


def _found(pattern: str) -> str:
    found = re.search(pattern, (ROOT / "README.md").read_text("utf-8"), re.M | re.S)
    assert found, f"README.md has nothing like {pattern}"
    return found[1]


def answer() -> Shown:
    """The stored answer that the front page shows beside its promise.

    Example:
        answer().question      # 'Suggest a city to visit.'
    """
    number, wanted = (_front()["answer"][key] for key in ("lab", "cell"))
    source, output = next(
        (source, output)
        for source, output in _outputs(number)
        if wanted in source and "text/html" in output.get("data", {})
    )
    drawn = _picture(number, output)
    question = re.search(r'\.ask\("(.+?)"', source)
    assert drawn and drawn.markup and question, f"lab {number}: {wanted} shows no answer"
    # The hover text of a token: "token 7, id 1715, 10.1 %; also: ...".
    hovers = re.findall(r'title="token \d+, id \d+, (?:&lt;)?([\d.]+) %; also: ([^"]*)"', drawn.markup)
    least = min(hovers, key=lambda hover: float(hover[0]))[1] if hovers else ""
    return Shown(html.unescape(question[1]), drawn.markup, drawn.caption, html.unescape(least).replace(" %", "\u00a0%"))


def picture(number: str) -> Picture | None:
    """The picture of a lab, or None if its notebook holds no chart.

    Example:
        picture("02").name      # 'lab-02.svg'
    """
    wanted = _front()["pictures"].get(number)
    found = []
    for source, output in _outputs(number):
        drawn = _picture(number, output) if wanted is None or wanted in source else None
        if drawn and (wanted is not None or drawn.chart):
            found.append(drawn)
    # A cell may print and draw: then the drawing.
    return next((drawn for drawn in found if not drawn.printed), found[0] if found else None)


def _front() -> dict[str, dict[str, str]]:
    return tomllib.loads((Path(__file__).parent / "front.toml").read_text("utf-8"))


def _picture(number: str, output: dict[str, Any]) -> Picture | None:
    shown = "".join(output.get("data", {}).get("text/html", ""))
    image = re.search(r'<img src="data:image/(svg\+xml|png)(;base64)?,([^"]+)" alt="([^"]*)"([^>]*)>', shown)
    caption = re.search(r"</strong> (.*?)</figcaption>", shown, re.S)
    words = html.unescape(caption[1]) if caption else ""
    if image:
        kind, packed, data, alt, rest = image.groups()
        return Picture(
            alt=html.unescape(alt),
            caption=words,
            name=f"lab-{number}.{'svg' if kind.startswith('svg') else 'png'}",
            data=base64.b64decode(data) if packed else unquote_to_bytes(data),
            chart="labs-chart" in rest,
        )
    figure = re.match(r"<figure[^>]*><div>(.*?)</div><figcaption", shown, re.S)
    if figure:
        return Picture(caption=words, markup=figure[1])
    printed = "".join(output.get("text", ""))
    if output.get("name") == "stdout" and printed.strip():
        return Picture(printed=printed.strip())
    return None


def _outputs(number: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for cell in notebook(number)["cells"]:
        for output in cell.get("outputs", ()):
            yield "".join(cell["source"]), output


@cache
def notebook(number: str) -> dict[str, Any]:
    """The solved notebook of a lab.

    Example:
        len(notebook("00")["cells"])
    """
    found: dict[str, Any] = json.loads(next(SOLVED.glob(f"{number}-*.ipynb")).read_text("utf-8"))
    return found


def _cell_with(words: str) -> str:
    for cell in notebook("00")["cells"]:
        text = "".join(cell["source"])
        if words in text:
            return text
    raise LookupError(f"Notebook 00 has no cell with {words!r}.")


def _rows() -> list[tuple[str, str, str]]:
    """(number, what you will do, time) of each row of the table in notebook 00."""
    text = _plain_markdown(_cell_with("| lab | you will | time |"))
    rows = re.findall(r"^\| (\d\d) \| (.+?) \| (.+?) \|$", text, re.M)
    return [(number, about.removesuffix(" (you are here)"), time) for number, about, time in rows]


def _plain_markdown(text: str) -> str:
    """Markdown without its links."""
    return re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", text)


def _placed(found: list[Stop]) -> list[Stop]:
    """Each lab in the column after those that help before it, one row each from the top."""
    columns: dict[str, int] = {}
    used: dict[int, int] = {}
    placed = []
    for stop in sorted(found, key=lambda stop: (len(stop.after) > 0, stop.number)):
        known = [columns[number] for number in stop.after if number in columns]
        column = 0 if stop.number == "00" else 1 + max(known, default=0)
        columns[stop.number] = column
        row = used.get(column, 0)
        used[column] = row + 1
        placed.append(Stop(**{**vars(stop), "x": column, "y": row}))
    return sorted(placed, key=lambda stop: stop.number)
