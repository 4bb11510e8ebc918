"""Questions about drawn pictures: for training, and, with other phrasings and contents, for evaluation.

The split is that of training/corpus.py. What never meets: phrasings; printed words; a label with its value; a row and
column with its value; arrangements of shapes; differences; what happens in a clip.
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path

from training.cases import Case
from training.corpus import Corpus
from training.vision.artist import Artist
from training.vision.pen import EVENTS
from training.vision.scene import COLOUR_NAMES, ICONS, SHAPES, SIZE, Scene
from training.world import fill

NAME = "vision-tiny"
# Kinds of groups of pictures, with their share of the training.
MIX = {
    "lines": 0.03,
    "sign": 0.12,
    "shapes": 0.1,
    "crowd": 0.12,
    "chart": 0.18,
    "table": 0.12,
    "objects": 0.05,
    "pair": 0.16,
    "clip": 0.12,
}
SECTIONS = {
    "lines": ("read",),
    "sign": ("read_one", "read_colour", "read_place", "read"),
    "shapes": ("single", "colour_of", "shape_of", "place_of", "exists", "describe"),
    "objects": ("single", "colour_of", "place_of", "exists", "describe"),
    "crowd": ("count",),
    "chart": ("highest", "highest", "lowest", "value_of", "chart_list", "describe"),
    "table": ("cell", "cell", "cell", "row", "rows", "describe"),
    "pair": ("difference",),
    "clip": ("happens",),
}
# What is graded: the kinds of pictures, and the questions about them.
TASKS = {
    "shape/colour": (("shapes",), ("single", "colour_of", "shape_of")),
    "position": (("shapes", "objects"), ("place_of",)),
    "count": (("crowd",), ("count",)),
    "ocr": (("sign",), ("read_one", "read_colour", "read_place")),
    "chart maximum": (("chart",), ("highest",)),
    "chart value": (("chart",), ("value_of",)),
    "table cell": (("table",), ("cell",)),
    "difference": (("pair",), ("difference",)),
    "clip": (("clip",), ("happens",)),
    "description": (("shapes", "objects"), ("describe",)),
}
# Clips for training show the harder things more often: beside a new thing there may be an older one, which is easily
# named for it.
TRAINED_EVENTS = {"moves": 2, "turns": 2, "appears": 3, "disappears": 1}
PATHS = {"right": "left to right", "left": "right to left", "down": "top to bottom", "up": "bottom to top"}
TERMS = {
    *COLOUR_NAMES,
    *SHAPES,
    *ICONS,
    "top",
    "bottom",
    "left",
    "right",
    "middle",
    "gone",
    "new",
    "moved",
    "moves",
    "turns",
    "appears",
    "disappears",
    "yes",
    "no",
}


@cache
def phrases() -> dict[str, dict]:
    """The phrasings of phrases.toml."""
    return tomllib.loads((Path(__file__).parent / "phrases.toml").read_text(encoding="utf-8"))


@dataclass
class Group:
    """Pictures that belong together (one, a pair, or a clip's frames) and what is true of them."""

    kind: str
    scenes: list[Scene]
    facts: dict


def article(words: str) -> str:
    """
    >>> article("orange circle")
    'an orange circle'
    """
    return f"{'an' if words[0] in 'aeio' else 'a'} {words}"


def counted(spots: list[tuple[float, float]]) -> str:
    """The working of a count: the four rows of a crowd's four places each, numbered where there is one.

    >>> counted([(126, 42), (294, 42), (42, 210)])
    '-1-2/----/3---/----'
    """
    there, number = {(int(y * 4 // SIZE), int(x * 4 // SIZE)) for x, y in spots}, count(1)
    return "/".join(
        "".join(str(next(number)) if (row, column) in there else "-" for column in range(4)) for row in range(4)
    )


def joined(items: list[str]) -> str:
    """
    >>> joined(["a", "b", "c"])
    'a, b and c'
    """
    return " and ".join(filter(None, (", ".join(items[:-1]), items[-1])))


def sentence(text: str) -> str:
    """With a capital at the start of every sentence."""
    return re.sub(r"(?:^|(?<=\. ))[a-z]", lambda found: found[0].upper(), text)


def in_order(things: list[dict]) -> list[dict]:
    """Things as one reads them: by thirds of the height, then from left to right."""
    return sorted(things, key=lambda t: (t["y"] * 3 // SIZE, t["x"]))


def compared(first: Scene, second: Scene) -> str:
    """What two pictures show at each place where there is something, in the first and in the second, and whether that
    differs.

    Said at once, of two things that stand side by side, it is learned easily; found at the end in a list of pairs,
    hardly.
    """
    there = [{t["place"]: named(t) for t in scene.facts["things"]} for scene in (first, second)]
    places = dict.fromkeys(t["place"] for t in in_order(first.facts["things"] + second.facts["things"]))
    shown = {place: [things.get(place, "nothing") for things in there] for place in places}
    return "First and second: " + "; ".join(
        f"{place} {one}, {other}{' different' * (one != other)}" for place, (one, other) in shown.items()
    )


def followed(scenes: list[Scene]) -> str:
    """What each frame of a clip shows, with the same mark behind whatever did not stand there in the frame before."""
    frames, before = [], None
    for number, scene in enumerate(scenes, 1):
        shown = [f"{named(t)} {t['place']}" for t in in_order(scene.facts["things"])]
        marked = [one + " different" * (before is not None and one not in before) for one in shown]
        frames.append(f"{number}: {', '.join(marked) or 'nothing'}")
        before = shown
    return "; ".join(frames)


def named(thing: dict) -> str:
    return f"{thing['colour']} {thing['kind']}"


class Album(Corpus):
    """A stream of pictures with questions.

    Args:
        split: "train" or "eval".
        seed: the same seed gives the same pictures and questions.

    Example:
        >>> album = Album("eval", 7)
        >>> group = album.group("chart")
        >>> album.ask(group, "highest").messages
    """

    def __init__(self, split: str, seed: int | str):
        super().__init__(split, seed, NAME, {"en": 1.0})
        self.artist = Artist(f"{split}-{seed}-pictures", self.word, TRAINED_EVENTS if split == "train" else EVENTS)

    def template(self, language: str, section: str) -> str:
        return self.random.choice(phrases()[section]["ask" if self.split == "train" else "held_out"])

    # ---- pictures ------------------------------------------------------------------------------------------

    def word(self) -> str:
        """A word to print that is this split's."""
        return self.draw(self.artist.any_word, "word")

    def series(self, count: int, longest: int) -> tuple[list[str], list[int]]:
        """Labels and different values, each pair of them this split's."""
        labels, _ = self.artist.series(count, longest)
        while True:
            values = [self.draw(lambda: self.random.randint(3, 99), "chart", label) for label in labels]
            if len(set(values)) == len(values):
                return labels, values

    def grid(self) -> tuple[list[str], list[str], list[list[int]]]:
        """Rows, columns and values, each triple of them this split's."""
        rows, columns, values = self.artist.grid()
        if self.split == "eval" or not all(
            self.mine("table", r, c, v) for r, line in zip(rows, values) for c, v in zip(columns, line)
        ):
            top = max(max(line) for line in values)
            values = [
                [self.draw(lambda: self.random.randint(1, max(99, top)), "table", r, c) for c in columns] for r in rows
            ]
        return rows, columns, values

    def group(self, kind: str | None = None) -> Group:
        """Pictures of a kind (left out: drawn from the mixture) whose content is this split's."""
        kind = kind or self.random.choices(list(MIX), list(MIX.values()))[0]
        if kind == "chart":
            scenes = [self.artist.chart(self.series)]
        elif kind == "table":
            scenes = [self.artist.table(self.grid)]
        elif kind in ("lines", "sign"):
            scenes = [getattr(self.artist, kind)()]
        else:
            while True:
                made = getattr(self.artist, kind)()
                scenes, facts = made if isinstance(made, tuple) else ([made], made.facts)
                if self.mine(kind, self.key(kind, facts)):
                    return Group(kind, scenes, facts)
        return Group(kind, scenes, scenes[0].facts)

    @staticmethod
    def key(kind: str, facts: dict) -> object:
        """What a picture shows, without the pixels."""
        if kind == "pair":
            return facts["change"], *(
                (facts[side]["kind"], facts[side]["colour"], facts[side]["place"]) for side in ("before", "after")
            )
        if kind == "clip":
            return tuple(facts.get(k) for k in ("event", "kind", "colour", "direction", "into"))
        return sorted((t["kind"], t["colour"], t["place"]) for t in facts["things"])

    # ---- questions -----------------------------------------------------------------------------------------

    def ask(self, group: Group, section: str | None = None) -> Case | None:
        """A question about a group and its answer; None where the section does not fit the pictures.

        Args:
            section: a section of phrases.toml; left out, one that fits.
        """
        if section is None:
            while (case := self.ask(group, self.random.choice(SECTIONS[group.kind]))) is None:
                pass
            return case
        made = getattr(self, f"_{section}")(group)
        if made is None:
            return None
        values, kind, expect, which = made
        templates = phrases()[section]["answer"]
        answer = sentence(fill(templates[which] if which else templates, values, "en"))
        if kind == "terms":
            expect = terms(conclusion(answer))
        return self.case(
            section, "en", self.phrase("en", section, values), answer, expect, kind, pictures=tuple(group.scenes)
        )

    def questions(self, group: Group, count: int) -> list[Case]:
        """Several questions about a group, without repetition where there are that many."""
        found: dict[str, Case] = {}
        for _ in range(3 * count):
            case = self.ask(group)
            found.setdefault(case.messages[-1]["content"], case)
            if len(found) == count:
                break
        return list(found.values())

    def _thing(self, group: Group) -> dict:
        return self.random.choice(group.facts["things"])

    def _single(self, group):
        things = group.facts["things"]
        return ({"x": article(named(things[0]))}, "terms", None, None) if len(things) == 1 else None

    def _colour_of(self, group):
        thing = self._thing(group)
        return {"x": thing["kind"], "y": thing["colour"]}, "terms", None, None

    def _shape_of(self, group):
        thing = self._thing(group)
        return {"x": thing["colour"], "y": thing["kind"]}, "terms", None, None

    def _place_of(self, group):
        thing = self._thing(group)
        return {"x": self.random.choice((thing["kind"], named(thing))), "y": thing["place"]}, "terms", None, None

    def _exists(self, group):
        kinds = SHAPES if group.kind == "shapes" else ICONS
        there = {t["kind"] for t in group.facts["things"]}
        yes = self.random.random() < 0.5
        kind = self.random.choice(sorted(there) if yes else [k for k in kinds if k not in there])
        return {"x": article(kind), "y": "yes" if yes else "no"}, "terms", None, None

    def _count(self, group):
        facts, form = group.facts, self.random.choice(("kind", "kind", "both", "colour"))
        fitting = [
            t
            for t in facts["things"]
            if (form == "colour" or t["kind"] == facts["kind"]) and (form == "kind" or t["colour"] == facts["colour"])
        ]
        if len(fitting) > 6:
            return None
        name = {
            "kind": facts["kind"],
            "both": f"{facts['colour']} {facts['kind']}",
            "colour": f"{facts['colour']} shape",
        }[form]
        several = name + ("es" if name.endswith("cross") else "s")
        return (
            {
                "w": counted([(t["x"], t["y"]) for t in fitting]),
                "x": several,
                "y": name if len(fitting) == 1 else several,
                "n": str(len(fitting)),
                "is": "is" if len(fitting) == 1 else "are",
            },
            "number",
            str(len(fitting)),
            None,
        )

    def _read(self, group):
        words = [w["text"] if isinstance(w, dict) else w for w in group.facts["words"]]
        return {"x": " ".join(words)}, "words", tuple(words), None

    def _read_one(self, group):
        words = group.facts["words"]
        return ({"x": words[0]["text"]}, "words", (words[0]["text"],), None) if len(words) == 1 else None

    def _read_colour(self, group):
        words = group.facts["words"]
        word = self.random.choice(words)
        return ({"x": word["text"], "c": word["colour"]}, "words", (word["text"],), None) if len(words) > 1 else None

    def _read_place(self, group):
        words = group.facts["words"]
        if len(words) == 1:
            return None
        i = self.random.randrange(len(words))
        where = "top" if i == 0 else "bottom" if i == len(words) - 1 else "middle"
        return {"x": words[i]["text"], "c": where}, "words", (words[i]["text"],), None

    def _extreme(self, group, choose):
        label, value = choose(zip(group.facts["labels"], group.facts["values"]), key=lambda pair: pair[1])
        working = ", ".join(f"{each} {number}" for each, number in zip(group.facts["labels"], group.facts["values"]))
        return {"w": working, "x": label, "n": str(value)}, "label", (label,), None

    def _highest(self, group):
        return self._extreme(group, max)

    def _lowest(self, group):
        return self._extreme(group, min)

    def _value_of(self, group):
        label, value = self.random.choice(list(zip(group.facts["labels"], group.facts["values"])))
        return {"x": label, "n": str(value)}, "number", str(value), None

    def _chart_list(self, group):
        pairs = list(zip(group.facts["labels"], map(str, group.facts["values"])))
        return (
            {"x": ", ".join(f"{label} {value}" for label, value in pairs)},
            "words",
            tuple(w for pair in pairs for w in pair),
            None,
        )

    def _cell(self, group):
        facts = group.facts
        i, j = self.random.randrange(len(facts["rows"])), self.random.randrange(len(facts["columns"]))
        value = str(facts["values"][i][j])
        # In reading order: the head, then the row.
        working = f"{' '.join(facts['columns'])}; {' '.join(self._lines(facts)[i])}"
        return {"w": working, "x": facts["rows"][i], "c": facts["columns"][j], "n": value}, "number", value, None

    @staticmethod
    def _lines(facts: dict) -> list[list[str]]:
        """The words of each row of a table."""
        return [[row, *map(str, values)] for row, values in zip(facts["rows"], facts["values"])]

    def _row(self, group):
        line = self.random.choice(self._lines(group.facts))
        return {"x": line[0], "y": " ".join(line)}, "words", tuple(line), None

    def _rows(self, group):
        lines = self._lines(group.facts)
        return (
            {"x": "; ".join(" ".join(line) for line in lines)},
            "words",
            tuple(w for line in lines for w in line),
            None,
        )

    def _difference(self, group):
        change, before, after = (group.facts[k] for k in ("change", "before", "after"))
        values = {
            "w": compared(*group.scenes),
            "x": named(before),
            "y": after["colour"] if change == "colour" else after["kind"],
        }
        if change == "new":
            values["x"] = article(named(after))
        if change == "moved":
            values |= {"y": before["place"], "z": after["place"]}
        return values, "terms", None, change

    def _happens(self, group):
        facts = group.facts
        into = PATHS[facts["direction"]] if facts["event"] == "moves" else facts.get("into", "")
        return {"w": followed(group.scenes), "x": article(named(facts)), "y": into}, "terms", None, facts["event"]

    def _describe(self, group):
        facts = group.facts
        if group.kind == "chart":
            return {"x": facts["style"], "y": joined(facts["labels"])}, "words", tuple(facts["labels"]), "chart"
        if group.kind == "table":
            return (
                {"x": joined(facts["columns"]), "y": joined(facts["rows"])},
                "words",
                (*facts["columns"], *facts["rows"]),
                "table",
            )
        return (
            {"x": joined([f"{article(named(t))} at the {t['place']}" for t in facts["things"]])},
            "terms",
            None,
            "things",
        )


def draw_case(album: Album, task: str) -> Case:
    """One case of a graded task."""
    kinds, sections = TASKS[task]
    while True:
        group = album.group(album.random.choice(kinds))
        if case := album.ask(group, album.random.choice(sections)):
            return case


def conclusion(answer: str) -> str:
    """The last sentence of an answer.

    >>> conclusion("First and second: top red star, blue star. The red star is blue.")
    'The red star is blue'
    """
    return answer.rstrip(".").rpartition(". ")[2]


def terms(text: str) -> Counter:
    """How often each word that matters (a colour, a shape, a place, an event) is in a text."""
    return Counter(word for word in re.findall(r"[a-z]+", text.lower()) if word in TERMS)


def right(case: Case, answer: str) -> bool:
    """Whether an answer is right.

    terms: its last sentence names the colours, shapes, places and events of the reference and no others. number: its
    last number is the expected one. words: its words in capitals and numbers are the expected ones in order. label: its
    words in capitals are, in its last sentence. Sentences before the last are the working.
    """
    if case.kind == "terms":
        return terms(conclusion(answer)) == case.expect
    if case.kind == "number":
        return re.findall(r"\d+", answer)[-1:] == [case.expect]
    if case.kind == "label":
        answer = conclusion(answer)
    found = re.findall(r"\b[A-Z0-9]+\b", re.sub(r"\bA (?=[a-z])", "", answer))
    if case.kind == "label":
        found = [word for word in found if not word.isdigit()]
    return tuple(found) == case.expect
