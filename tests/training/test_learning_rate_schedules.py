"""Schedules and optimizers compared with the papers' equations."""

from math import cos, pi

import numpy as np
import pytest
import torch
from torch import nn

from headstart import config
from headstart.training.learning_rate_schedules import make_schedule
from headstart.training.optimizers import make_optimizer

STEPS, EPOCHS = 10, 4


def recipe(optimizer: config.Optimizer, **changes) -> config.Recipe:
    constant = config.ExponentialDecay(name="exponential", factor=1.0)
    return config.Recipe(epochs=1, batch_size=2, optimizer=optimizer, schedule=constant, **changes)


def rates(chosen, accuracies=(0.1, 0.2, 0.3, 0.4)) -> list[float]:
    """Returns the learning rate of every step of EPOCHS epochs, starting from 1."""
    sgd = make_optimizer(recipe(config.SGD(name="sgd", learning_rate=1.0)), nn.Linear(2, 2))
    schedule = make_schedule(chosen, sgd, STEPS, EPOCHS)
    step_rates = []
    for accuracy in accuracies:
        for _ in range(STEPS):
            step_rates.append(sgd.param_groups[0]["lr"])
            sgd.step()
            schedule.after_step()
        schedule.after_epoch(accuracy)
    return step_rates


def test_exponential_by_epoch_is_equation_4():
    chosen = config.ExponentialDecay(name="exponential", factor=0.9)
    assert rates(chosen) == pytest.approx([0.9 ** (t / STEPS) for t in range(STEPS * EPOCHS)])


def test_exponential_by_steps():
    chosen = config.ExponentialDecay(name="exponential", factor=0.96, every=20, unit="step")
    assert rates(chosen)[20] == pytest.approx(0.96)


def test_a_staircase_is_constant_within_each_epoch_or_so_many_steps():
    chosen = config.ExponentialDecay(name="exponential", factor=0.9, staircase=True)
    assert rates(chosen) == pytest.approx([0.9 ** (t // STEPS) for t in range(STEPS * EPOCHS)])
    chosen = config.ExponentialDecay(
        name="exponential", factor=0.96, every=15, unit="step", staircase=True
    )
    assert rates(chosen) == pytest.approx([0.96 ** (t // 15) for t in range(STEPS * EPOCHS)])


def test_plateau_waits_for_its_patience():
    chosen = config.PlateauDecay(name="plateau", factor=0.1, patience=1)
    step_rates = rates(chosen, accuracies=(0.5, 0.5, 0.4, 0.6))
    assert step_rates[::STEPS] == pytest.approx([1, 1, 1, 0.1])


def test_the_smallest_rise_is_no_plateau():
    chosen = config.PlateauDecay(name="plateau", factor=0.1, patience=0)
    assert rates(chosen, accuracies=(0.5, 0.50001, 0.50002, 0.50003)) == [1] * (STEPS * EPOCHS)


def test_cosine_rises_and_ends_near_zero():
    step_rates = rates(config.Cosine(name="cosine", warmup_epochs=1))
    assert step_rates[:STEPS] == pytest.approx([(t + 1) / (STEPS + 1) for t in range(STEPS)])
    assert step_rates[STEPS:] == pytest.approx([(1 + cos(pi * t / 30)) / 2 for t in range(30)])


def test_rmsprop_is_tensorflows():
    """TensorFlow's training_ops.cc in NumPy: ms += (g² - ms) (1 - ρ); var -= lr g / sqrt(ms + ε).

    TensorFlow 1's RMSPropOptimizer, of the paper's time, starts `ms` at one.
    """
    layer = nn.Linear(3, 2, bias=False)
    weight = layer.weight.detach().numpy().copy()
    mean_square = np.ones_like(weight)
    chosen = config.RMSProp(name="rmsprop", learning_rate=0.05)
    optimizer = make_optimizer(recipe(chosen), layer)
    torchs = nn.Linear(3, 2, bias=False)
    torchs.load_state_dict(layer.state_dict())
    other = torch.optim.RMSprop(torchs.parameters(), lr=0.05, alpha=0.9, eps=1.0)
    gradients = np.random.default_rng(0).normal(size=(20, 2, 3)).astype(np.float32)
    for gradient in gradients * np.float32(0.01):  # small, where the two forms differ most
        for network, rule in ((layer, optimizer), (torchs, other)):
            network.weight.grad = torch.from_numpy(gradient.copy())
            rule.step()
        mean_square += (gradient**2 - mean_square) * (1 - 0.9)
        weight -= 0.05 * gradient / np.sqrt(mean_square + 1.0)
    np.testing.assert_allclose(layer.weight.detach().numpy(), weight, rtol=1e-6)
    assert not torch.allclose(torchs.weight, layer.weight, rtol=1e-4)


def test_only_weights_decay():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.PReLU(4), nn.Linear(4, 2))
    chosen = config.AdamW(name="adamw", learning_rate=1, weight_decay=0.5)
    decaying, others = make_optimizer(recipe(chosen), network).param_groups
    assert (len(decaying["params"]), decaying["weight_decay"]) == (2, 0.5)
    assert (len(others["params"]), others["weight_decay"]) == (5, 0.0)
