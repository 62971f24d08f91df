"""Detection of useless features: the same vector for every image, or values that aren't finite."""

import numpy as np

from headstart.core.errors import UserError

MIN_PIXEL_DIFFERENCE = 8.0
"""Mean absolute difference of pixels (of 255) above which two images are clearly different. A
smaller
one, as between two black frames, may get lost in a network that computes in eight bits."""

MIN_DIFFERENT_IMAGES = 4
"""Number of images unlike the first that have its features, which rules out a coincidence."""

ADVICE = "look at its mean, std, weights and precision"


def check_finite(name: str, rows: np.ndarray) -> None:
    """Raises UserError if features [B, D] of the backbone `name` aren't finite numbers."""
    if not np.isfinite(rows).all():
        raise UserError(f"{name} gives features that are not finite numbers; {ADVICE}")


class CollapseDetector:
    """Checks the rows of the backbone `name`, until two rows differ."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.possible = True
        self.first: tuple[np.ndarray, np.ndarray] | None = None
        self.different_images = 0

    def check(self, images: np.ndarray, rows: np.ndarray) -> None:
        """Checks a batch of images [B, s, s, 3] uint8 and their features [B, D] in the cache's
        dtype.

        Raises:
            UserError: different images have the same features, and all rows so far are equal.
        """
        if not self.possible:
            return
        if self.first is None:
            self.first = images[0], rows[0]
        image, row = self.first
        if (rows != row).any():
            self.possible = False
            self.first = None
        elif images.shape[1:] == image.shape:
            difference = np.abs(images.astype(np.int16) - image).mean(axis=(1, 2, 3))
            self.different_images += int((difference >= MIN_PIXEL_DIFFERENCE).sum())
            if self.different_images >= MIN_DIFFERENT_IMAGES:
                raise UserError(f"{self.name} gives different images the same features; {ADVICE}")
