"""Cuts a view out of an image's pixels."""

import numpy as np

from headstart.store.views import CORNER_SIDE, Crop, View


def crop_box(crop: Crop, side: int) -> tuple[int, int, int]:
    """The square that `crop` cuts from an image of `side` px: its top, left and side in px."""
    if crop == "whole":
        return 0, 0, side
    cut_side = round(side * CORNER_SIDE)
    top = side - cut_side if crop.startswith("bottom") else 0
    left = side - cut_side if crop.endswith("right") else 0
    return top, left, cut_side


def render_view(pixels: np.ndarray, view: View) -> np.ndarray:
    """What `view` shows of an image [S, S, 3] uint8: [s, s, 3] uint8."""
    top, left, side = crop_box(view.crop, pixels.shape[0])
    part = pixels[top : top + side, left : left + side]
    if view.jittered:
        part = _jitter(part, view)
    # Last: a mean over mirrored pixels is added up in another order and rounds differently.
    return part[:, ::-1] if view.mirrored else part


def _jitter(pixels: np.ndarray, view: View) -> np.ndarray:
    light = pixels / np.float32(255) + np.float32(view.brightness)
    mean = light.mean(axis=(0, 1))
    light = (light - mean) * np.float32(view.contrast) + mean
    return (light.clip(0, 1) * 255).round().astype(np.uint8)
