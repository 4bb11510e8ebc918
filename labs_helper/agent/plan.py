"""What a plan is: the words that ask for one, the JSON it is written in, and how it is checked and run.

A plan: {"steps": [{"tool": "calculator", "arguments": {"expression": "47 + 38"}}, ...]}. "$1" in a later argument
stands for the first step's result. `moe-tiny` was trained on exactly these words.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args, get_origin

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from labs_helper.agent.tools import MAX_TEXT, TOOLS, Tool
from labs_helper.errors import BadPlan

MAX_STEPS = 3  # steps of a plan
MAX_LENGTH = 1000  # characters of a plan's text, for each step
MAX_WRITTEN = 300  # characters of one argument, where the schema guides the model
REFERENCE = re.compile(r"\$([1-9])(?!\d)")  # "$10" is ten dollars

# What each of pydantic's complaints about a type means, in words that a small model can follow.
TYPES = {
    "string": "a string",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "list": "a list",
    "tuple": "a list",
}


class Step(NamedTuple):
    """One step of a plan. Example: `Step("place", {"name": "Kenya", "field": "capital"})`."""

    tool: str
    arguments: dict[str, Any]


class _Step(BaseModel):
    model_config = ConfigDict(extra="forbid")
    tool: str
    arguments: dict[str, JsonValue]


class _Plan(BaseModel):
    model_config = ConfigDict(extra="forbid")
    steps: list[_Step]


# -- words ------------------------------------------------------------------------------------------------


def system_prompt(tools: Mapping[str, Tool] = TOOLS, detailed: bool = False, max_steps: int = MAX_STEPS) -> str:
    """The system message that turns a question into a request for a plan.

    detailed: say in full what a plan is and what each tool does, for models that were not trained on it.

    >>> print(system_prompt({"calculator": TOOLS["calculator"]}))
    Plan with tools. Answer in JSON.
    calculator(expression)
    """
    if not detailed:
        return "\n".join(["Plan with tools. Answer in JSON.", *(tool.signature for tool in tools.values())])
    first_two = list(tools.values())[:2]
    example = write_plan(*((tool.name, dict.fromkeys(tool.arguments.model_fields, "...")) for tool in first_two))
    return "\n".join(
        [
            "First plan which tools answer the question. Answer with the plan only, as JSON, in one line.",
            f"A plan looks like this: {example}",
            f'It has 1 to {max_steps} steps. In a later step "$1" stands for the result of step 1.',
            "Then you get the results. Answer the question from them in one sentence, without JSON.",
            "The tools:",
            *(f"{tool.signature}: {tool.about} {_choices(tool)}".rstrip() for tool in tools.values()),
        ]
    )


def _choices(tool: Tool) -> str:
    """The fixed choices among a tool's arguments, as a sentence each."""
    options = {name: _options(tool, name) for name in tool.arguments.model_fields}
    return " ".join(f"{name} is one of {', '.join(values)}." for name, values in options.items() if values)


def _options(tool: Tool, name: str) -> tuple[str, ...]:
    """The values an argument is limited to; none where it is not."""
    annotation = tool.arguments.model_fields[name].annotation
    return tuple(map(str, get_args(annotation))) if get_origin(annotation) is Literal else ()


def results_turn(results: Sequence[str]) -> str:
    """What the agent says to the model after the tools have run.

    >>> results_turn(["85"])
    'Results:\\n$1 = 85'
    """
    return "\n".join(["Results:", *(f"${i} = {result}" for i, result in enumerate(results, 1))])


def error_turn(error: BadPlan) -> str:
    """What the agent says to the model when its plan cannot be used.

    >>> error_turn(BadPlan("the plan is not JSON."))
    'Error: the plan is not JSON. Send the corrected plan.'
    """
    return f"Error: {error.what} Send the corrected plan."


def write_plan(*steps: tuple[str, Mapping[str, Any]]) -> str:
    """A plan as JSON text, from (tool, arguments) pairs.

    >>> write_plan(("word_count", {"text": "a b"}))
    '{"steps": [{"tool": "word_count", "arguments": {"text": "a b"}}]}'
    """
    return json.dumps(
        {"steps": [{"tool": tool, "arguments": dict(given)} for tool, given in steps]}, ensure_ascii=False
    )


# -- schema -----------------------------------------------------------------------------------------------


