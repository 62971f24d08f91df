"""Dropout that changes while training (Edirisooriya, section 5.4)."""

import pytest
from torch import nn

from headstart.core.errors import UserError
from headstart.training.training_loop import train_network
from tests.training.test_training_loop import CPU, network, recipe, task


@pytest.mark.parametrize(
    ("rates", "expected"),
    [([0.4, 0.0], [0.4, 0.3, 0.2, 0.1, 0.0]), ([0.0, 0.2], [0.0, 0.05, 0.1, 0.15, 0.2])],
)
def test_the_rate_changes_linearly_from_the_first_to_the_last_epoch(rates, expected, tmp_path):
    seen, watched = [], network()
    [dropout] = [module for module in watched.modules() if isinstance(module, nn.Dropout)]
    watched.register_forward_pre_hook(
        lambda module, _: seen.append(dropout.p) if module.training else None
    )
    train_network(watched, recipe(epochs=5, dropout=rates), task(), tmp_path, CPU)
    assert seen[::4] == pytest.approx(expected)  # four steps per epoch


def test_a_network_without_dropout_is_refused(tmp_path):
    plain = nn.Sequential(nn.Flatten(), nn.Linear(12 * 12 * 3, 4))
    with pytest.raises(UserError, match="the recipe's dropout: Sequential has no dropout layer"):
        train_network(plain, recipe(dropout=[0.4, 0.0]), task(), tmp_path, CPU)
