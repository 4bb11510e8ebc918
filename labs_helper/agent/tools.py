"""The tools an agent may use: Python functions on an allow-list, each with a schema of its arguments.

A function becomes a tool by `toolbox`. Its parameters are the arguments that a plan hands over, checked by pydantic
against their annotations; a keyword-only `language` is filled in by the agent. Nothing here runs code that a model
wrote: a plan names a tool and hands over values.

Models read the names of these functions, of their parameters and choices, and the first lines of their docstrings.
`moe-tiny` was trained on them, so they stay as they are (`labs_helper.agent.sentences`).
"""

from __future__ import annotations

import ast
import inspect
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Annotated, Any, Literal, get_args, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, PydanticUserError, create_model

from labs_helper.agent import sentences
from labs_helper.agent.spans import FromQuestion
from labs_helper.agent.world import LANGUAGE_NAMES, LANGUAGES, LanguageName, index, table, words
from labs_helper.common.translate import _
from labs_helper.errors import BadPlan, BadRequest

MAX_EXPRESSION = 40  # characters the calculator reads
MAX_DIGITS = 30  # of a power; a larger one is refused
MAX_TEXT = 2000  # characters of an argument and of a result
Name = Annotated[str, Field(min_length=1, max_length=60), FromQuestion("name")]

# -- functions as tools -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tool:
    """One function on the allow-list.

    Attributes:
        name: of the function, and what a plan calls it.
        about: the first line of its docstring.
        function: the function.
        arguments: a pydantic model of what a plan must hand over.
        wants_language: whether the agent tells it the asker's language.

    Example:
        TOOLS["place"].arguments.model_json_schema()
    """

    name: str
    about: str
    function: Callable[..., Any]
    arguments: type[BaseModel]
    wants_language: bool

    @property
    def signature(self) -> str:
        """How the tool is offered to a model.

        Example:
            TOOLS["place"].signature      # "place(name, field)"
        """
        return f"{self.name}({', '.join(self.arguments.model_fields)})"


def toolbox(*functions: Callable[..., Any]) -> dict[str, Tool]:
    """Tools by name, from functions whose parameters are annotated with plain types.

    Raises:
        BadRequest: a function cannot be described that way.

    Example:
        def shout(text: str) -> str:
            "A text in capital letters."
            return text.upper()
        tools = TOOLS | toolbox(shout)
    """
    return {tool.name: tool for tool in map(_tool, functions)}


def _tool(function: Callable[..., Any]) -> Tool:
    name = getattr(function, "__name__", "")
    if not callable(function) or not name.isidentifier():
        raise BadRequest(
            _("{function!r} is not a named function.").format(function=function),
            _("Give the function itself, without brackets."),
        )
    advice = _("Write it as def name(first: str, second: int) -> str, with a type for each parameter.")
    fields: dict[str, Any] = {}
    wants_language = False
    try:
        hints = get_type_hints(function, include_extras=True)
        for parameter in inspect.signature(function).parameters.values():
            if parameter.kind is parameter.KEYWORD_ONLY and parameter.name == "language":
                wants_language = True
            elif parameter.kind is not parameter.POSITIONAL_OR_KEYWORD or parameter.name not in hints:
                raise BadRequest(
                    _("The parameter {parameter} of {function} has no type.").format(
                        parameter=parameter.name, function=name
                    ),
                    advice,
                )
            else:
                default = ... if parameter.default is parameter.empty else parameter.default
                fields[parameter.name] = (hints[parameter.name], default)
        arguments = create_model(name, __config__=ConfigDict(extra="forbid"), **fields)
        described = arguments.model_json_schema()
    except (NameError, TypeError, ValueError, PydanticUserError) as error:
        raise BadRequest(
            _("{function} cannot be a tool ({error}).").format(function=name, error=type(error).__name__), advice
        ) from error
    if "$defs" in described:
        raise BadRequest(
            _("{function} has a parameter of a type that a tool cannot take.").format(function=name),
            _("Use str, int, float, bool, Literal or lists."),
        )
    about = (inspect.getdoc(function) or "").split("\n")[0]
    return Tool(name, about, function, arguments, wants_language)


# -- calculator -------------------------------------------------------------------------------------------

