"""Optimisers of a recipe, all of them torch's own."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from headstart import params

OPTIMISERS: dict[type, Callable[[list[dict[str, Any]], Any], Optimizer]] = {
    params.SGD: lambda groups, chosen: torch.optim.SGD(
        groups, lr=chosen.learning_rate, momentum=chosen.momentum, nesterov=True
    ),
    params.RMSProp: lambda groups, chosen: torch.optim.RMSprop(
        groups, lr=chosen.learning_rate, alpha=chosen.decay, eps=chosen.epsilon
    ),
    params.Adam: lambda groups, chosen: torch.optim.Adam(groups, lr=chosen.learning_rate),
    params.AdamW: lambda groups, chosen: torch.optim.AdamW(groups, lr=chosen.learning_rate),
}


def optimiser(
    chosen: params.SGD | params.RMSProp | params.Adam | params.AdamW, network: nn.Module
) -> Optimizer:
    """The optimiser of all that is trainable. Biases, normalisation and slopes don't decay."""
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim > 1], "weight_decay": chosen.weight_decay},
        {"params": [p for p in trainable if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return OPTIMISERS[type(chosen)](groups, chosen)
