"""Training jobs, from scratch or fine-tuning: read images, train, write a model and predictions."""

import json
import shutil
from dataclasses import asdict, dataclass, replace
from hashlib import blake2b
from inspect import getfile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from headstart.backbones.first_layer_filters import first_layer_filters
from headstart.config import Recipe
from headstart.core.atomic_files import atomic_path
from headstart.core.cache_folders import TRAINING, cache_root
from headstart.core.devices import memory_of, supports_bfloat16
from headstart.core.errors import UserError
from headstart.core.memory_limits import require_memory
from headstart.core.weight_digests import update_digest
from headstart.heads.familiarity import (
    FAMILIARITY_FILE,
    Familiarity,
    fit_familiarity,
    sample_rows,
    save_familiarity,
)
from headstart.store.examples import Split
from headstart.store.filters import write_filters
from headstart.store.images import Images
from headstart.store.label_checks import validate_classes
from headstart.store.output_statistics import write_output_statistics
from headstart.store.predictions import Predictions, save_predictions
from headstart.store.training_curves import write_training_curve
from headstart.store.views import WHOLE
from headstart.training import (
    checkpoints,
    distributed,
    dropout_schedule,
    image_transforms,
    learning_rate_schedules,
    network_evaluation,
    optimizers,
    output_recording,
    train_state,
    training_loop,
)
from headstart.training.image_transforms import InputSpec, InputTransform
from headstart.training.network_evaluation import ImageTensors, predict_logits
from headstart.training.network_features import LogitsAndFeatures, gives_features
from headstart.training.saved_models import MODEL_FILE
from headstart.training.train_state import BestEvaluation
from headstart.training.training_loop import (
    TrainingResult,
    TrainingTask,
    count_forward_passes,
    serialize_network,
    train_network,
)

TRAINING_CODE = [
    Path(getfile(module))
    for module in (
        image_transforms,
        checkpoints,
        distributed,
        dropout_schedule,
        optimizers,
        output_recording,
        learning_rate_schedules,
        network_evaluation,
        train_state,
        training_loop,
    )
]
"""Files whose changes invalidate checkpoints; changes of other modules of headstart don't."""


@dataclass(frozen=True)
class Outputs:
    """Where a job writes.

    model: the folder of the weights and snapshots. predictions: the folder of one file per split,
    and, if there may be several snapshots, of a folder snapshot_NN with the same files for each of
    them, the oldest first. training_curve: the table of all epochs. filters: the array of the first
    convolution. recorded_outputs: the table of output distributions, if there shall be one.
    """

    model: Path
    predictions: Path
    training_curve: Path
    filters: Path
    recorded_outputs: Path | None = None


@dataclass(frozen=True)
class TrainingJob:
    """A network to train, with its data and its recipe.

    label: the run's name. identity: plain JSON that describes `network`; saved with the model.
    code: the source files that define the network. first_recipe: the recipe of a first phase with a
    frozen `trunk`, if there is one. earlier_passes: forward passes that were needed for the initial
    weights. recorded: names of modules whose outputs are recorded. whole: the network that is saved
    and its input, if `network` is a part of it, whose share of a forward pass is `pass_share`.
    """

    label: str
    network: nn.Module
    task: TrainingTask
    recipe: Recipe
    identity: dict[str, Any]
    code: list[Path]
    max_snapshots: int = 1
    first_recipe: Recipe | None = None
    earlier_passes: int = 0
    recorded: tuple[str, ...] = ()
    whole: tuple[nn.Module, InputSpec] | None = None
    pass_share: float = 1.0


