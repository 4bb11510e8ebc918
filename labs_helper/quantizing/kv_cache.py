"""Round the KV cache instead of the weights: keys and values of what was read, kept with fewer bits.

mlx-lm rounds the cache once it holds `quantized_kv_start` tokens (5,000 by default). Here it does so from the start, or
nothing would be rounded in texts as short as the small models can read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from labs_helper.common.translate import _
from labs_helper.engines.base import Message, Request
from labs_helper.engines.worker import WORKER
from labs_helper.errors import BadRequest
from labs_helper.quantizing.copies import FULL, GROUPS
from labs_helper.quantizing.rounding import bits_per_weight
from labs_helper.quantizing.skills import Question, is_right
from labs_helper.tuning.classroom import Score, engine_of

if TYPE_CHECKING:
    from labs_helper.common.types import Config
    from labs_helper.engines.mlx_text import MLXText
    from labs_helper.models.model import Model

BITS = (2, 3, 4, 5, 6, 8, FULL)


def head_size(config: Config) -> int:
    """Numbers of a key: one head of one token.

    Example:
        head_size(engine.config)      # 32 for instruct-tiny, 96 for Phi-3.5-mini
    """
    return int(config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"])


def bytes_per_token(config: Config, bits: int = FULL, group: int = 32) -> float:
    """Bytes that the cache takes for each token, scales and biases included.

    Args:
        config: config.json of the model.
        bits: of each number; 16 is not rounded.
        group: numbers that share a scale and a bias.

    Example:
        bytes_per_token(card.config, 4)
    """
    heads = config.get("num_key_value_heads") or config["num_attention_heads"]
    numbers = 2 * config["num_hidden_layers"] * heads * head_size(config)
    return float(numbers * (FULL if bits == FULL else bits_per_weight(bits, group)) / 8)


def score_with_cache(
    model: Model, asked: Sequence[Question], bits: int, group: int = 32, max_tokens: int = 24
) -> Score:
    """Ask questions one by one, with the KV cache rounded from the first answer's token on.

    The prompt itself is read with full numbers, because mlx-lm rounds after each part of a prompt; what the answer
    looks back at is rounded.

    Args:
        model: any text model of MLX.
        asked: from `questions`; needles are the test, because their answers are far back.
        bits: 2, 3, 4, 5, 6 or 8; 16 leaves the cache as it is.
        group: numbers that share a scale; it must divide the size of a head.
        max_tokens: of an answer.

    Raises:
        BadRequest: MLX cannot round so, or the groups do not divide a head.

    Example:
        score_with_cache(twin, questions("needle"), bits=4)
    """
    said = WORKER.call(_answers, engine_of(model), list(asked), bits, group, max_tokens)
    passed = tuple(is_right(question, text) for question, (text, _ended) in zip(asked, said))
    return Score(
        sum(passed), len(passed), tuple(text for text, _ended in said), passed, tuple(ended for _text, ended in said)
    )


def _answers(engine: MLXText, asked: list[Question], bits: int, group: int, max_tokens: int) -> list[tuple[str, bool]]:
    from mlx_lm import stream_generate

    engine.load()
    if bits not in BITS or group not in GROUPS:
        raise BadRequest(
            _("The cache cannot have {bits} bits in groups of {group}.").format(bits=bits, group=group),
            _("Use bits {bits} and groups {groups}.").format(
                bits=", ".join(map(str, BITS)), groups=", ".join(map(str, GROUPS))
            ),
        )
    if bits != FULL and head_size(engine.config) % group:
        raise BadRequest(
            _("Groups of {group} do not divide a head of {size} numbers.").format(
                group=group, size=head_size(engine.config)
            ),
            _("Use group=32."),
        )
    how: dict[str, Any] = {} if bits == FULL else {"kv_bits": bits, "kv_group_size": group, "quantized_kv_start": 0}
    tokenizer = engine.batch_tokenizer()
    said = []
    for question in asked:
        messages = question.talk["messages"][:-1]
        ids = engine.render(Request(tuple(Message(role=m["role"], content=m["content"]) for m in messages))).ids
        engine.choose_table(len(ids) + max_tokens)
        engine.prompt_cache.clear()  # the table in the model may have changed
        parts = list(stream_generate(engine.model, tokenizer, list(ids), max_tokens=max_tokens, **how))
        said.append(("".join(part.text for part in parts).strip(), parts[-1].finish_reason == "stop"))
    return said
