"""Things and places to look at: a kitchen, plans, a gauge, a street. All names are made up."""

from __future__ import annotations

import math
import random

from training.gallery.base import Picture
from training.gallery.sheet import (
    BLUE,
    BOLD,
    BROWN,
    GRASS,
    GREEN,
    GREY,
    INK,
    ORANGE,
    RED,
    SANS,
    SERIF,
    SKY,
    WHITE,
    YELLOW,
    Sheet,
)


def kitchen() -> Picture:
    sheet = Sheet(760, 560, (246, 236, 214))
    sheet.box(0, 430, 760, 560, (196, 160, 120))  # floor
    sheet.box(70, 60, 330, 270, SKY, (150, 110, 70), 8)  # window
    sheet.disc(270, 115, 26, fill=YELLOW)
    sheet.polygon([(78, 262), (150, 180), (215, 262)], GRASS)
    sheet.polygon([(170, 262), (250, 195), (322, 262)], (122, 172, 100))
    sheet.line([(200, 60), (200, 270)], (150, 110, 70), 6)
    sheet.disc(470, 120, 52, fill=WHITE, edge=INK, width=4)  # clock at twenty past eight
    for k in range(12):
        a = math.radians(30 * k)
        sheet.line(
            [(470 + 42 * math.sin(a), 120 - 42 * math.cos(a)), (470 + 48 * math.sin(a), 120 - 48 * math.cos(a))], INK, 2
        )
    for angle, length, width in ((8 * 30 + 10, 24, 5), (120, 38, 3)):
        a = math.radians(angle)
        sheet.line([(470, 120), (470 + length * math.sin(a), 120 - length * math.cos(a))], INK, width)
    sheet.box(590, 40, 730, 250, (214, 220, 224), GREY, 3, 6)  # fridge, upper part
    sheet.box(590, 250, 730, 470, (214, 220, 224), GREY, 3, 6)
    sheet.box(606, 130, 614, 190, GREY)
    sheet.box(606, 290, 614, 350, GREY)
    sheet.box(650, 90, 700, 130, (255, 246, 150))  # a paper on it
    for x in (170, 520):
        sheet.box(x, 360, x + 18, 520, (136, 92, 54))
    sheet.box(130, 340, 580, 366, (164, 112, 66))  # table
    sheet.disc(250, 332, 70, 16, WHITE, GREY, 2)  # plate with three apples
    for x, y, colour in ((206, 308, RED), (250, 304, RED), (294, 308, GREEN)):
        sheet.disc(x, y, 21, 20, colour)
        sheet.line([(x, y - 19), (x + 4, y - 29)], BROWN, 3)
    sheet.icon("cup", 395, 300, 44, BLUE)
    for x in (380, 396):  # steam
        sheet.line([(x, 262), (x + 6, 250), (x, 238), (x + 6, 226)], (190, 180, 164), 3)
    sheet.polygon([(490, 340), (540, 340), (532, 300), (498, 300)], ORANGE)  # flower pot
    sheet.icon("flower", 515, 262, 44, (222, 90, 150))
    cat(sheet, 340, 486)
    return Picture(
        "kitchen.png",
        sheet.done(),
        "general",
        "real",
        "A kitchen. On a table stand a plate with two red apples and one green apple, a steaming blue cup and a pink "
        "flower in an orange pot. "
        "A black cat sits under the table. Behind: a window with sun and hills, a wall clock at twenty past eight, a "
        "fridge with a yellow paper on it.",
        "Describe the room. What time is it, and what is under the table?",
        "A kitchen, twenty past eight, a black cat under the table",
    )


def cat(sheet: Sheet, x: float, y: float, size: float = 1.0) -> None:
    fill = (44, 42, 46)

    def at(*points: tuple[float, float]) -> list[tuple[float, float]]:
        return [(x + size * px, y + size * py) for px, py in points]

    def disc(px: float, py: float, rx: float, ry: float, colour) -> None:
        sheet.disc(*at((px, py))[0], size * rx, size * ry, colour)

    sheet.line(at((34, 34), (66, 26), (74, -4), (64, -16)), fill, 9 * size)
    disc(0, 10, 36, 42, fill)
    disc(0, -42, 27, 24, fill)
    for side in (-1, 1):
        sheet.polygon(at((side * 26, -48), (side * 22, -82), (side * 4, -62)), fill)
        disc(side * 10, -44, 5, 6, (190, 220, 90))
        disc(side * 10, -44, 2, 5, INK)
    sheet.polygon(at((-4, -34), (4, -34), (0, -29)), (226, 150, 160))


