"""Make the stored reference for the parity test of phimoe: a tiny random model and what transformers computes.

    python tests/parity/make_moe_reference.py

Needs torch and transformers (the extra `training`); the test itself needs neither. Writes beside this file:
`checkpoint-moe/` and `reference_moe.npz`, the logits of transformers' PhimoeForCausalLM in fp32 below, at, just above
and far above the original context length, and the experts that its routers chose.

transformers 5.23 keeps to the short table at every length: PhimoeRotaryEmbedding asks for its factors without a length
(models/phimoe/modeling_phimoe.py). Up to the original length that is right, and its logits are stored as they come
(`logits_N`). Beyond it the same class is given the long factors where it looks for the short ones, and so computes what
it should (`logits_N`); what it computes as it is stays beside it (`uncorrected_N`), to see when that changes.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent.parent), str(HERE.parent)]

import numpy as np  # noqa: E402
import torch  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from tiny_checkpoint import write_tokenizer  # noqa: E402
from transformers import AutoConfig, PhimoeForCausalLM  # noqa: E402

ORIGINAL, CONTEXT, HEADS, HIDDEN, LAYERS = 64, 256, 2, 32, 2
LENGTHS = (16, 64, 65, 200)
SEED = 21
CHECKPOINT = HERE / "checkpoint-moe"


def write_checkpoint() -> int:
    """config.json, tokenizer and random weights under the names of Phi-3.5-MoE's files. Returns the vocabulary size."""
    vocabulary = write_tokenizer(CHECKPOINT, extra_tokens=8)
    half = HIDDEN // HEADS // 2
    scale = round((1 + np.log(CONTEXT / ORIGINAL) / np.log(ORIGINAL)) ** 0.5, 6)
    config = {
        "model_type": "phimoe",
        "architectures": ["PhimoeForCausalLM"],
        "hidden_size": HIDDEN,
        "intermediate_size": 24,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": 1,
        "num_local_experts": 16,
        "num_experts_per_tok": 2,
        "router_jitter_noise": 0.01,
        "input_jitter_noise": 0.0,
        "vocab_size": vocabulary,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "hidden_act": "silu",
        "rope_scaling": {
            "type": "longrope",
            "short_factor": [round(1.0 + 0.1 * i, 4) for i in range(half)],
            "long_factor": [round(1.0 + 1.0 * i * i, 4) for i in range(half)],
            "short_mscale": scale,
            "long_mscale": scale,
            "original_max_position_embeddings": ORIGINAL,
        },
        "max_position_embeddings": CONTEXT,
        "original_max_position_embeddings": ORIGINAL,
        "sliding_window": None,
        "attention_bias": True,
        "lm_head_bias": True,
        "attention_dropout": 0.0,
        "tie_word_embeddings": False,
        "bos_token_id": None,
        "eos_token_id": vocabulary - 5,
        "pad_token_id": vocabulary - 5,
        "torch_dtype": "float32",
    }
    (CHECKPOINT / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    generator = torch.Generator().manual_seed(SEED)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator) * 1.5 / shape[-1] ** 0.5

    norm = {"weight": lambda: 1 + 0.1 * random(HIDDEN), "bias": lambda: random(HIDDEN)}
    state = {"model.embed_tokens.weight": torch.randn((vocabulary, HIDDEN), generator=generator)}
    state |= {f"model.norm.{kind}": make() for kind, make in norm.items()}
    state |= {"lm_head.weight": random(vocabulary, HIDDEN), "lm_head.bias": random(vocabulary)}
    for layer in range(LAYERS):
        at = f"model.layers.{layer}"
        for name, rows in (("q", HIDDEN), ("k", HIDDEN // HEADS), ("v", HIDDEN // HEADS), ("o", HIDDEN)):
            state[f"{at}.self_attn.{name}_proj.weight"] = random(rows, HIDDEN)
            state[f"{at}.self_attn.{name}_proj.bias"] = random(rows)
        for place in ("input_layernorm", "post_attention_layernorm"):
            state |= {f"{at}.{place}.{kind}": make() for kind, make in norm.items()}
        state[f"{at}.block_sparse_moe.gate.weight"] = random(16, HIDDEN)
        for expert in range(16):
            name = f"{at}.block_sparse_moe.experts.{expert}"
            state |= {
                f"{name}.w1.weight": random(24, HIDDEN),
                f"{name}.w3.weight": random(24, HIDDEN),
                f"{name}.w2.weight": random(HIDDEN, 24),
            }
    save_file(state, CHECKPOINT / "model.safetensors", metadata={"format": "pt"})
    return vocabulary


def reference(**changes) -> PhimoeForCausalLM:
    """transformers' own class, reading the very files that our engine reads."""
    config = AutoConfig.from_pretrained(CHECKPOINT)
    config.rope_parameters.update(changes)
    model, info = PhimoeForCausalLM.from_pretrained(
        CHECKPOINT, config=config, attn_implementation="eager", experts_implementation="eager", output_loading_info=True
    )
    assert not (info["missing_keys"] or info["unexpected_keys"] or info["mismatched_keys"]), info
    return model.eval()


@torch.no_grad()
def logits(model: PhimoeForCausalLM, ids: np.ndarray) -> np.ndarray:
    """All logits of one sequence; the last 48 places of a long one are enough to see any wrong rotation."""
    return model(torch.tensor(ids[None]), use_cache=False).logits[0][-48:].numpy().astype(np.float32)


def main() -> None:
    """Write the checkpoint and the reference arrays."""
    torch.set_num_threads(1)
    vocabulary = write_checkpoint()
    ids = np.random.default_rng(SEED).integers(0, vocabulary, max(LENGTHS))
    arrays = {"ids": ids.astype(np.int32), "lengths": np.array(LENGTHS), "original": np.array(ORIGINAL)}
    theirs = reference()
    corrected = reference(short_factor=theirs.config.rope_parameters["long_factor"])
    chosen: list[np.ndarray] = []
    for layer in theirs.model.layers:  # (logits, weights, experts) of the router
        layer.mlp.router.register_forward_hook(lambda _module, _given, made: chosen.append(made[-1].numpy()))
    for length in LENGTHS:
        chosen.clear()
        as_it_is = logits(theirs, ids[:length])
        if length <= ORIGINAL:
            arrays[f"logits_{length}"] = as_it_is
            arrays[f"experts_{length}"] = np.stack(chosen, axis=1).astype(np.int8)
        else:
            arrays[f"logits_{length}"] = logits(corrected, ids[:length])
            arrays[f"uncorrected_{length}"] = as_it_is
        print(f"length {length:>3}: largest |logit| {np.abs(arrays[f'logits_{length}']).max():.2f}")
    np.savez_compressed(HERE / "reference_moe.npz", **arrays)
    files = [*CHECKPOINT.iterdir(), HERE / "reference_moe.npz"]
    print(f"{sum(file.stat().st_size for file in files) / 1e3:.0f} kB in all")


if __name__ == "__main__":
    main()
