"""The optimizers that a recipe can name: torch's own, and timm's copy of TensorFlow's RMSProp."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from headstart import config


def tensorflow_rmsprop(groups: list[dict[str, Any]], optimizer_config: config.RMSProp) -> Optimizer:
    """Returns RMSProp as TensorFlow computes it; see `config.RMSProp`."""
    from timm.optim.rmsprop_tf import RMSpropTF  # importing it takes seconds

    return RMSpropTF(
        groups,
        lr=optimizer_config.learning_rate,
        alpha=optimizer_config.decay,
        eps=optimizer_config.epsilon,
    )


OPTIMIZERS: dict[type, Callable[[list[dict[str, Any]], Any], Optimizer]] = {
    config.SGD: lambda groups, optimizer_config: torch.optim.SGD(
        groups, lr=optimizer_config.learning_rate, momentum=optimizer_config.momentum, nesterov=True
    ),
    config.RMSProp: tensorflow_rmsprop,
    config.Adam: lambda groups, optimizer_config: torch.optim.Adam(
        groups, lr=optimizer_config.learning_rate
    ),
    config.AdamW: lambda groups, optimizer_config: torch.optim.AdamW(
        groups, lr=optimizer_config.learning_rate
    ),
}


def make_optimizer(recipe: config.Recipe, network: nn.Module) -> Optimizer:
    """Returns the recipe's optimizer for the trainable parameters of `network`.

    Weight decay applies to weights, not to biases, normalization and the slopes of PReLU.
    """
    optimizer_config = recipe.optimizer
    groups = (
        _parameter_groups(network, optimizer_config.weight_decay)
        if recipe.layer_decay == 1
        else _parameter_groups_by_layer(network, optimizer_config, recipe.layer_decay)
    )
    return OPTIMIZERS[type(optimizer_config)](groups, optimizer_config)


def _parameter_groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Returns two parameter groups, with and without weight decay."""
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in trainable if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trainable if p.ndim <= 1], "weight_decay": 0.0},
    ]


def _parameter_groups_by_layer(
    network: nn.Module, optimizer_config: config.Optimizer, layer_decay: float
) -> list[dict[str, Any]]:
    """Returns parameter groups with one learning rate per layer, lower the farther from the output.

    Layers are counted as timm does.
    """
    # Imported here because it takes seconds, and training from scratch doesn't need it.
    from timm.optim import param_groups_layer_decay  # pyright: ignore[reportPrivateImportUsage]

    groups = param_groups_layer_decay(
        network, optimizer_config.weight_decay, layer_decay=layer_decay
    )
    return [
        {
            "params": group["params"],
            "weight_decay": group["weight_decay"],
            "lr": optimizer_config.learning_rate * group["lr_scale"],
        }
        for group in groups
    ]
