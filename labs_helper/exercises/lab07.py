"""The exercises of lab 07. Functions are tried on cases of their own, harmless ones first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from labs_helper.exercises.base import Exercise, NotYet, TryAgain, a_function, kind, number, returned

# --- 7.1 A calculator without eval ------------------------------------------------------------------------

SUMS = {"47 + 38": 85, "9 - 12": -3, "12 * 12": 144, "4821 * 37": 178377, "1 + 2 * 3": 7, "2 * 3 - 4": 2}
# Harmless code first: whoever runs it would also run what never ends, so that is not tried on them.
CODE = ("len('abc')", "[1, 2][0]", "(5).real", "'a' * 3", "True", "7 if 1 else 8", "abs(-3)")
POWERS, ENDLESS = ("2**3", "2 ** 3"), "9**9**9**9"


def _refused(function: Callable, expression: str) -> bool:
    try:
        return function(expression) is None
    except ValueError:
        return True
    except Exception as error:
        raise TryAgain(f"For {expression!r} it raised {type(error).__name__}. Refuse it with a ValueError.") from None


def _safe_calculator(value: object) -> str:
    function = a_function(value, "calculate")
    for expression, right in SUMS.items():
        try:
            given = function(expression)
        except Exception as error:
            raise TryAgain(f"calculate({expression!r}) raised {type(error).__name__}: {str(error)[:80]}") from None
        if number(returned(given), f"calculate({expression!r})") != right:
            last = " Multiply before you add." if expression == "1 + 2 * 3" and given == 9 else ""
            raise TryAgain(f"calculate({expression!r}) returned {given}, and it is {right}.{last}")
    for expression in CODE:
        if not _refused(function, expression):
            raise TryAgain(
                f"calculate({expression!r}) was not refused. It is code, not a sum: do not use eval, and let through "
                "only numbers and + - *."
            )
    for expression in POWERS:
        if not _refused(function, expression):
            raise TryAgain(f"calculate({expression!r}) was not refused. A power of a power would never end.")
    if not _refused(function, ENDLESS):
        raise TryAgain(f"calculate({ENDLESS!r}) was not refused.")
    if not _refused(function, "1 + " * 2000 + "1"):
        raise TryAgain("A sum of 8,000 characters was not refused. Set a limit, such as 40 characters.")
    return f"Right: {len(SUMS)} sums worked out, {len(CODE) + len(POWERS) + 2} texts refused, and no code was run."


# --- 7.2 References between steps -------------------------------------------------------------------------


def _steps(*texts: str) -> list[dict]:
    return [{"tool": "word_count", "arguments": {"text": text}} for text in texts]


PLANS = (
    (_steps("one two"), True, "It has no reference at all."),
    (_steps("one two", "$1 words"), True, "Step 2 may use the result of step 1."),
    (_steps("$1"), False, "Step 1 asks for its own result: a circle."),
    (_steps("a", "$2"), False, "Step 2 asks for its own result: a circle."),
    (_steps("$2", "$1"), False, "Each step waits for the other: a circle."),
    (_steps("a", "$1", "$1 and $2"), True, "Step 3 may use both results before it."),
    (
        _steps("a", "$1 and $3", "b"),
        False,
        "$3 comes after step 2; look at every reference in a text, not only the first.",
    ),
    (_steps("a", "b $7"), False, "There is no step 7."),
    ([{"tool": "place", "arguments": {"name": "Kenya", "field": "$1"}}], False, "Look at every argument."),
)


def references_hold(steps: Sequence[Mapping]) -> bool:
    """Whether every "$k" in a plan stands for the result of an earlier step.

    Example: `references_hold([{"tool": "word_count", "arguments": {"text": "$1"}}])` is False.
    """
    from labs_helper.agent.plan import REFERENCE

    return all(
        int(reference) < place
        for place, step in enumerate(steps, 1)
        for text in step["arguments"].values()
        for reference in REFERENCE.findall(text)
    )


def _references(value: object) -> str:
    function = a_function(value, "references_hold")
    for steps, right, why in PLANS:
        given = returned(function(steps))
        if given not in (True, False):
            raise TryAgain(f"Return True or False. I was given {kind(given)}.")
        if given != right:
            shown = ", ".join(repr(text) for step in steps for text in step["arguments"].values())
            raise TryAgain(f"For steps with {shown} it returned {given}. {why}")
    return f"Right for all {len(PLANS)} plans. A plan without circles always comes to an end."


# --- 7.3 A tool of one's own ------------------------------------------------------------------------------

COUNTRIES, TONGUES = ("Kenya", "Japan", "Peru"), ("Spanish", "Korean")


def _own_tool(value: object) -> str:
    from labs_helper.agent import Tool, read_plan, run_plan, write_plan
    from labs_helper.agent.tools import place, translate
    from labs_helper.errors import BadPlan

    if not isinstance(value, Mapping):
        raise TryAgain(f"Hand in the tools: TOOLS | toolbox(post). I was given {kind(value)}.")
    tool = value.get("post")
    if not isinstance(tool, Tool):
        raise TryAgain("I find no tool named post. Make it with toolbox(post), from a function of that name.")
    if list(tool.arguments.model_fields) != ["about", "to"]:
        raise TryAgain(f"The tool is {tool.signature}. Its parameters should be about and to, in this order.")
    if not tool.about:
        raise TryAgain("The function has no docstring. Its first line tells the model what the tool is for.")
    if "word_count" not in value:
        raise TryAgain("The other tools are gone. Add yours to them: TOOLS | toolbox(post).")
    for country in COUNTRIES:
        for tongue in TONGUES:
            plan = write_plan(("post", {"about": country, "to": tongue}), ("word_count", {"text": "$1"}))
            try:
                text, count = run_plan(read_plan(plan, value), value)
            except BadPlan as error:
                raise TryAgain(f"The plan post({country!r}, {tongue!r}) failed: {error.what}") from None
            if text in ("None", "Ellipsis"):
                raise NotYet
            for field in ("capital", "currency"):
                wanted = translate(place(country, field), tongue)
                if wanted.casefold() not in text.casefold():
                    raise TryAgain(
                        f"In the post about {country} in {tongue} I do not find its {field}, {wanted}: {text[:80]}"
                    )
    try:
        run_plan(read_plan(write_plan(("post", {"about": "Atlantis", "to": "Spanish"})), value), value)
    except BadPlan as error:
        if "failed" in error.what:
            raise TryAgain(
                f"About Atlantis the tool broke: {error.what} Let the BadPlan of place go through."
            ) from None
    else:
        raise TryAgain("It wrote about Atlantis. What the course does not know must be refused, not made up.")
    return f"Right: facts looked up, written in {len(TONGUES)} languages, counted by the next step ({count} words)."


# --- The list ---------------------------------------------------------------------------------------------

EXERCISES = (
    Exercise(
        "7.1",
        "Write a calculator that cannot be tricked",
        _safe_calculator,
        (
            "eval runs whatever stands there. Parse instead: ast.parse(expression, mode='eval').body is a tree.",
            "A number is an ast.Constant; a sum an ast.BinOp with left, op, right. Work out both sides alike.",
            "Keep the allowed signs in a dict: {ast.Add: operator.add, ...}. Whatever is not in it: raise ValueError. "
            "Look at the length first, and take type(node.value) is int, since True is an ast.Constant too.",
        ),
    ),
    Exercise(
        "7.2",
        "Find circles in a plan",
        _references,
        (
            "Number the steps from 1: for number, step in enumerate(steps, 1).",
            're.findall(r"\\$(\\d)", text) gives all references in a text, as texts: ["1", "3"].',
            "Each must be smaller than the number of its step. Look into every value of step['arguments'].",
        ),
    ),
    Exercise(
        "7.3",
        "Give the agent a tool of your own",
        _own_tool,
        (
            "Inside the function, place(about, 'capital') looks a fact up, and translate(word, to) translates it.",
            "Annotate both parameters with str, and write one line of docstring. Return one text.",
            'return f"{translate(about, to)}: " + ", ".join('
            'translate(place(about, fact), to) for fact in ("capital", "currency"))',
        ),
    ),
)
