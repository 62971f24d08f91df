"""Adam on stacked models, each at its own rate."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

BETAS, EPSILON = (0.9, 0.999), 1e-8
"""Kingma and Ba's own defaults (2015, algorithm 1), as Milani uses."""


@dataclass(frozen=True)
class _State:
    """One tensor [M, ...] with its L2 strengths [M] and moments."""

    tensor: Tensor
    strengths: Tensor
    first: Tensor
    second: Tensor


class StackedAdam:
    """Adam (Kingma and Ba, 2015) on tensors whose first axis is M models.

    The L2 term of the paper's loss, `strength * sum(weight ** 2) / 2` as TensorFlow writes it, acts
    through its gradient, strength * weight, ahead of Adam's moments; biases have none. (AdamW's
    decoupled decay is another thing.)
    """

    def __init__(
        self, weights: Sequence[Tensor], strengths: Tensor, biases: Sequence[Tensor]
    ) -> None:
        """strengths: [M], for `weights` alone."""
        none = torch.zeros_like(strengths)
        self.states = [
            _State(tensor, of_tensor, torch.zeros_like(tensor), torch.zeros_like(tensor))
            for tensors, of_tensor in ((weights, strengths), (biases, none))
            for tensor in tensors
        ]
        self.steps = 0

    @torch.no_grad()
    def step(self, rates: Tensor) -> None:
        """One step down the tensors' gradients, which it changes. rates: [M]."""
        self.steps += 1
        # The moments' bias is taken out of the rate, and put into epsilon, not out of each moment.
        unbias1, unbias2 = (1 - beta**self.steps for beta in BETAS)
        rates = rates * math.sqrt(unbias2) / unbias1
        epsilon = EPSILON * math.sqrt(unbias2)
        for state in self.states:
            assert state.tensor.grad is not None
            axes = (-1, *[1] * (state.tensor.ndim - 1))
            whole = (
                state.tensor,
                state.tensor.grad,
                state.strengths.view(axes),
                rates.view(axes),
                state.first,
                state.second,
            )
            # On a CPU model by model: what one model needs stays in its cache.
            parts = len(state.tensor) if state.tensor.device.type == "cpu" else 1
            for p, g, strength, rate, m, v in zip(*(t.chunk(parts) for t in whole), strict=True):
                g.addcmul_(p, strength)
                m.lerp_(g, 1 - BETAS[0])
                v.mul_(BETAS[1]).addcmul_(g, g, value=1 - BETAS[1])
                # Into the gradient, which is used up: large tensors made anew cost fresh pages.
                scale = torch.sqrt(v, out=g).add_(epsilon).div_(rate)
                p.addcdiv_(m, scale, value=-1)
