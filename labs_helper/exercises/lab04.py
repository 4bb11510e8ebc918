"""The exercises of lab 04. Functions are tried on stored cases; experiments are judged in `rounding_experiments`."""

from __future__ import annotations

import operator
from typing import Any

from labs_helper.common.translate import _
from labs_helper.exercises import diagnosis, stored
from labs_helper.exercises import rounding_experiments as experiments
from labs_helper.exercises.base import Exercise, TryAgain, a_function, as_list, number

# --- 4.1 Round a row -------------------------------------------------------------------------------------------------


def _round_row(value: object) -> str:
    function = a_function(value, "round_row")
    tried = stored.cases("4.1")

    def made(row: list[float], bits: int) -> tuple[Any, int]:
        import numpy

        return numpy.array(row), bits

    def read(answer: object, call: str) -> list[float]:
        values = [number(part, _("Each value")) for part in as_list(answer, what=call)]
        if len(values) != len(lengths[call]):
            raise TryAgain(
                _("{call} returned {count} values for {wanted} weights.").format(
                    call=call, count=len(values), wanted=len(lengths[call])
                )
            )
        return values

    def close(answer: list[float], right: list[float]) -> bool:
        return len(answer) == len(right) and all(map(diagnosis.near, answer, right))

    lengths = {_call_of_row(*case.arguments): case.right for case in tried}
    diagnosis.judge(
        function,
        tried,
        {
            "codes": _("These are the codes. Turn them into weights again: times the scale, plus the smallest weight."),
            "one step too many": _("Between 2**bits values there are 2**bits - 1 steps."),
            "cut off": _("Codes are rounded to the nearest one. You cut the rest off."),
            "no smallest": _("The smallest weight is missing: add it when you turn the codes into weights."),
            "around zero": _("This is centred on zero. Here the codes go from the smallest weight to the largest."),
            "not rounded": _("Nothing was rounded: there are as many different values as before."),
            "": _("The scale is (largest - smallest) / (2**bits - 1); each weight takes the nearest of its steps."),
        },
        call=_call_of_row,
        made=made,
        read=read,
        close=close,
    )
    return _("Right: {count} rows, from 2 to 8 bits, and both ends stay as they are.").format(count=len(tried))


def _call_of_row(row: list[float], bits: int) -> str:
    return f"round_row({[round(weight, 3) for weight in row[:4]]}..., {bits})"


# --- 4.2 Bits of a weight --------------------------------------------------------------------------------------------


def _weight_bits(value: object) -> str:
    function = a_function(value, "weight_bits")
    tried = stored.cases("4.2")
    diagnosis.judge(
        function,
        tried,
        {
            "one number a group": _("A group has two such numbers: the scale and the bias."),
            "no groups": _("The scales and biases are missing."),
            "a scale for each weight": _("A group shares them: divide their bits by the weights of the group."),
            "always 16": _("scale_bits is an argument. Do not write 16 inside."),
            "bytes": _("That is bytes. Hand in bits."),
            "": _("bits, and the share of a weight in two numbers of scale_bits each."),
        },
        call=lambda *arguments: f"weight_bits{arguments}",
    )
    return _("Right: 4 bits in groups of 64 are {bits} bits a weight.").format(bits=tried[0].right)


# --- 4.9 Bits for a machine ------------------------------------------------------------------------------------------


def _most_bits(value: object) -> str:
    function = a_function(value, "most_bits")
    tried = stored.cases("4.9")
    diagnosis.judge(
        function,
        tried,
        {
            "the whole memory": _("The GPU gets two thirds of the memory."),
            "no scales": _("Scales and biases are missing: half a bit for each weight in groups of 64."),
            "the fewest": _("That is the fewest bits. The most that fit are asked for."),
            "bits as bytes": _("A byte has eight bits."),
            "scales at 16 bits": _("16 bits are not rounded and have no scales."),
            "never 0": _("If nothing fits, return 0."),
            "": _("weights x (bits + 0.5) / 8 bytes, without the 0.5 at 16 bits, against two thirds of the memory."),
        },
        call=lambda weights, memory: f"most_bits({weights}, {memory})",
        close=operator.eq,
    )
    return _("Right for all {count} machines.").format(count=len(tried))


# Long because it is a list: title and hints of each exercise.
def exercises() -> tuple[Exercise, ...]:
    """The exercises of lab 04, in their order, with titles and hints in the learner's language."""
    return (
        Exercise(
            "4.1",
            _("Round a row"),
            _round_row,
            (
                _("Three lines: the scale, the codes, and the weights that the codes stand for."),
                _("scale = (largest - smallest) / (2**bits - 1), then low + round((row - low) / scale) * scale"),
            ),
        ),
        Exercise(
            "4.2",
            _("Count the bits of a weight"),
            _weight_bits,
            (
                _("A group of 64 with two numbers of 16 bits has 32 bits more than its codes."),
                _("bits + 2 * scale_bits / group"),
            ),
        ),
        Exercise(
            "4.3",
            _("Carry an outlier"),
            experiments.outlier,
            (
                _("Copy a row, multiply one weight, and measure relative_error of the rest, without that place."),
                _("Try all five groups, largest first. The smaller the outlier, the larger the group that carries it."),
            ),
        ),
        Exercise(
            "4.4",
            _("Which skill breaks first"),
            experiments.first_to_break,
            (
                _("score.low and score.high are the ends of an interval; altogether(scores) counts all skills as one."),
                _("The skill with the smallest .high breaks first if that is below the .low of every other skill."),
            ),
        ),
        Exercise(
            "4.5",
            _("Beat three bits without more room"),
            experiments.mixed,
            (
                _("Take bits from layers with the least gain for each weight, and give them to those with the most."),
                _("Small steps: a layer from 3 to 2 bits pays for one of the same size from 3 to 4. Measure each."),
            ),
        ),
        Exercise(
            "4.6",
            _("Distil better"),
            experiments.distilled,
            (
                _("Look at the loss. Still falling at the end? More steps. Jumping up and down? A smaller rate."),
                _("With 2 bits, 100 steps or more at a rate of 3e-4. With 3 bits fewer are enough."),
            ),
        ),
        Exercise(
            "4.7",
            _("Choose bits for the cache"),
            experiments.cache,
            (
                _("Each score has .low and .high. Two intervals overlap if neither begins above the end of the other."),
                _("min(bits for bits, score in cached.items() if score.high >= cached[16].low)"),
            ),
        ),
        Exercise(
            "4.8",
            _("What takes the time"),
            experiments.takes_the_time,
            (
                _("Each product knows its gigabytes_per_second."),
                _('"reading" if the largest is at most 1.5 times the smallest, else "computing"'),
            ),
        ),
        Exercise(
            "4.9",
            _("Choose the bits for a machine"),
            _most_bits,
            (
                _("Bytes of the weights: weights * (bits + 0.5) / 8. At 16 bits there is no 0.5."),
                _("max((bits for bits in ... if it fits), default=0)"),
            ),
        ),
    )
