"""Heads trained by gradient descent: linear heads and MLPs (Milani, section 4.2).

The loss is softmax cross-entropy with label smoothing and L2; the optimizer is Adam. M models are
trained at once: they share every batch, and their first layers are computed as one matrix product,
but each has its own learning rate, decay, L2 and smoothing. A single model is the case M = 1.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from headstart import config
from headstart.core.devices import memory_of, resolve_device
from headstart.core.memory_limits import head_training_memory, require_memory
from headstart.heads.candidate_selection import Candidate, FitContext
from headstart.heads.feature_batches import make_batches
from headstart.heads.kept_epochs import KeptEpochs
from headstart.heads.stacked_adam import StackedAdam
from headstart.heads.stacked_mlp import StackedMLP
from headstart.metrics.selection import tune_score
from headstart.store.class_weights import class_weights
from headstart.store.training_curves import Epoch, TrainingCurve

Recipe = config.LinearHead | config.MLPHead

PER_MODEL = (
    *("learning_rate", "learning_rate_decay", "weight_decay", "label_smoothing"),
    *("keep", "average_snapshots"),
)
"""The settings in which models that are trained at once may differ."""

LOSS_SLICE_SCORES = 1 << 18
"""Number of scores whose loss is computed at once on a CPU: 1 MB, the size of a core's cache."""


@torch.no_grad()
def smoothed_cross_entropy(
    logits: Tensor, labels: Tensor, smoothing: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor]:
    """Returns the weighted losses [B, M] and the gradient [B, M, C] of their sum.

    The loss is the cross-entropy with the smoothed target q of Milani, eq. 1, which is
    smoothing / C, plus 1 - smoothing at the label. The gradient is weight * (softmax - q).

    logits: [B, M, C]. labels, weights: [B]. smoothing: [M].
    """
    batch, models, classes = logits.shape
    at_label = labels[:, None, None].expand(batch, models, 1)
    log_p = logits.log_softmax(dim=2)
    log_p_label = log_p.gather(2, at_label).squeeze(2)
    losses = -((1 - smoothing) * log_p_label + smoothing * log_p.mean(dim=2))
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
        """Adds a batch. losses: [B, M]. logits: [B, M, C]. labels: [B]."""
        self.images += len(labels)
        hits = logits.argmax(dim=2) == labels[:, None]
        self.sums += torch.stack([losses.sum(dim=0), hits.sum(dim=0)])

    def means(self) -> list[list[float]]:
        """Returns mean loss and top-1 accuracy of each model: M pairs."""
        return (self.sums / self.images).T.tolist()


