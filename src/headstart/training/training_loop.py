"""The training loop for any network that maps images to logits, from scratch or pretrained.

The random numbers of a step depend only on the recipe's seed and the step's number. A killed run
therefore resumes with the same results as an uninterrupted one, and its checkpoints, written after
each epoch, need no state of a random generator. Several processes may train together
(distributed.py); each of them runs all of this code.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from hashlib import blake2b
from io import BytesIO
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from headstart.config import Recipe
from headstart.core.devices import supports_bfloat16
from headstart.core.errors import UserError
from headstart.store.training_curves import Epoch, TrainingCurve, write_training_curve
from headstart.training import distributed
from headstart.training.checkpoints import (
    newest_checkpoint,
    read_checkpoint,
    remove_damaged_checkpoints,
    remove_old_files,
    write_checkpoint,
)
from headstart.training.image_transforms import InputTransform
from headstart.training.learning_rate_schedules import make_schedule
from headstart.training.optimizers import make_optimizer

LOSS_CHECK_STEPS = 50
"""Steps between checks that the loss is finite; each check makes a GPU wait."""

EVALUATION_BATCH_SIZE = {"cpu": 64, "cuda": 256}
"""Images per batch in evaluation. On a CPU, larger batches take 1.5 times as long per image: the
memory of each layer's output is then returned to the system and allocated again."""

MixFunction = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Maps images [B, 3, H, W] and labels [B] to mixed images and targets [B] or [B, C]."""


@dataclass(frozen=True)
class ImageTensors:
    """Images and labels in the memory of one device.

    pixels: [N, S, S, 3] uint8, or what else an `InputTransform` holds of the images: [N, ...].
    labels: [N] int64.
    """

    pixels: Tensor
    labels: Tensor

    def __len__(self) -> int:
        """Returns the number of images."""
        return len(self.labels)


@dataclass(frozen=True)
class TrainingTask:
    """The data to train on. input_spec: how pixels become the network's input."""

    train: ImageTensors
    tune: ImageTensors
    input_spec: InputTransform
    num_classes: int


class TrainState:
    """Everything that changes during training, and the content of a checkpoint.

    parallel: the network as it is called in training. averaged: the network that is evaluated and
    kept; without exponential moving average this is the trained network itself. snapshots: file
    names of the weights after each epoch in which tune accuracy exceeded the best so far, oldest
    first; complete only in the main process and in checkpoints.
    """

    def __init__(self, network: nn.Module, recipe: Recipe, steps_per_epoch: int):
        self.network = network
        self.ema = AveragedModel(network, use_buffers=True) if recipe.ema else None
        self.averaged = self.ema.module if self.ema else network
        self.parallel = distributed.data_parallel(network)
        self.optimizer = make_optimizer(recipe, network)
        self.schedule = make_schedule(
            recipe.schedule, self.optimizer, steps_per_epoch, recipe.epochs
        )
        self.curve: TrainingCurve = []
        self.snapshots: list[str] = []

    def save(self, folder: Path) -> None:
        """Writes a checkpoint."""
        state: dict[str, Any] = {name: part.state_dict() for name, part in self._parts().items()}
        state["curve"] = [asdict(epoch) for epoch in self.curve]
        state["snapshots"] = self.snapshots
        content = BytesIO()
        torch.save(state, content)
        write_checkpoint(folder, f"checkpoint_{len(self.curve):05d}.pt", content.getvalue())

    def load(self, folder: Path) -> None:
        """Restores the newest checkpoint; without one, nothing changes."""
        if checkpoint := newest_checkpoint(folder):
            state = read_checkpoint(checkpoint)
            for name, part in self._parts().items():
                part.load_state_dict(state[name])
            self.curve = [Epoch(**epoch) for epoch in state["curve"]]
            self.snapshots = state["snapshots"]

    def _parts(self) -> dict[str, Any]:
        """Returns the objects that a checkpoint holds the states of, by name."""
        parts = {"network": self.network, "optimizer": self.optimizer, "schedule": self.schedule}
        return parts | ({"ema": self.ema} if self.ema else {})


