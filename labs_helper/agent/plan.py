"""What a plan is: how it is asked for, the JSON it is written in, and how it is checked and run.

A plan: {"steps": [{"tool": "calculator", "arguments": {"expression": "47 + 38"}}, ...]}. "$1" in a later argument
stands for the first step's result. The words that a model reads are in `labs_helper.agent.sentences`; `moe-tiny` was
trained on the form of the JSON as well.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args, get_origin

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from labs_helper.agent import sentences
from labs_helper.agent.spans import FromQuestion, parts_of
from labs_helper.agent.tools import MAX_TEXT, TOOLS, Tool
from labs_helper.common import timeouts
from labs_helper.errors import BadPlan

MAX_STEPS = 3  # steps of a plan
MAX_LENGTH = 1000  # characters of a plan's text, for each step
MAX_WRITTEN = 300  # characters of one argument, where the schema guides the model
REFERENCE = re.compile(r"\$([1-9])(?!\d)")  # "$10" is ten dollars

Schema = dict[str, Any]


class Step(NamedTuple):
    """One step of a plan.

    Example:
        Step("place", {"name": "Kenya", "field": "capital"})
    """

    tool: str
    arguments: dict[str, Any]


class _Step(BaseModel):
    model_config = ConfigDict(extra="forbid")
    tool: str
    arguments: dict[str, JsonValue]


class _Plan(BaseModel):
    model_config = ConfigDict(extra="forbid")
    steps: list[_Step]


# -- what the model is told --------------------------------------------------------------------------------


def system_prompt(tools: Mapping[str, Tool] = TOOLS, detailed: bool = False, max_steps: int = MAX_STEPS) -> str:
    """The system message that turns a question into a request for a plan.

    Args:
        tools: the tools that a plan may use.
        detailed: say in full what a plan is and what each tool does, for models that were not trained on it.
        max_steps: the most steps of a plan.

    Example:
        >>> print(system_prompt({"calculator": TOOLS["calculator"]}))
        Plan with tools. Answer in JSON.
        calculator(expression)
    """
    if not detailed:
        return "\n".join([sentences.REQUEST, *(tool.signature for tool in tools.values())])
    first_two = list(tools.values())[:2]
    example = write_plan(*((tool.name, dict.fromkeys(tool.arguments.model_fields, "...")) for tool in first_two))
    return "\n".join(
        [
            sentences.FULL_REQUEST.format(example=example, most=max_steps),
            *(
                sentences.FULL_TOOL.format(signature=tool.signature, about=tool.about, choices=_choices(tool)).rstrip()
                for tool in tools.values()
            ),
        ]
    )


def _choices(tool: Tool) -> str:
    """The fixed choices among a tool's arguments, as a sentence for each argument."""
    options = {name: _options(tool, name) for name in tool.arguments.model_fields}
    return " ".join(
        sentences.CHOICES.format(name=name, choices=", ".join(values)) for name, values in options.items() if values
    )


def _options(tool: Tool, name: str) -> tuple[str, ...]:
    """The values that an argument is limited to; none if it is not limited."""
    annotation = tool.arguments.model_fields[name].annotation
    return tuple(map(str, get_args(annotation))) if get_origin(annotation) is Literal else ()


def results_turn(results: Sequence[str]) -> str:
    """What the agent says to the model after the tools have run.

    Example:
        >>> results_turn(["85"])
        'Results:\\n$1 = 85'
    """
    lines = [sentences.RESULT.format(number=number, result=result) for number, result in enumerate(results, 1)]
    return "\n".join([sentences.RESULTS, *lines])


def error_turn(error: BadPlan) -> str:
    """What the agent says to the model when its plan cannot be used.

    Example:
        >>> error_turn(BadPlan("the plan is not JSON."))
        'Error: the plan is not JSON. Send the corrected plan.'
    """
    return sentences.ERROR.format(what=error.what)


def write_plan(*steps: tuple[str, Mapping[str, Any]]) -> str:
    """A plan as JSON text, from (tool, arguments) pairs.

    Example:
        >>> write_plan(("word_count", {"text": "a b"}))
        '{"steps": [{"tool": "word_count", "arguments": {"text": "a b"}}]}'
    """
    written = [{"tool": tool, "arguments": dict(arguments)} for tool, arguments in steps]
    return json.dumps({"steps": written}, ensure_ascii=False)


# -- schema -----------------------------------------------------------------------------------------------


