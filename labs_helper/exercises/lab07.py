"""The exercises of lab 07. Functions are tried on cases of their own, harmless ones first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from labs_helper.common.translate import _
from labs_helper.exercises.base import Exercise, NotYet, TryAgain, a_function, kind, number, returned

if TYPE_CHECKING:
    from labs_helper.agent.world import LanguageName

# --- 7.1 A calculator without eval ------------------------------------------------------------------------

SUMS = {"47 + 38": 85, "9 - 12": -3, "12 * 12": 144, "4821 * 37": 178377, "1 + 2 * 3": 7, "2 * 3 - 4": 2}
# Harmless code first: a calculator that runs it would also run what never ends, so it never gets that far.
CODE = ("len('abc')", "[1, 2][0]", "(5).real", "'a' * 3", "True", "7 if 1 else 8", "abs(-3)")
POWERS, ENDLESS = ("2**3", "2 ** 3"), "9**9**9**9"


def _refused(function: Callable[[str], object], expression: str) -> bool:
    try:
        return function(expression) is None
    except ValueError:
        return True
    except Exception as error:
        raise TryAgain(
            _("For {expression!r} it raised {error}. Refuse it with a ValueError.").format(
                expression=expression, error=type(error).__name__
            )
        ) from None


def _safe_calculator(value: object) -> str:
    function = a_function(value, "calculate")
    for expression, right in SUMS.items():
        try:
            answer = function(expression)
        except Exception as error:
            raise TryAgain(
                _("calculate({expression!r}) raised {error}: {message}").format(
                    expression=expression, error=type(error).__name__, message=str(error)[:80]
                )
            ) from None
        if number(returned(answer), f"calculate({expression!r})") != right:
            left_to_right = expression == "1 + 2 * 3" and answer == 9
            raise TryAgain(
                _("calculate({expression!r}) returned {answer}, and it is {right}. {advice}")
                .format(
                    expression=expression,
                    answer=answer,
                    right=right,
                    advice=_("Multiply before you add.") if left_to_right else "",
                )
                .rstrip()
            )
    for expression in CODE:
        if not _refused(function, expression):
            raise TryAgain(
                _(
                    "calculate({expression!r}) was not refused. It is code, not a sum: do not use eval, "
                    "and let through only numbers and + - *."
                ).format(expression=expression)
            )
    for expression in POWERS:
        if not _refused(function, expression):
            raise TryAgain(
                _("calculate({expression!r}) was not refused. A power of a power would never end.").format(
                    expression=expression
                )
            )
    if not _refused(function, ENDLESS):
        raise TryAgain(_("calculate({expression!r}) was not refused.").format(expression=ENDLESS))
    if not _refused(function, "1 + " * 2000 + "1"):
        raise TryAgain(_("A sum of 8,000 characters was not refused. Set a limit, such as 40 characters."))
    return _("Right: {sums} sums worked out, {refused} texts refused, and no code was run.").format(
        sums=len(SUMS), refused=len(CODE) + len(POWERS) + 2
    )


# --- 7.2 References between steps -------------------------------------------------------------------------


class _Case(NamedTuple):
    """A plan, whether its references hold, and why."""

    steps: list[Mapping[str, Any]]
    holds: bool
    why: str


def _steps(*texts: str) -> list[Mapping[str, Any]]:
    return [{"tool": "word_count", "arguments": {"text": text}} for text in texts]


def _plans() -> tuple[_Case, ...]:
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
        _Case([{"tool": "place", "arguments": {"name": "Kenya", "field": "$1"}}], False, _("Look at every argument.")),
    )


def _references(value: object) -> str:
    function = a_function(value, "references_hold")
    plans = _plans()
    for steps, right, why in plans:
        answer = returned(function(steps))
        if answer not in (True, False):
            raise TryAgain(_("Return True or False. I was given {kind}.").format(kind=kind(answer)))
        if answer != right:
            shown = ", ".join(repr(text) for step in steps for text in step["arguments"].values())
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
                _("eval runs whatever stands there. Parse instead: ast.parse(expression, mode='eval').body is a tree."),
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
