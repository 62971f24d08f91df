"""Networks without weights: those of `networks` and timm, and those of saved models."""

from collections.abc import Callable
from typing import Any

from torch import nn

from headstart.networks import NETWORKS


def timm_network(num_classes: int, architecture: str, **model_args: Any) -> nn.Module:
    """Returns an untrained network of timm's, from [B, 3, H, W] to logits [B, num_classes]."""
    import timm  # takes seconds, and the papers' networks don't need it

    return timm.create_model(architecture, num_classes=num_classes, **model_args)


CONSTRUCTORS: dict[str, Callable[..., nn.Module]] = {**NETWORKS, "timm": timm_network}


def build_untrained(identity: dict[str, Any], num_classes: int) -> nn.Module:
    """Returns the network of a saved model without its weights.

    identity: as in `saved_models.SavedModel`.
    """
    if "scratch" in identity:
        network = identity["scratch"]
        return CONSTRUCTORS[network["network"]](num_classes, **network["arguments"])
    # Imported here because it takes seconds, and the papers' networks don't need it.
    import timm
    from timm.layers.norm_act import freeze_batch_norm_2d

    backbone = identity["backbone"]
    network = timm.create_model(
        backbone["architecture"], num_classes=num_classes, **backbone["model_args"]
    )
    return freeze_batch_norm_2d(network)
