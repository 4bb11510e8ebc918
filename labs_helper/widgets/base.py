"""The base of those widgets that are made of ipywidgets' controls; see view.py for the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ipywidgets
import traitlets

from labs_helper.widgets.keyboard import Keyboard
from labs_helper.widgets.static_form import StaticForm


class LabWidget(StaticForm, ipywidgets.VBox):  # type: ignore[misc]  # ipywidgets has no types
    """A box of controls that works from the keyboard and can also be read where no kernel runs.

    Subclasses implement `static()`.
    """

    def __init__(self, **kwargs: object) -> None:
        self._keyboard = Keyboard(layout={"display": "none"})
        super().__init__(**kwargs)
        self.add_class("labs-widget")

    @traitlets.validate("children")
    def _with_keyboard(self, proposal: Mapping[str, Any]) -> tuple[ipywidgets.Widget, ...]:
        return (*(child for child in proposal["value"] if child is not self._keyboard), self._keyboard)