@torch.no_grad()
def loss_gradient_(
    logits: Tensor, labels: Tensor, smoothing: Tensor, weights: Tensor, stats: MetricSums
) -> Tensor:
    """Returns the gradient of the mean loss [B, M, C], in the memory of `logits`.

    On a CPU it is computed slice by slice, so that a slice's data stay in the cache.

    logits: [B, M, C]; overwritten. labels, weights: [B]. smoothing: [M]. stats: the batch is added
    to it.
    """
    batch, scores = len(logits), logits[0].numel()
    rows = max(1, LOSS_SLICE_SCORES // scores) if logits.device.type == "cpu" else batch
    slices = (tensor.split(rows) for tensor in (logits, labels, weights))
    for part, part_labels, part_weights in zip(*slices, strict=True):
        losses, gradient = smoothed_cross_entropy(part, part_labels, smoothing, part_weights)
        stats.add(losses, part, part_labels)
        torch.div(gradient, batch, out=part)
    return logits


def train_stacked(recipes: Sequence[Recipe], context: FitContext) -> list[Candidate]:
    """Trains one model per recipe at once; returns their candidates in the order of `recipes`.

    Training that diverges results in weights that aren't finite.

    recipes: they may differ in PER_MODEL only.

    Raises:
        UserError: there is no such device, or training doesn't fit into its memory.
    """
    check_memory(recipes, context)
    shared, device = recipes[0], resolve_device(context.device)
    assert len({stacking_key(recipe) for recipe in recipes}) == 1

    def column(key: str) -> Tensor:
        """Returns a setting of all recipes: [M]."""
        return torch.tensor([getattr(recipe, key) for recipe in recipes], device=device)

    train, tune = (
        make_batches(features, context.standardization, device)
        for features in (context.train, context.tune)
    )
    classes = len(context.train.examples.classes)
    weights = class_weights(shared.class_weights, context.train.examples.labels, classes)
    weights = torch.from_numpy(weights).float().to(device)
    smoothing, widths = column("label_smoothing"), [train.width, *shared.hidden, classes]
    network = StackedMLP(
        len(recipes), widths, shared.activation, shared.dropout, shared.seed, device
    )
    adam = StackedAdam(network.weights, column("weight_decay"), network.biases)
    order = torch.Generator().manual_seed(shared.seed)
    curves: list[TrainingCurve] = [[] for _ in recipes]
    kept = {
        index: KeptEpochs(recipe.keep, recipe.average_snapshots)
        for index, recipe in enumerate(recipes)
        if keeps_copies(recipe)
    }
    # By accuracy the sums of hits say enough; every other criterion needs all predictions.
    rated = [
        index
        for index, recipe in enumerate(recipes)
        if recipe.keep == "best" and context.choose_by != "accuracy"
    ]
    parameters = [*network.weights, *network.biases]

    # With `leave=None`, a bar below another one is removed when it is done.
    description = f"{len(recipes)} {shared.kind}"
    with tqdm(range(shared.epochs), desc=description, unit="epoch", leave=None) as bar:
        for epoch in bar:
            rates = column("learning_rate") * column("learning_rate_decay") ** epoch
            train_stats, tune_stats = (MetricSums(len(recipes), device) for _ in range(2))
            for x, labels in train.shuffled(shared.batch_size, order):
                logits = network(x, training=True)
                gradient = loss_gradient_(logits, labels, smoothing, weights[labels], train_stats)
                network.backward(gradient)
                adam.step(rates)
            probabilities = []
            for x, labels in tune.in_order(shared.batch_size):
                logits = network(x, training=False)
                probabilities.append(logits[:, rated].softmax(dim=2).transpose(0, 1).cpu().numpy())
                loss_gradient_(logits, labels, smoothing, weights[labels], tune_stats)
            means = zip(curves, train_stats.means(), tune_stats.means(), strict=True)
            for curve, train_means, tune_means in means:
                curve.append(
                    Epoch(epoch + 1, *train_means, *tune_means)  # pyright: ignore[reportArgumentType]
                )
            for index, predicted in zip(rated, np.concatenate(probabilities, axis=1), strict=True):
                curves[index][-1] = replace(
                    curves[index][-1],
                    tune_score=tune_score(
                        predicted, context.tune.examples.labels, context.choose_by
                    ),
                )
            for index, epochs in kept.items():
                epochs.add(curves[index][-1], [tensor[index] for tensor in parameters])
            bar.set_postfix(tune=f"{max(curve[-1].tune_top1 for curve in curves):.1%}")
    with torch.no_grad():
        for index, epochs in kept.items():
            for tensor, mean in zip(parameters, epochs.mean(), strict=True):
                tensor[index] = mean
    return [
        Candidate({}, model, curve) for model, curve in zip(network.models(), curves, strict=True)
    ]


def check_memory(recipes: Sequence[Recipe], context: FitContext) -> None:
    """Checks that training `recipes` at once fits into the device's memory.

    Raises:
        UserError: it doesn't fit, or there is no such device.
    """
    head, examples = recipes[0], context.train.examples
    widths = [context.train.width, *head.hidden, len(examples.classes)]
    copies = sum(recipe.average_snapshots for recipe in recipes if keeps_copies(recipe))
    need = head_training_memory(len(recipes), widths, min(head.batch_size, len(examples)), copies)
    what = f"hidden, batch_size: {len(recipes)} heads at once, layers of {widths} numbers,"
    require_memory(what, need, memory_of(resolve_device(context.device)))


def keeps_copies(recipe: Recipe) -> bool:
    """Returns whether weights of single epochs are kept beside those in training."""
    return recipe.keep == "best" or recipe.average_snapshots > 1


def stacking_key(recipe: Recipe) -> str:
    """Returns a string that is equal for recipes that `train_stacked` may train at once."""
    return recipe.model_dump_json(exclude=set(PER_MODEL))


def fit_gradient_head(recipe: Recipe, context: FitContext) -> list[Candidate]:
    """Trains the model of `recipe`; returns it as the only candidate."""
    return train_stacked([recipe], context)