OPERATORS: dict[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
SIGNS = str.maketrans({"×": "*", "÷": "/", "−": "-", "％": "%"})
PERCENT = re.compile(r"(\d+(?:\.\d+)?) ?%(?! ?[\d(.])")  # a number and its sign, not the remainder of a division


def calculator(expression: Annotated[str, Field(min_length=1, max_length=MAX_EXPRESSION)]) -> str:
    """Work out a sum such as (47 + 38) * 2, with the signs + - * / ** % and brackets.

    × and x are read as *, ^ as **, and 12% as 12 hundredths. The text is parsed, never run: only numbers and these
    signs are looked at. A power of more than 30 digits is refused before it is worked out.

    Raises:
        BadPlan: the text is anything else.

    Example:
        >>> calculator("47 + 38"), calculator("12% * 250"), calculator("2 ** 10")
        ('85', '30', '1024')
    """
    if len(expression) > MAX_EXPRESSION:
        raise BadPlan(sentences.EXPRESSION_TOO_LONG)
    text = expression.translate(SIGNS).replace(" x ", " * ").replace("^", "**")
    if not re.fullmatch(r"[0-9 .+\-*/()%]+", text):
        raise BadPlan(sentences.EXPRESSION_REFUSED)
    text = PERCENT.sub(r"(\1 / 100)", text)
    try:
        return _plain_number(_value(ast.parse(text.strip(), mode="eval").body))
    except ZeroDivisionError:
        raise BadPlan(sentences.DIVISION_BY_ZERO) from None
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise BadPlan(sentences.EXPRESSION_REFUSED) from None


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
    raise BadPlan(sentences.EXPRESSION_REFUSED)


def _power(base: Fraction, exponent: Fraction) -> Fraction:
    """A power with a whole exponent. Its size is estimated first: 9 ** 9 ** 9 would fill the memory."""
    if exponent.denominator != 1:
        raise BadPlan(sentences.POWER_NOT_WHOLE)
    digits = max(len(str(abs(base.numerator))), len(str(base.denominator)))
    if abs(exponent) > MAX_DIGITS * 4 or (digits - 1) * abs(exponent) > MAX_DIGITS:  # 2 ** 120 is past 30 digits
        raise BadPlan(sentences.POWER_TOO_LARGE)
    value = base**exponent.numerator
    if max(abs(value.numerator), value.denominator) >= 10**MAX_DIGITS:
        raise BadPlan(sentences.POWER_TOO_LARGE)
    return value


def _plain_number(value: Fraction) -> str:
    return str(value.numerator) if value.denominator == 1 else f"{float(value):.10g}"


# -- what the course knows --------------------------------------------------------------------------------

ARTICLES = ("the ", "el ", "la ", "los ", "las ", "a ", "an ")
DICTIONARY = ("animal", "fruit", "thing", "colour", "language", "currency", "continent")


def _folded(name: str) -> str:
    """A name as people may write it: without article and capitals."""
    name = " ".join(name.casefold().split())
    for article in ARTICLES:
        name = name.removeprefix(article)
    return name


@cache
def _known(kind: str) -> dict[str, list[tuple[str, dict[str, str]]]]:
    """Every name of the places or words, in every language: [(language, row), ...]."""
    rows = (
        [*table("countries"), *table("cities"), *table("landmarks")]
        if kind == "places"
        else [row for word_kind in DICTIONARY for row in words(word_kind)]
    )
    by_name: dict[str, list[tuple[str, dict[str, str]]]] = {}
    for row in rows:
        for language in LANGUAGES:
            by_name.setdefault(_folded(row[language]), []).append((language, row))
    return by_name


def _rows_of(kind: str, name: str, language: str | None) -> list[tuple[str, dict[str, str]]]:
    """(language, row) of a name, those of the asker's language first."""
    return sorted(_known(kind).get(_folded(name), []), key=lambda entry: entry[0] != language)


Fact = Literal["country", "city", "capital", "continent", "language", "currency"]


def place(name: Name, field: Fact, *, language: str | None = None) -> str:
    """Look up a fact about a country, a city (its country) or a landmark (its city or country).

    The answer is in the language of the name; `language`, the asker's ("en", "zh", ...), decides where a name is the
    same in several. Source: data/world.

    Raises:
        BadPlan: the course does not know it.

    Example:
        >>> place("Kenya", "capital")
        'Nairobi'
    """
    entries = _rows_of("places", name, language)
    if not entries:
        raise BadPlan(sentences.NO_PLACE.format(name=name[:40]))
    for spoken, row in entries:
        if field in ("country", "city") and field in row:
            return index("countries" if field == "country" else "cities")[row[field]][spoken]
        if field == "country" and "city" in row:
            return index("countries")[index("cities")[row["city"]]["country"]][spoken]
        if field == "capital" and "capital" in row:
            return index("cities")[row["capital"]][spoken]
        if field in ("continent", "language", "currency") and field in row:
            return index("words", field)[row[field]][spoken]
    raise BadPlan(sentences.NO_FACT.format(name=name[:40], field=field))


def translate(word: Name, to: LanguageName, *, language: str | None = None) -> str:
    """Translate a word, or the name of a place, with the course's dictionary.

    Source: data/world.

    Raises:
        BadPlan: the word or the language is unknown.

    Example:
        >>> translate("cat", "Korean")
        '고양이'
    """
    target = {name: code for code, name in LANGUAGE_NAMES.items()}.get(to)
    if target is None:
        raise BadPlan(sentences.WRONG_CHOICE.format(name="to", choices=", ".join(LANGUAGE_NAMES.values())))
    entries = _rows_of("words", word, language) or _rows_of("places", word, language)
    if not entries:
        raise BadPlan(sentences.NO_WORD.format(word=word[:40]))
    return entries[0][1][target]


UNSEPARATED = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]{2}")  # Chinese and Japanese write words without spaces


def word_count(text: Annotated[str, Field(min_length=1, max_length=MAX_TEXT), FromQuestion("text")]) -> str:
    """Count the words of a text, between spaces.

    Raises:
        BadPlan: the text is Chinese or Japanese without spaces, which do not say there what a word is.

    Example:
        >>> word_count("one two")
        '2'
    """
    if " " not in text.strip() and UNSEPARATED.search(text):
        raise BadPlan(sentences.NO_SPACES)
    return str(len(text.split()))


# -- nothing fits -----------------------------------------------------------------------------------------

# Why a question, or a part of it, is not answered: no tool does such things; a tool does not know the name; the
# calculator refuses; the words have no spaces between them.
Reason = Literal["no tool fits", "not known", "no such sum", "no spaces"]
REASONS: tuple[Reason, ...] = get_args(Reason)


def none(reason: Reason) -> str:
    """Say that no tool answers the question or a part of it, and why.

    Example:
        >>> none("no tool fits")
        'no tool fits'
    """
    return reason


TOOLS = toolbox(calculator, place, translate, word_count, none)
