"""What the pictures drawn with matplotlib share: canvas, line styles, labels. No pyplot, so nothing is left open."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from labs_helper.figures import fonts

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas


class Style(NamedTuple):
    """How one line is drawn: lines differ by dashes and marks as well as by colour."""

    colour: str
    line: str | tuple[int, tuple[int, ...]]
    mark: str


# Okabe and Ito's palette, made for readers who do not tell all colours apart (jfly.uni-koeln.de/color).
STYLES = (
    Style("#0072B2", "-", "o"),
    Style("#D55E00", "--", "s"),
    Style("#009E73", ":", "^"),
    Style("#7A7A7A", "-.", "D"),
    Style("#CC79A7", (0, (5, 1)), "v"),
    Style("#56B4E9", (0, (1, 1)), "P"),
    Style("#B8A900", (0, (3, 1, 1, 1)), "X"),
)


def canvas(
    width: float, height: float, columns: int, share: bool = False, stacked: bool = False
) -> tuple[Canvas, list[Axes]]:
    """A matplotlib figure with its axes, made without pyplot: nothing stays open, any thread may draw.

    Args:
        width: in inches.
        height: in inches.
        columns: how many axes, side by side.
        share: give them one common vertical axis.
        stacked: put them one below the other instead.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    with matplotlib.rc_context(
        {
            "font.family": fonts.OWN,
            "font.size": 9,
            "axes.titlesize": 10,
            "hatch.linewidth": 0.7,
            "hatch.color": "#333333",
        }
    ):
        fig = Canvas(figsize=(width, height), layout="constrained", facecolor="white")
        FigureCanvasAgg(fig)
        shape = (columns, 1) if stacked else (1, columns)
        axes = fig.subplots(*shape, squeeze=False, sharey=share).ravel()
    return fig, list(axes)


def plot_line(axis: Axes, x: Sequence[float], y: Sequence[float], style: Style, size: float, label: str) -> None:
    """A line with a mark at each point; no marks if `size` is 0."""
    axis.plot(
        x,
        y,
        color=style.colour,
        linestyle=style.line,
        marker=style.mark if size else None,
        markersize=size or None,
        label=label,
    )


def annotate(
    axis: Axes, words: str, at: tuple[float, float], *, right: float = 0, up: float = 0, align: str = "center"
) -> None:
    """Small words beside a point, moved to the right and up by the given number of typographic points."""
    axis.annotate(words, at, xytext=(right, up), textcoords="offset points", ha=align, fontsize=8)


def grid(axis: Axes) -> None:
    """Light grid lines behind the data."""
    axis.grid(True, color="#dddddd", linewidth=0.6)


def drawable(text: str) -> str:
    """`text` with every character that a label cannot show replaced by "□" (and no warning).

    Labels show what matplotlib's own font has, and Korean, Chinese and Japanese, which the reader's browser draws.

    Example:
        >>> drawable("a长\u0e44")
        'a长□'
    """
    from matplotlib import font_manager

    known = font_manager.get_font(font_manager.findfont(fonts.OWN)).get_charmap()
    return "".join(
        character if ord(character) in known or fonts.is_east_asian(character) else "□" for character in str(text)
    )
