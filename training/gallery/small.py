"""Pictures of the world that vision-tiny was trained on, from the part of it that training never sees."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from PIL import Image

from training.gallery.base import Picture
from training.vision.paint import picture
from training.vision.scene import GOODS, MONTHS, NAMES, QUARTERS, SIGNS, SIZE
from training.vision.tasks import Album, Group, article, joined, named


def find(kind: str, fits: Callable[[dict], bool]) -> tuple[Album, Group]:
    """The first held-out square picture (or pair) on a light ground whose facts fit."""
    for seed in range(20_000):
        album = Album("eval", f"gallery-{seed}")
        group = album.group(kind)
        first = group.scenes[0]
        if first.area == (0, 0, SIZE, SIZE) and min(first.ground) > 225 and fits(group.facts):
            return album, group
    raise LookupError(f"No {kind} fits.")


def asked(
    album: Album, group: Group, section: str, fits: Callable[[str], bool] = lambda question: True
) -> dict[str, str]:
    """A question in words that training never uses, and its answer without the working that a model writes first."""
    for _ in range(1000):
        case = album.ask(group, section)
        if case and fits(case.messages[0]["content"]):
            return {"question": case.messages[0]["content"], "answer": case.messages[1]["content"].rpartition(". ")[2]}
    raise LookupError(f"Nothing to ask: {section}.")


def things(facts: dict) -> str:
    return joined([f"{article(named(t))} at the {t['place']}" for t in facts["things"]])


def one(
    file: str, scenario: str, kind: str, section: str, alt: Callable[[dict], str], fits: Callable[[dict], bool]
) -> Picture:  # fmt: skip
    """A picture of a kind whose facts fit, with a question of a section."""
    album, group = find(kind, fits)
    question = asked(album, group, section)
    return Picture(file, picture(group.scenes[0]), scenario, "both", alt(group.facts), **question)


def kinds(*wanted: str) -> Callable[[dict], bool]:
    return lambda facts: {t["kind"] for t in facts["things"]} == set(wanted)


def shapes_and_things() -> Iterator[Picture]:
    yield one("one-shape.png", "latency", "shapes", "single", lambda f: f"One shape: {things(f)}.", kinds("star"))
    yield one(
        *("four-shapes.png", "general", "shapes", "describe"),
        lambda f: f"Four shapes: {things(f)}.",
        lambda f: len(f["things"]) == 4,
    )
    yield one(
        *("crowd.png", "general", "crowd", "count"),
        lambda f: "Shapes to be counted: " + joined([named(t) for t in sorted(f["things"], key=named)]) + ".",
        lambda f: (
            sum(t["kind"] == f["kind"] for t in f["things"]) == 5
            and len(f["things"]) == 8
            and f["colour"] in ("purple", "blue", "red")
        ),
    )
    yield one(
        *("everyday-things.png", "general", "objects", "describe"),
        # The world of vision-tiny names a house by its roof; who looks at the picture sees beige walls.
        lambda f: "Everyday things: " + re.sub(r"an? (\w+) house", r"a house with a \1 roof", things(f)) + ".",
        kinds("house", "tree", "sun", "car"),
    )


def real_words(facts: dict) -> bool:
    return all(w["text"] in SIGNS for w in facts["words"])


def coloured_words(facts: dict) -> str:
    return joined([f"{w['text']} in {w['colour']}" for w in facts["words"]])


def printed() -> Iterator[Picture]:
    yield one(
        *("sign.png", "ocr", "sign", "read_one"),
        lambda f: f"A sign with one {f['words'][0]['colour']} word: {f['words'][0]['text']}.",
        lambda f: len(f["words"]) == 1 and real_words(f),
    )
    yield one(
        *("three-words.png", "ocr", "sign", "read_colour"),
        lambda f: f"Three words, from top to bottom: {coloured_words(f)}.",
        lambda f: len({w["text"] for w in f["words"]}) == 3 and real_words(f),
    )
    yield one(
        *("lines.png", "ocr", "lines", "read"),
        lambda f: f"Lines of words and numbers: {' '.join(f['words'])}.",
        lambda f: 6 <= len(f["words"]) <= 9,
    )


def entries(facts: dict) -> str:
    return ", ".join(f"{label} {value}" for label, value in zip(facts["labels"], facts["values"]))


def series(style: str, count: int, labels: list[str]) -> Callable[[dict], bool]:
    return lambda f: f["style"] == style and len(f["labels"]) == count and set(f["labels"]) <= set(labels)


def charts() -> Iterator[Picture]:
    for file, section, what, fits in (
        ("bars.png", "highest", "A bar chart", series("bar", 4, QUARTERS)),
        ("curve.png", "value_of", "A line chart", series("line", 3, MONTHS)),
        ("pie.png", "lowest", "A pie chart with its legend", series("pie", 4, GOODS)),
    ):
        yield one(file, "charts", "chart", section, lambda f, what=what: f"{what}: {entries(f)}.", fits)
    yield one(
        *("small-table.png", "charts", "table", "cell"),
        lambda f: (
            f"A table with the columns {joined(f['columns'])}. "
            + "; ".join(f"{r}: {', '.join(map(str, v))}" for r, v in zip(f["rows"], f["values"]))
            + "."
        ),
        lambda f: len(f["rows"]) == 4 and len(f["columns"]) == 2 and set(f["rows"]) <= set(NAMES),
    )


def other_sizes() -> Iterator[Picture]:
    # Sixteen times the pixels and not one fact more: what do the crops buy?
    album, group = find("sign", lambda f: len(f["words"]) == 2 and real_words(f))
    large = picture(group.scenes[0]).resize((4 * SIZE, 4 * SIZE), Image.Resampling.BICUBIC)
    alt = f"A large picture, {4 * SIZE} pixels wide, with two words: {coloured_words(group.facts)}."
    yield Picture("huge-sign.png", large, "memory", "both", alt, **asked(album, group, "read_colour"))
    # The same question for fewer pixels than one tile has.
    album, group = find("shapes", lambda f: len(f["things"]) == 2)
    small = picture(group.scenes[0]).resize((84, 84), Image.Resampling.LANCZOS)
    alt = f"A picture only 84 pixels wide with {things(group.facts)}."
    yield Picture("thumbnail.png", small, "memory", "both", alt, **asked(album, group, "colour_of"))


def single() -> Iterator[Picture]:
    """One picture, one question."""
    yield from shapes_and_things()
    yield from printed()
    yield from charts()
    yield from other_sizes()
    yield one(
        *("yes-or-no.png", "latency", "shapes", "exists"),
        lambda f: f"Three shapes: {things(f)}.",
        lambda f: len(f["things"]) == 3,
    )


def pairs() -> Iterator[Picture]:
    """Two pictures and one difference."""
    for change in ("colour", "gone", "moved"):
        album, group = find("pair", lambda f, change=change: f["change"] == change)
        text = asked(album, group, "difference")
        for number, scene in enumerate(group.scenes, 1):
            where = "first" if number == 1 else "second"
            yield Picture(
                f"pair-{change}-{number}.png",
                picture(scene),
                "compare",
                "both",
                f"The {where} picture of a pair: {things(scene.facts)}.",
                set=f"pair-{change}",
                **text,
            )


def clip() -> Iterator[Picture]:
    """Ten frames: one thing stands, another waits, crosses the picture from left to right, and waits again."""
    album, group = find("clip", lambda f: f["event"] == "moves" and f["direction"] == "right")
    scenes = group.scenes
    mover, rest = group.facts, [t for t in scenes[0].facts["things"] if t["kind"] != group.facts["kind"]]
    actor = next(t for t in scenes[0].facts["things"] if t["kind"] == mover["kind"])
    frames = [{**actor, "x": x} for x in (52, 52, 52, 85, 130, 175, 220, 270, 284, 284)]
    pictures = [picture(album.artist.again(scenes[0], [*rest, frame])) for frame in frames]
    text = asked(album, group, "happens")
    stands = f"; {joined([article(named(t)) for t in rest])} stays where it is" if rest else ""
    yield Picture(
        "crossing.mp4",
        pictures,
        "clip",
        "both",
        f"A clip of ten frames, five seconds. {article(named(actor)).capitalize()} moves from left to right{stands}.",
        fps=2,
        **text,
    )
    for number, (image, frame) in enumerate(zip(pictures, frames), 1):
        yield Picture(
            f"crossing-{number:02}.png",
            image,
            "clip",
            "both",
            f"Frame {number} of 10 of the clip: {article(named(actor))}, {round(100 * frame['x'] / SIZE)} per cent of "
            f"the way to the right{stands}.",
            set="crossing",
            **text,
        )


def pictures() -> Iterator[Picture]:
    yield from single()
    yield from pairs()
    yield from clip()
