"""What every figure is: HTML for a browser, text for everybody else, alt text, one takeaway sentence."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from labs_helper.common.markup import Html, escape, html_table, printable
from labs_helper.common.translate import _
from labs_helper.figures import fonts
from labs_helper.figures.compact import compact

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure as Canvas

    Table = pandas.DataFrame | Iterable[Mapping[str, Any]]

# Dark themes are marked on the page's body, by JupyterLab and nbconvert and by VS Code. An <img> sees nothing of the
# page, so the page turns its lightness around: white paper becomes #121212, and each colour keeps its hue. It stays
# white in print, and in a notebook that is not trusted, where JupyterLab takes the rule away.
DARK = "invert(.93) hue-rotate(180deg)"
_THEME = (
    f'<style>@media screen{{body:is([data-jp-theme-light="false"],.vscode-dark) .labs-chart{{filter:{DARK}}}}}</style>'
)
_LEAST = 600  # px: letters of 12 px on a chart of 760 stay readable; a narrower window scrolls
# Paper does not scroll: there a picture takes the width that is left, as in JupyterLab's File > Print.
_PAPER = "<style>@media print{.labs-wide :is(img,div){min-width:0!important}}</style>"

_TAG = re.compile(r"<[^<>]*>")
_QUOTED = re.compile(r'="([^"]*)"')
_ESCAPED = {character: f"%{ord(character):02X}" for character in '%#"&<>\n\r\t'}

Row = dict[str, Any]  # the facts behind one line of a table or one bar; each figure has columns of its own


@dataclass(frozen=True)
class Figure:
    """One picture or table that can be shown in Jupyter and read without it.

    Attributes:
        html: what a browser shows. Everything that came from a model or a user is escaped.
        text: the same facts as plain text (a table, an outline).
        alt: what the picture shows, for people who cannot see it.
        takeaway: the one sentence to remember.
        rows: the facts behind the picture, one mapping for each row; `frame()` turns them into pandas.

    Example:
        >>> Figure(html="<p>3</p>", text="3", alt="the number 3").text
        '3'
    """

    html: str
    text: str
    alt: str = ""
    takeaway: str = ""
    rows: Sequence[Mapping[str, Any]] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        # What came from a model or a server must not steer the terminal that shows it, or turn a line around.
        for name in ("text", "alt", "takeaway"):
            object.__setattr__(self, name, printable(getattr(self, name)))

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return {"text/html": self.html, "text/plain": self.text}

    def __repr__(self) -> str:
        return self.text

    __str__ = __repr__

    def frame(self) -> pandas.DataFrame:
        """The facts behind the figure as a pandas DataFrame.

        Example:
            >>> len(Figure(html="", text="", rows=[{"a": 1}]).frame())
            1
        """
        import pandas

        return pandas.DataFrame(list(self.rows))

    @classmethod
    def of_words(cls, words: str) -> Figure:
        """One sentence in place of a figure that has nothing to show yet.

        Example:
            >>> Figure.of_words("2 < 3").html
            '<p>2 &lt; 3</p>'
        """
        return cls(html=f"<p>{escape(words)}</p>", text=words, alt=words)

    @classmethod
    def from_matplotlib(
        cls,
        fig: Canvas,
        *,
        alt: str,
        takeaway: str = "",
        text: str | None = None,
        rows: Sequence[Mapping[str, Any]] = (),
        source: str = "",
        kind: Literal["svg", "png"] = "svg",
        over: Callable[[], Html] | None = None,
    ) -> Figure:
        """Turn a matplotlib figure into a `Figure` with the picture inside it.

        Args:
            fig: a `matplotlib.figure.Figure` (from pyplot or not).
            alt: what the picture shows; needed.
            takeaway: the sentence under the picture.
            text: the plain form; the alt text and the takeaway when left out.
            rows: the facts behind the picture.
            source: where the facts come from; shown below.
            kind: "svg" (sharp, the same bytes every time) or "png".
            over: gives HTML that is placed over the picture, by shares of its sides. It is called when the picture has
                been drawn: only then is it known where its axes are.

        Raises:
            ValueError: `alt` is empty or `kind` is unknown.

        Example:
            >>> from matplotlib.figure import Figure as Canvas
            >>> Figure.from_matplotlib(Canvas(), alt="an empty picture").alt
            'an empty picture'
        """
        _need_alt(alt)
        if kind not in ("svg", "png"):
            raise ValueError(_("kind must be 'svg' or 'png', not {kind!r}.").format(kind=kind))
        import matplotlib

        buffer = io.BytesIO()
        # The salt fixes the ids inside the SVG and the dates are left out: the same data give the same bytes.
        # Text stays text: a tenth of the size of drawn letters, and the browser supplies the font.
        with (
            fonts.measuring(fig, kind) as readable,
            matplotlib.rc_context({"svg.hashsalt": "phi-labs", "svg.fonttype": "none"}),
        ):
            metadata = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
            fig.savefig(buffer, format=kind, metadata=metadata, dpi=110)
        data = buffer.getvalue()
        if kind == "svg":
            data = compact(data.decode()).encode()
        if kind == "png" and not readable:
            source = f"{source} {fonts.advice()}".strip()
        mime = "image/svg+xml" if kind == "svg" else "image/png"
        return cls(
            html=picture(
                data, mime, alt, takeaway, width=int(fig.get_figwidth() * 96), source=source, over=over and over()
            ),
            text=text if text is not None else "\n".join(part for part in (alt, takeaway) if part),
            alt=alt,
            takeaway=takeaway,
            rows=tuple(rows),
        )

    @classmethod
    def from_svg(
        cls,
        svg: str,
        *,
        alt: str,
        takeaway: str = "",
        text: str = "",
        rows: Sequence[Mapping[str, Any]] = (),
        width: int = 760,
        source: str = "",
    ) -> Figure:
        """Turn SVG text that we wrote ourselves into a `Figure` (the fonts are the browser's).

        Raises:
            ValueError: `alt` is empty.

        Example:
            >>> Figure.from_svg("<svg xmlns='http://www.w3.org/2000/svg'/>", alt="nothing").alt
            'nothing'
        """
        _need_alt(alt)
        photo = "<image " in svg
        body = picture(svg.encode("utf-8"), "image/svg+xml", alt, takeaway, width=width, source=source, photo=photo)
        return cls(html=body, text=text or alt, alt=alt, takeaway=takeaway, rows=tuple(rows))


def _need_alt(alt: str) -> None:
    if not alt.strip():
        raise ValueError(_("A figure needs alt text: say in one sentence what the picture shows."))


def picture(
    data: bytes,
    mime: str,
    alt: str,
    takeaway: str,
    *,
    width: int,
    source: str = "",
    photo: bool = False,
    over: Html | None = None,
) -> str:
    """The `<figure>` around one picture. The alt text sits on the image, the takeaway in the caption.

    The picture is a data address inside `<img>`: it needs no network, its ids cannot meet those of another
    picture, and notebook viewers that remove inline SVG still show it. A chart follows a dark theme; what holds a
    photo does not, as photos have to look as they are.
    """
    theme, name = ("", "") if photo else (_THEME, ' class="labs-chart"')
    size = f"width:100%;max-width:{width}px;min-width:{min(width, _LEAST)}px;height:auto"
    image = f'<img src="{_address(data, mime)}" alt="{escape(alt)}" width="{width}"{name} style="{size}">'
    if over is not None:
        image = f'<div style="position:relative;display:grid;{size}">{image}{over}</div>'  # no line of text below it
    return (
        f'<figure style="margin:0.5em 0">{theme}{_PAPER}<div class="labs-wide" style="overflow-x:auto">{image}</div>'
        f"{caption(takeaway, source)}</figure>"
    )


def _address(data: bytes, mime: str) -> str:
    """A data address. SVG stays text, three quarters of the size in base64; what addresses and HTML need is escaped.

    Attributes get single quotes, which JSON leaves alone.
    """
    if mime != "image/svg+xml":
        return f"data:{mime};base64,{base64.b64encode(data).decode('ascii')}"
    svg = _TAG.sub(lambda tag: _QUOTED.sub(_in_single_quotes, tag[0]), data.decode())
    return f"data:{mime}," + "".join(_ESCAPED.get(character, character) for character in svg)


def _in_single_quotes(value: re.Match[str]) -> str:
    return "='{}'".format(value[1].replace("'", "&apos;"))


def framed_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    takeaway: str,
    *,
    title: str = "",
    source: str = "",
    right: Collection[int] = (),
    grid: bool = False,
) -> str:
    """The `<figure>` around one table; a wide table scrolls inside it. See `html_table`.

    Example:
        >>> framed_table(["n"], [[1]], "One row.").startswith("<figure")
        True
    """
    table = html_table(columns, rows, caption=title, right=right, grid=grid)
    return f'<figure style="margin:0.5em 0;overflow-x:auto">{table}{caption(takeaway, source)}</figure>'


def heading(words: str) -> str:
    """A line in bold above a figure that is not a picture; nothing for an empty title.

    Example:
        >>> heading("a < b")
        '<p><strong>a &lt; b</strong></p>'
    """
    return f"<p><strong>{escape(words)}</strong></p>" if words else ""


def caption(takeaway: str, source: str = "") -> str:
    """The `<figcaption>` with the takeaway and the source, or nothing."""
    parts = []
    if takeaway:
        mark = escape(_("Takeaway:"))
        parts.append(f"<strong>{mark}</strong> {escape(takeaway)}")
    if source:
        parts.append(f"<small>{escape(source_line(source))}</small>")
    return (
        f'<figcaption style="margin-top:0.3em;line-height:1.4;overflow-wrap:anywhere">{"<br>".join(parts)}</figcaption>'
        if parts
        else ""
    )


def source_line(source: str) -> str:
    """Where the facts come from, as a line of its own; nothing if that was not said.

    Example:
        >>> source_line("the model card")
        'Source: the model card'
    """
    return _("Source: {source}").format(source=source) if source else ""


def records(table: Table) -> list[Row]:
    """Rows as plain dictionaries, from a pandas DataFrame or from any iterable of mappings.

    Raises:
        TypeError: it is neither.

    Example:
        >>> records([{"a": 1}])
        [{'a': 1}]
    """
    rows: Any = table.to_dict("records") if hasattr(table, "to_dict") and hasattr(table, "columns") else table
    if isinstance(rows, Iterable):
        return [dict(row) for row in rows]
    raise TypeError(_("Expected a DataFrame or a list of dictionaries, not {kind}.").format(kind=type(table).__name__))
