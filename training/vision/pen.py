"""What every picture is put together from: grounds, colours, lines of text, shapes and icons."""

from __future__ import annotations

import random

from training.vision.icons import ICON_COLOURS, ICON_STEPS, OUTLINES
from training.vision.letters import DOWN, FONTS, cap_height, first_centre, glyph, pitch, settled, text_width
from training.vision.scene import (
    COLOURS,
    DARK_INKS,
    GLYPHS,
    LIGHT_INKS,
    NIGHT,
    SHAPE_COLOURS,
    SIGNS,
    SIZE,
    Mark,
    Scene,
    place,
)

EVENTS = {"moves": 4, "turns": 1, "appears": 1, "disappears": 1}  # how often each thing happens in a clip


class Pen:
    """Draws pieces of scenes. The same seed always gives the same ones.

    Args:
        seed: any integer or string. word: makes the words to print; left out, real and random ones by turns. Corpora
            give one that keeps to their split. events: how often each thing happens in clips.
    """

    def __init__(self, seed: int | str, word=None, events: dict[str, int] = EVENTS):
        self.random = random.Random(seed)
        self.word, self.events = word or self.any_word, events

    def any_word(self, shortest: int = 3, longest: int = 5) -> str:
        """A real word, a random string or a number, of 3 to 5 characters."""
        rng, roll = self.random, self.random.random()
        if roll < 0.3:
            real = [w for w in SIGNS if shortest <= len(w) <= longest]
            return rng.choice(real)
        letters = GLYPHS[26:] if roll < 0.45 else GLYPHS[:26] if roll < 0.85 else GLYPHS
        return "".join(rng.choices(letters, k=rng.randint(shortest, longest)))

    def scene(self, kind: str, square: float = 0.85, dark: float = 0.1, tall: float = 0.3) -> Scene:
        """An empty scene: mostly light ground, mostly square; of the others, a share `tall` is higher than wide."""
        rng = self.random
        area = (0, 0, SIZE, SIZE)
        if rng.random() > square:  # letterboxed as the image processor does it
            margin = rng.randrange(14, 57)
            area = (0, margin, SIZE, SIZE - margin) if rng.random() >= tall else (margin, 0, SIZE - margin, SIZE)
        light = rng.randint(225, 255)
        ground = (
            rng.choice(NIGHT) if rng.random() < dark else tuple(min(255, light + rng.randint(-8, 8)) for _ in range(3))
        )
        if rng.random() < 0.35 and min(ground) > 200:
            ground = (255, 255, 255)
        return Scene(kind, ground, area, smooth=rng.random() < 0.25)

    def rgb(self, colour: str) -> tuple[int, int, int]:
        """A colour by name, a little off."""
        return tuple(max(0, min(255, c + self.random.randint(-12, 12))) for c in COLOURS[colour])

    def ink(self, scene: Scene) -> str:
        return self.random.choice(DARK_INKS if min(scene.ground) > 150 else LIGHT_INKS)

    def plain_ink(self, scene: Scene) -> str:
        """Black on light, white on dark."""
        return "black" if min(scene.ground) > 150 else "white"

    def text(
        self,
        scene: Scene,
        x: float,
        y: float,
        text: str,
        name: str,
        size: int,
        colour: str,
        anchor: str = "l",
        settle: bool = True,
    ) -> int:
        """Set a line with its baseline near y; `anchor` says what x is: left (l), middle (m) or right (r). Returns its
        width.

        Args:
            settle: keep letters away from the borders of cells; they move by a few pixels for it.
        """
        width = text_width(text, name, size)
        x, rgb = round(x - {"l": 0, "m": width / 2, "r": width}[anchor]), self.rgb(colour)
        y = self.line(y, size) if settle else y
        for i, word in enumerate(text.split()):
            step = pitch(word, name, size)
            x += (size // 2) * (i > 0)
            centre = first_centre(x + step / 2, step) if settle else x + step / 2
            scene.words.append([])
            for c in word:
                mask, _ = glyph(c, name, size)
                left, top = round(centre - mask.width / 2), round(y) - cap_height(size)
                scene.steps.append(("glyph", left, top, c, name, size, rgb))
                scene.marks.append(Mark(left + mask.width / 2, top + cap_height(size) / 2, c, colour))
                scene.words[-1].append(scene.marks[-1])
                centre += step
            x += step * len(word)
        return width

    @staticmethod
    def line(y: float, size: int) -> float:
        """The baseline nearest to y on which capitals keep away from the borders of cells."""
        return settled(y - cap_height(size) / 2, DOWN) + cap_height(size) / 2

    def shape(self, scene: Scene, kind: str, colour: str, x: float, y: float, r: float, rgb=None) -> dict:
        """Add a shape or an icon around (x, y); returns what facts say about it."""
        rgb = rgb or self.rgb(colour)
        if kind == "circle":
            scene.steps.append(("ellipse", [(x - 0.92 * r, y - 0.92 * r), (x + 0.92 * r, y + 0.92 * r)], rgb))
        elif kind in OUTLINES:
            scene.steps.append(("polygon", [(x + r * px, y + r * py) for px, py in OUTLINES[kind]], rgb))
        else:
            for what, points, fill in ICON_STEPS[kind]:
                if what == "crescent":  # a disc with the ground's disc over it
                    scene.steps.append(("ellipse", [(x - 0.8 * r, y - 0.8 * r), (x + 0.8 * r, y + 0.8 * r)], rgb))
                    scene.steps.append(
                        ("ellipse", [(x - 0.3 * r, y - 0.95 * r), (x + 1.1 * r, y + 0.45 * r)], scene.ground)
                    )
                else:
                    scene.steps.append((what, [(x + r * px, y + r * py) for px, py in points], fill or rgb))
        scene.marks.append(Mark(x, y, kind, colour))
        return {"kind": kind, "colour": colour, "x": x, "y": y, "r": r, "place": place(x, y), "rgb": rgb}

    def font(self) -> str:
        return self.random.choice(FONTS)

    def shape_colour(self, scene: Scene, kind: str) -> str:
        """A colour for a shape or an icon that shows on the ground."""
        dark = min(scene.ground) < 150
        options = [c for c in ICON_COLOURS.get(kind, SHAPE_COLOURS) if not (dark and c in ("black", "brown", "purple"))]
        return self.random.choice(options)
