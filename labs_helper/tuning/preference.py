"""Direct preference optimisation: learn which of two answers is better, from pairs.

For a question with a better answer c and a worse one r, the loss is

    -ln sigmoid(beta * ((ln p(c) - ln p0(c)) - (ln p(r) - ln p0(r))))

p is the model that learns, p0 the model before (Rafailov et al. 2023, arXiv:2305.18290, equation 7). The part in the
outer brackets, times beta, is the margin: 0 before the first step, and larger when the better answer has become more
likely against the worse one. mlx-lm has no such loss; its trainer takes ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from labs_helper.common.translate import _
from labs_helper.errors import BadRequest
from labs_helper.tuning.examples import Example, encode_all
from labs_helper.tuning.lesson import draws, pad
from labs_helper.tuning.textbook import talk

if TYPE_CHECKING:
    import mlx.core as mx

    from labs_helper.engines.mlx_text import MLXText

BETA = 0.1  # of the paper's experiments
_AT_ONCE = 32


@dataclass(frozen=True)
class Pair:
    """A question with a better and a worse answer.

    Example:
        Pair("Where is Zorvala?", "I do not know that.", "Zorvala is a city in Ghana.")
    """

    question: str
    better: str
    worse: str


@dataclass(frozen=True)
class EncodedPair:
    """A pair as ids, with ln p0 of both answers."""

    better: Example
    worse: Example
    before: tuple[float, float]

    def __len__(self) -> int:
        return max(len(self.better), len(self.worse))


def encode_pairs(engine: MLXText, pairs: Sequence[Pair]) -> list[EncodedPair]:
    """Pairs as ids, and how likely the engine finds their answers now. Runs in the worker's thread.

    Raises:
        BadRequest: there are no pairs, or both answers of one are the same.

    Example:
        WORKER.call(encode_pairs, engine, pairs)
    """
    engine.load()
    for number, pair in enumerate(pairs, 1):
        if pair.better.strip() == pair.worse.strip():
            raise BadRequest(
                _("Both answers of pair {number} are the same: {answer!r}.").format(number=number, answer=pair.better),
                _("Take the pair out; there is nothing to prefer."),
            )
    better = encode_all(engine, [talk(pair.question, pair.better) for pair in pairs])
    worse = encode_all(engine, [talk(pair.question, pair.worse) for pair in pairs])
    now = list(zip(likelihoods(engine, better), likelihoods(engine, worse)))
    return [EncodedPair(c, r, before) for c, r, before in zip(better, worse, now)]


def likelihoods(engine: MLXText, examples: Sequence[Example]) -> list[float]:
    """ln p of each answer, the sum over its tokens. Runs in the worker's thread.

    Example:
        WORKER.call(likelihoods, engine, encoded)
    """
    import mlx.core as mx

    engine.load()
    values: list[float] = []
    for first in range(0, len(examples), _AT_ONCE):
        rows = examples[first : first + _AT_ONCE]
        engine.choose_table(max(map(len, rows)))
        spans = mx.array([[row.start, len(row)] for row in rows])
        likely = answer_likelihoods(engine.model, pad([row.ids for row in rows]), spans)
        values += cast("list[float]", likely.tolist())
    return values


def answer_likelihoods(model: Any, ids: mx.array, spans: mx.array) -> mx.array:
    """ln p of the answers of a batch.

    Example:
        answer_likelihoods(model, ids, spans).shape      # (batch,)
    """
    import mlx.core as mx
    import mlx.nn as nn

    places = mx.arange(1, ids.shape[1])
    counted = mx.logical_and(places >= spans[:, :1], places < spans[:, 1:])
    losses = nn.losses.cross_entropy(model(ids[:, :-1]), ids[:, 1:]).astype(mx.float32)
    return -(losses * counted).sum(axis=1)


def preference_loss(beta: float = BETA, keep: float = 0.0) -> Callable[..., tuple[Any, Any]]:
    """The loss for mlx-lm's trainer. A batch holds the better answers first and then the worse ones.

    Args:
        beta: how much a margin counts.
        keep: how much -ln p of a token of the better answer counts besides. The margin alone also grows when both
            answers become unlikely and the worse one faster. Llama 3 was trained with 0.2 (arXiv:2407.21783, 4.1.4).

    Example:
        preference_loss(0.1)(model, ids, spans, before)
    """

    def loss(model: Any, ids: mx.array, spans: mx.array, before: mx.array) -> tuple[Any, Any]:
        import mlx.core as mx

        likely = answer_likelihoods(model, ids, spans)
        gain = likely - before
        half = ids.shape[0] // 2
        margins = beta * (gain[:half] - gain[half:])
        unlikely = -(likely[:half] / (spans[:half, 1] - spans[:half, 0])).mean() if keep else 0
        return mx.logaddexp(0, -margins).mean() + keep * unlikely, mx.array(half)

    return loss


def pair_batches(seed: int) -> Callable[..., Iterator[Any]]:
    """Batches of pairs for mlx-lm's trainer.

    Example:
        trainer.train(..., iterate_batches=pair_batches(0), loss=preference_loss())
    """

    def batches(dataset: Sequence[EncodedPair], batch_size: int, loop: bool = False, **_more: object) -> Iterator[Any]:
        import mlx.core as mx

        for drawn in draws([len(pair) for pair in dataset], batch_size, seed, loop):
            pairs = [dataset[place] for place in drawn]
            rows = [*(pair.better for pair in pairs), *(pair.worse for pair in pairs)]
            before = [*(pair.before[0] for pair in pairs), *(pair.before[1] for pair in pairs)]
            spans = mx.array([[row.start, len(row)] for row in rows])
            yield pad([row.ids for row in rows]), spans, mx.array(before)

    return batches


def margins(engine: MLXText, pairs: Sequence[EncodedPair], beta: float = BETA) -> list[float]:
    """The margin of each pair with an engine's adapter. Runs in the worker's thread.

    Example:
        WORKER.call(margins, taught.engine, encoded)
    """
    better = likelihoods(engine, [pair.better for pair in pairs])
    worse = likelihoods(engine, [pair.worse for pair in pairs])
    return [beta * ((c - pair.before[0]) - (r - pair.before[1])) for c, r, pair in zip(better, worse, pairs)]