class TrainingResult(NamedTuple):
    """The curve of a training and its snapshots.

    snapshots: safetensors files, oldest first; the last has the best weights.
    """

    curve: TrainingCurve
    snapshots: list[Path]


def train_network(
    network: nn.Module,
    recipe: Recipe,
    task: TrainingTask,
    folder: Path,
    device: torch.device,
    max_snapshots: int = 1,
    label: str = "training",
) -> TrainingResult:
    """Trains `network` in place; afterwards it has the weights that were best on tune.

    folder: holds the checkpoints from which a killed run resumes, curve.tsv and the snapshots. A
    folder belongs to one network with its initial weights, one recipe, one task and one
    `max_snapshots`; epochs whose files are damaged are trained again. max_snapshots: how many
    snapshots are kept, the newest; a snapshot is taken after each epoch in which tune accuracy
    exceeds the best so far (Milani, section 3.4). label: the name in the progress bar and messages.

    Raises:
        UserError: the loss became infinite or NaN, or several processes can't train this network.
    """
    folder.mkdir(parents=True, exist_ok=True)
    batch_size = min(recipe.batch_size, len(task.train))
    distributed.check_batch_shards(batch_size, recipe.accumulate)
    steps = len(task.train) // batch_size
    network.to(device).to(memory_format=torch.channels_last)
    distributed.sync_batch_norm(network)
    state = TrainState(network, recipe, steps)
    is_main = distributed.is_main()
    if is_main:
        remove_damaged_checkpoints(folder, max_snapshots, label)
    distributed.barrier()
    state.load(folder)
    mix = make_mixup(recipe, task.num_classes)

    with (
        torch.backends.cudnn.flags(enabled=True, benchmark=True),
        tqdm(desc=label, total=recipe.epochs * steps, unit="step", disable=not is_main) as bar,
    ):
        bar.update(len(state.curve) * steps)
        for epoch in range(len(state.curve), recipe.epochs):
            if recipe.patience and epochs_since_best(state.curve) >= recipe.patience:
                break
            train_stats = train_epoch(state, recipe, task, device, mix, bar)
            tune_stats = evaluate_network(
                state.averaged, task.tune, task.input_spec, recipe.label_smoothing, device
            )
            state.curve.append(Epoch(epoch + 1, *train_stats.means(), *tune_stats.means()))
            state.schedule.after_epoch(state.curve[-1].tune_top1)
            if is_main:
                if epochs_since_best(state.curve) == 0:
                    name, content = (
                        f"snapshot_{epoch + 1:05d}.safetensors",
                        serialize_network(state.averaged),
                    )
                    state.snapshots.append(write_checkpoint(folder, name, content))
                write_training_curve(folder / "curve.tsv", state.curve)
                state.save(folder)
                # One more than requested, because the previous checkpoint refers to it.
                remove_old_files(folder, state.snapshots[-max_snapshots - 1 :])

    distributed.barrier()
    state.load(folder)  # only the main process knows the names of the snapshots
    snapshots = [folder / name for name in state.snapshots[-max_snapshots:]]
    network.load_state_dict(load_file(snapshots[-1], device=str(device)))
    return TrainingResult(state.curve, snapshots)


