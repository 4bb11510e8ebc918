"""Train an adapter with mlx-lm's trainer: a loss at every step, a Stop that keeps what was learned, a way to go on.

mlx-lm trains; here is what it leaves open or does differently from Phi:

- Its command overwrites a callback that is passed in, so its `train` is called, as its own documentation of the Python
  interface does. It prints a table of its own, which is switched off.
- Its batches are cut from the examples sorted by length, and what is left over at the long end is never trained. Ours
  are drawn afresh in each round, and none is left out.
- Its training step is compiled; on Linux every new kernel then takes a C++ compiler a second.
- Its LongRoPE table is the long one at every length (labs_helper.corrections.longrope). An adapter that is trained with
  it would make up for a mistake that is gone when the adapter is used.
"""

from __future__ import annotations

import contextlib
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labs_helper.capacity.training import Training
from labs_helper.common.translate import _
from labs_helper.corrections import longrope
from labs_helper.engines import adapters
from labs_helper.engines.adapters import APART, LINEAR, Adapter
from labs_helper.engines.base import Stopped
from labs_helper.errors import BadRequest
from labs_helper.tuning.examples import Example

if TYPE_CHECKING:
    import mlx.core as mx

    from labs_helper.engines.mlx_text import MLXText

PAD = 8  # a batch is as long as the next multiple of this, plus one
WINDOW = 4  # batches whose examples are sorted by length, so that few places are padding


@dataclass(frozen=True)
class Plan:
    """How an adapter is trained. See the field names in mlx_lm's LORA.md.

    Attributes:
        steps: batches that are learned.
        rate: the learning rate of Adam; it falls in a half cosine to a tenth.
        rank, scale, keys, layers: of the adapter; `layers` None takes all blocks of the model. mlx-lm's scale is 20;
            half of it forgot less on `instruct-tiny` at the same rate.
        batch: examples a step.
        seed: decides the start of A and the order of the examples.
        checkpoint: compute the activations twice to keep fewer of them in memory.
        kind: "lora"; "dora"; or "full", which trains whole matrices and takes far more memory.
        every: steps between two measurements of the held-out loss.
    """

    steps: int = 100
    rate: float = 4e-4
    rank: int = 8
    scale: float = 10.0
    keys: tuple[str, ...] = LINEAR
    layers: int | None = None
    batch: int = 8
    seed: int = 0
    checkpoint: bool = False
    kind: str = "lora"
    every: int = 10

    def shape(self, tokens: int, sides: int = 1) -> Training:
        """What decides the memory: with the longest example, and the number of answers to a question."""
        return Training(self.rank, self.layers or 0, self.batch * sides, tokens, self.checkpoint, self.keys, self.kind)


@dataclass(frozen=True)
class Step:
    """What is known after one step. `loss` is the mean over the answers' tokens, in nats."""

    number: int
    loss: float
    seconds: float


@dataclass(frozen=True)
class Taught:
    """What a training has made.

    Attributes:
        adapter: the matrices.
        history: every step.
        seconds: of all steps together.
        ended: "finished", "stopped" or "exploded".
        table: LongRoPE's table that was active.
        held_out: the loss of examples that were not trained, as (step, loss); empty if none were given.
    """

    adapter: Adapter
    history: tuple[Step, ...]
    seconds: float
    ended: str
    table: str | None = None
    plan: Plan = field(default_factory=Plan)
    held_out: tuple[tuple[int, float], ...] = ()

    def __str__(self) -> str:
        ends = {
            "finished": _("finished"),
            "stopped": _("stopped; what was learned so far is kept"),
            "exploded": _("the loss exploded; the last good adapter is kept"),
        }
        last = self.history[-1].loss if self.history else math.nan
        return _("{steps} steps in {seconds:.0f} s, loss {first:.2f} -> {last:.2f}: {ended}.").format(
            steps=len(self.history),
            seconds=self.seconds,
            first=self.history[0].loss if self.history else math.nan,
            last=last,
            ended=ends[self.ended],
        )

    __repr__ = __str__


class Exploded(Exception):
    """The loss is NaN or infinite, or far above where it began."""


