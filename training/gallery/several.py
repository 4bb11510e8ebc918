"""Pictures that belong together, and clips."""

from __future__ import annotations

import math
from collections.abc import Iterator

from training.gallery.base import Picture
from training.gallery.looking import cat
from training.gallery.sheet import BLUE, BOLD, BROWN, GRASS, GREEN, GREY, INK, ORANGE, RED, SKY, WHITE, YELLOW, Sheet


def village() -> Iterator[Picture]:
    changes = (
        "the sun is on the other side",
        "the left house has a blue roof, not a red one",
        "the second cloud is gone",
        "a cat sits beside the tree",
        "one board of the fence is missing",
    )
    for number in (1, 2):
        other = number == 2
        sheet = Sheet(720, 500, SKY)
        sheet.polygon([(0, 300), (180, 210), (380, 300), (560, 230), (720, 300), (720, 500), (0, 500)], GRASS)
        sheet.icon("sun", 640 if other else 80, 74, 46, ORANGE)
        sheet.icon("cloud", 300, 80, 56, WHITE)
        if not other:
            sheet.icon("cloud", 480, 130, 44, WHITE)
        sheet.icon("house", 180, 300, 100, BLUE if other else RED)
        sheet.icon("house", 420, 310, 84, BROWN)
        sheet.icon("tree", 580, 300, 94, (52, 138, 66))
        for x, y in ((556, 250), (598, 236), (606, 284)):
            sheet.disc(x, y, 8, fill=RED)
        if other:
            cat(sheet, 656, 376, 0.5)
        sheet.box(0, 420, 720, 470, (176, 172, 166))
        sheet.icon("car", 330, 428, 60, GREEN)
        for k in range(8):
            if not (other and k == 2):
                sheet.box(20 + 34 * k, 372, 36 + 34 * k, 418, (240, 236, 226), GREY, 1, 3)
        sheet.box(14, 388, 300, 396, (240, 236, 226), GREY, 1)
        where = (
            "The first of two pictures: a village with sun on the left, two clouds, a house with a red roof, one with "
            "a brown roof, an apple tree, "
            "a fence of eight boards and a green car."
            if not other
            else "The second of two pictures: the same village, but " + "; ".join(changes) + "."
        )
        yield Picture(
            f"village-{number}.png",
            sheet.done(),
            "compare",
            "real",
            where,
            "Find the five differences between the two pictures.",
            "In the second picture " + "; ".join(changes),
            set="village",
        )


def plants() -> Iterator[Picture]:
    stages = {1: "with four leaves", 2: "with an open pink flower", 3: "as a small sprout"}
    for number, stage in stages.items():
        sheet = Sheet(336, 336, (240, 244, 246))
        sheet.box(0, 290, 336, 336, (206, 178, 140))
        sheet.polygon([(108, 220), (228, 220), (210, 306), (126, 306)], (190, 104, 64))
        sheet.box(100, 206, 236, 226, (206, 118, 74))
        height = {3: 26, 1: 84, 2: 120}[number]
        sheet.line([(168, 206), (168, 206 - height)], (60, 140, 70), 6)
        for k in range({3: 1, 1: 2, 2: 2}[number]):
            y = 206 - (22 if number == 3 else 30 + 34 * k)
            size = 14 if number == 3 else 28
            for side in (-1, 1):
                sheet.polygon(
                    [
                        (168, y),
                        (168 + side * size, y - 14),
                        (168 + side * 1.6 * size, y - 10),
                        (168 + side * size, y + 4),
                    ],
                    (76, 164, 84),
                )
        if number == 2:
            for k in range(6):
                a = math.radians(60 * k)
                sheet.disc(168 + 24 * math.cos(a), 84 + 24 * math.sin(a), 17, fill=(224, 96, 150))
            sheet.disc(168, 84, 15, fill=YELLOW)
        yield Picture(
            f"plant-{number}.png",
            sheet.done(),
            "compare",
            "real",
            f"A plant in a pot, {stage}.",
            "The three pictures show one plant on three days. Put them into the order of time.",
            "3 (sprout), 1 (leaves), 2 (flower)",
            set="plant",
        )


