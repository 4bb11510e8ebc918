"""The four tools of the agent, and the rules of a plan. Plain Python: neither torch nor mlx.

A plan is JSON: {"steps": [{"tool": "calculator", "arguments": {"expression": "47 + 38"}}, ...]}, one or two steps.
"$1" in a later argument stands for the first step's result. Nothing in a plan is ever run as code.
"""

from __future__ import annotations

import ast
import json
import operator
from collections.abc import Callable
from functools import cache

from training.world import LANGUAGE_NAMES, LANGUAGES, index, table, words

ARGUMENTS = {"calculator": ("expression",), "place": ("name", "field"), "translate": ("word", "to"), "word_count": ("text",)}
FIELDS = ("country", "city", "capital", "continent", "language", "currency")
MAX_STEPS, MAX_LENGTH = 2, 1000          # steps of a plan; characters of its text
OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul}


class PlanError(ValueError):
    """What is wrong with a plan, in one sentence that goes back to the model."""


def system_prompt(tools=tuple(ARGUMENTS)) -> str:
    """The system message that turns a question into a request for a plan.

    >>> print(system_prompt(("calculator",)))
    Plan with tools. Answer in JSON.
    calculator(expression)
    """
    return "\n".join(["Plan with tools. Answer in JSON.", *(f"{tool}({', '.join(ARGUMENTS[tool])})" for tool in tools)])


def write_plan(*steps: tuple[str, dict[str, str]]) -> str:
    """A plan as JSON text, from (tool, arguments) pairs."""
    return json.dumps({"steps": [{"tool": tool, "arguments": arguments} for tool, arguments in steps]}, ensure_ascii=False)


def read_plan(text: str) -> list[tuple[str, dict[str, str]]]:
    """The steps of a plan, checked. Raises PlanError.

    >>> read_plan('{"steps": [{"tool": "word_count", "arguments": {"text": "a b"}}]}')
    [('word_count', {'text': 'a b'})]
    """
    if len(text) > MAX_LENGTH:
        raise PlanError("the plan is too long.")
    try:
        plan = json.loads(text)
    except (json.JSONDecodeError, RecursionError):
        raise PlanError("the plan is not JSON.") from None
    if not isinstance(plan, dict) or set(plan) != {"steps"} or not isinstance(plan["steps"], list):
        raise PlanError('the plan must be an object with "steps".')
    if not 1 <= len(plan["steps"]) <= MAX_STEPS:
        raise PlanError(f"the plan must have 1 to {MAX_STEPS} steps.")
    steps = []
    for number, step in enumerate(plan["steps"], 1):
        if not isinstance(step, dict) or set(step) != {"tool", "arguments"} or not isinstance(step["arguments"], dict):
            raise PlanError(f'step {number} must have "tool" and "arguments".')
        tool, arguments = step["tool"], step["arguments"]
        if not isinstance(tool, str) or tool not in ARGUMENTS:
            raise PlanError(f"step {number}: there is no tool {json.dumps(tool, ensure_ascii=False)[:40]}.")
        if set(arguments) != set(ARGUMENTS[tool]):
            raise PlanError(f"step {number}: {tool} needs {', '.join(ARGUMENTS[tool])}.")
        for name, value in arguments.items():
            if not isinstance(value, str):
                raise PlanError(f"step {number}: {name} must be a string.")
            for later in range(number, 10):
                if f"${later}" in value:
                    raise PlanError(f"step {number}: ${later} is not known yet.")
        steps.append((tool, arguments))
    return steps


def run_plan(steps: list[tuple[str, dict[str, str]]], language: str | None = None) -> list[str]:
    """The result of each step. Raises PlanError where a tool cannot do what it is asked.

    >>> run_plan([("calculator", {"expression": "47 + 38"}), ("calculator", {"expression": "$1 * 2"})])
    ['85', '170']
    """
    results: list[str] = []
    for number, (tool, arguments) in enumerate(steps, 1):
        filled = dict(arguments)
        for i, result in enumerate(results, 1):
            filled = {name: value.replace(f"${i}", result) for name, value in filled.items()}
        try:
            results.append(TOOLS[tool](**filled, language=language))
        except PlanError as error:
            raise PlanError(f"step {number}: {error}") from None
    return results


def calculator(expression: str, language: str | None = None) -> str:
    """Whole numbers with + - *; x and × are read as *.

    >>> calculator("47 + 38")
    '85'
    """
    if len(expression) > 40:
        raise PlanError("the expression is too long.")

    def value(node) -> int:
        match node:
            case ast.Constant(value=int(number)) if not isinstance(number, bool):
                return number
            case ast.UnaryOp(op=ast.USub(), operand=inner):
                return -value(inner)
            case ast.BinOp(left=left, op=sign, right=right) if type(sign) in OPERATORS:
                return OPERATORS[type(sign)](value(left), value(right))
        raise PlanError("the calculator knows whole numbers with + - *.")

    try:
        return str(value(ast.parse(expression.replace("×", "*").replace(" x ", " * "), mode="eval").body))
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        if isinstance(error, PlanError):
            raise
        raise PlanError("the calculator knows whole numbers with + - *.") from None