def check_plan(plan: Plan, config: Mapping[str, Any], count: int) -> Plan:
    """A plan with its layers filled in, after everything was checked that would otherwise fail or silently do nothing.

    Args:
        plan: what was asked for.
        config: config.json of the model.
        count: examples.

    Raises:
        BadRequest: a number is out of range, or the model does not have such layers.

    Example:
        check_plan(Plan(), config, 240).layers      # 4 for instruct-tiny
    """
    blocks = int(config["num_hidden_layers"])
    layers = blocks if plan.layers is None else plan.layers
    if not 1 <= layers <= blocks:
        raise BadRequest(
            _("The plan asks for {layers} layers, and the model has {blocks}.").format(layers=layers, blocks=blocks),
            _("Use layers=None for all of them."),
        )
    for name, value, least, most in (
        ("steps", plan.steps, 1, 1_000_000),
        ("rate", plan.rate, 0.0, math.inf),
        ("rank", plan.rank, 1, int(config["hidden_size"])),
        ("batch", plan.batch, 1, 4096),
        ("every", plan.every, 1, 1_000_000),
    ):
        if not least <= value <= most:
            raise BadRequest(
                _("{name}={value} is out of range.").format(name=name, value=value),
                _("Use a number from {least} to {most}.").format(least=least, most=most),
            )
    if plan.kind not in adapters.KINDS:
        raise BadRequest(
            _("There is no kind of training {kind!r}.").format(kind=plan.kind),
            _("Use one of these: {kinds}.").format(kinds=", ".join(adapters.KINDS)),
        )
    if not plan.keys:
        raise BadRequest(_("The plan names no layer to train."), _("Use keys such as {key}.").format(key=LINEAR[0]))
    return replace(plan, layers=layers)


def table_of(config: Mapping[str, Any], examples: Sequence[Example]) -> str | None:
    """The LongRoPE table that a training needs. One run has one table: it is part of the compiled step.

    Raises:
        BadRequest: some examples need the short table and some the long one.

    Example:
        table_of(engine.config, examples)      # "short"
    """
    tables = {longrope.table_for(dict(config), len(example)) for example in examples}
    if len(tables) > 1:
        original = longrope.original_length(dict(config))
        raise BadRequest(
            _("Some examples have up to {length:,} tokens and some more. They need different LongRoPE tables.").format(
                length=original
            ),
            _("Train on the short ones and on the long ones in two runs."),
        )
    return next(iter(tables), None)


