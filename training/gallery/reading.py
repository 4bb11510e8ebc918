"""Pictures with text to read: a receipt, a note, signs, a label. All names are made up."""

from __future__ import annotations

import math
import random

from PIL import Image

from training.gallery.base import Picture
from training.gallery.sheet import BOLD, CHINESE, GREY, HAND, INK, KOREAN, MONO, PAPER, SKY, WHITE, Sheet, face


def receipt() -> Picture:
    items = [
        ("Rye bread", 1, 380),
        ("Lemons", 4, 45),
        ("Green tea", 2, 425),
        ("Oat milk", 3, 195),
        ("Dark chocolate", 1, 260),
    ]
    total = sum(count * cents for _, count, cents in items)
    sheet, y = Sheet(440, 620, PAPER), 24
    for line, size in (("CORNER SHOP MIRA", 24), ("12 Harbour Street", 15), ("14 May 2025   17:42", 15)):
        sheet.text(220, y, line, size, BOLD if size > 20 else MONO, anchor="ma")
        y += size + 14

    def rule() -> None:
        nonlocal y
        sheet.line([(30 + x, y) for x in (0, 380)], GREY)
        y += 14

    rule()
    for name, count, cents in items:
        sheet.text(32, y, f"{count} x {name}", 17, MONO)
        sheet.text(408, y, f"{count * cents / 100:.2f}", 17, MONO, anchor="ra")
        y += 32
    y += 6
    rule()
    for name, cents, size in (("TOTAL EUR", total, 22), ("Cash", 3000, 17), ("Change", 3000 - total, 17)):
        sheet.text(32, y, name, size, MONO)
        sheet.text(408, y, f"{cents / 100:.2f}", size, MONO, anchor="ra")
        y += size + 16
    sheet.text(220, y + 14, "Thank you, see you soon!", 15, MONO, anchor="ma")
    rng = random.Random(5)
    x = 90
    while x < 350:  # a bar code that codes nothing
        width = rng.choice((2, 2, 3, 5))
        sheet.box(x, y + 48, x + width, y + 100, INK)
        x += width + rng.choice((3, 4, 6))
    # Photographed: lying a little askew on a table.
    paper = sheet.done().convert("RGBA").rotate(-2.4, Image.Resampling.BICUBIC, expand=True)
    table = Image.new("RGB", (paper.width + 60, paper.height + 50), (142, 112, 84))
    table.paste(paper, (30, 25), paper)
    lines = "; ".join(f"{c} x {n} {c * p / 100:.2f}" for n, c, p in items)
    return Picture(
        "receipt.png",
        table,
        "ocr",
        "real",
        f"A shop receipt lying askew on a table. Corner Shop Mira, 14 May 2025. {lines}. Total {total / 100:.2f} "
        "euros, "
        f"cash 30.00, change {(3000 - total) / 100:.2f}.",
        "Turn this receipt into a JSON list of items with count and price, and check that the total is right.",
        f"{lines}; total {total / 100:.2f}, and the items add up to it",
    )


def note() -> Picture:
    lines = [
        "Dear Mia,",
        "please buy six eggs and",
        "two lemons. The key is under",
        "the blue flower pot.",
        "Back at seven,",
        "Grandma",
    ]
    sheet = Sheet(640, 400, (252, 240, 170))
    for y in range(84, 400, 54):
        sheet.line([(0, y), (640, y)], (214, 196, 120))
    rng = random.Random(3)
    for i, line in enumerate(lines):
        x, y = 34 + rng.uniform(-6, 10) + (300 if i == len(lines) - 1 else 0), 64 + 54 * i
        for letter in line:  # every letter sits and leans a little differently
            if letter != " ":
                wide = _width(letter, 36)
                sheet.turned(
                    x + wide / 2,
                    y + rng.uniform(-1.6, 1.6) + _drop(letter, 36),
                    letter,
                    rng.uniform(-5, 5),
                    36,
                    HAND,
                    (36, 48, 120),
                )
                x += wide * rng.uniform(0.96, 1.08) + 1
            else:
                x += 13 + rng.uniform(-2, 3)
    return Picture(
        "note.png",
        sheet.done(),
        "ocr",
        "real",
        "A note in blue slanted letters on yellow lined paper: " + " ".join(lines) + ".",
        "What should be bought, and where is the key?",
        "Six eggs and two lemons; under the blue flower pot",
    )


def _width(letter: str, size: int) -> float:
    return face(HAND, 2 * size).getlength(letter) / 2


def _drop(letter: str, size: int) -> float:
    """How far the middle of a letter lies below the middle of the line."""
    _, top, _, bottom = face(HAND, 2 * size).getbbox(letter)
    _, upper, _, lower = face(HAND, 2 * size).getbbox("x")
    return ((top + bottom) - (upper + lower)) / 4


