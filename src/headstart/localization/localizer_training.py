"""Training of a localizer on the images of one class."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from math import prod
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from headstart.config import Localize
from headstart.core.errors import UserError
from headstart.core.memory_limits import machine_memory, require_memory
from headstart.localization.box_decoder import BoxDecoder, Candidates, stopped_confidences
from headstart.localization.box_matching import boxes_of, localization_loss, positions_of
from headstart.localization.feature_maps import MapEncoder, encode
from headstart.localization.training_views import random_crop
from headstart.metrics.localization_metrics import LocatedBoxes, box_iou
from headstart.store.localizations import LocalizerEpoch

ENCODER_RATE = 0.1
"""Learning rate of a backbone that isn't frozen, relative to the decoder's, which starts anew."""

CLIP_NORM = 1.0


@dataclass(frozen=True)
class BoxedImages:
    """Images with at least one box each.

    pixels: [N, S, S, 3] uint8. boxes: of each image [G, 4] in px.
    """

    pixels: np.ndarray
    boxes: list[np.ndarray]

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def side(self) -> int:
        return self.pixels.shape[1]

    @property
    def padded_boxes(self) -> np.ndarray:
        """The boxes as one array [N, G, 4], NaN behind each image's last one."""
        padded = np.full((len(self), max(map(len, self.boxes)), 4), np.nan)
        for row, own in zip(padded, self.boxes, strict=True):
            row[: len(own)] = own
        return padded


Draw = Callable[[np.ndarray, np.random.Generator], tuple[Tensor, list[np.ndarray]]]
"""Maps positions of training images [B] to the network's input for a view of each, and the
positions [G, 4] of the objects in it."""


class TrainedLocalizer(NamedTuple):
    """A localizer with the weights of its best epoch, and its curve.

    tune, val: what it emits there, with scores and still without a threshold.
    """

    epoch: int
    curve: list[LocalizerEpoch]
    tune: LocatedBoxes
    val: LocatedBoxes


