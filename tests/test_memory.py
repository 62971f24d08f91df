"""What steps ask of the memory: estimates against what they take, and refusals in time."""

from pathlib import Path

import pytest
import torch
from torch import nn

from headstart import end_to_end, memory
from headstart.errors import UserError
from headstart.heads import gradient, sweep
from headstart.heads.adam import Adam
from headstart.heads.candidates import Task
from headstart.heads.head import Standardization
from headstart.heads.network import Network
from tests.heads import blobs

TRAIN, TUNE = blobs.features(40), blobs.features(20, split="tune")
TASK = Task(TRAIN, TUNE, Standardization.of(TRAIN), "cpu")


def test_of_heads_is_what_their_tensors_take() -> None:
    models, widths, batch = 3, [16, 8, 4], 5
    network = Network(models, widths, "relu", 0, 0, torch.device("cpu"))
    adam = Adam(network.weights, torch.zeros(models), network.biases)
    scores = network(torch.randn(batch, 16), training=True)
    network.backward(torch.ones_like(scores))
    states = [t for s in adam.states for t in (s.tensor, s.tensor.grad, s.first, s.second)]
    layers = [network.first, network.logits]
    taken = sum(tensor.nbytes for tensor in (*states, *layers) if tensor is not None)
    assert memory.of_heads(models, widths, batch) == taken


@pytest.mark.parametrize(("content", "limited"), [("max\n", False), ("4096\n", True)])
def test_a_containers_limit_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, limited: bool
) -> None:
    (tmp_path / "memory.max").write_text(content)
    monkeypatch.setattr(memory, "LIMITS", (tmp_path / "absent", tmp_path / "memory.max"))
    assert (memory.of_machine() == 4096) == limited
    assert memory.of_machine() > 0


def test_a_refusal_names_the_key_the_estimate_and_what_there_is() -> None:
    memory.check("extract.batch_size", 10, 10)
    said = "^extract.batch_size would take at least 12.0 GB of memory, and there are 3.0 GB; lower"
    with pytest.raises(UserError, match=said):
        memory.check("extract.batch_size", 12 * 10**9, 3 * 10**9)


def test_a_head_that_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "of_machine", lambda: 10**6)
    gradient.fit(blobs.recipe("mlp", hidden=[8], epochs=1), TASK)
    with pytest.raises(UserError, match=r"^hidden, batch_size: 1 heads.* \[16, 30000, 4\] numbers"):
        gradient.fit(blobs.recipe("mlp", hidden=[30_000]), TASK)


def test_a_sweep_whose_last_heads_do_not_fit_trains_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "of_machine", lambda: 10**6)
    monkeypatch.setattr(gradient, "train", None)
    head = blobs.recipe("mlp", hidden=[8])
    over = {"hidden": [[8], [4000]], "learning_rate": [0.1, 0.2]}
    with pytest.raises(UserError, match=r"2 heads at once, layers of \[16, 4000, 4\]"):
        sweep.fit(blobs.sweep(head, over), TASK)


def test_what_training_keeps_is_counted_once() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.ReLU(inplace=True), nn.Flatten()
    )
    # The image for the convolution; each ReLU keeps its output, and the second changes the first's.
    image, output = 3 * 4 * 4, 8 * 4 * 4
    assert end_to_end.kept_bytes(network, 4) == 4 * (image + output)
    network[2] = nn.ReLU()
    assert end_to_end.kept_bytes(network, 4) == 4 * (image + 2 * output)
    assert end_to_end.kept_bytes(network.requires_grad_(False), 4) == 0
