"""The exercises of lab 08: the parts of a Phi, each tried on small stored cases.

Results are arrays. A mistake is named when its stored results explain all answers.
"""

# long because eleven exercises name sixty mistakes, one sentence each, beside the check that finds them.

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from labs_helper.common.translate import _
from labs_helper.errors import BadRequest
from labs_helper.exercises import diagnosis, stored
from labs_helper.exercises.base import Exercise, NotYet, TryAgain, a_function, is_unfilled, kind, number

LEAST_QUESTIONS, LEAST_CONTROLS = 20, 5


# --- Arrays ---------------------------------------------------------------------------------------------------


def _array(answer: object, call: str) -> np.ndarray[Any, Any]:
    """What a learner's function returned, as an array of numbers."""
    if isinstance(answer, tuple) and len(answer) == 1:
        answer = answer[0]
    try:
        made = np.asarray(answer, dtype=float)
    except (TypeError, ValueError) as error:
        raise TryAgain(
            _("{call} must return an array of numbers. It returned {kind}.").format(call=call, kind=kind(answer))
        ) from error
    return made


def _same(answer: Any, right: Any) -> bool:
    """Whether two arrays are the same but for the last digits; nan is what a mistake may give."""
    wanted = np.asarray(right, dtype=float)
    return answer.shape == wanted.shape and bool(np.allclose(answer, wanted, rtol=1e-4, atol=1e-5, equal_nan=True))


def _judged(
    exercise: str, value: object, name: str, sentences: Mapping[str, str], call: Callable[..., str] | None = None
) -> int:
    """Try a function of arrays on its stored cases; their number comes back."""
    function = a_function(value, name)
    tried = stored.cases(exercise)

    def told(*arguments: Any) -> str:
        return call(*arguments) if call else f"{name}({', '.join(_shape(part) for part in arguments)})"

    known: dict[str, list[tuple[int, ...]]] = {}  # shapes that say something: the right one first
    for case in tried:
        known.setdefault(told(*case.arguments), []).extend(map(np.shape, (case.right, *case.mistakes.values())))

    def read(answer: object, text: str) -> np.ndarray[Any, Any]:
        made = _array(answer, text)
        if made.shape not in known[text]:
            raise TryAgain(
                _("{call} must return the shape {wanted}. It returned {shape}.").format(
                    call=text, wanted=known[text][0], shape=made.shape
                )
            )
        return made

    def arrays(*arguments: Any) -> list[Any]:
        # Arrays have at least two axes or numbers that are not whole; a list of whole numbers is a list of positions.
        return [
            np.array(part, dtype=float) if isinstance(part, list) and not all(type(n) is int for n in part) else part
            for part in arguments
        ]

    diagnosis.judge(function, tried, sentences, call=told, made=arrays, read=read, close=_same)
    return len(tried)


def _shape(part: Any) -> str:
    """How a message names an argument: arrays by their shape."""
    return f"array{np.shape(part)}" if isinstance(part, list) else str(part)


# --- 8.1 RMSNorm ----------------------------------------------------------------------------------------------


def _rms_norm(value: object) -> str:
    count = _judged(
        "8.1",
        value,
        "rms_norm",
        {
            "no epsilon": _(
                "eps is missing. A token whose numbers are all near 0 is then blown up, or becomes nan: add eps to the "
                "mean of the squares."
            ),
            "epsilon outside": _("eps belongs inside the square root, added to the mean of the squares."),
            "mean taken away": _("This takes the mean away, as LayerNorm does. RMSNorm only divides."),
            "standardized": _("This takes the mean away, as LayerNorm does. RMSNorm only divides."),
            "no root": _("The square root is missing: divide by the root of the mean of the squares."),
            "sum": _("This divides by the root of the sum. Take the mean, or a wide model shrinks its numbers more."),
            "wrong axis": _("The mean goes over the tokens. Each token is normed by itself: axis=-1, keepdims=True."),
            "no weight": _("The learned weight is missing: multiply by it at the end."),
            "": _("Square, mean over the last axis, add eps, root; divide x by that, multiply by weight."),
        },
    )
    return _("Right for all {count} cases, also for a token of zeros.").format(count=count)


# --- 8.2 RoPE -------------------------------------------------------------------------------------------------


