"""Pictures for people with the real model: papers, signs, plans, charts, pages, scenes and clips. All names are made up."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator

from PIL import Image

from .base import Picture
from .sheet import BOLD, CHINESE, HAND, INK, KOREAN, MONO, PAPER, SERIF, Sheet

WHITE, GREY, SKY, GRASS = (255, 255, 255), (128, 132, 138), (205, 228, 244), (150, 196, 120)
RED, GREEN, BLUE, YELLOW, BROWN, ORANGE = (204, 48, 44), (40, 140, 72), (38, 92, 180), (246, 206, 60), (132, 90, 56), (236, 134, 40)


# ---- reading ------------------------------------------------------------------------------------------------------


def receipt() -> Picture:
    items = [("Rye bread", 1, 380), ("Lemons", 4, 45), ("Green tea", 2, 425), ("Oat milk", 3, 195), ("Dark chocolate", 1, 260)]
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
    while x < 350:                                       # a bar code that codes nothing
        width = rng.choice((2, 2, 3, 5))
        sheet.box(x, y + 48, x + width, y + 100, INK)
        x += width + rng.choice((3, 4, 6))
    # Photographed: lying a little askew on a table.
    paper = sheet.done().convert("RGBA").rotate(-2.4, Image.Resampling.BICUBIC, expand=True)
    table = Image.new("RGB", (paper.width + 60, paper.height + 50), (142, 112, 84))
    table.paste(paper, (30, 25), paper)
    lines = "; ".join(f"{c} x {n} {c * p / 100:.2f}" for n, c, p in items)
    return Picture("receipt.png", table, "ocr", "real",
                   f"A shop receipt lying askew on a table. Corner Shop Mira, 14 May 2025. {lines}. Total {total / 100:.2f} euros, "
                   f"cash 30.00, change {(3000 - total) / 100:.2f}.",
                   "Turn this receipt into a JSON list of items with count and price, and check that the total is right.",
                   f"{lines}; total {total / 100:.2f}, and the items add up to it")


def note() -> Picture:
    lines = ["Dear Mia,", "please buy six eggs and", "two lemons. The key is under", "the blue flower pot.", "Back at seven,", "Grandma"]
    sheet = Sheet(640, 400, (252, 240, 170))
    for y in range(84, 400, 54):
        sheet.line([(0, y), (640, y)], (214, 196, 120))
    rng = random.Random(3)
    for i, line in enumerate(lines):
        x, y = 34 + rng.uniform(-6, 10) + (300 if i == len(lines) - 1 else 0), 64 + 54 * i
        for letter in line:                              # every letter sits and leans a little differently
            if letter != " ":
                wide = _width(letter, 36)
                sheet.turned(x + wide / 2, y + rng.uniform(-1.6, 1.6) + _drop(letter, 36), letter, rng.uniform(-5, 5), 36, HAND, (36, 48, 120))
                x += wide * rng.uniform(0.96, 1.08) + 1
            else:
                x += 13 + rng.uniform(-2, 3)
    return Picture("note.png", sheet.done(), "ocr", "real", "A note in blue slanted letters on yellow lined paper: " + " ".join(lines) + ".",
                   "What should be bought, and where is the key?", "Six eggs and two lemons; under the blue flower pot")


def _width(letter: str, size: int) -> float:
    from .sheet import face

    return face(HAND, 2 * size).getlength(letter) / 2


def _drop(letter: str, size: int) -> float:
    """How far the middle of a letter lies below the middle of the line."""
    from .sheet import face

    _, top, _, bottom = face(HAND, 2 * size).getbbox(letter)
    _, upper, _, lower = face(HAND, 2 * size).getbbox("x")
    return ((top + bottom) - (upper + lower)) / 4


def sign_korean() -> Picture:
    sheet = Sheet(760, 520, SKY)
    for x in (250, 510):
        sheet.box(x - 8, 300, x + 8, 520, (150, 154, 160))
    sheet.box(60, 40, 700, 330, (18, 92, 66), WHITE, 5, 18)
    for y, (arrow, korean, latin, metres) in zip((90, 175, 260), (("up", "시청", "City Hall", "800 m"), ("left", "중앙역", "Jungang Station", "350 m"),
                                                               ("right", "바다공원", "Bada Park", "1.2 km"))):
        _arrow(sheet, 110, y, arrow)
        sheet.text(165, y, korean, 40, KOREAN, WHITE, "lm")
        sheet.text(350, y + 2, latin, 25, BOLD, WHITE, "lm")
        sheet.text(680, y + 2, metres, 22, BOLD, WHITE, "rm")
    return Picture("sign-korean.png", sheet.done(), "ocr", "real",
                   "A green road sign in Korean and English. Straight on: 시청, City Hall, 800 m. Left: 중앙역, Jungang Station, 350 m. "
                   "Right: 바다공원, Bada Park, 1.2 km.",
                   "Which way is the station, and how is it written in Korean?", "To the left, 350 m; 중앙역")


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
    return Picture("sign-chinese.png", sheet.done(), "ocr", "real",
                   "Three street signs in Chinese and English. Blue: 人民东路, Renmin East Road. Brown, with an arrow to the left: 博物馆, Museum, 600 m. "
                   "White and red: 前方学校, School ahead, 30 km/h.",
                   "What does the red text say in Chinese, and what does a driver have to do here?",
                   "前方学校, school ahead: drive at most 30 km/h")


def _arrow(sheet: Sheet, x: float, y: float, way: str, size: float = 1.0) -> None:
    turn = {"up": 0, "right": 90, "down": 180, "left": 270}[way]
    a = math.radians(turn)
    points = [(0, -26), (20, -4), (8, -4), (8, 26), (-8, 26), (-8, -4), (-20, -4)]
    sheet.polygon([(x + size * (px * math.cos(a) - py * math.sin(a)), y + size * (px * math.sin(a) + py * math.cos(a))) for px, py in points], WHITE)


def nutrition() -> Picture:
    rows = [("Energy", "1,890 kJ", "472 kJ"), ("Fat", "18 g", "4.5 g"), ("   of which saturates", "2.4 g", "0.6 g"), ("Carbohydrate", "60 g", "15 g"),
            ("   of which sugars", "22 g", "5.5 g"), ("Fibre", "7.2 g", "1.8 g"), ("Protein", "8.8 g", "2.2 g"), ("Salt", "0.64 g", "0.16 g")]
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
    return Picture("nutrition.png", sheet.done(), "ocr", "real",
                   "A nutrition label for oat biscuits, with values per 100 g and per biscuit of 25 g. "
                   + "; ".join(f"{n.strip()} {h} and {b}" for n, h, b in rows) + ". Contains oats and wheat, may contain traces of nuts.",
                   "How much sugar is in three biscuits, and is this safe for somebody who must not eat wheat?",
                   "16.5 g (3 x 5.5 g); no, it contains wheat")


# ---- charts and tables ----------------------------------------------------------------------------------------------


def _canvas(width: float, height: float):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=100, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def _pixels(figure) -> Image.Image:
    figure.canvas.draw()
    return Image.frombuffer("RGBA", figure.canvas.get_width_height(), figure.canvas.buffer_rgba()).convert("RGB")


def dashboard() -> Picture:
    months, visitors = ["Jan", "Feb", "Mar", "Apr", "May", "Jun"], [310, 280, 420, 510, 640, 590]
    rooms, sales = ["Shop", "Cafe", "Tickets", "Guides"], [42, 61, 88, 17]
    ages, shares = ["under 18", "18 to 39", "40 to 64", "65 and over"], [30, 25, 28, 17]
    days, hours = ["Tue", "Wed", "Thu", "Fri", "Sat", "Sun"], ["10", "12", "14", "16"]
    busy = [[8, 14, 20, 12], [7, 12, 18, 10], [9, 15, 22, 13], [10, 18, 26, 21], [22, 41, 58, 37], [25, 44, 52, 30]]
    figure = _canvas(11, 7.6)
    axes = figure.subplots(2, 2)
    figure.suptitle("City museum, first half of the year", fontsize=17)
    a, b, c, d = axes.flat
    a.plot(months, visitors, "o-", color="#0072B2")
    for x, y in enumerate(visitors):
        a.annotate(y, (x, y), xytext=(0, 7), textcoords="offset points", ha="center")
    a.set(title="Visitors a month", ylim=(0, 760))
    bars = b.bar(rooms, sales, color="#E69F00", edgecolor="#333333")
    b.bar_label(bars)
    b.set(title="Income in thousand euros", ylim=(0, 100))
    c.pie(shares, labels=ages, autopct="%d%%", colors=["#56B4E9", "#009E73", "#F0E442", "#CC79A7"], wedgeprops={"edgecolor": "white"})
    c.set_title("Age of the visitors")
    d.imshow(busy, cmap="cividis", aspect="auto")
    d.set_xticks(range(4), [f"{h}:00" for h in hours])
    d.set_yticks(range(6), days)
    for i, line in enumerate(busy):
        for j, value in enumerate(line):
            d.text(j, i, value, ha="center", va="center", color="white" if value < 34 else "black")
    d.set_title("People in the house, by day and hour")
    return Picture("dashboard.png", _pixels(figure), "charts", "real",
                   "A dashboard of a city museum with four charts. Line, visitors a month: "
                   + ", ".join(f"{m} {v}" for m, v in zip(months, visitors)) + ". Bars, income in thousand euros: "
                   + ", ".join(f"{r} {v}" for r, v in zip(rooms, sales)) + ". Pie, age of the visitors: "
                   + ", ".join(f"{g} {v} per cent" for g, v in zip(ages, shares))
                   + ". Heat map, people by day and hour, with the most on Saturday at 14:00, 58.",
                   "In which month came the most visitors, what earns the most, and when is the house fullest?",
                   "May (640); Tickets (88 thousand euros); Saturday 14:00 (58 people)")


def temperatures() -> Picture:
    months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
    north, south = [-4, -3, 2, 8, 14, 18, 20, 19, 14, 8, 2, -2], [24, 23, 21, 17, 13, 10, 9, 11, 14, 17, 20, 23]
    figure = _canvas(9, 5)
    axis = figure.subplots()
    axis.plot(months, north, "o-", color="#0072B2", label="Northville")
    axis.plot(months, south, "s--", color="#D55E00", label="Port Sul")
    axis.axhline(0, color="#555555", linewidth=0.8)
    axis.set(title="Mean temperature by month", ylabel="°C", yticks=range(-5, 30, 5))
    axis.grid(color="#dddddd")
    axis.legend()
    return Picture("temperatures.png", _pixels(figure), "charts", "real",
                   "A line chart of the mean temperature by month in degrees Celsius. Northville, solid line with dots: "
                   + ", ".join(f"{m} {v}" for m, v in zip(months, north)) + ". Port Sul, dashed line with squares: "
                   + ", ".join(f"{m} {v}" for m, v in zip(months, south)) + ".",
                   "In which months is Northville warmer than Port Sul?",
                   ", ".join(m for m, n, s in zip(months, north, south) if n > s))


def timetable() -> Picture:
    rows = [("Time", "Train", "To", "Track", "Remark"), ("08:05", "R 12", "Harbour", "3", ""), ("08:17", "IC 204", "Lindfield", "7", "10 min late"),
            ("08:24", "R 15", "Mill Valley", "1", ""), ("08:40", "IC 88", "Port Sul", "5", "cancelled"), ("08:52", "R 12", "Harbour", "3", ""),
            ("09:01", "IC 310", "Northville", "7", "bicycles: no")]
    sheet = Sheet(760, 420, (26, 36, 60))
    sheet.text(36, 26, "DEPARTURES", 32, BOLD, YELLOW)
    sheet.text(724, 26, "07:58", 32, MONO, WHITE, "ra")
    for i, row in enumerate(rows):
        y = 104 + 44 * i
        if i:
            sheet.line([(30, y - 22), (730, y - 22)], (84, 96, 124))
        for x, cell in zip((36, 140, 260, 448, 546), row):
            colour = (176, 190, 214) if i == 0 else YELLOW if x == 546 else WHITE
            sheet.text(x, y, cell, 21 if i else 17, BOLD if i == 0 else "DejaVuSans", colour, "lm")
    table = "; ".join(" ".join(cell for cell in row if cell) for row in rows[1:])
    return Picture("timetable.png", sheet.done(), "charts", "real",
                   f"A departure board at 07:58 with the columns time, train, to, track and remark. {table}.",
                   "Turn the board into a table. Which train to Harbour can I take after half past eight, and from which track?",
                   f"{table}. The R 12 at 08:52 from track 3")


def pages() -> Iterator[Picture]:
    rng = random.Random(11)
    names = ("Atlas of rivers", "Bread at home", "Clouds and wind", "Daily Korean", "Easy sums", "Forest birds", "Garden year", "History of maps", "Ink and paper",
             "Jam and honey", "Kites", "Lost cities", "Moon stories", "Night trains", "Old recipes", "Paper boats")
    stock = [(name, rng.randint(4, 29) * 100 + rng.choice((0, 50, 90)), rng.randint(1, 14)) for name in names]
    value = sum(price * count for _, price, count in stock)
    dearest = max(stock, key=lambda row: row[1])
    question = "The two pictures are one table. Which book costs most, how many of it are there, and on which page is it? What is the total number of books?"
    answer = (f"{dearest[0]}, {dearest[1] / 100:.2f} euros, {dearest[2]} in stock, page {1 if dearest in stock[:8] else 2}; "
              f"{sum(count for *_, count in stock)} books")
    for page in (1, 2):
        part = stock[8 * page - 8 : 8 * page]
        sheet = Sheet(600, 520, WHITE)
        sheet.text(40, 28, "Stock list, bookshop Paper Boat", 22, SERIF)
        sheet.text(560, 34, f"page {page} of 2", 14, anchor="ra")
        rows = [("Title", "Price", "In stock"), *((name, f"{price / 100:.2f}", str(count)) for name, price, count in part)]
        sheet.grid(40, 80, (290, 110, 120), 40, rows, 16, right=(1, 2))
        end = "continued on page 2" if page == 1 else f"Value of all books on both pages: {value / 100:,.2f} euros"
        sheet.text(560, 470, end, 15, anchor="ra")
        yield Picture(f"stock-page-{page}.png", sheet.done(), "charts", "real",
                      f"Page {page} of 2 of a stock list with title, price and number in stock. "
                      + "; ".join(f"{name}, {price / 100:.2f}, {count}" for name, price, count in part) + f". Below: {end}.",
                      question, answer, set="stock")


# ---- looking --------------------------------------------------------------------------------------------------------


def kitchen() -> Picture:
    sheet = Sheet(760, 560, (246, 236, 214))
    sheet.box(0, 430, 760, 560, (196, 160, 120))                                    # floor
    sheet.box(70, 60, 330, 270, SKY, (150, 110, 70), 8)                             # window
    sheet.disc(270, 115, 26, fill=YELLOW)
    sheet.polygon([(78, 262), (150, 180), (215, 262)], GRASS)
    sheet.polygon([(170, 262), (250, 195), (322, 262)], (122, 172, 100))
    sheet.line([(200, 60), (200, 270)], (150, 110, 70), 6)
    sheet.disc(470, 120, 52, fill=WHITE, edge=INK, width=4)                         # clock at twenty past eight
    for k in range(12):
        a = math.radians(30 * k)
        sheet.line([(470 + 42 * math.sin(a), 120 - 42 * math.cos(a)), (470 + 48 * math.sin(a), 120 - 48 * math.cos(a))], INK, 2)
    for angle, length, width in ((8 * 30 + 10, 24, 5), (120, 38, 3)):
        a = math.radians(angle)
        sheet.line([(470, 120), (470 + length * math.sin(a), 120 - length * math.cos(a))], INK, width)
    sheet.box(590, 40, 730, 250, (214, 220, 224), GREY, 3, 6)                       # fridge, upper part
    sheet.box(590, 250, 730, 470, (214, 220, 224), GREY, 3, 6)
    sheet.box(606, 130, 614, 190, GREY)
    sheet.box(606, 290, 614, 350, GREY)
    sheet.box(650, 90, 700, 130, (255, 246, 150))                                   # a paper on it
    for x in (170, 520):
        sheet.box(x, 360, x + 18, 520, (136, 92, 54))
    sheet.box(130, 340, 580, 366, (164, 112, 66))                                   # table
    sheet.disc(250, 332, 70, 16, WHITE, GREY, 2)                                    # plate with three apples
    for x, y, colour in ((206, 308, RED), (250, 304, RED), (294, 308, GREEN)):
        sheet.disc(x, y, 21, 20, colour)
        sheet.line([(x, y - 19), (x + 4, y - 29)], BROWN, 3)
    sheet.icon("cup", 395, 300, 44, BLUE)
    for x in (380, 396):                                                            # steam
        sheet.line([(x, 262), (x + 6, 250), (x, 238), (x + 6, 226)], (190, 180, 164), 3)
    sheet.polygon([(490, 340), (540, 340), (532, 300), (498, 300)], ORANGE)         # flower pot
    sheet.icon("flower", 515, 262, 44, (222, 90, 150))
    _cat(sheet, 340, 486)
    return Picture("kitchen.png", sheet.done(), "general", "real",
                   "A kitchen. On a table stand a plate with two red apples and one green apple, a steaming blue cup and a pink flower in an orange pot. "
                   "A black cat sits under the table. Behind: a window with sun and hills, a wall clock at twenty past eight, a fridge with a yellow paper on it.",
                   "Describe the room. What time is it, and what is under the table?", "A kitchen, twenty past eight, a black cat under the table")


def _cat(sheet: Sheet, x: float, y: float, size: float = 1.0) -> None:
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


def floor_plan() -> Picture:
    metre, walls, left, top = 60, INK, 40, 70
    rooms = [("Living room", 0, 0, 6, 4), ("Kitchen", 6, 0, 3.5, 4), ("Bath", 9.5, 0, 2.5, 4), ("Hall", 0, 4, 12, 1.5),
             ("Study", 0, 5.5, 4, 2.5), ("Bedroom", 4, 5.5, 6, 2.5), ("Store", 10, 5.5, 2, 2.5)]
    sheet = Sheet(800, 600, WHITE)

    def at(x: float, y: float) -> tuple[float, float]:
        return left + metre * x, top + metre * y

    def furniture(x0: float, y0: float, x1: float, y1: float, radius: int = 4) -> None:
        sheet.box(*at(x0, y0), *at(x1, y1), (226, 230, 234), GREY, 1, radius)

    for _, x, y, wide, high in rooms:
        sheet.box(*at(x, y), *at(x + wide, y + high), (250, 248, 240), walls, 4)
    for piece in ((0.3, 0.3, 2.6, 1.1), (0.4, 2.6, 1.8, 3.6), (6.2, 0.2, 9.3, 0.75), (6.3, 2.5, 7, 3.7), (9.7, 0.2, 11.8, 1.0), (0.3, 7.2, 2, 7.75),
                  (8, 5.9, 9.8, 7.7), (10.2, 7.4, 11.8, 7.8)):
        furniture(*piece)
    for x, side in ((4.6, -1), (7.2, -1), (10.3, -1), (1.6, 1), (5, 1), (10.6, 1)):          # doors to the hall, opening into the rooms
        y = 4 if side < 0 else 5.5
        sheet.line([at(x, y), at(x + 0.8, y)], (250, 248, 240), 6)
        sheet.line([at(x, y), at(x, y + 0.8 * side)], walls, 2)
        sheet.arc(*at(x, y), 0.8 * metre, *((270, 360) if side < 0 else (0, 90)), GREY, 1)
    sheet.line([at(0, 4.3), at(0, 5.2)], (250, 248, 240), 6)                                  # the way in
    sheet.polygon([(left - 30, top + 4.55 * metre), (left - 8, top + 4.75 * metre), (left - 30, top + 4.95 * metre)], RED)
    for x0, y0, x1, y1 in ((1.8, 0, 4.2, 0), (7, 0, 8.6, 0), (10.3, 0, 11.2, 0), (1, 8, 2.6, 8), (6, 8, 8, 8)):      # windows
        sheet.line([at(x0, y0), at(x1, y1)], (120, 190, 230), 4)
    for name, x, y, wide, high in rooms:
        cx, cy = at(x + wide / 2, y + high / 2)
        sheet.text(cx, cy - 11, name, 19, BOLD, anchor="mm")
        sheet.text(cx, cy + 12, f"{wide * high:g} m²", 16, anchor="mm")
    sheet.text(left, 24, "Flat 4 B, second floor", 22, SERIF)
    sheet.line([(640, 46), (760, 46)], INK, 3)
    sheet.text(700, 38, "2 m", 15, anchor="ms")
    areas = {name: wide * high for name, _, _, wide, high in rooms}
    assert sum(areas.values()) == 12 * 8
    return Picture("floor-plan.png", sheet.done(), "general", "real",
                   "The floor plan of a flat. A hall runs through the middle, its way in is at the left. Above it, from left to right: "
                   "living room, kitchen, bath. Below: study, bedroom, store. " + ", ".join(f"{n} {a:g} square metres" for n, a in areas.items()) + ".",
                   "Which rooms have no window, and how large is the whole flat?", "Hall and store; 96 m²")


def town_map() -> Picture:
    sheet = Sheet(760, 560, (236, 238, 226))
    sheet.box(440, 150, 580, 270, (178, 214, 154), radius=10)
    sheet.polygon([(0, 360), (260, 352), (520, 372), (760, 356), (760, 412), (520, 428), (260, 408), (0, 414)], (150, 196, 230))
    streets = [("North Road", [(0, 110), (760, 110)]), ("Main Road", [(0, 300), (760, 300)]), ("South Road", [(0, 470), (760, 470)]),
               ("Oak Street", [(140, 0), (140, 340)]), ("Oak Street", [(140, 432), (140, 560)]), ("Mill Street", [(370, 0), (370, 560)]),
               ("Park Street", [(630, 0), (630, 340)]), ("Park Street", [(630, 436), (630, 560)])]
    for width, colour in ((26, GREY), (23, WHITE)):
        for _, points in streets:
            sheet.line(points, colour, width)
    for side in (-15, 15):
        sheet.line([(370 + side, 352), (370 + side, 428)], BROWN, 4)
    for name, x, y, turn in (("North Road", 250, 110, 0), ("Main Road", 250, 300, 0), ("South Road", 500, 470, 0), ("Oak Street", 140, 205, 90),
                             ("Mill Street", 370, 205, 90), ("Park Street", 630, 205, 90), ("River Lin", 110, 386, 0)):
        sheet.turned(x, y, name, turn, 15, SERIF if name.startswith("River") else "DejaVuSans", (40, 80, 130) if name.startswith("River") else INK)
    sheet.text(510, 210, "Town park", 17, fill=(40, 90, 40), anchor="mm")
    for letter, x, y, colour in (("A", 80, 510, RED), ("B", 690, 66, BLUE), ("C", 300, 256, ORANGE), ("D", 450, 510, GREEN)):
        sheet.disc(x, y, 19, fill=colour, edge=WHITE, width=2)
        sheet.text(x, y, letter, 20, BOLD, WHITE, "mm")
    sheet.box(14, 14, 122, 96, WHITE, GREY, 1, 5)
    for i, line in enumerate(("A  station", "B  museum", "C  market", "D  school")):
        sheet.text(24, 26 + 18 * i, line, 13, anchor="lm")
    sheet.polygon([(730, 500), (718, 540), (730, 530), (742, 540)], INK)
    sheet.text(730, 498, "N", 16, BOLD, anchor="ms")
    return Picture("map.png", sheet.done(), "general", "real",
                   "A town map, north is up. Three roads run from west to east: North Road, Main Road and, below the River Lin, South Road. Three streets run "
                   "from north to south: Oak Street, Mill Street, Park Street; only Mill Street has a bridge. A: station, on South Road in the west. "
                   "B: museum, on North Road in the east. C: market, on Main Road near Mill Street. D: school, on South Road near Mill Street. A park lies "
                   "between Mill Street and Park Street.",
                   "How do I walk from the station to the museum?",
                   "East along South Road, north over the bridge of Mill Street, east along Main Road or North Road, and north to North Road and Park Street")


def traffic_light() -> Picture:
    sheet = Sheet(336, 336, SKY)
    sheet.box(120, 30, 216, 286, (52, 56, 60), INK, 3, 18)
    for y, colour in ((76, RED), (158, (92, 82, 40)), (240, (34, 74, 48))):
        sheet.disc(168, y, 34, fill=colour, edge=INK, width=2)
    sheet.disc(158, 66, 9, fill=(244, 150, 140))
    sheet.box(158, 286, 178, 336, GREY)
    return Picture("traffic-light.png", sheet.done(), "latency", "real",
                   "A traffic light with three lamps. The upper one, red, is lit; the other two are dark.", "May I drive on? Answer with one word.", "No")


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
    return Picture("gauge.png", sheet.done(), "latency", "real",
                   f"A round pressure gauge from 0 to 10 bar, red from 8. The needle stands at {value} bar.",
                   "What does the gauge show? Answer with the number only.", f"{value}")


def poster() -> Picture:
    sheet = Sheet(1344, 1344, (22, 30, 62))
    rng = random.Random(8)
    for _ in range(90):
        sheet.disc(rng.uniform(0, 1344), rng.uniform(0, 820), rng.uniform(1, 3.4), fill=(240, 236, 200))
    for x, y, r, colour in ((260, 520, 90, ORANGE), (520, 420, 120, RED), (830, 500, 105, YELLOW), (1090, 410, 84, (226, 96, 150))):
        sheet.line([(x, y - r), (x, 0)], (120, 110, 90), 3)
        sheet.disc(x, y, r * 0.82, r, colour)
        for k in (-0.5, 0, 0.5):
            sheet.line([(x + k * r, y - r * 0.86), (x + k * r, y + r * 0.86)], tuple(int(0.8 * v) for v in colour), 3)
        sheet.box(x - 24, y + r - 8, x + 24, y + r + 18, BROWN)
    sheet.polygon([(0, 900), (300, 840), (700, 900), (1050, 850), (1344, 890), (1344, 1344), (0, 1344)], (16, 44, 72))
    sheet.text(672, 130, "LANTERN NIGHT", 112, BOLD, WHITE, "mm")
    sheet.text(672, 930, "Saturday 7 June, from 20:00", 58, BOLD, YELLOW, "mm")
    sheet.text(672, 1010, "on the river at Mill Bridge", 44, SERIF, WHITE, "mm")
    small = ("Entry 9 euros, children under 12 free. Tickets at the town hall and at the quay. Dogs stay at home, please.",
             "Boats leave every 15 minutes from quay 3. The last boat back leaves at 23:40. In rain we meet on Sunday 8 June.")
    for i, line in enumerate(small):
        sheet.text(672, 1250 + 26 * i, line, 15, fill=(214, 220, 232), anchor="mm")
    return Picture("small-print.png", sheet.done(), "memory", "real",
                   "A large poster, 1344 pixels wide: four lanterns in a night sky. Lantern Night, Saturday 7 June, from 20:00, on the river at Mill Bridge. "
                   "At the bottom, very small: " + " ".join(small),
                   "When does the last boat back leave?", "At 23:40; it stands in the small print, which one crop cannot show")


def street() -> Picture:
    shops = [("BAKERY", 2, (236, 200, 150)), ("BOOKS", 4, (190, 214, 226)), ("FLOWERS", 6, (244, 214, 222)), ("CAFE", 8, (222, 206, 190)),
             ("TOYS", 10, (250, 230, 160)), ("MUSIC", 12, (206, 222, 196))]
    sheet = Sheet(1680, 420, SKY)
    sheet.box(0, 360, 1680, 420, (170, 172, 176))
    for i, (name, house, wall) in enumerate(shops):
        x, roof = 280 * i, 60 + 26 * (i % 3)
        sheet.polygon([(x + 4, roof + 46), (x + 140, roof), (x + 276, roof + 46)], (150, 70, 60) if i % 2 else (110, 84, 76))
        sheet.box(x + 10, roof + 46, x + 270, 362, wall, GREY, 2)
        for k in range(3):
            sheet.box(x + 34 + 80 * k, roof + 66, x + 78 + 80 * k, roof + 116, (228, 242, 250), GREY, 2)
        sheet.box(x + 26, 206, x + 254, 246, INK, radius=5)
        sheet.text(x + 140, 226, name, 26, BOLD, WHITE, "mm")
        sheet.box(x + 26, 256, x + 170, 340, (214, 234, 244), GREY, 3)
        sheet.box(x + 190, 262, x + 248, 362, BROWN, INK, 2)
        sheet.text(x + 219, 284, str(house), 22, BOLD, WHITE, "mm")
    for x, kind, colour, y, r in ((98, "cup", ORANGE, 306, 22), (380, "moon", YELLOW, 300, 24), (658, "flower", RED, 306, 28), (938, "cup", BLUE, 306, 24),
                                  (1218, "car", RED, 306, 30), (1498, "sun", ORANGE, 300, 26)):
        if kind != "moon":
            sheet.icon(kind, x, y, r, colour)
    for k, colour in enumerate((RED, BLUE, GREEN, ORANGE)):                          # books stand in the second window
        sheet.box(344 + 22 * k, 286, 360 + 22 * k, 336, colour)
    sheet.icon("car", 760, 374, 44, (60, 110, 190))
    names = "; ".join(f"number {house} {name}" for name, house, _ in shops)
    return Picture("street.png", sheet.done(), "memory", "real",
                   f"A wide picture of a street with six shops, from left to right: {names}. A blue car stands in front.",
                   "List the shops with their house numbers. Which shop is at number 8?", f"{names}. Number 8 is the cafe")


# ---- several pictures -------------------------------------------------------------------------------------------------


def village() -> Iterator[Picture]:
    changes = ("the sun is on the other side", "the left house has a blue roof, not a red one", "the second cloud is gone", "a cat sits beside the tree",
               "one board of the fence is missing")
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
            _cat(sheet, 656, 376, 0.5)
        sheet.box(0, 420, 720, 470, (176, 172, 166))
        sheet.icon("car", 330, 428, 60, GREEN)
        for k in range(8):
            if not (other and k == 2):
                sheet.box(20 + 34 * k, 372, 36 + 34 * k, 418, (240, 236, 226), GREY, 1, 3)
        sheet.box(14, 388, 300, 396, (240, 236, 226), GREY, 1)
        where = ("The first of two pictures: a village with sun on the left, two clouds, a house with a red roof, one with a brown roof, an apple tree, "
                 "a fence of eight boards and a green car." if not other else
                 "The second of two pictures: the same village, but " + "; ".join(changes) + ".")
        yield Picture(f"village-{number}.png", sheet.done(), "compare", "real", where, "Find the five differences between the two pictures.",
                      "In the second picture " + "; ".join(changes), set="village")


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
                sheet.polygon([(168, y), (168 + side * size, y - 14), (168 + side * 1.6 * size, y - 10), (168 + side * size, y + 4)], (76, 164, 84))
        if number == 2:
            for k in range(6):
                a = math.radians(60 * k)
                sheet.disc(168 + 24 * math.cos(a), 84 + 24 * math.sin(a), 17, fill=(224, 96, 150))
            sheet.disc(168, 84, 15, fill=YELLOW)
        yield Picture(f"plant-{number}.png", sheet.done(), "compare", "real", f"A plant in a pot, {stage}.",
                      "The three pictures show one plant on three days. Put them into the order of time.", "3 (sprout), 1 (leaves), 2 (flower)", set="plant")


# ---- clips ------------------------------------------------------------------------------------------------------------


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
        walker = 410 + 18 * k if k < 4 else 520                          # crosses while the light is red
        sheet.disc(walker, 150, 10, fill=(240, 200, 170))
        sheet.box(walker - 9, 162, walker + 9, 196, YELLOW, radius=5)
        sheet.line([(walker - 5, 196), (walker - 8 + 6 * (k % 2), 220)], INK, 5)
        sheet.line([(walker + 5, 196), (walker + 8 - 6 * (k % 2), 220)], INK, 5)
        frames.append(sheet.done())
    return Picture("traffic.gif", frames, "clip", "real",
                   "A clip of twelve frames, three seconds. A blue car waits at a red light while a person in yellow walks past. Then the light turns "
                   "green and the car drives away to the right.",
                   "Summarise the clip in two sentences.", "A car waits at the red light while a person walks past; the light turns green and the car drives off to the right",
                   fps=4)


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
        for i in range(12):                                              # a pointer wanders over each slide
            sheet = slide(k)
            sheet.disc(60 + 28 * i, 100 + 8 * i, 7, fill=RED)
            frames.append(sheet.done())
    return Picture("slides.mp4", frames, "clip", "real",
                   "A clip of a talk, twelve seconds, four slides, a red pointer moves over each. 1: Bees in the city, yearly report 2024. 2: a bar chart, bee "
                   "hives in town: " + ", ".join(f"{y} {h}" for y, h in zip(years, hives)) + ". 3: three rules: " + ", ".join(rules)
                   + ". 4: Thank you! Questions: room 204.",
                   "Summarise the talk, one sentence a slide.",
                   "Title: bees in the city, report 2024; hives grew from 12 to 31 in two years; three rules: wild flowers, water, no poison; thanks, questions in room 204",
                   fps=4)


def pictures() -> Iterator[Picture]:
    yield from (poster(), street(), traffic_light(), gauge(), kitchen(), floor_plan(), town_map(), receipt(), note(), sign_korean(), sign_chinese(),
                nutrition(), dashboard(), temperatures(), timetable())
    yield from pages()
    yield from village()
    yield from plants()
    yield from (traffic(), slides())
