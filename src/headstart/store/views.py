"""Views: descriptions of how an image is cropped, mirrored and changed in color for a network.

A view does not depend on the image's size: the same corner crop cuts 56 of 64 px and 262 of 299.
"""

from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import Literal, get_args

import numpy as np

Crop = Literal["whole", "top_left", "top_right", "bottom_left", "bottom_right"]
CROPS: tuple[Crop, ...] = get_args(Crop)

CORNER_SIDE = 7 / 8
"""Ratio of a corner crop's side to the image's: 56 of 64 px (Milani, section 4.2)."""

MAX_BRIGHTNESS = 32 / 255
CONTRAST_RANGE = (0.5, 1.5)
"""Ranges for augmented views: those of Inception-v3's training, as Milani's paper gives none."""


@dataclass(frozen=True)
class View:
    """One way to crop, mirror and change an image.

    crop: the whole image or a corner. mirrored: left to right. brightness: added to pixels in
    [0, 1]. contrast: factor on the distance from each channel's mean, applied after brightness, in
    the order of Milani's description.
    """

    crop: Crop = "whole"
    mirrored: bool = False
    brightness: float = 0.0
    contrast: float = 1.0

    @cached_property
    def name(self) -> str:
        """A name that identifies the view; it is a part of the keys of cached rows."""
        brightness = self.brightness + 0.0  # -0.0 equals 0.0, so it needs the same name
        jitter = f"+b{brightness!r}c{self.contrast!r}" if self.jittered else ""
        return f"{self.crop}{'+mirror' if self.mirrored else ''}{jitter}"

    @property
    def jittered(self) -> bool:
        """Whether brightness or contrast is changed."""
        return (self.brightness, self.contrast) != (0.0, 1.0)


WHOLE = View()

TEN_CROP: tuple[View, ...] = tuple(
    View(crop, mirrored) for mirrored in (False, True) for crop in CROPS
)
"""The whole image, its four corner crops, and their mirror images (Milani, section 4.2)."""


def random_view(image_digest: bytes, index: int) -> View:
    """Returns the `index`-th random view of an image; the same on every machine.

    The view is whole or a corner crop, mirrored or not, with random brightness and contrast
    (Milani, transfer learning v3, section 4.2; mirroring as in his section 3.3).

    image_digest: of the image's pixels.
    """
    seed = int.from_bytes(
        blake2b(image_digest + index.to_bytes(4, "little")).digest()[:8], "little"
    )
    rng = np.random.default_rng(seed)
    return View(
        crop=CROPS[rng.integers(len(CROPS))],
        mirrored=bool(rng.integers(2)),
        # Rounded so that the view's name is short and can be stored as text without loss.
        brightness=round(float(rng.uniform(-MAX_BRIGHTNESS, MAX_BRIGHTNESS)), 4),
        contrast=round(float(rng.uniform(*CONTRAST_RANGE)), 4),
    )
