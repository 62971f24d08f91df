"""The two definitions of section 4.5, with n and m counted by hand."""

from math import sqrt

import pytest
import torch
from torch import nn

from headstart.networks.weight_initialization import INITIALIZATIONS, variance_scaling, xavier


def convolution() -> nn.Conv2d:
    torch.manual_seed(0)
    return nn.Conv2d(64, 128, 3)


def test_xavier_is_uniform_between_the_papers_bounds():
    layer = convolution()
    xavier(layer)
    bound = 1 / sqrt(64 * 9 + 128 * 9)
    assert layer.weight.abs().max() <= bound
    assert layer.weight.std().item() == pytest.approx(bound / sqrt(3), rel=0.02)


def test_variance_scaling_is_normal_with_variance_2_over_n():
    layer = convolution()
    variance_scaling(layer)
    assert layer.weight.std().item() == pytest.approx(sqrt(2 / (64 * 9)), rel=0.02)
    kurtosis = (layer.weight / layer.weight.std()).pow(4).mean().item()
    assert kurtosis == pytest.approx(3, rel=0.05)  # 1.8 for a uniform distribution


@pytest.mark.parametrize("name", ["xavier", "variance_scaling"])
def test_every_affine_layer_is_reached_and_nothing_else(name):
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.PReLU(), nn.Linear(8, 4))
    before = [parameter.detach().clone() for parameter in network.parameters()]
    INITIALIZATIONS[name](network)
    changed = [not torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True)]
    assert changed == [True, True, False, False, False, True, True]
    assert not network[0].bias.any()  # pyright: ignore[reportCallIssue]