def train_epoch(
    state: TrainState,
    recipe: Recipe,
    task: TrainingTask,
    device: torch.device,
    mix: MixFunction,
    bar: tqdm,
) -> "MetricSums":
    """Trains for one epoch in random order, leaving out the images of an incomplete last batch.

    Returns the sums of loss and hits over the images of this process.
    """
    epoch = len(state.curve)
    batch_size = min(recipe.batch_size, len(task.train))
    steps = len(task.train) // batch_size
    generator = torch.Generator().manual_seed(_seed(recipe, epoch))
    order = torch.randperm(len(task.train), generator=generator)
    state.network.train()
    train_stats = MetricSums(device)
    for index, rows in enumerate(order[: steps * batch_size].split(batch_size)):
        torch.manual_seed(_seed(recipe, epoch, index))
        pixels, labels = fetch_batch(task.train, rows, device)
        images, targets = mix(task.input_spec.train_transform(pixels, recipe.augmentation), labels)
        images, targets, labels = map(distributed.local_shard, (images, targets, labels))
        torch.manual_seed(_seed(recipe, epoch, index, distributed.rank()))  # for dropout
        loss, logits = train_step(state, recipe, images, targets)
        train_stats.add(loss * len(labels), logits, labels)
        if state.ema:
            # A short average at first, as in TensorFlow, so that the initial weights are forgotten.
            step = epoch * steps + index
            decay = min(recipe.ema or 0, (1 + step) / (10 + step))
            state.ema.multi_avg_fn = get_ema_multi_avg_fn(decay)
            state.ema.update_parameters(state.network)
        if index % LOSS_CHECK_STEPS == 0 or index == steps - 1:
            value = check_loss(loss, state, epoch, index)
            tune = f"{state.curve[-1].tune_top1:.1%}" if state.curve else "?"
            bar.set_postfix(loss=f"{value:.3f}", tune=tune, refresh=False)
        bar.update()
    return train_stats


def count_forward_passes(task: TrainingTask, recipe: Recipe, epochs: int) -> int:
    """Returns the number of forward passes of one image that `epochs` epochs are equivalent to.

    This measures the cost of training independently of the machine. A training image counts as
    three passes, because its backward pass takes twice the work of a forward pass; an image of tune
    counts as one.
    """
    batch_size = min(recipe.batch_size, len(task.train))
    images_per_epoch = len(task.train) // batch_size * batch_size
    return epochs * (3 * images_per_epoch + len(task.tune))


def epochs_since_best(curve: TrainingCurve) -> int:
    """Returns the number of epochs since tune accuracy last exceeded the best so far."""
    accuracies = [epoch.tune_top1 for epoch in curve]
    return len(curve) - 1 - accuracies.index(max(accuracies)) if curve else 0


