"""Lab 06: the cases of its exercises, and what common mistakes give."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from references import Reference, solution

# --- 6.1 Read a stream ----------------------------------------------------------------------------------------------


def _event(content: str | None, **rest: object) -> str:
    delta = {"role": "assistant"} if content is None else {"role": "assistant", "content": content}
    return "data: " + json.dumps({"choices": [{"index": 0, "delta": delta, "finish_reason": None}], **rest})


def _stream(*pieces: str | None) -> list[str]:
    lines = [line for piece in pieces for line in (_event(piece), "")]
    counts = {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": len(pieces)}}
    return [": keepalive 0/7", "", *lines, "data: " + json.dumps(counts), "", "data: [DONE]", ""]


STREAMS = (
    (_stream("Lima", " is a city in", " Peru.", None),),
    (_stream(None, " data: ", "서울", "\n\n", "[DONE]", " : ", None),),
    (_stream(None),),
)


def _pieces(lines: Sequence[str]) -> list[str]:
    events = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    return [choice["delta"].get("content") or "" for event in events for choice in event["choices"]]


# --- 6.2 What the server obeys --------------------------------------------------------------------------------------

# mlx_lm.server of mlx-lm 0.32.2 with a template that has no place for tools. tests/serving/test_options.py asks it.
OBEYED = {
    "max_tokens": True,
    "seed": True,
    "n": False,
    "logprobs": True,
    "response_format": False,
    "tools": False,
}

# --- 6.3 Two times --------------------------------------------------------------------------------------------------

MOMENTS = ((10.0, [10.5, 10.6, 10.8, 11.3]), (3.0, [3.25, 4.0]), (100.0, [102.0, 102.5, 103.0, 103.25, 104.0]))

# --- 6.5 How long a class waits -------------------------------------------------------------------------------------

CLASSES = ((20, 4.0, 2.0), (100, 8.0, 5.0), (40, 16.0, 0.0))

# --- 6.7 When a draft pays ------------------------------------------------------------------------------------------

DRAFTS = ((0.8, 3, 0.1), (0.5, 2, 0.25), (0.75, 4, 1.0))


def _looks(cost: Callable[[float, int, float], float]) -> Callable[[float, int, float], float]:
    return lambda a, k, c: (1 - a ** (k + 1)) / (1 - a) / cost(a, k, c)


# --- 6.8 Whether to ask again ---------------------------------------------------------------------------------------

# Attempts, status, whether an answer had begun, what the server asks for.
MISHAPS = (
    (1, None, False, None),
    (2, 503, False, None),
    (4, 500, False, None),
    (1, 429, False, 7.0),
    (3, 429, False, 0.25),
    (5, 503, False, None),
    (1, None, True, None),
    (2, None, True, 1.0),
    (1, 400, False, None),
    (1, 401, False, None),
    (1, 404, False, None),
)

# --- 6.10 The price of a million ------------------------------------------------------------------------------------

MACHINES = ((3.6, 1000.0, 1.0), (0.5, 400.0, 0.25), (2.0, 250.0, 0.5))


def references() -> list[Reference]:
    """The exercises of the lab that are checked against stored results."""
    return [
        Reference(
            "6.1",
            solution("06", "text_of"),
            STREAMS,
            {
                "spaces": lambda lines: " ".join(_pieces(lines)),
                "stripped": lambda lines: "".join(piece.strip() for piece in _pieces(lines)),
                "last": lambda lines: _pieces(lines)[-1],
                "pieces": _pieces,
            },
        ),
        Reference("6.2", lambda: OBEYED),
        Reference(
            "6.3",
            lambda sent, arrived: list(solution("06", "times")(sent, arrived)),
            MOMENTS,
            {
                "as many gaps as tokens": lambda s, a: [a[0] - s, (a[-1] - a[0]) / len(a)],
                "from the question": lambda s, a: [a[0] - s, (a[-1] - s) / len(a)],
                "moment": lambda s, a: [a[0], (a[-1] - a[0]) / (len(a) - 1)],
                "tokens a second": lambda s, a: [a[0] - s, (len(a) - 1) / (a[-1] - a[0])],
                "exchanged": lambda s, a: [(a[-1] - a[0]) / (len(a) - 1), a[0] - s],
                "milliseconds": lambda s, a: [1000 * (a[0] - s), 1000 * (a[-1] - a[0]) / (len(a) - 1)],
                "whole answer": lambda s, a: [a[0] - s, a[-1] - a[0]],
            },
        ),
        Reference(
            "6.5",
            solution("06", "waits"),
            CLASSES,
            {
                "no reading": lambda learners, rate, reading: learners / rate,
                "reading added": lambda learners, rate, reading: learners / rate + reading,
                "times": lambda learners, rate, reading: learners * rate - reading,
                "upside down": lambda learners, rate, reading: rate / learners - reading,
                "one": lambda learners, rate, reading: 1 / rate,
            },
        ),
        Reference(
            "6.7",
            solution("06", "faster"),
            DRAFTS,
            {
                "no cost": _looks(lambda a, k, c: 1),
                "the draft alone": _looks(lambda a, k, c: k * c),
                "one guess": _looks(lambda a, k, c: 1 + c),
                "one too few": lambda a, k, c: (1 - a**k) / (1 - a) / (1 + k * c),
                "all guesses": lambda a, k, c: (1 + a * k) / (1 + k * c),
            },
        ),
        Reference("6.8", solution("06", "again"), MISHAPS),
        Reference(
            "6.10",
            solution("06", "million"),
            MACHINES,
            {
                "always busy": lambda hourly, rate, busy: hourly / (rate * 3600) * 1e6,
                "busy above": lambda hourly, rate, busy: hourly * busy / (rate * 3600) * 1e6,
                "an hour is a second": lambda hourly, rate, busy: hourly / (rate * busy) * 1e6,
                "minutes": lambda hourly, rate, busy: hourly / (rate * 60 * busy) * 1e6,
                "one token": lambda hourly, rate, busy: hourly / (rate * 3600 * busy),
                "a thousand": lambda hourly, rate, busy: hourly / (rate * 3600 * busy) * 1e3,
            },
        ),
    ]
