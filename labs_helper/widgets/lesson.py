"""A training while it runs: the loss as a curve, the step in words, and Stop, which keeps what was learned."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from labs_helper.common.markup import escape
from labs_helper.common.translate import _
from labs_helper.figures.base import Figure
from labs_helper.figures.training import loss_curve
from labs_helper.widgets.base import LabWidget
from labs_helper.widgets.controls import button, html, row, title

if TYPE_CHECKING:
    from labs_helper.tuning.classroom import Lesson

_EVERY = 0.5  # seconds between two updates
_DRAWING = 0.1  # of the time, at most, goes into pictures: it is taken from the training


class LessonView(LabWidget):
    """The live view of a lesson. Get one from `watch`.

    Example:
        watch(start(model, textbook))
    """

    def __init__(self, lesson: Lesson) -> None:
        self.lesson = lesson
        self._lock = threading.Lock()
        self._last = self._next_picture = 0.0
        self.status, self.picture = html(), html()
        self.stop_button = button(_("Stop"), self.stop, _("Stop after this step. The adapter is kept."))
        super().__init__()
        self.children = (
            title(_("Lesson: {name}").format(name=lesson.name)),
            row(self.stop_button, self.status, centred=True),
            self.picture,
        )
        self._show(whole=True)
        lesson.listen(self._heard)

    def stop(self) -> None:
        """End the lesson after the step that is being computed, and keep its adapter."""
        self.stop_button.disabled = True
        self.lesson.stop()

    def _heard(self, lesson: Lesson) -> None:
        now = time.monotonic()
        if lesson.over or now - self._last >= _EVERY:
            self._last = now
            self._show(whole=lesson.over or now >= self._next_picture)

    def _show(self, *, whole: bool) -> None:
        with self._lock:
            self.status.value = f'<span role="status">{escape(self._words())}</span>'
            if whole and self.lesson.steps:
                begun = time.monotonic()
                self.picture.value = self._curve().html
                self._next_picture = time.monotonic() + (time.monotonic() - begun) / _DRAWING
            self.stop_button.disabled = self.lesson.over

    def _words(self) -> str:
        if self.lesson.error is not None:
            return str(self.lesson.error)
        if self.lesson.taught is not None:
            return str(self.lesson.taught)
        if not self.lesson.steps:
            return _("Waiting for the first step ...")
        last = self.lesson.steps[-1]
        return _("Step {step} of {steps}, loss {loss:.2f}.").format(
            step=last.number, steps=self.lesson.plan.steps, loss=last.loss
        )

    def _curve(self) -> Figure:
        losses, held_out = [step.loss for step in self.lesson.steps], list(self.lesson.held_out)
        return loss_curve({self.lesson.name: losses}, held_out={self.lesson.name: held_out})

    def static(self) -> Figure:
        if not self.lesson.steps:
            return Figure.of_words(self._words())
        return self._curve()


def watch(lesson: Lesson) -> LessonView:
    """Show a lesson while it runs.

    Example:
        lesson = start(model, textbook, steps=100)
        watch(lesson)
    """
    return LessonView(lesson)
