"""Pictures with known content: every scene is data first, pixels second.

>>> scene = Artist(7).sign()
>>> scene.facts["words"][0]["text"]          # what is in it
>>> paint.paint(scene)                       # a 336x336 picture
>>> kinds, colours = paint.dense(scene)      # what has its centre in each of the 24x24 patches
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from training.vision.charts import Charts
from training.vision.letters import LARGE, SMALL, cap_height, text_width
from training.vision.scene import CELL, DARK_INKS, GLYPHS, ICONS, LIGHT_INKS, SHAPES, SIZE, Scene, place


class Artist(Charts):
    """Draws whole pictures: to learn to see from, and to ask about."""

    # -- pictures for the tower --

    def page(self) -> Scene:
        """A page crowded with glyphs, shapes and icons: dense targets for the tower, read by nobody."""
        rng, scene = self.random, self.scene("page", square=1, dark=0.15)
        y, settle = rng.randint(2, 10), rng.random() < 0.75
        while True:
            if rng.random() < 0.78:
                size = round(math.exp(rng.uniform(math.log(SMALL), math.log(LARGE + 6))))
                height, name = cap_height(size), self.font()
                if y + height > SIZE - 2:
                    return scene
                x = rng.randint(1, 24)
                while True:
                    word = "".join(rng.choices(GLYPHS, k=rng.randint(1, 6)))
                    if x + text_width(word, name, size) > SIZE:
                        break
                    x += (
                        self.text(scene, x, y + height, word, name, size, self.ink(scene), settle=settle)
                        + size // 3
                        + rng.randint(0, 20)
                    )
                    if rng.random() < 0.3:
                        name = self.font()
                y += max(CELL, height + rng.randint(4, 12))
            else:
                r = rng.randint(14, 40)
                if y + 2 * r > SIZE:
                    return scene
                x = rng.randint(0, 20) + r
                while x + r < SIZE:
                    kind = rng.choice(SHAPES) if rng.random() < 0.6 else rng.choice(ICONS)
                    colour = self.shape_colour(scene, kind)
                    self.shape(scene, kind, colour, x, y + r, r * rng.uniform(0.8, 1))
                    x += 2 * r + rng.randint(0, 24)
                y += 2 * r + rng.randint(2, 8)

    # -- pictures to ask about --

    def lines(self) -> Scene:
        """Several lines of words, to be read in order."""
        rng, scene = self.random, self.scene("lines", square=0.8)
        name, size, words = self.font(), rng.randint(SMALL, 34), []
        left, top, right, bottom = scene.area
        height = cap_height(size)
        y, colour = top + rng.randint(6, 40), self.ink(scene)
        for _ in range(rng.randint(1, 5)):
            if y + height > bottom - 4:
                break
            x = left + rng.randint(5, 40)
            for _ in range(rng.randint(1, 4)):
                word = self.word()
                if x + text_width(word, name, size) > right - 2:
                    break
                x += self.text(scene, x, y + height, word, name, size, colour) + round(size * rng.uniform(0.7, 1.1))
                words.append(word)
            y += max(CELL, height + rng.randint(8, 30))
        if not words:
            return self.lines()
        scene.facts = {"words": words}
        return scene

    def sign(self) -> Scene:
        """One to three words of different colours in different places, each on its own line."""
        rng, scene = self.random, self.scene("sign")
        left, top, right, bottom = scene.area
        count = rng.choices((1, 2, 3), (0.4, 0.3, 0.3))[0]
        inks = rng.sample(DARK_INKS if min(scene.ground) > 150 else LIGHT_INKS, count)
        band, found = (bottom - top) / count, []
        for i, colour in enumerate(inks):
            word, name, size = self.word(), self.font(), round(math.exp(rng.uniform(math.log(SMALL), math.log(LARGE))))
            width, height = text_width(word, name, size), cap_height(size)
            x = rng.randint(left + 4, max(left + 4, right - width - 4))
            y = self.line(rng.uniform(top + i * band + 5, top + (i + 1) * band - height - 5) + height, size) - height
            if rng.random() < 0.3:  # on a board of its own
                light = min(scene.ground) > 150
                edge = self.rgb("gray") if rng.random() < 0.5 else None
                board = (255, 255, 250) if light else tuple(max(0, c - 12) for c in scene.ground)
                scene.steps.append(("box", [(x - 8, y - 6), (x + width + 8, y + height + 6)], board, edge))
            self.text(scene, x, y + height, word, name, size, colour)
            found.append({"text": word, "colour": colour})
        scene.facts = {"words": found}
        return scene

    def things(self, count: int, kinds: Sequence[str], distinct: bool = True) -> Scene:
        """`count` shapes or icons in different ninths of the picture, well inside them."""
        rng, scene = self.random, self.scene("things", square=1)
        spots = rng.sample([(x, y) for x in range(3) for y in range(3)], count)
        chosen = rng.sample(list(kinds), count) if distinct else [rng.choice(kinds) for _ in range(count)]
        found, used = [], set()
        for kind, (i, j) in zip(chosen, spots):
            while (colour := self.shape_colour(scene, kind)) in used and (
                (distinct and kind in SHAPES) or (kind, colour) in used
            ):
                pass
            used |= {colour, (kind, colour)}
            x, y = 56 + 112 * i + rng.uniform(-16, 16), 56 + 112 * j + rng.uniform(-16, 16)
            found.append(self.shape(scene, kind, colour, x, y, rng.uniform(24, 40)))
        found.sort(key=lambda thing: (thing["y"] // 112, thing["x"]))
        scene.facts = {"things": found}
        return scene

    def shapes(self) -> Scene:
        """One to four shapes of different kinds and colours."""
        scene = self.things(self.random.choices((1, 2, 3, 4), (0.35, 0.25, 0.25, 0.15))[0], SHAPES)
        scene.kind = "shapes"
        return scene

    def objects(self) -> Scene:
        """One to four everyday things."""
        scene = self.things(self.random.randint(1, 4), ICONS)
        scene.kind = "objects"
        return scene

    def crowd(self) -> Scene:
        """One to six of the same, and a few others, to be counted."""
        rng, scene = self.random, self.scene("crowd", square=1)
        kind, number = rng.choice(SHAPES), rng.randint(1, 6)
        colour = self.shape_colour(scene, kind)
        rest = rng.randint(0, 4)
        other = [k for k in SHAPES if k != kind]
        same_colour = rng.random() < 0.3
        chosen = [(kind, colour)] * number
        for _ in range(rest):
            another = rng.choice(other)
            chosen.append((another, colour if same_colour else self.shape_colour(scene, another)))
        rng.shuffle(chosen)
        spots = rng.sample([(x, y) for x in range(4) for y in range(4)], len(chosen))
        r = rng.uniform(20, 34)
        found = [
            self.shape(
                scene,
                k,
                c,
                42 + 84 * i + rng.uniform(-6, 6),
                42 + 84 * j + rng.uniform(-6, 6),
                r * rng.uniform(0.85, 1.1),
            )
            for (k, c), (i, j) in zip(chosen, spots)
        ]
        scene.facts = {"kind": kind, "colour": colour, "things": found}
        return scene

    # -- several pictures --

    def again(self, scene: Scene, things: list[dict]) -> Scene:
        """The same ground with these things on it."""
        other = Scene(scene.kind, scene.ground, scene.area, scene.smooth)
        other.facts = {"things": [self.shape(other, **{k: v for k, v in t.items() if k != "place"}) for t in things]}
        return other

    def pair(self) -> tuple[list[Scene], dict]:
        """Two pictures of shapes with one difference, and that difference."""
        rng = self.random
        first = self.things(rng.randint(2, 4), SHAPES)
        things = [dict(t) for t in first.facts["things"]]
        free = [
            (x, y) for x in range(3) for y in range(3) if all((t["x"] // 112, t["y"] // 112) != (x, y) for t in things)
        ]
        change = rng.choice(("colour", "kind", "gone", "new", "moved"))
        at = rng.randrange(len(things))
        before, after = dict(things[at]), dict(things[at])
        x, y = ((v + 0.5) * 112 for v in rng.choice(free))
        if change == "colour":
            while after["colour"] in {t["colour"] for t in things}:
                after |= {"colour": self.shape_colour(first, after["kind"]), "rgb": None}
        elif change == "kind":
            after["kind"] = rng.choice([k for k in SHAPES if k not in {t["kind"] for t in things}])
        elif change == "moved":
            after |= {"x": x, "y": y, "place": place(x, y)}
        elif change == "new":
            kind = rng.choice([k for k in SHAPES if k not in {t["kind"] for t in things}])
            colour = before["colour"]
            while colour in {t["colour"] for t in things}:
                colour = self.shape_colour(first, kind)
            after = {
                "kind": kind,
                "colour": colour,
                "x": x,
                "y": y,
                "r": before["r"],
                "place": place(x, y),
                "rgb": None,
            }
            things.append(after)
        if change == "gone":
            del things[at]
        elif change != "new":
            things[at] = after
        return [first, self.again(first, things)], {"change": change, "before": before, "after": after}

    def clip(self) -> tuple[list[Scene], dict]:
        """Three to five frames in which one shape moves, changes colour, appears or disappears."""
        rng, count = self.random, self.random.randint(3, 5)
        first = self.things(rng.randint(1, 2), SHAPES)
        actor, *rest = rng.sample(first.facts["things"], len(first.facts["things"]))
        event = rng.choices(list(self.events), list(self.events.values()))[0]
        facts = {"event": event, "kind": actor["kind"], "colour": actor["colour"], "frames": count}
        frames = [dict(actor) for _ in range(count)]
        cut = rng.randint(1, count - 1)  # where what happens at once happens
        if event == "moves":
            direction = facts["direction"] = rng.choice(("right", "left", "down", "up"))
            start, end = (44, 292) if direction in ("right", "down") else (292, 44)
            axis, cross = ("x", "y") if direction in ("right", "left") else ("y", "x")
            lane = [v for v in (56, 168, 280) if all(abs(t[cross] - v) > 70 for t in rest)]
            aside = rng.choice(lane) + rng.uniform(-14, 14)
            first_at, last_at = (
                start + rng.uniform(-12, 30) * (1 if end > start else -1),
                end - rng.uniform(-12, 40) * (1 if end > start else -1),
            )
            for i, frame in enumerate(frames):
                frame |= {axis: first_at + (last_at - first_at) * i / (count - 1), cross: aside}
        elif event == "turns":
            facts["into"] = actor["colour"]
            while facts["into"] in {actor["colour"], *(t["colour"] for t in rest)}:
                facts["into"] = self.shape_colour(first, actor["kind"])
            frames[cut:] = [{**actor, "colour": facts["into"], "rgb": None} for _ in frames[cut:]]
        seen = {"appears": range(cut, count), "disappears": range(cut)}.get(event, range(count))
        return [self.again(first, [*rest, frame] if i in seen else rest) for i, frame in enumerate(frames)], facts