def plan_schema(
    tools: Mapping[str, Tool] = TOOLS,
    max_steps: int = MAX_STEPS,
    max_written: int = MAX_WRITTEN,
    question: str | None = None,
) -> Schema:
    """The JSON schema of a plan, for `Model.ask(schema=...)`: `read_plan` accepts everything that fits it.

    Each place in the list has a schema of its own, since step 1 must not refer to "$1". The promise holds for tools
    that take texts, numbers and choices, as those of the course do.

    Args:
        tools: the tools that a plan may use.
        max_steps: the most steps of a plan.
        max_written: characters of the longest argument.
        question: what the plan is for. Arguments that tools mark with `FromQuestion` are then parts of it, or a
            reference to an earlier step; a question with too many parts limits nothing.

    Example:
        model.ask(question, system=system_prompt(), schema=plan_schema(question=question), max_tokens=200)
    """
    copies = {} if question is None else _copies(tools, question, max_written)
    steps = [
        {"anyOf": [_step_schema(tool, number, max_written, copies) for tool in tools.values()]}
        for number in range(1, max_steps + 1)
    ]
    return _object({"steps": {"type": "array", "prefixItems": steps, "items": False, "minItems": 1}})


def _object(properties: Schema, required: Sequence[str] | None = None) -> Schema:
    names = list(properties) if required is None else list(required)
    return {"type": "object", "properties": properties, "required": names, "additionalProperties": False}


def _copies(tools: Mapping[str, Tool], question: str, longest: int) -> dict[tuple[str, str], list[str]]:
    """(tool, argument) -> the parts of the question that it may be."""
    copies = {}
    for tool in tools.values():
        described = tool.arguments.model_json_schema().get("properties", {})
        for name, field in tool.arguments.model_fields.items():
            limit = min(longest, described[name].get("maxLength", longest))
            marks = [mark for mark in field.metadata if isinstance(mark, FromQuestion)]
            parts = parts_of(question, marks[0], limit) if marks else None
            if parts:
                copies[tool.name, name] = parts
    return copies


def _step_schema(tool: Tool, number: int, longest: int, copies: Mapping[tuple[str, str], list[str]]) -> Schema:
    described = tool.arguments.model_json_schema()
    references = [f"${earlier}" for earlier in range(1, number)]
    arguments = {
        name: {"enum": [*copies[tool.name, name], *references]}
        if (tool.name, name) in copies
        else _argument_schema(part, number, longest)
        for name, part in described.get("properties", {}).items()
    }
    return _object({"tool": {"const": tool.name}, "arguments": _object(arguments, described.get("required", ()))})


def _argument_schema(described: Schema, number: int, longest: int) -> Schema:
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
    """The steps of a plan, all of them checked before any runs.

    Args:
        text: what the model wrote.
        tools: the tools that a plan may use.
        max_steps: the most steps of a plan.

    Raises:
        BadPlan: the plan cannot be used.

    Example:
        >>> read_plan('{"steps": [{"tool": "word_count", "arguments": {"text": "a b"}}]}')
        [Step(tool='word_count', arguments={'text': 'a b'})]
    """
    if len(text) > MAX_LENGTH * max_steps:
        raise BadPlan(sentences.PLAN_TOO_LONG)
    try:
        # A lone surrogate cannot be encoded. As a question mark it is judged like any other text.
        plan = _Plan.model_validate_json(text.encode(errors="replace"))
    except ValidationError as error:
        raise _not_a_plan(error) from None
    if not 1 <= len(plan.steps) <= max_steps:
        raise BadPlan(sentences.WRONG_NUMBER_OF_STEPS.format(most=max_steps))
    return [_checked(step, number, tools) for number, step in enumerate(plan.steps, 1)]


def _at_step(number: int, sentence: str, **names: object) -> BadPlan:
    """The error of a step: one of the sentences, with its names filled in."""
    return BadPlan(sentences.AT_STEP.format(number=number, what=sentence.format(**names)))


def _not_a_plan(error: ValidationError) -> BadPlan:
    """What is wrong with the form of a plan, in one sentence."""
    first = error.errors(include_url=False)[0]
    match first["loc"]:
        case () if first["type"] == "json_invalid":
            return BadPlan(sentences.NOT_JSON)
        case ("steps", int(index), "tool") if first["type"] == "string_type":
            return _no_tool(index + 1, first["input"])
        case ("steps", int(index), *_):
            return BadPlan(sentences.NO_PARTS.format(number=index + 1))
    return BadPlan(sentences.NO_STEPS)


def _no_tool(number: int, name: object) -> BadPlan:
    return _at_step(number, sentences.NO_TOOL, name=json.dumps(name, ensure_ascii=False)[:40])


def _checked(step: _Step, number: int, tools: Mapping[str, Tool]) -> Step:
    if step.tool not in tools:
        raise _no_tool(number, step.tool)
    _check_arguments(tools[step.tool], step.arguments, number)
    return Step(step.tool, step.arguments)


