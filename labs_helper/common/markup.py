"""Text made safe to show: without control characters, escaped for HTML, or as a small accessible table."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Collection, Sequence

# Controls but tab and line breaks; a carriage return alone would let a terminal write over the line.
_UNSEEN = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069\ufffe\uffff]|\r(?!\n)"
)


def printable(text: str) -> str:
    """`text` without characters that act instead of being seen. For everything that a model or a server has written.

    Control characters steer a terminal and are illegal in SVG; bidirectional controls (U+202A to U+202E, U+2066 to
    U+2069) show a line in another order than it has. Each becomes U+FFFD, as do lone surrogates, which no terminal
    can print. Line breaks and tabs stay.

    Example:
        >>> printable("a\\x1b[0mb\\u202ec") == "a\\ufffd[0mb\\ufffdc"
        True
    """
    return _UNSEEN.sub("\ufffd", text)


def anchor(heading: str) -> str:
    """The address that GitHub gives a heading of Markdown, without the number that it adds to a second one.

    Example:
        >>> anchor("4 bits, and less")
        '4-bits-and-less'
    """
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def columns(text: str) -> int:
    """How wide a text is in a terminal: a Hangul syllable or a Chinese character takes two columns.

    Example:
        >>> columns("ab"), columns("한글")
        (2, 4)
    """
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def padded(text: str, width: int) -> str:
    """A text with spaces behind it, so that it takes at least this many columns.

    Example:
        >>> padded("한글", 6)
        '한글  '
    """
    return text + " " * (width - columns(text))


def escape(text: object) -> str:
    """Text made safe for HTML and SVG, in content and in attributes.

    Example:
        >>> escape('<b title="x">')
        '&lt;b title=&quot;x&quot;&gt;'
    """
    return html.escape(printable(str(text)), quote=True)


class Html(str):
    """Text that is HTML already: `html_table` puts it into a cell as it is."""

    __slots__ = ()


def html_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    caption: str = "",
    right: Collection[int] = (),
    header: int = 0,
    grid: bool = False,
) -> str:
    """An HTML table with header cells that screen readers announce. Every cell that is no `Html` is escaped.

    Args:
        columns: the heads of the columns.
        rows: the cells of each row, as text, numbers or `Html`.
        caption: shown above the table in bold.
        right: numbers of the columns that are aligned to the right.
        header: number of the column whose cells name their row.
        grid: draw lines around the cells, and start their text at the top; for cells with several lines.

    Example:
        >>> html_table(["Memory"], [["2 GB"]]).startswith("<table>")
        True
    """
    look = "padding:2px 8px"
    if grid:
        look += ";border:1px solid #bbb;vertical-align:top;white-space:normal;line-height:1.4"

    def cell(index: int, content: object, scope: str = "") -> str:
        align = "right" if index in right else "left"
        tag = f'th scope="{scope}"' if scope else "td"
        inside = content if isinstance(content, Html) else escape(content)
        return f'<{tag} style="text-align:{align};{look}">{inside}</{tag[:2]}>'

    head = "".join(cell(index, name, "col") for index, name in enumerate(columns))
    body = "".join(
        "<tr>" + "".join(cell(i, value, "row" if i == header else "") for i, value in enumerate(row)) + "</tr>"
        for row in rows
    )
    above = f'<caption style="text-align:left"><strong>{escape(caption)}</strong></caption>' if caption else ""
    collapsed = ' style="border-collapse:collapse"' if grid else ""
    return f"<table{collapsed}>{above}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
