"""The sentences of the page of `look`."""

from __future__ import annotations

from labs_helper.common.translate import _
from labs_helper.widgets.shown import MOST_UPLOAD


def page_words() -> dict[str, str]:
    """The sentences by the names that look.js knows them by."""
    return {
        "drop": _("Drop pictures here, or paste them with Ctrl+V or Cmd+V."),
        "choose": _("Choose files…"),
        "limits": _("Pictures and short clips, at most {most} MB each; larger ones by their path.").format(
            most=MOST_UPLOAD // 1_000_000
        ),
        "reading": _("Reading file {place} of {count}…"),
        "strip": _("Pictures of the course: press one to add it"),
        "kind": _("Kind of picture"),
        "all_kinds": _("all kinds"),
        "by_path": _("A file where the notebook runs"),
        "path": _("Path of a file"),
        "add_path": _("Add"),
        "list": _("Pictures that the question is about, in their order"),
        "place": _("{number}: {name}"),
        "alt": _("What it shows"),
        "earlier": _("Move {number}, {name}, earlier"),
        "later": _("Move {number}, {name}, later"),
        "remove": _("Remove {number}, {name}"),
        "undo": _("Undo"),
        "clear": _("Remove all"),
        "clear_hint": _("Empty the list of pictures"),
        "crops": "num_crops",
        "tiles": _("What the model sees"),
        "question": _("Your question"),
        "keys": _("Enter asks, Shift+Enter breaks the line, Up brings the last question."),
        "ask": _("Ask"),
        "ask_hint": _("Ask about all pictures in the list (or press Enter)"),
        "suggested": _("Suggested:"),
        "suggested_hint": _("Put this question into the field"),
        "again": _("Again"),
        "again_hint": _("Put this question back into the field"),
        "seconds": _("{seconds} s"),
        "log": _("Questions and answers"),
        "nothing": _("No questions yet."),
        "settings": _("Settings of the answer"),
    }
