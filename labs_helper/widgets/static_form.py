"""What every widget of ours shows where no kernel runs: the same facts, as HTML and as text, beside the live one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from labs_helper.figures.base import Figure

if TYPE_CHECKING:
    Bundle = dict[str, Any]  # MIME type -> data, as Jupyter wants it


class StaticForm:
    """Puts `text/html` and `text/plain` of `static()` beside the live widget in the output of a cell.

    Notebook viewers, nbconvert and nbval use those. It comes before the class of ipywidgets or anywidget among the
    bases, whose bundle it adds to.
    """

    def static(self) -> Figure:
        """The current content as a `Figure`; no controls."""
        raise NotImplementedError

    def _repr_mimebundle_(self, **kwargs: object) -> Bundle | tuple[Bundle, Bundle] | None:
        live: Any = super()
        bundle: Bundle | tuple[Bundle, Bundle] | None = live._repr_mimebundle_(**kwargs)
        if not bundle:
            return bundle
        figure = self.static()
        texts = {"text/html": figure.html, "text/plain": figure.text}
        if isinstance(bundle, tuple):
            return {**bundle[0], **texts}, bundle[1]
        return {**bundle, **texts}

    def __repr__(self) -> str:
        return self.static().text
