"""The exercises of lab 03. Functions are tried on stored cases: right results, and those of common mistakes."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from labs_helper.common.translate import _
from labs_helper.exercises import diagnosis, stored
from labs_helper.exercises.base import Exercise, TryAgain, a_function, as_list, kind, number
from labs_helper.figures.ablation import counts

if TYPE_CHECKING:
    import pandas as pd

# --- 3.1 Parameters from the shapes ------------------------------------------------------------------------

LAYERS, EXPERTS = 4, 16  # of moe-tiny
CLOSE = 2e-4  # what a sum in another order may differ by


def _parameters(value: object) -> str:
    function = a_function(value, "parameters")
    tried = stored.cases("3.1")
    names = ("phi_35_moe", "phi_35_moe", "phi_mini_moe", "phi_mini_moe")

    def call(shape: Mapping[str, int], experts: int) -> str:
        index = next(i for i, case in enumerate(tried) if case.arguments == (shape, experts))
        name = names[index] if index < len(names) else "another_shape"
        return f"parameters({name}, {experts})"

    def close(answer: float, right: float) -> bool:
        # With biases and norms, which the lab leaves out, a count is right as well.
        also = [case.mistakes["norms and biases"] for case in tried if case.right == right]
        return any(diagnosis.near(answer, expected, CLOSE) for expected in (right, *also))

    diagnosis.judge(
        function,
        tried,
        {
            "no router": _("The router is missing: hidden_size x num_local_experts in each layer."),
            "router times experts": _("You counted the router once for each expert. A layer has one router."),
            "one table": _(
                "One table is missing: the words are looked up in one, and the head that writes them is another."
            ),
            "no table": _("The two tables of the vocabulary are missing: one for reading, and the head for writing."),
            "two matrices": _("An expert has three matrices. You counted two."),
            "one matrix": _("An expert has three matrices. You counted one."),
            "all heads": _("Keys and values have fewer heads than queries: num_key_value_heads of them."),
            "no head size": _(
                "Keys and values are too small: they have num_key_value_heads heads, each of the size of a head."
            ),
            "head size alone": _("Keys and values are too small: you counted one head, not num_key_value_heads."),
            "no attention": _("The attention is missing: queries, keys, values and output."),
            "all experts": _("A token uses two experts in each layer. Use the argument `experts`, not all of them."),
            "one expert": _("You counted one expert. Use the argument `experts`."),
            "one layer": _("That is one layer. There are num_hidden_layers of them."),
            "tables in each layer": _("The two tables exist once, not in each layer."),
            "": _(
                "Add up: two tables, and in each layer attention (q, k, v, o), router, and three matrices an expert."
            ),
        },
        call=call,
        close=close,
    )
    total, active = tried[0].right, tried[1].right
    return _("Right: {total:.1f} billion parameters in all, {active:.1f} billion for one token.").format(
        total=total / 1e9, active=active / 1e9
    )


# --- 3.2 SparseMixer by hand ---------------------------------------------------------------------------------

JITTER = 0.01  # router_jitter_noise of the phimoe models

Pairs = list[list[float]]


def _route(value: object) -> str:
    function = a_function(value, "route")
    jitter = (JITTER,) if _asks_for_jitter(function) else ()
    tried = stored.cases("3.2")
    diagnosis.judge(
        function,
        tried,
        {
            "softmax over all": _(
                "This is a softmax over all experts. SparseMixer takes only those that come near the best."
            ),
            "softmax over two": _(
                "This is a softmax over the two, as in Mixtral: it sums to 1. Here each weight has its own softmax."
            ),
            "sum to one": _("You divided the two weights by their sum. SparseMixer leaves them as they are."),
            "first stays": _("In the second round the first expert must not be in the softmax: take it away before."),
            "absolute best": _(
                "You divide by |best|. The larger of |gate| and best divides; it matters where gates are negative."
            ),
            "absolute gate": _("You divide by |gate|. Divide by the larger of |gate| and best."),
            "no scale": _("The difference must be divided: (best - gate) / max(|gate|, best)."),
            "jitter once": _("The limit is 2 * jitter. You took jitter."),
            "not shared": _("A weight is a share: divide exp(best) by the sum over the near ones."),
            "one weight": _("Both experts have the first weight. Work the second out in a round of its own."),
            "": _("Near means: (best - gate) / max(|gate|, best) <= 2 * jitter. Take the softmax over those only."),
        },
        call=lambda gates: f"route({gates})",
        made=lambda gates: (gates, *jitter),
        read=_two_pairs,
        close=_same_pairs,
    )
    return _("Right for all {count} sets of gates, close calls and negative values included.").format(count=len(tried))


def _asks_for_jitter(function: Callable[..., Any]) -> bool:
    """Whether a function takes gates and a jitter without a default."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # a function of C that does not say what it takes
        return False
    needed = [p for p in parameters if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return len(needed) == 2


def _two_pairs(answer: object, call: str) -> Pairs:
    """Two pairs, the right experts in the right order. Raises TryAgain for anything else."""
    if isinstance(answer, Mapping):
        answer = list(answer.items())
    if isinstance(answer, (str, bytes)) or not isinstance(answer, Iterable):
        raise TryAgain(
            _("{call} must return two pairs of (expert, weight). It returned {kind}.").format(
                call=call, kind=kind(answer)
            )
        )
    pairs = [as_list(p) if isinstance(p, Iterable) and not isinstance(p, str) else [] for p in as_list(answer)]
    if [len(pair) for pair in pairs] != [2, 2]:
        raise TryAgain(_("{call} must return two pairs: [(expert, weight), (expert, weight)].").format(call=call))
    read = [[number(expert, _("The expert")), number(weight, _("The weight"))] for expert, weight in pairs]
    right = next(case.right for case in stored.cases("3.2") if f"route({case.arguments[0]})" == call)
    experts, wanted = [expert for expert, _weight in read], [expert for expert, _weight in right]
    if experts == wanted:
        return read
    if [weight for _expert, weight in read] == wanted:
        raise TryAgain(_("{call}: a pair is (expert, weight). Yours are (weight, expert).").format(call=call))
    if experts[0] == experts[1]:
        raise TryAgain(
            _("{call}: the same expert twice. Take the first one away before you look for the second.").format(
                call=call
            )
        )
    if experts == wanted[::-1]:
        raise TryAgain(_("{call}: these are the two experts, but the better one comes first.").format(call=call))
    if experts == [expert + 1 for expert in wanted]:
        raise TryAgain(_("{call}: your experts are one too large. The first expert is number 0.").format(call=call))
    raise TryAgain(
        _("{call} chose {experts}. The first expert has the largest gate, the second the next.").format(
            call=call, experts=[int(expert) if expert.is_integer() else expert for expert in experts]
        )
    )


def _same_pairs(answer: Sequence[Sequence[float]], right: Sequence[Sequence[float]]) -> bool:
    return all(a[0] == b[0] and math.isclose(a[1], b[1], abs_tol=1e-3) for a, b in zip(answer, right, strict=True))


# --- 3.3 Weights that do not sum to 1 -----------------------------------------------------------------------


def record(weights: Sequence[Sequence[float]]) -> pd.DataFrame:
    """A made-up record of routing, with the columns that a real one has, two places a token.

    Args:
        weights: the two weights of each place.

    Example:
        record([[1.0, 0.5], [0.5, 1.0]])
    """
    import pandas as pd

    rows = [
        (place // 2, place % 2, rank, weight, rank)
        for place, pair in enumerate(weights)
        for rank, weight in enumerate(pair, 1)
    ]
    frame = pd.DataFrame(rows, columns=["position", "layer", "rank", "weight", "expert"])
    return frame.assign(token="a", part="prompt", gate=1.0)


def _full(value: object) -> str:
    function = a_function(value, "share_of_full")
    diagnosis.judge(
        function,
        stored.cases("3.3"),
        {
            "how many": _("This is how many. Divide by the number of places."),
            "single weights": _("This is the share of single weights. Look at both weights of a place together."),
            "one of two": _("Here one of the two is enough. Both must be above 0.99: the smaller one decides."),
            "first rank": _("You looked at the first expert alone. Both weights of a place must be above 0.99."),
            "second rank": _("You looked at the second expert alone. Both weights of a place must be above 0.99."),
            "sum": _("This looks at their sum. 0.5 and 0.5 sum to 1 as well, and are not full."),
            "sum of two": _(
                "This looks at their sum or their mean: 1 and 0.985 pass it. Both must be above 0.99, each by itself."
            ),
            "exactly one": _("Above 0.99 is full: a weight of 0.995 counts too, not only 1."),
            "": _("Group by position and layer, take the smaller weight of each group, and count those above 0.99."),
        },
        call=lambda weights: _("share_of_full(record of {places} places)").format(places=len(weights)),
        made=lambda weights: (record(weights),),
    )
    return _("Right. A sum of 2 is no mistake: the two outputs are added, and nothing says that they must be averaged.")


# --- 3.4 Mutual information ------------------------------------------------------------------------------------


def _information(value: object) -> str:
    import numpy as np

    function = a_function(value, "shared_information")
    tried = stored.cases("3.4")

    def read(answer: object, call: str) -> float:
        if isinstance(answer, (float, np.floating)) and math.isnan(answer):
            raise TryAgain(
                _("{call} is not a number: 0 * log(0) counts as 0. Leave empty cells out.").format(call=call)
            )
        return number(answer, call)

    diagnosis.judge(
        function,
        tried,
        {
            "information": _("This is the information itself. Divide it by the mean of the two entropies."),
            "bits": _("This is the information itself, in bits. Divide it by the mean of the two entropies."),
            "sum": _("Divide by the mean of the two entropies, not by their sum."),
            "rest": _("You have it the wrong way round: independent rows and columns must give 0."),
            **dict.fromkeys(
                ("root", "smaller", "larger", "rows", "columns", "cells"),
                _("This is another way to normalise. Divide by the mean of the two entropies."),
            ),
            "": _("Make shares of the counts. Then H(rows) + H(columns) - H(cells), over the mean of the first two."),
        },
        call=lambda table: f"shared_information({table})",
        made=lambda table: (np.array(table, dtype=float),),
        read=read,
        close=lambda answer, right: diagnosis.near(answer, right, 1e-4),
    )
    return _(
        "Right for all {count} tables: 1 where the row tells you the column, 0 where it tells you nothing."
    ).format(count=len(tried))


# --- 3.5 An expert whose loss is seen ------------------------------------------------------------------------------


def _losses(value: object) -> str:
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise TryAgain(
            _("Hand in two triples: check('3.5', (seen, unseen)). I was given {kind}.").format(kind=kind(value))
        )
    finds = as_list(value)
    if len(finds) != 2:
        raise TryAgain(_("Hand in two triples, (seen, unseen). I was given {count}.").format(count=len(finds)))
    seen, unseen = (_find(find, name) for find, name in zip(finds, ("seen", "unseen"), strict=True))
    lost, spared = _loss(*seen, "seen"), _loss(*unseen, "unseen")
    if not lost.sure:
        raise TryAgain(
            _("seen: {counts} This loss may be luck. Look for a topic that loses most of its answers.").format(
                counts=lost.words
            )
        )
    if spared.answers > spared.asked / 20:
        raise TryAgain(
            _("unseen: {counts} That is a loss. Try the layers in which two experts share a topic.").format(
                counts=spared.words
            )
        )
    if not spared.preferred:
        raise TryAgain(
            _(
                "unseen: hardly any token of {topic} goes to expert {expert} of layer {layer}, so nothing could be "
                "lost. Take an expert that its topic prefers."
            ).format(topic=unseen[2], expert=unseen[1], layer=unseen[0])
        )
    return _("Right. Seen: {seen} Unseen: {unseen}").format(seen=lost.words, unseen=spared.words)


def _find(value: object, name: str) -> tuple[int, int, str]:
    """A find of the learner, read politely."""
    parts_ = as_list(value) if isinstance(value, (list, tuple)) else []
    if len(parts_) != 3 or not isinstance(parts_[2], str):
        raise TryAgain(
            _('{name} must be (layer, expert, topic), such as (3, 14, "plan"). I was given {kind}.').format(
                name=name, kind=kind(value)
            )
        )
    read = [number(part, what) for part, what in zip(parts_, (_("The layer"), _("The expert")))]
    if not all(part.is_integer() for part in read):
        raise TryAgain(_("{name}: layer and expert are whole numbers, and 0 is the first.").format(name=name))
    layer, expert = map(int, read)
    topics = list(dict.fromkeys(row["topic"] for row in counts()))
    if parts_[2] not in topics:
        raise TryAgain(
            _("{name}: there is no topic {topic!r}. The topics are {topics}.").format(
                name=name, topic=parts_[2][:40], topics=", ".join(topics)
            )
        )
    if not (0 <= layer < LAYERS and 0 <= expert < EXPERTS):
        raise TryAgain(
            _("{name}: moe-tiny has layers 0 to {layer} and experts 0 to {expert}. The layer comes first.").format(
                name=name, layer=LAYERS - 1, expert=EXPERTS - 1
            )
        )
    return layer, expert, parts_[2]


class _Loss(NamedTuple):
    """What a topic loses without an expert that was counted (data/measured): answers of those asked.

    `sure`: more than luck explains. `preferred`: the topic's tokens do go to this expert.
    """

    answers: int
    asked: int
    sure: bool
    preferred: bool
    words: str


def _loss(layer: int, expert: int, topic: str, name: str) -> _Loss:
    rows = counts()
    whole = next(row for row in rows if row["kind"] == "none" and row["topic"] == topic)
    of_expert = [
        row for row in rows if (row["layer"], row["experts"], row["topic"]) == (str(layer), str(expert), topic)
    ]
    if not of_expert:
        raise TryAgain(
            _(
                "{name}: nobody counted what {topic} loses without expert {expert} of layer {layer}, since its tokens "
                "rarely go there. Take an expert from `favourites`."
            ).format(name=name, topic=topic, expert=expert, layer=layer)
        )
    row = of_expert[0]
    words = _("without expert {expert} of layer {layer}, {topic} has {right} of {asked} right instead of {before}.")
    return _Loss(
        whole["right"] - row["right"],
        row["asked"],
        row["high"] < whole["low"],
        any(row["prefers"] == topic for row in of_expert),
        words.format(
            expert=expert, layer=layer, topic=topic, right=row["right"], asked=row["asked"], before=whole["right"]
        ),
    )


# --- 3.6 A cache of experts ------------------------------------------------------------------------------------


def _hits(value: object) -> str:
    function = a_function(value, "hit_rate")
    tried = stored.cases("3.6")
    diagnosis.judge(
        function,
        tried,
        {
            "misses": _("This is the share of misses."),
            "hits": _("These are the hits. Divide by the number of requests."),
            "different": _("Divide by the number of requests, not by the number of different experts."),
            "per place": _("Divide by the number of requests, not by the room."),
            "first in": _(
                "The one that came first left. The one that was not used for longest must leave: a hit counts as use."
            ),
            "newest": _("The one that came last left. The one that was not used for longest must leave."),
            "rarest": _("The one with the fewest hits left. The one that was not used for longest must leave."),
            "window": _(
                "You look among the last requests. Memory holds the last different experts: a repeated one takes no "
                "second place."
            ),
            "never": _("Nothing ever leaves. When there is no room, one has to."),
            "one more": _("You kept one expert more than there is room for."),
            "one fewer": _("You kept one expert fewer than there is room for."),
            "": _("Go through the requests. In memory: a hit, and just used. If not: load it, and the oldest leaves."),
        },
        call=lambda requests, room: f"hit_rate({list(requests)}, {room})",
        made=lambda requests, room: (list(requests), room),
    )
    return _("Right for all {count} lists. With room for one, only a repeated request is a hit.").format(
        count=len(tried)
    )


def exercises() -> tuple[Exercise, ...]:
    """The exercises of lab 03, in their order, with titles and hints in the learner's language."""
    # Long because it is a list, as long as the lab has exercises.
    return (
        Exercise(
            "3.1",
            _("Count the parameters from the shapes"),
            _parameters,
            (
                _(
                    "Two tables of vocab_size x hidden_size: one to read tokens, one to write them. All else "
                    "is in the layers."
                ),
                _(
                    "Attention: queries and output are hidden x hidden; keys and values hidden x (their "
                    "heads x head size)."
                ),
                _(
                    "An expert: 3 * hidden * intermediate. The router: hidden * num_local_experts. Times "
                    "num_hidden_layers."
                ),
            ),
        ),
        Exercise(
            "3.2",
            _("Route one token by hand"),
            _route,
            (
                _("Two rounds. In each: find the largest gate that is left, and those that come near it."),
                _(
                    "g is near the best b if (b - g) / max(|g|, b) <= 2 * jitter. The softmax runs over "
                    "the near ones only."
                ),
                _(
                    "weight = exp(b - b) / sum(exp(g - b) for the near ones). Then take the best away for "
                    "the second round."
                ),
            ),
        ),
        Exercise(
            "3.3",
            _("Count the places with two full weights"),
            _full,
            (
                _("A place is one token in one layer: two rows of the table, rank 1 and rank 2."),
                _('routing.groupby(["position", "layer"])["weight"] has the two weights of every place.'),
                _('return (routing.groupby(["position", "layer"])["weight"].min() > 0.99).mean()'),
            ),
        ),
        Exercise(
            "3.4",
            _("Measure what an expert tells about the topic"),
            _information,
            (
                _(
                    "Divide the table by its sum. The sums of its rows and of its columns are the two "
                    "single distributions."
                ),
                _("H(p) = -sum(p * log(p)), over the p above 0. You need it three times: rows, columns, all cells."),
                _("information = H(rows) + H(columns) - H(cells); return 2 * information / (H(rows) + H(columns))."),
            ),
        ),
        Exercise(
            "3.5",
            _("Find an expert that is missed, and one that is not"),
            _losses,
            (
                _("right_without(topic, [(layer, expert)]) asks the six questions of one topic, in a second or two."),
                _("In the last layer a topic has one expert to itself; in the layers before it, two share the topic."),
                _(
                    "The table `favourites` names the expert that each topic prefers, by layer. Try one row of the "
                    "last layer and one of another layer."
                ),
            ),
        ),
        Exercise(
            "3.6",
            _("Simulate a cache of experts"),
            _hits,
            (
                _("Keep a list of the experts in memory, the one used last at its end."),
                _(
                    "A hit: count it and move that expert to the end. A miss: put it at the end; if too many, "
                    "drop the first."
                ),
                _("kept.remove(e); kept.append(e) moves it. kept.pop(0) drops the first. Return hits / len(requests)."),
            ),
        ),
    )
