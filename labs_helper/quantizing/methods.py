"""mlx-lm's own ways to round more cleverly, called with the course's conversations instead of a downloaded text.

`mlx_lm.gptq` and `mlx_lm.dynamic_quant` fetch calibration data when they start; their functions take any tokens.
`mlx_lm.awq` has no settings for phi3 or phimoe and refuses them. `mlx_lm.dwq` is in `distilling`, as a faster loop.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from labs_helper.common.translate import _
from labs_helper.engines.worker import WORKER
from labs_helper.errors import BadRequest
from labs_helper.quantizing.copies import FULL, Bits, RoundedModel, RoundedText, check, layers_of
from labs_helper.tuning.classroom import engine_of
from labs_helper.tuning.examples import encode_all

if TYPE_CHECKING:
    import mlx.core as mx

    from labs_helper.engines.mlx_text import MLXText
    from labs_helper.models.model import Model
    from labs_helper.tuning.textbook import Talk

GPTQ_BITS = (2, 4, 8)  # what mlx-lm's GPTQ can pack


def gptq(model: Model, talks: Sequence[Talk], bits: int = 2, group: int = 32, length: int = 32) -> RoundedModel:
    """Round with mlx-lm's GPTQ: weight after weight, and what one rounding breaks the next weights make up for.

    Args:
        model: best one whose weights were never rounded.
        talks: what the layers see while their inputs are measured.
        bits: 2, 4 or 8. The table of tokens is rounded plainly to the same bits; GPTQ leaves it out.
        group: weights that share a scale.
        length: tokens of a piece; the conversations are cut into pieces of it.

    Raises:
        BadRequest: mlx-lm cannot round so, or the text is too short.

    Example:
        gptq(twin, talks, bits=2)
    """
    if bits not in GPTQ_BITS:
        raise BadRequest(
            _("mlx-lm's GPTQ cannot pack {bits} bits.").format(bits=bits),
            _("Use one of these: {known}.").format(known=", ".join(map(str, GPTQ_BITS))),
        )
    plan = check(Bits(bits, group))
    engine = engine_of(model)
    weights = WORKER.call(_gptq, engine, list(talks), plan, length)
    return RoundedModel(model, RoundedText(engine.path, plan, engine.ships_code, learned=weights), _("GPTQ"))


def _copy(engine: MLXText) -> RoundedText:
    """The model once more, with full numbers: these methods change what they are given."""
    copy = RoundedText(engine.path, Bits(FULL), engine.ships_code)
    copy.load()
    return copy


def _gptq(engine: MLXText, talks: list[Talk], plan: Bits, length: int) -> dict[str, mx.array]:
    import mlx.core as mx
    import mlx.nn as nn
    from mlx_lm.quant.gptq import gptq_quantize

    copy = _copy(engine)
    data = _pieces(copy, talks, length)
    copy.choose_table(length)
    with contextlib.redirect_stderr(io.StringIO()):  # its progress bars
        model, _config = gptq_quantize(copy.model, data, plan.bits, plan.group, plan.bits, plan.group)
    weights = {
        name: mx.dequantize(layer.weight, layer.scales, layer.biases, group_size=layer.group_size, bits=layer.bits)
        for name, layer in model.named_modules()
        if isinstance(layer, (nn.QuantizedLinear, nn.QuantizedEmbedding))
    }
    mx.eval(weights)
    copy.close()
    return weights


def dynamic(
    model: Model, talks: Sequence[Talk], low: int = 2, high: int = 4, group: int = 32, length: int = 32
) -> dict[str, float]:
    """mlx-lm's estimate of what each layer gains from more bits: from gradients, all layers in one pass.

    Args:
        model: best one whose weights were never rounded.
        talks: what is read.
        low, high: bits of a layer before and after.
        group: weights that share a scale.
        length: tokens of a piece; the conversations are cut into pieces of it.

    Returns:
        The layers with the estimate for each, for a million weights; more is better spent there.

    Raises:
        BadRequest: MLX cannot round so, or the text is too short.

    Example:
        dynamic(twin, talks)["lm_head"]
    """
    check(Bits(low, group))
    check(Bits(high, group))
    return WORKER.call(_dynamic, engine_of(model), list(talks), low, high, group, length)


def _dynamic(engine: MLXText, talks: list[Talk], low: int, high: int, group: int, length: int) -> dict[str, float]:
    from mlx_lm.quant.dynamic_quant import estimate_sensitivities

    copy = _copy(engine)
    data = _pieces(copy, talks, length)
    copy.choose_table(length)
    known = layers_of(copy.model)
    with contextlib.redirect_stderr(io.StringIO()):  # its progress bar
        told: list[tuple[str, Any]] = estimate_sensitivities(copy.model, data, low, group, high, group)
    copy.close()
    return {name: float(value) for name, value in told if name in known}


def _pieces(engine: MLXText, talks: list[Talk], length: int) -> mx.array:
    """The conversations one after the other, cut into pieces of one length, as these methods want it."""
    import mlx.core as mx

    ids = [token for example in encode_all(engine, talks) for token in example.ids]
    count = len(ids) // length
    if not count:
        raise BadRequest(
            _("{count} tokens are no piece of {length}.").format(count=len(ids), length=length),
            _("Give more conversations."),
        )
    return mx.array(ids[: count * length]).reshape(count, length)
