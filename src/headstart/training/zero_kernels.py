"""A start for convolution kernels that are unknown, and so zero, within a pretrained network.

What follows such a kernel was trained on its outputs. Random values of the usual size give others:
the bias, or the batch normalization that was folded into the network, belongs to another mean, so
that the units behind it can be inactive for all images and never learn. Therefore the start depends
on data (Krähenbühl et al., "Data-dependent initializations of convolutional neural networks", 2016,
section 3.1), but with the mean of units that are seldom active.
"""

from typing import cast

import torch
from torch import Tensor, nn
from tqdm import tqdm

MEAN = -1.0
"""Mean of a unit before ReLU, in standard deviations. A unit is then active at a sixth of all
places, about as often as in networks that were trained with batch normalization and ReLU."""


@torch.no_grad()
def start_zero_kernels(network: nn.Module, inputs: Tensor, seed: int) -> None:
    """Gives trainable kernels of convolutions that are zero throughout a start to learn from.

    They are W ~ N(0, 2 / n) for n inputs (He et al., 2015, equation 10), scaled, and shifted by a
    constant of each unit. On `inputs` every unit, after bias and batch normalization and before
    ReLU, then has the mean `MEAN` and a standard deviation of about 1. All other weights stay.

    inputs: [B, ...] of `network`, of training images. seed: of the random values.
    """
    generator = torch.Generator().manual_seed(seed)
    for name, layer in network.named_modules():
        if not isinstance(layer, nn.Conv2d) or not layer.weight.requires_grad or layer.weight.any():
            continue
        deviation = (2 / layer.weight[0].numel()) ** 0.5
        random = deviation * torch.randn(layer.weight.shape, generator=generator)
        _suit(network, layer, random.to(layer.weight), inputs)
        tqdm.write(f"{name} is zero throughout: it starts from random values that suit its inputs")


def _suit(network: nn.Module, layer: nn.Conv2d, random: Tensor, inputs: Tensor) -> None:
    """Sets a layer's weight to `random`, scaled and shifted; see `start_zero_kernels`."""
    x, norm = _observe(network, layer, inputs)
    scale, offset = _affine(layer, norm)

    def response(weight: Tensor) -> tuple[Tensor, Tensor]:
        """Returns mean and standard deviation of each unit without its bias: [out] each."""
        layer.weight.copy_(weight)
        units = layer(x).transpose(0, 1).flatten(1)
        bias = 0 if layer.bias is None else layer.bias
        return units.mean(dim=1) - bias, units.std(dim=1)

    def per_unit(values: Tensor) -> Tensor:
        return values.view(-1, 1, 1, 1)

    # How a unit responds if 1 is added to its whole kernel; positive behind ReLU.
    per_shift, _ = response(torch.ones_like(layer.weight))
    mean, _ = response(random)
    centered = random - per_unit(mean / per_shift)
    _, spread = response(centered)
    suited = centered / per_unit(scale * spread)
    suited += per_unit((MEAN - offset) / scale / per_shift)
    # A unit whose inputs are all zero, or that has a scale of zero, can't be suited.
    layer.weight.copy_(suited.where(suited.isfinite(), random))


def _observe(
    network: nn.Module, layer: nn.Conv2d, inputs: Tensor
) -> tuple[Tensor, nn.BatchNorm2d | None]:
    """Returns a layer's input, and the batch normalization of its output if there is one."""
    seen: list[tuple[Tensor, Tensor]] = []
    norms: list[nn.BatchNorm2d] = []

    def see(_: nn.Module, x: tuple[Tensor], y: Tensor) -> None:
        seen.append((x[0], y))

    def see_norm(module: nn.Module, x: tuple[Tensor]) -> None:
        if seen and x[0] is seen[0][1]:
            norms.append(cast(nn.BatchNorm2d, module))

    hooks = [layer.register_forward_hook(see)]
    hooks += [
        module.register_forward_pre_hook(see_norm)
        for module in network.modules()
        if getattr(module, "running_mean", None) is not None
    ]
    try:
        network(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    [(x, _)] = seen
    return x, norms[0] if norms else None


def _affine(layer: nn.Conv2d, norm: nn.BatchNorm2d | None) -> tuple[Tensor, Tensor]:
    """Returns scale and offset [out] that batch normalization and bias apply to a layer's units."""
    bias = torch.zeros(len(layer.weight)) if layer.bias is None else layer.bias
    if norm is None:
        return torch.ones_like(bias), bias
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return scale, norm.bias + (bias - norm.running_mean) * scale
