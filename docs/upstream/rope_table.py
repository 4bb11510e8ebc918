"""mlx-lm: SuScaledRoPE uses long_factor for every length and never reads short_factor.

Title: LongRoPE (phi3, phimoe): the short table is never used

Phi-3.5's config.json has two tables of rotary factors. `short_factor` belongs to sequences up to
`original_max_position_embeddings` (4096), `long_factor` to longer ones (LongRoPE, arXiv:2402.13753; transformers'
Phi3RotaryEmbedding). `SuScaledRoPE.__init__` takes `short_factor` and drops it, so every prompt below 4096 tokens runs
with the wrong table. The scale is right.

Suggested fix: keep both tables and choose by the length of the whole request (prompt and max_tokens), since keys in the
cache are rotated already. vLLM decides in the same way (vllm-project/vllm#27431).
"""

import mlx.core as mx
from mlx_lm.models.rope_utils import SuScaledRoPE

dims, original = 8, 64
short, long = [1.0] * 4, [8.0] * 4
rope = SuScaledRoPE(
    dims,
    max_position_embeddings=128,
    original_max_position_embeddings=original,
    short_factor=short,
    long_factor=long,
)
x = mx.ones((1, 1, 16, dims))  # 16 positions: well below the original length


def rotated(factor: list[float]) -> mx.array:
    freqs = mx.array(factor) * 10000.0 ** (mx.arange(0, dims, 2) / dims)
    return mx.fast.rope(rope._scale * x, dims, traditional=False, base=None, scale=1.0, offset=0, freqs=freqs)


ours = rope(x)
print("equals the short table:", mx.allclose(ours, rotated(short), atol=1e-5).item())
print("equals the long table: ", mx.allclose(ours, rotated(long), atol=1e-5).item())
print("right" if mx.allclose(ours, rotated(short), atol=1e-5).item() else "wrong")
