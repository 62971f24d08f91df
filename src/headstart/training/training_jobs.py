"""What training from scratch and fine-tuning share: images.h5 in, a model and predictions out."""

import json
import shutil
from dataclasses import asdict, dataclass
from hashlib import blake2b
from inspect import getfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import nn
from tqdm import tqdm

from headstart.config import Recipe
from headstart.core.atomic_files import atomic_path
from headstart.core.cache_folders import TRAINING, cache_root
from headstart.core.devices import memory_of, supports_bfloat16
from headstart.core.errors import UserError
from headstart.core.memory_limits import require_memory
from headstart.core.weight_digests import update_digest
from headstart.store.examples import ClassLabel, Split
from headstart.store.images import Images
from headstart.store.label_checks import validate_classes
from headstart.store.predictions import Predictions, save_predictions
from headstart.store.training_curves import Epoch, write_training_curve
from headstart.store.views import WHOLE
from headstart.training import (
    checkpoints,
    distributed,
    image_transforms,
    learning_rate_schedules,
    optimizers,
    training_loop,
)
from headstart.training.image_transforms import InputSpec, downscale
from headstart.training.training_loop import (
    ImageTensors,
    Trained,
    TrainingTask,
    count_forward_passes,
    packed,
    predict_logits,
    train_network,
)

MODEL_FILE = "model.safetensors"
"""In the folder of a run's model."""

BLOCK = 1024
"""Images read at once."""

TRAINING_CODE = [
    Path(getfile(module))
    for module in (
        image_transforms,
        checkpoints,
        distributed,
        optimizers,
        learning_rate_schedules,
        training_loop,
    )
]
"""An edit of these begins training anew; an edit of a plot or a message doesn't."""


@dataclass(frozen=True)
class Outputs:
    """Where a job writes.

    model: the folder of the weights and snapshots. predictions: the folder of one file per split,
    and, if there may be several snapshots, of a folder snapshot_NN with the same files for each of
    them, the oldest first. training_curve: the table of all epochs.
    """

    model: Path
    predictions: Path
    training_curve: Path


@dataclass(frozen=True)
class TrainingJob:
    """What is trained, and how.

    identity: plain JSON that says what `network` is; kept in the model. code: the files that define
    it. first: the recipe of a phase before, in which the network's `trunk` stays as it is.
    passes: images that went through the network before, for the weights that it starts from.
    """

    label: str
    network: nn.Module
    task: TrainingTask
    recipe: Recipe
    identity: dict[str, Any]
    code: list[Path]
    max_snapshots: int = 1
    first: Recipe | None = None
    passes: int = 0


def run_job(job: TrainingJob, images: Images, device: torch.device, outputs: Outputs) -> Epoch:
    """Trains the network and writes all of `outputs`.

    Returns the epoch that was best on tune, whose weights were kept. A run that was killed goes on
    after its last whole epoch, and one that has finished only writes its outputs again. Of several
    processes the first alone writes.

    Raises:
        UserError: as `train`; or a batch doesn't fit the memory.
    """
    check_memory(job, device)
    workspace = cache_root() / TRAINING / f"{job.label}-{job_fingerprint(job, images)}"
    workspace.mkdir(parents=True, exist_ok=True)
    network, forward_passes = job.network, job.passes
    with distributed.main_process_lock(workspace / "lock"):
        if job.first:
            trunk = network.get_submodule("trunk").requires_grad_(False)
            label = f"{job.label}, trunk frozen"
            begun = train_network(
                network, job.first, job.task, workspace / "first", device, 1, label
            )
            trunk.requires_grad_(True)
            forward_passes += count_forward_passes(job.task, job.first, len(begun.curve))
        most = job.max_snapshots
        trained = train_network(network, job.recipe, job.task, workspace, device, most, job.label)
        forward_passes += count_forward_passes(job.task, job.recipe, len(trained.curve))
        if distributed.is_main():
            write_outputs(job, images, device, trained, forward_passes, outputs)
    return max(trained.curve, key=lambda epoch: epoch.tune_top1)


def check_memory(job: TrainingJob, device: torch.device) -> None:
    """Raises UserError where training takes more than the device's memory: what of a batch is kept
    for the way back, the weights, their gradients and a moment."""
    shares = job.recipe.accumulate * distributed.world_size()
    batch = min(job.recipe.batch_size, len(job.task.train)) // shares
    weights = sum(p.numel() for p in job.network.parameters() if p.requires_grad)
    kept = kept_bytes(job.network, job.task.input.size) / (2 if supports_bfloat16(device) else 1)
    what = f"the recipe's batch_size: {batch:,} images at once (see `accumulate`) in {job.label}"
    require_memory(what, batch * kept + 3 * 4 * weights, memory_of(device))


def kept_bytes(network: nn.Module, size: int) -> int:
    """Of one image of `size` px, what the network keeps of it for the way back, in float32."""
    own = {t.untyped_storage().data_ptr() for t in network.state_dict().values()}
    kept: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    device = next(network.parameters()).device
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        logits = network.eval()(torch.zeros(1, 3, size, size, device=device))
    del logits
    return sum(size for place, size in kept.items() if place not in own)


