"""The tools an agent may use: Python functions on an allow-list, each with a schema of its arguments.

A function becomes a tool by `toolbox`. Its parameters are the arguments that a plan gives, checked by pydantic against
their annotations; a keyword-only `language` is filled in by the agent. Nothing here runs code that a model wrote: a
plan names a tool and hands over values.
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
from typing import Annotated, Any, Literal, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, PydanticUserError, create_model

from labs_helper.errors import BadPlan, BadRequest
from labs_helper.world import LANGUAGE_NAMES, LANGUAGES, index, table, words

MAX_EXPRESSION = 40  # characters the calculator reads
MAX_DIGITS = 30  # of a power; a larger one is refused
MAX_TEXT = 2000  # characters of an argument and of a result
Name = Annotated[str, Field(min_length=1, max_length=60)]

# -- functions as tools -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tool:
    """One function on the allow-list.

    arguments: a pydantic model of what a plan must give.
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
        """How the tool is offered to a model. Example: `TOOLS["place"].signature` is "place(name, field)"."""
        return f"{self.name}({', '.join(self.arguments.model_fields)})"


def toolbox(*functions: Callable[..., Any]) -> dict[str, Tool]:
    """Tools by name, from functions whose parameters are annotated with plain types.

    Raises BadRequest for a function that cannot be described that way.

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
        raise BadRequest(f"{function!r} is not a named function.", "Give the function itself, without brackets.")
    advice = "Write it as def name(first: str, second: int) -> str, with a type for each parameter."
    fields, wants_language = {}, False
    try:
        hints = get_type_hints(function, include_extras=True)
        for parameter in inspect.signature(function).parameters.values():
            if parameter.kind is parameter.KEYWORD_ONLY and parameter.name == "language":
                wants_language = True
            elif parameter.kind is not parameter.POSITIONAL_OR_KEYWORD or parameter.name not in hints:
                raise BadRequest(f"The parameter {parameter.name} of {name} has no type.", advice)
            else:
                default = ... if parameter.default is parameter.empty else parameter.default
                fields[parameter.name] = (hints[parameter.name], default)
        arguments = create_model(name, __config__=ConfigDict(extra="forbid"), **fields)
        described = arguments.model_json_schema()
    except (NameError, TypeError, ValueError, PydanticUserError) as error:
        raise BadRequest(f"{name} cannot be a tool ({type(error).__name__}).", advice) from error
    if "$defs" in described:
        raise BadRequest(f"The parameters of {name} are not plain.", "Use str, int, float, bool, Literal or lists.")
    about = (inspect.getdoc(function) or "").split("\n")[0]
    return Tool(name, about, function, arguments, wants_language)


# -- calculator -------------------------------------------------------------------------------------------

OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}
REFUSED = "the calculator knows numbers with + - * / ** % and brackets."
TOO_LARGE = "that power is too large for the calculator."
SIGNS = str.maketrans({"×": "*", "÷": "/", "−": "-", "％": "%"})
PERCENT = re.compile(r"(\d+(?:\.\d+)?) ?%(?! ?[\d(.])")  # a number and its sign, not the remainder of a division


def calculator(expression: Annotated[str, Field(min_length=1, max_length=MAX_EXPRESSION)]) -> str:
    """Work out a sum such as (47 + 38) * 2, with the signs + - * / ** % and brackets.

    × and x are read as *, ^ as **, and 12% as 12 hundredths. The text is parsed, never run: only numbers and these
    signs are looked at. A power of more than 30 digits is refused before it is worked out. Raises BadPlan for anything
    else.

    >>> calculator("47 + 38"), calculator("12% * 250"), calculator("2 ** 10")
    ('85', '30', '1024')
    """
    if len(expression) > MAX_EXPRESSION:
        raise BadPlan("the expression is too long.")
    text = expression.translate(SIGNS).replace(" x ", " * ").replace("^", "**")
    if not re.fullmatch(r"[0-9 .+\-*/()%]+", text):
        raise BadPlan(REFUSED)
    text = PERCENT.sub(r"(\1 / 100)", text)
    try:
        return _plain_number(_value(ast.parse(text.strip(), mode="eval").body))
    except ZeroDivisionError:
        raise BadPlan("nothing can be divided by zero.") from None
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise BadPlan(REFUSED) from None


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
    raise BadPlan(REFUSED)


def _power(base: Fraction, exponent: Fraction) -> Fraction:
    """A power with a whole exponent. Its size is estimated first: 9 ** 9 ** 9 would fill the memory."""
    if exponent.denominator != 1:
        raise BadPlan("the calculator knows only whole powers.")
    digits = max(len(str(abs(base.numerator))), len(str(base.denominator)))
    if abs(exponent) > MAX_DIGITS * 4 or (digits - 1) * abs(exponent) > MAX_DIGITS:  # 2 ** 120 is past 30 digits
        raise BadPlan(TOO_LARGE)
    value = base**exponent.numerator
    if max(abs(value.numerator), value.denominator) >= 10**MAX_DIGITS:
        raise BadPlan(TOO_LARGE)
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
        else [row for each in DICTIONARY for row in words(each)]
    )
    found: dict[str, list] = {}
    for row in rows:
        for language in LANGUAGES:
            found.setdefault(_folded(row[language]), []).append((language, row))
    return found


def _rows_of(kind: str, name: str, language: str | None) -> list[tuple[str, dict[str, str]]]:
    """(language, row) of a name, those of the asker's language first."""
    return sorted(_known(kind).get(_folded(name), []), key=lambda entry: entry[0] != language)


