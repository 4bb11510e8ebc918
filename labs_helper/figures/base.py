"""What every figure is: HTML for a browser, text for everybody else, alt text, one takeaway sentence."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from labs_helper.common.markup import escape


@dataclass(frozen=True)
class Figure:
    """One picture or table that can be shown in Jupyter and read without it.

    Arguments:
        html: what a browser shows. Everything that came from a model or a user is escaped.
        text: the same facts as plain text (a table, an outline).
        alt: what the picture shows, for people who cannot see it.
        takeaway: the one sentence to remember.
        rows: the facts behind the picture, one mapping a row; `frame()` turns them into pandas.

    Example:
        >>> Figure(html="<p>3</p>", text="3", alt="the number 3").text
        '3'
    """

    html: str
    text: str
    alt: str = ""
    takeaway: str = ""
    rows: Sequence[Mapping[str, Any]] = field(default=(), repr=False)

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        return {"text/html": self.html, "text/plain": self.text}

    def __repr__(self) -> str:
        return self.text

    __str__ = __repr__

    def frame(self):
        """The facts behind the figure as a pandas DataFrame.

        Example:
            >>> len(Figure(html="", text="", rows=[{"a": 1}]).frame())
            1
        """
        import pandas

        return pandas.DataFrame(list(self.rows))

    @classmethod
    def from_matplotlib(
        cls,
        fig,
        *,
        alt: str,
        takeaway: str = "",
        text: str | None = None,
        rows: Sequence[Mapping[str, Any]] = (),
        format: str = "svg",
    ) -> Figure:
        """Turn a matplotlib figure into a `Figure` with the picture inside it.

        Arguments:
            fig: a `matplotlib.figure.Figure` (from pyplot or not).
            alt: what the picture shows; needed.
            takeaway: the sentence under the picture.
            text: the plain form; the alt text and the takeaway when left out.
            rows: the facts behind the picture.
            format: "svg" (sharp, the same bytes every time) or "png".

        Raises:
            ValueError: `alt` is empty or `format` is unknown.

        Example:
            >>> from matplotlib.figure import Figure as Canvas
            >>> Figure.from_matplotlib(Canvas(), alt="an empty picture").alt
            'an empty picture'
        """
        if not alt.strip():
            raise ValueError("A figure needs alt text: say in one sentence what the picture shows.")
        if format not in ("svg", "png"):
            raise ValueError(f"format must be 'svg' or 'png', not {format!r}.")
        import matplotlib

        buffer = io.BytesIO()
        # The salt fixes the ids inside the SVG and the dates are left out: the same data give the same bytes.
        # Text stays text: a tenth of the size of drawn letters, and the browser supplies the font.
        with matplotlib.rc_context({"svg.hashsalt": "phi-labs", "svg.fonttype": "none"}):
            metadata = {"Date": None, "Creator": None} if format == "svg" else {"Software": None}
            fig.savefig(buffer, format=format, metadata=metadata, dpi=110)
        data = buffer.getvalue()
        if format == "svg":  # a machine without DejaVu would fall back to a serif; Verdana has nearly its widths
            data = data.replace(b"'DejaVu Sans'", b"'DejaVu Sans', Verdana, Helvetica, Arial, sans-serif")
        mime = "image/svg+xml" if format == "svg" else "image/png"
        plain = text if text is not None else "\n".join(part for part in (alt, takeaway) if part)
        return cls(
            html=picture(data, mime, alt, takeaway, width=int(fig.get_figwidth() * 96)),
            text=plain,
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

        Example:
            >>> Figure.from_svg("<svg xmlns='http://www.w3.org/2000/svg'/>", alt="nothing").alt
            'nothing'
        """
        if not alt.strip():
            raise ValueError("A figure needs alt text: say in one sentence what the picture shows.")
        body = picture(svg.encode("utf-8"), "image/svg+xml", alt, takeaway, width=width, source=source)
        return cls(html=body, text=text or alt, alt=alt, takeaway=takeaway, rows=tuple(rows))


def picture(data: bytes, mime: str, alt: str, takeaway: str, *, width: int, source: str = "") -> str:
    """The `<figure>` around one picture. The alt text sits on the image, the takeaway in the caption.

    The picture is a data address inside `<img>`: it needs no network, its ids cannot meet those of another
    picture, and notebook viewers that remove inline SVG still show it.
    """
    address = f"data:{mime};base64,{base64.b64encode(data).decode('ascii')}"
    return (
        f'<figure style="margin:0.5em 0">'
        f'<img src="{address}" alt="{escape(alt)}" width="{width}" style="max-width:100%;height:auto">'
        f"{caption(takeaway, source)}</figure>"
    )


def caption(takeaway: str, source: str = "") -> str:
    """The `<figcaption>` with the takeaway and the source, or nothing."""
    parts = []
    if takeaway:
        parts.append(f"<strong>Takeaway:</strong> {escape(takeaway)}")
    if source:
        parts.append(f"<small>Source: {escape(source)}</small>")
    return f'<figcaption style="margin-top:0.3em;line-height:1.4">{"<br>".join(parts)}</figcaption>' if parts else ""


def records(frame: Any) -> list[dict[str, Any]]:
    """Rows as plain dictionaries, from a pandas DataFrame or from any iterable of mappings.

    Example:
        >>> records([{"a": 1}])
        [{'a': 1}]
    """
    if hasattr(frame, "to_dict") and hasattr(frame, "columns"):
        return [dict(row) for row in frame.to_dict("records")]
    if isinstance(frame, Iterable):
        return [dict(row) for row in frame]
    raise TypeError(f"Expected a DataFrame or a list of dictionaries, not {type(frame).__name__}.")
