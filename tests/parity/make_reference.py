"""Make the stored reference for the parity test: a tiny random phi3 and what transformers computes with it.

    python tests/parity/make_reference.py

Needs torch and transformers (the extra `training`); the test itself needs neither. Writes beside this file:
`checkpoint/` (config.json, model.safetensors, a tokenizer) and `reference.npz` (the logits of transformers'
Phi3ForCausalLM in fp32 at lengths below, at, just above and far above the original context length).
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
from transformers import Phi3Config, Phi3ForCausalLM  # noqa: E402

ORIGINAL, CONTEXT, HEADS, HIDDEN = 64, 256, 2, 64
LENGTHS = (16, 64, 65, 200)
SEED = 20


def main() -> None:
    """Write the checkpoint and the reference arrays."""
    folder = HERE / "checkpoint"
    vocabulary = write_tokenizer(folder, extra_tokens=8)
    half = HIDDEN // HEADS // 2
    classic = {
        "model_type": "phi3",
        "architectures": ["Phi3ForCausalLM"],
        "hidden_size": HIDDEN,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS,
        "vocab_size": vocabulary,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "rope_scaling": {
            "type": "longrope",
            # The shape of Phi-3.5-mini's tables: short factors stay near 1, long ones grow to over 60.
            "short_factor": [round(1.0 + 0.06 * i, 4) for i in range(half)],
            "long_factor": [round(1.0 + 0.28 * i * i, 4) for i in range(half)],
        },
        "max_position_embeddings": CONTEXT,
        "original_max_position_embeddings": ORIGINAL,
        "tie_word_embeddings": False,
        "bos_token_id": None,
        "eos_token_id": vocabulary - 5,
        "pad_token_id": vocabulary - 5,
        "hidden_act": "silu",
        "attention_dropout": 0.0,
        "torch_dtype": "float32",
    }
    (folder / "config.json").write_text(json.dumps(classic, indent=1) + "\n", encoding="utf-8")
    # transformers reads the very file that our engine reads.
    config = Phi3Config.from_pretrained(folder)
    config._attn_implementation = "eager"
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    reference = Phi3ForCausalLM(config).eval()
    with torch.no_grad():
        for name, weight in reference.named_parameters():
            if "norm" not in name:
                weight.normal_(0, 1.0 if "embed" in name else 1.5 / weight.shape[-1] ** 0.5)
    save_file(
        {name: weight.contiguous() for name, weight in reference.state_dict().items()},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    generator = np.random.default_rng(SEED)
    ids = generator.integers(0, vocabulary, max(LENGTHS))
    arrays = {"ids": ids.astype(np.int32), "lengths": np.array(LENGTHS), "original": np.array(ORIGINAL)}
    for length in LENGTHS:
        with torch.no_grad():
            logits = reference(torch.tensor(ids[None, :length]), use_cache=False).logits[0]
        # Every place of the short sequences, the last 48 of the long one: enough to see any wrong rotation.
        arrays[f"logits_{length}"] = logits[-48:].numpy().astype(np.float32)
        print(f"length {length:>3}: largest |logit| {logits.abs().max():.2f}")
    np.savez_compressed(HERE / "reference.npz", **arrays)
    total = sum(file.stat().st_size for file in HERE.rglob("*") if file.is_file() and file.suffix != ".pyc")
    print(f"{total / 1e3:.0f} kB in all")


if __name__ == "__main__":
    main()