def run_job(
    job: TrainingJob, images: Images, device: torch.device, outputs: Outputs
) -> BestEvaluation:
    """Trains the network and writes all of `outputs`.

    Returns the best evaluation on tune, whose weights were kept. A killed run resumes after its
    last complete epoch; a finished one only writes its outputs again. With several processes only
    the main process writes.

    Raises:
        UserError: a batch doesn't fit into the memory, or training failed (see `train_network`).
    """
    check_memory(job, device)
    workspace = cache_root() / TRAINING / f"{job.label}-{job_fingerprint(job, images)}"
    workspace.mkdir(parents=True, exist_ok=True)
    network, forward_passes, first_phase = job.network, job.earlier_passes, None
    with distributed.main_process_lock(workspace / "lock"):
        if job.first_recipe:
            trunk = network.get_submodule("trunk").requires_grad_(False)
            label = f"{job.label}, trunk frozen"
            first_phase = train_network(
                network,
                job.first_recipe,
                job.task,
                workspace / "first",
                device,
                label=label,
                recorded=job.recorded,
            )
            trunk.requires_grad_(True)
            forward_passes += count_forward_passes(
                job.task, job.first_recipe, len(first_phase.curve)
            )
        trained = train_network(
            network,
            job.recipe,
            job.task,
            workspace,
            device,
            job.max_snapshots,
            job.label,
            job.recorded,
        )
        own_passes = count_forward_passes(job.task, job.recipe, len(trained.curve))
        forward_passes += round(job.pass_share * own_passes)
        if first_phase:
            trained = join_phases(first_phase, trained)
        if distributed.is_main():
            write_outputs(job, images, device, trained, forward_passes, outputs)
    return trained.best


def join_phases(first: TrainingResult, second: TrainingResult) -> TrainingResult:
    """Returns the second phase's result with the epochs and steps of both phases.

    Epochs and steps are numbered through; the best weights and the snapshots are the second's.
    """
    epochs, steps = len(first.curve), first.steps
    return TrainingResult(
        [
            *first.curve,
            *(replace(epoch, epoch=epochs + epoch.epoch, phase=2) for epoch in second.curve),
        ],
        second.snapshots,
        second.best._replace(epochs=epochs + second.best.epochs),
        [*first.outputs, *(replace(row, step=steps + row.step) for row in second.outputs)],
        steps + second.steps,
    )


def check_memory(job: TrainingJob, device: torch.device) -> None:
    """Checks that training fits into the device's memory.

    Counted are the activations of a batch that are kept for the backward pass, the weights, their
    gradients and one moment of the optimizer.

    Raises:
        UserError: it doesn't fit.
    """
    parts = job.recipe.accumulate * distributed.world_size()
    batch = min(job.recipe.batch_size, len(job.task.train)) // parts
    weights = sum(p.numel() for p in job.network.parameters() if p.requires_grad)
    activations = activation_bytes(job.network, job.task.input_spec.shape)
    if supports_bfloat16(device):
        activations /= 2
    what = f"the recipe's batch_size: {batch:,} images at once (see `accumulate`) in {job.label}"
    require_memory(what, batch * activations + 3 * 4 * weights, memory_of(device))