# x, y, width and height in metres.
ROOMS = {
    "Living room": (0, 0, 6, 4), "Kitchen": (6, 0, 3.5, 4), "Bath": (9.5, 0, 2.5, 4), "Hall": (0, 4, 12, 1.5),
    "Study": (0, 5.5, 4, 2.5), "Bedroom": (4, 5.5, 6, 2.5), "Store": (10, 5.5, 2, 2.5),
}  # fmt: skip
# Corners in metres.
FURNITURE = (
    (0.3, 0.3, 2.6, 1.1), (0.4, 2.6, 1.8, 3.6), (6.2, 0.2, 9.3, 0.75), (6.3, 2.5, 7, 3.7), (9.7, 0.2, 11.8, 1.0),
    (0.3, 7.2, 2, 7.75), (8, 5.9, 9.8, 7.7), (10.2, 7.4, 11.8, 7.8),
)  # fmt: skip
WINDOWS = ((1.8, 0, 4.2, 0), (7, 0, 8.6, 0), (10.3, 0, 11.2, 0), (1, 8, 2.6, 8), (6, 8, 8, 8))
DOORS = ((4.6, -1), (7.2, -1), (10.3, -1), (1.6, 1), (5, 1), (10.6, 1))  # along the hall, and to which side they open
FLOOR = (250, 248, 240)


def floor_plan() -> Picture:
    metre, left, top = 60, 40, 70
    sheet = Sheet(800, 600, WHITE)

    def at(x: float, y: float) -> tuple[float, float]:
        return left + metre * x, top + metre * y

    for x, y, wide, high in ROOMS.values():
        sheet.box(*at(x, y), *at(x + wide, y + high), FLOOR, INK, 4)
    for x0, y0, x1, y1 in FURNITURE:
        sheet.box(*at(x0, y0), *at(x1, y1), (226, 230, 234), GREY, 1, 4)
    for x, side in DOORS:
        y = 4 if side < 0 else 5.5
        sheet.line([at(x, y), at(x + 0.8, y)], FLOOR, 6)
        sheet.line([at(x, y), at(x, y + 0.8 * side)], INK, 2)
        sheet.arc(*at(x, y), 0.8 * metre, *((270, 360) if side < 0 else (0, 90)), GREY, 1)
    sheet.line([at(0, 4.3), at(0, 5.2)], FLOOR, 6)  # the way in
    arrow = [(left - 30, 4.55), (left - 8, 4.75), (left - 30, 4.95)]
    sheet.polygon([(x, top + y * metre) for x, y in arrow], RED)
    for x0, y0, x1, y1 in WINDOWS:
        sheet.line([at(x0, y0), at(x1, y1)], (120, 190, 230), 4)
    areas = {name: wide * high for name, (_, _, wide, high) in ROOMS.items()}
    for name, (x, y, wide, high) in ROOMS.items():
        cx, cy = at(x + wide / 2, y + high / 2)
        sheet.text(cx, cy - 11, name, 19, BOLD, anchor="mm")
        sheet.text(cx, cy + 12, f"{areas[name]:g} m²", 16, anchor="mm")
    sheet.text(left, 24, "Flat 4 B, second floor", 22, SERIF)
    sheet.line([(640, 46), (760, 46)], INK, 3)
    sheet.text(700, 38, "2 m", 15, anchor="ms")
    assert sum(areas.values()) == 12 * 8
    return Picture(
        "floor-plan.png",
        sheet.done(),
        "general",
        "real",
        "The floor plan of a flat. A hall runs through the middle, its way in is at the left. Above it, from left to "
        "right: living room, kitchen, bath. Below: study, bedroom, store. "
        + ", ".join(f"{name} {area:g} square metres" for name, area in areas.items())
        + ".",
        "Which rooms have no window, and how large is the whole flat?",
        "Hall and store; 96 m²",
    )


STREETS = (
    [(0, 110), (760, 110)], [(0, 300), (760, 300)], [(0, 470), (760, 470)], [(140, 0), (140, 340)],
    [(140, 432), (140, 560)], [(370, 0), (370, 560)], [(630, 0), (630, 340)], [(630, 436), (630, 560)],
)  # fmt: skip
RIVER = [(0, 360), (260, 352), (520, 372), (760, 356), (760, 412), (520, 428), (260, 408), (0, 414)]
# Where each name stands, and how far it is turned.
STREET_NAMES = (
    ("North Road", 250, 110, 0), ("Main Road", 250, 300, 0), ("South Road", 500, 470, 0),
    ("Oak Street", 140, 205, 90), ("Mill Street", 370, 205, 90), ("Park Street", 630, 205, 90),
)  # fmt: skip
SIGHTS = (("A", 80, 510, RED), ("B", 690, 66, BLUE), ("C", 300, 256, ORANGE), ("D", 450, 510, GREEN))


