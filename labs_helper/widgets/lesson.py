"""A training while it runs: the loss as a curve, the step in words, and Stop, which keeps what was learned."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, ClassVar

import traitlets

from labs_helper.common.markup import printable
from labs_helper.common.translate import _
from labs_helper.figures.base import Figure
from labs_helper.figures.training import loss_curve
from labs_helper.widgets.jobs import State
from labs_helper.widgets.view import View

if TYPE_CHECKING:
    from labs_helper.tuning.classroom import Lesson

_EVERY = 0.5  # seconds between two updates
_DRAWING = 0.1  # of the time, at most, goes into pictures: it is taken from the training


class LessonView(View):
    """The live view of a lesson. Get one from `watch`.

    Attributes:
        status: where the training is, in words.
        running: "running", "stopping", or "" when it is over.
        picture: the loss so far, as HTML.

    Example:
        watch(start(model, textbook))
    """

    PAGE: ClassVar[tuple[str, ...]] = ("lesson",)

    status = traitlets.Unicode().tag(sync=True)
    count = traitlets.Unicode().tag(sync=True)  # the page's line of status has a place for it
    running = traitlets.Unicode().tag(sync=True)
    picture = traitlets.Unicode().tag(sync=True)

    def __init__(self, lesson: Lesson) -> None:
        self.lesson = lesson
        self._lock = threading.Lock()
        self._last = self._next_picture = 0.0
        self._stopping = False
        super().__init__(
            words={
                "title": printable(_("Lesson: {name}").format(name=lesson.name)),
                "stop": _("Stop"),
                "stopping": _("Stopping…"),
                "stop_hint": _("Stop after this step. The adapter is kept."),
            }
        )
        self.on_page("stop", self.stop)
        self._show(whole=True)
        lesson.listen(self._heard)

    def stop(self) -> None:
        """End the lesson after the step that is being computed, and keep its adapter."""
        self._stopping = True
        self.running = self._state()
        self.lesson.stop()

    def _heard(self, lesson: Lesson) -> None:
        now = time.monotonic()
        if lesson.over or now - self._last >= _EVERY:
            self._last = now
            self._show(whole=lesson.over or now >= self._next_picture)

    def _show(self, *, whole: bool) -> None:
        with self._lock:
            self.status = self._words()
            if whole and self.lesson.steps:
                begun = time.monotonic()
                self.picture = self._curve().html
                self._next_picture = time.monotonic() + (time.monotonic() - begun) / _DRAWING
            self.running = self._state()

    def _state(self) -> State:
        if self.lesson.over:
            return ""
        return "stopping" if self._stopping else "running"

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
