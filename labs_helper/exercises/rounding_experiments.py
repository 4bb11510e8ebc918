"""The checks of lab 04's experiments: an outlier, skills, layers, distilling, a cache, and what takes the time.

A learner's measurements depend on the model, the machine and chance. So a check asks whether the verdict follows from
the numbers that were handed in, and never whether they are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from labs_helper.common.numbers import wilson
from labs_helper.common.translate import _
from labs_helper.errors import BadRequest
from labs_helper.exercises.base import NotYet, TryAgain, as_list, is_unfilled, kind, number, text

if TYPE_CHECKING:
    import numpy as np

# --- 4.3 Carry an outlier --------------------------------------------------------------------------------------------

GROUPS, ROW_BITS, MOST_ERROR = (32, 64, 128, 256, 512), 4, 0.4
OUTLIER = 10  # times the largest other weight


def outlier(value: object) -> str:
    """Exercise 4.3: the largest group that carries an outlier of the learner's own."""
    import numpy as np

    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise TryAgain(_("Hand in two things: the row with its outlier, and the group."))
    row, group = value
    if is_unfilled(group):
        raise NotYet
    weights = np.array([number(weight, _("Each weight")) for weight in as_list(row, what=_("The row"))])
    size = number(group, _("The group"))
    if size not in GROUPS:
        raise TryAgain(
            _("The group must be one of {known}. I was given {group:g}.").format(
                known=", ".join(map(str, GROUPS)), group=size
            )
        )
    if len(weights) != GROUPS[-1]:
        raise TryAgain(
            _("The row has {count} weights. Take a whole row of matrix: {most}.").format(
                count=len(weights), most=GROUPS[-1]
            )
        )
    large = int(np.abs(weights).argmax())
    others = np.delete(np.abs(weights), large)
    if not np.abs(weights[large]) >= 0.99 * OUTLIER * others.max() > 0:  # a row of 16-bit numbers is a little off
        raise TryAgain(
            _(
                "The largest weight is {times:.1f} times the next one. Make an outlier of at least {least} times."
            ).format(times=np.abs(weights[large]) / max(others.max(), 1e-12), least=OUTLIER)
        )
    errors = {width: _error_of_others(weights, large, width) for width in GROUPS}
    told = _("The others' error: {errors}.").format(
        errors=", ".join(f"{width}: {error:.2f}" for width, error in errors.items())
    )
    if errors[int(size)] > MOST_ERROR:
        raise TryAgain(
            _("With groups of {group:g} the others have an error of {error:.2f}, more than {most}.").format(
                group=size, error=errors[int(size)], most=MOST_ERROR
            )
        )
    if any(width > size and error <= MOST_ERROR for width, error in errors.items()):
        raise TryAgain(
            _("Groups of {group:g} keep to {most}, but larger ones do too.").format(group=size, most=MOST_ERROR)
        )
    return _("{told} Groups of {group:g} are the largest that carry it.").format(told=told, group=size)


def _error_of_others(weights: np.ndarray[Any, Any], large: int, group: int) -> float:
    import numpy as np

    from labs_helper.quantizing.rounding import relative_error, round_groups

    try:
        rounded = round_groups(weights, ROW_BITS, group).values
    except BadRequest as problem:
        raise TryAgain(problem.what) from problem
    return relative_error(np.delete(weights, large), np.delete(rounded, large))


# --- 4.4 Which skill breaks first ------------------------------------------------------------------------------------

CANNOT_TELL, NOTHING = "cannot tell", "nothing broke"
FEWEST_SKILLS, FEWEST_ASKED = 3, 20


def first_to_break(value: object) -> str:
    """Exercise 4.4: whether the verdict about skills follows from the scores."""
    if not isinstance(value, (tuple, list)) or len(value) != 3:
        raise TryAgain(_("Hand in three things: the scores with 16 bits, those with yours, and your verdict."))
    before, after = (_counts(part) for part in value[:2])
    verdict = " ".join(text(value[2], _("The verdict")).strip().rstrip(".").split())
    if before.keys() != after.keys():
        raise TryAgain(_("The two have different skills. Ask both models the same questions."))
    if {skill: asked for skill, (_right, asked) in before.items()} != {
        skill: asked for skill, (_right, asked) in after.items()
    }:
        raise TryAgain(_("The two were asked different numbers of questions. Ask both the same ones."))
    known = {name.casefold(): name for name in (*after, CANNOT_TELL, NOTHING)}
    if verdict.casefold() not in known:
        raise TryAgain(
            _('The verdict is a skill, "{cannot_tell}" or "{nothing}". The skills: {skills}.').format(
                cannot_tell=CANNOT_TELL, nothing=NOTHING, skills=", ".join(after)
            )
        )
    right, why = _what_follows(before, after)
    if known[verdict.casefold()] == right:
        return _("{why} So your verdict follows: {verdict}.").format(why=why, verdict=right)
    raise TryAgain(_("{why} Another verdict follows from that.").format(why=why))


Counts = Mapping[str, tuple[int, int]]


