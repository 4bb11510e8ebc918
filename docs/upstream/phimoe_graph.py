"""llama.cpp: phimoe (Phi-3.5-MoE) is computed with another norm and another mixture of its experts.

Title: phimoe: RMS norm in place of LayerNorm, and one softmax over the chosen experts in place of SparseMixer

`src/models/phi3.cpp` builds the graph of phimoe as well. It differs from Microsoft's code (`modeling_phimoe.py`, also in
transformers and mlx-lm) in two places:
1. All norms are LLM_NORM_RMS with a bias added. The model has torch.nn.LayerNorm, which also takes the mean away.
2. `build_moe_ffn` gives the two chosen experts one softmax, so that their weights sum to 1. SparseMixer gives each expert
   a softmax of its own, over those within a band around the best that is left (`router_jitter_noise`). The weights do not
   sum to 1; where no other expert is within the band, both are 1.

This program writes one layer with random weights as a GGUF file, asks llama.cpp for the probabilities after one token, and
computes the four combinations with NumPy.

Suggested fix: LLM_NORM for phimoe, and a gating function for SparseMixer.
"""

import tempfile
from pathlib import Path

import gguf
import numpy as np
import xllamacpp

WIDTH, HEADS, INNER, EXPERTS, WORDS, TOKEN, EPS, BAND = 32, 4, 16, 4, 64, 7, 1e-5, 2 * 0.01
random = np.random.default_rng(0)
W = {
    name: random.normal(0.3, 0.5, shape).astype(np.float32)
    for name, shape in {
        "token_embd.weight": (WORDS, WIDTH),
        "output_norm.weight": WIDTH,
        "output_norm.bias": WIDTH,
        "output.weight": (WORDS, WIDTH),
        "output.bias": WORDS,
        **{f"blk.0.{norm}_norm.{part}": WIDTH for norm in ("attn", "ffn") for part in ("weight", "bias")},
        **{f"blk.0.attn_{part}.weight": (WIDTH, WIDTH) for part in ("q", "k", "v", "output")},
        **{f"blk.0.attn_{part}.bias": WIDTH for part in ("q", "k", "v", "output")},
        "blk.0.ffn_gate_inp.weight": (EXPERTS, WIDTH),
        "blk.0.ffn_gate_exps.weight": (EXPERTS, INNER, WIDTH),
        "blk.0.ffn_up_exps.weight": (EXPERTS, INNER, WIDTH),
        "blk.0.ffn_down_exps.weight": (EXPERTS, WIDTH, INNER),
    }.items()
}


def written(file):
    """The model as a GGUF file."""
    writer = gguf.GGUFWriter(file, "phimoe")
    writer.add_context_length(256)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(INNER)
    writer.add_block_count(1)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(EPS)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_expert_count(EXPERTS)
    writer.add_expert_used_count(2)
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([f"<{word}>" for word in range(WORDS)])
    writer.add_token_scores([0.0] * WORDS)
    writer.add_token_types([gguf.TokenType.USER_DEFINED] * WORDS)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(False)
    for name, array in W.items():
        writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def answered(file):
    """llama.cpp's logarithms of the probabilities of what may come after the token."""
    options = xllamacpp.CommonParams()
    options.model.path, options.n_ctx, options.n_parallel = file, 256, 1
    options.fit_params = options.warmup = False
    options.verbosity, options.hostnames = 0, ["127.0.0.1"]
    options.cache_type_k = options.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    options.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    server, heard = xllamacpp.Server(options), []
    server.handle_completions({"prompt": [TOKEN], "max_tokens": 1, "temperature": 0.0, "n_probs": WORDS}, heard.append)
    each = heard[0]["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
    found = np.full(WORDS, np.nan)
    found[[one["id"] for one in each]] = [one["logprob"] for one in each]
    return found


def layer_norm(x, name):
    centred = x - x.mean()
    return centred / np.sqrt((centred**2).mean() + EPS) * W[f"{name}.weight"] + W[f"{name}.bias"]


def rms_norm(x, name):
    return x / np.sqrt((x**2).mean() + EPS) * W[f"{name}.weight"] + W[f"{name}.bias"]


def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


def sparsemixer(gates):
    left, chosen = gates.copy(), []
    for _rank in range(2):
        best = left.argmax()
        far = (left[best] - gates) / np.maximum(np.abs(gates), left[best]) > BAND
        chosen.append((best, softmax(np.where(far, -np.inf, left))[best]))
        left[best] = -np.inf
    return chosen


def one_softmax(gates):
    best = np.argsort(-gates)[:2]
    return list(zip(best, softmax(gates[best])))


def computed(norm, mixture):
    """The same in NumPy. With one token, attention is that token's value."""
    x = W["token_embd.weight"][TOKEN]
    y = norm(x, "blk.0.attn_norm")
    value = W["blk.0.attn_v.weight"] @ y + W["blk.0.attn_v.bias"]
    x = x + W["blk.0.attn_output.weight"] @ value + W["blk.0.attn_output.bias"]
    y = norm(x, "blk.0.ffn_norm")
    for expert, weight in mixture(W["blk.0.ffn_gate_inp.weight"] @ y):
        gate, up = W["blk.0.ffn_gate_exps.weight"][expert] @ y, W["blk.0.ffn_up_exps.weight"][expert] @ y
        x = x + weight * (W["blk.0.ffn_down_exps.weight"][expert] @ (gate / (1 + np.exp(-gate)) * up))
    return np.log(softmax(W["output.weight"] @ norm(x, "output_norm") + W["output.bias"]))


with tempfile.TemporaryDirectory() as folder:
    written(f"{folder}/phimoe.gguf")
    theirs = answered(str(Path(folder, "phimoe.gguf")))
apart = {}
for norm in (layer_norm, rms_norm):
    for mixture in (sparsemixer, one_softmax):
        apart[norm, mixture] = np.nanmax(np.abs(computed(norm, mixture) - theirs))
        print(f"{norm.__name__:<11}{mixture.__name__:<12} differs from llama.cpp by at most {apart[norm, mixture]:.5f}")
print("right" if apart[layer_norm, sparsemixer] < 0.001 else "wrong")
