"""Heads trained by gradient: softmax cross-entropy with label smoothing, Adam, L2 (Milani, 4.2).

M models are trained at once. They share every batch, and their first layer is one matrix product
of it; each has its own learning rate, decay, L2 and smoothing. One model is the case M = 1.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from tqdm import tqdm

from headstart import config
from headstart.core.devices import memory_of, resolve_device
from headstart.core.memory_limits import head_training_memory, require_memory
from headstart.heads.candidate_selection import Candidate, FitContext
from headstart.heads.class_weights import class_weights
from headstart.heads.feature_batches import make_batches
from headstart.heads.stacked_adam import StackedAdam
from headstart.heads.stacked_mlp import StackedMLP
from headstart.store.training_curves import Epoch, TrainingCurve

Recipe = config.LinearHead | config.MLPHead

PER_MODEL = ("learning_rate", "learning_rate_decay", "weight_decay", "label_smoothing")
"""What models that are trained at once may differ in."""

SLICE = 1 << 18
"""Scores whose loss is computed at once on a CPU: 1 MB, a core's cache."""


@torch.no_grad()
def smoothed_cross_entropy(
    logits: Tensor, labels: Tensor, smoothing: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor]:
    """Cross-entropy against eq. 1 of Milani, q = smoothing / C + (1 - smoothing) at the label.

    logits: [B, M, C]. labels, weights: [B]. smoothing: [M]. Returns the weighted losses [B, M] and
    the gradient [B, M, C] of their sum, which is weight * (softmax - q).
    """
    batch, models, classes = logits.shape
    at_label = labels[:, None, None].expand(batch, models, 1)
    log_p = logits.log_softmax(dim=2)
    hit = log_p.gather(2, at_label).squeeze(2)
    losses = -((1 - smoothing) * hit + smoothing * log_p.mean(dim=2))
    gradient = log_p.exp_().sub_((smoothing / classes)[:, None])
    gradient.scatter_add_(2, at_label, (smoothing - 1)[None, :, None].expand(batch, models, 1))
    return losses * weights[:, None], gradient.mul_(weights[:, None, None])


class MetricSums:
    """Sums of losses and hits over batches, for each of M models."""

    def __init__(self, models: int, device: torch.device) -> None:
        self.images = 0
        self.sums = torch.zeros(2, models, device=device)

    @torch.no_grad()
    def add(self, losses: Tensor, logits: Tensor, labels: Tensor) -> None:
        """losses: [B, M]. logits: [B, M, C]. labels: [B]."""
        self.images += len(labels)
        hits = logits.argmax(dim=2) == labels[:, None]
        self.sums += torch.stack([losses.sum(dim=0), hits.sum(dim=0)])

    def means(self) -> list[list[float]]:
        """Loss and top-1 accuracy of each model."""
        return (self.sums / self.images).T.tolist()


@torch.no_grad()
def loss_gradient_(
    logits: Tensor, labels: Tensor, smoothing: Tensor, weights: Tensor, tally: MetricSums
) -> Tensor:
    """The gradient of the mean loss, which takes the place of logits [B, M, C].

    Slice by slice, so that on a CPU what a slice needs stays in its cache; `tally` is told of all.
    """
    batch, scores = len(logits), logits[0].numel()
    rows = max(1, SLICE // scores) if logits.device.type == "cpu" else batch
    for part, label, weight in zip(
        *(t.split(rows) for t in (logits, labels, weights)), strict=True
    ):
        losses, gradient = smoothed_cross_entropy(part, label, smoothing, weight)
        tally.add(losses, part, label)
        torch.div(gradient, batch, out=part)
    return logits


def train_stacked(recipes: Sequence[Recipe], task: FitContext) -> list[Candidate]:
    """A candidate a recipe; recipes differ in `PER_MODEL` alone.

    The weights of a training that diverged are not finite.

    Raises:
        UserError: there is no such device, or as `check_memory`.
    """
    check_memory(recipes, task)
    shared, device = recipes[0], resolve_device(task.device)
    assert len({stacking_key(recipe) for recipe in recipes}) == 1

    def column(key: str) -> Tensor:
        return torch.tensor([getattr(recipe, key) for recipe in recipes], device=device)  # [M]

    train_stacked, tune = (
        make_batches(f, task.standardization, device) for f in (task.train, task.tune)
    )
    weights = torch.from_numpy(class_weights(shared.class_weights, task.train.examples))
    weights, smoothing = weights.float().to(device), column("label_smoothing")
    widths = [train_stacked.width, *shared.hidden, len(weights)]
    network = StackedMLP(
        len(recipes), widths, shared.activation, shared.dropout, shared.seed, device
    )
    adam = StackedAdam(network.weights, column("weight_decay"), network.biases)
    order = torch.Generator().manual_seed(shared.seed)
    curves: list[TrainingCurve] = [[] for _ in recipes]

    # `leave=None`: below another bar it vanishes when it is done.
    about = f"{len(recipes)} {shared.kind}"
    with tqdm(range(shared.epochs), desc=about, unit="epoch", leave=None) as bar:
        for epoch in bar:
            rates = column("learning_rate") * column("learning_rate_decay") ** epoch
            met, seen = (MetricSums(len(recipes), device) for _ in range(2))
            for x, labels in train_stacked.shuffled(shared.batch_size, order):
                logits = network(x, training=True)
                network.backward(loss_gradient_(logits, labels, smoothing, weights[labels], met))
                adam.step(rates)
            for x, labels in tune.whole(shared.batch_size):
                logits = network(x, training=False)
                loss_gradient_(logits, labels, smoothing, weights[labels], seen)
            for curve, of_train, of_tune in zip(curves, met.means(), seen.means(), strict=True):
                curve.append(Epoch(epoch + 1, *of_train, *of_tune))
            bar.set_postfix(tune=f"{max(curve[-1].tune_top1 for curve in curves):.1%}")
    return [
        Candidate({}, model, curve) for model, curve in zip(network.models(), curves, strict=True)
    ]


def check_memory(recipes: Sequence[Recipe], task: FitContext) -> None:
    """Raises UserError where training `recipes` at once takes more than the device's memory."""
    head, examples = recipes[0], task.train.examples
    widths = [task.train.width, *head.hidden, len(examples.classes)]
    need = head_training_memory(len(recipes), widths, min(head.batch_size, len(examples)))
    what = f"hidden, batch_size: {len(recipes)} heads at once, layers of {widths} numbers,"
    require_memory(what, need, memory_of(resolve_device(task.device)))


def stacking_key(recipe: Recipe) -> str:
    """Equal for recipes that `train` may train at once."""
    return recipe.model_dump_json(exclude=set(PER_MODEL))


def fit_gradient_head(recipe: Recipe, task: FitContext) -> list[Candidate]:
    """The one candidate of `recipe`."""
    return train_stacked([recipe], task)
