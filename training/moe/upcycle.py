"""Begins a phimoe as a trained dense phi3: sparse upcycling (Komatsuzaki et al. 2022, arXiv:2212.05055) with experts
that take sides from the first step.

Attention, embeddings and head are those of the dense model. Two experts a topic hold the neurons of the dense MLP that
matter most for that topic, as MoEfication finds them (Zhang et al. 2021, arXiv:2110.01786), and the router begins as a
linear guess of the topic. In layers whose second choices are shared, a topic has one expert, and the others hold the
neurons of tokens that are alike whatever the topic.
"""

from __future__ import annotations

from pathlib import Path

import torch
from scipy.cluster.vq import kmeans2
from torch.nn import functional
from transformers import AutoConfig, AutoModelForCausalLM

from training import weights as stored
from training.config import CHECKPOINTS
from training.moe.corpus import TOPICS, MoeCorpus, topic
from training.tokenizer import Encoder

CONVERSATIONS = 640  # from which neurons and topics are measured
RIDGE = 1.0  # of the topic's regression, as a share of the mean variance of a feature
SHARPNESS = 4.0  # of the router's scores; small enough that training moves them easily
# Of the scores of experts for all topics, and what these have on top: a likely one comes between the topic's own and
# the other topics'.
SHARED_SHARPNESS, SHARED_LEVEL = 2.0, 1.0


def dense_model(folder: Path) -> torch.nn.Module:
    """A published 4-bit checkpoint of this project as transformers' model, its weights expanded to fp32."""
    config = AutoConfig.from_pretrained(folder)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").float().eval()
    model.load_state_dict(stored.read(folder))
    return model


def inputs_of_mlps(dense: torch.nn.Module, encoder: Encoder, seed: int) -> tuple[list[torch.Tensor], torch.Tensor]:
    """What the dense model's MLPs get on conversations of every topic, and the topic of each token.

    Returns:
        For each layer (tokens, hidden); and (tokens,).
    """
    inputs, topics = [[] for _ in dense.model.layers], []
    corpus = MoeCorpus("train", seed)
    hooks = [
        layer.mlp.register_forward_pre_hook(lambda module, args, i=i: inputs[i].append(args[0][0]))
        for i, layer in enumerate(dense.model.layers)
    ]
    with torch.no_grad():
        for _ in range(CONVERSATIONS):
            case = corpus.sample()
            ids = encoder.conversation(case.messages)[0][: dense.config.original_max_position_embeddings]
            topics.append(torch.full((len(ids),), topic(case)))
            dense.model(torch.tensor([ids]), use_cache=False)
    for hook in hooks:
        hook.remove()
    return [torch.cat(found) for found in inputs], torch.cat(topics)


def guess(inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """(8, hidden): the weights of a ridge regression of eight labels on inputs, all labels weighing the same."""
    wanted = functional.one_hot(labels, len(TOPICS)).float()
    share = 1 / wanted.sum(0).clamp_min(1)[labels]
    return ridge(inputs, wanted - wanted.mean(1, keepdim=True), share)


def ridge(inputs: torch.Tensor, wanted: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    """(columns, hidden) weights that give `wanted` (tokens, columns), each token weighing its `share`."""
    scaled = inputs * share[:, None]
    gram = inputs.T @ scaled
    gram += RIDGE * gram.diagonal().mean() * torch.eye(len(gram))
    return torch.linalg.solve(gram, scaled.T @ wanted).T


def alike(inputs: torch.Tensor, topics: torch.Tensor, seed: int) -> torch.Tensor:
    """(tokens,) one of eight groups of tokens that are alike, apart from what their topic adds."""
    means = torch.stack([inputs[topics == place].mean(0) for place in range(len(TOPICS))])
    return torch.from_numpy(kmeans2((inputs - means[topics]).numpy(), len(TOPICS), minit="++", seed=seed)[1]).long()


def busiest(inputs: torch.Tensor, labels: torch.Tensor, mlp: torch.nn.Module) -> torch.Tensor:
    """(8, neurons): for each label the places of the dense MLP's neurons, the busiest first."""
    gate, up = mlp.gate_up_proj(inputs).chunk(2, dim=-1)
    busy = (functional.silu(gate) * up).abs() * mlp.down_proj.weight.norm(dim=0)
    return torch.zeros(len(TOPICS), busy.shape[1]).index_add_(0, labels, busy).argsort(dim=1, descending=True)


def sides(
    inputs: torch.Tensor, topics: torch.Tensor, mlp: torch.nn.Module, width: int, shared: bool, seed: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """How the experts of a layer begin: the router's weights (16, hidden), and the neurons of each expert (16, width).

    Experts 2t and 2t + 1 are those of topic t; if `shared`, 2t alone is, and 2t + 1 that of tokens that are alike.
    """
    of_topic = busiest(inputs, topics, mlp)
    if not shared:
        own = guess(inputs, topics) * SHARPNESS
        # Dealt out, so that both experts of a topic matter.
        neurons = of_topic[:, : 2 * width].unflatten(1, (width, 2)).unbind(2)
        return roughened(torch.stack((own, own), 1).flatten(0, 1)), torch.stack(neurons, 1).flatten(0, 1)
    kinds = alike(inputs, topics, seed)
    neurons = of_topic[:, :width], busiest(inputs, kinds, mlp)[:, :width]
    return shared_router(inputs, topics, kinds), torch.stack(neurons, 1).flatten(0, 1)


def shared_router(inputs: torch.Tensor, topics: torch.Tensor, kinds: torch.Tensor) -> torch.Tensor:
    """(16, hidden): a router that puts the experts for groups of tokens between a topic's own and the other topics'.

    Args:
        kinds: (tokens,) the group of each token, of `alike`.
    """
    own = guess(inputs, topics) * SHARPNESS
    even = torch.full((len(inputs),), 1 / len(inputs))
    level = ridge(inputs, torch.ones(len(inputs), 1), even)  # nearly the same for every token
    level *= SHARED_LEVEL / (inputs @ level.T).mean()
    both = own, guess(inputs, kinds) * SHARED_SHARPNESS + level
    return roughened(torch.stack(both, 1).flatten(0, 1))


def roughened(weights: torch.Tensor) -> torch.Tensor:
    """A router's weights with a little noise, so that no two experts score alike."""
    return weights + torch.randn_like(weights) * 0.05 * weights.norm(dim=1, keepdim=True) / weights.shape[1] ** 0.5


@torch.no_grad()
def upcycle(model, dense_name: str, seed: int, checkpoints: Path = CHECKPOINTS) -> None:
    """Give a fresh `moe.model.Phimoe` the weights of a bundled dense checkpoint.

    Both have the same tokenizer, widths and RoPE factors.

    Args:
        model: its heads of keys and values may be fewer: each is then the mean of those it stands for, as in Ainslie
            et al. 2023 (arXiv:2305.13245).
        dense_name: a folder of `checkpoints`.
    """
    dense = dense_model(checkpoints / dense_name)
    torch.manual_seed(seed)
    inputs, topics = inputs_of_mlps(dense, Encoder(checkpoints / dense_name), seed)
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
        weights, neurons = sides(inputs[i], topics, source.mlp, new.intermediate_size, router.shared, seed)
        router.weight.copy_(weights)
        gate, up = source.mlp.gate_up_proj.weight.chunk(2)
        experts.gate_up_proj.copy_(torch.cat([gate[neurons], up[neurons]], dim=1))
        experts.down_proj.copy_(source.mlp.down_proj.weight.T[neurons].transpose(1, 2))
