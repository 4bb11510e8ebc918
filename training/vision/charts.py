"""Charts and tables, with their labels and numbers printed."""

from __future__ import annotations

import math
from typing import NamedTuple

from training.vision.letters import DOWN, FONTS, SMALL, cap_height, text_width
from training.vision.pen import Pen
from training.vision.scene import (
    COLUMNS,
    DAYS,
    GLYPHS,
    GOODS,
    MONTHS,
    NAMES,
    QUARTERS,
    SHAPE_COLOURS,
    SIZE,
    Mark,
    Scene,
)


class Data(NamedTuple):
    """What a chart shows, and how its text is set."""

    labels: list[str]
    values: list[int]
    colours: list[str]
    name: str
    size: int
    plain: str


class Charts(Pen):
    """Draws charts and tables."""

    def series(self, count: int, longest: int = 3) -> tuple[list[str], list[int]]:
        """`count` labels of `longest` letters, and as many different values below 100."""
        rng = self.random
        pool = rng.choice(
            (MONTHS, DAYS, GOODS, NAMES, None) if longest > 2 else (QUARTERS, [day[:2] for day in DAYS], None)
        )
        if pool in (GOODS, NAMES):
            labels = rng.sample([word for word in pool if len(word) == longest], count)
        elif pool:
            start = rng.randrange(len(pool))
            labels = [pool[(start + i) % len(pool)] for i in range(count)]
        else:
            labels = []
            while len(labels) < count:
                if (word := "".join(rng.choices(GLYPHS[:26], k=longest))) not in labels:
                    labels.append(word)
        return labels, rng.sample(range(3, 100), count)

    def chart(self, make=None) -> Scene:
        """A bar, line or pie chart with its labels and values printed.

        Args:
            make: gives (labels, values) instead of `series`, and is passed the same.

        Under a bar there is room for three letters of three entries, or two letters of four; beside a pie for more.
        """
        rng, style = self.random, self.random.choices(("bar", "line", "pie"), (0.5, 0.25, 0.25))[0]
        scene = self.scene("chart", square=0.9 if style != "pie" else 1, tall=0)
        labels, values = (make or self.series)(*rng.choice(((3, 3), (4, 3 if style == "pie" else 2))))
        name, size, plain = rng.choice(FONTS[:4]), rng.randint(SMALL, SMALL + 1), self.plain_ink(scene)
        unseen = ("black", "brown") if plain == "white" else ()
        colours = rng.sample([c for c in SHAPE_COLOURS if c != plain and c not in unseen], len(labels))
        data = Data(labels, values, colours, name, size, plain)
        axis = self.rgb("gray")
        if style == "pie":
            self._pie(scene, data)
        else:
            self._bars_or_line(scene, data, style, axis)
        scene.facts = {"style": style, "labels": labels, "values": values}
        return scene

    def _pie(self, scene: Scene, data: Data) -> None:
        """Slices, and beside or below them a legend with the values."""
        rng, count, height = self.random, len(data.labels), cap_height(data.size)
        r = rng.uniform(50, 62)
        beside = rng.random() < 0.5
        cx, cy = (66, 168 + rng.uniform(-40, 40)) if beside else (168 + rng.uniform(-60, 60), 84)
        turn = rng.uniform(0, 360)
        for value, colour in zip(data.values, data.colours):
            sweep = 360 * value / sum(data.values)
            middle = math.radians(turn + sweep / 2)
            scene.steps.append(("pie", [(cx - r, cy - r), (cx + r, cy + r)], turn, turn + sweep, self.rgb(colour)))
            scene.marks.append(Mark(cx + 0.6 * r * math.cos(middle), cy + 0.6 * r * math.sin(middle), "slice", colour))
            turn += sweep
        x0 = 134 if beside else rng.uniform(10, 130)
        y0 = (SIZE - count * 34) / 2 if beside else SIZE - count * 34 + 2
        for i, (label, value, colour) in enumerate(zip(data.labels, data.values, data.colours)):
            y = self.line(y0 + 34 * i + height, data.size) - height
            self.shape(scene, "square", colour, x0 + 10, y + height / 2, 11)
            self.text(scene, x0 + 26, y + height, label, data.name, data.size, data.plain)
            self.text(scene, x0 + 200, y + height, str(value), data.name, data.size, data.plain, "r")

    def _bars_or_line(self, scene: Scene, data: Data, style: str, axis: tuple[int, int, int]) -> None:
        """A base line with labels below it, and above it bars or a line with their values."""
        rng, height = self.random, cap_height(data.size)
        left, top, right, bottom = scene.area
        base, ceiling = bottom - height - 12, top + height + rng.randint(26, 44)
        if rng.random() < 0.4:
            pale = tuple((a + 3 * b) // 4 for a, b in zip(axis, scene.ground))
            for i in range(1, 4):
                y = base - (base - ceiling) * i / 4
                scene.steps.append(("line", [(left + 6, y), (right - 6, y)], pale, 1))
        scene.steps.append(("line", [(left + 4, base), (right - 4, base)], axis, 2))
        pitch, single = (right - left) / len(data.labels), rng.random() < 0.5
        scale = (base - ceiling) / max(*data.values, rng.randint(60, 100))
        points = [(left + pitch * (i + 0.5), base - max(3, value * scale)) for i, value in enumerate(data.values)]
        first = self.rgb(data.colours[0])
        if style == "line":
            scene.steps.append(("line", points, first, 3))
        for point, label, value, colour in zip(points, data.labels, data.values, data.colours):
            shade = data.colours[0] if single or style == "line" else colour
            fill = first if shade == data.colours[0] else self.rgb(shade)
            foot = self._foot(point[1], data.size, 5 if style == "bar" else 9)
            if style == "bar":
                self._bar(scene, point, base, pitch, shade, fill)
            else:
                self._point(scene, point, foot, text_width(str(value), data.name, data.size), height, shade, fill)
            self.text(scene, point[0], foot, str(value), data.name, data.size, data.plain, "m")
            self.text(scene, point[0], bottom - 5, label, data.name, data.size, data.plain, "m")

    def _foot(self, y: float, size: int, above: float) -> float:
        """The baseline of a value above y. Settling alone could move the number into its bar."""
        foot = y - above
        return self.line(foot - (2 * DOWN if self.line(foot, size) > y - 3 else 0), size)

    @staticmethod
    def _bar(scene: Scene, top: tuple[float, float], base: float, pitch: float, shade: str, fill) -> None:
        (x, y), half = top, pitch * 0.32
        scene.steps.append(("box", [(x - half, y), (x + half, base)], fill, None))
        if base - y > 12:
            scene.marks.append(Mark(x, (y + base) / 2, "bar", shade))

    @staticmethod
    def _point(scene: Scene, at: tuple[float, float], foot: float, width: int, height: int, shade: str, fill) -> None:
        (x, y), half = at, width / 2 + 4  # the line stops short of the number
        scene.steps.append(("box", [(x - half, foot - height - 2), (x + half, foot + 2)], scene.ground, None))
        scene.steps.append(("ellipse", [(x - 5, y - 5), (x + 5, y + 5)], fill))
        scene.marks.append(Mark(x, y, "point", shade))

    def table(self, make=None) -> Scene:
        """A small table: a head row of columns, a first column of names, numbers in between.

        Args:
            make: gives (rows, columns, values) instead of `grid`.
        """
        rng, scene = self.random, self.scene("table", square=0.85, tall=0)
        rows, columns, values = (make or self.grid)()
        left, top, right, bottom = scene.area
        name, size, plain = rng.choice(FONTS[:4]), rng.randint(SMALL, SMALL + 1), self.plain_ink(scene)
        height = cap_height(size)
        across = min((right - left) / (len(columns) + 1), 118)
        down = min((bottom - top - 8) / (len(rows) + 1), rng.uniform(36, 60))
        x0, y0 = (
            left + (right - left - across * (len(columns) + 1)) / 2,
            top + (bottom - top - down * (len(rows) + 1)) * rng.random(),
        )
        x1, y1 = x0 + across * (len(columns) + 1), y0 + down * (len(rows) + 1)
        rule, head = (
            self.rgb("gray"),
            tuple((a + 3 * b) // 4 for a, b in zip(self.rgb(rng.choice(SHAPE_COLOURS)), scene.ground)),
        )
        if rng.random() < 0.5:
            scene.steps.append(("box", [(x0, y0), (x1, y0 + down)], head, None))
        for i in range(len(rows) + 2):
            if i in (0, 1, len(rows) + 1) or rng.random() < 0.5:
                scene.steps.append(("line", [(x0, y0 + i * down), (x1, y0 + i * down)], rule, 1))
        if rng.random() < 0.5:
            for j in range(len(columns) + 2):
                scene.steps.append(("line", [(x0 + j * across, y0), (x0 + j * across, y1)], rule, 1))
        for i, line in enumerate([["", *columns], *([row, *map(str, cells)] for row, cells in zip(rows, values))]):
            for j, cell in enumerate(line):
                self.text(
                    scene, x0 + (j + 0.5) * across, y0 + (i + 0.5) * down + height / 2, cell, name, size, plain, "m"
                )
        scene.facts = {"rows": rows, "columns": columns, "values": values}
        return scene

    def grid(self) -> tuple[list[str], list[str], list[list[int]]]:
        """Names for 2 to 5 rows and 1 or 2 columns, and a number below 200 for each cell."""
        rng = self.random
        count = rng.randint(1, 2)
        columns = rng.sample(
            [c for c in COLUMNS if len(c) <= 5 - count], count
        )  # of two columns, each has room for three letters
        rows = rng.sample([w for w in NAMES + GOODS if len(w) <= 5 - count], rng.randint(2, 5))
        return (
            rows,
            columns,
            [[rng.randint(1, 99) if rng.random() < 0.85 else rng.randint(100, 199) for _ in columns] for _ in rows],
        )
