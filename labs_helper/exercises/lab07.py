"""The exercises of lab 07. Functions are tried on cases of their own, harmless ones first."""

from __future__ import annotations

import dis
from collections.abc import Callable, Mapping
from types import CodeType
from typing import TYPE_CHECKING, Any, NamedTuple

from labs_helper.common.translate import _
from labs_helper.exercises import diagnosis
from labs_helper.exercises.base import Exercise, NotYet, TryAgain, a_function, kind, number

if TYPE_CHECKING:
    from labs_helper.agent.world import LanguageName

# --- 7.1 A calculator without eval ------------------------------------------------------------------------

LIMIT = 40  # characters that the task allows
SUMS = {
    "47 + 38": 85,
    "9 - 12": -3,
    "12 * 12": 144,
    "4821 * 37": 178377,
    "10 - 2 - 3": 5,
    "1 + 2 * 3": 7,
    "2 * 3 - 4": 2,
    "6*7": 42,
    "1 + " * 9 + "1234": 1243,  # as long as the task allows
}
# Harmless code first: a calculator that runs it would also run what never ends, so it never gets that far.
CODE = ("len('abc')", "[1, 2][0]", "(5).real", "'a' * 3", "True", "7 if 1 else 8", "abs(-3)", "(x := 3)")
BROKEN = ("47 +", "", "1 2", "one + two")
OTHER_SIGNS = ("8 / 2", "7 // 2", "7 % 2", "1 << 3", "16 >> 2", "6 | 1", "6 & 3", "6 ^ 3", "2**3", "2 ** 3", "2 @ 3")
OTHER_NUMBERS = ("1.5 + 2", "1e3", "2j + 1", "3 < 4")
ENDLESS = ("9**9**9**9", "1<<99999999999")
RUNNERS = frozenset({"eval", "exec", "compile", "__import__"})


