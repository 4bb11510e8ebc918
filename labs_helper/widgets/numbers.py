"""Numbers that a person types into a view: kept as they were typed, with what is wrong with them in words."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labs_helper.common.translate import _

if TYPE_CHECKING:
    from labs_helper.models.requests import Options


@dataclass
class Number:
    """One number and its bounds.

    Attributes:
        name: of the option.
        label: what it is called on the page.
        hint: what it does.
        value: the last valid one.
        least: the smallest that is allowed.
        most: the largest that is allowed.
        step: of the arrow keys.
        typed: the text in the field.
    """

    name: str
    label: str
    hint: str
    value: float
    least: float
    most: float
    step: float
    typed: str = ""

    def __post_init__(self) -> None:
        self.typed = self.typed or (str(self.value) if self.whole else f"{self.value:g}")

    @property
    def whole(self) -> bool:
        """Whether it is a whole number."""
        return isinstance(self.value, int)

    def take(self, text: str) -> None:
        """Take what was typed; the value changes if it is valid."""
        self.typed = text
        number = _number(text)
        if number is not None and self.least <= number <= self.most and (not self.whole or number == int(number)):
            self.value = int(number) if self.whole else number

    @property
    def problem(self) -> str:
        """What is wrong with the text in the field; empty if nothing is.

        Example:
            >>> number = Number("n", "Max tokens", "", 9, 1, 1024, 1)
            >>> number.take("abc")
            >>> number.problem
            "Max tokens: type a whole number from 1 to 1,024, not 'abc'."
        """
        number = _number(self.typed)
        if number is not None and number == self.value:
            return ""
        words = _("{label}: type a whole number from {least} to {most}, not '{typed}'.")
        if not self.whole:
            words = _("{label}: type a number from {least} to {most}, not '{typed}'.")
        return words.format(
            label=self.label, least=_shown(self.least), most=_shown(self.most), typed=self.typed.strip()[:40]
        )

    def page(self) -> dict[str, object]:
        """What the page needs to draw the field; see `numberFields` in view.js."""
        words = _("{label} ({least:g} to {most:g})").format(label=self.label, least=self.least, most=self.most)
        return {
            "name": self.name,
            "label": words,
            "hint": self.hint,
            "typed": self.typed,
            "problem": self.problem,
            "least": self.least,
            "most": self.most,
            "step": self.step,
        }


def longest_answer(tokens: int) -> Number:
    """The field for the longest answer, in tokens."""
    most = max(1024, int(tokens))
    return Number("max_tokens", _("Max tokens"), _("The longest answer, in tokens"), int(tokens), 1, most, 1)


class Sampling:
    """Temperature, top-p and the longest answer.

    Example:
        >>> sampling = Sampling(temperature=0.0, top_p=1.0, max_tokens=128)
        >>> sampling.take("top_p", "0.9")
        >>> sampling.options()
        {'temperature': 0.0, 'top_p': 0.9, 'max_tokens': 128}
    """

    def __init__(self, *, temperature: float, top_p: float, max_tokens: int) -> None:
        self.temperature = Number(
            "temperature",
            _("Temperature"),
            _("0 always takes the likeliest token; higher is more varied"),
            float(temperature),
            0.0,
            2.0,
            0.1,
        )
        self.top_p = Number(
            "top_p",
            _("Top-p"),
            _("Choose among the likeliest tokens that together have this probability"),
            float(top_p),
            0.05,
            1.0,
            0.05,
        )
        self.max_tokens = longest_answer(max_tokens)

    @property
    def all(self) -> tuple[Number, ...]:
        """The three of them."""
        return self.temperature, self.top_p, self.max_tokens

    def take(self, name: str, text: str) -> None:
        """Take what was typed into a field; an unknown name is ignored."""
        for number in self.all:
            if number.name == name:
                number.take(text)

    @property
    def problem(self) -> str:
        """What is wrong with the first field that is wrong; empty if none is."""
        return next((number.problem for number in self.all if number.problem), "")

    def page(self) -> list[dict[str, object]]:
        """What the page needs to draw the fields."""
        return [number.page() for number in self.all]

    def options(self) -> Options:
        """What the fields say now, as options of a question."""
        return {
            "temperature": float(self.temperature.value),
            "top_p": float(self.top_p.value),
            "max_tokens": int(self.max_tokens.value),
        }


def _number(text: str) -> float | None:
    try:
        number = float(text.strip().replace(",", "."))
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _shown(number: float) -> str:
    return f"{number:,}" if isinstance(number, int) else f"{number:g}"
