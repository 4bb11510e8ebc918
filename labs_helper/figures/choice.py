"""A list to choose from, with the facts of the chosen entry below it and a frame around its place in a picture.

The browser's own list does the work, so it is known to everybody's keyboard and screen reader: one stop of Tab, then
arrows, Home, End and the first letters. What is shown follows from the style alone. So it works in a page where no
kernel runs and no script may.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from labs_helper.common.markup import Html, escape

LINES = 8  # that are seen at once; the list scrolls to the others


class Box(NamedTuple):
    """A part of a picture, in shares of its width and height from the upper left."""

    left: float
    top: float
    width: float
    height: float


class Entry(NamedTuple):
    """One line of the list.

    Attributes:
        line: what the list says.
        facts: HTML that belongs to it.
    """

    line: str
    facts: str


# In command mode JupyterLab takes arrows and letters from every control: "d d" in the list would delete the cell. It
# passes over what has this attribute. While Ctrl or Shift is held the attribute is gone, so that Ctrl+S and Shift+Enter
# stay JupyterLab's.
_UNSEEN = "data-lm-suppress-shortcuts"
_KEYS = f"this.toggleAttribute('{_UNSEEN}',!(event.ctrlKey||event.metaKey||event.altKey||event.shiftKey))"
# A browser that cannot tell which line is chosen, and a viewer that takes the style away, as JupyterLab does with a
# notebook that is not trusted, show the facts of the first choice alone.
_STYLE = """
.labs-choice select{display:block;box-sizing:border-box;width:100%;max-width:60em;font:inherit;margin:.3em 0;
padding:2px;color:var(--jp-content-font-color1,CanvasText);background:var(--jp-layout-color1,Canvas);
border:1px solid var(--jp-border-color1,#8a8a8a);border-radius:3px}
.labs-choice option{padding:2px 6px;background:none;color:inherit}
.labs-choice option:checked{font-weight:bold;color:var(--jp-layout-color1,Canvas);
background:linear-gradient(var(--jp-content-font-color1,CanvasText),var(--jp-content-font-color1,CanvasText))}
.labs-choice select:focus-visible{outline:2px solid var(--jp-ui-font-color0,CanvasText);outline-offset:1px}
.labs-choice i{position:absolute;box-sizing:border-box;border:solid #000;outline:2px solid #fff;
pointer-events:none;display:none}
@supports selector(:has(a)){.labs-facts>div{display:none!important}RULES{display:block!important}}
@media print{.labs-choice label{display:none}}
"""


def frames(boxes: Sequence[Box], thick: int = 1) -> Html:
    """A frame for each line of the list, to be put over the picture; the one of the chosen line is seen.

    Args:
        boxes: their places.
        thick: pixels of the black line; around it is a white one, for dark pictures.

    Example:
        frames([Box(0, 0, 1, 0.5), Box(0, 0.5, 1, 0.5)])
    """

    def frame(box: Box) -> str:
        left, top, width, height = (f"{100 * share:.2f}%" for share in box)
        return f'<i style="left:{left};top:{top};width:{width};height:{height};border-width:{thick}px"></i>'

    return Html(f'<span class="labs-of" aria-hidden="true">{"".join(map(frame, boxes))}</span>')


def choice(picture: str, label: str, entries: Sequence[Entry], *, chosen: int = 0) -> str:
    """A picture, below it the list, and below that the facts of the chosen line, which a screen reader reads.

    Args:
        picture: HTML that contains `frames`, one for each entry.
        label: the name of the list: what to choose, and with which keys.
        entries: the lines of the list, from top to bottom.
        chosen: number of the line that is chosen at first.

    Example:
        choice(picture, "Choose a token:", entries)
    """
    rule = ".labs-choice:has(option:nth-child({n}):checked) .labs-of>:nth-child({n})"
    style = _STYLE.replace("RULES", ",".join(rule.format(n=n) for n in range(1, len(entries) + 1)))
    options = "".join(
        f"<option{' selected' if n == chosen else ''}>{escape(entry.line)}</option>" for n, entry in enumerate(entries)
    )
    hidden = ' style="display:none"'
    facts = "".join(f"<div{'' if n == chosen else hidden}>{entry.facts}</div>" for n, entry in enumerate(entries))
    size = max(2, min(LINES, len(entries)))  # with one line it would be a menu that has to be opened first
    return (
        f'<div class="labs-choice"><style>{style}</style>{picture}'
        f'<label>{escape(label)}<select size="{size}" {_UNSEEN} onkeydown="{escape(_KEYS)}" onkeyup="{escape(_KEYS)}">'
        f"{options}</select></label>"
        f'<div class="labs-facts labs-of" role="status">{facts}</div></div>'
    )
