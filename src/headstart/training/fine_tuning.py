"""Fine-tuning: trains a backbone together with the head that was trained on its features.

The head is trained first (linear probing, then fine-tuning: Kumar et al. 2022), because a randomly
initialized head would distort the features. Inan's two phases (section 4) are the same.

If only a part of the network is trained, the activations before that part are computed once and
cached (extraction/trunk_activations.py), so an epoch costs the trained part alone.
"""

from pathlib import Path

import torch
from timm.layers.norm_act import freeze_batch_norm_2d
from torch import nn

from headstart import config
from headstart.backbones import network_splitting
from headstart.backbones.loading import LoadedBackbone, load_backbone
from headstart.backbones.network_splitting import split_network
from headstart.core.devices import resolve_device
from headstart.core.errors import UserError
from headstart.extraction.trunk_activations import cache_activations
from headstart.heads.fitted_head import FittedHead
from headstart.store.images import Images
from headstart.training import distributed, zero_kernels
from headstart.training.activation_inputs import ActivationInputs
from headstart.training.image_transforms import InputSpec
from headstart.training.train_state import BestEvaluation
from headstart.training.training_jobs import Outputs, TrainingJob, check_images, load_split, run_job
from headstart.training.training_loop import TrainingTask
from headstart.training.zero_kernels import start_zero_kernels

ZERO_KERNEL_IMAGES = 64
"""Training images, at most, that a kernel which is zero throughout is fitted to at the start."""


def finetune(
    images: Images,
    zoo: config.Backbone,
    head: FittedHead,
    recipe: config.Recipe,
    stage: config.Finetune,
    extract: config.Extract,
    choose_by: str,
    outputs: Outputs,
    label: str,
) -> BestEvaluation:
    """Fine-tunes a backbone, or a part of it, and writes `outputs`.

    Returns the best evaluation on tune, whose weights are kept.

    zoo: the backbone's entry. head: the trained head to start from. extract: how cached activations
    are computed and stored. choose_by: what tune chooses the epoch by. label: the run's name, used
    in progress bars and messages.

    Raises:
        UserError: the images can't be learned from, fine-tuning can't start from this head (see
            `attach_head`), the part to train can't be (see `split_network`), its activations can't
            be cached (see `cache_activations`), there is no such device, or training failed (see
            `run_job`).
    """
    check_images(images)
    backbone = load_backbone(zoo)
    network = attach_head(backbone, head)
    preprocessing = backbone.preprocessing
    input_spec = InputSpec(
        preprocessing.input_size,
        stage.crop,
        preprocessing.mean,
        preprocessing.std,
        preprocessing.interpolation,
    )
    not_decisive = {"backbones", "device", "processes", "trunk_limit"}
    identity = {
        "finetune": stage.model_dump(mode="json", exclude=not_decisive),
        "backbone": backbone.provenance,
    }
    code = [Path(__file__), Path(network_splitting.__file__), Path(zero_kernels.__file__)]
    with distributed.process_group(resolve_device(stage.device)) as device:
        trained, inputs, passes, share = network, input_spec, float(head.passes), 1.0
        if stage.has_trunk:
            split = split_network(
                network,
                preprocessing.input_size,
                stage.trainable_from,
                stage.trainable_only,
            )
            activations = cache_activations(
                images, split, backbone, zoo.precision, stage, extract, label
            )
            identity["trunk"] = activations.provenance
            trained, inputs, share = split.upper, ActivationInputs(activations), split.upper_share
            views = len(images.rows("tune")) + activations.keys[images.rows("train")].size
            passes += (1 - share) * views
        train, tune = (load_split(images, part, inputs, device) for part in ("train", "tune"))
        if stage.has_trunk:
            sample = train.pixels[:: -(-len(train) // ZERO_KERNEL_IMAGES)].cpu()
            start_zero_kernels(trained, inputs.eval_transform(sample), recipe.seed)
        task = TrainingTask(train, tune, inputs, len(images.examples.classes), choose_by)
        job = TrainingJob(
            label,
            trained,
            task,
            recipe,
            identity,
            code,
            earlier_passes=round(passes),
            whole=(network, input_spec),
            pass_share=share,
        )
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
    if not head.is_of(backbone.provenance):
        raise UserError("the head was trained on another backbone's features; run `dvc repro`")
    affine = head.on_plain_features()
    if affine is None:
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
    classifier.weight.data.copy_(torch.from_numpy(affine.weight))
    classifier.bias.data.copy_(torch.from_numpy(affine.bias))
    return freeze_batch_norm_2d(network).requires_grad_(True)
