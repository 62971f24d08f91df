"""Adam for stacked models, each with its own learning rate."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

BETAS, EPSILON = (0.9, 0.999), 1e-8
"""The defaults of Kingma and Ba (2015, algorithm 1), which Milani uses."""


@dataclass(frozen=True)
class _State:
    """A parameter tensor [M, ...] with its L2 strengths [M] and its moments [M, ...]."""

    tensor: Tensor
    strengths: Tensor
    first: Tensor
    second: Tensor


class StackedAdam:
    """Adam (Kingma and Ba, 2015) on tensors whose first axis is M models.

    The L2 term of the paper's loss, `strength * sum(weight ** 2) / 2` as in TensorFlow, adds
    strength * weight to the gradient before Adam's moments are updated; biases have no such term.
    (This differs from the decoupled weight decay of AdamW.)
    """

    def __init__(
        self, weights: Sequence[Tensor], strengths: Tensor, biases: Sequence[Tensor]
    ) -> None:
        """Prepares the tensors' moments. strengths: [M], L2 of `weights`; biases have none."""
        zeros = torch.zeros_like(strengths)
        self.states = [
            _State(tensor, tensor_strengths, torch.zeros_like(tensor), torch.zeros_like(tensor))
            for tensors, tensor_strengths in ((weights, strengths), (biases, zeros))
            for tensor in tensors
        ]
        self.steps = 0

    @torch.no_grad()
    def step(self, rates: Tensor) -> None:
        """Takes one step; overwrites the tensors' gradients. rates: [M], the learning rates."""
        self.steps += 1
        # Instead of correcting the bias of each moment, the rates and epsilon are scaled.
        correction1, correction2 = (1 - beta**self.steps for beta in BETAS)
        rates = rates * math.sqrt(correction2) / correction1
        epsilon = EPSILON * math.sqrt(correction2)
        for state in self.states:
            assert state.tensor.grad is not None
            axes = (-1, *[1] * (state.tensor.ndim - 1))
            tensors = (
                state.tensor,
                state.tensor.grad,
                state.strengths.view(axes),
                rates.view(axes),
                state.first,
                state.second,
            )
            # On a CPU one model at a time, so that a model's data stay in the cache.
            parts = len(state.tensor) if state.tensor.device.type == "cpu" else 1
            for p, g, strength, rate, m, v in zip(*(t.chunk(parts) for t in tensors), strict=True):
                g.addcmul_(p, strength)
                m.lerp_(g, 1 - BETAS[0])
                v.mul_(BETAS[1]).addcmul_(g, g, value=1 - BETAS[1])
                # The gradient's memory is reused, because allocating large tensors is slow.
                scale = torch.sqrt(v, out=g).add_(epsilon).div_(rate)
                p.addcdiv_(m, scale, value=-1)
