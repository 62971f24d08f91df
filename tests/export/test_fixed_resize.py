"""Constant matrices resize as torch does, to the bit."""

import numpy as np
import pytest
import torch

from headstart.backbones.loading import Preprocessing
from headstart.export.fixed_resize import FixedDownscale, FixedResize
from headstart.inference.central_crop import CentralCrop
from headstart.runtime.normalized_network import resize_pixels
from headstart.training.image_transforms import InputSpec, downscale


def noise(side: int) -> np.ndarray:
    return np.random.default_rng(side).integers(0, 256, (3, side, side, 3), dtype=np.uint8)


def planes(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float()


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("side", "size"), [(299, 64), (128, 64), (100, 64), (56, 64), (64, 224)])
def test_fixed_resize_is_the_runtimes(side: int, size: int, interpolation) -> None:
    pixels = noise(side)
    preprocessing = Preprocessing(size, interpolation, (0, 0, 0), (1, 1, 1))
    expected = planes(resize_pixels(pixels, preprocessing))
    assert torch.equal(FixedResize(side, size, interpolation)(planes(pixels)), expected)


@pytest.mark.parametrize(("side", "size"), [(299, 64), (128, 64), (100, 64)])
def test_fixed_downscale_is_trainings(side: int, size: int) -> None:
    pixels = noise(side)
    expected = planes(downscale(torch.from_numpy(pixels), size).numpy())
    difference = (FixedDownscale(side, size, "bilinear")(planes(pixels)) - expected).abs()
    assert difference.max() <= 1
    assert (difference > 0).float().mean() < 1e-4  # halves may be rounded either way


@pytest.mark.parametrize("crop", [1.0, 0.875, 0.8])
@pytest.mark.parametrize("side", [64, 40, 51])
def test_central_crop_is_the_transform_of_evaluation(side: int, crop: float) -> None:
    spec = InputSpec(56, crop, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    pixels = noise(side)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (spec.mean, spec.std))
    expected = spec.eval_transform(torch.from_numpy(pixels))
    normalized = (planes(pixels) / 255 - mean) / std
    torch.testing.assert_close(CentralCrop(side, spec)(normalized), expected, rtol=0, atol=1e-4)
