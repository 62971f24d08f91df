"""Random crops of training images, with the boxes in them."""

import numpy as np

SMALLEST_CROP = 0.7
"""Side of the smallest crop, relative to the image's."""

LEAST_VISIBLE = 0.5
"""Share of each object's box that a crop has to show."""

TRIES = 10


def random_crop(
    pixels: np.ndarray, boxes: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Returns a square crop of [S, S, 3], every second one mirrored, and what it shows of `boxes`.

    Of every box at least half is in it; where ten random crops show less, it is the whole image.
    The boxes [G, 4] are in px of the crop [s, s, 3], clipped to it.
    """
    whole = len(pixels)
    for _ in range(TRIES):
        side = int(rng.integers(round(SMALLEST_CROP * whole), whole, endpoint=True))
        left, top = rng.integers(0, whole - side, size=2, endpoint=True)
        shown = (boxes - [left, top, left, top]).clip(0, side)
        if (_areas(shown) >= LEAST_VISIBLE * _areas(boxes)).all():
            break
    else:
        left, top, side, shown = 0, 0, whole, boxes
    crop = pixels[top : top + side, left : left + side]
    if rng.random() < 0.5:
        crop = crop[:, ::-1]
        shown = np.stack([side - shown[:, 2], shown[:, 1], side - shown[:, 0], shown[:, 3]], axis=1)
    return np.ascontiguousarray(crop), shown


def _areas(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2:] - boxes[:, :2]).prod(1)
