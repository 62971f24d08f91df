"""The training loop for any network that maps images to logits, from scratch or pretrained.

The random numbers of a step depend only on the recipe's seed and the step's number. A killed run
therefore resumes with the same results as an uninterrupted one, and its checkpoints, written after
each epoch, need no state of a random generator. Several processes may train together
(distributed.py); each of them runs all of this code.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from math import isfinite, lcm
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import get_ema_multi_avg_fn
from tqdm import tqdm

from headstart.config import Recipe
from headstart.core.errors import UserError
from headstart.store.class_weights import class_weights
from headstart.store.output_statistics import OutputStatistics
from headstart.store.training_curves import Epoch, TrainingCurve, write_training_curve
from headstart.training import distributed
from headstart.training.checkpoints import (
    remove_damaged_checkpoints,
    remove_old_files,
    write_checkpoint,
)
from headstart.training.dropout_schedule import check_dropout, set_dropout
from headstart.training.image_transforms import InputTransform
from headstart.training.network_evaluation import (
    Evaluation,
    ImageTensors,
    MetricSums,
    autocast,
    evaluate_network,
)
from headstart.training.train_state import BestEvaluation, TrainState

LOSS_CHECK_STEPS = 50
"""Steps between checks that the loss is finite; each check makes a GPU wait."""

MixFunction = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Maps images [B, 3, H, W] and labels [B] to mixed images and targets [B] or [B, C]."""


@dataclass(frozen=True)
class TrainingTask:
    """The data to train on.

    input_spec: how pixels become the network's input. choose_by: what tune chooses by, a key of
    `metrics.selection.CRITERIA`.
    """

    train: ImageTensors
    tune: ImageTensors
    input_spec: InputTransform
    num_classes: int
    choose_by: str = "accuracy"

    def class_weights(self, recipe: Recipe, device: torch.device) -> Tensor:
        """Returns the weight in the loss of an image of each class: [C] float32."""
        labels = self.train.labels.cpu().numpy()
        weights = class_weights(recipe.class_weights, labels, self.num_classes)
        return torch.from_numpy(weights).float().to(device)


class TrainingResult(NamedTuple):
    """The curve of a training, its snapshots and the recorded outputs.

    snapshots: safetensors files, oldest first; the last has the weights of `best`. steps: of the
    optimizer, in all epochs.
    """

    curve: TrainingCurve
    snapshots: list[Path]
    best: BestEvaluation
    outputs: list[OutputStatistics]
    steps: int


