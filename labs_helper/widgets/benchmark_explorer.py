"""`benchmarks`: look through the published figures in data/benchmarks/, as chart or table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, overload

import traitlets

from labs_helper.common.markup import escape
from labs_helper.common.translate import _
from labs_helper.errors import BadRequest
from labs_helper.figures import published
from labs_helper.figures.base import Figure
from labs_helper.widgets.view import View

if TYPE_CHECKING:
    import pandas

_ALL = ""  # the value of the list of tests when no single one is chosen


class BenchmarkExplorer(View):
    """Controls over one published table. Made by `benchmarks`.

    Attributes:
        tables, tests: (words, value) of what can be chosen.
        table, test, view: what is chosen; a test of "" is all of them.
        models: the names to choose from.
        ticked: those of them that are drawn.
        drawing: the chart or the table, as HTML.
    """

    PAGE: ClassVar[tuple[str, ...]] = ("benchmarks",)

    tables: traitlets.List[list[str]] = traitlets.List().tag(sync=True)
    tests: traitlets.List[list[str]] = traitlets.List().tag(sync=True)
    models: traitlets.List[str] = traitlets.List().tag(sync=True)
    ticked: traitlets.List[str] = traitlets.List().tag(sync=True)
    table = traitlets.Unicode().tag(sync=True)
    test = traitlets.Unicode().tag(sync=True)
    view = traitlets.Unicode().tag(sync=True)
    drawing = traitlets.Unicode().tag(sync=True)

    def __init__(
        self,
        table: str,
        models: Sequence[str] | str | None = None,
        test: str | None = None,
        view: Literal["chart", "table"] = "chart",
    ) -> None:
        self.figure = Figure(html="", text="")
        super().__init__(
            words={
                "title": _("Published figures"),
                "table": _("Table"),
                "test": _("Test"),
                "models": _("Models"),
                "view": _("View"),
                "as_chart": _("chart"),
                "as_table": _("table"),
            },
            tables=[[words, name] for name, words in published.tables().items()],
            table=table,
            view=view,
        )
        self.on_page("set", self.choose, name=str, text=str)
        self.on_page("tick", self.tick, name=str, on=bool)
        self._offer(test, models)
        self._draw()

    def static(self) -> Figure:
        return self.figure

    def frame(self) -> pandas.DataFrame:
        """The rows that are shown, as a pandas DataFrame."""
        return self.figure.frame()

    def wait(self, timeout: float = 0.0) -> BenchmarkExplorer:
        """Return at once: every widget can be waited for, and here nothing runs in the background."""
        return self

    def choose(self, name: str, text: str) -> None:
        """Choose a table, a test or a view, as the page does. What there is not changes nothing.

        Example:
            explorer.choose("table", "long_context")
        """
        known = {"table": self.tables, "test": self.tests, "view": [["", "chart"], ["", "table"]]}.get(name, [])
        if text not in {value for _words, value in known}:
            return
        self.set_trait(name, text)
        if name == "table":
            self._offer(None, None)
        elif name == "test":
            kept = [model for model in self.ticked if model in published.models(self.table, self.test or None)]
            self._offer_models(kept or None)
        self._draw()

    def tick(self, name: str, on: bool) -> None:
        """Draw a model, or leave it out.

        Example:
            explorer.tick("Phi-3.5-MoE-instruct", on=True)
        """
        self.ticked = [model for model in self.models if (on if model == name else model in self.ticked)]
        self._draw()

    def _offer(self, test: str | None, models: Sequence[str] | str | None) -> None:
        names = published.tests(self.table)
        several = len(names) > 1
        # By language, one test already fills a screen; a table of single scores is best seen whole.
        by_language = several and published.by_language(self.table)
        every = [[_("all tests"), _ALL]] if several or not names else []
        with self.hold_sync():
            self.tests = [*every, *([name, name] for name in names)]
            self.test = test or (names[0] if by_language or len(names) == 1 else _ALL)
            self._offer_models(models)

    def _offer_models(self, models: Sequence[str] | str | None) -> None:
        table, test = self.table, self.test or None
        names = published.models(table, test)
        chosen = models or published.usual_models(table, test)
        picked = {row["model"] for row in published.select(table, chosen, test)} if names else set()
        with self.hold_sync():
            self.models = list(names)
            self.ticked = [name for name in names if name in picked]

    def _draw(self) -> None:
        drawable = published.can_draw(self.table)
        note = ""
        if self.models and not self.ticked:
            self.figure = Figure.of_words(_("Choose at least one model."))
        else:
            try:
                view = self.view if drawable else "table"
                self.figure = _figure(self.table, self.ticked or None, self.test or None, view)
            except BadRequest as error:
                self.figure = Figure.of_words(str(error))
            else:
                if not drawable and self.view == "chart":
                    said = escape(_("This table has no scores to draw."))
                    note = f"<p>{said}</p>"
        self.drawing = note + self.figure.html


@overload
def benchmarks(
    table: str = "multilingual_by_language",
    models: Sequence[str] | str | None = None,
    test: str | None = None,
    *,
    view: Literal["chart", "table"] = "chart",
    widget: Literal[True] = True,
) -> BenchmarkExplorer: ...


@overload
def benchmarks(
    table: str = "multilingual_by_language",
    models: Sequence[str] | str | None = None,
    test: str | None = None,
    *,
    view: Literal["chart", "table"] = "chart",
    widget: Literal[False],
) -> Figure: ...


def benchmarks(
    table: str = "multilingual_by_language",
    models: Sequence[str] | str | None = None,
    test: str | None = None,
    *,
    view: Literal["chart", "table"] = "chart",
    widget: bool = True,
) -> BenchmarkExplorer | Figure:
    """Look through the published benchmark figures.

    All scores are their publishers' own runs. Compare inside a table, not across tables.

    Args:
        table: a file of data/benchmarks, with or without ".csv"; an unknown name raises with the list of names.
        models: names or parts of names ("Phi-3.5-mini"); the usual two when left out (the table view: all).
        test: one test of the table, for example "Multilingual MMLU".
        view: "chart" or "table".
        widget: True gives the explorer; False a `Figure`, whose `.frame()` is a pandas table.

    Raises:
        BadRequest: unknown table, model, test or view, or a chart of a table without scores.

    Example:
        >>> len(benchmarks("vision_release_deltas", widget=False).frame())
        6
    """
    table = table.removesuffix(".csv")
    if view not in ("chart", "table"):
        raise BadRequest(_("There is no view {view!r}.").format(view=view), _("Use view='chart' or view='table'."))
    if widget:
        published.select(table, models, test)  # refuses what is unknown before anything is drawn
        return BenchmarkExplorer(table, models, test, view)
    return _figure(table, models, test, view)


def _figure(table: str, models: Sequence[str] | str | None, test: str | None, view: str) -> Figure:
    draw = published.benchmark_chart if view == "chart" else published.benchmark_table
    return draw(table, models, test)
