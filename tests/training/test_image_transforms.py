"""Ranges and geometry of the transforms of training images."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.config import Augmentation
from headstart.training.image_transforms import (
    InputSpec,
    adjust_light,
    channel_statistics,
    downscale,
)

RAW = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
fractions = st.floats(0, 1)


def images(side: int = 16, batch: int = 6, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (batch, side, side, 3), dtype=torch.uint8, generator=generator)


def as_uint8(x: torch.Tensor) -> torch.Tensor:
    """Converts [B, 3, H, W] in [0, 1] to [B, H, W, 3] uint8."""
    return (x * 255).round().byte().permute(0, 2, 3, 1)


@given(
    side=st.integers(8, 24),
    crop=st.floats(0.3, 1),
    size=st.integers(4, 24),
    seed=st.integers(0, 99),
    augmentation=st.builds(
        Augmentation,
        flip=fractions,
        probability=fractions,
        translation=st.floats(0, 0.9),
        rotation=st.floats(0, 180),
        brightness=fractions,
        contrast=st.tuples(st.floats(0.1, 1), st.floats(1, 4)),
        gamma=st.tuples(st.floats(0.1, 1), st.floats(1, 4)),
    ),
)
@settings(max_examples=60, deadline=None)
def test_returns_pixels_of_the_requested_size(side, crop, size, seed, augmentation):
    torch.manual_seed(seed)
    spec = InputSpec(size, crop, **RAW)
    for x in (spec.train_transform(images(side), augmentation), spec.eval_transform(images(side))):
        assert x.shape == (6, 3, size, size)
        assert x.dtype == torch.float32
        assert x.isfinite().all()
        assert x.min() >= 0
        assert x.max() <= 1


@given(seed=st.integers(0, 999), flip=st.sampled_from([0.0, 1.0]))
@settings(max_examples=30, deadline=None)
def test_a_random_crop_is_a_window_of_the_image(seed, flip):
    torch.manual_seed(seed)
    source = images(16, batch=1)
    cut = as_uint8(InputSpec(14, 14 / 16, **RAW).train_transform(source, Augmentation(flip=flip)))[
        0
    ]
    if flip:
        cut = cut.flip(1)
    windows = [source[0, y : y + 14, x : x + 14] for y in range(3) for x in range(3)]
    assert sum(torch.equal(cut, window) for window in windows) == 1


def test_every_window_occurs():
    torch.manual_seed(0)
    source = images(16, batch=1).expand(200, -1, -1, -1)
    cuts = as_uint8(InputSpec(14, 14 / 16, **RAW).train_transform(source, Augmentation()))
    assert len(cuts.flatten(1).unique(dim=0)) == 9


def test_the_center_is_56_of_64():
    source = images(64)
    center = as_uint8(InputSpec(56, 56 / 64, **RAW).eval_transform(source))
    assert torch.equal(center, source[:, 4:60, 4:60])


@given(translation=st.floats(0, 0.5), seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_translation_stays_in_its_range(translation, seed):
    """The value of a ramp at its center shows how far it was moved."""
    torch.manual_seed(seed)
    ramp = torch.arange(64, dtype=torch.uint8).view(1, 1, 64, 1).expand(20, 64, 64, 3)
    changes = Augmentation(probability=1, translation=translation)
    moved = (
        as_uint8(InputSpec(64, 1.0, **RAW).train_transform(ramp, changes))[:, 32, 32, 0].int() - 32
    )
    assert moved.abs().max() <= round(translation * 64)


def test_half_a_turn_mirrors_both_axes():
    source = images()
    torch.manual_seed(0)
    angles = torch.full((6,), 180.0).deg2rad()
    spec = InputSpec(16, 1.0, **RAW)
    turned = spec._crop(source, 16, torch.zeros(6, 2), angles, torch.zeros(6).bool())
    assert torch.equal(as_uint8(turned), source.flip(1, 2))


@given(
    contrast=st.floats(0.9, 1.08), gamma=st.floats(0.9, 1.08), brightness=st.floats(-0.125, 0.125)
)
@settings(max_examples=30, deadline=None)
def test_adjust_light_follows_its_definition(contrast, gamma, brightness):
    x = images(8, batch=1).permute(0, 3, 1, 2).double() / 255
    values = (torch.tensor([v], dtype=torch.float64) for v in (brightness, contrast, gamma))
    brighter = (x + brightness).clip(0, 1)
    mean = brighter.mean((2, 3), keepdim=True)
    expected = (mean + contrast * (brighter - mean)).clip(0, 1) ** gamma
    torch.testing.assert_close(adjust_light(x, *values), expected)


@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_each_image_is_changed_with_the_stated_probability(probability):
    torch.manual_seed(0)
    source = images(4, batch=1).expand(2000, -1, -1, -1)
    changes = Augmentation(probability=probability, contrast=(0.5, 0.9))
    transformed = as_uint8(InputSpec(4, 1.0, **RAW).train_transform(source, changes))
    changed = (transformed != source).flatten(1).any(dim=1).double().mean().item()
    assert changed == pytest.approx(probability, abs=0.04)


def test_normalizes_to_mean_0_and_deviation_1():
    source = images(32, batch=20)
    mean, std = channel_statistics(source)
    x = InputSpec(32, 1.0, mean, std).eval_transform(source)
    torch.testing.assert_close(x.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(x.std((0, 2, 3), correction=0), torch.ones(3), atol=1e-4, rtol=0)


def test_only_large_images_are_downscaled():
    assert downscale(images(32), 16).shape == (6, 16, 16, 3)
    for side in (16, 32):
        assert torch.equal(downscale(images(16), side), images(16))
    flat = torch.full((1, 33, 33, 3), 77, dtype=torch.uint8)
    assert (downscale(flat, 10) == 77).all()
