"""Fold an adapter into the weights, and prove that it is still there.

W + scale * A B is a matrix like W. On full numbers the sum is exact. Rounded to 4 bits again, it may lose what the
adapter had changed: its changes are often smaller than half a step of the rounding (ml-explore/mlx-lm#1172). So the
result answers questions before it gets its name, and one that has lost the adapter is refused.
"""

from __future__ import annotations

import contextlib
import io
import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labs_helper.common import files
from labs_helper.common.translate import _
from labs_helper.engines import adapters
from labs_helper.engines.mlx_text import MLXText
from labs_helper.engines.worker import WORKER
from labs_helper.errors import BadRequest, CheckpointRefused
from labs_helper.store import staging
from labs_helper.tuning import measure
from labs_helper.tuning.classroom import engine_of
from labs_helper.tuning.examples import encode
from labs_helper.tuning.textbook import Talk

if TYPE_CHECKING:
    import numpy as np

    from labs_helper.models.model import Model

# A folded model has lost the adapter if it differs by more than this share of what the adapter had changed, or if fewer
# of its answers than this are the same.
LOST, SAME = 0.1, 0.9
_COPIED = ("tokenizer*", "special_tokens_map.json", "chat_template.jinja", "generation_config.json", "LICENSE*")


@dataclass(frozen=True)
class Proof:
    """Two models compared, against the model without the adapter.

    Attributes:
        changed: KL divergence from the plain model to the one with the adapter: what there is to lose, in nats a token.
        differs: KL divergence from the one with the adapter to the folded one.
        same: how many of the answers are the same, and `count` how many there are.

    Example:
        proof.lost      # 0.02
    """

    changed: float
    differs: float
    same: int
    count: int

    @property
    def lost(self) -> float:
        """The share of the change that is gone."""
        return self.differs / self.changed if self.changed else math.inf

    def __str__(self) -> str:
        return _(
            "the adapter changed {changed:.3f} nats a token; the fold differs by {differs:.5f} ({lost:.1%}), and "
            "{same} of {count} answers are the same"
        ).format(changed=self.changed, differs=self.differs, lost=self.lost, same=self.same, count=self.count)

    __repr__ = __str__


def prove(taught: Model, folded: Model, questions: Sequence[Talk], max_tokens: int = 24) -> Proof:
    """Compare a model with its adapter on, and another one that should be the same.

    Args:
        taught: with the adapter.
        folded: the other one.
        questions: what the adapter has taught; their answers are compared token by token.
        max_tokens: of an answer.

    Raises:
        BadRequest: `taught` has no adapter, or there are no questions.

    Example:
        prove(load("instruct", adapter="school"), load("models/school-4bit"), held_out)
    """
    return WORKER.call(_prove, engine_of(taught), engine_of(folded), list(questions), max_tokens)


def _prove(taught: MLXText, folded: MLXText, questions: list[Talk], max_tokens: int) -> Proof:
    if taught.adapter is None or not questions:
        raise BadRequest(
            _("There is no adapter to look for, or no question."),
            _("Give the model with its adapter, load(..., adapter=...), and questions about what it learned."),
        )
    plain = MLXText(taught.path, shared=taught)
    said = [answer.text for answer in measure.answers(taught, questions, max_tokens)]
    again = [answer.text for answer in measure.answers(folded, questions, max_tokens)]
    own = [
        Talk(messages=[*q["messages"][:-1], {"role": "assistant", "content": a}]) for q, a in zip(questions, said) if a
    ]
    changed, differs, places = 0.0, 0.0, 0
    for example in own:
        place = encode(taught, example)
        with_it, without, folded_in = (
            _log_shares(engine, place.ids)[place.start - 1 : -1] for engine in (taught, plain, folded)
        )
        changed += _divergence(with_it, without)
        differs += _divergence(with_it, folded_in)
        places += len(with_it)
    return Proof(
        changed / max(1, places), differs / max(1, places), sum(a == b for a, b in zip(said, again)), len(questions)
    )


def _log_shares(engine: MLXText, ids: Sequence[int]) -> np.ndarray:
    import numpy as np

    logits = engine.logits(ids).astype(np.float64)
    shares: np.ndarray = logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)
    return shares


def _divergence(first: np.ndarray, second: np.ndarray) -> float:
    """KL divergence, summed over the places: sum of p * (ln p - ln q)."""
    import numpy as np

    return float(np.vdot(np.exp(first), first - second))


def fold(
    taught: Model,
    target: str | Path,
    questions: Sequence[Talk],
    *,
    bits: int | None = None,
    group_size: int = 32,
) -> Proof:
    """Write a checkpoint with the adapter inside, and prove it. Nothing is written if the adapter got lost.

    Args:
        taught: a model with an adapter.
        target: a folder that does not exist yet.
        questions: what the adapter has taught, and what the model knew before, for the proof.
        bits: round the result to 2, 3, 4, 6 or 8 bits; None keeps full numbers.
        group_size: weights that share a scale.

    Returns:
        The proof.

    Raises:
        BadRequest: there is no adapter, or the folder is there already.
        CheckpointRefused: the rounding has lost the adapter.
        NotEnoughDisk, NotEnoughMemory: the result does not fit.

    Example:
        fold(load("instruct", adapter="school"), "models/school-4bit", held_out, bits=4)
    """
    engine, target = engine_of(taught), Path(target).expanduser().absolute()
    if engine.adapter is None:
        raise BadRequest(_("{name} has no adapter to fold in.").format(name=taught.name), _("Load it with one."))
    if target.exists():
        raise BadRequest(
            _("{folder} is there already, and nothing is overwritten.").format(folder=target),
            _("Name a folder that does not exist yet."),
        )
    return WORKER.call(_fold, engine, target, list(questions), bits, group_size)


def _fold(engine: MLXText, target: Path, questions: list[Talk], bits: int | None, group: int) -> Proof:
    advice = _("Free some space, or name a folder in a place where you may write.")
    with staging.making(target, advice) as part:
        _write(engine, part, bits, group)
        proof = _prove(engine, MLXText(part), questions, 24)
        if proof.lost > LOST or proof.same < SAME * proof.count:
            raise CheckpointRefused(
                _("The folded model has lost the adapter: {proof}. Nothing was written.").format(proof=proof),
                _("Fold with more bits, or without rounding (bits=None), or keep the adapter beside the model."),
            )
        files.finish(part, target)
    return proof


def _write(engine: MLXText, part: Path, bits: int | None, group: int) -> None:
    import mlx.core as mx
    from mlx.utils import tree_unflatten
    from mlx_lm.utils import dequantize_model, load_model, quantize_model, save_config, save_model

    assert engine.adapter is not None, "checked before"
    model, config = load_model(engine.path, lazy=True, trust_remote_code=False)
    adapters.put_on(model, engine.adapter)
    folded: list[tuple[str, Any]] = [(name, module.fuse(dequantize=True)) for name, module in adapters.changed(model)]
    model.update_modules(tree_unflatten(folded))
    model = dequantize_model(model)
    model.set_dtype(mx.float32)
    config = {key: value for key, value in config.items() if key not in ("quantization", "quantization_config")}
    if bits is not None:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints a line of its own
            model, config = quantize_model(model, config, group, bits)
    try:
        save_model(part, model, donate_model=True)
    except RuntimeError as error:  # MLX's word for a full disk
        raise OSError(str(error).split("\n")[0]) from error
    save_config(config, part / "config.json")
    for pattern in _COPIED:
        for file in sorted(engine.path.glob(pattern)):
            if file.is_file() and file.suffix != ".py":
                shutil.copyfile(file, part / file.name)
    mx.clear_cache()
