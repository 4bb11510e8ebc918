"""How a model reads a text: how likely it finds each token, and how far two models are apart in that.

Perplexity is exp(mean of -ln p(token)) (Jelinek et al. 1977). The divergence of Kullback and Leibler (1951) compares
the whole distributions at each place, so it also sees what the text does not ask about.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from labs_helper.common.translate import _
from labs_helper.corrections import longrope
from labs_helper.engines.worker import WORKER
from labs_helper.errors import BadRequest
from labs_helper.tuning.classroom import engine_of
from labs_helper.tuning.examples import Example, encode_all

if TYPE_CHECKING:
    from labs_helper.engines.mlx_text import MLXText
    from labs_helper.models.model import Model
    from labs_helper.tuning.textbook import Talk

Array = np.ndarray[Any, Any]
AT_ONCE = 16  # conversations that go through the model together
DRAWS = 1000  # of a bootstrap


@dataclass(frozen=True)
class Interval:
    """A number with its 95% interval.

    Example:
        Interval(3.3, 3.2, 3.4).low
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return _("{value:.4g} (95%: {low:.4g} to {high:.4g})").format(value=self.value, low=self.low, high=self.high)

    __repr__ = __str__


@dataclass(frozen=True, repr=False)
class Reading:
    """What a model thought while it read some conversations.

    Attributes:
        losses: -ln p of each token that the text has, conversation after conversation; the first token has none.
        best: the most likely token at each of these places.
        conversation: the number of the conversation of each place.
        in_answer: whether the place belongs to the answer.
        shares: ln p of every token at each place, (places, vocabulary); what `divergence` compares.

    Example:
        read(model, talks).perplexity
    """

    losses: Array
    best: Array
    conversation: Array
    in_answer: Array
    shares: Array = field(repr=False)

    @property
    def perplexity(self) -> Interval:
        """exp of the mean loss, over all places."""
        return self.perplexity_of(np.ones(len(self.losses), bool))

    def perplexity_of(self, places: Array) -> Interval:
        """The perplexity of some places, such as `reading.in_answer` or `~reading.in_answer`.

        Example:
            reading.perplexity_of(reading.in_answer)
        """
        return _exp(_bootstrapped(self.losses[places], self.conversation[places]))

    def __repr__(self) -> str:
        return _("{places:,} places of {count} conversations; perplexity {perplexity}").format(
            places=len(self.losses), count=len(np.unique(self.conversation)), perplexity=self.perplexity
        )


def _exp(mean: Interval) -> Interval:
    return Interval(*(math.exp(min(value, 700.0)) for value in (mean.value, mean.low, mean.high)))


def _bootstrapped(values: Array, conversation: Array) -> Interval:
    """The mean over places, and the 95% interval that drawing the conversations again gives.

    Places of one conversation are not independent, so whole conversations are drawn (Efron 1979).
    """
    if not len(values):
        raise BadRequest(_("There is no place to average over."), _("Read at least one conversation."))
    names, number = np.unique(conversation, return_inverse=True)
    sums, counts = np.bincount(number, values), np.bincount(number)
    drawn = np.random.default_rng(0).integers(0, len(names), (DRAWS, len(names)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.percentile(means, (2.5, 97.5))
    return Interval(float(values.mean()), float(low), float(high))


def read(model: Model, talks: Sequence[Talk]) -> Reading:
    """Let a model read conversations, questions and answers alike.

    Args:
        model: any text model of MLX.
        talks: whole conversations; the last message of each is the answer.

    Example:
        read(load("instruct"), [question.talk for question in questions()]).perplexity
    """
    return WORKER.call(_read, engine_of(model), list(talks))


def _read(engine: MLXText, talks: list[Talk]) -> Reading:
    engine.load()
    examples = encode_all(engine, talks)
    parts: dict[int, tuple[Array, Array]] = {}
    for batch in _batches(engine, examples):
        for place, shares in zip(batch, log_shares(engine, [examples[place] for place in batch])):
            tokens = np.array(examples[place].ids[1:])
            parts[place] = shares, -shares[np.arange(len(tokens)), tokens]
    lengths = [len(example) - 1 for example in examples]
    shares = np.concatenate([parts[place][0] for place in range(len(examples))])
    return Reading(
        np.concatenate([parts[place][1] for place in range(len(examples))]),
        shares.argmax(axis=-1),
        np.repeat(np.arange(len(examples)), lengths),
        np.concatenate([np.arange(1, len(example)) >= example.start for example in examples]),
        shares,
    )


def _batches(engine: MLXText, examples: Sequence[Example]) -> Iterator[list[int]]:
    """Places of examples of about one length; each batch needs one LongRoPE table."""
    tables: dict[str | None, list[int]] = {}
    for place in sorted(range(len(examples)), key=lambda place: len(examples[place])):
        tables.setdefault(longrope.table_for(engine.config, len(examples[place])), []).append(place)
    for places in tables.values():
        for first in range(0, len(places), AT_ONCE):
            yield places[first : first + AT_ONCE]


def log_shares(engine: MLXText, examples: Sequence[Example]) -> list[Array]:
    """ln p of every token at every place but the last of each example. Runs in the worker's thread.

    Example:
        WORKER.call(log_shares, engine, examples)[0].shape      # (places - 1, vocabulary)
    """
    import mlx.core as mx

    from labs_helper.tuning.lesson import pad

    ids = pad([example.ids for example in examples])
    engine.choose_table(max(map(len, examples)))
    engine.prompt_cache.clear()  # the table in the model may have changed
    logits = engine.decoder(ids[:, :-1]).astype(mx.float32)
    whole = np.array(logits - mx.logsumexp(logits, axis=-1, keepdims=True))
    return [whole[row, : len(example) - 1] for row, example in enumerate(examples)]


@dataclass(frozen=True, repr=False)
class Distance:
    """How far a model is from another one that it should resemble.

    Attributes:
        divergence: from the one to the other, the mean over all places, in nats.
        same: the share of places at which both think the same token the most likely one.
        ratio: the perplexity as a multiple of the other's. Both read the same text, so what makes one conversation
            harder than another is no part of its interval.
        by_place: the divergence at each place.

    Example:
        compare(read(twin, talks), read(rounded(twin, 3), talks)).divergence
    """

    divergence: Interval
    same: float
    ratio: Interval
    by_place: Array = field(repr=False)

    def __repr__(self) -> str:
        return _("divergence {divergence}; same most likely token: {same:.1%}; perplexity x {ratio}").format(
            divergence=self.divergence, same=self.same, ratio=self.ratio
        )


def compare(first: Reading, second: Reading) -> Distance:
    """How far the second model is from the first.

    Raises:
        BadRequest: they did not read the same text.

    Example:
        compare(read(twin, talks), read(small, talks))
    """
    if first.shares.shape != second.shares.shape or not np.array_equal(first.conversation, second.conversation):
        raise BadRequest(_("The two models did not read the same text."), _("Let both read the same conversations."))
    by_place = np.einsum("pv,pv->p", np.exp(first.shares), first.shares - second.shares)
    return Distance(
        _bootstrapped(by_place, first.conversation),
        float((first.best == second.best).mean()),
        _exp(_bootstrapped(second.losses - first.losses, first.conversation)),
        by_place,
    )