def plan_schema(tools: Mapping[str, Tool] = TOOLS, max_steps: int = MAX_STEPS, max_written: int = MAX_WRITTEN) -> dict:
    """The JSON schema of a plan, for `Model.ask(schema=...)`: whatever it lets through, `read_plan` accepts.

    Each place in the list has a schema of its own, since step 1 may not speak of "$1". The promise holds for tools that
    take texts, numbers and choices, as those of the course do.
    max_written: characters of the longest argument.

    Example:
        model.ask(question, system=system_prompt(), schema=plan_schema(), max_tokens=200)
    """
    steps = [
        {"anyOf": [_step_schema(tool, number, max_written) for tool in tools.values()]}
        for number in range(1, max_steps + 1)
    ]
    return _object({"steps": {"type": "array", "prefixItems": steps, "items": False, "minItems": 1}})


def _object(properties: dict, required: Sequence[str] | None = None) -> dict:
    names = list(properties) if required is None else list(required)
    return {"type": "object", "properties": properties, "required": names, "additionalProperties": False}


def _step_schema(tool: Tool, number: int, longest: int) -> dict:
    described = tool.arguments.model_json_schema()
    arguments = {
        name: _argument_schema(part, number, longest) for name, part in described.get("properties", {}).items()
    }
    arguments = _object(arguments, described.get("required", ()))
    return _object({"tool": {"const": tool.name}, "arguments": arguments})


def _argument_schema(described: dict, number: int, longest: int) -> dict:
    described = {key: value for key, value in described.items() if key not in ("title", "default")}
    if described.get("type") == "string" and not described.keys() & {"enum", "const", "pattern"}:
        # No dollar sign before the number of this step or of a later one.
        described["pattern"] = rf"^([^$]|\$+[^${number}-9])*\$*$"
        described["maxLength"] = min(described.get("maxLength", longest), longest)
    elif described.get("type") in ("integer", "number") and number > 1:
        return {"anyOf": [described, {"enum": [f"${earlier}" for earlier in range(1, number)]}]}
    return described


# -- checking ---------------------------------------------------------------------------------------------


def read_plan(text: str, tools: Mapping[str, Tool] = TOOLS, max_steps: int = MAX_STEPS) -> list[Step]:
    """The steps of a plan, all of them checked before any runs. Raises BadPlan.

    >>> read_plan('{"steps": [{"tool": "word_count", "arguments": {"text": "a b"}}]}')
    [Step(tool='word_count', arguments={'text': 'a b'})]
    """
    if len(text) > MAX_LENGTH * max_steps:
        raise BadPlan("the plan is too long.")
    try:
        plan = _Plan.model_validate_json(text.encode(errors="replace"))  # half a character is no error of its own
    except ValidationError as error:
        raise _not_a_plan(error) from None
    if not 1 <= len(plan.steps) <= max_steps:
        raise BadPlan(f"the plan must have 1 to {max_steps} steps.")
    return [_checked(step, number, tools) for number, step in enumerate(plan.steps, 1)]


def _not_a_plan(error: ValidationError) -> BadPlan:
    """What is wrong with the form of a plan, in one sentence."""
    first = error.errors(include_url=False)[0]
    match first["loc"]:
        case () if first["type"] == "json_invalid":
            return BadPlan("the plan is not JSON.")
        case ("steps", int(place), "tool") if first["type"] == "string_type":
            return _no_tool(place + 1, first["input"])
        case ("steps", int(place), *_):
            return BadPlan(f'step {place + 1} must have "tool" and "arguments".')
    return BadPlan('the plan must be an object with "steps".')


def _no_tool(number: int, name: object) -> BadPlan:
    return BadPlan(f"step {number}: there is no tool {json.dumps(name, ensure_ascii=False)[:40]}.")


def _checked(step: _Step, number: int, tools: Mapping[str, Tool]) -> Step:
    if step.tool not in tools:
        raise _no_tool(number, step.tool)
    _check_arguments(tools[step.tool], step.arguments, number)
    return Step(step.tool, step.arguments)


def _check_arguments(tool: Tool, arguments: Mapping[str, Any], number: int) -> None:
    """Check what can be known before the steps run: a value with a reference in it gets its type later."""
    complaints = []
    try:
        tool.arguments.model_validate(arguments)
    except ValidationError as error:
        complaints = error.errors(include_url=False, include_context=False)
    if any(each["type"] in ("missing", "extra_forbidden") for each in complaints):
        raise BadPlan(f"step {number}: {tool.name} needs {', '.join(tool.arguments.model_fields)}.")
    for each in complaints:
        if not _references(each["input"]):
            raise BadPlan(f"step {number}: {_complaint(tool, each)}")
    for value in arguments.values():
        for reference in _references(value):
            if reference >= number:
                raise BadPlan(f"step {number}: ${reference} is not known yet.")


