"""The exercises of lab 07. Functions are tried on cases of their own, harmless ones first."""

from __future__ import annotations

import dis
import re
from collections.abc import Callable, Mapping
from types import CodeType
from typing import TYPE_CHECKING, Any, NamedTuple

from labs_helper.common.translate import _
from labs_helper.exercises import diagnosis
from labs_helper.exercises.base import Exercise, NotYet, TryAgain, a_function, kind, number

if TYPE_CHECKING:
    from labs_helper.agent import Tool
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
TONGUES: dict[LanguageName, str] = {"Spanish": "es", "Korean": "ko"}
ENGLISH = re.compile(r"[A-Za-z]{3,}")  # in a Korean post


def _own_tool(value: object) -> str:
    tools, tool = _tools_with_post(value)
    count = "0"
    for country in COUNTRIES:
        for tongue, code in TONGUES.items():
            text, count = _post_of(tools, country, tongue)
            _check_post(text, country, tongue, code)
            if not isinstance(tool.function(country, tongue), str):
                raise TryAgain(_("post must return one text (str). Join its parts."))
    _check_unknown(tools)
    return _(
        "Right: facts looked up, written in {languages} languages, counted by the next step ({count} words)."
    ).format(languages=len(TONGUES), count=count)


def _tools_with_post(value: object) -> tuple[Mapping[str, Tool], Tool]:
    from labs_helper.agent import Tool

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
    return value, tool


def _post_of(tools: Mapping[str, Tool], country: str, tongue: str) -> tuple[str, str]:
    """The post, and its words as the next step counts them."""
    from labs_helper.agent import read_plan, run_plan, write_plan
    from labs_helper.errors import BadPlan

    plan = write_plan(("post", {"about": country, "to": tongue}), ("word_count", {"text": "$1"}))
    try:
        text, count = run_plan(read_plan(plan, tools), tools)
    except BadPlan as error:
        raise TryAgain(
            _("The plan post({country!r}, {tongue!r}) failed: {problem}").format(
                country=country, tongue=tongue, problem=error.what
            )
        ) from None
    if text == "Ellipsis":
        raise NotYet
    if text == "None":
        raise TryAgain(
            _(
                "post({country!r}, {tongue!r}) returned nothing. End the function with return; print shows and is gone."
            ).format(country=country, tongue=tongue)
        )
    return text, count


def _check_post(text: str, country: str, tongue: LanguageName, code: str) -> None:
    from labs_helper.agent.tools import place, translate
    from labs_helper.errors import BadPlan

    name = translate(country, tongue)
    for field in ("capital", "currency"):
        wanted = place(name, field, language=code)
        if wanted.casefold() in text.casefold():
            continue
        missing = _("In the post about {country} in {tongue} I do not find its {field}, {wanted}: {text}").format(
            country=country, tongue=tongue, field=field, wanted=wanted, text=text[:80]
        )
        english = place(country, field)
        try:
            by_word = translate(english, tongue)
        except BadPlan:
            by_word = ""
        if by_word not in ("", wanted) and by_word.casefold() in text.casefold():
            raise TryAgain(
                _(
                    "{missing} The dictionary knows another {english}, and gave {by_word}. Translate the name of the "
                    "country first, and look the facts up under that name: place answers in the language of the name."
                ).format(missing=missing, english=english, by_word=by_word)
            )
        raise TryAgain(missing)
    if tongue == "Korean" and (english_word := ENGLISH.search(text)):
        raise TryAgain(
            _("The post about {country} in {tongue} still has English in it, {word!r}: {text}").format(
                country=country, tongue=tongue, word=english_word[0], text=text[:80]
            )
        )


def _check_unknown(tools: Mapping[str, Tool]) -> None:
    """What the course does not know must raise the BadPlan of its tools."""
    from labs_helper.agent import read_plan, run_plan, write_plan
    from labs_helper.errors import BadPlan

    try:
        run_plan(read_plan(write_plan(("post", {"about": "Atlantis", "to": "Spanish"})), tools), tools)
    except BadPlan as error:
        if "failed" in error.what:
            raise TryAgain(
                _("About Atlantis the tool broke: {problem} Let the BadPlan of place go through.").format(
                    problem=error.what
                )
            ) from None
    else:
        raise TryAgain(_("It wrote about Atlantis. What the course does not know must be refused, not made up."))


# --- 7.4 A plan that hands over what nobody asked about --------------------------------------------------

WRITTEN = {"calculator": "expression", "place": "name", "translate": "word", "word_count": "text"}
SMALL_WORDS = frozenset({"the", "a", "an", "el", "la", "los", "las"})


def _not_asked_for(value: object) -> str:
    from labs_helper.agent import Trace, read_plan
    from labs_helper.errors import BadPlan

    if isinstance(value, str):
        raise TryAgain(_("Hand in the trace that solve returned for this question, not the question or its answer."))
    if not isinstance(value, Trace):
        raise TryAgain(
            _("Hand in the trace: solve(moe, question, constrained=False). I was given {kind}.").format(
                kind=kind(value)
            )
        )
    question = next((event.text for event in value.events if event.kind == "question"), "")
    if value.answer is None or not value.plans:
        raise TryAgain(
            _("The agent gave no answer to this question, and that is honest. Look for one that it answers wrongly.")
        )
    try:
        steps = read_plan(value.plans[-1].strip())
    except BadPlan as error:
        raise TryAgain(_("This plan is not valid: {problem}").format(problem=error.what)) from None
    given = [str(step.arguments[WRITTEN[step.tool]]) for step in steps]
    numbers = set(re.findall(r"\d+", question))
    strange = [
        word
        for text in given
        for word in _words_of(text)
        if (word not in numbers if word.isdecimal() else word not in question.casefold())
    ]
    if not strange:
        raise TryAgain(
            _(
                "Everything that this plan hands over is in the question: {given}. Look for a plan with a name, a word "
                "or a number that nobody asked about. With constrained=False the model writes freely."
            ).format(given=", ".join(given))
        )
    return _("Right: a valid plan, and nobody asked about {strange}. The agent answered: {answer}").format(
        strange=", ".join(dict.fromkeys(strange)), answer=value.answer[:80]
    )


def _words_of(text: str) -> list[str]:
    """The words and numbers of an argument, without references and articles."""
    return [word for word in re.findall(r"\w+", re.sub(r"\$\d+", "", text).casefold()) if word not in SMALL_WORDS]


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
                    "Begin with name = translate(about, to). Then place(name, 'capital') gives the capital in the "
                    "language of the name."
                ),
                _("Annotate both parameters with str, and write one line of docstring. Return one text."),
                _('return f"{name}: " + ", ".join(place(name, field) for field in ("capital", "currency"))'),
            ),
        ),
        Exercise(
            "7.4",
            _("Find a plan that hands over what nobody asked about"),
            _not_asked_for,
            (
                _("Take constrained=False, and words that the course does not teach, such as a line of a poem."),
                _("Write as people chat: small letters, a greeting first, no question mark."),
                _("Try word_count with a sentence of your own, and read the text that the plan hands over."),
            ),
        ),
    )
