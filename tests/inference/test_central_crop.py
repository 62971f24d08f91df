import pytest
import torch

from headstart.inference.central_crop import CentralCrop
from headstart.training.image_transforms import InputSpec


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("side", "size", "crop"), [(40, 28, 0.875), (24, 60, 1.0), (31, 31, 1.0)])
def test_it_is_the_crop_that_training_evaluates_with(
    side: int, size: int, crop: float, interpolation: str
):
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)
    spec = InputSpec(size, crop, mean, std, interpolation)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (4, side, side, 3), dtype=torch.uint8, generator=generator)
    expected = spec.eval_transform(images)
    channels = [torch.tensor(values).view(3, 1, 1) for values in (mean, std)]
    normalized = (images.permute(0, 3, 1, 2) / 255 - channels[0]) / channels[1]
    torch.testing.assert_close(CentralCrop(side, spec)(normalized), expected, atol=2e-5, rtol=0)