def sign_korean() -> Picture:
    sheet = Sheet(760, 520, SKY)
    for x in (250, 510):
        sheet.box(x - 8, 300, x + 8, 520, (150, 154, 160))
    sheet.box(60, 40, 700, 330, (18, 92, 66), WHITE, 5, 18)
    for y, (arrow, korean, latin, metres) in zip(
        (90, 175, 260),
        (
            ("up", "시청", "City Hall", "800 m"),
            ("left", "중앙역", "Jungang Station", "350 m"),
            ("right", "바다공원", "Bada Park", "1.2 km"),
        ),
    ):
        _arrow(sheet, 110, y, arrow)
        sheet.text(165, y, korean, 40, KOREAN, WHITE, "lm")
        sheet.text(350, y + 2, latin, 25, BOLD, WHITE, "lm")
        sheet.text(680, y + 2, metres, 22, BOLD, WHITE, "rm")
    return Picture(
        "sign-korean.png",
        sheet.done(),
        "ocr",
        "real",
        "A green road sign in Korean and English. Straight on: 시청, City Hall, 800 m. Left: 중앙역, Jungang Station, "
        "350 m. "
        "Right: 바다공원, Bada Park, 1.2 km.",
        "Which way is the station, and how is it written in Korean?",
        "To the left, 350 m; 중앙역",
    )


def sign_chinese() -> Picture:
    sheet = Sheet(760, 520, (226, 232, 236))
    sheet.box(372, 180, 388, 520, (150, 154, 160))
    sheet.box(110, 40, 650, 170, (24, 84, 168), WHITE, 5, 12)
    sheet.text(380, 88, "人民东路", 58, CHINESE, WHITE, "mm")
    sheet.text(380, 146, "RENMIN EAST ROAD", 22, BOLD, WHITE, "mm")
    sheet.box(60, 220, 350, 320, (116, 74, 40), WHITE, 4, 10)
    _arrow(sheet, 100, 270, "left", 0.8)
    sheet.text(150, 254, "博物馆", 36, CHINESE, WHITE, "lm")
    sheet.text(150, 298, "Museum  600 m", 19, BOLD, WHITE, "lm")
    sheet.box(410, 220, 700, 320, WHITE, (180, 30, 34), 4, 10)
    sheet.text(430, 254, "前方学校", 36, CHINESE, (180, 30, 34), "lm")
    sheet.text(430, 298, "School ahead  30 km/h", 19, BOLD, (180, 30, 34), "lm")
    return Picture(
        "sign-chinese.png",
        sheet.done(),
        "ocr",
        "real",
        "Three street signs in Chinese and English. Blue: 人民东路, Renmin East Road. Brown, with an arrow to the "
        "left: 博物馆, Museum, 600 m. "
        "White and red: 前方学校, School ahead, 30 km/h.",
        "What does the red text say in Chinese, and what does a driver have to do here?",
        "前方学校, school ahead: drive at most 30 km/h",
    )


def _arrow(sheet: Sheet, x: float, y: float, way: str, size: float = 1.0) -> None:
    turn = {"up": 0, "right": 90, "down": 180, "left": 270}[way]
    a = math.radians(turn)
    points = [(0, -26), (20, -4), (8, -4), (8, 26), (-8, 26), (-8, -4), (-20, -4)]
    sheet.polygon(
        [
            (x + size * (px * math.cos(a) - py * math.sin(a)), y + size * (px * math.sin(a) + py * math.cos(a)))
            for px, py in points
        ],
        WHITE,
    )


def nutrition() -> Picture:
    rows = [
        ("Energy", "1,890 kJ", "472 kJ"),
        ("Fat", "18 g", "4.5 g"),
        ("   of which saturates", "2.4 g", "0.6 g"),
        ("Carbohydrate", "60 g", "15 g"),
        ("   of which sugars", "22 g", "5.5 g"),
        ("Fibre", "7.2 g", "1.8 g"),
        ("Protein", "8.8 g", "2.2 g"),
        ("Salt", "0.64 g", "0.16 g"),
    ]
    sheet = Sheet(520, 560, WHITE)
    sheet.box(16, 16, 504, 544, WHITE, INK, 3)
    sheet.text(34, 30, "Oat biscuits", 34, BOLD)
    sheet.text(34, 78, "One pack holds 8 biscuits of 25 g", 16)
    sheet.box(30, 108, 490, 118, INK)
    sheet.text(34, 126, "Typical values", 16, BOLD)
    sheet.text(360, 126, "per 100 g", 16, BOLD, anchor="ra")
    sheet.text(486, 126, "per biscuit", 16, BOLD, anchor="ra")
    for i, (name, hundred, biscuit) in enumerate(rows):
        y = 154 + 36 * i
        sheet.line([(30, y), (490, y)], INK, 1)
        sheet.text(34, y + 18, name, 17, anchor="lm")
        sheet.text(360, y + 18, hundred, 17, anchor="rm")
        sheet.text(486, y + 18, biscuit, 17, anchor="rm")
    sheet.box(30, 446, 490, 452, INK)
    sheet.text(34, 466, "Contains OATS and WHEAT.", 17, BOLD)
    sheet.text(34, 494, "May contain traces of nuts. Best before 09 2026.", 15)
    return Picture(
        "nutrition.png",
        sheet.done(),
        "ocr",
        "real",
        "A nutrition label for oat biscuits, with values per 100 g and per biscuit of 25 g. "
        + "; ".join(f"{n.strip()} {h} and {b}" for n, h, b in rows)
        + ". Contains oats and wheat, may contain traces of nuts.",
        "How much sugar is in three biscuits, and is this safe for somebody who must not eat wheat?",
        "16.5 g (3 x 5.5 g); no, it contains wheat",
    )
