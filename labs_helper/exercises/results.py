"""What `check()` and `hint()` show, as text and as HTML."""

from __future__ import annotations

from dataclasses import dataclass

from labs_helper.common.markup import escape, printable
from labs_helper.common.translate import _, _n
from labs_helper.exercises.looks import ICONS, NOT_YET, PASSED, TRY_AGAIN, box, fold, folds, icon, status_word


@dataclass(frozen=True)
class CheckResult:
    """What `check()` shows.

    Attributes:
        number: of the exercise.
        title: of the exercise.
        status: "passed", "not yet" or "try again".
        message: what is right, or what to look at.
        unnoted: why `labs progress` will not show it, in a sentence; empty if it will.
        tries: how many answers to this exercise were looked at, this one included; 0 if that is unknown.
        passed_in_lab: how many exercises of the lab passed, and how many there are; None if that is unknown.
        hints: what the fold under TRY AGAIN offers.

    Example:
        check("1.5", answer).passed      # True or False
    """

    number: str
    title: str
    status: str
    message: str
    unnoted: str = ""
    tries: int = 0
    passed_in_lab: tuple[int, int] | None = None
    hints: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """True when the answer is right."""
        return self.status == PASSED

    def __str__(self) -> str:
        shown = _("{icon} Exercise {number} - {status}: {message}").format(
            icon=ICONS[self.status], number=self.number, status=status_word(self.status), message=self.message
        )
        ask = _('For help: hint("{number}").').format(number=self.number) if self._offered() else ""
        return printable("\n".join(line for line in (shown, self._standing(), ask, self.unnoted) if line))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        # The state is a word and an icon; the colour only helps. Everything is escaped: a message may quote what the
        # learner typed.
        head = _("Exercise {number}: {status}.").format(number=self.number, status=status_word(self.status))
        standing, unnoted = self._standing(), self.unnoted
        return (
            f'<div role="status" style="{box(self.status)}">{icon(self.status)} '
            f"<strong>{escape(head)}</strong> {escape(self.message)}"
            f"{f'<br><small>{escape(standing)}</small>' if standing else ''}"
            f"{f'<br><em>{escape(unnoted)}</em>' if unnoted else ''}{folds(self._offered())}</div>"
        )

    def _standing(self) -> str:
        """Tries, and how far the lab is, as in "2 tries. 3 of 8 exercises of this lab passed."."""
        parts = []
        if self.tries:
            parts.append(_n("{count} try.", "{count} tries.", self.tries).format(count=self.tries))
        if self.passed_in_lab and self.tries:
            passed, count = self.passed_in_lab
            told = _n(
                "{passed} of {count} exercise of this lab passed.",
                "{passed} of {count} exercises of this lab passed.",
                count,
            )
            parts.append(told.format(passed=passed, count=count))
        return " ".join(parts)

    def _offered(self) -> tuple[str, ...]:
        return self.hints if self.status == TRY_AGAIN else ()


@dataclass(frozen=True)
class Hint:
    """What `hint()` shows: one hint, its number, and how many there are. Without steps it says what to ask for.

    Attributes:
        number: of the exercise.
        step: which hint this is, from 1.
        steps: how many hints the exercise has.
        message: the hint.
        earlier: the hints before it.
    """

    number: str
    step: int
    steps: int
    message: str
    earlier: tuple[str, ...] = ()

    def __str__(self) -> str:
        if not self.steps:
            return printable(self.message)
        lines = [f"{self._head()} {self.message} ({self._after()})"]
        lines += [
            _("Earlier, hint {step}: {message}").format(step=step, message=message)
            for step, message in enumerate(self.earlier, 1)
        ]
        return printable("\n".join(lines))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        if not self.steps:
            return f'<div style="{box(NOT_YET)}">{escape(self.message)}</div>'
        return (
            f'<div role="status" style="{box(NOT_YET)}"><strong>{escape(self._head())}</strong> '
            f"{escape(self.message)}<br><small>{escape(self._after())}</small>{self._fold()}</div>"
        )

    def _head(self) -> str:
        return _("Hint {step} of {steps} for exercise {number}:").format(
            step=self.step, steps=self.steps, number=self.number
        )

    def _after(self) -> str:
        if self.step == self.steps:
            return _("This was the last hint.")
        return _("The next one comes after another try, or if you run this cell again.")

    def _fold(self) -> str:
        if not self.earlier:
            return ""
        head = _n("Earlier: {count} hint", "Earlier: {count} hints", len(self.earlier)).format(count=len(self.earlier))
        listed = "".join(f"<li>{escape(message)}</li>" for message in self.earlier)
        return fold(head, f"<ol>{listed}</ol>")
