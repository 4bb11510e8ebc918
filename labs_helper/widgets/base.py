"""The base of those widgets that are made of ipywidgets' controls; see view.py for the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import ipywidgets
import traitlets

from labs_helper.figures.base import Figure
from labs_helper.widgets.keyboard import Keyboard

if TYPE_CHECKING:
    Bundle = dict[str, Any]  # MIME type -> data, as Jupyter wants it


class LabWidget(ipywidgets.VBox):  # type: ignore[misc]  # ipywidgets has no types
    """A box of controls that works from the keyboard and can also be read where no kernel runs.

    The output of a cell carries the live widget and, beside it, `text/html` and `text/plain` with the same facts.
    Notebook viewers, nbconvert and nbval use those. Subclasses implement `static()`.
    """

    def __init__(self, **kwargs: object) -> None:
        self._keyboard = Keyboard(layout={"display": "none"})
        super().__init__(**kwargs)
        self.add_class("labs-widget")

    @traitlets.validate("children")
    def _with_keyboard(self, proposal: Mapping[str, Any]) -> tuple[ipywidgets.Widget, ...]:
        return (*(child for child in proposal["value"] if child is not self._keyboard), self._keyboard)

    def static(self) -> Figure:
        """The current content as a `Figure`; no controls."""
        raise NotImplementedError

    def _repr_mimebundle_(self, **kwargs: object) -> Bundle | tuple[Bundle, Bundle] | None:
        bundle: Bundle | tuple[Bundle, Bundle] | None = super()._repr_mimebundle_(**kwargs)
        if not bundle:
            return bundle
        figure = self.static()
        texts = {"text/html": figure.html, "text/plain": figure.text}
        if isinstance(bundle, tuple):
            return {**bundle[0], **texts}, bundle[1]
        return {**bundle, **texts}

    def __repr__(self) -> str:
        return self.static().text
