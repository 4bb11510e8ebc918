"""Charts, a timetable and a table over two pages, for people with the real model. All names are made up."""

from __future__ import annotations

import random
from collections.abc import Iterator

from PIL import Image

from training.gallery.base import Picture
from training.gallery.sheet import BOLD, MONO, SERIF, WHITE, YELLOW, Sheet


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
    c.pie(
        shares,
        labels=ages,
        autopct="%d%%",
        colors=["#56B4E9", "#009E73", "#F0E442", "#CC79A7"],
        wedgeprops={"edgecolor": "white"},
    )
    c.set_title("Age of the visitors")
    d.imshow(busy, cmap="cividis", aspect="auto")
    d.set_xticks(range(4), [f"{h}:00" for h in hours])
    d.set_yticks(range(6), days)
    for i, line in enumerate(busy):
        for j, value in enumerate(line):
            d.text(j, i, value, ha="center", va="center", color="white" if value < 34 else "black")
    d.set_title("People in the house, by day and hour")
    return Picture(
        "dashboard.png",
        _pixels(figure),
        "charts",
        "real",
        "A dashboard of a city museum with four charts. Line, visitors a month: "
        + ", ".join(f"{m} {v}" for m, v in zip(months, visitors))
        + ". Bars, income in thousand euros: "
        + ", ".join(f"{r} {v}" for r, v in zip(rooms, sales))
        + ". Pie, age of the visitors: "
        + ", ".join(f"{g} {v} per cent" for g, v in zip(ages, shares))
        + ". Heat map, people by day and hour, with the most on Saturday at 14:00, 58.",
        "In which month came the most visitors, what earns the most, and when is the house fullest?",
        "May (640); Tickets (88 thousand euros); Saturday 14:00 (58 people)",
    )


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
    return Picture(
        "temperatures.png",
        _pixels(figure),
        "charts",
        "real",
        "A line chart of the mean temperature by month in degrees Celsius. Northville, solid line with dots: "
        + ", ".join(f"{m} {v}" for m, v in zip(months, north))
        + ". Port Sul, dashed line with squares: "
        + ", ".join(f"{m} {v}" for m, v in zip(months, south))
        + ".",
        "In which months is Northville warmer than Port Sul?",
        ", ".join(m for m, n, s in zip(months, north, south) if n > s),
    )


def timetable() -> Picture:
    rows = [
        ("Time", "Train", "To", "Track", "Remark"),
        ("08:05", "R 12", "Harbour", "3", ""),
        ("08:17", "IC 204", "Lindfield", "7", "10 min late"),
        ("08:24", "R 15", "Mill Valley", "1", ""),
        ("08:40", "IC 88", "Port Sul", "5", "cancelled"),
        ("08:52", "R 12", "Harbour", "3", ""),
        ("09:01", "IC 310", "Northville", "7", "bicycles: no"),
    ]
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
    return Picture(
        "timetable.png",
        sheet.done(),
        "charts",
        "real",
        f"A departure board at 07:58 with the columns time, train, to, track and remark. {table}.",
        "Turn the board into a table. Which train to Harbour can I take after half past eight, and from which track?",
        f"{table}. The R 12 at 08:52 from track 3",
    )


def pages() -> Iterator[Picture]:
    rng = random.Random(11)
    names = (
        "Atlas of rivers",
        "Bread at home",
        "Clouds and wind",
        "Daily Korean",
        "Easy sums",
        "Forest birds",
        "Garden year",
        "History of maps",
        "Ink and paper",
        "Jam and honey",
        "Kites",
        "Lost cities",
        "Moon stories",
        "Night trains",
        "Old recipes",
        "Paper boats",
    )
    stock = [(name, rng.randint(4, 29) * 100 + rng.choice((0, 50, 90)), rng.randint(1, 14)) for name in names]
    value = sum(price * count for _, price, count in stock)
    dearest = max(stock, key=lambda row: row[1])
    question = (
        "The two pictures are one table. Which book costs most, how many of it are there, and on which page is it? "
        "What is the total number of books?"
    )
    answer = (
        f"{dearest[0]}, {dearest[1] / 100:.2f} euros, {dearest[2]} in stock, page {1 if dearest in stock[:8] else 2}; "
        f"{sum(count for *_, count in stock)} books"
    )
    for page in (1, 2):
        part = stock[8 * page - 8 : 8 * page]
        sheet = Sheet(600, 520, WHITE)
        sheet.text(40, 28, "Stock list, bookshop Paper Boat", 22, SERIF)
        sheet.text(560, 34, f"page {page} of 2", 14, anchor="ra")
        rows = [
            ("Title", "Price", "In stock"),
            *((name, f"{price / 100:.2f}", str(count)) for name, price, count in part),
        ]
        sheet.grid(40, 80, (290, 110, 120), 40, rows, 16, right=(1, 2))
        end = "continued on page 2" if page == 1 else f"Value of all books on both pages: {value / 100:,.2f} euros"
        sheet.text(560, 470, end, 15, anchor="ra")
        yield Picture(
            f"stock-page-{page}.png",
            sheet.done(),
            "charts",
            "real",
            f"Page {page} of 2 of a stock list with title, price and number in stock. "
            + "; ".join(f"{name}, {price / 100:.2f}, {count}" for name, price, count in part)
            + f". Below: {end}.",
            question,
            answer,
            set="stock",
        )