def activation_bytes(network: nn.Module, shape: tuple[int, ...]) -> int:
    """Returns the bytes of float32 activations that one image's backward pass needs.

    shape: of the network's input for one image.
    """
    own_storages = {t.untyped_storage().data_ptr() for t in network.state_dict().values()}
    storages: dict[int, int] = {}

    def record(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    device = next(network.parameters()).device
    with torch.autograd.graph.saved_tensors_hooks(record, lambda tensor: tensor):
        logits = network.eval()(torch.zeros(1, *shape, device=device))
    del logits
    return sum(size for address, size in storages.items() if address not in own_storages)


def write_outputs(
    job: TrainingJob,
    images: Images,
    device: torch.device,
    trained: TrainingResult,
    forward_passes: int,
    outputs: Outputs,
) -> None:
    """Writes the model with its snapshots and curve, and the predictions of each of them."""
    network, inputs = job.network, job.task.input_spec
    saved, input_spec = job.whole or (network, inputs)
    assert isinstance(input_spec, InputSpec)
    description = {
        **job.identity,
        "input": asdict(input_spec),
        "classes": [[label.id, label.name] for label in images.examples.classes],
    }
    outputs.model.mkdir(parents=True, exist_ok=True)
    # A single key, because safetensors writes several keys in an order that varies between runs.
    metadata = {"network": json.dumps(description, sort_keys=True, ensure_ascii=False)}
    with atomic_path(outputs.model / MODEL_FILE) as unfinished:
        unfinished.write_bytes(serialize_network(saved, metadata))
    write_training_curve(outputs.training_curve, trained.curve)
    write_filters(outputs.filters, first_layer_filters(saved))
    if outputs.recorded_outputs:
        write_output_statistics(outputs.recorded_outputs, trained.outputs)
    predict_splits(network, images, inputs, device, forward_passes, outputs.predictions)
    if gives_features(saved):
        familiarity = network_familiarity(saved, images, input_spec, device)
        save_familiarity(outputs.model / FAMILIARITY_FILE, familiarity)
    for number, snapshot in enumerate(trained.snapshots if job.max_snapshots > 1 else []):
        name = f"snapshot_{number:02d}"
        with atomic_path(outputs.model / f"{name}.safetensors") as unfinished:
            shutil.copyfile(snapshot, unfinished)
        network.load_state_dict(load_file(snapshot))
        predict_splits(network, images, inputs, device, forward_passes, outputs.predictions / name)


def predict_splits(
    network: nn.Module,
    images: Images,
    inputs: InputTransform,
    device: torch.device,
    forward_passes: int,
    folder: Path,
) -> None:
    """Writes the predictions for tune, val and test, each if it has images, to <split>.h5.

    forward_passes: the number that training needed; saved with the predictions.
    """
    for split in ("tune", "val", "test"):
        rows = images.rows(split)
        if len(rows):
            pixels = inputs.read(images, rows)
            logits = predict_logits(network, pixels, inputs, device).cpu().numpy()[:, None]
            trained = sum(p.numel() for p in network.parameters() if p.requires_grad)
            predictions = Predictions(
                logits, [WHOLE.name], images.examples[rows], forward_passes, trained
            )
            save_predictions(folder / f"{split}.h5", predictions)


def network_familiarity(
    network: nn.Module, images: Images, input_spec: InputSpec, device: torch.device
) -> Familiarity:
    """Returns the familiarity by the features of a network of timm's; of many images a sample
    counts."""
    both = LogitsAndFeatures(network).to(device)
    classes = len(images.examples.classes)
    features = []
    for split in ("train", "tune"):
        rows = images.rows(split)
        pixels = input_spec.read(images, rows[sample_rows(len(rows))])
        outputs = predict_logits(both, pixels, input_spec, device)
        features.append(outputs[:, classes:].cpu().numpy())
    return fit_familiarity(*features)


def check_images(images: Images) -> None:
    """Checks that there are images to train on and to choose the best epoch on.

    Raises:
        UserError: train has fewer than two classes or a class without images, or tune is empty.
    """
    validate_classes(images.examples[images.rows("train")])
    if not len(images.rows("tune")):
        raise UserError("tune holds no images; raise prepare.tune_fraction")


def load_split(
    images: Images, split: Split, inputs: InputTransform, device: torch.device
) -> ImageTensors:
    """Returns a split in memory: on the GPU if it takes less than half of the free memory there, or
    else on the host.
    """
    rows = images.rows(split)
    pixels = inputs.read(images, rows)
    labels = torch.from_numpy(images.examples.labels[rows])
    if device.type == "cuda" and pixels.nbytes < torch.cuda.mem_get_info(device)[0] / 2:
        return ImageTensors(pixels.to(device), labels.to(device))
    return ImageTensors(pixels, labels)


def job_fingerprint(job: TrainingJob, images: Images) -> str:
    """Returns a digest of everything that determines a training's checkpoints and snapshots.

    These are the network with its initial weights, the recipes, the images and labels of train and
    tune, what tune chooses by, the training code, and the number of snapshots (because removed ones
    can't be restored).
    """
    choices = [job.identity, job.max_snapshots, job.task.choose_by]
    description = json.dumps(choices, sort_keys=True)
    digest = blake2b(description.encode(), digest_size=8)
    update_digest(digest, job.network)
    for path in (*TRAINING_CODE, *job.code):
        digest.update(path.read_bytes())
    for recipe in filter(None, (job.first_recipe, job.recipe)):
        digest.update(recipe.model_dump_json().encode())
    digest.update(json.dumps([label.id for label in images.examples.classes]).encode())
    for split in ("train", "tune"):
        rows = images.rows(split)
        digest.update(images.digests[rows].tobytes())
        digest.update(images.examples.labels[rows].tobytes())
    return digest.hexdigest()
