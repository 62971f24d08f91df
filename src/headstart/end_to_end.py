"""What training from scratch and fine-tuning share: images.h5 in, a model and predictions out."""

import json
import shutil
from dataclasses import asdict, dataclass
from hashlib import blake2b
from inspect import getfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from safetensors.torch import load_file
from torch import nn
from tqdm import tqdm

from headstart import augmentation, optimisers, predictions, schedules, training, weights
from headstart.augmentation import Input, shrunk
from headstart.errors import UserError
from headstart.files import replacing
from headstart.heads import curve as curves
from headstart.heads.curve import Epoch
from headstart.images import Images
from headstart.learnable import check_classes
from headstart.manifest import Split
from headstart.params import Recipe
from headstart.predictions import Predictions
from headstart.rows import TRAINING, cache_root
from headstart.training import Labelled, Task, logits_of, save_weights, train
from headstart.views import WHOLE

BLOCK = 1024
"""Images read at once."""

TRAINING_CODE = [
    Path(getfile(module)) for module in (augmentation, optimisers, schedules, training)
]
"""An edit of these begins training anew; an edit of a plot or a message doesn't."""


@dataclass(frozen=True)
class Outputs:
    """Folders. model: weights, snapshots and curve. predictions: a file a split, and the same in a
    folder snapshot_NN for each snapshot where there may be several."""

    model: Path
    predictions: Path


def fit(
    network: nn.Module,
    images: Images,
    task: Task,
    recipe: Recipe,
    device: torch.device,
    identity: dict[str, Any],
    code: list[Path],
    outputs: Outputs,
    label: str,
    max_snapshots: int = 1,
) -> Epoch:
    """Trains the network and writes all of `outputs`.

    identity: plain JSON that says what `network` is; kept in the model. code: the files that define
    it. Returns the epoch that was best on tune, whose weights were kept. A run that was killed goes
    on after its last whole epoch, and one that has finished only writes its outputs again.

    Raises:
        UserError: training diverged.
    """
    belongs_to = fingerprint(network, images, recipe, identity, code, max_snapshots)
    workspace = cache_root() / TRAINING / f"{label}-{belongs_to}"
    workspace.mkdir(parents=True, exist_ok=True)
    with FileLock(workspace / "lock"):
        curve = train(network, recipe, task, workspace, device, max_snapshots, label)
        about = {
            **identity,
            "input": asdict(task.input),
            "classes": [[label.id, label.name] for label in images.examples.classes],
        }
        outputs.model.mkdir(parents=True, exist_ok=True)
        # One key: safetensors writes several in an order that changes from run to run.
        metadata = {"network": json.dumps(about, sort_keys=True, ensure_ascii=False)}
        save_weights(network, outputs.model / "model.safetensors", metadata)
        curves.write(outputs.model / "curve.tsv", curve)
        curves.draw(outputs.model / "curve.svg", curve)
        predict(network, images, task.input, device, outputs.predictions)
        if max_snapshots > 1:
            for snapshot in sorted(workspace.glob("snapshot_*.safetensors")):
                with replacing(outputs.model / snapshot.name) as unfinished:
                    shutil.copyfile(snapshot, unfinished)
                network.load_state_dict(load_file(snapshot))
                folder = outputs.predictions / snapshot.stem
                predict(network, images, task.input, device, folder)
    return max(curve, key=lambda epoch: epoch.tune_top1)


def predict(
    network: nn.Module, images: Images, input: Input, device: torch.device, folder: Path
) -> None:
    """Writes tune.h5, val.h5 and test.h5, as far as there are such images."""
    for split in ("tune", "val", "test"):
        rows = images.rows(split)
        if len(rows):
            pixels = read_pixels(images, rows, input.side)
            logits = logits_of(network, pixels, input, device).cpu().numpy()[:, None]
            predicted = Predictions(logits, [WHOLE.name], images.examples[rows])
            predictions.save(folder / f"{split}.h5", predicted)


def check(images: Images) -> None:
    """Raises UserError where training couldn't begin or would mean nothing."""
    check_classes(images.examples[images.rows("train")])
    if not len(images.rows("tune")):
        raise UserError("tune holds no images; raise prepare.tune_fraction")


def labelled(images: Images, split: Split, side: int, device: torch.device) -> Labelled:
    """A split in memory: the device's where half of what is free holds it, else the host's."""
    rows = images.rows(split)
    pixels = read_pixels(images, rows, side)
    labels = torch.from_numpy(images.examples.labels[rows])
    if device.type == "cuda" and pixels.nbytes < torch.cuda.mem_get_info(device)[0] / 2:
        return Labelled(pixels.to(device), labels.to(device))
    return Labelled(pixels, labels)


def read_pixels(images: Images, rows: np.ndarray, side: int) -> torch.Tensor:
    """The images at ascending `rows`: [M, s, s, 3] uint8, s at most `side`."""
    parts = []
    for start in tqdm(range(0, len(images), BLOCK), desc="reading", unit="block", leave=False):
        here = rows[(rows >= start) & (rows < start + BLOCK)]
        if len(here):
            block = images.pixels[start : start + BLOCK]
            parts.append(shrunk(torch.from_numpy(block[here - start]), side))
    return torch.cat(parts)


def fingerprint(
    network: nn.Module,
    images: Images,
    recipe: Recipe,
    identity: dict[str, Any],
    code: list[Path],
    max_snapshots: int,
) -> str:
    """What a checkpoint and its snapshots belong to: the network and the weights that it starts
    from, the recipe, the images of train and tune, the code that training runs, and the number of
    snapshots, because those that made room for others can't be had back.
    """
    digest = blake2b(json.dumps([identity, max_snapshots], sort_keys=True).encode(), digest_size=8)
    weights.add_to(digest, network)
    for path in (*TRAINING_CODE, *code):
        digest.update(path.read_bytes())
    digest.update(recipe.model_dump_json().encode())
    digest.update(json.dumps([label.id for label in images.examples.classes]).encode())
    for split in ("train", "tune"):
        rows = images.rows(split)
        digest.update(images.digests[rows].tobytes())
        digest.update(images.examples.labels[rows].tobytes())
    return digest.hexdigest()
