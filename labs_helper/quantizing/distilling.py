"""Distil scales: the codes of a rounded model stay, and its scales and biases learn from the model before.

mlx-lm calls this DWQ. Its own loop (`mlx_lm.quant.dwq`) trains through MLX's product with packed weights, which is slow
on a CPU: some 2.5 s a step on the course's small model. Here codes, scales and biases are multiplied out at each step,
and the product is an ordinary one. Loss and temperature are those of mlx-lm.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from labs_helper.common.translate import _
from labs_helper.engines.worker import WORKER, Job
from labs_helper.errors import BadRequest
from labs_helper.quantizing.copies import FULL, Bits, RoundedModel, RoundedText, layers_of
from labs_helper.tuning.classroom import engine_of
from labs_helper.tuning.examples import Example, encode_all
from labs_helper.tuning.lesson import draws, pad, table_of

if TYPE_CHECKING:
    import mlx.core as mx

    from labs_helper.engines.mlx_text import MLXText
    from labs_helper.models.model import Model
    from labs_helper.tuning.textbook import Talk

TEMPERATURE = 2.0  # of mlx-lm: softer shares say more about tokens that are not the most likely one


@dataclass(frozen=True)
class Distilled:
    """What came out.

    Attributes:
        model: the rounded model with its new scales; as large as before.
        losses: the divergence of each step, at the temperature.
        seconds: of all steps together.
        learned: how many numbers were changed.

    Example:
        distil(small, twin, talks).model.ask("Where is Lima?")
    """

    model: RoundedModel
    losses: tuple[float, ...]
    seconds: float
    learned: int

    def __str__(self) -> str:
        return _(
            "{count:,} scales and biases, {steps} steps in {seconds:.0f} s: divergence {first:.3f} -> {last:.3f}"
        ).format(
            count=self.learned,
            steps=len(self.losses),
            seconds=self.seconds,
            first=self.losses[0] if self.losses else math.nan,
            last=sum(self.losses[-5:]) / max(1, len(self.losses[-5:])),
        )

    __repr__ = __str__


def distil(
    small: RoundedModel,
    teacher: Model,
    talks: Sequence[Talk],
    *,
    steps: int = 60,
    rate: float = 3e-4,
    batch: int = 8,
    seed: int = 0,
    on_step: Callable[[int, float], object] = lambda step, loss: None,
) -> Distilled:
    """Let the scales of a rounded model learn what the model before would say.

    Interrupting the kernel ends it after the step that is being computed, and what was learned is kept.

    Args:
        small: from `rounded`; it stays as it is. What it learned before does not count: its rounding is begun again.
        teacher: the model that it should resemble.
        talks: what both read. Nobody grades it: the teacher's own shares are what is learned.
        steps: batches.
        rate: of Adam. With 40 steps at 2 bits, 3e-4 came nearer than 1e-4.
        batch: conversations a step.
        seed: decides their order.
        on_step: called with the number of each step and its loss, in the worker's thread.

    Raises:
        BadRequest: nothing was rounded in groups that have scales, or a number is out of range.

    Example:
        distil(rounded(twin, 2), twin, talks, steps=60).model
    """
    plan = small.plan
    if plan.mode != "affine" or all(plan.of(name) == FULL for name in small.sizes):
        raise BadRequest(
            _("{name} has no scales that could learn.").format(name=small.name),
            _("Round it first: rounded(model, 2)."),
        )
    if steps < 1 or batch < 1 or not 0 <= rate < 1:
        raise BadRequest(
            _("steps={steps}, rate={rate}, batch={batch} cannot be used.").format(steps=steps, rate=rate, batch=batch),
            _("Use at least one step, a rate from 0 to 1, and at least one conversation a step."),
        )
    student, master = engine_of(small), engine_of(teacher)
    assert isinstance(student, RoundedText), "a RoundedModel has such an engine"

    how = _How(steps, rate, batch, seed)
    job: Job[_Result | None] = WORKER.submit(
        lambda job: _distil(student, master, list(talks), how, on_step, job.cancelled)
    )
    try:
        result = job.wait()
    except KeyboardInterrupt:
        job.stop()
        result = job.wait(60)
    if result is None:
        raise BadRequest(_("It was stopped before it began."), _("Start it again."))
    weights, losses, seconds, learned = result
    engine = RoundedText(student.path, plan, student.ships_code, learned=weights)
    return Distilled(RoundedModel(teacher, engine, _("distilled")), tuple(losses), seconds, learned)


@dataclass(frozen=True)
class _How:
    """The numbers of a run."""

    steps: int
    rate: float
    batch: int
    seed: int


_Result = tuple[dict[str, "mx.array"], list[float], float, int]


def _distil(
    student: RoundedText,
    teacher: MLXText,
    talks: list[Talk],
    how: _How,
    on_step: Callable[[int, float], object],
    cancelled: Callable[[], bool],
) -> _Result:
    """The new weights of each layer, the losses, the seconds, and how many numbers have learned."""
    import mlx.core as mx
    from mlx.utils import tree_flatten, tree_unflatten

    # From the weights before rounding: codes of weights that were rounded before are not quite the same ones.
    copy = RoundedText(student.path, Bits(FULL), student.ships_code)
    copy.load()
    teacher.load()
    examples = encode_all(copy, talks)
    table_of(copy.config, examples)  # refuses a mixture of lengths that need two tables
    for engine in (copy, teacher):
        engine.choose_table(max(map(len, examples)))
        engine.prompt_cache.clear()  # the table in the model may have changed
    model = copy.model
    model.freeze()
    layers = {
        name: _opened(layer, student.plan.of(name), student.plan.group)
        for name, layer in layers_of(model).items()
        if student.plan.of(name) != FULL
    }
    model.update_modules(tree_unflatten(list(layers.items())))
    numbers = cast("list[tuple[str, mx.array]]", tree_flatten(model.trainable_parameters()))
    learned = sum(array.size for _name, array in numbers)
    start = time.perf_counter()
    losses = _learn(model, teacher, examples, how, on_step, cancelled)
    seconds = time.perf_counter() - start
    weights = {name: layer.matrix() for name, layer in layers.items()}
    mx.eval(weights)
    copy.close()
    return weights, losses, seconds, learned


def _learn(
    model: Any,
    teacher: MLXText,
    examples: Sequence[Example],
    how: _How,
    on_step: Callable[[int, float], object],
    cancelled: Callable[[], bool],
) -> list[float]:
    """Step by step; what is trainable in the model learns. Returns the loss of each step."""
    import mlx.core as mx
    import mlx.nn as nn
    import mlx.optimizers as optim

    optimizer = optim.Adam(learning_rate=how.rate, bias_correction=True)

    def soft(logits: mx.array) -> mx.array:
        logits = logits.astype(mx.float32) / TEMPERATURE
        return logits - mx.logsumexp(logits, axis=-1, keepdims=True)

    def loss_of(ids: mx.array, wanted: mx.array, counts: mx.array) -> mx.array:
        by_place = (mx.exp(wanted) * (wanted - soft(model(ids)))).sum(axis=-1)
        loss: mx.array = (by_place * counts).sum() / counts.sum()
        return loss

    step_of = nn.value_and_grad(model, loss_of)
    losses: list[float] = []
    for places in draws([len(example) for example in examples], how.batch, how.seed, loop=True):
        rows = [examples[place].ids for place in places]
        ids = pad(rows)[:, :-1]
        counts = mx.arange(ids.shape[1]) < mx.array([[len(row) - 1] for row in rows])
        wanted = soft(teacher.decoder(ids))
        mx.eval(wanted)
        loss, gradients = step_of(ids, wanted, counts)
        optimizer.update(model, gradients)
        mx.eval(model.parameters(), optimizer.state, loss)
        losses.append(float(loss.item()))
        on_step(len(losses), losses[-1])
        if len(losses) == how.steps or cancelled():
            break
    return losses


def _opened(layer: Any, bits: int, group: int) -> Any:
    """A layer as codes, scales and biases. Only the last two learn."""
    import mlx.core as mx
    import mlx.nn as nn

    class Opened(nn.Module):
        """Codes that stay, scales and biases that learn."""

        def __init__(self) -> None:
            super().__init__()  # type: ignore[no-untyped-call]  # mlx's own has no types
            packed, scales, biases = mx.quantize(layer.weight, group_size=group, bits=bits)
            ones, zeros = mx.ones_like(scales), mx.zeros_like(biases)
            codes = mx.round(mx.dequantize(packed, ones, zeros, group_size=group, bits=bits))
            self.codes = codes.reshape(*scales.shape, group)
            self.scales, self.biases = scales[..., None], biases[..., None]
            if "bias" in layer:
                self.bias = layer.bias
            self.freeze(recurse=False, keys=["codes", "bias"])
            self.is_table = isinstance(layer, nn.Embedding)

        def matrix(self) -> mx.array:
            """The weights that these codes, scales and biases stand for."""
            return (self.codes * self.scales + self.biases).flatten(-2)

        def __call__(self, x: mx.array) -> mx.array:
            if self.is_table:
                return (self.codes[x] * self.scales[x] + self.biases[x]).flatten(-2)
            product = x @ self.matrix().T
            return product + self.bias if "bias" in self else product

    return Opened()
