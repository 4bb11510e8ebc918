"""`benchmarks`: look through the published figures in data/benchmarks/, as chart or table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, overload

import ipywidgets
import traitlets

from labs_helper.common.markup import escape
from labs_helper.common.translate import _
from labs_helper.errors import BadRequest
from labs_helper.figures import published
from labs_helper.figures.base import Figure
from labs_helper.widgets.base import LabWidget
from labs_helper.widgets.controls import Change, Choice, Control, checkbox, dropdown, html, on_change, row, title

if TYPE_CHECKING:
    import pandas

_ALL = ""  # the value of the list of tests when no single one is chosen


class Checklist(ipywidgets.VBox):  # type: ignore[misc]  # ipywidgets has no types
    """Several names to choose from, a box to tick for each.

    A list with multiple choice would need Ctrl and the mouse to choose names that are not neighbours.

    Example:
        >>> models = Checklist("Models")
        >>> models.options = ["a", "b", "c"]
        >>> models.value = ["a", "c"]
        >>> models.value
        ('a', 'c')
    """

    options = traitlets.List(traitlets.Unicode())
    value = traitlets.Tuple()

    def __init__(self, description: str) -> None:
        self._quiet = False  # while boxes are ticked by us and not by the reader
        self._boxes: list[Control[bool]] = []
        self._box = ipywidgets.VBox(layout=ipywidgets.Layout(overflow="visible"))
        label = html(f"<span>{escape(description)}</span>")
        super().__init__([label, self._box], layout=ipywidgets.Layout(margin="0 0 0 1em", overflow="visible"))

    @traitlets.observe("options")
    def _make_boxes(self, _change: Change) -> None:
        self.value = ()
        self._boxes = [checkbox(name, width="33em", height="24px", margin="0") for name in self.options]
        for box in self._boxes:
            on_change(box, self._ticked)
        self._box.children = self._boxes

    @traitlets.observe("value")
    def _tick(self, _change: Change) -> None:
        wanted, self._quiet = self.value, True  # one box after the other changes: not a choice of the reader
        for box in self._boxes:
            box.value = box.description in wanted
        self._quiet = False

    def _ticked(self) -> None:
        if not self._quiet:
            self.value = tuple(box.description for box in self._boxes if box.value)


class BenchmarkExplorer(LabWidget):
    """Controls over one published table. Made by `benchmarks`."""

    def __init__(
        self,
        table: str,
        models: Sequence[str] | str | None = None,
        test: str | None = None,
        view: Literal["chart", "table"] = "chart",
    ) -> None:
        self.figure = Figure(html="", text="")
        self._quiet = True
        tables = [(words, name) for name, words in published.tables().items()]
        self.table: Choice[str] = dropdown(_("Table"), tables, table, width="28em", label_width="5em")
        self.test: Choice[str] = dropdown(_("Test"), [_every_test()], _ALL, width="28em", label_width="5em")
        self.models = Checklist(_("Models"))
        self.view: Choice[str] = ipywidgets.RadioButtons(
            options=[(_("chart"), "chart"), (_("table"), "table")],
            value=view,
            description=_("View"),
            style={"description_width": "5em"},
        )
        self.output = html()
        super().__init__()
        self.children = (
            title(_("Published figures")),
            row(
                ipywidgets.VBox([self.table, self.test, self.view], layout=ipywidgets.Layout(overflow="visible")),
                self.models,
            ),
            self.output,
        )
        self._fill_tests(test)
        self._fill_models(models)
        self._quiet = False
        on_change(self.table, self._table_changed)
        on_change(self.test, self._test_changed)
        self.models.observe(lambda _change: self._draw(), "value")
        on_change(self.view, self._draw)
        self._draw()

    def static(self) -> Figure:
        return self.figure

    def frame(self) -> pandas.DataFrame:
        """The rows that are shown, as a pandas DataFrame."""
        return self.figure.frame()

    def wait(self, timeout: float = 0.0) -> BenchmarkExplorer:
        """Return at once: every widget can be waited for, and here nothing runs in the background."""
        return self

    def _table_changed(self) -> None:
        self._quiet = True  # three controls change together: draw once, at the end
        self._fill_tests(None)
        self._fill_models(None)
        self._quiet = False
        self._draw()

    def _test_changed(self) -> None:
        if self._quiet:
            return
        self._quiet = True
        kept = [name for name in self.models.value if name in published.models(self.table.value, self._test())]
        self._fill_models(kept or None)
        self._quiet = False
        self._draw()

    def _fill_tests(self, test: str | None) -> None:
        names = published.tests(self.table.value)
        several = len(names) > 1
        every = [_every_test()] if several or not names else []
        self.test.options = [*every, *((name, name) for name in names)]
        # By language, one test already fills a screen; a table of single scores is best seen whole.
        by_language = several and published.by_language(self.table.value)
        self.test.value = test or (names[0] if by_language or len(names) == 1 else _ALL)
        self.test.disabled = not several

    def _fill_models(self, models: Sequence[str] | str | None) -> None:
        table, test = self.table.value, self._test()
        names = published.models(table, test)
        chosen = models or published.usual_models(table, test)
        self.models.options = names
        picked = {row["model"] for row in published.select(table, chosen, test)} if names else set()
        self.models.value = tuple(name for name in names if name in picked)

    def _test(self) -> str | None:
        return self.test.value or None

    def _draw(self) -> None:
        if self._quiet:
            return
        table, test, models = self.table.value, self._test(), list(self.models.value)
        if published.models(table, test) and not models:
            self._tell(_("Choose at least one model."))
            return
        drawable = published.can_draw(table)
        try:
            self.figure = _figure(table, models or None, test, self.view.value if drawable else "table")
        except BadRequest as error:
            self._tell(str(error))
            return
        note = ""
        if not drawable and self.view.value == "chart":
            note = f"<p>{escape(_('This table has no scores to draw.'))}</p>"
        self.output.value = note + self.figure.html

    def _tell(self, words: str) -> None:
        self.figure = Figure.of_words(words)
        self.output.value = self.figure.html


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


def _every_test() -> tuple[str, str]:
    """The entry of the list that chooses all tests."""
    return _("all tests"), _ALL