def train_localizer(
    encoder: MapEncoder,
    train: BoxedImages,
    tune: BoxedImages,
    val: BoxedImages,
    settings: Localize,
    device: torch.device,
    class_id: str,
) -> TrainedLocalizer:
    """Trains a localizer on `train`; the epoch with the least loss on `tune` is kept.

    encoder: on `device`; it stays as it is. val: only predicted, with the weights that were kept.

    Raises:
        UserError: the views of a frozen backbone don't fit the memory, or the boxes became infinite
            or NaN.
    """
    torch.manual_seed(settings.seed)
    rng = np.random.default_rng(settings.seed)
    decoder = BoxDecoder(
        encoder.map_shape, settings.steps, settings.channels, settings.hidden, settings.dropout
    )
    if settings.frozen:
        network: nn.Module = decoder.to(device)
        draw, inputs = _frozen_inputs(encoder, train, (tune, val), settings, rng, device, class_id)
        groups = [{"params": [*decoder.parameters()]}]
    else:
        encoder = deepcopy(encoder).requires_grad_(True)
        network = nn.Sequential(encoder, decoder).to(device)
        draw, inputs = _trained_inputs(encoder, train, (tune, val))
        rate = ENCODER_RATE * settings.learning_rate
        groups = [
            {"params": [*encoder.parameters()], "lr": rate},
            {"params": [*decoder.parameters()]},
        ]
    optimizer = torch.optim.AdamW(
        groups, lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    # At least two images per batch, as batch normalization needs.
    batches = max(1, len(train) // settings.batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.epochs * batches)
    tune_truths = [positions_of(boxes, tune.side) for boxes in tune.boxes]

    curve: list[LocalizerEpoch] = []
    best = (0, float("inf"), network.state_dict())
    with tqdm(total=settings.epochs, desc=class_id, unit="epoch", leave=False) as bar:
        for epoch in range(1, settings.epochs + 1):
            network.train()
            losses = []
            for rows in np.array_split(rng.permutation(len(train)), batches):
                images, truths = draw(rows, rng)
                candidates = network(images.to(device))
                _check_finite(candidates, epoch, class_id)
                loss = localization_loss(candidates, truths, settings.position_weight)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                nn.utils.clip_grad_norm_(network.parameters(), CLIP_NORM)
                optimizer.step()
                schedule.step()
                losses.append(loss.item() * len(rows))
            candidates = predict(network, inputs[0], settings.batch_size, device)
            _check_finite(candidates, epoch, class_id)
            tune_loss = localization_loss(candidates, tune_truths, settings.position_weight).item()
            row = LocalizerEpoch(
                class_id,
                epoch,
                sum(losses) / len(train),
                tune_loss,
                _first_iou(_located(candidates, tune)),
            )
            curve.append(row)
            if tune_loss < best[1]:
                best = (epoch, tune_loss, deepcopy(network.state_dict()))
            bar.set_postfix(tune_iou=f"{row.tune_iou:.3f}", refresh=False)
            bar.update()
    network.load_state_dict(best[2])
    located = [
        _located(predict(network, of_split, settings.batch_size, device), images)
        for of_split, images in zip(inputs, (tune, val), strict=True)
    ]
    return TrainedLocalizer(best[0], curve, *located)


@torch.inference_mode()
def predict(
    network: nn.Module, inputs: Tensor, batch_size: int, device: torch.device
) -> Candidates:
    """Returns the candidates for inputs [N, ...], on the host."""
    network.eval()
    batches = [network(batch.to(device)) for batch in inputs.split(batch_size)]
    return Candidates(*(torch.cat(parts).cpu() for parts in zip(*batches, strict=True)))


def _check_finite(candidates: Candidates, epoch: int, class_id: str) -> None:
    if not all(values.isfinite().all() for values in candidates):
        raise UserError(
            f"localize.learning_rate: in epoch {epoch} of {class_id} the boxes became infinite or "
            f"NaN; lower it"
        )


def _frozen_inputs(
    encoder: MapEncoder,
    train: BoxedImages,
    others: tuple[BoxedImages, ...],
    settings: Localize,
    rng: np.random.Generator,
    device: torch.device,
    label: str,
) -> tuple[Draw, list[Tensor]]:
    """Returns a function that draws encoded views of train, and the other images, encoded."""
    count = settings.views * len(train)
    require_memory(
        f"localize.views: {settings.views} views of each of {len(train)} images",
        2 * count * prod(encoder.map_shape),
        machine_memory(),
    )
    total = count + sum(map(len, others))
    views, truths = [], []
    with tqdm(total=total, desc=f"{label}, feature maps", unit="image", leave=False) as bar:
        for view in range(settings.views):
            shown = list(zip(train.pixels, train.boxes, strict=True))
            if view > 0:
                shown = [random_crop(pixels, boxes, rng) for pixels, boxes in shown]
            views.append(encode(encoder, [pixels for pixels, _ in shown], device, bar))
            truths.append([positions_of(boxes, len(pixels)) for pixels, boxes in shown])
        inputs = [encode(encoder, list(images.pixels), device, bar) for images in others]

    def draw(rows: np.ndarray, rng: np.random.Generator) -> tuple[Tensor, list[np.ndarray]]:
        drawn = list(zip(rng.integers(settings.views, size=len(rows)), rows, strict=True))
        maps = torch.stack([views[view][row] for view, row in drawn])
        return maps, [truths[view][row] for view, row in drawn]

    return draw, inputs


def _trained_inputs(
    encoder: MapEncoder, train: BoxedImages, others: tuple[BoxedImages, ...]
) -> tuple[Draw, list[Tensor]]:
    """Returns a function that makes random views of train, and the other images, whole."""

    def draw(rows: np.ndarray, rng: np.random.Generator) -> tuple[Tensor, list[np.ndarray]]:
        shown = [random_crop(train.pixels[row], train.boxes[row], rng) for row in rows]
        truths = [positions_of(boxes, len(pixels)) for pixels, boxes in shown]
        return encoder.resize_all([pixels for pixels, _ in shown]), truths

    return draw, [encoder.resize_all(list(images.pixels)) for images in others]


def _located(candidates: Candidates, images: BoxedImages) -> LocatedBoxes:
    boxes = boxes_of(candidates.positions.double().numpy(), images.side)
    scores = stopped_confidences(candidates.confidence_logits).numpy()
    return LocatedBoxes(images.padded_boxes, boxes, scores)


def _first_iou(located: LocatedBoxes) -> float:
    """Returns the mean over images of the IoU of the first box with the nearest object."""
    return float(box_iou(located.truths, located.boxes[:, :1]).max(1).mean())