def _rotate(value: object) -> str:
    count = _judged(
        "8.2",
        value,
        "rotate",
        {
            "interleaved": _(
                "You paired neighbours: 0 with 1, 2 with 3. Phi pairs the halves: number i with number i + D/2."
            ),
            "halves put back interleaved": _("The pairs are right, but put back in turns. Write both halves in a row."),
            "backwards": _("You turn the other way: a cos - b sin, and b cos + a sin."),
            "second from new first": _("The second half is made from the first one after its turn. Keep the old a."),
            "no turn back": _("The two halves only get cos and sin. A turn mixes them: each new half needs both."),
            "reflected": _("One sign is wrong: this mirrors the pair. It is b cos PLUS a sin."),
            "": _("Cut x into halves a and b. The new halves are a cos - b sin and b cos + a sin."),
        },
    )
    return _("Right for all {count} cases: the halves turn together, and lengths stay.").format(count=count)


# --- 8.3 One head ---------------------------------------------------------------------------------------------


def _attend(value: object) -> str:
    count = _judged(
        "8.3",
        value,
        "attend",
        {
            "no mask": _("There is no mask: the first token already sees the last one, and so the answer."),
            "mask the wrong way": _("The mask is the wrong way round: tokens look ahead, and not back."),
            "mask the wrong way, as without a cache": _(
                "The mask is the wrong way round: tokens look ahead, and not back."
            ),
            "itself hidden": _("A token may look at itself: hide what comes after it, and no more. The first has nan."),
            "itself hidden by a large number": _("A token may look at itself: hide what comes after it, and no more."),
            "new tokens as if they came first": _(
                "Right as long as all tokens are new. With old keys in front, the last query belongs to the last key: "
                "start the mask at k=len(k) - len(q) + 1."
            ),
            "masked after softmax": _(
                "The mask came after the softmax, so the shares no longer sum to 1. Set scores to -inf before it."
            ),
            "no scale": _("The scale is missing: divide the scores by the root of the size of a head."),
            "scale without root": _("You divide by D. Divide by the root of D."),
            "scale by tokens": _("You divide by the root of the number of tokens. Take the size of a head, D."),
            "wrong axis": _("The softmax goes over the tokens that look. Take the last axis: each row sums to 1."),
            "no softmax": _("The softmax is missing: scores are no shares."),
            "overflow": _(
                "Right for small scores. With large ones exp overflows and the shares are nan: subtract the largest "
                "score of each row before exp."
            ),
            "": _("scores = q kᵀ / sqrt(D); -inf above the diagonal; softmax of each row; times v."),
        },
    )
    return _("Right for all {count} cases. Each row of shares sums to 1, and nobody looks ahead.").format(count=count)


# --- 8.4 Heads ------------------------------------------------------------------------------------------------


def _split_heads(value: object) -> str:
    _judged(
        "8.4",
        value,
        "split_heads",
        {
            "no transpose": _("A reshape alone mixes the tokens. First (T, H, D), then move the heads to the front."),
            "interleaved": _("Head 0 gets every H-th number. A head owns D numbers in a row: reshape to (T, H, D)."),
            "tokens first": _("The order is (T, H, D). Move the heads to the front: (H, T, D)."),
            "turned": _("The last two axes are exchanged. It is (H, T, D)."),
            "": _("reshape(T, H, D), then transpose(1, 0, 2)."),
        },
    )
    return _("Right: each head has its own numbers of every token.")


# --- 8.5 Positions --------------------------------------------------------------------------------------------


def _positions(value: object) -> str:
    _judged(
        "8.5",
        value,
        "positions",
        {
            "from zero": _(
                "The cache has no say: every new token would be turned as if it came first, and distances to the old "
                "keys would be wrong."
            ),
            "one too far": _("One too far: with n tokens in the cache, the last one has position n - 1."),
            "all tokens": _("These are the positions of all tokens. Only the new ones are turned now."),
            "one too early": _("One too early: position n - 1 is taken by the last token in the cache."),
            "": _("The first new token has the position {cached}, and so on.").format(cached="cached"),
        },
        call=lambda cached, new: f"positions({cached}, {new})",
    )
    return _("Right: positions go on where the cache ends.")


# --- 8.6 SwiGLU -----------------------------------------------------------------------------------------------


def _swiglu(value: object) -> str:
    count = _judged(
        "8.6",
        value,
        "swiglu",
        {
            "exchanged": _("Gate and up are exchanged: the first half is the gate, and it goes through SiLU."),
            "sigmoid alone": _("The gate is sigmoid(g) alone. SiLU is g times sigmoid(g)."),
            "relu": _("This is ReLU. SiLU is g times sigmoid(g), also a little below 0."),
            "no up": _("The second half is not used. Multiply by it before the last matrix."),
            "added": _("Gate and up are added. They are multiplied."),
            "no gate": _("There is no curve: multiply silu(gate) by up, not gate by up."),
            "": _("x times gate_up transposed, cut in two: gate, up. Then (silu(gate) * up) times down transposed."),
        },
    )
    return _("Right for all {count} cases.").format(count=count)