def town_map() -> Picture:
    sheet = Sheet(760, 560, (236, 238, 226))
    sheet.box(440, 150, 580, 270, (178, 214, 154), radius=10)
    sheet.polygon(RIVER, (150, 196, 230))
    for width, colour in ((26, GREY), (23, WHITE)):
        for points in STREETS:
            sheet.line(points, colour, width)
    for side in (-15, 15):
        sheet.line([(370 + side, 352), (370 + side, 428)], BROWN, 4)
    for name, x, y, turn in STREET_NAMES:
        sheet.turned(x, y, name, turn, 15, SANS, INK)
    sheet.turned(110, 386, "River Lin", 0, 15, SERIF, (40, 80, 130))
    sheet.text(510, 210, "Town park", 17, fill=(40, 90, 40), anchor="mm")
    for letter, x, y, colour in SIGHTS:
        sheet.disc(x, y, 19, fill=colour, edge=WHITE, width=2)
        sheet.text(x, y, letter, 20, BOLD, WHITE, "mm")
    sheet.box(14, 14, 122, 96, WHITE, GREY, 1, 5)
    for i, line in enumerate(("A  station", "B  museum", "C  market", "D  school")):
        sheet.text(24, 26 + 18 * i, line, 13, anchor="lm")
    sheet.polygon([(730, 500), (718, 540), (730, 530), (742, 540)], INK)
    sheet.text(730, 498, "N", 16, BOLD, anchor="ms")
    return Picture(
        "map.png",
        sheet.done(),
        "general",
        "real",
        "A town map, north is up. Three roads run from west to east: North Road, Main Road and, below the River Lin, "
        "South Road. Three streets run from north to south: Oak Street, Mill Street, Park Street; only Mill Street has "
        "a bridge. A: station, on South Road in the west. B: museum, on North Road in the east. C: market, on Main "
        "Road near Mill Street. D: school, on South Road near Mill Street. A park lies between Mill Street and Park "
        "Street.",
        "How do I walk from the station to the museum?",
        "East along South Road, north over the bridge of Mill Street, east along Main Road or North Road, and north to "
        "North Road and Park Street",
    )


def traffic_light() -> Picture:
    sheet = Sheet(336, 336, SKY)
    sheet.box(120, 30, 216, 286, (52, 56, 60), INK, 3, 18)
    for y, colour in ((76, RED), (158, (92, 82, 40)), (240, (34, 74, 48))):
        sheet.disc(168, y, 34, fill=colour, edge=INK, width=2)
    sheet.disc(158, 66, 9, fill=(244, 150, 140))
    sheet.box(158, 286, 178, 336, GREY)
    return Picture(
        "traffic-light.png",
        sheet.done(),
        "latency",
        "real",
        "A traffic light with three lamps. The upper one, red, is lit; the other two are dark.",
        "May I drive on? Answer with one word.",
        "No",
    )


def gauge() -> Picture:
    sheet, value = Sheet(336, 336, (70, 76, 84)), 6.5
    sheet.disc(168, 168, 150, fill=WHITE, edge=INK, width=8)

    def at(bar: float, r: float) -> tuple[float, float]:
        a = math.radians(225 - 27 * bar)
        return 168 + r * math.cos(a), 168 - r * math.sin(a)

    for bar in range(11):
        sheet.line([at(bar, 132), at(bar, 116)], RED if bar >= 8 else INK, 4)
        sheet.text(*at(bar, 96), str(bar), 19, BOLD, anchor="mm")
        if bar < 10:
            sheet.line([at(bar + 0.5, 132), at(bar + 0.5, 124)], INK, 2)
    sheet.text(168, 226, "bar", 22, anchor="mm")
    sheet.line([at(value, -24), at(value, 112)], RED, 5)
    sheet.disc(168, 168, 12, fill=INK)
    return Picture(
        "gauge.png",
        sheet.done(),
        "latency",
        "real",
        f"A round pressure gauge from 0 to 10 bar, red from 8. The needle stands at {value} bar.",
        "What does the gauge show? Answer with the number only.",
        f"{value}",
    )


