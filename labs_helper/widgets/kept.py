"""What a person did in a view, kept in the notebook's file by itself.

The file holds the outputs of a cell as they were when it ran; what a view shows later is only in the kernel. So a
view adds a second output to its cell, in plain HTML, and replaces it whenever there is more. On the page it is hidden
as long as the view is there, which shows the same. In the saved file, and after the kernel is gone, it is what there is
to read.

It is an output of its own, because a change of the first one would make the front end draw the view again, and take
the focus from the person who types.
"""

from __future__ import annotations

from typing import Any

from labs_helper.common.markup import escape
from labs_helper.common.shell import running_shell
from labs_helper.figures.base import Figure


class Keeper:
    """Keeps one view's content below it.

    Args:
        view: itself; to find the name that it has in the notebook.

    Example:
        keeper.displayed()                          # in `_repr_mimebundle_`
        keeper.keep("key-1", 3, transcript)         # True if there is a cell to keep it in
    """

    def __init__(self, view: object) -> None:
        self._view = view
        self._cell: dict[str, Any] = {}  # the header of the message that ran the cell
        self._sent: set[tuple[str, str]] = set()

    def displayed(self) -> None:
        """Remember the cell that shows the view."""
        publisher = _publisher()
        self._cell = dict(getattr(publisher, "parent_header", None) or {})

    def keep(self, name: str, count: int, figure: Figure) -> bool:
        """Write the content into the output, or replace it.

        Args:
            name: of the output; another one gets an output of its own.
            count: of the things in it, so that the page can see that it arrived.
            figure: the content.

        Returns:
            Whether there is a notebook and a cell. That the page has taken it, only the page can tell.
        """
        publisher = _publisher()
        if publisher is None or not self._cell:
            return False
        html = f'<div class="labs-kept" data-labs-of="{escape(name)}" data-labs-count="{count}">{figure.html}</div>'
        place = (str(self._cell.get("msg_id")), name)
        again = place in self._sent
        self._sent.add(place)
        content = {
            "data": {"text/html": html, "text/plain": figure.text},
            "metadata": {},
            "transient": {"display_id": "-".join(place)},
        }
        # As the publisher itself does it, but for the cell of the view: this is called in the worker's thread, and
        # while other cells run.
        kind = "update_display_data" if again else "display_data"
        message = publisher.session.msg(kind, content, parent=self._cell)
        publisher.session.send(publisher.pub_socket, message, ident=publisher.topic)
        return True

    def code(self, method: str) -> str:
        """The code that calls a method of the view in a cell, by the name that it has there; empty without one.

        Example:
            keeper.code("transcript")      # 'talk.transcript()', or 'Out[12].transcript()'
        """
        names: dict[str, Any] = getattr(running_shell(), "user_ns", {})
        for name, value in list(names.items()):
            if value is self._view and not name.startswith("_"):
                return f"{name}.{method}()"
        outputs = names.get("Out")
        for number, value in list(outputs.items()) if isinstance(outputs, dict) else []:
            if value is self._view:
                return f"Out[{number}].{method}()"
        return ""


def _publisher() -> Any:
    """What sends outputs to the notebook; None outside of a kernel."""
    publisher = getattr(running_shell(), "display_pub", None)
    return publisher if getattr(publisher, "session", None) is not None and hasattr(publisher, "pub_socket") else None