# --- 8.7 A layer ----------------------------------------------------------------------------------------------


def _tried_parts() -> tuple[Callable[[Any], Any], ...]:
    """Stand-ins for the parts of a layer, so different that each order of them gives other numbers."""
    return (
        lambda x: np.cumsum(x, axis=0) * 0.5,
        lambda x: x * x - 1.0,
        lambda x: x * 0.5 + 1.0,
        lambda x: x * 2.0 - 3.0,
    )


def _layer(value: object) -> str:
    function = a_function(value, "layer")
    if diagnosis.is_stub(function):  # it is tried inside of another function
        raise NotYet
    _judged(
        "8.7",
        lambda x: function(x, *_tried_parts()),
        "layer",
        {
            "no residual": _("Nothing is added to x: each part replaces it. Add what it makes: x = x + ..."),
            "one residual": _("Only one of the two parts is added to x. Both are."),
            "norm after": _("The norms come after the parts. Phi norms before: look(norm_look(x))."),
            "no norms": _("The norms are missing in front of the two parts."),
            "both from the start": _("Both parts read the first x. The second reads what the first has added to."),
            "residual of the normed": _("You add to the normed x. Add to x as it came."),
            "order": _("The MLP came first. Attention comes first, then the MLP."),
            "norms exchanged": _("The two norms are exchanged."),
            "": _("x = x + look(norm_look(x)), then x + think(norm_think(x))."),
        },
        call=lambda x: _("layer(x, look, think, norm_look, norm_think)"),
    )
    looks = 0
    look, *others = _tried_parts()

    def look_and_count(x: Any) -> Any:
        nonlocal looks
        looks += 1
        return look(x)

    function(np.ones((2, 3)), look_and_count, *others)
    if looks > 1:
        raise TryAgain(_("Call look once and keep what it gives: with a cache, each call adds the same keys again."))
    return _("Right: two parts, each behind its norm, each added.")


# --- 8.8 The whole model --------------------------------------------------------------------------------------


def _whole(value: object) -> str:
    """Pairs of (prompt, answer) ids of the learner's own model, against the reference, which is run here.

    One run for each pair is enough: up to the first difference, the reference has read what it would have written.
    """
    from labs_helper.catalog import course_folder
    from labs_helper.reference import read
    from labs_helper.store import read_json

    if isinstance(value, Mapping):
        value = list(value.items())
    if not isinstance(value, Sequence) or isinstance(value, (str, bytes)):
        raise TryAgain(_("Hand in a list of pairs: the ids of a prompt, and the ids that your model wrote."))
    if is_unfilled(list(value)):
        raise NotYet
    pairs = [_pair(part) for part in value]
    if len({prompt for prompt, _answer in pairs}) < LEAST_QUESTIONS:
        raise TryAgain(
            _("There are {count} different questions; ask at least {least}.").format(
                count=len({prompt for prompt, _answer in pairs}), least=LEAST_QUESTIONS
            )
        )
    folder = course_folder() / "data" / "checkpoints" / "instruct-tiny"
    stops = read_json(folder / "generation_config.json")["eos_token_id"]
    reference = read(folder)
    for place, (prompt, answer) in enumerate(pairs, start=1):
        if not prompt:
            raise TryAgain(_("Question {place}: {why}").format(place=place, why=_("the prompt has no ids.")))
        try:
            best = reference.run([*prompt, *answer]).logits.argmax(axis=-1)[len(prompt) - 1 :].tolist()
        except BadRequest as error:  # ids that the model does not have, or too many
            raise TryAgain(_("Question {place}: {why}").format(place=place, why=error)) from error
        if why := _difference(answer, best, stops):
            raise TryAgain(_("Question {place}: {why}").format(place=place, why=why))
    return _("{count} answers, token for token those of the true model. This is Phi, and you wrote it.").format(
        count=len(pairs)
    )