def _runs_code(function: Callable[..., Any]) -> str:
    """Which function that runs code a learner's function, or one that it calls, has in its text. Nothing is run."""
    seen: set[int] = set()
    waiting: list[Any] = [function]
    while waiting:
        one = waiting.pop()
        code = one if isinstance(one, CodeType) else getattr(one, "__code__", None)
        if not isinstance(code, CodeType) or id(code) in seen or len(seen) > 200:
            continue
        seen.add(id(code))
        names = {step.argval for step in dis.get_instructions(code) if step.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
        if found := sorted((names & RUNNERS) | ({"eval", "exec"} & set(code.co_names))):
            return found[0]
        waiting += [part for part in code.co_consts if isinstance(part, CodeType)]
        space: dict[str, Any] = getattr(one, "__globals__", None) or {}
        # Functions of the learner's own notebook; those of packages are not searched.
        waiting += [space[name] for name in names if getattr(space.get(name), "__globals__", None) is space]
    return ""


def _refuse(function: Callable[[str], object], expression: str, why: str) -> None:
    """Raise TryAgain unless a calculator answers an expression with a ValueError."""
    shown = f"calculate({expression if len(expression) < 60 else expression[:20] + '...'!r})"
    try:
        answer = function(expression)
    except ValueError:
        return
    except Exception as error:
        raise TryAgain(
            _("{call} raised {error}. Refuse it with a ValueError: catch the {error}, and raise one.").format(
                call=shown, error=type(error).__name__
            )
        ) from None
    if answer is None:
        raise TryAgain(_("{call} returned None. Refusing means: raise ValueError.").format(call=shown))
    raise TryAgain(_("{call} was not refused. {why}").format(call=shown, why=why))


def _safe_calculator(value: object) -> str:
    function = a_function(value, "calculate")
    if runner := _runs_code(function):
        raise TryAgain(
            _("Your function uses {runner}, which runs whatever is in the text. Parse the text instead.").format(
                runner=runner
            )
        )
    for expression, right in SUMS.items():
        call = f"calculate({expression!r})"
        answer = number(diagnosis.called(function, (expression,), call), call)
        if answer != right:
            raise TryAgain(
                _("{call} returned {answer:g}, and it is {right}. {advice}")
                .format(call=call, answer=answer, right=right, advice=_sum_mistake(expression, answer))
                .rstrip()
            )
    code = _("It is code, not a sum: let through only whole numbers and + - *.")
    groups = (
        (BROKEN, _("It is not a sum.")),
        (CODE, code),
        (OTHER_SIGNS[:-3], _("Only + - * are allowed.")),
        (OTHER_SIGNS[-3:], _("Only + - * are allowed; a power of a power would never end.")),
        (OTHER_NUMBERS, _("Only whole numbers are allowed.")),
        (("1 + " * 10 + "1",), _("It has {count} characters, and the limit is {limit}.").format(count=41, limit=LIMIT)),
        (("1 + " * 2000 + "1",), _("It has 8,001 characters, and the limit is {limit}.").format(limit=LIMIT)),
        (ENDLESS, code),
    )
    for expressions, why in groups:
        for expression in expressions:
            _refuse(function, expression, why)
    return _("Right: {sums} sums worked out, {refused} texts refused, and no code was run.").format(
        sums=len(SUMS), refused=sum(len(expressions) for expressions, _why in groups)
    )


def _sum_mistake(expression: str, answer: float) -> str:
    if expression == "1 + 2 * 3" and answer == 9:
        return _("Multiply before you add.")
    if expression == "10 - 2 - 3" and answer == 11:
        return _("Subtract from left to right.")
    return ""


# --- 7.2 References between steps -------------------------------------------------------------------------


class _Case(NamedTuple):
    """A plan, whether its references hold, and why."""

    steps: list[Mapping[str, Any]]
    holds: bool
    why: str


def _steps(*texts: str) -> list[Mapping[str, Any]]:
    return [{"tool": "word_count", "arguments": {"text": text}} for text in texts]


def _plans() -> tuple[_Case, ...]:
    ten = ("a", "b", "c", "d", "$10", "f", "g", "h", "i", "j")
    return (
        _Case(_steps("one two"), True, _("It has no reference at all.")),
        _Case(_steps("one two", "$1 words"), True, _("Step 2 may use the result of step 1.")),
        _Case(_steps("$1"), False, _("Step 1 asks for its own result: a circle.")),
        _Case(_steps("a", "$2"), False, _("Step 2 asks for its own result: a circle.")),
        _Case(_steps("$2", "$1"), False, _("Each step waits for the other: a circle.")),
        _Case(_steps("a", "$1", "$1 and $2"), True, _("Step 3 may use both results before it.")),
        _Case(
            _steps("a", "$1 and $3", "b"),
            False,
            _("$3 comes after step 2; look at every reference in a text, not only the first."),
        ),
        _Case(_steps("a", "b $7"), False, _("There is no step 7.")),
        _Case(_steps("a", "b $0"), False, _("There is no step 0: the first one is $1.")),
        _Case([{"tool": "place", "arguments": {"name": "Kenya", "field": "$1"}}], False, _("Look at every argument.")),
        _Case(_steps(*ten), False, _("$10 is one reference, to step 10, and it comes after step 5: read all digits.")),
        _Case(_steps(*["a"] * 11, "$10 and $11"), True, _("Step 12 may use the results of steps 10 and 11.")),
    )


def _references(value: object) -> str:
    function = a_function(value, "references_hold")
    plans = _plans()
    for steps, right, why in plans:
        shown = ", ".join(repr(text) for step in steps for text in step["arguments"].values())
        call = _("references_hold(steps with {shown})").format(shown=shown)
        answer = diagnosis.called(function, (steps,), call)
        if isinstance(answer, (list, tuple, set)):
            raise TryAgain(_("Return True or False, not the references. I was given {kind}.").format(kind=kind(answer)))
        if answer not in (True, False):
            raise TryAgain(_("Return True or False. I was given {kind}.").format(kind=kind(answer)))
        if answer != right:
            raise TryAgain(
                _("For steps with {shown} it returned {answer}. {why}").format(shown=shown, answer=answer, why=why)
            )
    return _("Right for all {count} plans. A plan without circles always comes to an end.").format(count=len(plans))


# --- 7.3 A tool of one's own ------------------------------------------------------------------------------

COUNTRIES = ("Kenya", "Japan", "Peru")
TONGUES: tuple[LanguageName, ...] = ("Spanish", "Korean")


def _own_tool(value: object) -> str:
    from labs_helper.agent import Tool, read_plan, run_plan, write_plan
    from labs_helper.agent.tools import place, translate
    from labs_helper.errors import BadPlan

    if not isinstance(value, Mapping):
        raise TryAgain(_("Hand in the tools: TOOLS | toolbox(post). I was given {kind}.").format(kind=kind(value)))
    tool = value.get("post")
    if not isinstance(tool, Tool):
        raise TryAgain(_("I find no tool named post. Make it with toolbox(post), from a function of that name."))
    if list(tool.arguments.model_fields) != ["about", "to"]:
        raise TryAgain(
            _("The tool is {signature}. Its parameters should be about and to, in this order.").format(
                signature=tool.signature
            )
        )
    if not tool.about:
        raise TryAgain(_("The function has no docstring. Its first line tells the model what the tool is for."))
    if "word_count" not in value:
        raise TryAgain(_("The other tools are gone. Add yours to them: TOOLS | toolbox(post)."))
    for country in COUNTRIES:
        for tongue in TONGUES:
            plan = write_plan(("post", {"about": country, "to": tongue}), ("word_count", {"text": "$1"}))
            try:
                text, count = run_plan(read_plan(plan, value), value)
            except BadPlan as error:
                raise TryAgain(
                    _("The plan post({country!r}, {tongue!r}) failed: {problem}").format(
                        country=country, tongue=tongue, problem=error.what
                    )
                ) from None
            if text in ("None", "Ellipsis"):
                raise NotYet
            for field in ("capital", "currency"):
                wanted = translate(place(country, field), tongue)
                if wanted.casefold() not in text.casefold():
                    raise TryAgain(
                        _("In the post about {country} in {tongue} I do not find its {field}, {wanted}: {text}").format(
                            country=country, tongue=tongue, field=field, wanted=wanted, text=text[:80]
                        )
                    )
    try:
        run_plan(read_plan(write_plan(("post", {"about": "Atlantis", "to": "Spanish"})), value), value)
    except BadPlan as error:
        if "failed" in error.what:
            raise TryAgain(
                _("About Atlantis the tool broke: {problem} Let the BadPlan of place go through.").format(
                    problem=error.what
                )
            ) from None
    else:
        raise TryAgain(_("It wrote about Atlantis. What the course does not know must be refused, not made up."))
    return _(
        "Right: facts looked up, written in {languages} languages, counted by the next step ({count} words)."
    ).format(languages=len(TONGUES), count=count)


def exercises() -> tuple[Exercise, ...]:
    """The exercises of lab 07, in their order, with titles and hints in the learner's language."""
    # A list rather than code, and as long as the lab has exercises.
    return (
        Exercise(
            "7.1",
            _("Write a calculator that cannot be tricked"),
            _safe_calculator,
            (
                _("eval runs any code in the text. Parse instead: ast.parse(expression, mode='eval').body is a tree."),
                _("A number is an ast.Constant; a sum an ast.BinOp with left, op, right. Work out both sides alike."),
                _(
                    "Keep the allowed signs in a dict: {ast.Add: operator.add, ...}. Whatever is not in it: "
                    "raise ValueError. Look at the length first, and take type(node.value) is int, since True "
                    "is an ast.Constant too."
                ),
            ),
        ),
        Exercise(
            "7.2",
            _("Find circles in a plan"),
            _references,
            (
                _("Number the steps from 1: for number, step in enumerate(steps, 1)."),
                _('re.findall(r"\\$(\\d)", text) gives all references in a text, as texts: ["1", "3"].'),
                _("Each must be smaller than the number of its step. Look into every value of step['arguments']."),
            ),
        ),
        Exercise(
            "7.3",
            _("Give the agent a tool of your own"),
            _own_tool,
            (
                _(
                    "Inside the function, place(about, 'capital') looks a fact up, and translate(word, to) "
                    "translates it."
                ),
                _("Annotate both parameters with str, and write one line of docstring. Return one text."),
                _(
                    'return f"{translate(about, to)}: " + ", ".join(translate(place(about, fact), to) for fact '
                    'in ("capital", "currency"))'
                ),
            ),
        ),
    )