def plain(name: str) -> str:
    """A name as people may write it: without article and capitals."""
    name = " ".join(name.casefold().split())
    for article in ("the ", "el ", "la ", "los ", "las ", "a ", "an "):
        name = name.removeprefix(article)
    return name


@cache
def known(kind: str) -> dict[str, list[tuple[str, dict[str, str]]]]:
    """Every name of the places or words, in every language: [(language, row), ...]."""
    rows = [*table("countries"), *table("cities"), *table("landmarks")] if kind == "places" else \
        [row for k in ("animal", "fruit", "thing", "colour", "language", "currency", "continent") for row in words(k)]
    found: dict[str, list] = {}
    for row in rows:
        for language in LANGUAGES:
            found.setdefault(plain(row[language]), []).append((language, row))
    return found


def rows_of(kind: str, name: str, language: str | None, wanted=lambda row: True) -> list[tuple[str, dict[str, str]]]:
    """(language, row) of a name, those of the asker's language first."""
    found = [entry for entry in known(kind).get(plain(name), []) if wanted(entry[1])]
    return sorted(found, key=lambda entry: entry[0] != language)


def place(name: str, field: str, language: str | None = None) -> str:
    """A fact about a city (country), a landmark (city, country) or a country, in the language of the name.

    >>> place("Kenya", "capital")
    'Nairobi'
    """
    if field not in FIELDS:
        raise PlanError(f"field must be one of {', '.join(FIELDS)}.")
    entries = rows_of("places", name, language)
    if not entries:
        raise PlanError(f"no place is called {name[:40]}.")
    for spoken, row in entries:
        if field in ("country", "city") and field in row:
            return index("countries" if field == "country" else "cities")[row[field]][spoken]
        if field == "country" and "city" in row:
            return index("countries")[index("cities")[row["city"]]["country"]][spoken]
        if field == "capital" and "capital" in row:
            return index("cities")[row["capital"]][spoken]
        if field in ("continent", "language", "currency") and field in row:
            return index("words", field)[row[field]][spoken]
    raise PlanError(f"{name[:40]} has no {field}.")


def translate(word: str, to: str, language: str | None = None) -> str:
    """A word or the name of a place in another language; `to` is the language's English name.

    >>> translate("cat", "Korean")
    '고양이'
    """
    target = {name.casefold(): code for code, name in LANGUAGE_NAMES.items()}.get(to.casefold())
    if target is None:
        raise PlanError(f"to must be one of {', '.join(LANGUAGE_NAMES.values())}.")
    entries = rows_of("words", word, language) or rows_of("places", word, language)
    if not entries:
        raise PlanError(f"the dictionary has no {word[:40]}.")
    return entries[0][1][target]


def word_count(text: str, language: str | None = None) -> str:
    """How many words between spaces a text has.

    >>> word_count("one two")
    '2'
    """
    return str(len(text.split()))


TOOLS: dict[str, Callable[..., str]] = {"calculator": calculator, "place": place, "translate": translate, "word_count": word_count}


def results_turn(results: list[str]) -> str:
    """What the agent says to the model after the tools have run.

    >>> results_turn(["85"])
    'Results:\\n$1 = 85'
    """
    return "\n".join(["Results:", *(f"${i} = {result}" for i, result in enumerate(results, 1))])


def error_turn(error: PlanError) -> str:
    """What the agent says to the model when its plan cannot be used."""
    return f"Error: {error} Send the corrected plan."


def work(ask: Callable[[list[dict[str, str]]], str], messages: list[dict[str, str]], language: str | None = None) -> tuple[list[str], str | None]:
    """One task from plan to final answer: plan, at most one repair, tools, answer.

    Args:
        ask: gives the model's answer to messages.
        messages: system prompt and request.

    Returns the plan texts that the model wrote, and its final answer (None where no plan could be used).
    """
    messages, plans = list(messages), []
    for _ in range(2):
        text = ask(messages)
        plans.append(text)
        messages.append({"role": "assistant", "content": text})
        try:
            results = run_plan(read_plan(text), language)
        except PlanError as error:
            messages.append({"role": "user", "content": error_turn(error)})
            continue
        messages.append({"role": "user", "content": results_turn(results)})
        return plans, ask(messages)
    return plans, None
