"""The training loop: end to end, from scratch or not, any network that maps images to logits.

What is random in a step follows from the recipe's seed and the step's number alone. So a run that
was killed goes on as if it hadn't been, and its checkpoints, written after each epoch, need no
generator's state. Several processes may train together (distributed.py); each runs all of this.
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
    drop_damaged,
    newest_checkpoint,
    prune,
    read_checkpoint,
    write_checkpoint,
)
from headstart.training.image_transforms import InputSpec
from headstart.training.learning_rate_schedules import make_schedule
from headstart.training.optimizers import make_optimizer

CHECK_EVERY = 50
"""Steps between looks at the loss: each makes a GPU wait."""

EVALUATION_BATCH = {"cpu": 64, "cuda": 256}
"""Images at once. On a CPU more of them take half as long again each: the memory of their layers is
given back after each layer, and comes as fresh pages."""

Mix = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class ImageTensors:
    """Images in memory. pixels: [N, S, S, 3] uint8. labels: [N] int64. Any device, the same."""

    pixels: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class TrainingTask:
    """What is learnt. input: how pixels become what the network sees."""

    train: ImageTensors
    tune: ImageTensors
    input: InputSpec
    num_classes: int


class TrainState:
    """All that changes while a network is trained, and what a checkpoint holds.

    parallel: the network as it runs in training. averaged: the one that is evaluated and kept; the
    trained one itself where nothing averages.
    snapshots: the file names of the weights whenever tune accuracy surpassed the best so far, in
    the first process and in checkpoints; oldest first.
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
        state: dict[str, Any] = {name: part.state_dict() for name, part in self._parts().items()}
        state["curve"] = [asdict(epoch) for epoch in self.curve]
        state["snapshots"] = self.snapshots
        content = BytesIO()
        torch.save(state, content)
        write_checkpoint(folder, f"checkpoint_{len(self.curve):05d}.pt", content.getvalue())

    def load(self, folder: Path) -> None:
        """Goes to the newest checkpoint; without one, stays at the beginning."""
        if checkpoint := newest_checkpoint(folder):
            state = read_checkpoint(checkpoint)
            for name, part in self._parts().items():
                part.load_state_dict(state[name])
            self.curve = [Epoch(**epoch) for epoch in state["curve"]]
            self.snapshots = state["snapshots"]

    def _parts(self) -> dict[str, Any]:
        parts = {"network": self.network, "optimizer": self.optimizer, "schedule": self.schedule}
        return parts | ({"ema": self.ema} if self.ema else {})


