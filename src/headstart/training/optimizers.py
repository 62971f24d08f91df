"""Optimizers of a recipe, all of them torch's own."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from headstart import config

OPTIMIZERS: dict[type, Callable[[list[dict[str, Any]], Any], Optimizer]] = {
    config.SGD: lambda groups, chosen: torch.optim.SGD(
        groups, lr=chosen.learning_rate, momentum=chosen.momentum, nesterov=True
    ),
    config.RMSProp: lambda groups, chosen: torch.optim.RMSprop(
        groups, lr=chosen.learning_rate, alpha=chosen.decay, eps=chosen.epsilon
    ),
    config.Adam: lambda groups, chosen: torch.optim.Adam(groups, lr=chosen.learning_rate),
    config.AdamW: lambda groups, chosen: torch.optim.AdamW(groups, lr=chosen.learning_rate),
}


def make_optimizer(recipe: config.Recipe, network: nn.Module) -> Optimizer:
    """The optimizer of all that is trainable. Biases, normalization and slopes don't decay."""
    chosen = recipe.optimizer
    groups = (
        _groups(network, chosen.weight_decay)
        if recipe.layer_decay == 1
        else _groups_by_layer(network, chosen, recipe.layer_decay)
    )
    return OPTIMIZERS[type(chosen)](groups, chosen)


def _groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in trainable if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trainable if p.ndim <= 1], "weight_decay": 0.0},
    ]


def _groups_by_layer(
    network: nn.Module, chosen: config.Optimizer, layer_decay: float
) -> list[dict[str, Any]]:
    """Each layer with a learning rate of its own, as timm counts layers from the classifier."""
    # Imported here as it takes seconds, and from-scratch training does without.
    from timm.optim import param_groups_layer_decay  # pyright: ignore[reportPrivateImportUsage]

    groups = param_groups_layer_decay(network, chosen.weight_decay, layer_decay=layer_decay)
    return [
        {
            "params": group["params"],
            "weight_decay": group["weight_decay"],
            "lr": chosen.learning_rate * group["lr_scale"],
        }
        for group in groups
    ]
