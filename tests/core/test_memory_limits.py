"""Estimates of memory against the bytes of the tensors, and refusals before work starts."""

from pathlib import Path

import pytest
import torch
from torch import nn

from headstart.core import devices, memory_limits
from headstart.core.errors import UserError
from headstart.core.memory_limits import head_training_memory, machine_memory, require_memory
from headstart.heads import hyperparameter_sweep
from headstart.heads.candidate_selection import FitContext
from headstart.heads.fitted_head import Standardization
from headstart.heads.gradient_training import fit_gradient_head
from headstart.heads.hyperparameter_sweep import fit_sweep
from headstart.heads.stacked_adam import StackedAdam
from headstart.heads.stacked_mlp import StackedMLP
from headstart.training.training_jobs import activation_bytes
from tests.heads import blobs

TRAIN, TUNE = blobs.features(40), blobs.features(20, split="tune")
CONTEXT = FitContext(TRAIN, TUNE, Standardization.from_features(TRAIN), "cpu")


def test_the_estimate_for_heads_is_the_size_of_their_tensors() -> None:
    models, widths, batch = 3, [16, 8, 4], 5
    network = StackedMLP(models, widths, "relu", 0, 0, torch.device("cpu"))
    adam = StackedAdam(network.weights, torch.zeros(models), network.biases)
    scores = network(torch.randn(batch, 16), training=True)
    network.backward(torch.ones_like(scores))
    states = [t for s in adam.states for t in (s.tensor, s.tensor.grad, s.first, s.second)]
    layers = [network.first, network.logits]
    allocated = sum(tensor.nbytes for tensor in (*states, *layers) if tensor is not None)
    assert head_training_memory(models, widths, batch) == allocated


@pytest.mark.parametrize(("content", "limited"), [("max\n", False), ("4096\n", True)])
def test_a_containers_limit_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, limited: bool
) -> None:
    (tmp_path / "memory.max").write_text(content)
    monkeypatch.setattr(
        memory_limits, "CGROUP_LIMITS", (tmp_path / "absent", tmp_path / "memory.max")
    )
    assert (machine_memory() == 4096) == limited
    assert machine_memory() > 0


def test_a_refusal_names_the_key_the_estimate_and_the_available_memory() -> None:
    require_memory("extract.batch_size", 10, 10)
    message = (
        "^extract.batch_size would take at least 12.0 GB of memory, and there are 3.0 GB; lower"
    )
    with pytest.raises(UserError, match=message):
        require_memory("extract.batch_size", 12 * 10**9, 3 * 10**9)


def test_a_head_that_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "machine_memory", lambda: 10**6)
    fit_gradient_head(blobs.recipe("mlp", hidden=[8], epochs=1), CONTEXT)
    with pytest.raises(UserError, match=r"^hidden, batch_size: 1 heads.* \[16, 30000, 4\] numbers"):
        fit_gradient_head(blobs.recipe("mlp", hidden=[30_000]), CONTEXT)


def test_a_sweep_whose_last_heads_do_not_fit_trains_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "machine_memory", lambda: 10**6)
    monkeypatch.setattr(hyperparameter_sweep, "train_stacked", None)
    head = blobs.recipe("mlp", hidden=[8])
    over = {"hidden": [[8], [4000]], "learning_rate": [0.1, 0.2]}
    with pytest.raises(UserError, match=r"2 heads at once, layers of \[16, 4000, 4\]"):
        fit_sweep(blobs.sweep(head, over), CONTEXT)


def test_a_tensor_that_training_keeps_is_counted_once() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.ReLU(inplace=True), nn.Flatten()
    )
    # The image for the convolution; each ReLU keeps its output, and the second changes the first's.
    image, output = 3 * 4 * 4, 8 * 4 * 4
    assert activation_bytes(network, (3, 4, 4)) == 4 * (image + output)
    network[2] = nn.ReLU()
    assert activation_bytes(network, (3, 4, 4)) == 4 * (image + 2 * output)
    assert activation_bytes(network.requires_grad_(False), (3, 4, 4)) == 0
