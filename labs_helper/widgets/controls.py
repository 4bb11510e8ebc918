"""The controls that our widgets are made of: each with a visible label, and typed, which ipywidgets is not."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import ipywidgets

from labs_helper.common.markup import escape

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


# -- asking the reader -------------------------------------------------------------------------------------------------


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
