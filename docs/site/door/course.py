"""What the front page shows of the course. Nothing is written twice: labs and what helps them come from the registry,
what a lab is about and the routes from notebook 00, the commands from the README, pictures from stored outputs.

In another language all of it comes from the editions in that language. They have the same cells and the same
paragraphs, so what is found in the English one by its words is found in the other by its place.
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

from docs.site.door import languages
from labs_helper.catalog.labs import labs
from labs_helper.common.translate import ENGLISH, of_table, speaking

ROOT = Path(__file__).resolve().parents[3]


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
    """A lab on the map. `there`: whether it exists already; `page`: its English one; `after`: labs that help before."""

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


def stops(language: str = ENGLISH) -> list[Stop]:
    """The labs in the order of notebook 00's table, those that do not exist yet included.

    Example:
        [stop.number for stop in stops() if stop.there]
    """
    there = {lab.number: lab for lab in labs()}
    with speaking(language):
        titles = {lab.number: of_table(lab.title) for lab in labs()}
    found = []
    for number, about, time in _rows(language):
        lab = there.get(number)
        found.append(
            Stop(
                number=number,
                title=titles.get(number, ""),
                about=about,
                time=time,
                page=f"notebooks/solutions/{lab.stem}" if lab else "",
                there=lab is not None,
                after=lab.after if lab else (),
                picture=picture(number, language) if lab else None,
            )
        )
    return _placed(found)


def routes(language: str = ENGLISH) -> list[Route]:
    """The routes that notebook 00 names.

    Example:
        [route.title for route in routes()]      # ['Two hours', 'A day', 'Everything']
    """
    text = _plain_markdown(_cell_with("hree routes", language))
    found = re.findall(r"^- \*\*(.+?):\*\* (.+(?:\n  .+)*)", text, re.M)
    return [Route(title, " ".join(way.split()), tuple(re.findall(r"(?<!\d)0\d(?!\d)", way))) for title, way in found]


def commands(language: str = ENGLISH) -> list[str]:
    """The commands that start the course, as the README has them.

    Example:
        commands()[-1]      # 'make lab'
    """
    return _found(r"<!-- home: start -->\s*```\n(.*?)```", language).strip().splitlines()


def needs(language: str = ENGLISH) -> str:
    """The README's sentence that says what the start needs: it stands before the commands.

    Example:
        needs()
    """
    return " ".join(_found(r"\n\n((?:[^\n]+\n)+)\n<!-- home: start -->", language).split())


def promise(language: str = ENGLISH) -> str:
    """The README's sentence that says what the course promises.

    Example:
        promise()
    """
    return " ".join(_found(r"^\*\*(.+?)\*\*$", language).split())


def _found(pattern: str, language: str) -> str:
    file = f"{languages.page_in(language, 'README')}.md"
    found = re.search(pattern, (ROOT / file).read_text("utf-8"), re.M | re.S)
    assert found, f"{file} has nothing like {pattern}"
    return found[1]


def answer(language: str = ENGLISH) -> Shown:
    """The stored answer that the front page shows beside its promise.

    Example:
        answer().question      # 'Suggest a city to visit.'
    """
    number, wanted = (_front()["answer"][key] for key in ("lab", "cell"))
    source, output = next(
        (source, output)
        for source, output in _outputs(number, language)
        if wanted in source and "text/html" in output.get("data", {})
    )
    drawn = _picture(number, output, language)
    question = re.search(r'\.ask\("(.+?)"', source)
    assert drawn and drawn.markup and question, f"lab {number}: {wanted} shows no answer"
    # The hover text of a token: "token 7, id 1715, 10.1 %; also: ...", or the like in another language.
    hovers = re.findall(r'title="[^,"]+ \d+, id \d+, (?:&lt;)?([\d.]+) %[;.] [^:"]+: ([^"]*)"', drawn.markup)
    least = min(hovers, key=lambda hover: float(hover[0]))[1] if hovers else ""
    return Shown(html.unescape(question[1]), drawn.markup, drawn.caption, html.unescape(least).replace(" %", "\u00a0%"))


def picture(number: str, language: str = ENGLISH) -> Picture | None:
    """The picture of a lab, or None if its notebook holds no chart.

    Example:
        picture("02").name      # 'lab-02.svg'
    """
    wanted = _front()["pictures"].get(number)
    found = []
    for source, output in _outputs(number, language):
        drawn = _picture(number, output, language) if wanted is None or wanted in source else None
        if drawn and (wanted is not None or drawn.chart):
            found.append(drawn)
    # A cell may print and draw: then the drawing.
    return next((drawn for drawn in found if not drawn.printed), found[0] if found else None)


def _front() -> dict[str, dict[str, str]]:
    return tomllib.loads((Path(__file__).parent / "front.toml").read_text("utf-8"))


def _picture(number: str, output: dict[str, Any], language: str = ENGLISH) -> Picture | None:
    shown = "".join(output.get("data", {}).get("text/html", ""))
    image = re.search(r'<img src="data:image/(svg\+xml|png)(;base64)?,([^"]+)" alt="([^"]*)"([^>]*)>', shown)
    caption = re.search(r"</strong> (.*?)</figcaption>", shown, re.S)
    words = html.unescape(caption[1]) if caption else ""
    if image:
        other = "" if language == ENGLISH else f"-{language}"
        kind, packed, data, alt, rest = image.groups()
        return Picture(
            alt=html.unescape(alt),
            caption=words,
            name=f"lab-{number}{other}.{'svg' if kind.startswith('svg') else 'png'}",
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


def _outputs(number: str, language: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for cell in notebook(number, language)["cells"]:
        for output in cell.get("outputs", ()):
            yield "".join(cell["source"]), output


@cache
def notebook(number: str, language: str = ENGLISH) -> dict[str, Any]:
    """The solved notebook of a lab.

    Example:
        len(notebook("00")["cells"])
    """
    folder = ROOT / languages.page_in(language, "notebooks/solutions")
    found: dict[str, Any] = json.loads(next(folder.glob(f"{number}-*.ipynb")).read_text("utf-8"))
    return found


def _cell_with(words: str, language: str = ENGLISH) -> str:
    """The cell of notebook 00 whose English has these words."""
    for english, cell in zip(notebook("00")["cells"], notebook("00", language)["cells"], strict=True):
        if words in "".join(english["source"]):
            return "".join(cell["source"])
    raise LookupError(f"Notebook 00 has no cell with {words!r}.")


def _rows(language: str) -> list[tuple[str, str, str]]:
    """(number, what you will do, time) of each row of the table in notebook 00."""
    text = _plain_markdown(_cell_with("| lab | you will | time |", language))
    rows = re.findall(r"^\| (\d\d) \| (.+?) \| (.+?) \|$", text, re.M)
    # Of itself notebook 00 says in brackets that the reader is there.
    return [(number, re.sub(r" \(.+\)$", "", about) if number == "00" else about, time) for number, about, time in rows]


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