def _counts(scores: object) -> Counts:
    """Right answers and questions of each skill, counted again."""
    if is_unfilled(scores):
        raise NotYet
    if not isinstance(scores, Mapping):
        raise TryAgain(_("Scores are what score_skills() returned. I was given {kind}.").format(kind=kind(scores)))
    counts = {str(skill): _passed(score, str(skill)) for skill, score in scores.items()}
    if len(counts) < FEWEST_SKILLS:
        raise TryAgain(_("Compare at least {least} skills.").format(least=FEWEST_SKILLS))
    return counts


def _passed(score: Any, name: str) -> tuple[int, int]:
    passed = getattr(score, "passed", None)
    if passed is None:
        raise TryAgain(
            _("{name!r} must be a score, from score_skills(). I was given {kind}.").format(name=name, kind=kind(score))
        )
    flags = as_list(passed)
    if len(flags) < FEWEST_ASKED:
        raise TryAgain(
            _("{name!r} was measured on {count} questions. Ask at least {least}.").format(
                name=name, count=len(flags), least=FEWEST_ASKED
            )
        )
    return sum(map(bool, flags)), len(flags)


def _what_follows(before: Counts, after: Counts) -> tuple[str, str]:
    """The verdict that follows from the numbers, and why."""
    whole = [
        wilson(sum(right for right, _n in part.values()), sum(n for _right, n in part.values()))
        for part in (before, after)
    ]
    told = _("All together: {before_low:.2f} to {before_high:.2f} before, {low:.2f} to {high:.2f} after.").format(
        before_low=whole[0][0], before_high=whole[0][1], low=whole[1][0], high=whole[1][1]
    )
    if whole[1][1] >= whole[0][0]:
        return NOTHING, _("{told} They overlap.").format(told=told)
    intervals = {skill: wilson(*count) for skill, count in after.items()}
    lowest = min(intervals, key=lambda skill: intervals[skill][1])
    next_one = min((low, skill) for skill, (low, _high) in intervals.items() if skill != lowest)
    shown = _("{told} The lowest is {skill}, up to {high:.2f}; the next one, {other}, begins at {low:.2f}.").format(
        told=told, skill=lowest, high=intervals[lowest][1], other=next_one[1], low=next_one[0]
    )
    return (lowest if intervals[lowest][1] < next_one[0] else CANNOT_TELL), shown


# --- 4.5 Beat three bits ---------------------------------------------------------------------------------------------

SLACK = 0.01  # bits a weight: norms that are never rounded, and rounding in print


def mixed(value: object) -> str:
    """Exercise 4.5: bits by layer that beat three bits without more room."""
    if not isinstance(value, Mapping) or not {"mine", "three"} <= set(value):
        raise TryAgain(_('Hand in a dict with "mine" and "three", each a pair of model and distance.'))
    if any(is_unfilled(value[name]) for name in ("mine", "three")):
        raise NotYet
    (bits, mine), (most, three) = (_copy_and_distance(value[name], name) for name in ("mine", "three"))
    if bits > most + SLACK:
        raise TryAgain(
            _(
                "Your model takes {bits:.2f} bits a weight, and three bits take {most:.2f}. Take bits away somewhere."
            ).format(bits=bits, most=most)
        )
    low, high = _paired(mine, three)
    told = _("Yours: {bits:.2f} bits a weight, divergence {mine:.4f}; three bits: {three:.4f}.").format(
        bits=bits, mine=sum(mine) / len(mine), three=sum(three) / len(three)
    )
    if high < 0:
        return _("{told} The difference is not chance.").format(told=told)
    if low > 0:
        raise TryAgain(_("{told} It is worse. Give back the bits that cost most.").format(told=told))
    raise TryAgain(_("{told} That may be chance.").format(told=told))


def _copy_and_distance(value: object, name: str) -> tuple[float, list[float]]:
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise TryAgain(_("{name!r} must be a pair: the model, and its distance from compare().").format(name=name))
    copy, distance = value
    bits = getattr(copy, "bits_per_weight", None)
    if bits is None:
        raise TryAgain(
            _("{name!r} must begin with a model from rounded(). I was given {kind}.").format(name=name, kind=kind(copy))
        )
    return number(bits, _("Bits a weight")), _places(distance, name)


MOST_PLACES = 100_000


def _places(distance: Any, name: str) -> list[float]:
    places = getattr(distance, "by_place", None)
    if places is None:
        raise TryAgain(
            _("{name!r} must have a distance from compare(). I was given {kind}.").format(
                name=name, kind=kind(distance)
            )
        )
    values = [float(place) for place in as_list(places, MOST_PLACES)]
    if len(values) < 500:
        raise TryAgain(
            _("{name!r} was read on {count} places. Read the text of section 3.").format(name=name, count=len(values))
        )
    return values


