"""The base of our own views: one model a widget, plain HTML and a module of JavaScript, no build step.

A control of ipywidgets keeps every key that is pressed in it (Ctrl+S too), shows a broken link when the kernel is
gone, and a chat of them is some forty models. So a widget is one `View`: its page is a script beside `view.js`, and
Python holds all of its state.

How to make one:

1. A class: state that the page shows are traits (`.tag(sync=True)`), so a reload brings them back. `words` are the
   sentences of the page, translated here. `on_page` names what the page may ask for.
2. A script in `widgets/page/`: `function show(view) { ... }` builds the page in `view.el` with the parts of `view.js`
   (`h`, `fill`, `titleLine`, `pressable`, `statusLine`, `composer`, `turnLog`, `numberFields`, `folded`).
   `view.follow("name", act)` follows a trait, `view.send("kind", {...})` asks Python, `view.words.name` is a sentence.
3. `PAGE = ("mine",)` in the class: mine.js, and mine.css where there is one.

    class Counter(View):
        PAGE = ("counter",)
        count = traitlets.Int().tag(sync=True)

        def __init__(self):
            super().__init__(words={"more": _("One more")})
            self.on_page("more", self._more, by=int)

        def _more(self, by):
            if by > 10:
                return _("Ten at most.")       # refused: the page gets the reason
            self.count += by

    // counter.js
    function show(view) {
      const number = h("output");
      view.follow("count", (count) => { number.textContent = count; });
      view.el.append(number, pressable(view.words.more, () => view.send("more", { by: 1 })));
    }

Whatever a person or a model has written reaches the page as text (`textContent`, by `h`), or as HTML that Python has
made safe (`markdown`, `escape`, a `Figure`), by `fill`.

`JobView` adds one job of a model at a time (`running`, `status`, `count`, Stop), and `TurnView` in turns.py questions
and answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import anywidget
import traitlets

from labs_helper.common.translate import _
from labs_helper.errors import LabError
from labs_helper.widgets.jobs import Jobs, State, counted, error_words
from labs_helper.widgets.static_form import StaticForm

if TYPE_CHECKING:
    Handler = Callable[..., str | None]

FOLDER = Path(__file__).parent / "page"
MOST_TEXT = 200_000  # characters of one text from the page: more than any context here holds
MOST_NUMBER = 1_000_000_000
_EXPORT = "\nexport default { render: (given) => start(given, show) };\n"


class View(StaticForm, anywidget.AnyWidget):  # type: ignore[misc]  # anywidget has no types
    """A widget with a page of its own, and a static form for places where no kernel runs.

    Attributes:
        PAGE: names of the scripts and styles in `widgets/page/`, besides `view`.
        words: the sentences of the page, by name.
    """

    PAGE: ClassVar[tuple[str, ...]] = ()

    _esm = traitlets.Unicode().tag(sync=True)
    _css = traitlets.Unicode().tag(sync=True)
    # ipywidgets would make a second model for it, which nothing here uses.
    layout = traitlets.Any(None, allow_none=True).tag(sync=True)
    words = traitlets.Dict().tag(sync=True)
    key = traitlets.Unicode().tag(sync=True)  # names the widget, in what the page stores and looks for

    def __init__(self, *, words: Mapping[str, str], **kwargs: object) -> None:
        self._handlers: dict[str, tuple[Handler, dict[str, type]]] = {"ping": (lambda: None, {})}
        super().__init__(
            _esm=_together(".js", self.PAGE) + _EXPORT,
            _css=_together(".css", self.PAGE),
            words={**_common_words(), **words},
            **kwargs,
        )
        self.key = self.model_id or ""
        self.on_msg(lambda _view, content, buffers: self.receive(content, buffers))

    # -- the page asks -------------------------------------------------------------------------------------------

    def on_page(self, kind: str, act: Handler, **form: type) -> None:
        """Say what is done when the page sends a message of this kind.

        Args:
            kind: of the message; others are ignored.
            act: called with the fields by name. What it returns is the reason why nothing was done, for the page;
                None when it was done. A `LabError` is such a reason too.
            **form: the type of each field: str (at most 200,000 characters), int, bool, or bytes (the buffer).

        Example:
            self.on_page("remove", self._remove, number=int)
        """
        self._handlers[kind] = (act, form)

    def receive(self, content: object, buffers: Sequence[memoryview | bytes] = ()) -> None:
        """Take a message from the page, as the front end delivers it. What has not the form of its kind is ignored.

        Example:
            view.receive({"kind": "send", "text": "Hello"})
        """
        if not isinstance(content, Mapping):
            return
        handler = self._handlers.get(str(content.get("kind")))
        if handler is None:
            return
        act, form = handler
        fields = _fields(content, buffers, form)
        if fields is None:
            return
        try:
            refused = act(**fields)
        except LabError as error:
            refused = error_words(error)
        number = content.get("id")
        if isinstance(number, int):
            self.tell("ack", id=number, refused=refused or "")

    def tell(self, kind: str, **content: object) -> None:
        """Send a message to the page. It reaches the pages that are open; what a reload needs is a trait."""
        super().send({"kind": kind, **content})  # a view may have a `send` of its own, as `chat` has


class JobView(Jobs, View):
    """A view that runs jobs on a model.

    Attributes:
        status: one line, read aloud when it changes.
        count: beside it, what changes too often to be read aloud.
        running: "", "running" or "stopping".
    """

    status = traitlets.Unicode().tag(sync=True)
    count = traitlets.Unicode().tag(sync=True)
    running = traitlets.Unicode().tag(sync=True)

    def __init__(self, *, words: Mapping[str, str], **kwargs: object) -> None:
        self._set_up_jobs()
        own = {
            "stop": _("Stop"),
            "stopping": _("Stopping…"),
            "stop_hint": _("Stop after the next token"),
        }
        super().__init__(words={**own, **words}, **kwargs)
        self.on_page("stop", self.stop)

    def say(self, words: str, count: str = "") -> None:
        """Put one line of status on the page; `count` is beside it and not read aloud."""
        self.count, self.status = count, words

    def _say_progress(self) -> None:
        """Say how many tokens have come, unless the reader has pressed Stop."""
        if not self._stopping:
            self.say(_("Generating…"), counted(self._count))

    def _show_job(self, state: State) -> None:
        self.running = state


@cache
def _together(suffix: str, names: tuple[str, ...]) -> str:
    """The text of view.js, or view.css, and of those that belong to a class."""
    paths = [FOLDER / f"{name}{suffix}" for name in ("view", *names)]
    return "\n".join(path.read_text(encoding="utf-8") for path in paths if path.is_file())


def _common_words() -> dict[str, str]:
    """The sentences that every page needs."""
    return {
        "gone": _("The kernel was restarted. Run this cell again."),
        "slow": _("The kernel does not answer yet: a cell is running, or it was restarted. Then run this cell again."),
        "copy": _("Copy"),
        "copied": _("Copied."),
        "not_copied": _("The browser does not allow copying here. Select the text, then Ctrl+C or Cmd+C."),
    }


def _fields(
    content: Mapping[object, object], buffers: Sequence[memoryview | bytes], form: Mapping[str, type]
) -> dict[str, object] | None:
    """The fields of a message, or None if one is missing, of another type, or too large."""
    fields: dict[str, object] = {}
    for name, kind in form.items():
        value: object = bytes(buffers[0]) if kind is bytes and buffers else content.get(name)
        if type(value) is not kind:
            return None
        if isinstance(value, str) and len(value) > MOST_TEXT:
            return None
        if isinstance(value, int) and abs(value) > MOST_NUMBER:
            return None
        fields[name] = value
    return fields
