"""transformers' own PhimoeForCausalLM, with what training needs: the right RoPE table, routers in fp32, and losses
that keep every expert busy and let experts take sides."""

from __future__ import annotations

import re

import torch
from torch.nn import functional
from transformers import AutoConfig, PhimoeConfig, PhimoeForCausalLM
from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS, grouped_mm_experts_forward
from transformers.models.phimoe.modeling_phimoe import PhimoeRotaryEmbedding, PhimoeTopKRouter, sparsemixer

from training.moe.corpus import TOPICS

MEMORY, ENOUGH = 0.95, 100  # of the running shares: some twenty batches with so many tokens of a topic
OPEN = 0.1  # mutual information of topics and second choices, where these are shared, that is let be
GATE_BITS = HEAD_BITS = 8  # the router decides by small differences; so does the head among languages


class Rotary(PhimoeRotaryEmbedding):
    """LongRoPE with the long table beyond the original length. transformers 5.23 keeps the short one at every length:
    its forward calls rope_init_fn without a length."""

    @torch.no_grad()
    def forward(self, x: torch.Tensor, position_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        length = int(position_ids.max()) + 1
        scaling = self.config.rope_parameters
        inv_freq, _ = self.rope_init_fn(self.config, x.device, seq_len=length)
        mscale = scaling["long_mscale" if length > scaling["original_max_position_embeddings"] else "short_mscale"]
        angles = position_ids[..., None].float() * inv_freq.float()
        angles = torch.cat((angles, angles), dim=-1)
        return (angles.cos() * mscale).to(x.dtype), (angles.sin() * mscale).to(x.dtype)


class Router(PhimoeTopKRouter):
    """The router in fp32 whatever the rest computes in; remembers its last decisions and a running table of them.

    `load` (2, topics, experts) is for each topic the share of its tokens that each expert wins, as first and as second
    choice. It runs over many batches, because one batch holds few topics: conversations of one length are often of one
    kind.

    Args:
        shared: the second choices belong to no topic. Else two experts come to share a topic, and neither is missed.
    """

    def __init__(self, config: PhimoeConfig, topics: int, shared: bool = False):
        super().__init__(config)
        self.bits, self.shared = GATE_BITS, shared
        self.register_buffer("load", torch.full((2, topics, config.num_local_experts), 1 / config.num_local_experts))

    def forward(self, hidden_states: torch.Tensor):
        with torch.autocast(hidden_states.device.type, enabled=False):
            logits = functional.linear(hidden_states.float(), self.weight)
            weights, chosen = sparsemixer(
                logits, jitter_eps=self.router_jitter_noise, training=self.training, top_k=self.top_k
            )
        self.logits, self.chosen = logits, chosen
        return logits, weights, chosen

    def losses(
        self, topics: torch.Tensor, known: torch.Tensor, target: float = 1.0
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Load balance and specialisation of the last batch.

        Both are linear in the router's probabilities p(e), with q the running shares, all topics weighing the same:
        balance = mean of sum over e of p(e) log(q(e) x experts), which pulls away from busy experts and hardest towards
        idle ones; specialisation = -mean of sum of p(e) log(q(e | topic) / q(e)), the pointwise mutual information with
        its sign turned. Their gradients are those of the entropy of q(e) and of the mutual information, which Mod-Squad
        trains for tasks (Chen et al. 2022, arXiv:2212.08066).

        Where second choices are shared, `specialisation` adds theirs with the other sign, and the load is that of both
        choices: what DeepSeekMoE builds in, some experts for all and the others each for something (Dai et al. 2024,
        arXiv:2401.06066).

        Args:
            topics: (tokens,) the topic of each token.
            known: (tokens,) which tokens count; padding does not.
            target: normalised mutual information beyond which first choices are left alone: more sides cost more than
                they show.
        """
        logits, topics = self.logits[known], topics[known]
        best = logits.argmax(-1, keepdim=True)
        rest = logits.masked_fill(torch.zeros_like(logits, dtype=torch.bool).scatter(-1, best, True), -torch.inf)
        with torch.no_grad():
            for load, chosen in zip(self.load, (best[:, 0], rest.argmax(-1))):
                now = torch.zeros_like(load)
                now.view(-1).index_add_(0, topics * now.shape[1] + chosen, torch.ones(len(topics), device=now.device))
                tokens = now.sum(1, keepdim=True)
                load.lerp_(now / tokens.clamp_min(1), ((1 - MEMORY) * (tokens / ENOUGH).clamp(max=1)).expand_as(now))
            share = self.load.mean(1)  # (2, experts)
            gain = ((self.load + 1e-4) / (share[:, None] + 1e-4)).log().clamp(-2, 2)
            share = share.mean(0) if self.shared else share[0]
            busy = (share * len(share)).clamp_min(0.01).log()
        first, special = logits.softmax(-1), torch.zeros((), device=logits.device)
        if mutual_information(self.load[0]) < target:
            special = special - (first * gain[0][topics]).sum(-1).mean()
        if not self.shared:
            return (first.mean(0) * busy).sum(), special
        second = rest.softmax(-1)
        if mutual_information(self.load[1]) > OPEN:
            special = special + (second * gain[1][topics]).sum(-1).mean()
        return ((first + second).mean(0) / 2 * busy).sum(), special


def mutual_information(counts: torch.Tensor) -> float:
    """Normalised mutual information of rows and columns: I / mean of the two entropies (as scikit-learn's default).

    >>> mutual_information(torch.eye(4))
    1.0
    """
    joint = counts.double() / counts.sum()
    rows, columns = joint.sum(1), joint.sum(0)

    def entropy(p):
        return -torch.special.xlogy(p, p).sum()

    h_rows, h_columns = entropy(rows), entropy(columns)
    shared = h_rows + h_columns - entropy(joint)
    return (2 * shared / (h_rows + h_columns)).item()


class Phimoe(PhimoeForCausalLM):
    """PhimoeForCausalLM to train. Its numbers are those of the original (a test compares them), except that beyond the
    original length it takes the long RoPE table."""

    inside = ("self_attn.", "mlp.experts.")  # the matrices that Muon trains
    # Of AdamW's rate, for the routers. At the full rate they move faster than the running shares can follow: experts
    # then take turns at being idle.
    ROUTER_RATE = 0.1

    def __init__(self, config: PhimoeConfig, topics: int = 1, routing: dict | None = None):
        super().__init__(config)
        self.routing = {"balance": 0.0, "special": 0.0, "target": 0.0, "shared": [], **(routing or {})}
        self.model.rotary_emb = Rotary(config)
        self.lm_head.bits = HEAD_BITS
        for i, layer in enumerate(self.model.layers):
            experts = layer.mlp.experts
            experts.stacked = ("gate_up_proj", "down_proj")  # rounded like matrices
            # w1 of an expert, then its w3.
            experts.gate_up_proj.matrices = 2 * config.num_local_experts
            router = Router(config, topics, i in self.routing["shared"])
            # Zeros: while all experts score alike, SparseMixer draws among all of them. Random weights would send most
            # tokens of a text to a few experts, by what its untrained context happens to average to.
            torch.nn.init.zeros_(router.weight)
            layer.mlp.router = router

    @property
    def routers(self) -> list[Router]:
        return [layer.mlp.router for layer in self.model.layers]

    def routing_loss(self, weights: torch.Tensor, topics: torch.Tensor) -> torch.Tensor:
        """What the routers of the last forward pass should do better, as one number to add to the loss.

        Args:
            weights: (rows, length - 1) of the next tokens in the loss. topics: (rows,).
        """
        known = functional.pad(weights > 0, (1, 0)).flatten()
        each = topics[:, None].expand(-1, weights.shape[1] + 1).flatten()
        total = torch.zeros((), device=weights.device)
        for router in self.routers:
            balance, special = router.losses(each, known, self.routing["target"])
            total = total + self.routing["balance"] * balance + self.routing["special"] * special
        return total / len(self.routers)

    def settle(self) -> None:
        """From now on the routers choose as they will when the model is used: always the best expert, nothing drawn."""
        for router in self.routers:
            router.eval()

    def routing_now(self) -> dict[str, list[float]]:
        """For the log, from the running counts of each layer.

        Mutual information of topics and first choices, the same of second choices, and the smallest share of an expert.
        """
        return {
            "information": [round(mutual_information(r.load[0]), 3) for r in self.routers],
            "of second": [round(mutual_information(r.load[1]), 3) for r in self.routers],
            "least": [round(r.load.mean((0, 1)).min().item(), 4) for r in self.routers],
        }

    @staticmethod
    def published(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """A state dict under the names of Phi-3.5-MoE's files: one matrix an expert, and no running counts."""
        made = {}
        for key, value in state.items():
            if key.endswith("router.load"):
                continue
            key = key.replace(".mlp.router.", ".block_sparse_moe.gate.").replace(".mlp.", ".block_sparse_moe.")
            if found := re.fullmatch(r"(.*\.experts)\.(gate_up_proj|down_proj)", key):
                for i, matrix in enumerate(value):
                    parts = zip(("w1", "w3"), matrix.chunk(2)) if found[2] == "gate_up_proj" else [("w2", matrix)]
                    made |= {f"{found[1]}.{i}.{name}.weight": part for name, part in parts}
            else:
                made[key] = value
        return made

    def from_published(self, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The inverse of `published`: a state dict for this model. The running counts stay as they are."""
        counts = {key: value for key, value in self.state_dict().items() if key.endswith("router.load")}
        made, experts = {}, {}
        for key, value in state.items():
            key = key.replace(".block_sparse_moe.gate.", ".mlp.router.").replace(".block_sparse_moe.", ".mlp.")
            if found := re.fullmatch(r"(.*\.experts)\.(\d+)\.(w[123])\.weight", key):
                experts.setdefault(found[1], {})[int(found[2]), found[3]] = value
            else:
                made[key] = value
        for base, parts in experts.items():
            count = len(parts) // 3
            both = [torch.cat([parts[i, "w1"], parts[i, "w3"]]) for i in range(count)]
            made[f"{base}.gate_up_proj"] = torch.stack(both)
            made[f"{base}.down_proj"] = torch.stack([parts[i, "w2"] for i in range(count)])
        return made | counts


class SixteenBits:
    """A module's attributes, its stacks of matrices in 16 bits: autocast knows nothing of grouped products."""

    def __init__(self, module: torch.nn.Module):
        self.module = module

    def __getattr__(self, name: str):
        value = getattr(self.module, name)
        return value.bfloat16() if torch.is_tensor(value) and value.ndim == 3 else value


def grouped_mm_16_bits(experts: torch.nn.Module, *arguments) -> torch.Tensor:
    """transformers' "grouped_mm" with 16-bit products, for a GPU."""
    return grouped_mm_experts_forward(SixteenBits(experts), *arguments)


ALL_EXPERTS_FUNCTIONS.register("grouped_mm_16_bits", grouped_mm_16_bits)


def new_model(folder, seed: int, routing: dict, topics: int = len(TOPICS)) -> Phimoe:
    """A freshly initialised model from a checkpoint's own config.json. `seed` decides the weights."""
    torch.manual_seed(seed)
    config = AutoConfig.from_pretrained(folder)
    model = Phimoe(config, topics, routing)
    model.config._attn_implementation = "sdpa"
    # "grouped_mm" is the fastest of transformers' on a CPU (docs/training-log.md).
    model.config._experts_implementation = "grouped_mm_16_bits" if torch.cuda.is_available() else "grouped_mm"
    return model.float().train()
