"""Images that can hardly be classified as they are: near black, flat, tiny, or of an odd shape."""

from typing import NamedTuple

import numpy as np
from PIL import Image

from headstart.core.thread_map import thread_map
from headstart.store.images import Images

THUMBNAIL = 32
"""Pixels per side of a thumbnail."""

BLOCK = 256
"""Images read at a time."""

DARK = 32
"""An image is near black if 99 % of its thumbnail's gray values are below this; 255 is white."""

FLAT = 6
"""An image is flat if the standard deviation of its thumbnail's gray values is below this."""

TINY = 32
"""An image is tiny if its shorter side has fewer pixels, and fewer than half of the dataset's
median."""

ODD_SHAPE = 3.0
"""An image has an odd shape if its longer side is more than so many times its shorter one."""

FEW_IMAGES = 20
"""A class has few images if its training images are fewer than this, or than a tenth of the median
class's."""


class ImageProblem(NamedTuple):
    """position: of the image. score: the higher, the worse."""

    position: int
    score: float


def make_thumbnails(images: Images, rows: np.ndarray) -> np.ndarray:
    """Returns gray thumbnails [R, S, S] uint8, S = `THUMBNAIL`, of the images at `rows` [R].

    rows: ascending.
    """
    blocks = [rows[start : start + BLOCK] for start in range(0, len(rows), BLOCK)]

    def reduce(block: np.ndarray) -> np.ndarray:
        return np.stack(
            [
                np.asarray(Image.fromarray(pixels).convert("L").resize((THUMBNAIL, THUMBNAIL)))
                for pixels in images.pixels[block]
            ]
        )

    thumbnails = list(thread_map(reduce, blocks, "looking at images"))
    return np.concatenate(thumbnails) if thumbnails else np.empty((0, THUMBNAIL, THUMBNAIL), "u1")


def dark_images(thumbnails: np.ndarray) -> list[ImageProblem]:
    """Returns the near black among thumbnails [N, S, S]; score: 1 - the 99th percentile / 255."""
    brightest = _brightest(thumbnails)
    return [
        ImageProblem(int(i), 1 - float(brightest[i]) / 255)
        for i in np.flatnonzero(brightest < DARK)
    ]


def flat_images(thumbnails: np.ndarray) -> list[ImageProblem]:
    """Returns the flat ones that aren't dark; score: 1 - standard deviation / `FLAT`."""
    deviation = thumbnails.reshape(len(thumbnails), -1).std(axis=1, dtype=np.float32)
    return [
        ImageProblem(int(i), 1 - float(deviation[i]) / FLAT)
        for i in np.flatnonzero((deviation < FLAT) & (_brightest(thumbnails) >= DARK))
    ]


def _brightest(thumbnails: np.ndarray) -> np.ndarray:
    """Returns the 99th percentile of each thumbnail's gray values: [N]."""
    return np.percentile(thumbnails.reshape(len(thumbnails), -1), 99, axis=1)


def tiny_images(sizes: np.ndarray) -> list[ImageProblem]:
    """Returns the tiny images; score: 1 / pixels of the shorter side. sizes: [N, 2] px."""
    shorter = sizes.min(axis=1)
    tiny = shorter < min(TINY, np.median(shorter) / 2)
    return [ImageProblem(int(i), 1 / float(shorter[i])) for i in np.flatnonzero(tiny)]


def odd_shapes(sizes: np.ndarray) -> list[ImageProblem]:
    """Returns the images of an odd shape; score: longer / shorter side. sizes: [N, 2] px."""
    ratio = sizes.max(axis=1) / sizes.min(axis=1)
    return [ImageProblem(int(i), float(ratio[i])) for i in np.flatnonzero(ratio > ODD_SHAPE)]


def small_classes(labels: np.ndarray, classes: int) -> list[tuple[int, int]]:
    """Returns the classes with few training images, each with their number.

    labels: [N], of train. classes: the number of classes.
    """
    counts = np.bincount(labels, minlength=classes)
    few = counts < max(FEW_IMAGES, np.median(counts) / 10)
    return [(int(c), int(counts[c])) for c in np.flatnonzero(few)]