def train_network(
    network: nn.Module,
    recipe: Recipe,
    task: TrainingTask,
    folder: Path,
    device: torch.device,
    max_snapshots: int = 1,
    label: str = "training",
    recorded: Sequence[str] = (),
) -> TrainingResult:
    """Trains `network` in place; afterwards it has the weights that were best on tune.

    folder: holds the checkpoints from which a killed run resumes, curve.tsv and the snapshots. A
    folder belongs to one network with its initial weights, one recipe, one task, one
    `max_snapshots` and one `recorded`; epochs whose files are damaged are trained again.
    max_snapshots: how many snapshots are kept, the newest; a snapshot is taken at each evaluation
    on tune whose score exceeds the best so far (Milani, section 3.4). Evaluations are after each
    epoch and, within it, after every `recipe.snapshot_steps` steps. label: the name in the progress
    bar and messages. recorded: names of modules whose outputs are recorded.

    Raises:
        UserError: the loss became infinite or NaN, several processes can't train this network, or
            it has no dropout that the recipe could change.
    """
    check_dropout(network, recipe)
    folder.mkdir(parents=True, exist_ok=True)
    batch_size = min(recipe.batch_size, len(task.train))
    distributed.check_batch_shards(batch_size, recipe.accumulate)
    steps = len(task.train) // batch_size
    network.to(device).to(memory_format=torch.channels_last)
    distributed.sync_batch_norm(network)
    state = TrainState(network, recipe, steps, recorded)
    is_main = distributed.is_main()
    if is_main:
        remove_damaged_checkpoints(folder, max_snapshots, label)
    distributed.barrier()
    state.load(folder)
    mix = make_mixup(recipe, task.num_classes)

    def after_step(steps_done: int) -> None:
        every = recipe.snapshot_steps
        if every and steps_done % every == 0 and steps_done % steps:
            evaluate_and_keep(state, recipe, task, device, folder, steps_done)
            state.network.train()

    with (
        state.recorder,
        torch.backends.cudnn.flags(enabled=True, benchmark=True),
        tqdm(desc=label, total=recipe.epochs * steps, unit="step", disable=not is_main) as bar,
    ):
        bar.update(len(state.curve) * steps)
        for epoch in range(len(state.curve), recipe.epochs):
            if recipe.patience and epochs_since_best(state.curve) >= recipe.patience:
                break
            snapshots_before = len(state.snapshots)
            set_dropout(network, recipe, epoch)
            train_stats = train_epoch(state, recipe, task, device, mix, bar, after_step)
            tune = evaluate_and_keep(state, recipe, task, device, folder, (epoch + 1) * steps)
            means = (*train_stats.means(), tune.loss, tune.top1)
            state.curve.append(Epoch(epoch + 1, *means, tune_score=tune.score))
            state.schedule.after_epoch(state.curve[-1].score)
            if is_main:
                write_training_curve(folder / "curve.tsv", state.curve)
                state.save(folder)
                # More than requested, because the previous checkpoint refers to older ones.
                added = len(state.snapshots) - snapshots_before
                remove_old_files(folder, state.snapshots[-max_snapshots - added :])

    distributed.barrier()
    state.load(folder)  # only the main process knows the names of the snapshots
    snapshots = [folder / name for name in state.snapshots[-max_snapshots:]]
    network.load_state_dict(load_file(snapshots[-1], device=str(device)))
    outputs, all_steps = state.recorder.statistics, len(state.curve) * steps
    return TrainingResult(state.curve, snapshots, state.best, outputs, all_steps)


def evaluate_and_keep(
    state: TrainState,
    recipe: Recipe,
    task: TrainingTask,
    device: torch.device,
    folder: Path,
    steps_done: int,
) -> Evaluation:
    """Evaluates on tune, and writes a snapshot if the score exceeds the best so far."""
    tune = evaluate_network(
        state.averaged,
        task.tune,
        task.input_spec,
        recipe.label_smoothing,
        task.class_weights(recipe, device),
        task.choose_by,
        device,
    )
    score = tune.top1 if tune.score is None else tune.score
    if score > state.best.score:
        state.best = BestEvaluation(score, steps_done / state.steps_per_epoch)
        if distributed.is_main():
            name = f"snapshot_{steps_done:08d}.safetensors"
            content = serialize_network(state.averaged)
            state.snapshots.append(write_checkpoint(folder, name, content))
    return tune