def _references(value: object) -> list[int]:
    return [int(number) for number in REFERENCE.findall(value)] if isinstance(value, str) else []


def _complaint(tool: Tool, error: Mapping[str, Any]) -> str:
    """One of pydantic's errors about an argument, in one short sentence."""
    name, kind = str(error["loc"][0]), error["type"]
    if kind == "literal_error" and not isinstance(error["input"], str):
        return f"{name} must be {TYPES['string']}."
    if kind == "literal_error":
        return f"{name} must be one of {', '.join(_options(tool, name))}."
    if kind == "string_too_long":
        return f"the {name} is too long."
    if kind == "string_too_short":
        return f"the {name} is empty."
    wanted = TYPES.get(kind.split("_")[0])
    return f"{name} must be {wanted}." if wanted else f"{name} does not fit: {error['msg'][:80]}."


# -- running ----------------------------------------------------------------------------------------------


def run_plan(
    steps: Sequence[Step], tools: Mapping[str, Tool] = TOOLS, language: str | None = None, seconds: float | None = None
) -> list[str]:
    """The result of each step. Raises BadPlan where a tool cannot do what it is asked.

    language: the asker's, for tools that want to know.
    seconds: the longest time for one tool; None does not look at the clock.

    >>> run_plan([Step("calculator", {"expression": "47 + 38"}), Step("calculator", {"expression": "$1 * 2"})])
    ['85', '170']
    """
    results: list[str] = []
    for step in steps:
        results.append(run_step(step, results, tools, language, seconds)[1])
    return results


def run_step(
    step: Step, results: Sequence[str], tools: Mapping[str, Tool] = TOOLS, language: str | None = None,
    seconds: float | None = None,
) -> tuple[dict[str, Any], str]:  # fmt: skip
    """The arguments of the next step with earlier results filled in, and what the tool gives for them.

    results: what the steps before this one gave. The rest as for `run_plan`.

    >>> run_step(Step("calculator", {"expression": "$1 * 2"}), ["85"])
    ({'expression': '85 * 2'}, '170')
    """
    number, (name, arguments) = len(results) + 1, step
    if name not in tools:
        raise _no_tool(number, name)

    def fill(value):
        # In one pass, so that a result that happens to hold "$2" stays as it is.
        return REFERENCE.sub(lambda m: results[int(m[1]) - 1], value) if isinstance(value, str) else value

    _check_arguments(tools[name], arguments, number)
    filled = {key: fill(value) for key, value in arguments.items()}
    try:
        checked = tools[name].arguments.model_validate(filled)
    except ValidationError as error:
        complaint = error.errors(include_url=False, include_context=False)[0]
        raise BadPlan(f"step {number}: {_complaint(tools[name], complaint)}") from None
    values = {key: getattr(checked, key) for key in type(checked).model_fields}
    if tools[name].wants_language:
        values["language"] = language
    try:
        result = str(_within(seconds, lambda: tools[name].function(**values)))
    except BadPlan as error:
        raise BadPlan(f"step {number}: {error.what}") from None
    except _TooLong:
        raise BadPlan(f"step {number}: {name} took too long.") from None
    except Exception as error:  # a learner's own tool may raise anything, and the agent must go on
        raise BadPlan(f"step {number}: {name} failed ({type(error).__name__}).") from error
    if len(result) > MAX_TEXT:
        raise BadPlan(f"step {number}: the result of {name} is too long.")
    return filled, result


class _TooLong(Exception):
    """A tool had no result in time."""


def _within(seconds: float | None, call):
    """What a function returns. Raises _TooLong; a function that never ends is left behind in its thread."""
    if seconds is None:
        return call()
    outcome: list = []

    def work():
        try:
            outcome.append((call(), None))
        except BaseException as error:
            outcome.append((None, error))

    thread = threading.Thread(target=work, name="labs-tool", daemon=True)
    thread.start()
    thread.join(max(seconds, 0))
    if not outcome:
        raise _TooLong
    result, error = outcome[0]
    if error is not None:
        raise error
    return result
