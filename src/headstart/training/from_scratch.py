"""Training from scratch: the papers' networks and any of timm's.

Only a network with a `trunk` may start from pretrained weights, those of the trunk.
"""

from dataclasses import replace
from inspect import getfile, signature
from pathlib import Path

import torch
from torch import nn

from headstart import config, networks
from headstart.core.devices import resolve_device
from headstart.core.errors import UserError, did_you_mean
from headstart.networks.weight_initialization import INITIALIZATIONS
from headstart.store.images import Images
from headstart.training import distributed
from headstart.training.image_transforms import InputSpec, channel_statistics
from headstart.training.train_state import BestEvaluation
from headstart.training.training_jobs import Outputs, TrainingJob, check_images, load_split, run_job
from headstart.training.training_loop import TrainingTask
from headstart.training.untrained_networks import CONSTRUCTORS


def train_scratch(
    images: Images,
    network_config: config.Network,
    recipe: config.Recipe,
    first_recipe: config.Recipe | None,
    trunk: config.Backbone | None,
    stage: config.TrainScratch,
    choose_by: str,
    outputs: Outputs,
    label: str,
) -> BestEvaluation:
    """Trains a network from scratch and writes `outputs`.

    Returns the best evaluation on tune, whose weights are kept.

    first_recipe: the recipe of a first phase with a frozen trunk, if the network has one. trunk:
    the backbone whose weights the network's trunk starts from, if any. choose_by: what tune chooses
    the epoch by. label: the run's name, used in progress bars and messages.

    Raises:
        UserError: the images can't be learned from, the network can't be built, there is no such
            device, or training failed (see `run_job`).
    """
    check_images(images)
    num_classes = len(images.examples.classes)
    network = build_network(network_config, recipe, num_classes)
    channel_stats = load_trunk(network, trunk) if trunk else None
    identity = {"scratch": network_config.model_dump(mode="json")}
    code = sorted(Path(getfile(networks)).parent.glob("*.py"))
    input_spec = InputSpec(
        network_config.input_size, network_config.crop, mean=(0.0,) * 3, std=(1.0,) * 3
    )
    with distributed.process_group(resolve_device(stage.device)) as device:
        train, tune = (load_split(images, split, input_spec, device) for split in ("train", "tune"))
        mean, std = channel_stats or channel_statistics(train.pixels)
        if network_config.normalization == "mean":
            std = (1.0, 1.0, 1.0)
        input_spec = replace(input_spec, mean=mean, std=std)
        task = TrainingTask(train, tune, input_spec, num_classes, choose_by)
        job = TrainingJob(
            label,
            network,
            task,
            recipe,
            identity,
            code,
            stage.snapshots,
            first_recipe,
            recorded=tuple(network_config.recorded_outputs),
        )
        return run_job(job, images, device, outputs)


def build_network(
    network_config: config.Network, recipe: config.Recipe, num_classes: int
) -> nn.Module:
    """Returns the network with its initial weights, which the recipe's seed determines.

    Raises:
        UserError: it has no such argument or module, or can't process images of that size.
    """
    torch.manual_seed(recipe.seed)
    constructor = CONSTRUCTORS[network_config.network]
    try:
        signature(constructor).bind(num_classes, **network_config.arguments)
        network = constructor(num_classes, **network_config.arguments)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"arguments of network '{network_config.network}': {error}") from None
    modules = dict(network.named_modules())
    for name in network_config.recorded_outputs:
        if not modules.get(name):
            near = did_you_mean(name, filter(None, modules))
            raise UserError(
                f"recorded_outputs: {network_config.network} has no module '{name}'; {near}"
            )
    INITIALIZATIONS[recipe.initialization](network)
    try:
        with torch.inference_mode():
            network.eval()(torch.zeros(1, 3, network_config.input_size, network_config.input_size))
    except RuntimeError as error:
        raise UserError(
            f"network '{network_config.network}' can't process images of "
            f"{network_config.input_size} px: {error}"
        ) from None
    return network


def load_trunk(network: nn.Module, zoo: config.Backbone) -> tuple[tuple[float, ...], ...]:
    """Loads a backbone's weights into the network's `trunk`.

    Returns the mean and the standard deviation of each channel that the weights expect.

    Raises:
        UserError: the trunk has another architecture, or the backbone can't be loaded.
    """
    # Imported here because it takes seconds, and other networks don't need it.
    from headstart.backbones.loading import load_backbone

    backbone = load_backbone(zoo)
    try:
        network.get_submodule("trunk").load_state_dict(backbone.network.state_dict())
    except RuntimeError:
        raise UserError(
            f"the trunk isn't a {zoo.architecture}; set it to an alias of zoo that is a resnet18"
        ) from None
    return backbone.preprocessing.mean, backbone.preprocessing.std
