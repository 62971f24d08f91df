"""Training a network from scratch, but for its trunk: one of the papers', or any of timm's."""

from collections.abc import Callable
from inspect import getfile, signature
from pathlib import Path
from typing import Any

import torch
from torch import nn

from headstart import config, networks
from headstart.core.devices import resolve_device
from headstart.core.errors import UserError
from headstart.networks import NETWORKS
from headstart.networks.weight_initialization import INITIALIZATIONS
from headstart.store.images import Images
from headstart.store.training_curves import Epoch
from headstart.training import distributed
from headstart.training.image_transforms import InputSpec, channel_statistics
from headstart.training.training_jobs import Outputs, TrainingJob, check_images, load_split, run_job
from headstart.training.training_loop import TrainingTask


def timm_network(num_classes: int, architecture: str, **model_args: Any) -> nn.Module:
    """An untrained network of timm's, from images [B, 3, H, W] to logits [B, num_classes]."""
    import timm  # takes seconds, and the papers' networks do without

    return timm.create_model(architecture, num_classes=num_classes, **model_args)


CONSTRUCTORS: dict[str, Callable[..., nn.Module]] = {**NETWORKS, "timm": timm_network}


def train_scratch(
    images: Images,
    chosen: config.Network,
    recipe: config.Recipe,
    first: config.Recipe | None,
    trunk: config.Backbone | None,
    stage: config.TrainScratch,
    outputs: Outputs,
    label: str,
) -> Epoch:
    """Trains the network and writes `outputs`; returns the epoch that was best on tune, and kept.

    first, trunk: what `chosen` names.

    Raises:
        UserError: the images can't be learnt from, there is no such device, or training diverged.
    """
    check_images(images)
    num_classes = len(images.examples.classes)
    network = build_network(chosen, recipe, num_classes)
    colors = load_trunk(network, trunk) if trunk else None
    identity = {"scratch": chosen.model_dump(mode="json")}
    code = sorted(Path(getfile(networks)).parent.glob("*.py"))
    side = round(chosen.input_size / chosen.crop)
    with distributed.process_group(resolve_device(stage.device)) as device:
        train, tune = (load_split(images, split, side, device) for split in ("train", "tune"))
        input_spec = InputSpec(
            chosen.input_size, chosen.crop, *(colors or channel_statistics(train.pixels))
        )
        task = TrainingTask(train, tune, input_spec, num_classes)
        job = TrainingJob(label, network, task, recipe, identity, code, stage.snapshots, first)
        return run_job(job, images, device, outputs)


def build_network(chosen: config.Network, recipe: config.Recipe, num_classes: int) -> nn.Module:
    """The network with the weights that training starts from; the recipe's seed decides them.

    Raises:
        UserError: it has no such argument, or can't take images of that size.
    """
    torch.manual_seed(recipe.seed)
    constructor = CONSTRUCTORS[chosen.network]
    try:
        signature(constructor).bind(num_classes, **chosen.arguments)
        network = constructor(num_classes, **chosen.arguments)
    except (TypeError, RuntimeError) as error:
        raise UserError(f"arguments of network '{chosen.network}': {error}") from None
    INITIALIZATIONS[recipe.initialization](network)
    try:
        with torch.inference_mode():
            network.eval()(torch.zeros(1, 3, chosen.input_size, chosen.input_size))
    except RuntimeError as error:
        raise UserError(
            f"network '{chosen.network}' takes no images of {chosen.input_size} px: {error}"
        ) from None
    return network


def build_untrained(identity: dict[str, Any], num_classes: int) -> nn.Module:
    """The network, without its weights, that a model of `train_scratch` was saved from."""
    chosen = identity["scratch"]
    return CONSTRUCTORS[chosen["network"]](num_classes, **chosen["arguments"])


def load_trunk(network: nn.Module, zoo: config.Backbone) -> tuple[tuple[float, ...], ...]:
    """Puts a backbone's weights into the network's `trunk`; returns the mean and std it wants.

    Raises:
        UserError: it is another architecture's trunk, or as `backbones.load`.
    """
    from headstart.backbones.loading import (
        load_backbone,  # takes seconds, and other networks do without
    )

    backbone = load_backbone(zoo)
    try:
        network.get_submodule("trunk").load_state_dict(backbone.network.state_dict())
    except RuntimeError:
        raise UserError(
            f"the trunk is no {zoo.architecture}; name an alias of zoo that is a resnet18"
        ) from None
    return backbone.preprocessing.mean, backbone.preprocessing.std
