"""Training end to end: the whole loop against bare steps of the model, and timm's train.py.

    uv run python -m benchmarks.train
    uv run python -m benchmarks.train --networks resnet14t --steps 4 --batch 16 --rounds 1

For each network there are three contenders, with the same model, batch size, optimizer and
precision, in channels_last:
- bare steps: forward, backward and the optimizer's step on one batch that is on the device;
- headstart: all of training_loop.train_epoch: fetch, augment, mix, step, average, sum metrics;
- timm: the parts that its train.py (which is not in the package) uses when it is started with
  --amp --amp-dtype bfloat16 (where we use it) --channels-last and the recipe's optimizer,
  smoothing, mixup, cutmix, clipping and averaging: JPEG files in class folders, create_dataset,
  create_loader with the prefetcher, workers, RandomResizedCrop, mirroring and (where the recipe
  changes light) color jitter, FastCollateMixup, create_optimizer_v2, create_scheduler_v2,
  ModelEmaV3, and the loss read every 50 steps. Logging, checkpoints and validation are left out.

The images are synthetic, and where the networks crop a little larger than their input, as in
training. The first round isn't timed, because workers and kernels start in it.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from PIL import Image
from timm.data.dataset_factory import create_dataset
from timm.data.loader import create_loader
from timm.data.mixup import FastCollateMixup
from timm.layers.norm_act import freeze_batch_norm_2d
from timm.loss.cross_entropy import LabelSmoothingCrossEntropy, SoftTargetCrossEntropy
from timm.optim._optim_factory import create_optimizer_v2
from timm.scheduler.scheduler_factory import create_scheduler_v2
from timm.utils.clip_grad import dispatch_clip_grad
from timm.utils.model_ema import ModelEmaV3
from torch import nn
from torch.nn import functional as F
from tqdm import tqdm

from benchmarks.timing import alternate, machine, table
from headstart import config
from headstart.config import Recipe
from headstart.training import from_scratch
from headstart.training.image_transforms import InputSpec
from headstart.training.network_evaluation import ImageTensors, autocast
from headstart.training.optimizers import make_optimizer
from headstart.training.train_state import TrainState
from headstart.training.training_loop import (
    LOSS_CHECK_STEPS,
    TrainingTask,
    make_mixup,
    train_epoch,
)

CLASSES = 200
FINETUNED = "mobilenetv2_100"
"""Fine-tuned at 96 px; the other networks are those of params.yaml, from scratch."""

MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)


@dataclass(frozen=True)
class Case:
    """A network, built anew by each call, its recipe, and its input."""

    network: Callable[[], nn.Module]
    recipe: Recipe
    input: InputSpec


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--networks", nargs="+", default=["mini_inception", "resnet14t", "vgg16", FINETUNED]
    )
    parser.add_argument("--steps", type=int, default=20, help="of each run")
    parser.add_argument("--batch", type=int, help="instead of the recipes' sizes")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=4, help="of timm's loader")
    args = parser.parse_args()

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.backends.cudnn.benchmark = True
    print(f"{machine()}, timm {timm.__version__}", flush=True)
    for name in args.networks:
        chosen = case(name, args.batch)
        batch_size = chosen.recipe.batch_size
        images = args.steps * batch_size
        print(
            f"\n{name} at {chosen.input.size} px, {args.steps} steps of {batch_size}:", flush=True
        )
        data = make_images(images, chosen.input.side)
        with tempfile.TemporaryDirectory() as folder:
            write_jpegs(Path(folder), data)
            contenders = {
                "bare steps": bare_steps(chosen, data, args.steps, device),
                "headstart": headstart(chosen, data, args.steps, device),
                "timm": timm_train(chosen, Path(folder), args.steps, args.workers, device),
            }
            for run in contenders.values():
                run()
            seconds = alternate(contenders, args.rounds)
        print("\n" + table(seconds, "bare steps", images, "image"), flush=True)


def case(name: str, batch: int | None) -> Case:
    loaded = config.load_params()
    if name == FINETUNED:
        recipe = loaded.recipes["finetune"]
        size, crop = 96, loaded.finetune.crop
        network = build_finetuned
    else:
        chosen = loaded.networks[name]
        recipe = loaded.recipes[chosen.recipe]
        size, crop = chosen.input_size, chosen.crop

        def network() -> nn.Module:
            return from_scratch.build_network(chosen, recipe, CLASSES)

    recipe = recipe.model_copy(update={"batch_size": batch or recipe.batch_size})
    return Case(network, recipe, InputSpec(size, crop, MEAN, STD))


def build_finetuned() -> nn.Module:
    """The network that headstart.training.fine_tuning trains, with random weights."""
    return freeze_batch_norm_2d(timm.create_model(FINETUNED, num_classes=CLASSES))


def make_images(count: int, side: int) -> ImageTensors:
    """Smooth colors, which as JPEG take about as long to read as photographs."""
    torch.manual_seed(0)
    coarse = torch.randint(256, (count, 3, 12, 12)).float()
    pixels = F.interpolate(coarse, (side, side), mode="bilinear").byte()
    return ImageTensors(pixels.permute(0, 2, 3, 1).contiguous(), torch.arange(count) % CLASSES)


def write_jpegs(folder: Path, data: ImageTensors) -> None:
    for number, (pixels, label) in enumerate(zip(data.pixels, data.labels.tolist(), strict=True)):
        path = folder / f"{label:03d}" / f"{number}.jpg"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels.numpy()).save(path, quality=90)


def to_device(network: nn.Module, device: torch.device) -> nn.Module:
    return network.to(device).to(memory_format=torch.channels_last).train()


def clock(work: Callable[[], object], device: torch.device) -> float:
    """The seconds that `work` takes, until the GPU is done."""
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def bare_steps(
    chosen: Case, data: ImageTensors, steps: int, device: torch.device
) -> Callable[[], float]:
    network = to_device(chosen.network(), device)
    stepping = make_optimizer(chosen.recipe, network)
    count = chosen.recipe.batch_size
    images = chosen.input.eval_transform(data.pixels[:count].to(device))
    labels = data.labels[:count].to(device)

    def work() -> None:
        for _ in range(steps):
            stepping.zero_grad(set_to_none=True)
            with autocast(device):
                scores = network(images)
            F.cross_entropy(scores.float(), labels).backward()
            stepping.step()

    return lambda: clock(work, device)


def headstart(
    chosen: Case, data: ImageTensors, steps: int, device: torch.device
) -> Callable[[], float]:
    """With the images on the device, where training puts them if they fit."""
    task = TrainingTask(
        ImageTensors(data.pixels.to(device), data.labels.to(device)), data, chosen.input, CLASSES
    )
    run = TrainState(to_device(chosen.network(), device), chosen.recipe, steps)
    mix = make_mixup(chosen.recipe, CLASSES)

    def work() -> None:
        with tqdm(disable=True) as bar:
            train_epoch(run, chosen.recipe, task, device, mix, bar)

    return lambda: clock(work, device)


def timm_train(
    chosen: Case, folder: Path, steps: int, workers: int, device: torch.device
) -> Callable[[], float]:
    recipe = chosen.recipe
    network = to_device(chosen.network(), device)
    averaged = ModelEmaV3(network, decay=recipe.ema) if recipe.ema else None
    stepping = create_optimizer_v2(
        network,
        opt=recipe.optimizer.name,
        lr=recipe.optimizer.learning_rate,
        weight_decay=recipe.optimizer.weight_decay,
        layer_decay=recipe.layer_decay if recipe.layer_decay < 1 else None,
    )
    rates, _ = create_scheduler_v2(
        stepping, num_epochs=recipe.epochs, step_on_epochs=False, updates_per_epoch=steps
    )
    assert rates is not None
    loader = timm_loader(chosen, folder, workers, device)
    if recipe.mixup or recipe.cutmix:
        loss_of: nn.Module = SoftTargetCrossEntropy()
    else:
        loss_of = LabelSmoothingCrossEntropy(recipe.label_smoothing)

    def work() -> None:
        for step, (images, targets) in enumerate(loader):
            images = images.contiguous(memory_format=torch.channels_last)
            with autocast(device):
                loss = loss_of(network(images), targets)
            loss.backward()
            if recipe.clip_norm:
                dispatch_clip_grad(network.parameters(), recipe.clip_norm)
            stepping.step()
            stepping.zero_grad()
            if averaged is not None:
                averaged.update(network, step=step)
            rates.step_update(step)
            if step % LOSS_CHECK_STEPS == 0:
                loss.item()
        assert step == steps - 1

    return lambda: clock(work, device)


def timm_loader(chosen: Case, folder: Path, workers: int, device: torch.device) -> Any:
    """Batches of images [B, 3, S, S] float32 and targets, [B] or [B, C], on the device."""
    recipe = chosen.recipe
    mix = None
    if recipe.mixup or recipe.cutmix:
        mix = FastCollateMixup(
            mixup_alpha=recipe.mixup,
            cutmix_alpha=recipe.cutmix,
            label_smoothing=recipe.label_smoothing,
            num_classes=CLASSES,
        )
    light = recipe.augmentation.brightness or recipe.augmentation.contrast != (1, 1)
    dataset: Any = create_dataset("", root=str(folder), is_training=True)
    return create_loader(
        dataset,
        input_size=(3, chosen.input.size, chosen.input.size),
        batch_size=recipe.batch_size,
        is_training=True,
        hflip=recipe.augmentation.flip,
        color_jitter=0.4 if light else 0.0,
        mean=MEAN,
        std=STD,
        num_workers=workers,
        collate_fn=mix,
        pin_memory=device.type == "cuda",
        device=device,
    )


if __name__ == "__main__":
    main()
