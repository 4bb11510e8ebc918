"""`benchmarks`: look through the published figures in data/benchmarks/, as chart or table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ipywidgets
import traitlets

from labs_helper.common.markup import escape
from labs_helper.errors import BadRequest
from labs_helper.figures import published
from labs_helper.figures.base import Figure
from labs_helper.widgets.base import LabWidget

_ALL = "all tests"


class Checklist(ipywidgets.VBox):
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
        self._telling = True
        self.boxes = ipywidgets.VBox(layout=ipywidgets.Layout(overflow="visible"))
        title = ipywidgets.HTML(f"<span>{escape(description)}</span>")
        super().__init__([title, self.boxes], layout=ipywidgets.Layout(margin="0 0 0 1em"))

    @traitlets.observe("options")
    def _make_boxes(self, _change: Any) -> None:
        self.value = ()
        made = []
        for name in self.options:
            layout = {"width": "33em", "height": "24px", "margin": "0"}
            made.append(ipywidgets.Checkbox(description=name, value=False, indent=False, layout=layout))
            made[-1].observe(self._ticked, "value")
        self.boxes.children = made

    @traitlets.observe("value")
    def _tick(self, _change: Any) -> None:
        wanted, self._telling = self.value, False  # one box after the other changes: that is no news
        for box in self.boxes.children:
            box.value = box.description in wanted
        self._telling = True

    def _ticked(self, _change: Any) -> None:
        if self._telling:
            self.value = tuple(box.description for box in self.boxes.children if box.value)


class BenchmarkExplorer(LabWidget):
    """Controls over one published table. Made by `benchmarks`."""

    def __init__(
        self, table: str, models: Sequence[str] | None = None, test: str | None = None, view: str = "chart"
    ) -> None:
        self.figure = Figure(html="", text="")
        self._quiet = True
        style, wide = {"description_width": "5em"}, ipywidgets.Layout(width="28em")
        self.table = ipywidgets.Dropdown(
            options=[(title, name) for name, title in published.tables().items()],
            value=table,
            description="Table",
            style=style,
            layout=wide,
        )
        self.test = ipywidgets.Dropdown(options=[_ALL], description="Test", style=style, layout=wide)
        self.models = Checklist("Models")
        self.view = ipywidgets.RadioButtons(options=["chart", "table"], value=view, description="View", style=style)
        self.output = ipywidgets.HTML()
        super().__init__()
        row = ipywidgets.Layout(flex_flow="row wrap", overflow="visible")
        left = ipywidgets.VBox([self.table, self.test, self.view])
        self.children = (
            ipywidgets.HTML("<strong>Published figures</strong>"),
            ipywidgets.HBox([left, self.models], layout=row),
            self.output,
        )
        self._fill_tests(test)
        self._fill_models(models)
        self._quiet = False
        self.table.observe(self._table_changed, "value")
        self.test.observe(self._test_changed, "value")
        self.models.observe(lambda _: self._draw(), "value")
        self.view.observe(lambda _: self._draw(), "value")
        self._draw()

    def static(self) -> Figure:
        return self.figure

    def frame(self):
        """The rows that are shown, as a pandas DataFrame."""
        return self.figure.frame()

    def wait(self, timeout: float = 0.0) -> BenchmarkExplorer:
        """Nothing runs in the background here; there so that every widget has it."""
        return self

    def _table_changed(self, _change: Any) -> None:
        self._quiet = True  # three controls change together: draw once, at the end
        self._fill_tests(None)
        self._fill_models(None)
        self._quiet = False
        self._draw()

    def _test_changed(self, _change: Any) -> None:
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
        self.test.options = ([_ALL] if several or not names else []) + names
        # By language, one test already fills a screen; a table of single scores is best seen whole.
        by_language = several and "language" in published.read(self.table.value)[0]
        self.test.value = test or (names[0] if by_language or len(names) == 1 else _ALL)
        self.test.disabled = not several

    def _fill_models(self, models: Sequence[str] | None) -> None:
        table, test = self.table.value, self._test()
        names = published.models(table, test)
        chosen = ([models] if isinstance(models, str) else models) or published.usual_models(table, test)
        self.models.options = names
        picked = {row["model"] for row in published.select(table, chosen, test)} if names else set()
        self.models.value = [name for name in names if name in picked]

    def _test(self) -> str | None:
        return None if self.test.value in (None, _ALL) else self.test.value

    def _draw(self) -> None:
        if self._quiet:
            return
        table, test, models = self.table.value, self._test(), list(self.models.value)
        if published.models(table, test) and not models:
            self._tell("Choose at least one model.")
            return
        drawable = published.can_draw(table)
        try:
            self.figure = _figure(table, models or None, test, self.view.value if drawable else "table")
        except BadRequest as error:
            self._tell(str(error))
            return
        note = "" if drawable or self.view.value == "table" else "<p>This table has no scores to draw.</p>"
        self.output.value = note + self.figure.html

    def _tell(self, words: str) -> None:
        self.figure = Figure(html=f"<p>{escape(words)}</p>", text=words, alt=words)
        self.output.value = self.figure.html


def benchmarks(
    table: str = "multilingual_by_language",
    models: Sequence[str] | str | None = None,
    test: str | None = None,
    *,
    view: str = "chart",
    widget: bool = True,
):
    """Look through the published benchmark figures.

    All scores are their publishers' own runs. Compare inside a table, not across tables.

    Arguments:
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
        raise BadRequest(f"There is no view {view!r}.", "Use view='chart' or view='table'.")
    if widget:
        published.select(table, models, test)  # refuses what is unknown before anything is drawn
        return BenchmarkExplorer(table, models, test, view)
    return _figure(table, models, test, view)


def _figure(table: str, models: Sequence[str] | str | None, test: str | None, view: str) -> Figure:
    draw = published.benchmark_chart if view == "chart" else published.benchmark_table
    return draw(table, models, test)
