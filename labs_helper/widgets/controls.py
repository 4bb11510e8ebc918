"""The controls that our widgets are made of: each with a visible label, and typed, which ipywidgets is not."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import ipywidgets

from labs_helper.common.markup import escape
from labs_helper.common.translate import _

if TYPE_CHECKING:
    from labs_helper.models.requests import Options

# How long Enter waits for the text it belongs to; see `on_enter`.
ENTER_SECONDS = 0.25

T = TypeVar("T")
Action = Callable[[], object]
Change = Mapping[str, Any]  # what traitlets tells an observer: "name", "old", "new"


class Widget(Protocol):
    """Anything that can be put into a box."""

    children: Sequence[Any]


class Control(Protocol[T]):
    """A field with a value, as far as our widgets use one of ipywidgets."""

    value: T
    description: str
    disabled: bool

    def observe(self, handler: Callable[[Change], object], names: str) -> None:
        """Call `handler` at each change."""


class Choice(Control[T], Protocol[T]):
    """A list to choose from."""

    options: Sequence[tuple[str, T]]


class Button(Protocol):
    """A button."""

    description: str
    tooltip: str
    disabled: bool

    def click(self) -> None:
        """Press it."""

    def on_click(self, handler: Callable[[Any], object]) -> None:
        """Call `handler` when it is pressed."""


# -- showing ---------------------------------------------------------------------------------------------------------


def html(value: str = "", *, width: str | None = None) -> Control[str]:
    """HTML that changes with its `value`. The caller escapes what is not ours."""
    field: Control[str] = ipywidgets.HTML(value, layout={"width": width})
    return field


def title(words: str) -> Control[str]:
    """The first line of a widget, in bold."""
    return html(f"<strong>{escape(words)}</strong>")


def row(*children: object, centred: bool = False) -> Widget:
    """Controls beside each other; what does not fit goes to the next line."""
    layout = ipywidgets.Layout(flex_flow="row wrap", overflow="visible")
    if centred:
        layout.align_items = "center"
    box: Widget = ipywidgets.HBox(children, layout=layout)
    return box


# -- acting ----------------------------------------------------------------------------------------------------------


def button(label: str, act: Action, tooltip: str, *, primary: bool = False, width: str | None = None) -> Button:
    """A button that calls `act`.

    Args:
        label: what it says.
        act: takes no argument.
        tooltip: what it does, in more words.
        primary: the one that the widget is about; it gets a colour.
        width: as CSS.
    """
    pressed: Button = ipywidgets.Button(
        description=label, tooltip=tooltip, button_style="primary" if primary else "", layout={"width": width}
    )
    pressed.on_click(lambda _button: act())
    return pressed


def on_change(field: Control[Any], act: Action) -> None:
    """Call `act` when the value of a field changes."""
    field.observe(lambda _change: act(), "value")


def on_enter(field: Control[str], act: Action) -> None:
    """Call `act` when the reader presses Enter in a field, with the whole text in `field.value`.

    The front end reports Enter as a message of its own and sends the text right after it, if it has changed. So
    Enter waits a moment for the text. Watching the text alone would also act when the reader only leaves the field.
    Sending every keystroke instead would lose the last ones: the front end holds them back while the kernel is busy,
    but not the Enter. Korean, Chinese and Japanese input uses Enter to finish a word; browsers do not report that one.

    Args:
        field: a one-line text field; it is set to send its text only when the reader is done.
        act: takes no argument; may clear the field.
    """
    typed: Any = field
    typed.continuous_update = False
    lock = threading.Lock()
    waiting: list[threading.Timer] = []

    def fire(_change: object = None) -> None:
        with lock:
            if not waiting:
                return
            waiting.pop().cancel()
        act()

    def message(_field: object, content: Mapping[str, object], _buffers: object) -> None:
        if content.get("event") != "submit":
            return
        with lock:
            if waiting:
                return
            timer = threading.Timer(ENTER_SECONDS, fire)
            timer.daemon = True
            waiting.append(timer)
        timer.start()

    typed.on_msg(message)
    typed.observe(fire, "value")


# -- asking the reader -------------------------------------------------------------------------------------------------


def text_field(
    label: str,
    value: str = "",
    *,
    enter: Action | None = None,
    width: str = "99%",
    label_width: str = "8em",
    placeholder: str = "",
) -> Control[str]:
    """One line of text. `enter` is called when the reader presses Enter in it."""
    field: Control[str] = ipywidgets.Text(
        value=value,
        description=label,
        placeholder=placeholder,
        style={"description_width": label_width},
        layout={"width": width},
    )
    if enter is not None:
        on_enter(field, enter)
    return field


def dropdown(
    label: str,
    options: Sequence[tuple[str, T]],
    value: T,
    *,
    width: str,
    label_width: str = "8em",
    tooltip: str | None = None,
) -> Choice[T]:
    """A list to choose one value from.

    Args:
        label: visible, before the list.
        options: (words, value) of each entry.
        value: the first choice.
        width: as CSS; that of the label is a part of it.
        label_width: as CSS.
        tooltip: what the choice does.
    """
    field: Choice[T] = ipywidgets.Dropdown(
        options=options,
        value=value,
        description=label,
        style={"description_width": label_width},
        layout={"width": width},
        tooltip=tooltip,
    )
    return field


def checkbox(label: str, value: bool = False, **layout: str) -> Control[bool]:
    """A box to tick."""
    field: Control[bool] = ipywidgets.Checkbox(description=label, value=value, indent=False, layout=layout)
    return field


def number_field(label: str, value: float, least: float, most: float, step: float, tooltip: str) -> Control[float]:
    """A number to type, or to step through with the arrow keys. The label says what may be typed.

    A slider of ipywidgets would have no accessible name, and two stops for Tab.

    Example:
        >>> number_field("Top-p", 1.0, 0.05, 1.0, 0.05, "").description
        'Top-p (0.05 to 1)'
    """
    kind = ipywidgets.BoundedIntText if isinstance(value, int) else ipywidgets.BoundedFloatText
    field: Control[float] = kind(
        value=value,
        min=least,
        max=most,
        step=step,
        description=_("{label} ({least:g} to {most:g})").format(label=label, least=least, most=most),
        tooltip=tooltip,
        style={"description_width": "12em"},
        layout={"width": "19em"},
    )
    return field


def most_tokens(value: int) -> Control[float]:
    """The field for the longest answer, in tokens."""
    most = max(1024, int(value))
    return number_field(_("Max tokens"), int(value), 1, most, 1, _("The longest answer, in tokens"))


class SamplingFields:
    """The settings of an answer as number fields.

    Args:
        temperature: first value.
        top_p: first value.
        max_tokens: first value.
    """

    def __init__(self, *, temperature: float, top_p: float, max_tokens: int) -> None:
        self.temperature = number_field(
            _("Temperature"),
            float(temperature),
            0.0,
            2.0,
            0.1,
            _("0 always takes the likeliest token; higher is more varied"),
        )
        self.top_p = number_field(
            _("Top-p"),
            float(top_p),
            0.05,
            1.0,
            0.05,
            _("Choose among the likeliest tokens that together have this probability"),
        )
        self.max_tokens = most_tokens(max_tokens)
        self.row = row(self.temperature, self.top_p, self.max_tokens)

    def options(self) -> Options:
        """What the fields say now, as options of a question."""
        return {
            "temperature": self.temperature.value,
            "top_p": self.top_p.value,
            "max_tokens": int(self.max_tokens.value),
        }
