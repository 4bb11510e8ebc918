"""The exercises of lab 06. Functions are tried on stored cases; measurements are computed again from their replies."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any

from labs_helper.common.translate import _
from labs_helper.exercises import diagnosis, stored
from labs_helper.exercises.base import (
    Exercise,
    NotYet,
    TryAgain,
    a_function,
    as_list,
    is_unfilled,
    kind,
    number,
    numbers,
    text,
)

# --- 6.1 Read a stream ---------------------------------------------------------------------------------------


def _stream(value: object) -> str:
    function = a_function(value, "text_of")
    tried = stored.cases("6.1")
    names = {id(case): name for case, name in zip(tried, (_("an ordinary stream"), _("odd pieces"), _("no text")))}
    shown = [f"text_of({names[id(case)]})" for case in tried]
    answers = []
    for case, call in zip(tried, shown):
        try:
            answer = diagnosis.called(function, case.arguments, call)
        except TryAgain as problem:
            why = {
                "JSONDecodeError": _("Not every line is JSON: some are empty, some begin with a colon, one is [DONE]."),
                "IndexError": _("choices may be empty: the last event holds the counts alone."),
                "KeyError": _("A delta may have no content: the first or the last event often has none."),
                "TypeError": _("content may be missing or null. Add an empty text then."),
            }.get(type(problem.__cause__).__name__)
            raise TryAgain(f"{problem} {why}" if why else str(problem)) from problem
        answers.append(answer if isinstance(answer, list) else text(answer, call))
    if any(isinstance(answer, list) for answer in answers):
        raise TryAgain(_("This is the list of pieces. Join them to one text, with nothing between them."))
    diagnosis.refuse(
        answers,
        tried,
        {
            "spaces": _("Nothing belongs between two pieces: they bring their own spaces."),
            "stripped": _("The spaces of the pieces are missing. Do not strip them: they are part of the answer."),
            "last": _("That is the last piece alone. Keep what came before it."),
            "": _("Take the lines that begin with data: and are not [DONE]; add choices[0].delta.content of each."),
        },
        shown=shown,
        close=operator.eq,
    )
    return _("Right: comments, counts and the end are passed over, and no space is lost.")


# --- 6.2 What the server obeys -------------------------------------------------------------------------------


def _obeys(value: object) -> str:
    right: dict[str, bool] = stored.case("6.2").right
    if not isinstance(value, Mapping):
        raise TryAgain(_("Hand in the dict: the name of each option, and True or False."))
    missing = [name for name in right if name not in value]
    if missing:
        raise TryAgain(_("{names} are missing.").format(names=", ".join(missing)))
    sentences = {
        "max_tokens": _("Ask for three tokens of a long answer, and count what usage says."),
        "seed": _("With temperature 1, ask several times with one seed and several times with none. Are they equal?"),
        "n": _("Ask for n=3 and count the choices."),
        "logprobs": _("Ask with logprobs=True and look at choices[0].logprobs."),
        "response_format": _("Ask for JSON where the usual answer is a sentence."),
        "tools": _("Look for tool_calls in the message. A text about the question is no call."),
    }
    for name, obeyed in right.items():
        given = value[name]
        if is_unfilled(given):
            raise NotYet
        if str(given) not in ("True", "False"):
            raise TryAgain(_("{name!r} must be True or False. I was given {kind}.").format(name=name, kind=kind(given)))
        if (str(given) == "True") != obeyed:
            raise TryAgain(_("{name!r} is not {given}. {why}").format(name=name, given=given, why=sentences[name]))
    return _("Right: {ignored} are ignored, and nothing says so.").format(
        ignored=", ".join(name for name, obeyed in right.items() if not obeyed)
    )


# --- 6.3 Two times -------------------------------------------------------------------------------------------


def _times(value: object) -> str:
    function = a_function(value, "times")
    tried = stored.cases("6.3")
    diagnosis.judge(
        function,
        tried,
        {
            "as many gaps as tokens": _("Between n tokens there are n - 1 gaps."),
            "from the question": _("The second time begins at the first token, not at the question."),
            "moment": _("The first number is a moment. Subtract the moment of the question."),
            "tokens a second": _("The second number is tokens a second. Hand in seconds a token."),
            "exchanged": _("The two numbers are exchanged."),
            "milliseconds": _("These are milliseconds. Hand in seconds."),
            "whole answer": _("The second number is the time of the whole answer. Divide it by the gaps."),
            "": _("First: arrived[0] less sent. Then: from the first to the last token, by the number of gaps."),
        },
        call=lambda sent, arrived: f"times({sent:g}, {arrived})",
        read=lambda answer, call: numbers(answer, 2, call),
        close=lambda one, two: all(map(diagnosis.near, one, two)),
    )
    return _("Right: what a person notices first, and how fast it goes on.")


# --- 6.4 More out of one server ------------------------------------------------------------------------------

LEAST_GAIN, LEAST_CLIENTS, LEAST_ANSWERS = 2.5, 16, 30


def _gain(value: object) -> str:
    if not isinstance(value, Mapping) or not {"one", "many"} <= set(value):
        raise TryAgain(_('Hand in a dict with "one" and "many", each from load_test().'))
    rates = {}
    for name in ("one", "many"):
        replies = _replies(value[name], name)
        whole = [reply for reply in replies if not reply.problem]
        if len(whole) < len(replies):
            raise TryAgain(
                _("{name!r} lost {count} answers. Look at reply.problem.").format(
                    name=name, count=len(replies) - len(whole)
                )
            )
        rates[name] = sum(reply.tokens for reply in whole) / number(value[name].seconds, _("The time of a run"))
    clients = {name: number(value[name].clients, _("The number of clients")) for name in rates}
    if clients["one"] != 1 or clients["many"] < LEAST_CLIENTS:
        raise TryAgain(
            _("These runs have {one:g} and {many:g} clients. One and at least {least} are needed.").format(
                one=clients["one"], many=clients["many"], least=LEAST_CLIENTS
            )
        )
    if len(_replies(value["many"], "many")) < LEAST_ANSWERS:
        raise TryAgain(
            _("Many clients gave fewer than {least} answers, which is too short to measure. Raise each=.").format(
                least=LEAST_ANSWERS
            )
        )
    gain = rates["many"] / rates["one"]
    if gain < LEAST_GAIN:
        raise TryAgain(
            _(
                "{gain:.1f} times the tokens, and {least} are needed. Packed weights share little on a CPU: serve with "
                "expanded=True. A busy computer also hides it: measure both again."
            ).format(gain=gain, least=LEAST_GAIN)
        )
    return _("{clients:g} clients got {gain:.1f} times the tokens of one.").format(clients=clients["many"], gain=gain)


def _replies(run: Any, name: str) -> Sequence[Any]:
    if is_unfilled(run):
        raise NotYet
    replies = getattr(run, "replies", None)
    if replies is None:
        raise TryAgain(
            _("{name!r} must be what load_test() returned. I was given {kind}.").format(name=name, kind=kind(run))
        )
    found = as_list(replies)
    if not found:
        raise TryAgain(_("{name!r} has no answer in it.").format(name=name))
    return found


# --- 6.5 How long a class waits ------------------------------------------------------------------------------


def _waits(value: object) -> str:
    function = a_function(value, "waits")
    diagnosis.judge(
        function,
        stored.cases("6.5"),
        {
            "no reading": _("That is a whole round: waiting and reading. Take the reading off."),
            "reading added": _("A round is waiting and reading together. Subtract the reading from the round."),
            "times": _("More answers a second make a shorter wait: divide."),
            "upside down": _("It is upside down: more learners wait longer."),
            "one": _("That is the time between two answers. How many learners take turns?"),
            "": _("Little's law: learners = rate x (waiting + reading). Solve it for the waiting."),
        },
        call=lambda learners, rate, reading: f"waits({learners}, {rate:g}, {reading:g})",
    )
    return _("Right: a round is learners / rate, and the reading is not waiting.")


# --- 6.6 Prompts that are known already ----------------------------------------------------------------------

_DOCUMENT = " ".join(f"Room {number} is on floor {number // 10}." for number in range(60))
_QUESTIONS = (("Where is room 7?", "10:41"), ("Which floor has room 52?", "15:20"))


def _arrange(value: object) -> str:
    function = a_function(value, "arrange")
    prompts = []
    for question, clock in _QUESTIONS:
        messages = as_list(
            diagnosis.called(function, (_DOCUMENT, question, clock), "arrange(...)"), what="arrange(...)"
        )
        prompts.append(_prompt(messages, question, clock))
    length = min(map(len, prompts))
    common = next((n for n in range(length) if prompts[0][n] != prompts[1][n]), length)
    if common < len(_DOCUMENT):
        before = prompts[0].find(_DOCUMENT)
        early = [
            name for name, words in zip(("question", "clock"), _QUESTIONS[0]) if 0 <= prompts[0].find(words) < before
        ]
        raise TryAgain(
            _(
                "The two prompts differ after {common} of {length} characters, before the document ends. {name} comes "
                "first; what changes belongs behind what does not."
            ).format(common=common, length=length, name=" and ".join(early) or _("something that changes"))
        )
    return _("Right: {share:.0%} of the prompt is known when the next question comes.").format(share=common / length)


def _prompt(messages: Sequence[Any], question: str, clock: str) -> str:
    """What a model reads, roughly as a chat template writes it."""
    parts = []
    for message in messages:
        if not isinstance(message, Mapping) or not {"role", "content"} <= set(message):
            raise TryAgain(_('Each message is a dict with "role" and "content".'))
        if message["role"] not in ("system", "user", "assistant"):
            raise TryAgain(_("There is no role {role!r}. Use system and user.").format(role=message["role"]))
        parts.append((message["role"], text(message["content"], _("A content"))))
    if not parts or parts[-1][0] != "user":
        raise TryAgain(_("The last message must be the user's: the model answers it."))
    if question not in parts[-1][1]:
        raise TryAgain(_("The question must be in the last message: it is what gets answered."))
    prompt = "".join(f"<|{role}|>\n{content}<|end|>\n" for role, content in parts)
    for name, needed in (("document", _DOCUMENT), ("clock", clock)):
        if needed not in prompt:
            raise TryAgain(_("The {name} is missing: the model must see it, as it was given.").format(name=name))
    return prompt


# --- 6.7 When a draft pays -----------------------------------------------------------------------------------


def _faster(value: object) -> str:
    function = a_function(value, "faster")
    diagnosis.judge(
        function,
        stored.cases("6.7"),
        {
            "no cost": _("That is the tokens for each look. Divide by what a look costs: 1 + k * c."),
            "the draft alone": _("The large model looks as well: the cost is 1 + k * c."),
            "one guess": _("The draft guesses k tokens: the cost is 1 + k * c."),
            "one too few": _("The exponent is k + 1: the large model adds a token of its own."),
            "all guesses": _("A guess counts only if those before it were right: take the geometric sum."),
            "": _("(1 - a**(k + 1)) / (1 - a), divided by 1 + k * c."),
        },
        call=lambda a, k, c: f"faster({a:g}, {k}, {c:g})",
    )
    return _("Right: a cheap draft that is often right pays, and an equal one never does.")


# --- 6.8 Whether to ask again --------------------------------------------------------------------------------

_JITTER = 0.5  # a rule that adds a random part may wait this share of the full time


def _again(value: object) -> str:
    function = a_function(value, "again")
    tried = stored.cases("6.8")
    answers = []
    for case in tried:
        call = _call_of_again(case.arguments)
        try:
            answer = function(*case.arguments)
        except (NotYet, TryAgain):
            raise
        except Exception as error:
            raise TryAgain(
                _("{call} failed: {kind}: {error}").format(call=call, kind=type(error).__name__, error=error)
            ) from error
        answers.append(None if answer is None or answer is Ellipsis else number(answer, call))
    if all(answer is None for answer in answers):
        waits = next(case for case in tried if case.right is not None)
        diagnosis.called(function, waits.arguments, _call_of_again(waits.arguments))  # the stub, print, or no return
    for case, answer in zip(tried, answers):
        if (answer is None) == (case.right is None):
            continue
        raise TryAgain(
            _("{call} says {answer}. {why}").format(
                call=_call_of_again(case.arguments), answer=_shown(answer), why=_why_not(case.arguments)
            )
        )
    for case, answer in zip(tried, answers):
        if answer is not None and not _JITTER * case.right - 1e-9 <= answer <= case.right + 1e-9:
            raise TryAgain(
                _("{call} says {answer}. {why}").format(
                    call=_call_of_again(case.arguments), answer=_shown(answer), why=_why_other(case.arguments, answer)
                )
            )
        wish = case.arguments[3]
        if answer is not None and wish is not None and answer < wish - 1e-9:
            raise TryAgain(
                _("{call} says {answer}. The server asks for {wish:g} seconds: never come back earlier.").format(
                    call=_call_of_again(case.arguments), answer=_shown(answer), wish=wish
                )
            )
    return _("Right in all {count} cases: patient with what may pass, and careful with what began.").format(
        count=len(tried)
    )


def _call_of_again(arguments: Sequence[Any]) -> str:
    attempts, status, began, wish = arguments
    return f"again({attempts}, {status}, {began}, {wish})"


def _shown(answer: float | None) -> str:
    return "None" if answer is None else f"{answer:g}"


def _why_not(arguments: Sequence[Any]) -> str:
    """Why a case is to be asked again, or not."""
    attempts, status, began, _wish = arguments
    if began:
        return _("An answer had begun: a POST is not repeated blindly.")
    if attempts >= 5:
        return _("Five attempts were made: give up.")
    if status in (400, 401, 404):
        return _("{status} stays wrong however often you ask.").format(status=status)
    return _("This may pass: wait, and ask again.")


def _why_other(arguments: Sequence[Any], answer: float) -> str:
    attempts, _status, _began, wish = arguments
    if wish is not None and answer < wish:
        return _("The server asks for {wish:g} seconds: never come back earlier.").format(wish=wish)
    if wish is not None and wish < answer:
        return _("Wait what the server asks for, or your own pause if that is longer.")
    return _("After attempt {attempts} the pause is 0.5 seconds doubled {times} times, at most 8.").format(
        attempts=attempts, times=attempts - 1
    )


# --- 6.9 Lose nothing ----------------------------------------------------------------------------------------

LEAST_QUESTIONS, LEAST_AT_ONCE = 24, 6


def _nothing_lost(value: object) -> str:
    replies = _replies(value, _("The run"))
    clients = number(getattr(value, "clients", None), _("The number of clients"))
    if clients < LEAST_AT_ONCE or len(replies) < LEAST_QUESTIONS:
        raise TryAgain(
            _("{clients:g} clients asked {count} questions. At least {least} and {questions} are needed.").format(
                clients=clients, count=len(replies), least=LEAST_AT_ONCE, questions=LEAST_QUESTIONS
            )
        )
    lost = [reply for reply in replies if reply.problem]
    if any(reply.text and reply.attempts == 1 for reply in lost):
        raise TryAgain(
            _("{count} were lost, and some had begun. Are they safe to repeat? Then say so: repeatable=True.").format(
                count=len(lost)
            )
        )
    if lost:
        raise TryAgain(
            _("{count} were lost, such as: {problem}. The server needs seconds to come back: ask more often.").format(
                count=len(lost), problem=lost[0].problem
            )
        )
    if max(reply.attempts for reply in replies) < 2:
        raise TryAgain(_("Every question was answered at once: nothing was killed. Use at=(5, server.restart)."))
    return _("{count} questions, all answered; the most patient one was asked {most} times.").format(
        count=len(replies), most=max(reply.attempts for reply in replies)
    )


# --- 6.10 The price of a million -----------------------------------------------------------------------------


def _million(value: object) -> str:
    function = a_function(value, "million")
    diagnosis.judge(
        function,
        stored.cases("6.10"),
        {
            "always busy": _("The machine costs money while it waits, too. Divide by the share of the time it works."),
            "busy above": _("A machine that works less makes each token cost more: busy belongs below the line."),
            "an hour is a second": _("rate is per second and hourly per hour: 3600 seconds lie between them."),
            "minutes": _("An hour has 3600 seconds."),
            "one token": _("That is one token. Take a million."),
            "a thousand": _("That is a thousand tokens. Take a million."),
            "": _("Tokens in an hour: rate * 3600 * busy. Divide the price of the hour by it, times a million."),
        },
        call=lambda hourly, rate, busy: f"million({hourly:g}, {rate:g}, {busy:g})",
    )
    return _("Right: an idle machine is what makes your own tokens expensive.")


# Long because it is a list: title and hints of each exercise.
def exercises() -> tuple[Exercise, ...]:
    """The exercises, in the order of the lab."""
    return (
        Exercise(
            "6.1",
            _("Read a stream"),
            _stream,
            (
                _("Go through the lines. Which of them hold JSON?"),
                _('line.removeprefix("data: ") is the JSON; add choice["delta"].get("content") of each choice.'),
            ),
        ),
        Exercise(
            "6.2",
            _("Find out which options it obeys"),
            _obeys,
            (
                _("For each option, two requests that must differ if it is obeyed."),
                _("A seed shows only at temperature 1. A call of a tool is in message.tool_calls."),
            ),
        ),
        Exercise(
            "6.3",
            _("Compute both times"),
            _times,
            (
                _("The first token waits for the prompt to be read. The others follow one after the other."),
                _("arrived[0] - sent, and (arrived[-1] - arrived[0]) / (len(arrived) - 1)"),
            ),
        ),
        Exercise(
            "6.4",
            _("Get more out of one server"),
            _gain,
            (
                _("Which weights can a batch share on a CPU? Look at the two lines of the picture."),
                _("load_test(server, 1, prompts, each=12) and load_test(server, 20, prompts), with expanded weights."),
            ),
        ),
        Exercise(
            "6.5",
            _("Tell how long a class waits"),
            _waits,
            (
                _("In one round of a learner the full server gives every learner one answer."),
                _("A round takes learners / rate seconds."),
            ),
        ),
        Exercise(
            "6.6",
            _("Write prompts that are known already"),
            _arrange,
            (
                _("Which of the three never changes?"),
                _("The document alone in the system message; the time goes to the question."),
            ),
        ),
        Exercise(
            "6.7",
            _("Find out when a draft pays"),
            _faster,
            (
                _("Tokens for each look, divided by the cost of a look."),
                _("(1 - a ** (k + 1)) / (1 - a) / (1 + k * c)"),
            ),
        ),
        Exercise(
            "6.8",
            _("Decide whether to ask again"),
            _again,
            (
                _("First everything that means no: too often, begun, a status that stays wrong."),
                _("0.5 * 2 ** (attempts - 1), at most 8, and never less than wish."),
            ),
        ),
        Exercise(
            "6.9",
            _("Lose nothing"),
            _nothing_lost,
            (
                _("What had begun is lost unless you say that it may be repeated."),
                _("again=Backoff(most=40, longest=1, repeatable=True)"),
            ),
        ),
        Exercise(
            "6.10",
            _("Price your own server"),
            _million,
            (
                _("How many tokens does it write in an hour?"),
                _("hourly / (rate * 3600 * busy) * 1e6"),
            ),
        ),
    )
