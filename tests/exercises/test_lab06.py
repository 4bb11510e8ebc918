"""The checks of lab 06: they pass what is right and name the likely mistake in what is not."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass

import numpy as np
import pytest

from labs_helper.exercises import check


def message(number, value, *, passed):
    result = check(number, value)
    assert result.passed is passed, result.message
    return result.message


def events(lines):
    return [json.loads(line[6:]) for line in lines if line.startswith("data: {")]


def pieces(lines):
    return [choice["delta"].get("content") or "" for event in events(lines) for choice in event["choices"]]


def careless(lines):
    return "".join(json.loads(line.removeprefix("data: "))["choices"][0]["delta"]["content"] for line in lines)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda lines: " ".join(pieces(lines)), "Nothing belongs between"),
        (lambda lines: "".join(piece.strip() for piece in pieces(lines)), "Do not strip"),
        (lambda lines: pieces(lines)[-1], "last piece alone"),
        (pieces, "list of pieces"),
        (careless, "JSON"),
        (lambda lines: "".join(event["choices"][0]["delta"].get("content") or "" for event in events(lines)), "counts"),
        (lambda lines: "".join(c["delta"]["content"] for e in events(lines) for c in e["choices"]), "no content"),
        (lambda lines: "".join(lines), "choices[0].delta.content"),
        (lambda lines: 7, "text"),
        ("Lima", "function itself"),
    ],
)
def test_a_stream_that_is_read_wrongly(function, words):
    assert words in message("6.1", function, passed=False)


def by_hand(lines):
    text = ""
    for line in lines:
        if line[:5] == "data:" and line[5:].strip() != "[DONE]":
            for choice in json.loads(line[5:])["choices"]:
                text += choice["delta"].get("content", "")
    return text


def with_the_course(lines):
    from labs_helper.engines.stream_reader import StreamReader

    reader = StreamReader()
    return "".join(token.text for token in (*reader.feed("\n".join(lines).encode()), *reader.close()))


@pytest.mark.parametrize("function", [by_hand, with_the_course, lambda lines: "".join(iter(pieces(tuple(lines))))])
def test_a_stream_that_is_read_well(function):
    assert "no space is lost" in message("6.1", function, passed=True)


OBEYED = {"max_tokens": True, "seed": True, "n": False, "logprobs": True, "response_format": False, "tools": False}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (OBEYED | {"max_tokens": False}, "three tokens"),
        (OBEYED | {"seed": False}, "temperature 1"),
        (OBEYED | {"n": True}, "count the choices"),
        (OBEYED | {"logprobs": False}, "choices[0].logprobs"),
        (OBEYED | {"response_format": True}, "usual answer is a sentence"),
        (OBEYED | {"tools": True}, "tool_calls"),
        ({"max_tokens": True}, "missing"),
        (OBEYED | {"n": "no"}, "True or False"),
        ([True, True], "dict"),
    ],
)
def test_options_that_are_judged_wrongly(value, words):
    assert words in message("6.2", value, passed=False)


@pytest.mark.parametrize(
    "value",
    [
        OBEYED,
        {name: np.bool_(obeyed) for name, obeyed in OBEYED.items()},
        dict(reversed(OBEYED.items())) | {"stop": "partly"},
    ],
)
def test_options_that_are_judged_well(value):
    assert "n, response_format, tools are ignored" in message("6.2", value, passed=True)


def test_options_that_are_not_tried_yet():
    assert "Nothing to check" in message("6.2", OBEYED | {"tools": ...}, passed=False)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda s, a: (a[0] - s, (a[-1] - a[0]) / len(a)), "n - 1 gaps"),
        (lambda s, a: (a[0] - s, (a[-1] - s) / len(a)), "not at the question"),
        (lambda s, a: (a[0], (a[-1] - a[0]) / (len(a) - 1)), "a moment"),
        (lambda s, a: (a[0] - s, (len(a) - 1) / (a[-1] - a[0])), "tokens a second"),
        (lambda s, a: ((a[-1] - a[0]) / (len(a) - 1), a[0] - s), "exchanged"),
        (lambda s, a: (1000 * (a[0] - s), 1000 * (a[-1] - a[0]) / (len(a) - 1)), "milliseconds"),
        (lambda s, a: (a[0] - s, a[-1] - a[0]), "whole answer"),
        (lambda s, a: a[0] - s, "2 numbers"),
    ],
)
def test_times_that_are_wrong(function, words):
    assert words in message("6.3", function, passed=False)


@pytest.mark.parametrize(
    "function",
    [
        lambda s, a: [a[0] - s, np.diff(a).mean()],
        lambda s, a: np.array([a[0] - s, float(np.mean(np.diff(a)))]),
        lambda s, a: {"first": a[0] - s, "each": (a[-1] - a[0]) / (len(a) - 1)},
    ],
)
def test_times_that_are_right(function):
    assert "notices first" in message("6.3", function, passed=True)


@dataclass
class Reply:
    tokens: int = 20
    problem: str = ""
    text: str = "Lima"
    attempts: int = 1


@dataclass
class Run:
    clients: int
    replies: tuple
    seconds: float


ONE, MANY = Run(1, (Reply(),) * 12, 2.0), Run(20, (Reply(),) * 60, 2.5)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"one": ONE, "many": Run(20, (Reply(),) * 60, 6.0)}, "expanded=True"),
        ({"one": ONE, "many": Run(8, (Reply(),) * 60, 2.5)}, "at least 16"),
        ({"one": MANY, "many": MANY}, "at least 16"),
        ({"one": ONE, "many": Run(20, (Reply(),) * 20, 0.8)}, "too short"),
        ({"one": ONE, "many": Run(20, (*(Reply(),) * 59, Reply(problem="cut")), 2.5)}, "lost 1"),
        ({"one": 120.0, "many": 480.0}, "load_test()"),
        ({"one": ONE}, '"many"'),
        ({"one": Run(1, (), 1.0), "many": MANY}, "no answer"),
        (4.2, "dict"),
    ],
)
def test_a_gain_that_is_none(value, words):
    assert words in message("6.4", value, passed=False)


@pytest.mark.parametrize(
    "value",
    [
        {"one": ONE, "many": MANY},
        {"one": ONE, "many": Run(16, [Reply()] * 30, np.float64(1.5)), "note": "mine"},
        {"many": Run(40, (Reply(),) * 80, 2.0), "one": ONE},
    ],
)
def test_a_gain(value):
    assert "times the tokens of one" in message("6.4", value, passed=True)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda n, rate, reading: n / rate, "Take the reading off"),
        (lambda n, rate, reading: n / rate + reading, "Subtract the reading"),
        (lambda n, rate, reading: n * rate - reading, "divide"),
        (lambda n, rate, reading: rate / n - reading, "upside down"),
        (lambda n, rate, reading: 1 / rate, "between two answers"),
        (lambda n, rate, reading: 5, "Little"),
        (lambda n, rate, reading: "long", "number"),
    ],
)
def test_a_wait_that_is_wrong(function, words):
    assert words in message("6.5", function, passed=False)


@pytest.mark.parametrize(
    "function",
    [
        lambda learners, rate, reading: learners / rate - reading,
        lambda n, x, z: max(0.0, (n - x * z) / x),
        lambda n, x, z: np.float32(n / x) - z,
    ],
)
def test_a_wait_that_is_right(function):
    assert "reading is not waiting" in message("6.5", function, passed=True)


def told(*contents, roles=("system", "user")):
    return [{"role": role, "content": content} for role, content in zip(roles, contents)]


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda d, q, c: told(f"It is {c}. {d}", q), "clock comes first"),
        (lambda d, q, c: told(c, f"{d} {q}"), "clock comes first"),
        (lambda d, q, c: told(q, d + c + q), "question comes first"),
        (lambda d, q, c: told(f"{random.random()} {d}", f"{c} {q}"), "something that changes"),
        (lambda d, q, c: told(d, q), "clock is missing"),
        (lambda d, q, c: told(d[:100], f"{c} {q}"), "document is missing"),
        (lambda d, q, c: told(f"{d} {c} {q}", "Answer."), "question must be in the last"),
        (lambda d, q, c: told(d, c + q, roles=("system", "assistant")), "must be the user's"),
        (lambda d, q, c: told(d, c + q, roles=("system", "human")), "no role"),
        (lambda d, q, c: [d, c, q], "dict"),
        (lambda d, q, c: f"{d} {c} {q}", "dict"),
    ],
)
def test_prompts_that_are_not_known_already(function, words):
    assert words in message("6.6", function, passed=False)


@pytest.mark.parametrize(
    "function",
    [
        lambda d, q, c: told(d, f"It is {c}. {q}"),
        lambda d, q, c: told(f"{d}\n\nIt is {c}. {q}", roles=("user",)),
        lambda d, q, c: told(f"Answer from this:\n{d}", "Yes.", f"{q} ({c})", roles=("system", "assistant", "user")),
    ],
)
def test_prompts_that_are_known_already(function):
    assert "is known when the next question comes" in message("6.6", function, passed=True)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda a, k, c: (1 - a ** (k + 1)) / (1 - a), "what a look costs"),
        (lambda a, k, c: (1 - a ** (k + 1)) / (1 - a) / (k * c), "looks as well"),
        (lambda a, k, c: (1 - a ** (k + 1)) / (1 - a) / (1 + c), "guesses k tokens"),
        (lambda a, k, c: (1 - a**k) / (1 - a) / (1 + k * c), "of its own"),
        (lambda a, k, c: (1 + a * k) / (1 + k * c), "those before it"),
        (lambda a, k, c: (1 + k * c) / ((1 - a ** (k + 1)) / (1 - a)), "upside down"),
        (lambda a, k, c: a, "1 + k * c"),
    ],
)
def test_a_gain_of_a_draft_that_is_wrong(function, words):
    assert words in message("6.7", function, passed=False)


@pytest.mark.parametrize(
    "function",
    [
        lambda a, k, c: (1 - a ** (k + 1)) / (1 - a) / (1 + k * c),
        lambda a, k, c: sum(a**i for i in range(k + 1)) / (1 + k * c),
        lambda a, k, c: np.polyval(np.ones(k + 1), a) / (c * k + 1),
    ],
)
def test_a_gain_of_a_draft_that_is_right(function):
    assert "an equal one never does" in message("6.7", function, passed=True)


PASSING = (None, 408, 429, 500, 502, 503, 504)


def rule(*, most=5, passing=PASSING, begun=False, pause=lambda attempts: min(8, 0.5 * 2 ** (attempts - 1)), wish=True):
    def again(attempts, status, began, wished):
        if attempts >= most or (began and not begun) or status not in passing:
            return None
        return max(pause(attempts), (wished or 0) if wish else 0)

    return again


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (rule(begun=True), "not repeated blindly"),
        (rule(most=6), "give up"),
        (rule(most=3), "This may pass"),
        (rule(passing=(*PASSING, 400)), "400 stays wrong"),
        (rule(passing=(*PASSING, 401)), "401 stays wrong"),
        (rule(passing=(*PASSING, 404)), "404 stays wrong"),
        (rule(passing=(503, 500, 429)), "This may pass"),
        (rule(passing=(None, 503, 500)), "This may pass"),
        (rule(pause=lambda attempts: 0.5), "doubled"),
        (rule(pause=lambda attempts: 0.5 * 2**attempts), "doubled"),
        (rule(wish=False), "never come back earlier"),
        (lambda attempts, status, began, wish: wish or 1, "give up"),
        (lambda attempts: 1, "failed"),
        (lambda *case: "soon", "number"),
    ],
)
def test_a_rule_that_is_wrong(function, words):
    assert words in message("6.8", function, passed=False)


@pytest.mark.parametrize(
    "function",
    [
        rule(),
        lambda *case: None if rule()(*case) is None else max(rule()(*case) * random.uniform(0.75, 1), case[3] or 0),
        lambda *case: rule(pause=lambda attempts: np.float64(min(8.0, 2.0 ** (attempts - 2))))(*case),
    ],
)
def test_a_rule_that_is_right(function):
    assert "careful with what began" in message("6.8", function, passed=True)


def test_a_rule_that_is_not_written_yet():
    assert "Nothing to check" in message("6.8", lambda attempts, status, began, wish: None, passed=False)


def asked(*, count=24, clients=6, lost=(), most=4):
    replies = [Reply(attempts=most if place == 0 else 1) for place in range(count - len(lost))]
    return Run(clients, (*replies, *lost), 9.0)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (asked(lost=(Reply(problem="the answer has no end"),)), "repeatable=True"),
        (asked(lost=(Reply(problem="refused", text="", attempts=3),)), "ask more often"),
        (asked(most=1), "nothing was killed"),
        (asked(count=20), "At least"),
        (asked(clients=2), "At least"),
        (Run(6, (), 1.0), "no answer"),
        ("nothing", "load_test()"),
    ],
)
def test_a_run_that_lost_something(value, words):
    assert words in message("6.9", value, passed=False)


@pytest.mark.parametrize("value", [asked(), asked(count=200, clients=np.int64(20)), asked(most=40)])
def test_a_run_that_lost_nothing(value):
    assert "all answered" in message("6.9", value, passed=True)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda hourly, rate, busy: hourly / (rate * 3600) * 1e6, "while it waits"),
        (lambda hourly, rate, busy: hourly * busy / (rate * 3600) * 1e6, "below the line"),
        (lambda hourly, rate, busy: hourly / (rate * busy) * 1e6, "3600 seconds lie between"),
        (lambda hourly, rate, busy: hourly / (rate * 60 * busy) * 1e6, "An hour has 3600"),
        (lambda hourly, rate, busy: hourly / (rate * 3600 * busy), "one token"),
        (lambda hourly, rate, busy: hourly / (rate * 3600 * busy) * 1e3, "a thousand"),
        (lambda hourly, rate, busy: rate * 3600 * busy, "Tokens in an hour"),
    ],
)
def test_a_price_that_is_wrong(function, words):
    assert words in message("6.10", function, passed=False)


@pytest.mark.parametrize(
    "function",
    [
        lambda hourly, rate, busy: hourly / (rate * 3600 * busy) * 1e6,
        lambda h, r, b: 1e6 / r / 3600 * h / b,
        lambda h, r, b: np.array([h * 1e6 / (3600 * r * b)]),
    ],
)
def test_a_price_that_is_right(function):
    assert "idle machine" in message("6.10", function, passed=True)