Fact = Literal["country", "city", "capital", "continent", "language", "currency"]


def place(name: Name, field: Fact, *, language: str | None = None) -> str:
    """Look up a fact about a country, a city (its country) or a landmark (its city or country).

    The answer is in the language of the name; `language`, the asker's ("en", "zh", ...), decides where a name is the
    same in several. Raises BadPlan for what the course does not know. Source: data/world.

    >>> place("Kenya", "capital")
    'Nairobi'
    """
    entries = _rows_of("places", name, language)
    if not entries:
        raise BadPlan(f"no place is called {name[:40]}.")
    for spoken, row in entries:
        if field in ("country", "city") and field in row:
            return index("countries" if field == "country" else "cities")[row[field]][spoken]
        if field == "country" and "city" in row:
            return index("countries")[index("cities")[row["city"]]["country"]][spoken]
        if field == "capital" and "capital" in row:
            return index("cities")[row["capital"]][spoken]
        if field in ("continent", "language", "currency") and field in row:
            return index("words", field)[row[field]][spoken]
    raise BadPlan(f"{name[:40]} has no {field}.")


def translate(word: Name, to: Literal[tuple(LANGUAGE_NAMES.values())], *, language: str | None = None) -> str:
    """Translate a word, or the name of a place, with the course's dictionary.

    Raises BadPlan for an unknown word or language. Source: data/world.

    >>> translate("cat", "Korean")
    '고양이'
    """
    target = {name: code for code, name in LANGUAGE_NAMES.items()}.get(to)
    if target is None:
        raise BadPlan(f"to must be one of {', '.join(LANGUAGE_NAMES.values())}.")
    entries = _rows_of("words", word, language) or _rows_of("places", word, language)
    if not entries:
        raise BadPlan(f"the dictionary has no {word[:40]}.")
    return entries[0][1][target]


UNSEPARATED = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]{2}")  # Chinese and Japanese write words without spaces


def word_count(text: Annotated[str, Field(min_length=1, max_length=MAX_TEXT)]) -> str:
    """Count the words of a text, between spaces.

    Raises BadPlan for Chinese and Japanese without spaces: what a word is there, spaces do not say.

    >>> word_count("one two")
    '2'
    """
    if " " not in text.strip() and UNSEPARATED.search(text):
        raise BadPlan("only words between spaces can be counted.")
    return str(len(text.split()))


# -- nothing fits -----------------------------------------------------------------------------------------

# Why a question, or a part of it, is not answered: no tool does such things; a tool does not know the name; the
# calculator refuses; the words have no spaces between them.
REASONS = ("no tool fits", "not known", "no such sum", "no spaces")


def none(reason: Literal[REASONS]) -> str:
    """Say that no tool answers the question or a part of it, and why.

    >>> none("no tool fits")
    'no tool fits'
    """
    return reason


TOOLS = toolbox(calculator, place, translate, word_count, none)
