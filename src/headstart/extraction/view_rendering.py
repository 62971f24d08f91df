"""Renders a view of an image: crops, changes brightness and contrast, mirrors."""

import numpy as np

from headstart.store.views import CORNER_SIDE, Crop, View


def crop_box(crop: Crop, side: int) -> tuple[int, int, int]:
    """Returns the top, left and side in px of a crop from an image of `side` px."""
    if crop == "whole":
        return 0, 0, side
    crop_side = round(side * CORNER_SIDE)
    top = side - crop_side if crop.startswith("bottom") else 0
    left = side - crop_side if crop.endswith("right") else 0
    return top, left, crop_side


def render_view(pixels: np.ndarray, view: View) -> np.ndarray:
    """Returns the view of an image [S, S, 3] uint8 as [s, s, 3] uint8."""
    top, left, side = crop_box(view.crop, pixels.shape[0])
    rendered = pixels[top : top + side, left : left + side]
    if view.jittered:
        rendered = _jitter(rendered, view)
    # Mirrored last: the mean over mirrored pixels would be summed in another order and round
    # differently.
    return rendered[:, ::-1] if view.mirrored else rendered


def _jitter(pixels: np.ndarray, view: View) -> np.ndarray:
    values = pixels / np.float32(255) + np.float32(view.brightness)
    mean = values.mean(axis=(0, 1))
    values = (values - mean) * np.float32(view.contrast) + mean
    return (values.clip(0, 1) * 255).round().astype(np.uint8)
