"""Views: the crops, mirrorings and random changes under which a network sees one image.

A view is data, and it never names pixels of a certain size: the same view cuts 56 of 64 px and 262
of 299.
"""

from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal, get_args

import numpy as np

Crop = Literal["whole", "top_left", "top_right", "bottom_left", "bottom_right"]
CROPS: tuple[Crop, ...] = get_args(Crop)

CORNER_SIDE = 7 / 8
"""Side of a corner crop over the image's: 56 of 64 px (Milani, section 4.2)."""

MAX_BRIGHTNESS = 32 / 255
CONTRAST_RANGE = (0.5, 1.5)
"""Of augmented views. Milani's paper gives no numbers; these are Inception-v3's own training's."""


@dataclass(frozen=True)
class View:
    """How to look at an image.

    brightness: added to pixels in [0, 1]. contrast: factor on the distance from each channel's
    mean. The order is Milani's description's: brightness, then contrast.
    """

    crop: Crop = "whole"
    mirrored: bool = False
    brightness: float = 0.0
    contrast: float = 1.0

    @property
    def name(self) -> str:
        """Equal for equal views, different for different ones; it addresses cached rows."""
        light = f"+b{self.brightness!r}c{self.contrast!r}" if self.jittered else ""
        return f"{self.crop}{'+mirror' if self.mirrored else ''}{light}"

    @property
    def jittered(self) -> bool:
        return (self.brightness, self.contrast) != (0.0, 1.0)


WHOLE = View()

TEN_CROP: tuple[View, ...] = tuple(
    View(crop, mirrored) for mirrored in (False, True) for crop in CROPS
)
"""The whole image, its four corner crops, and their mirror images (Milani, section 4.2)."""


def random_view(image_digest: bytes, index: int) -> View:
    """The `index`-th random view of the image with this digest: the same on every machine.

    Whole or a corner crop, mirrored or not, with random brightness and contrast (Milani, transfer
    learning v3, section 4.2; mirroring as in his section 3.3).
    """
    seed = int.from_bytes(
        blake2b(image_digest + index.to_bytes(4, "little")).digest()[:8], "little"
    )
    rng = np.random.default_rng(seed)
    return View(
        crop=CROPS[rng.integers(len(CROPS))],
        mirrored=bool(rng.integers(2)),
        # Rounded so that a view's name is short and survives a text file.
        brightness=round(float(rng.uniform(-MAX_BRIGHTNESS, MAX_BRIGHTNESS)), 4),
        contrast=round(float(rng.uniform(*CONTRAST_RANGE)), 4),
    )
