"""Kernels of zeros start from values with which all units behind them can learn."""

import pytest
import torch
from timm.layers.norm_act import FrozenBatchNormAct2d
from torch import Tensor, nn
from torch.nn import functional as F

from headstart.training.zero_kernels import MEAN, start_zero_kernels


def norm(channels: int) -> FrozenBatchNormAct2d:
    """Frozen batch normalization with ReLU; its statistics don't suit what comes before it."""
    module, generator = FrozenBatchNormAct2d(channels), torch.Generator().manual_seed(1)
    for name, values in module.state_dict().items():
        positive = torch.rand(channels, generator=generator) + 0.5
        values.copy_(positive - 1 if name in ("bias", "running_mean") else positive)
    return module


def convolutions() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(3, 16, 3, bias=False), norm(16)),
        *(nn.Conv2d(16, 8, 3, padding=1, bias=False), norm(8)),
        *(nn.Conv2d(8, 12, (1, 3), groups=2), nn.ReLU()),
    )


def before_relu(network: nn.Module, layer: str, inputs: Tensor) -> Tensor:
    """Returns the units of `layer` after bias and normalization: [units, all places and images]."""
    position = int(layer) + 1
    y = nn.Sequential(*list(network.children())[:position])(inputs)
    after = network.get_submodule(str(position))
    if isinstance(after, FrozenBatchNormAct2d):
        state = after.state_dict()
        y = F.batch_norm(
            y, *(state[key] for key in ("running_mean", "running_var", "weight", "bias"))
        )
    return y.transpose(0, 1).flatten(1)


@pytest.mark.parametrize("zeros", [["0", "2"], ["4"]])
def test_every_unit_has_the_wanted_mean_and_about_unit_deviation(zeros: list[str]) -> None:
    torch.manual_seed(0)
    network, inputs = convolutions().requires_grad_(False), torch.rand(8, 3, 12, 12) ** 4
    kernels = [f"{name}.weight" for name in zeros]
    for kernel in kernels:
        network.get_parameter(kernel).zero_().requires_grad_(True)
    before = {name: values.clone() for name, values in network.state_dict().items()}
    start_zero_kernels(network, inputs, seed=3)
    for name in zeros:
        with torch.no_grad():
            units = before_relu(network, name, inputs)
        assert torch.allclose(units.mean(dim=1), torch.tensor(MEAN), atol=1e-3)
        assert ((units.std(dim=1) > 0.9) & (units.std(dim=1) < 1.6)).all()
    changed = [
        name for name, values in network.state_dict().items() if not values.equal(before[name])
    ]
    assert changed == kernels


def test_units_without_inputs_keep_random_values() -> None:
    network = convolutions().requires_grad_(False)
    kernel = network.get_parameter("0.weight").zero_().requires_grad_(True)
    start_zero_kernels(network, torch.zeros(2, 3, 12, 12), seed=3)
    assert kernel.std().item() == pytest.approx((2 / 27) ** 0.5, rel=0.2)


def test_the_seed_decides_and_what_is_frozen_or_not_zero_stays(
    capsys: pytest.CaptureFixture[str],
) -> None:
    inputs = torch.rand(4, 3, 12, 12)

    def started(seed: int, trainable: bool) -> Tensor:
        torch.manual_seed(0)
        network = convolutions().requires_grad_(False)
        kernel = network.get_parameter("2.weight").zero_().requires_grad_(trainable)
        network.get_parameter("0.weight").requires_grad_(True)
        start_zero_kernels(network, inputs, seed)
        return kernel.detach()

    assert started(3, True).equal(started(3, True))
    assert not started(3, True).equal(started(4, True))
    assert capsys.readouterr().out.count("2 is zero throughout") == 4
    assert not started(3, False).any()
    assert not capsys.readouterr().out
