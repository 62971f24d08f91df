"""How far an exported model agrees with the one that it was exported from."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import numpy as np
from scipy.special import softmax
from tqdm import tqdm

from headstart.core.flower_photographs import sample_photographs
from headstart.data.resizing import pixel_digest, to_square
from headstart.inference.trained_model import SquareBatch, TrainedModel
from headstart.metrics.classification_metrics import wilson_interval
from headstart.store.images import Images

PARITY_IMAGES = 64
CALIBRATION_IMAGES = 300

PHOTOGRAPH_STRIDE = 8
"""Of 500 embedded photographs, every eighth is used."""

BLOCK = 64
"""Images computed at once."""

CONFIDENCE = 0.95

TIE = 1e-3
"""Difference of two logits up to which two classes are taken for equally likely."""

Exported = Callable[[np.ndarray], np.ndarray]
"""An exported model, from pixels [N, S, S, 3] uint8 to logits [N, C] float32."""


@dataclass(frozen=True)
class Accuracy:
    """Top-1 on n labeled images of val, with Wilson's interval at 95 %."""

    top1: float
    low: float
    high: float
    n: int

    @classmethod
    def of(cls, logits: np.ndarray, labels: np.ndarray) -> "Accuracy":
        """Returns the accuracy of logits [N, C] on labels [N]."""
        hits, n = np.array([(logits.argmax(1) == labels).sum()]), np.array([len(labels)])
        [low], [high] = wilson_interval(hits, n, CONFIDENCE)
        return cls(float(hits[0] / n[0]), float(low), float(high), len(labels))

    def __str__(self) -> str:
        return f"{self.top1:.1%} [{self.low:.1%}, {self.high:.1%}]"


@dataclass(frozen=True)
class Parity:
    """The comparison of an exported model with ours.

    images: what the logits were compared on. largest_difference: of two logits. ours, exported: on
    val, None where its images are not at hand. other_classes: number of val images for which the
    two name different classes, ties of ours aside.
    """

    images: str
    largest_difference: float
    ours: Accuracy | None = None
    exported: Accuracy | None = None
    other_classes: int = 0

    def __str__(self) -> str:
        line = f"largest difference of logits over {self.images}: {self.largest_difference:.2g}"
        if self.ours is None or self.exported is None:
            return f"{line}; accuracies not measured: the images of val are not at hand"
        points = 100 * (self.exported.top1 - self.ours.top1)
        return (
            f"{line}; top-1 on val (n = {self.ours.n:,}): {self.exported} exported, {self.ours} "
            f"here, {points:+.1f} points; another class for {self.other_classes} images"
        )


def compare_with_ours(
    model: TrainedModel, exported: Exported, images: Images | None, cache: Path | None
) -> Parity:
    """Compares an exported model with `model`.

    images: those that the model was trained on, for tune and val; None if they are not at hand:
    then crops of the embedded photographs are compared. cache: the folder of
    all caches.

    Raises:
        UserError: as `TrainedModel.logits`.
    """
    if images is None:
        squares = photograph_squares(model, PARITY_IMAGES)
        difference = np.abs(exported(squares) - our_logits(model, squares, cache)).max()
        return Parity(f"{len(squares)} crops of photographs", float(difference))
    tune = images.rows("tune")[:PARITY_IMAGES]
    squares = images.pixels[tune]
    difference = np.abs(exported(squares) - our_logits(model, squares, cache)).max()
    rows, theirs, ours = images.rows("val"), [], []
    for start in tqdm(range(0, len(rows), BLOCK), "comparing on val", unit="block", delay=1):
        squares = images.pixels[rows[start : start + BLOCK]]
        theirs.append(exported(squares))
        ours.append(our_logits(model, squares, cache))
    theirs, ours = np.concatenate(theirs), np.concatenate(ours)
    labels = images.examples.labels[rows]
    lead = ours.max(axis=1) - ours[np.arange(len(ours)), theirs.argmax(axis=1)]
    return Parity(
        f"{len(tune)} tune images",
        float(difference),
        Accuracy.of(ours, labels),
        Accuracy.of(theirs, labels),
        int((lead > TIE).sum()),
    )


def our_logits(model: TrainedModel, squares: np.ndarray, cache: Path | None) -> np.ndarray:
    """Returns the logits [N, C] as `PredictionGraph` defines them, of [N, S, S, 3] uint8."""
    digests = [np.frombuffer(pixel_digest(square), np.uint8) for square in squares]
    logits = model.outputs(SquareBatch(squares, np.array(digests)), cache).logits  # [N, V, C]
    if logits.shape[1] == 1:
        return logits[:, 0]
    averaged = softmax(logits.astype(np.float64), axis=-1).mean(axis=1)
    return np.log(np.maximum(averaged, np.finfo(np.float32).tiny)).astype(np.float32)


def photograph_squares(model: TrainedModel, count: int) -> np.ndarray:
    """Returns crops of embedded photographs as the model takes them: [count, S, S, 3] uint8."""
    rng = np.random.default_rng(0)
    squares: list[np.ndarray] = []
    for pixels in cycle(sample_photographs(PHOTOGRAPH_STRIDE)):
        side = int(min(pixels.shape[:2]) * rng.uniform(0.2, 1))
        top, left = (rng.integers(length - side + 1) for length in pixels.shape[:2])
        crop = pixels[top : top + side, left : left + side]
        squares.append(to_square(crop, model.description.image.side, "crop"))
        if len(squares) == count:
            break
    return np.stack(squares)
