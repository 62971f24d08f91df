"""Classifies the files of a folder or .zip: a few hundred at a time, so that memory stays flat."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from headstart.core.thread_map import prefetch, thread_map
from headstart.data.decoding import UnreadableImageError, decode
from headstart.data.files.file_tree import FileTree, is_image
from headstart.data.resizing import pixel_digest, to_square
from headstart.inference.trained_model import SquareBatch, TrainedModel
from headstart.packaging.model_description import ImageRule
from headstart.store.examples import ClassLabel

BLOCK_BYTES = 1 << 26
"""Bytes of pixels in a block; two are in memory, one that is read and one that is computed."""

BLOCK_IMAGES = 1024
"""Number of images in a block at most."""


class ImagePrediction(NamedTuple):
    """What a model predicts for one file.

    label: the likeliest class. probability: its calibrated probability. candidates: the classes of
    the conformal set, the likeliest first; `label` is always among them. familiarity: in percent,
    see `familiarity`; None if the model doesn't know it. problem: why the file couldn't be read;
    the other fields then keep their defaults.
    """

    label: ClassLabel | None = None
    probability: float = 0.0
    candidates: Sequence[ClassLabel] = ()
    familiarity: float | None = None
    problem: str = ""


Square = np.ndarray | UnreadableImageError


def classify_files(
    model: TrainedModel, source: FileTree, names: Sequence[str], cache: Path | None
) -> Iterator[ImagePrediction]:
    """Yields the prediction for each of `names`, in order; a progress bar counts them.

    What was computed is cached, so that an interrupted run goes on when it is started again.

    cache: the folder of all caches; None keeps nothing.

    Raises:
        UserError: as `TrainedModel.logits`; never because of a file.
    """
    rule = model.description.image
    batches = min(BLOCK_IMAGES, BLOCK_BYTES // (3 * rule.side**2)) // model.batch_size
    size = max(1, batches) * model.batch_size
    blocks = [names[start : start + size] for start in range(0, len(names), size)]
    with tqdm(total=len(names), desc=model.description.name, unit="image") as bar:
        for squares in prefetch(_read_block(source, block, rule) for block in blocks):
            readable = [square for square in squares if isinstance(square, np.ndarray)]
            predictions = predict_squares(model, readable, cache) if readable else iter(())
            for square in squares:
                yield (
                    ImagePrediction(problem=str(square))
                    if isinstance(square, UnreadableImageError)
                    else next(predictions)
                )
            bar.update(len(squares))


def _read_block(source: FileTree, names: Sequence[str], rule: ImageRule) -> list[Square]:
    """Reads files; one that can't be read, or isn't called like an image, gives the error."""

    def read(name: str) -> Square:
        if not is_image(name):
            return UnreadableImageError("its name doesn't end as an image's does (.jpg, .png, …)")
        try:
            return to_square(decode(source.read(name), rule.max_pixels), rule.side, rule.fit)
        except UnreadableImageError as error:
            return error

    return list(thread_map(read, names, "reading"))


def predict_squares(
    model: TrainedModel, squares: Sequence[np.ndarray], cache: Path | None
) -> Iterator[ImagePrediction]:
    """Yields the prediction for each of `squares`, of [S, S, 3] uint8."""
    digests = [np.frombuffer(pixel_digest(square), np.uint8) for square in squares]
    batch = SquareBatch(np.stack(squares), np.array(digests))
    logits, familiarity = model.outputs(batch, cache)
    raw = model.probabilities(logits)
    calibrated = model.calibrated(raw).max(axis=1)
    classes = model.description.labels
    order = np.argsort(-raw, axis=1, kind="stable")
    sets = model.candidates(raw)
    for i, ranked in enumerate(order):
        candidates = [classes[c] for c in ranked if sets[i, c]]
        percent = None if familiarity is None else float(familiarity[i])
        yield ImagePrediction(candidates[0], float(calibrated[i]), candidates, percent)
