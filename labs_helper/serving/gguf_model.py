"""Write a small phi3 checkpoint as a GGUF file, so that llama.cpp serves the same weights as MLX.

For checkpoints of this project's size and make: everything is held in memory. Quantized weights are expanded, or
packed again without a change of value: MLX's 4 bits in groups of 32 are Q4_1's blocks in another order.
The tensors' names and the settings are those of llama.cpp's own converter (conversion/phi.py in its repository).
"""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labs_helper.common.translate import _
from labs_helper.common.types import Config
from labs_helper.engines.worker import WORKER
from labs_helper.errors import LabError

if TYPE_CHECKING:
    import numpy as np

_LAYER = {
    "self_attn.qkv_proj": "attn_qkv",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def names(layers: int) -> dict[str, str]:
    """{name in safetensors: name in GGUF}, both without `.weight`.

    Example:
        names(4)["model.layers.3.mlp.down_proj"]      # 'blk.3.ffn_down'
    """
    found = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
    for layer in range(layers):
        found |= {f"model.layers.{layer}.{old}": f"blk.{layer}.{new}" for old, new in _LAYER.items()}
    return found


def convert(
    source: str | Path, folder: str | Path, kind: str = "f32", tokenizer: bool = True, numbered: bool = False
) -> Path:
    """Write `folder`/NAME.gguf from a checkpoint folder and return its path.

    Args:
        source: the checkpoint's folder.
        folder: where to write; made if it is missing.
        kind: how matrices are stored, "f32", "f16" or "q8_0"; norms and tables are fp32 always. "q4_1" is the smallest
            that keeps the answers, for a checkpoint of 4 bits in groups of 32: its numbers stay, and only their
            scales are rounded, to fp16.
        tokenizer: put tokenizer.json and the chat template beside it, as the engine prefers them.
        numbered: name every token by its number, as in <12>. For a caller that cuts text into tokens itself, where
            the program that reads the file takes prompts as text only: the text <5><12> is then exactly two tokens.

    Raises:
        LabError: the package gguf is not installed, the checkpoint is no phi3, or its weights do not fit "q4_1".

    Example:
        convert(store.locate(catalog.find("instruct-tiny")[0]), "gguf/instruct-tiny")
    """
    try:
        import gguf
    except ImportError as error:
        raise LabError(
            _("The package gguf is not installed."), _("Install it: pip install 'labs-helper[x86]'.")
        ) from error
    import numpy as np

    source, folder = Path(source), Path(folder)
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    if config.get("model_type") != "phi3":
        raise LabError(
            _("{name} is no phi3 checkpoint, and only those are written here.").format(name=source.name),
            _('Use it with MLX: serve(..., engine="mlx").'),
        )
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{source.name}.gguf"
    arrays = WORKER.call(_packed if kind == "q4_1" else _arrays, source, config)
    writer = gguf.GGUFWriter(str(file), "phi3")
    # llama.cpp looks for "phi-3" to know how special tokens take spaces; numbers take none.
    writer.add_name(source.name if numbered else f"{source.name} phi-3")
    settings(writer, config)
    if numbered:
        numbers(writer, source, config)
    else:
        vocabulary(writer, source, config)
    quantization = gguf.GGMLQuantizationType[kind.upper()]
    for old, new in names(config["num_hidden_layers"]).items():
        array = arrays[old]
        if array.ndim == 1:
            writer.add_tensor(f"{new}.weight", array)
        else:
            packed = array if kind in ("f32", "q4_1") else gguf.quants.quantize(array, quantization)
            writer.add_tensor(f"{new}.weight", packed, raw_dtype=quantization)
    for table in ("short", "long"):
        factors = (config.get("rope_scaling") or {}).get(f"{table}_factor")
        if factors:
            writer.add_tensor(f"rope_factors_{table}.weight", np.array(factors, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    if tokenizer:
        for name in ("tokenizer.json", "chat_template.jinja"):
            if (source / name).is_file():
                shutil.copy(source / name, folder)
    return file


def settings(writer: Any, config: Config) -> None:
    """Write what config.json says under llama.cpp's names.

    Example:
        settings(gguf.GGUFWriter("model.gguf", "phi3"), config)
    """
    heads, context = config["num_attention_heads"], config["max_position_embeddings"]
    original = config.get("original_max_position_embeddings") or context
    writer.add_context_length(context)
    writer.add_rope_scaling_orig_ctx_len(original)
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config.get("num_key_value_heads") or heads)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_dimension_count(config["hidden_size"] // heads)
    writer.add_rope_freq_base(config.get("rope_theta", 10000.0))
    writer.add_sliding_window(0)
    longer = context / original
    if longer > 1:  # sqrt(1 + ln(s) / ln(L)), as in transformers' longrope
        writer.add_rope_scaling_attn_factors(math.sqrt(1 + math.log(longer) / math.log(original)))


def vocabulary(writer: Any, source: Path, config: Config) -> None:
    """Write the pieces, with scores that bring about the same merges: the earlier a merge, the higher its score.

    Example:
        vocabulary(gguf.GGUFWriter("model.gguf", "phi3"), store.locate(card), config)
    """
    from gguf import TokenType

    tokenizer = json.loads((source / "tokenizer.json").read_text(encoding="utf-8"))
    known, size = tokenizer["model"]["vocab"], config["vocab_size"]
    pieces = [f"<|unused{token_id}|>" for token_id in range(size)]
    scores, kinds = [-1e6] * size, [TokenType.UNUSED] * size
    for piece, token_id in known.items():
        byte = len(piece) == 6 and piece.startswith("<0x")
        pieces[token_id], kinds[token_id] = piece, TokenType.BYTE if byte else TokenType.NORMAL
    for rank, pair in enumerate(tokenizer["model"]["merges"]):
        whole = known["".join(pair)]
        scores[whole] = max(scores[whole], -float(rank))
    ids = {}
    for token in tokenizer["added_tokens"]:
        token_id = ids[token["content"]] = token["id"]
        pieces[token_id], kinds[token_id] = token["content"], TokenType.CONTROL
    kinds[ids["<unk>"]] = TokenType.UNKNOWN
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(pieces)
    writer.add_token_scores(scores)
    writer.add_token_types(kinds)
    writer.add_bos_token_id(ids["<s>"])
    writer.add_unk_token_id(ids["<unk>"])
    writer.add_eos_token_id(ids["<|endoftext|>"])
    writer.add_pad_token_id(ids["<|endoftext|>"])
    writer.add_eot_token_id(ids["<|end|>"])
    writer.add_add_bos_token(False)
    writer.add_chat_template((source / "chat_template.jinja").read_text(encoding="utf-8"))


def numbers(writer: Any, source: Path, config: Config) -> None:
    """Write a vocabulary in which every token is named by its number.

    Example:
        numbers(gguf.GGUFWriter("model.gguf", "phi3"), store.locate(card), config)
    """
    from gguf import TokenType

    tokenizer = json.loads((source / "tokenizer.json").read_text(encoding="utf-8"))
    ids = {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
    size = config["vocab_size"]
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([f"<{token_id}>" for token_id in range(size)])
    writer.add_token_scores([0.0] * size)
    writer.add_token_types([TokenType.USER_DEFINED] * size)
    writer.add_bos_token_id(ids["<s>"])
    writer.add_eos_token_id(ids["<|endoftext|>"])
    writer.add_eot_token_id(ids["<|end|>"])
    writer.add_add_bos_token(False)
    writer.add_add_space_prefix(False)


def _arrays(source: Path, config: Config) -> dict[str, np.ndarray[Any, Any]]:
    import mlx.core as mx
    import numpy as np

    weights: dict[str, mx.array] = mx.load(str(source / "model.safetensors"))  # type: ignore[assignment]  # one file
    found = {}
    for name in names(config["num_hidden_layers"]):
        array = weights[f"{name}.weight"]
        if f"{name}.scales" in weights:
            how = config["quantization"]
            scales, biases = weights[f"{name}.scales"], weights[f"{name}.biases"]
            array = mx.dequantize(array, scales, biases, group_size=how["group_size"], bits=how["bits"])
        found[name] = np.array(array.astype(mx.float32))
    return found


def _packed(source: Path, config: Config) -> dict[str, np.ndarray[Any, Any]]:
    """Matrices as Q4_1's blocks of 32 numbers: scale and smallest value in fp16, then number i beside number i + 16."""
    import mlx.core as mx
    import numpy as np

    how = config.get("quantization") or {}
    if (how.get("bits"), how.get("group_size"), how.get("mode", "affine")) != (4, 32, "affine"):
        raise LabError(
            _("The weights in {folder} do not have 4 bits in groups of 32.").format(folder=source.name),
            _('Choose another kind, such as "q8_0".'),
        )
    weights: dict[str, mx.array] = mx.load(str(source / "model.safetensors"))  # type: ignore[assignment]  # one file
    found = {}
    for name in names(config["num_hidden_layers"]):
        array = weights[f"{name}.weight"]
        if f"{name}.scales" not in weights:
            found[name] = np.array(array.astype(mx.float32))
            continue
        words = np.array(array)
        numbers = np.stack([words >> shift & 15 for shift in range(0, 32, 4)], axis=-1).astype(np.uint8)
        numbers = numbers.reshape(len(words), -1, 32)
        both = [weights[f"{name}.{part}"].astype(mx.float16) for part in ("scales", "biases")]
        scales = np.stack([np.array(part) for part in both], axis=-1)
        blocks = np.concatenate([scales.view(np.uint8), numbers[..., :16] | numbers[..., 16:] << 4], axis=-1)
        found[name] = blocks.reshape(len(words), -1)
    return found