def poster() -> Picture:
    sheet = Sheet(1344, 1344, (22, 30, 62))
    rng = random.Random(8)
    for _ in range(90):
        sheet.disc(rng.uniform(0, 1344), rng.uniform(0, 820), rng.uniform(1, 3.4), fill=(240, 236, 200))
    for x, y, r, colour in (
        (260, 520, 90, ORANGE),
        (520, 420, 120, RED),
        (830, 500, 105, YELLOW),
        (1090, 410, 84, (226, 96, 150)),
    ):
        sheet.line([(x, y - r), (x, 0)], (120, 110, 90), 3)
        sheet.disc(x, y, r * 0.82, r, colour)
        for k in (-0.5, 0, 0.5):
            sheet.line([(x + k * r, y - r * 0.86), (x + k * r, y + r * 0.86)], tuple(int(0.8 * v) for v in colour), 3)
        sheet.box(x - 24, y + r - 8, x + 24, y + r + 18, BROWN)
    sheet.polygon([(0, 900), (300, 840), (700, 900), (1050, 850), (1344, 890), (1344, 1344), (0, 1344)], (16, 44, 72))
    sheet.text(672, 130, "LANTERN NIGHT", 112, BOLD, WHITE, "mm")
    sheet.text(672, 930, "Saturday 7 June, from 20:00", 58, BOLD, YELLOW, "mm")
    sheet.text(672, 1010, "on the river at Mill Bridge", 44, SERIF, WHITE, "mm")
    small = (
        "Entry 9 euros, children under 12 free. Tickets at the town hall and at the quay. Dogs stay at home, please.",
        "Boats leave every 15 minutes from quay 3. The last boat back leaves at 23:40. In rain we meet on Sunday 8 "
        "June.",
    )
    for i, line in enumerate(small):
        sheet.text(672, 1250 + 26 * i, line, 15, fill=(214, 220, 232), anchor="mm")
    return Picture(
        "small-print.png",
        sheet.done(),
        "memory",
        "real",
        "A large poster, 1344 pixels wide: four lanterns in a night sky. Lantern Night, Saturday 7 June, from 20:00, "
        "on the river at Mill Bridge. "
        "At the bottom, very small: " + " ".join(small),
        "When does the last boat back leave?",
        "At 23:40; it stands in the small print, which one crop cannot show",
    )


def street() -> Picture:
    shops = [
        ("BAKERY", 2, (236, 200, 150)),
        ("BOOKS", 4, (190, 214, 226)),
        ("FLOWERS", 6, (244, 214, 222)),
        ("CAFE", 8, (222, 206, 190)),
        ("TOYS", 10, (250, 230, 160)),
        ("MUSIC", 12, (206, 222, 196)),
    ]
    sheet = Sheet(1680, 420, SKY)
    sheet.box(0, 360, 1680, 420, (170, 172, 176))
    for i, (name, house, wall) in enumerate(shops):
        x, roof = 280 * i, 60 + 26 * (i % 3)
        sheet.polygon(
            [(x + 4, roof + 46), (x + 140, roof), (x + 276, roof + 46)], (150, 70, 60) if i % 2 else (110, 84, 76)
        )
        sheet.box(x + 10, roof + 46, x + 270, 362, wall, GREY, 2)
        for k in range(3):
            sheet.box(x + 34 + 80 * k, roof + 66, x + 78 + 80 * k, roof + 116, (228, 242, 250), GREY, 2)
        sheet.box(x + 26, 206, x + 254, 246, INK, radius=5)
        sheet.text(x + 140, 226, name, 26, BOLD, WHITE, "mm")
        sheet.box(x + 26, 256, x + 170, 340, (214, 234, 244), GREY, 3)
        sheet.box(x + 190, 262, x + 248, 362, BROWN, INK, 2)
        sheet.text(x + 219, 284, str(house), 22, BOLD, WHITE, "mm")
    for x, kind, colour, y, r in (
        (98, "cup", ORANGE, 306, 22),
        (380, "moon", YELLOW, 300, 24),
        (658, "flower", RED, 306, 28),
        (938, "cup", BLUE, 306, 24),
        (1218, "car", RED, 306, 30),
        (1498, "sun", ORANGE, 300, 26),
    ):
        if kind != "moon":
            sheet.icon(kind, x, y, r, colour)
    for k, colour in enumerate((RED, BLUE, GREEN, ORANGE)):  # books stand in the second window
        sheet.box(344 + 22 * k, 286, 360 + 22 * k, 336, colour)
    sheet.icon("car", 760, 374, 44, (60, 110, 190))
    names = "; ".join(f"number {house} {name}" for name, house, _ in shops)
    return Picture(
        "street.png",
        sheet.done(),
        "memory",
        "real",
        f"A wide picture of a street with six shops, from left to right: {names}. A blue car stands in front.",
        "List the shops with their house numbers. Which shop is at number 8?",
        f"{names}. Number 8 is the cafe",
    )
