"""Text that is safe to show, and tables that a screen reader can read."""

from __future__ import annotations

import xml.etree.ElementTree as xml

from labs_helper.common.markup import Html, escape, html_table, printable
from labs_helper.common.units import size

HOSTILE = "<script>alert('x')</script>\x1b[31m\0&amp;\ud800"


def test_control_characters_are_replaced_and_line_breaks_stay():
    assert printable("a\x1b[0m\0b\n\tc\ud800\uffff") == "a\ufffd[0m\ufffdb\n\tc\ufffd\ufffd"
    assert printable("日本語 한국어 🦀") == "日本語 한국어 🦀"


def test_nothing_in_a_text_becomes_markup():
    assert xml.fromstring(f'<p title="{escape(HOSTILE)}">{escape(HOSTILE)}</p>').text == printable(HOSTILE)
    assert escape(3) == "3"


def cells(row: xml.Element) -> list[tuple[str, str | None, str]]:
    return [(cell.tag, cell.get("scope"), "".join(cell.itertext())) for cell in row]


def test_a_table_with_headers_for_rows_and_columns():
    table = xml.fromstring(
        html_table(["What", "Value"], [["tokens", 3], ["seconds", 0.5]], caption="Measured", right=[1])
    )
    caption, head, body = table
    assert "".join(caption.itertext()) == "Measured"
    assert cells(head[0]) == [("th", "col", "What"), ("th", "col", "Value")]
    assert [cells(row) for row in body] == [
        [("th", "row", "tokens"), ("td", None, "3")],
        [("th", "row", "seconds"), ("td", None, "0.5")],
    ]
    for row in (head[0], body[0]):  # a heading stands above its numbers
        assert ["text-align:right" in cell.get("style") for cell in row] == [False, True]


def test_another_column_can_name_the_rows_and_a_caption_is_optional():
    head, body = xml.fromstring(html_table(["Value", "What"], [[3, "tokens"]], header=1))
    assert (head.tag, cells(body[0])) == ("thead", [("td", None, "3"), ("th", "row", "tokens")])


def test_every_cell_is_escaped():
    table = xml.fromstring(html_table([HOSTILE], [[HOSTILE]], caption=HOSTILE))
    assert ["".join(part.itertext()) for part in table] == [printable(HOSTILE)] * 3
    assert table.find(".//script") is None


def test_an_empty_table():
    assert [part.tag for part in xml.fromstring(html_table(["a"], []))] == ["thead", "tbody"]


def test_sizes_as_people_read_them():
    assert [size(count) for count in (None, 0, 999, 1000, 2_150_000_000)] == [
        "unknown",
        "0 bytes",
        "999 bytes",
        "1 kB",
        "2.15 GB",
    ]


def test_a_cell_that_is_html_already_stays_as_it_is_and_no_other():
    made = html_table(["a"], [[Html("<b>x</b>")], ["<b>y</b>"]])
    assert "<b>x</b>" in made and "&lt;b&gt;y&lt;/b&gt;" in made


def test_a_grid_draws_lines_around_every_cell():
    assert "border:" not in html_table(["a", "b"], [[1, 2]])
    assert html_table(["a", "b"], [[1, 2]], grid=True).count("border:1px") == 4