def fetch_batch(data: ImageTensors, rows: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
    """Returns the pixels [B, ...] and labels [B] at `rows` [B], on `device`."""
    rows = rows.to(data.pixels.device)
    return (
        data.pixels[rows].to(device, non_blocking=True),
        data.labels[rows].to(device, non_blocking=True),
    )


def train_step(
    state: TrainState, recipe: Recipe, images: Tensor, targets: Tensor
) -> tuple[Tensor, Tensor]:
    """Takes one step of the optimizer on the mean loss of a batch.

    Returns that loss and the logits [B, C] float32. With several processes, B and the loss are
    those of this process's shard, while the step uses the gradients of the whole batch.

    images: [B, 3, H, W]. targets: [B] labels or [B, C] probabilities.
    """
    state.optimizer.zero_grad(set_to_none=True)
    losses, logits = [], []
    for x, y in zip(images.chunk(recipe.accumulate), targets.chunk(recipe.accumulate), strict=True):
        with autocast(x.device):
            scores = state.parallel(x).float()
        loss = F.cross_entropy(scores, y, label_smoothing=recipe.label_smoothing)
        loss = loss * (len(x) / len(images))
        loss.backward()
        losses.append(loss.detach())
        logits.append(scores.detach())
    if recipe.clip_norm:
        nn.utils.clip_grad_norm_(state.network.parameters(), recipe.clip_norm)
    state.optimizer.step()
    state.schedule.after_step()
    return torch.stack(losses).sum(), torch.cat(logits)


def autocast(device: torch.device) -> AbstractContextManager:
    """Returns a context that computes in bfloat16 if the hardware supports it, or else in float32.

    On such hardware bfloat16 is about twice as fast.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=supports_bfloat16(device))


def make_mixup(recipe: Recipe, num_classes: int) -> MixFunction:
    """Returns a function that applies the recipe's mixup or cutmix, or one of both at random.

    If the recipe has neither, the function returns its arguments.
    """
    if not recipe.mixup and not recipe.cutmix:
        return lambda images, labels: (images, labels)
    from torchvision.transforms import v2  # importing it takes seconds

    mixes: list[Callable] = []
    if recipe.mixup:
        mixes.append(v2.MixUp(alpha=recipe.mixup, num_classes=num_classes))
    if recipe.cutmix:
        mixes.append(v2.CutMix(alpha=recipe.cutmix, num_classes=num_classes))
    return v2.RandomChoice(mixes)


class MetricSums:
    """Sums of losses and hits over batches; they stay on the device until `means` is called."""

    def __init__(self, device: torch.device):
        self.count = 0
        self.sums = torch.zeros(2, dtype=torch.float64, device=device)

    def add(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Adds a batch. loss: summed over the batch. logits: [B, C]. labels: [B]."""
        self.count += len(labels)
        self.sums[0] += loss
        self.sums[1] += (logits.argmax(dim=1) == labels).sum()

    def means(self) -> tuple[float, float]:
        """Returns mean loss and top-1 accuracy over all processes."""
        sums = torch.cat([self.sums, self.sums.new_tensor([self.count])])
        loss, hits, count = distributed.all_reduce_sum(sums).tolist()
        return loss / count, hits / count


@torch.inference_mode()
def predict_logits(
    network: nn.Module, pixels: Tensor, input_spec: InputTransform, device: torch.device
) -> Tensor:
    """Returns the logits [N, C] float32, on `device`.

    network: on `device`. pixels: [N, ...], as in `ImageTensors`, on any device.
    """
    network.eval()
    logits = []
    for batch in pixels.split(EVALUATION_BATCH_SIZE[device.type]):
        with autocast(device):
            logits.append(network(input_spec.eval_transform(batch.to(device))).float())
    return torch.cat(logits)


def evaluate_network(
    network: nn.Module,
    data: ImageTensors,
    input_spec: InputTransform,
    label_smoothing: float,
    device: torch.device,
) -> MetricSums:
    """Returns the sums of loss and hits over this process's shard of `data`."""
    stats = MetricSums(device)
    pixels, labels = map(distributed.local_shard, (data.pixels, data.labels.to(device)))
    logits = predict_logits(network, pixels, input_spec, device)
    loss = F.cross_entropy(logits, labels, label_smoothing=label_smoothing, reduction="sum")
    stats.add(loss, logits, labels)
    return stats


def check_loss(loss: Tensor, state: TrainState, epoch: int, index: int) -> float:
    """Returns the mean loss over all processes.

    Raises:
        UserError: it isn't finite; the message names the step, the learning rate and the parameters
            that aren't finite.
    """
    value = float(distributed.all_reduce_sum(loss)) / distributed.world_size()
    if isfinite(value):
        return value
    rate = state.optimizer.param_groups[0]["lr"]
    diverged = [n for n, p in state.network.named_parameters() if not torch.isfinite(p).all()]
    names = f"; not finite: {', '.join(diverged[:3])}{', …' if len(diverged) > 3 else ''}"
    raise UserError(
        f"the loss became {value} in epoch {epoch + 1} by step {index + 1}, at learning rate "
        f"{rate:.3g}{names if diverged else ''}; lower the recipe's learning_rate or set clip_norm"
    )


def serialize_network(network: nn.Module, metadata: dict[str, str] | None = None) -> bytes:
    """Returns the network's weights and buffers as the content of a safetensors file."""
    weights = {name: value.contiguous() for name, value in network.state_dict().items()}
    return save(weights, metadata)


def _seed(recipe: Recipe, *position: int) -> int:
    """Returns a seed for an epoch or a step, unrelated to the seeds of other epochs and steps."""
    text = ",".join(map(str, (recipe.seed, *position)))
    return int.from_bytes(blake2b(text.encode(), digest_size=7).digest(), "little")
