"""Fine-tuning: a backbone and the head that was trained on its features, on as one network.

The head comes first (linear probing, then fine-tuning: Kumar et al. 2022), so that its random
start doesn't spoil the features. Inan's two phases (section 4) are the same.
"""

from pathlib import Path
from typing import Any

import timm
import torch
from timm.layers.norm_act import freeze_batch_norm_2d
from timm.models import group_parameters
from torch import nn

from headstart import config
from headstart.backbones.loading import LoadedBackbone, load_backbone
from headstart.core.devices import resolve_device
from headstart.core.errors import UserError
from headstart.heads.fitted_head import FittedHead
from headstart.heads.head_models import Affine
from headstart.store.images import Images
from headstart.store.training_curves import Epoch
from headstart.training import distributed
from headstart.training.image_transforms import InputSpec
from headstart.training.training_jobs import Outputs, TrainingJob, check_images, load_split, run_job
from headstart.training.training_loop import TrainingTask


def finetune(
    images: Images,
    zoo: config.Backbone,
    head: FittedHead,
    recipe: config.Recipe,
    stage: config.Finetune,
    outputs: Outputs,
    label: str,
) -> Epoch:
    """Trains the network and writes `outputs`; returns the epoch that was best on tune, and kept.

    Raises:
        UserError: the head isn't one to start from, or as `end_to_end.fit`.
    """
    check_images(images)
    backbone = load_backbone(zoo)
    network = attach_head(backbone, head)
    freeze_layers(network, stage.frozen_layers)
    wanted = backbone.preprocessing
    input_spec = InputSpec(wanted.input_size, stage.crop, wanted.mean, wanted.std)
    identity = {
        "finetune": stage.model_dump(mode="json", exclude={"backbones", "device", "processes"}),
        "backbone": backbone.provenance,
    }
    with distributed.process_group(resolve_device(stage.device)) as device:
        train, tune = (
            load_split(images, split, input_spec.side, device) for split in ("train", "tune")
        )
        task = TrainingTask(train, tune, input_spec, len(images.examples.classes))
        code = [Path(__file__)]
        job = TrainingJob(label, network, task, recipe, identity, code, passes=head.passes)
        return run_job(job, images, device, outputs)


def attach_head(backbone: LoadedBackbone, head: FittedHead) -> nn.Module:
    """[B, 3, S, S] normalized to logits [B, C]: what `head` says of the backbone's features.

    Batch normalization keeps the statistics that it was trained with, and stays as it is: those of
    small batches, or of weights that were folded into convolutions, would spoil it.

    Raises:
        UserError: the head is another backbone's or not affine, or the network has no place for it.
    """
    # The head's says more: how the features were extracted.
    if any(head.provenance.get(key) != value for key, value in backbone.provenance.items()):
        raise UserError("the head was trained on another backbone's features; run `dvc repro`")
    if not isinstance(head.model, Affine):
        raise UserError(
            f"fine-tuning can't start from a head of kind {head.model.kind}; set finetune.head to "
            f"an affine one, for instance of kind linear"
        )
    network = backbone.network
    network.reset_classifier(len(head.classes))  # pyright: ignore[reportCallIssue]
    classifier = network.get_classifier()  # pyright: ignore[reportCallIssue]
    if not isinstance(classifier, nn.Linear):
        raise UserError(
            f"{backbone.provenance['architecture']} doesn't end in one affine layer, so the head "
            f"can't be put there; fine-tune another backbone"
        )
    # W ((x - mean) / std) + b as one affine layer
    weight = head.model.weight / head.standardization.std
    bias = head.model.bias - weight @ head.standardization.mean
    classifier.weight.data.copy_(torch.from_numpy(weight))
    classifier.bias.data.copy_(torch.from_numpy(bias))
    return freeze_batch_norm_2d(network).requires_grad_(True)


def build_untrained(identity: dict[str, Any], num_classes: int) -> nn.Module:
    """The network, without its weights, that a model of `finetune` was saved from."""
    backbone = identity["backbone"]
    network = timm.create_model(
        backbone["architecture"], num_classes=num_classes, **backbone["model_args"]
    )
    return freeze_batch_norm_2d(network)


def freeze_layers(network: nn.Module, layers: int) -> None:
    """Keeps the first `layers` as they are, as timm counts them from the input on.

    Raises:
        UserError: the network has no more than these.
    """
    matcher = network.group_matcher(coarse=False)  # pyright: ignore[reportCallIssue]
    depths: Any = group_parameters(network, matcher, reverse=True)  # name to number
    if layers > max(depths.values()):
        raise UserError(
            f"finetune.frozen_layers is {layers}; the network has {max(depths.values())} before "
            f"its classifier"
        )
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(depths[name] >= layers)
