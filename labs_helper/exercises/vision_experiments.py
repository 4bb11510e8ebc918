"""The checks of lab 02's experiments. What comes out differs from model to model, so a check reads the learner's own
measurements: do they reach far enough, and does the conclusion follow from them?
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from labs_helper.common.translate import _
from labs_helper.exercises import diagnosis
from labs_helper.exercises.base import NotYet, TryAgain, a_function, as_list, is_unfilled, kind, number, text
from labs_helper.pictures.drawing import COLOURS, OUTLINES, PLACES, place_of

# --- What every experiment hands in -----------------------------------------------------------------------


def measured_and_concluded(value: object, columns: str) -> tuple[dict[float, float], float]:
    """A dict of numbers by numbers, and the number that was concluded from it.

    Args:
        value: what the learner handed in: a pair.
        columns: what the dict holds, as the message says it.

    Raises:
        TryAgain: it is anything else.

    Example:
        measured_and_concluded(({32: 6}, 32), "{size: words}")      # ({32.0: 6.0}, 32.0)
    """
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise TryAgain(
            _("Hand in two things: what you measured, {columns}, and your conclusion. I was given {kind}.").format(
                columns=columns, kind=kind(value)
            )
        )
    table, concluded = value
    if not isinstance(table, Mapping):
        raise TryAgain(
            _("What you measured must be a dict: {columns}. I was given {kind}.").format(
                columns=columns, kind=kind(table)
            )
        )
    rows = {number(key, _("Each key")): number(each, _("Each value")) for key, each in table.items()}
    return rows, number(concluded, _("The conclusion"))


# --- 2.3 The smallest letters -----------------------------------------------------------------------------

WORDS = 6  # that are read at each size


def smallest_letters(value: object) -> str:
    """The check of exercise 2.3: {size: words read}, and the smallest size at which all are read."""
    scores, smallest = measured_and_concluded(value, _("{size: words that were read}"))
    if any(size < 1 for size in scores):
        raise TryAgain(_("A size of letters is a number of pixels, at least 1. They are the keys of the dict."))
    if any(score != int(score) or not 0 <= score <= WORDS for score in scores.values()):
        raise TryAgain(
            _("Each value counts words, from 0 to {most}. Shares and percentages are not counts.").format(most=WORDS)
        )
    whole = [size for size, score in scores.items() if score == WORDS]
    if not whole:
        raise TryAgain(_("At none of these sizes were all words read. Begin with larger letters, such as 32."))
    below = [size for size in scores if size < min(whole)]
    if not below:
        raise TryAgain(
            _(
                "All words were still read at your smallest size, {size:g}. Go on with smaller ones until one fails."
            ).format(size=min(whole))
        )
    if smallest in below:
        raise TryAgain(
            _(
                "At {size:g} only {score:g} of {most} words were read. Asked for: the smallest size that reads all."
            ).format(size=smallest, score=scores[smallest], most=WORDS)
        )
    if smallest not in scores:
        raise TryAgain(
            _("You did not measure the size {size:g}. Conclude from what you measured.").format(size=smallest)
        )
    if smallest != min(whole):
        raise TryAgain(
            _("At {size:g} all words were read too, and it is smaller than {concluded:g}.").format(
                size=min(whole), concluded=smallest
            )
        )
    gap = smallest - max(below)
    if gap > 4:
        raise TryAgain(
            _(
                "Between {low:g} and {high:g} you measured nothing. Try sizes in between, so that the limit is "
                "known to 4 pixels."
            ).format(low=max(below), high=smallest)
        )
    return _(
        "Right: all words at {size:g} pixels, {score:g} of {most} at {below:g}. That is the limit of this model."
    ).format(size=smallest, score=scores[max(below)], most=WORDS, below=max(below))


# --- 2.4 Frames within one second -------------------------------------------------------------------------

BOUND = 1.0  # seconds to the first token
MOST_FRAMES = 12  # vision-tiny's context has no room for more, however fast the machine is


def frames_in_time(value: object) -> str:
    """The check of exercise 2.4: {frames: seconds to the first token}, and the most frames within the bound."""
    waits, most = measured_and_concluded(value, _("{frames: seconds}"))
    if any(frames != int(frames) or frames < 1 for frames in waits):
        raise TryAgain(_("The keys of the dict count frames: 1, 2, 3 and so on. The seconds are its values."))
    if any(seconds <= 0 for seconds in waits.values()):
        raise TryAgain(_("Each value must be a number of seconds above 0. Take seconds_to_first_token of the answer."))
    if min(waits.values()) > 60:
        raise TryAgain(_("These values look like milliseconds. Hand in seconds."))
    inside = [frames for frames, seconds in waits.items() if seconds <= BOUND]
    above = [frames for frames, seconds in waits.items() if seconds > BOUND]
    if len(waits) < 3:
        raise TryAgain(_("Measure at least three numbers of frames. You measured {count}.").format(count=len(waits)))
    if not above and max(inside) < MOST_FRAMES:
        raise TryAgain(
            _(
                "All your measurements are within {bound:g} second. Add frames until one is not, or until {most} fit."
            ).format(bound=BOUND, most=MOST_FRAMES)
        )
    if above and inside and min(above) < max(inside):
        raise TryAgain(
            _(
                "{few:g} frames took more than {bound:g} second, and {many:g} took less. Something else was "
                "running: measure again."
            ).format(few=min(above), many=max(inside), bound=BOUND)
        )
    right = max(inside, default=0)
    if most == right:
        if not above:
            return _(
                "Right. This machine answers all {frames:g} frames in time, and the context has no room for more."
            ).format(frames=right)
        if min(above) - right > 1:
            raise TryAgain(
                _("You did not measure {frames:g} frames, so more than {right:g} may fit. Measure that too.").format(
                    frames=right + 1, right=right
                )
            )
        return _(
            "Right. The most frames in time on this machine, now: {frames:g}. A faster machine may manage more."
        ).format(frames=right)
    if most in above:
        raise TryAgain(
            _("{frames:g} frames took {seconds:.2f} seconds: that is too late.").format(
                frames=most, seconds=waits[most]
            )
        )
    if most in waits:
        raise TryAgain(_("More frames than {frames:g} were in time. Take the largest number.").format(frames=most))
    raise TryAgain(
        _("Your measurements say nothing about {frames:g} frames. Conclude from what you measured.").format(frames=most)
    )


# --- 2.5 A picture that is misread ------------------------------------------------------------------------

KINDS = ("colour", "shape", "place", "missing", "invented")
_THING = re.compile(rf"\b({'|'.join(COLOURS)}) ({'|'.join(OUTLINES)})s?\b", re.I)
_PLACE = re.compile(rf"\b({'|'.join(sorted(PLACES, key=len, reverse=True))})\b", re.I)

Thing = tuple[str, str, str]  # colour, shape, place ("" where none was said)


def things_told(answer: str) -> list[Thing]:
    """The shapes that an answer names, with their places.

    Example:
        things_told("A red circle at the top and a blue star.")      # [("red", "circle", "top"), ("blue", "star", "")]
    """
    found = list(_THING.finditer(answer))
    ends = [*(each.start() for each in found[1:]), len(answer)]
    told = []
    for each, end in zip(found, ends):
        place = _PLACE.search(answer, each.end(), end)
        told.append((each[1].lower(), each[2].lower(), place[1].lower() if place else ""))
    return told


def kinds_of_mistake(truth: Sequence[Thing], told: Sequence[Thing]) -> set[str]:
    """How an answer differs from the truth, as few mistakes as explain it: a subset of KINDS.

    Things that agree are set aside first, then those that differ in one respect are paired.

    Example:
        kinds_of_mistake([("red", "circle", "top")], [("blue", "circle", "top")])      # {"colour"}
    """
    left, said = list(truth), list(told)
    mistakes: set[str] = set()
    for what in ("", *KINDS[:3]):
        for thing in list(left):
            partner = next((each for each in said if _differ(thing, each) == what), None)
            if partner:
                left.remove(thing)
                said.remove(partner)
                mistakes |= {what} - {""}
    return mistakes | ({"missing"} if left else set()) | ({"invented"} if said else set())


def _differ(thing: Thing, other: Thing) -> str | None:
    """In which one respect two things differ: "" in none, None in several. A place that was not said is no mistake."""
    apart = [what for what, a, b in zip(KINDS, thing, other) if a != b and b]
    return None if len(apart) > 1 else "".join(apart)


def misread_picture(value: object) -> str:
    """The check of exercise 2.5: the shapes that were drawn, the answer, and the kind of mistake."""
    if not isinstance(value, (tuple, list)) or len(value) != 3:
        raise TryAgain(_("Hand in three things: the shapes that you drew, the answer's text and the kind of mistake."))
    drawn, answer, named = value
    truth = [_drawn(thing) for thing in as_list(drawn, what=_("The list of shapes"))]
    if not truth:
        raise TryAgain(_("Your picture holds no shape. Draw at least one, so that there is something to misread."))
    answer = getattr(answer, "text", answer)  # an Answer is as good as its text
    told = things_told(text(answer, _("The answer")))
    chosen = text(named, _("The kind of mistake")).strip().lower().replace("color", "colour")
    if chosen not in KINDS:
        raise TryAgain(
            _("{named!r} is no kind of this list: {kinds}.").format(named=str(named)[:40], kinds=", ".join(KINDS))
        )
    if not told:
        raise TryAgain(
            _("I find no shape with its colour in this answer. Ask for a description: Describe the picture.")
        )
    actual = kinds_of_mistake(truth, told)
    if not actual:
        raise TryAgain(
            _(
                "The model read this picture right. Make it harder: one colour twice, shapes that touch, a "
                "shape between two places."
            )
        )
    if chosen not in actual:
        raise TryAgain(
            _(
                "The answer differs from the picture, but not in this way. Compare them shape by shape: {truth}"
                " - {told}."
            ).format(truth=_listed(truth), told=_listed(told))
        )
    return _("Right. Drawn: {truth}. Told: {told}. In all: {kinds}.").format(
        truth=_listed(truth), told=_listed(told), kinds=", ".join(sorted(actual))
    )


def _drawn(thing: Any) -> Thing:
    """A shape as the learner drew it, its place by name."""
    if is_unfilled(thing):
        raise NotYet
    if not isinstance(thing, (tuple, list)) or len(thing) != 3:
        raise TryAgain(
            _('Each shape has three parts, such as ("red", "circle", "top left"). I found {kind}.').format(
                kind=kind(thing)
            )
        )
    colour, shape, place = thing
    if not isinstance(place, str):
        place = place_of((number(place[0], _("x")), number(place[1], _("y"))))
    known: dict[str, tuple[Any, Collection[str]]] = {
        _("colour"): (colour, COLOURS),
        _("shape"): (shape, OUTLINES),
        _("place"): (place, PLACES),
    }
    for what, (name, names) in known.items():
        if name not in names:
            raise TryAgain(
                _("{name!r} is no {what} that draw_shapes knows. It knows: {names}.").format(
                    name=name, what=what, names=", ".join(names)
                )
            )
    return colour, shape, place


def _listed(things: Sequence[Thing]) -> str:
    return ", ".join(" ".join(part for part in thing if part) for thing in things)


# --- 2.8 Differences from the list ------------------------------------------------------------------------

# Answers of vision-tiny: one difference; none (it marks one all the same); two (it marks and tells only one).
COMPARISONS: tuple[tuple[str, list[str]], ...] = (
    (
        "First and second: left brown square, brown square; right orange cross, orange cross; bottom blue circle, "
        "green circle different. The blue circle is green in the second picture.",
        ["bottom"],
    ),
    (
        "First and second: left red star, red star; middle black diamond, black diamond; bottom left pink triangle, "
        "pink triangle different. The pink triangle is pink in the second picture.",
        [],
    ),
    (
        "First and second: left red star, red star; middle black diamond, nothing different; bottom left pink "
        "triangle, green triangle; bottom nothing, black diamond different. The black diamond moved from the middle to "
        "the bottom.",
        ["middle", "bottom left", "bottom"],
    ),
    (
        "First and second: middle orange cross, orange cross; right pink square, nothing different. The pink square is "
        "gone.",
        ["right"],
    ),
    ("First and second: left blue diamond, blue diamond; right purple circle, purple circle.", []),
    (
        "First and second: top left nothing, orange star different; bottom yellow circle, green circle. The orange "
        "star is new.",
        ["top left", "bottom"],
    ),
)


def differences_listed(value: object) -> str:
    """The check of exercise 2.8: a function that finds the places where the list names two different things."""
    function = a_function(value, "differences")
    for answer, right in COMPARISONS:
        handed = diagnosis.called(function, [answer], "differences(answer)")
        if isinstance(handed, (str, bytes, Mapping)) or not hasattr(handed, "__iter__"):
            raise TryAgain(_("differences must return a list of places. It returned {kind}.").format(kind=kind(handed)))
        places = [text(part, _("Each place")).strip() for part in as_list(handed)]
        if places == right:
            continue
        told = _("In {answer!r} I expected {right}; your function found {places}.").format(
            answer=answer, right=right, places=places
        )
        raise TryAgain(f"{_why_not(answer, places, right)} {told}")
    return _(
        "Right for {count} answers, also where the model marks a difference that is none and where it marks too few."
    ).format(count=len(COMPARISONS))


def _why_not(answer: str, places: Sequence[str], right: Sequence[str]) -> str:
    entries = re.findall(r"(?<=[:;])[^;.]+", answer)
    marked = [entry.strip() for entry in entries if entry.rstrip().endswith("different")]
    if sorted(places) == sorted(right):
        return _("The places are right, but not in the order of the list.")
    if [" ".join(place.split()) for place in places] == [entry.split(",")[0].strip() for entry in marked] or (
        len(places) == len(marked) and all(entry.startswith(place) for place, entry in zip(places, marked))
    ):
        return _(
            "The word different is the model's opinion, and here it is wrong. Take it away, and compare the two "
            "things of each place."
        )
    if len(places) == len(entries):
        return _("Here every place counts as different: strip the spaces before you compare.")
    if any(place.split()[0] in ("The", "First") for place in places if place):
        return _(
            "The list ends at the first full stop and begins after the colon. The last sentence is the model's "
            "conclusion."
        )
    if any(place not in PLACES for place in places):
        return _("A place has one or two words; what follows it is a thing: colour and shape, or nothing.")
    return _("Compare the two things of each place, before and after the comma.")