def _pair(part: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    try:
        prompt, answer = part
        return tuple(int(token) for token in prompt), tuple(int(token) for token in answer)
    except (TypeError, ValueError) as error:
        raise TryAgain(_("Each part is a pair of lists: ids of the prompt, ids of the answer.")) from error


def _difference(answer: Sequence[int], best: Sequence[int], stops: Sequence[int]) -> str:
    """What is wrong with an answer; empty if nothing is. `best` has the true token for each place of it."""
    if not answer:
        return _("your model wrote nothing.")
    first = next((n for n, (ours, theirs) in enumerate(zip(answer, best, strict=False)) if ours != theirs), len(answer))
    if any(token in stops for token in answer[: min(first, len(answer) - 1)]):
        return _("your model went on after a stop token. The stop token is the last one of an answer.")
    if first == len(answer):
        if answer[-1] in stops:
            return ""
        return _("your answer ends without a stop token. Raise the limit, or keep the stop token as its last one.")
    if first == 0:
        return _(
            "your first token is {ours}, and the true one {theirs}. The prompt itself is read wrongly: compare your "
            "layers with the recorded ones."
        ).format(ours=answer[0], theirs=best[0])
    if first == 1:
        return _(
            "the first token is right and the second is not. With a cache, this is nearly always the position: new "
            "tokens go on where the cache ends."
        )
    return _("token {number} differs ({ours}, the true one is {theirs}). Look at your cache and at positions.").format(
        number=first + 1, ours=answer[first], theirs=best[first]
    )


# --- 8.9 The nucleus ------------------------------------------------------------------------------------------


def _nucleus(value: object) -> str:
    function = a_function(value, "nucleus")
    tried = stored.cases("8.9")

    def read(answer: object, call: str) -> list[int]:
        if isinstance(answer, np.ndarray) and answer.dtype == np.bool_:  # a mask of those that stay
            answer = np.flatnonzero(answer)
        made = _array(list(answer) if isinstance(answer, (set, frozenset)) else answer, call)
        if made.size and all(0 < part < 1 for part in made.ravel()):
            raise TryAgain(
                _("{call} returned probabilities. Return which tokens stay: their numbers.").format(call=call)
            )
        return sorted(int(number(part)) for part in made.ravel())

    diagnosis.judge(
        function,
        tried,
        {
            "one too few": _("The token that crosses top_p stays as well: the kept ones have at least top_p."),
            "above the threshold": _("top_p is no limit for single tokens. It is the sum of the best ones."),
            "one too many": _("One too many: stop as soon as the sum has reached top_p."),
            "first ones": _("You added up in the order of the list. Sort by probability first, the best in front."),
            "worst": _("You began with the worst tokens."),
            "": _("Sort, best first. A token stays if those before it have less than top_p together."),
        },
        call=lambda chances, top_p: f"nucleus({chances}, {top_p})",
        made=lambda chances, top_p: [np.array(chances), top_p],
        read=read,
        close=lambda answer, right: answer == sorted(right),
    )
    return _("Right: the smallest set of best tokens that has at least top_p.")


# --- 8.10 Which head copies -----------------------------------------------------------------------------------


def _copy_scores(value: object) -> str:
    _judged(
        "8.10",
        value,
        "copy_scores",
        {
            "exchanged": _(
                "You read attention[..., source, looker]. A row is the token that looks: looker comes first."
            ),
            "sum": _("This is the sum. Take the mean, or long codes count more."),
            "best": _("This is the largest share. Take the mean over all pairs."),
            "layers averaged": _("You averaged over the heads too. Keep (layers, heads)."),
            "all pairs": _("This takes each looker with each source. They belong together one by one."),
            "one later": _("One place too late: the row of the token that is being written was computed after it."),
            "": _("attention[:, :, lookers, sources] picks the pairs; then the mean over the last axis."),
        },
        call=lambda attention, lookers, sources: f"copy_scores(attention, {lookers}, {sources})",
    )
    return _("Right: a score for each head of each layer.")


# --- 8.11 Is it evidence --------------------------------------------------------------------------------------

MATTERS, NOT_SHOWN = "matters", "not shown"


def _verdict(value: object) -> str:
    """What a learner measured: intact, without the head, without each of several others; and the verdict."""
    if not isinstance(value, (tuple, list)) or len(value) != 4:
        raise TryAgain(
            _("Hand in four things: right answers intact, without your heads, a list for other heads, the verdict.")
        )
    intact, without = (number(part, _("A count")) for part in value[:2])
    others = [number(part, _("A count")) for part in _listed(value[2])]
    verdict = str(value[3]).strip().lower().rstrip(".")
    if len(others) < LEAST_CONTROLS:
        raise TryAgain(
            _("{count} controls say little. Switch off at least {least} other heads, each by itself.").format(
                count=len(others), least=LEAST_CONTROLS
            )
        )
    if max(intact, without, *others) > 1000 or min(intact, without, *others) < 0:
        raise TryAgain(_("Hand in counts of right answers, 0 or more."))
    if all(part != int(part) for part in (intact, without)):
        raise TryAgain(_("Hand in counts, not shares: 36, and not 0.9."))
    if verdict not in (MATTERS, NOT_SHOWN):
        raise TryAgain(_('The verdict is "{yes}" or "{no}".').format(yes=MATTERS, no=NOT_SHOWN))
    lowest = min(others)
    facts = _("Intact {intact:.0f}, without yours {without:.0f}, without others {lowest:.0f} to {most:.0f}.").format(
        intact=intact, without=without, lowest=lowest, most=max(others)
    )
    right = MATTERS if without < lowest and without < intact else NOT_SHOWN
    if verdict == right:
        return _("{facts} Your verdict follows: {verdict}.").format(facts=facts, verdict=right)
    if right == MATTERS:
        raise TryAgain(_("{facts} That is below every control.").format(facts=facts))
    raise TryAgain(_("{facts} Another head does the same, or nothing changed.").format(facts=facts))


def _listed(value: Any) -> list[Any]:
    if isinstance(value, (str, bytes)) or not hasattr(value, "__iter__"):
        raise TryAgain(_("The third part is a list: one count for each other head."))
    return list(value)


# long because it is a table of titles and hints
def exercises() -> tuple[Exercise, ...]:
    """The exercises of lab 08, in their order, with titles and hints in the learner's language."""
    return (
        Exercise(
            "8.1",
            _("Write RMSNorm"),
            _rms_norm,
            (
                _("The mean of the squares goes over the last axis; keepdims=True keeps it divisible."),
                _("x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + eps) * weight"),
            ),
        ),
        Exercise(
            "8.2",
            _("Turn a head"),
            _rotate,
            (
                _("np.split(x, 2, axis=-1) gives the two halves."),
                _("np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)"),
            ),
        ),
        Exercise(
            "8.3",
            _("Write a head of attention"),
            _attend,
            (
                _("np.triu(np.ones(scores.shape, bool), k=len(k) - len(q) + 1) is True for what comes later."),
                _("Subtract the maximum of each row before exp, and divide by the sum of each row (axis=-1)."),
                _("shares @ v, with scores q @ k.T / np.sqrt(q.shape[-1])"),
            ),
        ),
        Exercise(
            "8.4",
            _("Give each head its numbers"),
            _split_heads,
            (
                _("Two steps: reshape so that each token has H rows of D, then exchange the first two axes."),
                _("x.reshape(len(x), heads, -1).transpose(1, 0, 2)"),
            ),
        ),
        Exercise(
            "8.5",
            _("Find the positions of new tokens"),
            _positions,
            (
                _("With 3 tokens in the cache, they have the positions 0, 1 and 2."),
                _("np.arange(cached, cached + new)"),
            ),
        ),
        Exercise(
            "8.6",
            _("Write the MLP"),
            _swiglu,
            (
                _("np.split(x @ gate_up.T, 2, axis=-1) gives gate and up."),
                _("(gate / (1 + np.exp(-gate)) * up) @ down.T"),
            ),
        ),
        Exercise(
            "8.7",
            _("Put a layer together"),
            _layer,
            (
                _("Twice the same: norm, part, add."),
                _("x = x + look(norm_look(x)); return x + think(norm_think(x))"),
            ),
        ),
        Exercise(
            "8.8",
            _("Answer twenty questions with your own model"),
            _whole,
            (
                _("model.prompt(question).ids is the prompt. Write until a stop token comes, and keep that one."),
                _("[(model.prompt(q).ids, own_answer(model.prompt(q).ids)) for q in questions]"),
            ),
        ),
        Exercise(
            "8.9",
            _("Find the nucleus"),
            _nucleus,
            (
                _("order = np.argsort(-chances); the sums before each are np.cumsum(chances[order]) - chances[order]."),
                _("order[before < top_p]"),
            ),
        ),
        Exercise(
            "8.10",
            _("Score heads that copy"),
            _copy_scores,
            (
                _("NumPy takes lists as indices: attention[:, :, [7, 8], [2, 3]] picks two pairs."),
                _("attention[:, :, lookers, sources].mean(axis=-1)"),
            ),
        ),
        Exercise(
            "8.11",
            _("Judge what a head does"),
            _verdict,
            (
                _("Switch off one head at a time, with the same texts each time."),
                _('"matters" needs fewer right answers than every control, and fewer than intact.'),
            ),
        ),
    )
