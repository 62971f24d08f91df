"""Fine-tuning: trains a backbone together with the head that was trained on its features.

The head is trained first (linear probing, then fine-tuning: Kumar et al. 2022), because a randomly
initialized head would distort the features. Inan's two phases (section 4) are the same.
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
from headstart.training import distributed
from headstart.training.image_transforms import InputSpec
from headstart.training.train_state import BestEvaluation
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
) -> BestEvaluation:
    """Fine-tunes a backbone and writes `outputs`.

    Returns the best evaluation on tune, whose weights are kept.

    zoo: the backbone's entry. head: the trained head to start from. label: the run's name, used in
    progress bars and messages.

    Raises:
        UserError: the images can't be learned from, fine-tuning can't start from this head (see
            `attach_head`), there is no such device, or training failed (see `run_job`).
    """
    check_images(images)
    backbone = load_backbone(zoo)
    network = attach_head(backbone, head)
    freeze_layers(network, stage.frozen_layers)
    preprocessing = backbone.preprocessing
    input_spec = InputSpec(
        preprocessing.input_size, stage.crop, preprocessing.mean, preprocessing.std
    )
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
        job = TrainingJob(label, network, task, recipe, identity, code, earlier_passes=head.passes)
        return run_job(job, images, device, outputs)


def attach_head(backbone: LoadedBackbone, head: FittedHead) -> nn.Module:
    """Returns the backbone with `head` as its classifier, trainable as one network.

    It maps normalized images [B, 3, S, S] to the logits [B, C] that the head computes from the
    backbone's features. Batch normalization is frozen with the statistics of its pretraining,
    because statistics of small batches, or of weights that were folded into convolutions, would
    make the network worse.

    Raises:
        UserError: the head was trained on another backbone's features or isn't affine, or the
            network doesn't end in one affine layer.
    """
    # The head's provenance has more keys: how the features were extracted.
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
    """Returns the network of a model that `finetune` saved, without its weights.

    identity: as in `SavedModel`.
    """
    backbone = identity["backbone"]
    network = timm.create_model(
        backbone["architecture"], num_classes=num_classes, **backbone["model_args"]
    )
    return freeze_batch_norm_2d(network)


def freeze_layers(network: nn.Module, layers: int) -> None:
    """Freezes the first `layers` of the network, counted from the input as timm does.

    Raises:
        UserError: the network doesn't have more layers than that.
    """
    matcher = network.group_matcher(coarse=False)  # pyright: ignore[reportCallIssue]
    layer_numbers: Any = group_parameters(network, matcher, reverse=True)  # by parameter
    if layers > max(layer_numbers.values()):
        raise UserError(
            f"finetune.frozen_layers is {layers}; the network has "
            f"{max(layer_numbers.values())} before its classifier"
        )
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(layer_numbers[name] >= layers)
