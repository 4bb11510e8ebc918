"""Begins a phimoe as a trained dense phi3: sparse upcycling (Komatsuzaki et al. 2022, arXiv:2212.05055) with experts that
take sides from the first step.

Attention, embeddings and head are those of the dense model. Two experts a topic hold the neurons of the dense MLP that matter most
for that topic, as MoEfication finds them (Zhang et al. 2021, arXiv:2110.01786), and the router begins as a linear guess of the topic.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch.nn import functional
from transformers import AutoConfig, AutoModelForCausalLM

from training.config import CHECKPOINTS
from training.tokenizer import Encoder

from .corpus import TOPICS, MoeCorpus, topic

CONVERSATIONS = 640              # from which neurons and topics are measured
RIDGE = 1.0                      # of the topic's regression, as a share of the mean variance of a feature
SHARPNESS = 4.0                  # of the router's scores; small enough that training moves them easily


def dense_model(folder: Path) -> torch.nn.Module:
    """A published 4-bit checkpoint of this project as transformers' model, its weights expanded to fp32."""
    import mlx.core as mx
    import numpy as np

    stored, weights = mx.load(str(folder / "model.safetensors")), {}
    config = AutoConfig.from_pretrained(folder)
    group, bits = config.quantization["group_size"], config.quantization["bits"]
    for name, value in stored.items():
        base = name.removesuffix(".weight")
        if f"{base}.scales" in stored and name.endswith(".weight"):
            value = mx.dequantize(value, stored[f"{base}.scales"], stored[f"{base}.biases"], group, bits)
        if not name.endswith((".scales", ".biases")):
            weights[name] = torch.from_numpy(np.array(value.astype(mx.float32)))
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").float().eval()
    model.load_state_dict(weights)
    return model


class Seen:
    """What passes through the dense model's MLPs on conversations of every topic: inputs, and how busy each neuron is."""

    def __init__(self, dense: torch.nn.Module, encoder: Encoder, seed: int):
        self.inputs = [[] for _ in dense.model.layers]
        self.busy = [torch.zeros(len(TOPICS), dense.config.intermediate_size) for _ in dense.model.layers]
        self.topics: list[torch.Tensor] = []
        corpus = MoeCorpus("train", seed)
        hooks = [layer.mlp.down_proj.register_forward_pre_hook(self._neurons(i)) for i, layer in enumerate(dense.model.layers)]
        hooks += [layer.mlp.register_forward_pre_hook(self._input(i)) for i, layer in enumerate(dense.model.layers)]
        with torch.no_grad():
            for _ in range(CONVERSATIONS):
                case = corpus.sample()
                ids = encoder.conversation(case.messages)[0][:dense.config.original_max_position_embeddings]
                self.now = topic(case)
                self.topics.append(torch.full((len(ids),), self.now))
                dense.model(torch.tensor([ids]), use_cache=False)
        for hook in hooks:
            hook.remove()

    def _input(self, layer: int):
        return lambda module, args: self.inputs[layer].append(args[0][0])

    def _neurons(self, layer: int):
        def add(module, args):
            self.busy[layer][self.now] += args[0][0].abs().sum(0) * module.weight.norm(dim=0)

        return add


def router_weights(inputs: torch.Tensor, topics: torch.Tensor, experts: int) -> torch.Tensor:
    """(experts, hidden) of a router that guesses the topic by ridge regression; each topic has an equal number of experts.

    Args:
        inputs: (tokens, hidden) of the MLP. topics: (tokens,).
    """
    wanted = functional.one_hot(topics, len(TOPICS)).float()
    share = 1 / wanted.sum(0).clamp_min(1)[topics]                      # all topics weigh the same
    wanted = wanted - wanted.mean(1, keepdim=True)
    scaled = inputs * share[:, None]
    gram = inputs.T @ scaled
    gram += RIDGE * gram.diagonal().mean() * torch.eye(len(gram))
    guess = torch.linalg.solve(gram, scaled.T @ wanted).T               # (topics, hidden)
    weights = guess.repeat_interleave(experts // len(TOPICS), 0) * SHARPNESS
    return weights + torch.randn_like(weights) * 0.05 * weights.norm(dim=1, keepdim=True) / weights.shape[1] ** 0.5


@torch.no_grad()
def upcycle(model, dense_name: str, seed: int, checkpoints: Path = CHECKPOINTS) -> None:
    """Give a fresh `moe.model.Phimoe` the weights of a bundled dense checkpoint with the same tokenizer, widths and RoPE factors.

    Args:
        model: its heads of keys and values may be fewer: each is then the mean of those it stands for, as in Ainslie et al. 2023
            (arXiv:2305.13245).
        dense_name: a folder of `checkpoints`.
    """
    dense = dense_model(checkpoints / dense_name)
    torch.manual_seed(seed)
    seen = Seen(dense, Encoder(checkpoints / dense_name), seed)
    topics = torch.cat(seen.topics)
    old, new = dense.config, model.config
    head = old.hidden_size // old.num_attention_heads
    shrink = old.num_key_value_heads // new.num_key_value_heads
    model.model.embed_tokens.weight.copy_(dense.model.embed_tokens.weight)
    model.model.norm.weight.copy_(dense.model.norm.weight)
    model.lm_head.weight.copy_(dense.lm_head.weight)
    for i, (source, target) in enumerate(zip(dense.model.layers, model.model.layers)):
        for norm in ("input_layernorm", "post_attention_layernorm"):
            getattr(target, norm).weight.copy_(getattr(source, norm).weight)
        kv = old.num_key_value_heads * head
        query, key, value = source.self_attn.qkv_proj.weight.split([old.hidden_size, kv, kv])
        target.self_attn.q_proj.weight.copy_(query)
        for name, matrix in (("k_proj", key), ("v_proj", value)):
            getattr(target.self_attn, name).weight.copy_(matrix.unflatten(0, (-1, shrink, head)).mean(1).flatten(0, 1))
        target.self_attn.o_proj.weight.copy_(source.self_attn.o_proj.weight)
        experts, router = target.mlp.experts, target.mlp.router
        router.weight.copy_(router_weights(torch.cat(seen.inputs[i]), topics, len(router.weight)))
        gate, up = source.mlp.gate_up_proj.weight.chunk(2)
        each = len(router.weight) // len(TOPICS)
        for number, busy in enumerate(seen.busy[i]):
            best = busy.argsort(descending=True)[: each * new.intermediate_size]
            for j in range(each):
                mine = best[j::each]                                    # dealt out, so that both experts of a topic matter
                experts.gate_up_proj[each * number + j] = torch.cat([gate[mine], up[mine]])
                experts.down_proj[each * number + j] = source.mlp.down_proj.weight[:, mine]