def write_outputs(
    job: TrainingJob,
    images: Images,
    device: torch.device,
    trained: Trained,
    forward_passes: int,
    outputs: Outputs,
) -> None:
    network, input_spec = job.network, job.task.input
    about = {
        **job.identity,
        "input": asdict(input_spec),
        "classes": [[label.id, label.name] for label in images.examples.classes],
    }
    outputs.model.mkdir(parents=True, exist_ok=True)
    # One key: safetensors writes several in an order that changes from run to run.
    metadata = {"network": json.dumps(about, sort_keys=True, ensure_ascii=False)}
    with atomic_path(outputs.model / MODEL_FILE) as unfinished:
        unfinished.write_bytes(packed(network, metadata))
    write_training_curve(outputs.training_curve, trained.curve)
    predict_splits(network, images, input_spec, device, forward_passes, outputs.predictions)
    for number, snapshot in enumerate(trained.snapshots if job.max_snapshots > 1 else []):
        name = f"snapshot_{number:02d}"
        with atomic_path(outputs.model / f"{name}.safetensors") as unfinished:
            shutil.copyfile(snapshot, unfinished)
        network.load_state_dict(load_file(snapshot))
        predict_splits(
            network, images, input_spec, device, forward_passes, outputs.predictions / name
        )


class SavedModel(NamedTuple):
    """What `write` kept of a network. identity: the job's. weights: its state_dict."""

    identity: dict[str, Any]
    input: InputSpec
    classes: list[ClassLabel]
    weights: dict[str, torch.Tensor]


def load_model(path: Path) -> SavedModel:
    """The model at `path`.

    Raises:
        UserError: it can't be read, or was not written by `write`.
    """
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {}).get("network", "{}"))
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, ValueError, SafetensorError) as error:
        raise UserError(f"{path} can't be read ({error}); delete it and run `dvc repro`") from None
    if not about.keys() >= {"input", "classes"}:
        raise UserError(f"{path} is not a model of this version; delete it and run `dvc repro`")
    input, classes = InputSpec(**about.pop("input")), about.pop("classes")
    return SavedModel(about, input, [ClassLabel(*pair) for pair in classes], weights)


def predict_splits(
    network: nn.Module,
    images: Images,
    input: InputSpec,
    device: torch.device,
    forward_passes: int,
    folder: Path,
) -> None:
    """Writes tune.h5, val.h5 and test.h5, as far as there are such images.

    forward_passes: passes through the network that training took.
    """
    for split in ("tune", "val", "test"):
        rows = images.rows(split)
        if len(rows):
            pixels = read_pixels(images, rows, input.side)
            logits = predict_logits(network, pixels, input, device).cpu().numpy()[:, None]
            predicted = Predictions(logits, [WHOLE.name], images.examples[rows], forward_passes)
            save_predictions(folder / f"{split}.h5", predicted)


def check_images(images: Images) -> None:
    """Raises UserError where training couldn't begin or would mean nothing."""
    validate_classes(images.examples[images.rows("train")])
    if not len(images.rows("tune")):
        raise UserError("tune holds no images; raise prepare.tune_fraction")


def load_split(images: Images, split: Split, side: int, device: torch.device) -> ImageTensors:
    """A split in memory: the device's where half of what is free holds it, else the host's."""
    rows = images.rows(split)
    pixels = read_pixels(images, rows, side)
    labels = torch.from_numpy(images.examples.labels[rows])
    if device.type == "cuda" and pixels.nbytes < torch.cuda.mem_get_info(device)[0] / 2:
        return ImageTensors(pixels.to(device), labels.to(device))
    return ImageTensors(pixels, labels)


def read_pixels(images: Images, rows: np.ndarray, side: int) -> torch.Tensor:
    """The images at ascending `rows`: [M, s, s, 3] uint8, s at most `side`."""
    parts = []
    starts = range(0, len(images), BLOCK)
    hidden = not distributed.is_main()
    for start in tqdm(starts, desc="reading", unit="block", leave=False, disable=hidden):
        here = rows[(rows >= start) & (rows < start + BLOCK)]
        if len(here):
            block = images.pixels[start : start + BLOCK]
            parts.append(downscale(torch.from_numpy(block[here - start]), side))
    return torch.cat(parts)


def job_fingerprint(job: TrainingJob, images: Images) -> str:
    """What a checkpoint and its snapshots belong to: the network and the weights that it starts
    from, the recipes, the images of train and tune, the code that training runs, and the number of
    snapshots, because those that made room for others can't be had back.
    """
    about = json.dumps([job.identity, job.max_snapshots], sort_keys=True)
    digest = blake2b(about.encode(), digest_size=8)
    update_digest(digest, job.network)
    for path in (*TRAINING_CODE, *job.code):
        digest.update(path.read_bytes())
    for recipe in filter(None, (job.first, job.recipe)):
        digest.update(recipe.model_dump_json().encode())
    digest.update(json.dumps([label.id for label in images.examples.classes]).encode())
    for split in ("train", "tune"):
        rows = images.rows(split)
        digest.update(images.digests[rows].tobytes())
        digest.update(images.examples.labels[rows].tobytes())
    return digest.hexdigest()