def traffic() -> Picture:
    frames = []
    for k in range(12):
        green = k >= 4
        sheet = Sheet(480, 288, SKY)
        sheet.box(0, 190, 480, 288, (112, 114, 118))
        for x in range(10, 480, 70):
            sheet.box(x, 236, x + 36, 242, WHITE)
        sheet.icon("tree", 60, 130, 62, (60, 140, 70))
        sheet.icon("house", 170, 136, 60, (176, 70, 60))
        sheet.box(336, 60, 372, 150, (50, 54, 58), INK, 2, 6)
        sheet.box(351, 150, 357, 196, GREY)
        sheet.disc(354, 82, 13, fill=(80, 30, 30) if green else (236, 50, 44))
        sheet.disc(354, 126, 13, fill=(60, 220, 100) if green else (26, 70, 40))
        sheet.icon("car", 230 + (0 if k < 5 else 44 * (k - 4)), 214, 62, BLUE)
        walker = 410 + 18 * k if k < 4 else 520  # crosses while the light is red
        sheet.disc(walker, 150, 10, fill=(240, 200, 170))
        sheet.box(walker - 9, 162, walker + 9, 196, YELLOW, radius=5)
        sheet.line([(walker - 5, 196), (walker - 8 + 6 * (k % 2), 220)], INK, 5)
        sheet.line([(walker + 5, 196), (walker + 8 - 6 * (k % 2), 220)], INK, 5)
        frames.append(sheet.done())
    return Picture(
        "traffic.gif",
        frames,
        "clip",
        "real",
        "A clip of twelve frames, three seconds. A blue car waits at a red light while a person in yellow walks past. "
        "Then the light turns "
        "green and the car drives away to the right.",
        "Summarise the clip in two sentences.",
        "A car waits at the red light while a person walks past; the light turns green and the car drives off to the "
        "right",
        fps=4,
    )


def slides() -> Picture:
    years, hives = ("2022", "2023", "2024"), (12, 19, 31)
    rules = ("Plant wild flowers", "Put out water", "Use no poison")

    def slide(k: int) -> Sheet:
        sheet = Sheet(480, 360, WHITE)
        sheet.box(0, 0, 480, 12, (240, 170, 30))
        if k == 0:
            sheet.box(0, 12, 480, 360, (255, 244, 214))
            sheet.text(240, 150, "Bees in the city", 44, BOLD, anchor="mm")
            sheet.text(240, 214, "Yearly report 2024", 24, anchor="mm")
        elif k == 1:
            sheet.text(30, 36, "Bee hives in town", 28, BOLD)
            sheet.line([(60, 320), (430, 320)], INK, 2)
            for i, (year, value) in enumerate(zip(years, hives)):
                x = 100 + 120 * i
                sheet.box(x, 320 - 6.6 * value, x + 70, 320, (0, 114, 178))
                sheet.text(x + 35, 312 - 6.6 * value, str(value), 22, BOLD, anchor="mb")
                sheet.text(x + 35, 328, year, 18, anchor="mt")
        elif k == 2:
            sheet.box(0, 12, 480, 360, (226, 240, 226))
            sheet.text(30, 36, "Three rules", 28, BOLD)
            for i, rule in enumerate(rules):
                sheet.text(50, 120 + 64 * i, f"{i + 1}.  {rule}", 28, anchor="lm")
        else:
            sheet.box(0, 12, 480, 360, (40, 56, 84))
            sheet.text(240, 170, "Thank you!", 48, BOLD, WHITE, "mm")
            sheet.text(240, 234, "Questions: room 204", 24, fill=WHITE, anchor="mm")
        return sheet

    frames = []
    for k in range(4):
        for i in range(12):  # a pointer wanders over each slide
            sheet = slide(k)
            sheet.disc(60 + 28 * i, 100 + 8 * i, 7, fill=RED)
            frames.append(sheet.done())
    return Picture(
        "slides.mp4",
        frames,
        "clip",
        "real",
        "A clip of a talk, twelve seconds, four slides, a red pointer moves over each. 1: Bees in the city, yearly "
        "report 2024. 2: a bar chart, bee "
        "hives in town: "
        + ", ".join(f"{y} {h}" for y, h in zip(years, hives))
        + ". 3: three rules: "
        + ", ".join(rules)
        + ". 4: Thank you! Questions: room 204.",
        "Summarise the talk, one sentence a slide.",
        "Title: bees in the city, report 2024; hives grew from 12 to 31 in two years; three rules: wild flowers, "
        "water, no poison; thanks, questions in room 204",
        fps=4,
    )