class Trained(NamedTuple):
    """snapshots: safetensors files, oldest first; the last has the best weights."""

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
) -> Trained:
    """Trains `network` in place; it ends with the weights that were best on tune.

    folder: holds the checkpoints from which a killed run goes on, curve.tsv, and the snapshots: the
    weights whenever tune accuracy surpassed the best so far, the oldest making room for what
    exceeds `max_snapshots` (Milani, section 3.4). What is damaged there is trained again. A folder
    belongs to one network with its initial weights, one recipe, task and `max_snapshots`.

    Raises:
        UserError: the loss became infinite or NaN, or several processes can't train it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    batch_size = min(recipe.batch_size, len(task.train))
    distributed.check_batch_shards(batch_size, recipe.accumulate)
    steps = len(task.train) // batch_size
    network.to(device).to(memory_format=torch.channels_last)
    distributed.sync_batch_norm(network)
    run = TrainState(network, recipe, steps)
    first = distributed.is_main()
    if first:
        drop_damaged(folder, max_snapshots, label)
    distributed.barrier()
    run.load(folder)
    mix = make_mixup(recipe, task.num_classes)

    with (
        torch.backends.cudnn.flags(enabled=True, benchmark=True),
        tqdm(desc=label, total=recipe.epochs * steps, unit="step", disable=not first) as bar,
    ):
        bar.update(len(run.curve) * steps)
        for epoch in range(len(run.curve), recipe.epochs):
            if recipe.patience and epochs_since_best(run.curve) >= recipe.patience:
                break
            met = train_epoch(run, recipe, task, device, mix, bar)
            seen = evaluate_network(
                run.averaged, task.tune, task.input, recipe.label_smoothing, device
            )
            run.curve.append(Epoch(epoch + 1, *met.means(), *seen.means()))
            run.schedule.after_epoch(run.curve[-1].tune_top1)
            if first:
                if epochs_since_best(run.curve) == 0:
                    name, content = f"snapshot_{epoch + 1:05d}.safetensors", packed(run.averaged)
                    run.snapshots.append(write_checkpoint(folder, name, content))
                write_training_curve(folder / "curve.tsv", run.curve)
                run.save(folder)
                # One more than are wanted: the checkpoint before refers to it.
                prune(folder, run.snapshots[-max_snapshots - 1 :])

    distributed.barrier()
    run.load(folder)  # the first process alone knows what the snapshots are called
    snapshots = [folder / name for name in run.snapshots[-max_snapshots:]]
    network.load_state_dict(load_file(snapshots[-1], device=str(device)))
    return Trained(run.curve, snapshots)


def train_epoch(
    run: TrainState, recipe: Recipe, task: TrainingTask, device: torch.device, mix: Mix, bar: tqdm
) -> "MetricSums":
    """Once through train, in random order; what is left at the end makes no smaller batch."""
    epoch = len(run.curve)
    batch_size = min(recipe.batch_size, len(task.train))
    steps = len(task.train) // batch_size
    generator = torch.Generator().manual_seed(_seed(recipe, epoch))
    order = torch.randperm(len(task.train), generator=generator)
    run.network.train()
    met = MetricSums(device)
    for index, rows in enumerate(order[: steps * batch_size].split(batch_size)):
        torch.manual_seed(_seed(recipe, epoch, index))
        pixels, labels = fetch_batch(task.train, rows, device)
        images, targets = mix(task.input.train_transform(pixels, recipe.augmentation), labels)
        images, targets, labels = map(distributed.local_shard, (images, targets, labels))
        torch.manual_seed(_seed(recipe, epoch, index, distributed.rank()))  # of dropout
        loss, logits = train_step(run, recipe, images, targets)
        met.add(loss * len(labels), logits, labels)
        if run.ema:
            # Over few steps at first, as TensorFlow does, so that the start is forgotten.
            step = epoch * steps + index
            decay = min(recipe.ema or 0, (1 + step) / (10 + step))
            run.ema.multi_avg_fn = get_ema_multi_avg_fn(decay)
            run.ema.update_parameters(run.network)
        if index % CHECK_EVERY == 0 or index == steps - 1:
            value = check_loss(loss, run, epoch, index)
            tune = f"{run.curve[-1].tune_top1:.1%}" if run.curve else "?"
            bar.set_postfix(loss=f"{value:.3f}", tune=tune, refresh=False)
        bar.update()
    return met


def count_forward_passes(task: TrainingTask, recipe: Recipe, epochs: int) -> int:
    """Images through the network in so many epochs, the cost of training whatever the machine.

    A training image counts three times, once forward and, as it takes twice the work, twice
    backward; an image of tune once.
    """
    batch_size = min(recipe.batch_size, len(task.train))
    seen = len(task.train) // batch_size * batch_size
    return epochs * (3 * seen + len(task.tune))


def epochs_since_best(curve: TrainingCurve) -> int:
    """Epochs since tune accuracy was last better than ever before."""
    accuracies = [epoch.tune_top1 for epoch in curve]
    return len(curve) - 1 - accuracies.index(max(accuracies)) if curve else 0


def fetch_batch(data: ImageTensors, rows: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
    """Pixels [B, S, S, 3] and labels [B] at `rows` [B], on `device`."""
    rows = rows.to(data.pixels.device)
    return (
        data.pixels[rows].to(device, non_blocking=True),
        data.labels[rows].to(device, non_blocking=True),
    )


def train_step(
    run: TrainState, recipe: Recipe, images: Tensor, targets: Tensor
) -> tuple[Tensor, Tensor]:
    """One step of the optimizer on the batch's mean loss; that loss and the logits [B, C] float32.

    targets: [B] labels or [B, C] probabilities. Of several processes, B is this one's share and the
    loss that of it; the step is that of the whole batch.
    """
    run.optimizer.zero_grad(set_to_none=True)
    losses, logits = [], []
    for x, y in zip(images.chunk(recipe.accumulate), targets.chunk(recipe.accumulate), strict=True):
        with autocast(x.device):
            scores = run.parallel(x).float()
        loss = F.cross_entropy(scores, y, label_smoothing=recipe.label_smoothing)
        loss = loss * (len(x) / len(images))
        loss.backward()
        losses.append(loss.detach())
        logits.append(scores.detach())
    if recipe.clip_norm:
        nn.utils.clip_grad_norm_(run.network.parameters(), recipe.clip_norm)
    run.optimizer.step()
    run.schedule.after_step()
    return torch.stack(losses).sum(), torch.cat(logits)


def autocast(device: torch.device) -> AbstractContextManager:
    """bfloat16 where the hardware has it, which there is twice as fast; float32 elsewhere."""
    return torch.autocast(device.type, torch.bfloat16, enabled=supports_bfloat16(device))


def make_mixup(recipe: Recipe, num_classes: int) -> Mix:
    """Mixup, cutmix, one of the two at random, or nothing; of images [B, 3, H, W], labels [B]."""
    if not recipe.mixup and not recipe.cutmix:
        return lambda images, labels: (images, labels)
    from torchvision.transforms import v2  # seconds to import

    mixes: list[Callable] = []
    if recipe.mixup:
        mixes.append(v2.MixUp(alpha=recipe.mixup, num_classes=num_classes))
    if recipe.cutmix:
        mixes.append(v2.CutMix(alpha=recipe.cutmix, num_classes=num_classes))
    return v2.RandomChoice(mixes)


class MetricSums:
    """Sums of losses and hits over batches, on the device until asked for."""

    def __init__(self, device: torch.device):
        self.count = 0
        self.sums = torch.zeros(2, dtype=torch.float64, device=device)

    def add(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        """loss: summed over the batch. logits: [B, C]. labels: [B]."""
        self.count += len(labels)
        self.sums[0] += loss
        self.sums[1] += (logits.argmax(dim=1) == labels).sum()

    def means(self) -> tuple[float, float]:
        """Loss and top-1 accuracy, over all processes."""
        sums = torch.cat([self.sums, self.sums.new_tensor([self.count])])
        loss, hits, count = distributed.all_reduce_sum(sums).tolist()
        return loss / count, hits / count


@torch.inference_mode()
def predict_logits(
    network: nn.Module, pixels: Tensor, input: InputSpec, device: torch.device
) -> Tensor:
    """[N, C] float32 on `device`, of images [N, S, S, 3] uint8 on any."""
    network.eval()
    logits = []
    for batch in pixels.split(EVALUATION_BATCH[device.type]):
        with autocast(device):
            logits.append(network(input.eval_transform(batch.to(device))).float())
    return torch.cat(logits)


def evaluate_network(
    network: nn.Module,
    data: ImageTensors,
    input: InputSpec,
    label_smoothing: float,
    device: torch.device,
) -> MetricSums:
    tally = MetricSums(device)
    pixels, labels = map(distributed.local_shard, (data.pixels, data.labels.to(device)))
    logits = predict_logits(network, pixels, input, device)
    loss = F.cross_entropy(logits, labels, label_smoothing=label_smoothing, reduction="sum")
    tally.add(loss, logits, labels)
    return tally


def check_loss(loss: Tensor, run: TrainState, epoch: int, index: int) -> float:
    """The loss over all processes as a number.

    Raises:
        UserError: it isn't finite; says when, at which learning rate, and which weights went first.
    """
    value = float(distributed.all_reduce_sum(loss)) / distributed.world_size()
    if isfinite(value):
        return value
    rate = run.optimizer.param_groups[0]["lr"]
    broken = [n for n, p in run.network.named_parameters() if not torch.isfinite(p).all()]
    where = f"; not finite: {', '.join(broken[:3])}{', …' if len(broken) > 3 else ''}"
    raise UserError(
        f"the loss became {value} in epoch {epoch + 1} by step {index + 1}, at learning rate "
        f"{rate:.3g}{where if broken else ''}; lower the recipe's learning_rate or set clip_norm"
    )


def packed(network: nn.Module, metadata: dict[str, str] | None = None) -> bytes:
    """The network's weights and buffers as the content of a safetensors file."""
    weights = {name: value.contiguous() for name, value in network.state_dict().items()}
    return save(weights, metadata)


def _seed(recipe: Recipe, *position: int) -> int:
    """A seed for the epoch, or the step in it, unlike its neighbors' in every bit."""
    text = ",".join(map(str, (recipe.seed, *position)))
    return int.from_bytes(blake2b(text.encode(), digest_size=7).digest(), "little")
