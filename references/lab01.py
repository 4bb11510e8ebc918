"""Lab 01: the cases of its exercises, and what common mistakes give."""

from __future__ import annotations

import math
from collections.abc import Callable, Container

from labs_helper.catalog import tables
from references import Reference, solution

# --- 1.3 Temperature by hand ----------------------------------------------------------------------------------------

LOGITS, TEMPERATURE = (4.0, 3.0, 1.0, 0.0), 0.5


def _shared(weights: list[float]) -> list[float]:
    return [weight / sum(weights) for weight in weights]


def _of_powers(power: Callable[[float], float] = math.exp, temperature: float = TEMPERATURE) -> list[float]:
    return _shared([power(z / temperature) for z in LOGITS])


# --- 1.5 The misprints ----------------------------------------------------------------------------------------------

LONG = ("GovReport", "QMSum", "Qasper", "SQuALITY", "SummScreenFD")


def score(table: str, model: str, benchmark: str) -> float:
    """One printed score. Raises KeyError where there is none."""
    for row in tables.read(table):
        if (row["model"], row["benchmark"]) == (model, benchmark):
            return float(row["value"])
    raise KeyError(f"{table}: no {benchmark} for {model}")


def _average(table: str, model: str, leave_out: str, instead: float, benchmarks: Container[str] | None = None) -> float:
    """The mean of a table's column with one score replaced."""
    scores = [
        instead if row["benchmark"] == leave_out else float(row["value"])
        for row in tables.read(table)
        if row["model"] == model
        and row["benchmark"] != "Average of the table"
        and (benchmarks is None or row["benchmark"] in benchmarks)
    ]
    return sum(scores) / len(scores)


def misprints() -> list[list[str | float]]:
    """The scores that are printed wrongly, worked out from the published tables: model, benchmark, right value.

    Two steps: the two scores that differ between two tables, decided by the average printed under each; then the
    "Long context" row of the category table against the long-context table. The notebook's solution lists the same.
    """
    right: list[list[str | float]] = []
    model, other = "Gemma-2-9B-it", score("multilingual_overview", "Gemma-2-9B-it", "MGSM")
    printed = score("phi35_mini_main", model, "Average of the table")
    if abs(_average("phi35_mini_main", model, "MGSM", other) - printed) <= 0.0501:
        right.append([model, "MGSM", other])
    model, other = "Phi-3.5-mini-instruct", score("long_context", "Phi-3.5-mini-instruct", "SQuALITY")
    printed = score("long_context", model, "Average of the table")
    if abs(_average("long_context", model, "SQuALITY", other, LONG) - printed) <= 0.0501:
        right.append([model, "SQuALITY", other])
    for row in tables.read("category_averages"):
        if (row["benchmark"], row["category"]) != ("Category average", "Long context"):
            continue
        name = str(row["model"])
        if name != "Gemma-2-9B-it":
            average = score("long_context", name, "Average of the table")
            if average != row["value"]:
                right.append([name, "Long context", average])
    return right


# --- 1.6 Which RoPE table -------------------------------------------------------------------------------------------

REQUESTS = (
    (40, 64, 256),
    (800, 64, 256),
    (200, 100, 256),
    (192, 64, 256),
    (193, 64, 256),
    (10, 300, 256),
    (4000, 96, 4096),
    (4000, 128, 4096),
    (300, 40, 4096),
)


def _short_if(test: Callable[[int, int, int], bool]) -> Callable[[int, int, int], str]:
    return lambda prompt, most, original: "short" if test(prompt, most, original) else "long"


# --- 1.8 The loss of DPO --------------------------------------------------------------------------------------------

# Log-probabilities: better, worse, better under the frozen copy, worse under it; and beta.
PAIRS = (
    (-20.0, -22.0, -20.0, -22.0, 0.1),
    (-15.0, -30.0, -20.0, -22.0, 0.1),
    (-25.0, -20.0, -20.0, -22.0, 0.1),
    (-15.0, -30.0, -20.0, -22.0, 0.5),
    (-3.0, -4.0, -9.0, -2.0, 0.2),
)
Loss = Callable[[float, float, float, float, float], float]


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def _of_gap(make: Callable[[float, float], float]) -> Loss:
    """A wrong loss, from the gap and beta."""
    return lambda b, w, fb, fw, beta: make((b - fb) - (w - fw), beta)


def _log_sigmoid(x: float) -> float:
    return math.log(_sigmoid(x))


def references() -> list[Reference]:
    """The exercises of the lab that are checked against stored results."""
    exp = [math.exp(z / TEMPERATURE) for z in LOGITS]
    return [
        Reference(
            "1.3",
            lambda: solution("01", "probabilities"),
            mistakes={
                "temperature 1": lambda: _of_powers(temperature=1),
                "multiplied": lambda: _of_powers(temperature=1 / TEMPERATURE),
                "per cent": lambda: [100 * p for p in _of_powers()],
                "not divided": lambda: exp,
                "not divided, temperature 1": lambda: [math.exp(z) for z in LOGITS],
                "logits shared": lambda: _shared(list(LOGITS)),
                "scaled logits": lambda: [z / TEMPERATURE for z in LOGITS],
                "base 2": lambda: _of_powers(lambda z: 2**z),
                "base 10": lambda: _of_powers(lambda z: 10**z),
                "afterwards": lambda: [p / TEMPERATURE for p in _of_powers(temperature=1)],
                "one decimal": lambda: [round(p, 1) for p in _of_powers()],
            },
        ),
        Reference("1.5", misprints),
        Reference(
            "1.6",
            solution("01", "choose_table"),
            REQUESTS,
            {
                "exchanged": _short_if(lambda prompt, most, original: prompt + most > original),
                "prompt alone": _short_if(lambda prompt, most, original: prompt <= original),
                "answer alone": _short_if(lambda prompt, most, original: most <= original),
                "one too strict": _short_if(lambda prompt, most, original: prompt + most < original),
                "one too many": _short_if(lambda prompt, most, original: prompt + most <= original + 1),
                "always 256": _short_if(lambda prompt, most, original: prompt + most <= 256),
                "always 4096": _short_if(lambda prompt, most, original: prompt + most <= 4096),
            },
        ),
        Reference(
            "1.8",
            solution("01", "dpo_loss"),
            PAIRS,
            {
                "margin": _of_gap(lambda gap, beta: beta * gap),
                "sigmoid": _of_gap(lambda gap, beta: _sigmoid(beta * gap)),
                "sign": _of_gap(lambda gap, beta: _log_sigmoid(beta * gap)),
                "exchanged": _of_gap(lambda gap, beta: -_log_sigmoid(-beta * gap)),
                "no frozen copy": lambda b, w, fb, fw, beta: -_log_sigmoid(beta * (b - w)),
                "frozen copy added": lambda b, w, fb, fw, beta: -_log_sigmoid(beta * (b + fb - w - fw)),
                "changes added": lambda b, w, fb, fw, beta: -_log_sigmoid(beta * (b - fb + w - fw)),
                "no beta": _of_gap(lambda gap, beta: -_log_sigmoid(gap)),
                "beta outside": _of_gap(lambda gap, beta: -beta * _log_sigmoid(gap)),
                "beta fixed": _of_gap(lambda gap, beta: -_log_sigmoid(0.1 * gap)),
                "base 10": _of_gap(lambda gap, beta: -_log_sigmoid(beta * gap) / math.log(10)),
                "base 2": _of_gap(lambda gap, beta: -_log_sigmoid(beta * gap) / math.log(2)),
            },
        ),
    ]
