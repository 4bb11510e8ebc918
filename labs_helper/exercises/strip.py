"""`so_far("01")`: every exercise of a lab with its state, and what is left. The last cell of a lab shows it."""

from __future__ import annotations

from dataclasses import dataclass

from labs_helper.catalog.labs import normal
from labs_helper.common.markup import escape, printable
from labs_helper.common.translate import _, _n
from labs_helper.errors import LabError
from labs_helper.exercises import progress, tally
from labs_helper.exercises.looks import ICONS, NOT_YET, PASSED, TRY_AGAIN, box, icon


@dataclass(frozen=True)
class State:
    """How far one exercise is.

    Attributes:
        number: of the exercise.
        title: of the exercise.
        status: "passed" if it ever passed, "try again" if it was tried, else "not yet".
        tries: answers that were looked at.
    """

    number: str
    title: str
    status: str
    tries: int

    @property
    def words(self) -> str:
        """The status in a word or two."""
        return {PASSED: _("passed"), TRY_AGAIN: _("tried"), NOT_YET: _("not tried")}[self.status]


@dataclass(frozen=True)
class Strip:
    """What `so_far` shows.

    Attributes:
        lab: two digits.
        states: of all exercises of the lab, in order.
        trouble: why what was noted earlier cannot be read, in a sentence; empty if it can.
    """

    lab: str
    states: tuple[State, ...]
    trouble: str = ""

    @property
    def left(self) -> tuple[State, ...]:
        """The exercises that have not passed."""
        return tuple(state for state in self.states if state.status != PASSED)

    def __str__(self) -> str:
        lines = [
            self._head(),
            "  ".join(f"{ICONS[state.status]} {state.number} {state.words}" for state in self.states),
        ]
        if self.left:
            lines += [_("Left:"), *(f"  {self._line(state)}" for state in self.left)]
        return printable("\n".join(line for line in (*lines, self._again(), self.trouble) if line))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        if not self.states:
            return f'<div style="{box(NOT_YET)}">{escape(self._head())}</div>'
        places = "".join(
            f'<li style="{box(state.status, ".2em .6em")}" title="{escape(state.title)}">{icon(state.status)} '
            f"<strong>{escape(state.number)}</strong> {escape(state.words)}</li>"
            for state in self.states
        )
        listed = "".join(f"<li>{escape(self._line(state))}</li>" for state in self.left)
        head = escape(_("Left:"))
        left = f"<p>{head}</p><ul>{listed}</ul>" if listed else ""
        trouble = f"<p><em>{escape(self.trouble)}</em></p>" if self.trouble else ""
        return (
            f"<div><p><strong>{escape(self._head())}</strong></p>"
            f'<ol style="display:flex;flex-wrap:wrap;gap:.4em;list-style:none;padding:0;margin:0">{places}</ol>'
            f"{left}<p><small>{escape(self._again())}</small></p>{trouble}</div>"
        )

    def _head(self) -> str:
        if not self.states:
            return _("Lab {lab} has no exercises.").format(lab=self.lab)
        counted = _n(
            "Lab {lab}: {passed} of {count} exercise passed.",
            "Lab {lab}: {passed} of {count} exercises passed.",
            len(self.states),
        )
        return counted.format(lab=self.lab, passed=len(self.states) - len(self.left), count=len(self.states))

    def _line(self, state: State) -> str:
        told = _("{number}, {title}").format(number=state.number, title=state.title)
        if not state.tries:
            return told
        tries = _n("{count} try", "{count} tries", state.tries).format(count=state.tries)
        return _("{exercise} ({tries})").format(exercise=told, tries=tries)

    def _again(self) -> str:
        if not self.states:
            return ""
        return _("To start this lab again: `labs reset {lab}` in a terminal. Your version is kept beside it.").format(
            lab=self.lab
        )


def so_far(lab: str | int) -> Strip:
    """Show how far a lab is: every exercise with its state, and what is left. Raises nothing.

    Args:
        lab: its number, 1, "1" or "01".

    Example:
        so_far("01")
    """
    from labs_helper.exercises import all_exercises

    number = normal(lab)
    trouble, noted = "", {}
    try:
        if progress.is_on():
            noted = {
                name: tally.Count(entry.tries, entry.passed_at is not None)
                for name, entry in progress.entries().items()
            }
    except LabError as error:
        trouble = str(error)
    states = []
    for exercise in all_exercises(number).values():
        here, before = tally.of(exercise.number), noted.get(exercise.number, tally.Count())
        tries = max(here.tries, before.tries)
        status = PASSED if here.passed or before.passed else TRY_AGAIN if tries else NOT_YET
        states.append(State(exercise.number, exercise.title, status, tries))
    return Strip(number, tuple(states), trouble)
