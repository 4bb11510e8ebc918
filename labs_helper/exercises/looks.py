"""How the state of an exercise looks: a word, an icon and a colour, and what opens without a kernel.

A fold is plain HTML, `<details>`: it opens by mouse and keyboard, says to a screen reader what it is, and works after
a restart, in VS Code, on a page for reading, and in a notebook that JupyterLab does not trust. A widget would need
the kernel for all of these.
"""

from __future__ import annotations

from collections.abc import Sequence

from labs_helper.common.markup import escape
from labs_helper.common.translate import _

# The status of an answer, as the progress file and the class board know it.
PASSED, NOT_YET, TRY_AGAIN = "passed", "not yet", "try again"

ICONS = {PASSED: "✓", TRY_AGAIN: "✗", NOT_YET: "○"}
# Each has a contrast of 3:1 or more against white and against black, so it can be seen in every theme. Text keeps the
# theme's own colour.
COLOURS = {PASSED: "#2e8540", TRY_AGAIN: "#c05a00", NOT_YET: "#5b7083"}
# In JupyterLab's command mode Enter and the space bar belong to the notebook, also on a control inside of an output.
# This keeps them for the control, and leaves all others, such as Ctrl+S and Shift+Enter, to the notebook.
_KEYS = (
    "if(/^(Enter| )$/.test(event.key)&&!(event.ctrlKey||event.metaKey||event.shiftKey||event.altKey))"
    "event.stopPropagation()"
)
_BUTTON = "display:inline-block;border:1px solid;border-radius:4px;padding:.1em .7em;cursor:pointer"


def status_word(status: str) -> str:
    """A status in the learner's language.

    Example:
        status_word("passed")      # 'PASSED'
    """
    return {PASSED: _("PASSED"), NOT_YET: _("NOT YET"), TRY_AGAIN: _("TRY AGAIN")}[status]


def box(status: str, padding: str = ".4em .9em") -> str:
    """The CSS of a box around something in this state.

    Example:
        box("passed")
    """
    edge = {PASSED: "solid", TRY_AGAIN: "dashed", NOT_YET: "dotted"}[status]
    return f"border-left:6px {edge} {COLOURS[status]};padding:{padding};max-width:60em"


def icon(status: str) -> str:
    """The icon of a status as HTML; a screen reader reads the word beside it instead.

    Example:
        icon("try again")
    """
    return f'<span aria-hidden="true">{ICONS[status]}</span>'


def fold(label: str, inside: str) -> str:
    """A button that opens what is inside, as HTML.

    Args:
        label: of the button, as text.
        inside: HTML.

    Example:
        fold("Earlier: 1 hint", "<ol><li>Count.</li></ol>")
    """
    return (
        f'<details style="margin-top:.4em"><summary onkeydown="{escape(_KEYS)}" style="{_BUTTON}">{escape(label)}'
        f"</summary>{inside}</details>"
    )


def folds(hints: Sequence[str]) -> str:
    """A button for the first hint; the button for each further one is inside of the one before.

    Example:
        folds(["Count.", "Count again."])
    """
    html = ""
    for step in range(len(hints), 0, -1):
        label = _("Show hint {step} of {steps}").format(step=step, steps=len(hints))
        html = fold(label, f"<p>{escape(hints[step - 1])}</p>{html}")
    return html