def _paired(mine: list[float], other: list[float]) -> tuple[float, float]:
    """The 95% interval of the mean difference, place by place, in blocks: neighbours are not independent."""
    if len(mine) != len(other):
        raise TryAgain(_("The two did not read the same text. Use the same conversations for both."))
    import numpy as np

    width = 50
    differences = np.subtract(mine, other)
    blocks = np.array([part.mean() for part in np.array_split(differences, max(2, len(mine) // width))])
    spread = 1.96 * blocks.std(ddof=1) / len(blocks) ** 0.5
    return float(blocks.mean() - spread), float(blocks.mean() + spread)


# --- 4.6 Distil better -----------------------------------------------------------------------------------------------

ENOUGH = 0.5  # of the divergence before


def distilled(value: object) -> str:
    """Exercise 4.6: a distillation that halves the divergence."""
    keys = ("before", "distilled", "after")
    if not isinstance(value, Mapping) or not set(keys) <= set(value):
        raise TryAgain(_('Hand in a dict with "before" and "after", from compare(), and "distilled", from distil().'))
    if any(is_unfilled(value[name]) for name in keys):
        raise NotYet
    before, after = (_places(value[name], name) for name in ("before", "after"))
    losses = getattr(value["distilled"], "losses", None)
    if losses is None:
        raise TryAgain(
            _('"distilled" must be what distil() returned. I was given {kind}.').format(kind=kind(value["distilled"]))
        )
    if len(before) != len(after):
        raise TryAgain(_("The two did not read the same text. Use the same conversations for both."))
    share = sum(after) / sum(before)
    told = _("{steps} steps: divergence {before:.3f} -> {after:.3f}").format(
        steps=len(losses), before=sum(before) / len(before), after=sum(after) / len(after)
    )
    if share > 1:
        raise TryAgain(_("{told}. It became worse: try a smaller rate.").format(told=told))
    if share > ENOUGH:
        raise TryAgain(
            _("{told}, {share:.0%} of what it was. Half is asked for: more steps help.").format(told=told, share=share)
        )
    return _("{told}: {share:.0%} of what it was, in a file of the same size.").format(told=told, share=share)


# --- 4.7 Bits for the cache ------------------------------------------------------------------------------------------


def cache(value: object) -> str:
    """Exercise 4.7: the fewest bits of a cache that cannot be told from 16."""
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise TryAgain(_("Hand in two things: the scores by bits, and your number of bits."))
    scores, chosen = value
    if is_unfilled(chosen):
        raise NotYet
    if not isinstance(scores, Mapping) or 16 not in scores or len(scores) < 3:
        raise TryAgain(_("The scores must be a dict from bits to scores, with 16 and at least two others."))
    counts = {int(number(bits, _("Bits"))): _passed(score, str(bits)) for bits, score in scores.items()}
    bits = number(chosen, _("Your number of bits"))
    if bits not in counts:
        raise TryAgain(
            _("You did not measure {bits:g} bits. Choose one of {known}.").format(
                bits=bits, known=", ".join(map(str, sorted(counts)))
            )
        )
    intervals = {given: wilson(*count) for given, count in counts.items()}
    least = intervals[16][0]
    right = min(given for given, (_low, high) in intervals.items() if high >= least)
    low, high = intervals[int(bits)]
    told = _("{bits:g} bits: {low:.2f} to {high:.2f}; 16 bits: {least:.2f} to {most:.2f}.").format(
        bits=bits, low=low, high=high, least=least, most=intervals[16][1]
    )
    if bits == right:
        return _("{told} No smaller number overlaps. With {count} questions it is all that can be said.").format(
            told=told, count=counts[int(bits)][1]
        )
    if high < least:
        raise TryAgain(_("{told} They do not overlap.").format(told=told))
    raise TryAgain(_("{told} A smaller number overlaps as well.").format(told=told))


# --- 4.8 What takes the time -----------------------------------------------------------------------------------------

READING, COMPUTING, ALIKE = "reading", "computing", 1.5


def takes_the_time(value: object) -> str:
    """Exercise 4.8: whether reading or computing takes the time."""
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise TryAgain(_("Hand in two things: the products, and your verdict."))
    measured, verdict = value
    if is_unfilled(verdict):
        raise NotYet
    speeds = []
    for product in as_list(measured, what=_("The products")):
        speed = getattr(product, "gigabytes_per_second", None)
        if speed is None:
            raise TryAgain(_("Each product must come from products(). I was given {kind}.").format(kind=kind(product)))
        speeds.append(number(speed, _("Gigabytes a second")))
    if len(speeds) < 3:
        raise TryAgain(_("Measure at least three numbers of bits."))
    said = text(verdict, _("The verdict")).strip().rstrip(".").lower()
    if said not in (READING, COMPUTING):
        raise TryAgain(_('The verdict is "{reading}" or "{computing}".').format(reading=READING, computing=COMPUTING))
    ratio = max(speeds) / min(speeds)
    told = _("The fastest reads {ratio:.1f} times as many bytes a second as the slowest.").format(ratio=ratio)
    right = READING if ratio <= ALIKE else COMPUTING
    if said != right:
        raise TryAgain(_("{told} The verdict follows from that, and it is the other one.").format(told=told))
    return _("{told} So {what} takes the time here.").format(
        told=told, what=_("reading") if right == READING else _("computing")
    )
