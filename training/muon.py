"""Muon (Jordan et al. 2024) for matrices and for stacks of matrices, and what processes need to train together."""

from __future__ import annotations

import torch
from torch import distributed


def fast_16_bits(device: str) -> bool:
    """Whether the hardware multiplies 16-bit matrices: a GPU does, and a CPU with AMX.

    Others are tens of times slower at it than in fp32.
    """
    return device == "cuda" or torch.cpu._is_amx_tile_supported()


def add_up(gradients: list[torch.Tensor]) -> None:
    """Replace each gradient by its sum over all processes, in one message."""
    flat = torch.cat([g.reshape(-1) for g in gradients])
    distributed.all_reduce(flat)
    for gradient, summed in zip(gradients, flat.split([g.numel() for g in gradients])):
        gradient.copy_(summed.view_as(gradient))


class Muon(torch.optim.Optimizer):
    """The update of torch.optim.Muon with adjust_lr_fn="match_rms_adamw", also for stacks of matrices.

    A stack is updated in one batched iteration. torch's own takes single matrices only, and computes in 16 bits on
    every CPU. A parameter with an attribute `matrices` is a stack of that many. Processes that train together, with
    equal gradients, share the work and exchange the results.
    """

    COEFFICIENTS, ITERATIONS, MOMENTUM = (3.4445, -4.7750, 2.0315), 5, 0.95

    def __init__(self, parameters, lr: float, weight_decay: float):
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            updates = [torch.zeros_like(p) for p in group["params"]]
            alike: dict[tuple[int, ...], list] = {}
            for p, update, mine in zip(group["params"], updates, self.mine(group["params"])):
                momentum = self.state[p].setdefault("momentum_buffer", torch.zeros_like(p))
                momentum.lerp_(p.grad, 1 - self.MOMENTUM)
                if mine:
                    raw = p.grad.lerp(momentum, self.MOMENTUM).view(self.stack(p))
                    # A GPU takes as long to start work on one small matrix as on all of its size.
                    alike.setdefault(raw.shape if p.is_cuda else id(p), []).append((update, raw))
            for some in alike.values():
                for (update, _), found in zip(some, self.orthogonal(torch.stack([raw for _, raw in some]))):
                    update.copy_(found.view_as(update))
            if distributed.is_initialized() and distributed.get_world_size() > 1:
                add_up(updates)
            for p, update in zip(group["params"], updates):
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(update, alpha=-group["lr"] * 0.2 * max(self.stack(p)[-2:]) ** 0.5)

    @staticmethod
    def stack(p: torch.Tensor) -> tuple[int, ...]:
        """The shape of a parameter as a stack of matrices."""
        return (
            (p.matrices, p.numel() // p.shape[-1] // p.matrices, p.shape[-1])
            if hasattr(p, "matrices")
            else tuple(p.shape)
        )

    @classmethod
    def mine(cls, parameters: list[torch.Tensor]) -> list[bool]:
        """Which parameters this process works on: the costliest first, each to the process with least to do."""
        if not distributed.is_initialized():
            return [True] * len(parameters)
        loads, owner = [0] * distributed.get_world_size(), [0] * len(parameters)
        costs = [p.numel() * min(cls.stack(p)[-2:]) for p in parameters]
        for i in sorted(range(len(parameters)), key=lambda i: -costs[i]):
            owner[i] = loads.index(min(loads))
            loads[owner[i]] += costs[i]
        return [each == distributed.get_rank() for each in owner]

    @classmethod
    def orthogonal(cls, matrices: torch.Tensor) -> torch.Tensor:
        """Each matrix (..., m, n) with its singular values moved near 1, by Newton-Schulz iterations.

        In 16 bits where the hardware multiplies them; a CPU without AMX would take tens of times longer for it.
        """
        a, b, c = cls.COEFFICIENTS
        shape = matrices.shape
        x = matrices.reshape(-1, *shape[-2:])
        x = x.bfloat16() if fast_16_bits(x.device.type) else x.float()
        flat = shape[-2] > shape[-1]
        x = x.mT if flat else x
        x = x / x.norm(dim=(-2, -1), keepdim=True).clamp_min(1e-7)
        for _ in range(cls.ITERATIONS):
            gram = x @ x.mT
            x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
        return (x.mT if flat else x).reshape(shape).to(matrices.dtype)
