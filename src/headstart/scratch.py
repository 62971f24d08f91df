"""Training one of the papers' networks from scratch: from images.h5 to a model and predictions."""

import json
import shutil
from dataclasses import asdict
from hashlib import blake2b
from inspect import signature
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from torch import nn
from tqdm import tqdm

from headstart import params, predictions
from headstart.augmentation import Input, mean_and_std, shrunk
from headstart.errors import UserError
from headstart.heads import curve as curves
from headstart.heads.curve import Epoch
from headstart.images import Images
from headstart.manifest import Split
from headstart.papers import NETWORKS
from headstart.papers.initialisation import INITIALISATIONS
from headstart.predictions import Predictions
from headstart.rows import cache_root
from headstart.training import Labelled, Task, logits_of, save_weights, train
from headstart.views import WHOLE

BLOCK = 1024
"""Images read at once."""


def train_scratch(
    images: Images,
    chosen: params.Network,
    recipe: params.Recipe,
    stage: params.TrainScratch,
    model: Path,
    to: Path,
    label: str,
) -> Epoch:
    """Trains the network and writes model (weights, snapshots, curve) and predictions.

    to: the folder of predictions: tune.h5, val.h5, test.h5. Returns the epoch that was best on
    tune, whose weights were kept. A run that was killed goes on at its last finished epoch.

    Raises:
        UserError: the images can't be learnt from, there is no such device, or training diverged.
    """
    device = device_named(stage.device)
    check(images)
    side = round(chosen.size / chosen.crop)
    train_set, tune_set = (labelled(images, split, side, device) for split in ("train", "tune"))
    seen_as = Input(chosen.size, chosen.crop, *mean_and_std(train_set.pixels))
    num_classes = len(images.examples.classes)

    workspace = cache_root() / "training" / f"{label}-{fingerprint(images, chosen, recipe)}"
    workspace.mkdir(parents=True, exist_ok=True)
    with FileLock(workspace / "lock"):
        network = build(chosen, recipe, num_classes)
        task = Task(train_set, tune_set, seen_as, num_classes)
        curve = train(network, recipe, task, workspace, device, stage.snapshots, label)
        metadata = {
            "network": chosen.model_dump_json(),
            "input": json.dumps(asdict(seen_as)),
            "classes": json.dumps([[c.id, c.name] for c in images.examples.classes]),
        }
        model.mkdir(parents=True, exist_ok=True)
        save_weights(network, model / "model.safetensors", metadata)
        for snapshot in sorted(workspace.glob("snapshot_*.safetensors")):
            shutil.copyfile(snapshot, model / snapshot.name)
        curves.write(model / "curve.tsv", curve)
        curves.draw(model / "curve.svg", curve)
        for split in ("tune", "val", "test"):
            rows = images.rows(split)
            if len(rows):
                pixels = read_pixels(images, rows, side)
                logits = logits_of(network, pixels, seen_as, device).cpu().numpy()[:, None]
                predictions.save(
                    to / f"{split}.h5", Predictions(logits, [WHOLE.name], images.examples[rows])
                )
    shutil.rmtree(workspace)
    return max(curve, key=lambda epoch: epoch.tune_top1)


def build(chosen: params.Network, recipe: params.Recipe, num_classes: int) -> nn.Module:
    """The network with the weights that training starts from; the recipe's seed decides them.

    Raises:
        UserError: it has no such argument, or can't take images of that size.
    """
    torch.manual_seed(recipe.seed)
    constructor = NETWORKS[chosen.network]
    try:
        signature(constructor).bind(num_classes, **chosen.arguments)
    except TypeError as error:
        raise UserError(f"arguments of network '{chosen.network}': {error}") from None
    network = constructor(num_classes, **chosen.arguments)
    INITIALISATIONS[recipe.initialisation](network)
    try:
        with torch.inference_mode():
            network.eval()(torch.zeros(1, 3, chosen.size, chosen.size))
    except RuntimeError as error:
        raise UserError(
            f"network '{chosen.network}' takes no images of {chosen.size} px: {error}"
        ) from None
    return network


def device_named(name: str) -> torch.device:
    """`cpu`, `cuda`, or `auto` for a GPU where there is one."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "train_scratch.device is cuda, but torch sees no GPU; set it to auto or cpu"
        )
    return torch.device(name)


def check(images: Images) -> None:
    """Raises UserError where training couldn't begin or would mean nothing."""
    classes = images.examples.classes
    if len(classes) < 2:
        raise UserError(f"the only class is '{classes[0].name}'; it takes two to tell apart")
    if not len(images.rows("tune")):
        raise UserError("tune holds no images; raise prepare.tune_fraction")
    counts = np.bincount(images.examples.labels[images.rows("train")], minlength=len(classes))
    if empty := [classes[i].name for i in np.flatnonzero(counts == 0)]:
        raise UserError(
            f"{len(empty)} classes have no training images: {', '.join(empty[:12])}"
            f"{', …' if len(empty) > 12 else ''}; add images or remove the classes"
        )


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


def fingerprint(images: Images, chosen: params.Network, recipe: params.Recipe) -> str:
    """What a checkpoint belongs to: the network, the recipe and the images of train and tune."""
    digest = blake2b((chosen.model_dump_json() + recipe.model_dump_json()).encode(), digest_size=8)
    digest.update(json.dumps([c.id for c in images.examples.classes]).encode())
    for split in ("train", "tune"):
        rows = images.rows(split)
        digest.update(images.digests[rows].tobytes())
        digest.update(images.examples.labels[rows].tobytes())
    return digest.hexdigest()