def train_epoch(
    state: TrainState,
    recipe: Recipe,
    task: TrainingTask,
    device: torch.device,
    mix: MixFunction,
    bar: tqdm,
    after_step: Callable[[int], None] = lambda steps_done: None,
) -> MetricSums:
    """Trains for one epoch in random order, leaving out the images of an incomplete last batch.

    Returns the sums of loss and hits over the images of this process.

    after_step: called after each step with the number of steps since training began.
    """
    epoch = len(state.curve)
    batch_size = min(recipe.batch_size, len(task.train))
    steps = len(task.train) // batch_size
    generator = torch.Generator().manual_seed(_seed(recipe, epoch))
    order = torch.randperm(len(task.train), generator=generator)
    class_weights = task.class_weights(recipe, device)
    state.network.train()
    train_stats = MetricSums(device)
    for index, rows in enumerate(order[: steps * batch_size].split(batch_size)):
        torch.manual_seed(_seed(recipe, epoch, index))
        pixels, labels = fetch_batch(task.train, rows, device)
        images, targets = mix(task.input_spec.train_transform(pixels, recipe.augmentation), labels)
        images, targets, labels = map(distributed.local_shard, (images, targets, labels))
        torch.manual_seed(_seed(recipe, epoch, index, distributed.rank()))  # for dropout
        state.recorder.start_step(epoch * steps + index)
        loss, logits = train_step(state, recipe, images, targets, class_weights)
        train_stats.add(loss * len(labels), logits, labels)
        if state.ema:
            # A short average at first, as in TensorFlow, so that the initial weights are forgotten.
            step = epoch * steps + index
            decay = min(recipe.ema or 0, (1 + step) / (10 + step))
            state.ema.multi_avg_fn = get_ema_multi_avg_fn(decay)
            state.ema.update_parameters(state.network)
        if index % LOSS_CHECK_STEPS == 0 or index == steps - 1:
            value = check_loss(loss, state, epoch, index)
            tune = f"{state.curve[-1].score:.1%}" if state.curve else "?"
            bar.set_postfix(loss=f"{value:.3f}", tune=tune, refresh=False)
        bar.update()
        after_step(epoch * steps + index + 1)
    return train_stats


def count_forward_passes(task: TrainingTask, recipe: Recipe, epochs: int) -> int:
    """Returns the number of forward passes of one image that `epochs` epochs are equivalent to.

    This measures the cost of training independently of the machine. A training image counts as
    three passes, because its backward pass takes twice the work of a forward pass; an image of tune
    counts as one at each evaluation.
    """
    batch_size = min(recipe.batch_size, len(task.train))
    steps = len(task.train) // batch_size
    evaluations = epochs
    if every := recipe.snapshot_steps:  # without those that coincide with an epoch's end
        evaluations += epochs * steps // every - epochs * steps // lcm(every, steps)
    return 3 * epochs * steps * batch_size + evaluations * len(task.tune)


def epochs_since_best(curve: TrainingCurve) -> int:
    """Returns the number of epochs since the score on tune last exceeded the best so far."""
    scores = [epoch.score for epoch in curve]
    return len(curve) - 1 - scores.index(max(scores)) if curve else 0


def fetch_batch(data: ImageTensors, rows: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
    """Returns the pixels [B, ...] and labels [B] at `rows` [B], on `device`."""
    rows = rows.to(data.pixels.device)
    return (
        data.pixels[rows].to(device, non_blocking=True),
        data.labels[rows].to(device, non_blocking=True),
    )


def train_step(
    state: TrainState, recipe: Recipe, images: Tensor, targets: Tensor, class_weights: Tensor
) -> tuple[Tensor, Tensor]:
    """Takes one step of the optimizer on the mean loss of a batch.

    Returns that loss and the logits [B, C] float32. With several processes, B and the loss are
    those of this process's shard, while the step uses the gradients of the whole batch.

    images: [B, 3, H, W]. targets: [B] labels or [B, C] probabilities. class_weights: [C], of an
    image's loss; of an image that mixes two classes, their mean.
    """
    state.optimizer.zero_grad(set_to_none=True)
    losses, logits = [], []
    for x, y in zip(images.chunk(recipe.accumulate), targets.chunk(recipe.accumulate), strict=True):
        with autocast(x.device):
            scores = state.parallel(x).float()
        smoothing = recipe.label_smoothing
        weights = y.float() @ class_weights if y.ndim == 2 else class_weights[y]
        loss = F.cross_entropy(scores, y, label_smoothing=smoothing, reduction="none") @ weights
        loss = loss / len(images)
        loss.backward()
        losses.append(loss.detach())
        logits.append(scores.detach())
    if recipe.clip_norm:
        nn.utils.clip_grad_norm_(state.network.parameters(), recipe.clip_norm)
    state.optimizer.step()
    state.schedule.after_step()
    return torch.stack(losses).sum(), torch.cat(logits)


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