def _check_arguments(tool: Tool, arguments: Mapping[str, Any], number: int) -> None:
    """Check what can be known before the steps run: a value with a reference in it gets its type later."""
    complaints: Sequence[Mapping[str, Any]] = ()
    try:
        tool.arguments.model_validate(arguments)
    except ValidationError as error:
        complaints = error.errors(include_url=False, include_context=False)
    if any(complaint["type"] in ("missing", "extra_forbidden") for complaint in complaints):
        names = ", ".join(tool.arguments.model_fields)
        raise _at_step(number, sentences.WRONG_ARGUMENTS, tool=tool.name, names=names)
    for complaint in complaints:
        if not _references(complaint["input"]):
            raise _bad_argument(tool, complaint, number)
    for value in arguments.values():
        for reference in _references(value):
            if reference >= number:
                raise _at_step(number, sentences.UNKNOWN_REFERENCE, reference=reference)


def _references(value: object) -> list[int]:
    return [int(number) for number in REFERENCE.findall(value)] if isinstance(value, str) else []


def _bad_argument(tool: Tool, complaint: Mapping[str, Any], number: int) -> BadPlan:
    """One of pydantic's complaints about an argument, in one short sentence."""
    name, kind = str(complaint["loc"][0]), complaint["type"]
    match kind:
        case "literal_error" if not isinstance(complaint["input"], str):
            return _at_step(number, sentences.WRONG_TYPE, name=name, type=sentences.TYPES["string"])
        case "literal_error":
            return _at_step(number, sentences.WRONG_CHOICE, name=name, choices=", ".join(_options(tool, name)))
        case "string_too_long":
            return _at_step(number, sentences.ARGUMENT_TOO_LONG, name=name)
        case "string_too_short":
            return _at_step(number, sentences.ARGUMENT_EMPTY, name=name)
    wanted = sentences.TYPES.get(kind.split("_")[0])
    if wanted:
        return _at_step(number, sentences.WRONG_TYPE, name=name, type=wanted)
    return _at_step(number, sentences.DOES_NOT_FIT, name=name, message=complaint["msg"][:80])


# -- running ----------------------------------------------------------------------------------------------


def run_plan(
    steps: Sequence[Step], tools: Mapping[str, Tool] = TOOLS, language: str | None = None, seconds: float | None = None
) -> list[str]:
    """The result of each step.

    Args:
        steps: a plan, from `read_plan`.
        tools: the tools that it uses.
        language: the asker's, for tools that want to know.
        seconds: the longest time for one tool; None does not look at the clock.

    Raises:
        BadPlan: a tool cannot do what it is asked.

    Example:
        >>> run_plan([Step("calculator", {"expression": "47 + 38"}), Step("calculator", {"expression": "$1 * 2"})])
        ['85', '170']
    """
    results: list[str] = []
    for step in steps:
        results.append(run_step(step, results, tools, language, seconds)[1])
    return results


def run_step(
    step: Step,
    results: Sequence[str],
    tools: Mapping[str, Tool] = TOOLS,
    language: str | None = None,
    seconds: float | None = None,
) -> tuple[dict[str, Any], str]:
    """The arguments of the next step with earlier results filled in, and what the tool returns for them.

    Args:
        step: the step.
        results: those of the steps before this one.
        tools: as for `run_plan`, and so are the others.
        language: the asker's.
        seconds: the longest time.

    Raises:
        BadPlan: the tool cannot do what it is asked.

    Example:
        >>> run_step(Step("calculator", {"expression": "$1 * 2"}), ["85"])
        ({'expression': '85 * 2'}, '170')
    """
    number, (name, arguments) = len(results) + 1, step
    if name not in tools:
        raise _no_tool(number, name)
    tool = tools[name]
    _check_arguments(tool, arguments, number)
    filled = {key: _filled(value, results) for key, value in arguments.items()}
    try:
        checked = tool.arguments.model_validate(filled)
    except ValidationError as error:
        complaint = error.errors(include_url=False, include_context=False)[0]
        raise _bad_argument(tool, complaint, number) from None
    values = {key: getattr(checked, key) for key in type(checked).model_fields}
    if tool.wants_language:
        values["language"] = language
    try:
        result = timeouts.wait_at_most(seconds, lambda: str(tool.function(**values)))
    except BadPlan as error:
        raise BadPlan(sentences.AT_STEP.format(number=number, what=error.what)) from None
    except timeouts.TooLong:
        raise _at_step(number, sentences.TOOK_TOO_LONG, tool=name) from None
    except Exception as error:  # a learner's own tool may raise anything, and the agent must go on
        raise _at_step(number, sentences.FAILED, tool=name, error=type(error).__name__) from error
    if len(result) > MAX_TEXT:
        raise _at_step(number, sentences.RESULT_TOO_LONG, tool=name)
    return filled, result


def _filled(value: Any, results: Sequence[str]) -> Any:
    """A value with the results in place of its references, in one pass: a result may itself hold "$2"."""
    return REFERENCE.sub(lambda found: results[int(found[1]) - 1], value) if isinstance(value, str) else value
