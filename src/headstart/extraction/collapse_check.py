"""Collapsed features: a network that gives one vector whatever it is shown, or no numbers."""

import numpy as np

from headstart.core.errors import UserError

UNLIKE = 8.0
"""Mean difference of two images' pixels, of 255, from which on they are different to anyone. Less,
as between two black frames, can get lost in a network that computes in eight bits."""

ENOUGH = 4
"""So many images unlike the first, all with its features, are no accident."""

ADVICE = "look at its mean, std, weights and precision"


def check_finite(name: str, rows: np.ndarray) -> None:
    """Raises UserError where features [B, D] of the backbone `name` aren't finite numbers."""
    if not np.isfinite(rows).all():
        raise UserError(f"{name} gives features that are not finite numbers; {ADVICE}")


class CollapseDetector:
    """Looks for it in the rows of the backbone `name`, from the first on until two differ."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.possible = True
        self.first: tuple[np.ndarray, np.ndarray] | None = None
        self.unlike = 0

    def check(self, images: np.ndarray, rows: np.ndarray) -> None:
        """Of images [B, s, s, 3] uint8 the features [B, D], as they are to be cached.

        Raises:
            UserError: different images had the same features, and no others yet.
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
            self.unlike += int((difference >= UNLIKE).sum())
            if self.unlike >= ENOUGH:
                raise UserError(f"{self.name} gives different images the same features; {ADVICE}")
