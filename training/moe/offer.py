"""What an agent is offered: the tools and the longest plan, and what follows from them.

`PUBLISHED` is the agent of the course, which the published weights were trained for. `NEXT` is the agent that the
training prepares: it can say that no tool fits, reads percent and powers, counts words only where spaces separate them,
and plans three steps. Models read every word of a tool, so `NEXT` goes into `labs_helper.agent` together with the
weights that know it, not before. Evaluation asks for what is published, except in the tasks that only `NEXT` can do.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Literal, get_args

from pydantic import Field

from labs_helper.agent import plan, sentences
from labs_helper.agent.spans import FromQuestion
from labs_helper.agent.tools import MAX_EXPRESSION, MAX_TEXT, TOOLS, Tool, place, toolbox, translate
from labs_helper.errors import BadPlan

MAX_DIGITS = 30  # of a power; a larger one is refused
EXPRESSION_REFUSED = "the calculator knows numbers with + - * / ** % and brackets."
POWER_NOT_WHOLE = "the calculator knows only whole powers."
POWER_TOO_LARGE = "that power is too large for the calculator."
NO_SPACES_BETWEEN = "only words between spaces can be counted."
# Why a question, or a part of it, is not answered: no tool does such things; a tool does not know the name; the
# calculator refuses; the words have no spaces between them.
Reason = Literal["no tool fits", "not known", "no such sum", "no spaces"]
REASONS = get_args(Reason)

OPERATORS: dict[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
SIGNS = str.maketrans({"×": "*", "÷": "/", "−": "-", "％": "%"})
PERCENT = re.compile(r"(\d+(?:\.\d+)?) ?%(?! ?[\d(.])")  # a number and its sign, not the remainder of a division
UNSEPARATED = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]{2}")  # Chinese and Japanese write words without spaces


@dataclass(frozen=True)
class Offer:
    """Tools, and how many steps a plan may have."""

    tools: Mapping[str, Tool]
    max_steps: int

    def prompt(self) -> str:
        """The system message."""
        return plan.system_prompt(self.tools)

    def read(self, text: str) -> list[plan.Step]:
        """The steps of a plan; BadPlan for what is none."""
        return plan.read_plan(text, self.tools, self.max_steps)

    def run(self, steps: Sequence[plan.Step], language: str | None = None) -> list[str]:
        """What the steps give; BadPlan where a tool refuses."""
        return plan.run_plan(steps, self.tools, language)


def calculator(expression: Annotated[str, Field(min_length=1, max_length=MAX_EXPRESSION)]) -> str:
    """Work out a sum such as (47 + 38) * 2, with the signs + - * / ** % and brackets.

    As the course's own, which knows neither powers nor percent: ^ is read as **, and 12% as 12 hundredths. A power of
    more than 30 digits is refused before it is worked out.

    >>> calculator("47 + 38"), calculator("12% * 250"), calculator("2 ** 10")
    ('85', '30', '1024')
    """
    if len(expression) > MAX_EXPRESSION:
        raise BadPlan(sentences.EXPRESSION_TOO_LONG)
    text = expression.translate(SIGNS).replace(" x ", " * ").replace("^", "**")
    if not re.fullmatch(r"[0-9 .+\-*/()%]+", text):
        raise BadPlan(EXPRESSION_REFUSED)
    text = PERCENT.sub(r"(\1 / 100)", text)
    try:
        value = _value(ast.parse(text.strip(), mode="eval").body)
    except ZeroDivisionError:
        raise BadPlan(sentences.DIVISION_BY_ZERO) from None
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise BadPlan(EXPRESSION_REFUSED) from None
    return str(value.numerator) if value.denominator == 1 else f"{float(value):.10g}"


def _value(node: ast.AST) -> Fraction:
    match node:
        case ast.Constant(value=int() | float() as number):
            return Fraction(str(number))
        case ast.UnaryOp(op=ast.USub(), operand=inner):
            return -_value(inner)
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            return _power(_value(left), _value(right))
        case ast.BinOp(left=left, op=sign, right=right) if type(sign) in OPERATORS:
            return OPERATORS[type(sign)](_value(left), _value(right))
    raise BadPlan(EXPRESSION_REFUSED)


def _power(base: Fraction, exponent: Fraction) -> Fraction:
    """A power with a whole exponent. Its size is estimated first: 9 ** 9 ** 9 would fill the memory."""
    if exponent.denominator != 1:
        raise BadPlan(POWER_NOT_WHOLE)
    digits = max(len(str(abs(base.numerator))), len(str(base.denominator)))
    if abs(exponent) > MAX_DIGITS * 4 or (digits - 1) * abs(exponent) > MAX_DIGITS:  # 2 ** 120 is past 30 digits
        raise BadPlan(POWER_TOO_LARGE)
    value = base**exponent.numerator
    if max(abs(value.numerator), value.denominator) >= 10**MAX_DIGITS:
        raise BadPlan(POWER_TOO_LARGE)
    return value


def word_count(text: Annotated[str, Field(min_length=1, max_length=MAX_TEXT), FromQuestion("text")]) -> str:
    """Count the words of a text, between spaces.

    Chinese and Japanese without spaces are refused: spaces do not say there what a word is.

    >>> word_count("one two")
    '2'
    """
    if " " not in text.strip() and UNSEPARATED.search(text):
        raise BadPlan(NO_SPACES_BETWEEN)
    return str(len(text.split()))


def none(reason: Reason) -> str:
    """Say that no tool answers the question or a part of it, and why.

    >>> none("no tool fits")
    'no tool fits'
    """
    return reason


PUBLISHED = Offer(TOOLS, plan.MAX_STEPS)
NEXT = Offer(toolbox(calculator, place, translate, word_count, none), 3)