def teach(
    engine: MLXText,
    examples: Sequence[Any],
    plan: Plan,
    *,
    name: str = "adapter",
    begin: Adapter | None = None,
    held_out: Sequence[Any] = (),
    loss: Callable[..., Any] | None = None,
    batches: Callable[..., Iterator[Any]] | None = None,
    table: str | None = None,
    on_step: Callable[[Step], object] = lambda step: None,
    on_held_out: Callable[[int, float], object] = lambda step, loss: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Taught:
    """Train an adapter on an engine's weights, which stay as they are. Runs in the worker's thread.

    Args:
        engine: loaded.
        examples: what `batches` draws from; for the usual loss, from `examples.encode_all`.
        plan: checked by `check_plan`.
        name: of the adapter.
        begin: an adapter to go on from; None starts afresh.
        held_out: examples whose loss is measured every `plan.every` steps, and never trained.
        loss, batches: other than next-token prediction; see `preference`.
        table: the LongRoPE table, from `table_of`.
        on_step: called after each step.
        on_held_out: called after each measurement, with the number of steps and the loss.
        cancelled: asked after each step.

    Example:
        WORKER.call(teach, engine, encoded, plan).adapter
    """
    import mlx.core as mx
    import mlx.optimizers as optim
    from mlx_lm.tuner import trainer

    model, weights = engine.model, engine.weights
    adapters.take_off(model)
    weights.adapter = None
    longrope.apply(model, engine.config, _tokens_for(engine.config, table))
    mx.random.seed(plan.seed)
    model.freeze()
    assert plan.layers is not None, "check_plan comes first"
    adapters.install(model, plan.rank, plan.scale, plan.keys, plan.layers, plan.kind)
    watch = _Watch(model, 1.5 * math.log(engine.config["vocab_size"]), on_step, cancelled, on_held_out)
    rate = optim.cosine_decay(plan.rate, plan.steps, plan.rate / 10)
    start = time.perf_counter()
    ended = "finished"

    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.callback(_clean, model)
        if begin is not None:
            model.load_weights(list(begin.arrays.items()), strict=False)
            watch.kept = watch.newest = dict(begin.arrays)
        _need_layers(model, plan)
        with _quiet(trainer), _uncompiled():
            try:
                trainer.train(
                    model,
                    optim.Adam(learning_rate=rate),
                    examples,
                    held_out,
                    args=_arguments(trainer, plan, engine.config, scratch),
                    loss=loss or answer_loss,
                    iterate_batches=batches or shuffled(plan.seed),
                    training_callback=watch,
                )
                watch.kept = watch.newest
            except Stopped:
                ended, watch.kept = "stopped", watch.newest
            except Exploded:
                ended = "exploded"
    mx.eval(watch.kept)
    made = Adapter(name, plan.rank, plan.scale, plan.keys, plan.layers, watch.kept, kind=plan.kind)
    seconds = time.perf_counter() - start
    return Taught(made, tuple(watch.history), seconds, ended, table, plan, tuple(watch.held_out))


def _need_layers(model: Any, plan: Plan) -> None:
    """Refuse layers that the model does not have: mlx-lm would leave them out silently."""
    trained = {name.split(".", 3)[3].rsplit(".", 1)[0] for name in adapters.arrays_of(model)}
    missing = [key for key in plan.keys if key not in trained]
    if missing:
        fused = any(name.endswith("qkv_proj") for name, _module in model.named_modules())
        raise BadRequest(
            _("No layer of this model is called {keys}: nothing would be trained.").format(keys=", ".join(missing)),
            _("Phi's layers are called {known}.").format(known=", ".join(LINEAR if fused else APART)),
        )


def _arguments(trainer: Any, plan: Plan, config: Mapping[str, Any], scratch: Path) -> Any:
    return trainer.TrainingArgs(
        batch_size=plan.batch,
        iters=plan.steps,
        steps_per_report=1,
        steps_per_save=plan.steps + 1,
        steps_per_eval=plan.every,
        val_batches=-1,  # all of them
        adapter_file=scratch / "adapters.safetensors",  # it writes one at the end, whether one wants it or not
        max_seq_length=int(config["max_position_embeddings"]),
        grad_checkpoint=plan.checkpoint,
    )


class _Watch:
    """What mlx-lm's trainer tells after each step: its numbers are kept, and the run is ended where it must be.

    Attributes:
        history: the steps.
        held_out: the held-out loss, as (step, loss).
        newest: the adapter after the last step.
        kept: the adapter that is known to be good.
    """

    def __init__(
        self,
        model: Any,
        worst: float,
        on_step: Callable[[Step], object],
        cancelled: Callable[[], bool],
        on_held_out: Callable[[int, float], object],
    ) -> None:
        self._model, self._on_step, self._cancelled, self._on_held_out = model, on_step, cancelled, on_held_out
        self._worst = worst  # well above the loss of a model that knows nothing
        self.history: list[Step] = []
        self.held_out: list[tuple[int, float]] = []
        self.newest = self.kept = adapters.arrays_of(model)

    def on_train_loss_report(self, train_info: Mapping[str, Any]) -> None:
        """Called by the trainer."""
        value = float(train_info["train_loss"])
        step = Step(int(train_info["iteration"]), value, 1 / train_info["iterations_per_second"])
        self.history.append(step)
        if not math.isfinite(value) or value > max(1.5 * self.history[0].loss, self._worst):
            raise Exploded
        # This loss was computed before the step's update, so it vouches for the adapter before that.
        self.kept, self.newest = self.newest, adapters.arrays_of(self._model)
        self._on_step(step)
        if self._cancelled():
            raise Stopped

    def on_val_loss_report(self, val_info: Mapping[str, Any]) -> None:
        """Called by the trainer before the step that follows."""
        self.held_out.append((int(val_info["iteration"]), float(val_info["val_loss"])))
        self._on_held_out(*self.held_out[-1])


def _clean(model: Any) -> None:
    import mlx.core as mx

    adapters.take_off(model)
    model.eval()
    mx.clear_cache()


def _tokens_for(config: Mapping[str, Any], table: str | None) -> int:
    return 1 if table != "long" else longrope.original_length(dict(config)) + 1


def answer_loss(model: Any, ids: mx.array, spans: mx.array) -> tuple[Any, Any]:
    """The mean of -ln p(token) over the tokens of the answers, and how many they are.

    Args:
        model: ids in, logits out.
        ids: (batch, places), padded.
        spans: (batch, 2): the first place of each answer, and the length of the example.

    Example:
        answer_loss(model, ids, spans)
    """
    import mlx.core as mx
    import mlx.nn as nn

    logits, targets = model(ids[:, :-1]), ids[:, 1:]
    places = mx.arange(1, ids.shape[1])
    counted = mx.logical_and(places >= spans[:, :1], places < spans[:, 1:])
    losses = nn.losses.cross_entropy(logits, targets).astype(mx.float32) * counted
    return losses.sum() / counted.sum(), counted.sum()


def pad(rows: Sequence[Sequence[int]]) -> Any:
    """Rows of ids as one array, filled up with zeros to the next multiple of 8, plus one.

    Example:
        pad([[1, 2, 3]]).shape      # (1, 9)
    """
    import mlx.core as mx
    import numpy as np

    longest = max(len(row) for row in rows)
    whole = np.zeros((len(rows), 1 + PAD * math.ceil((longest - 1) / PAD)), np.int32)
    for place, row in enumerate(rows):
        whole[place, : len(row)] = row
    return mx.array(whole)


def shuffled(seed: int) -> Callable[..., Iterator[Any]]:
    """Batches for mlx-lm's trainer: every example once in a round, in a new order each round.

    Example:
        trainer.train(..., iterate_batches=shuffled(seed=0))
    """

    def batches(dataset: Sequence[Example], batch_size: int, loop: bool = False, **_more: object) -> Iterator[Any]:
        import mlx.core as mx

        for drawn in draws([len(row) for row in dataset], batch_size, seed, loop):
            rows = [dataset[place] for place in drawn]
            yield pad([row.ids for row in rows]), mx.array([[row.start, len(row)] for row in rows])

    return batches


def draws(lengths: Sequence[int], batch: int, seed: int, loop: bool) -> Iterator[list[int]]:
    """Places of examples, a batch at a time, round after round. Each is drawn once in a round.

    The examples of a few batches are sorted by length, and those batches are shuffled: less is padding, and a batch
    still holds other examples each time.

    Args:
        lengths: of the examples.
        batch: examples in a batch; the last one of a round may have fewer.
        seed: the same seed gives the same order.
        loop: begin again after the last example.

    Example:
        next(draws([5] * 10, 4, seed=0, loop=True))      # four different places below 10
    """
    import numpy as np

    drawing = np.random.default_rng(seed)
    while True:
        order = drawing.permutation(len(lengths)).tolist()
        for first in range(0, len(order), batch * WINDOW):
            window = sorted(order[first : first + batch * WINDOW], key=lambda place: lengths[place])
            cuts = [window[place : place + batch] for place in range(0, len(window), batch)]
            for place in drawing.permutation(len(cuts)):
                yield cuts[place]
        if not loop:
            return


class _NoTable:
    """In place of mlx-lm's table on the terminal."""

    def __init__(self, *_arguments: object, **_options: object) -> None: ...

    def __enter__(self) -> _NoTable:
        return self

    def __exit__(self, *_error: object) -> None: ...

    def advance(self) -> None: ...

    @contextlib.contextmanager
    def val_task(self, _batches: int) -> Iterator[Callable[[], None]]:
        yield lambda: None

    def report_val(self, *_values: object) -> None: ...

    def report_train(self, *_values: object) -> None: ...

    def report_save(self, *_values: object) -> None: ...


@contextlib.contextmanager
def _quiet(trainer: Any) -> Iterator[None]:
    table = trainer.TrainUI
    trainer.TrainUI = _NoTable
    try:
        yield
    finally:
        trainer.TrainUI = table


@contextlib.contextmanager
def _uncompiled() -> Iterator[None]:
    """On a CPU a compiled step gains nothing, and its first call waits for a C++ compiler."""
    import mlx.core as mx

    on_cpu = mx.default_device().type == mx.DeviceType.cpu
    if on_cpu:
        mx.disable_compile()
    try:
        yield
    finally:
        if on_cpu and not os.environ.get("MLX_DISABLE_COMPILE"):
            mx.enable_compile()
