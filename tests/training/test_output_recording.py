"""The recorded distributions compared with NumPy's, and over a kill."""

import numpy as np
import pytest
import torch
from torch import nn

from headstart.training.output_recording import RECORDED_STEPS, OutputRecorder
from headstart.training.training_loop import train_network
from tests.training.test_training_loop import CPU, EPOCHS, Killed, killed_at, network, recipe, task

STEPS = 4
"""Steps per epoch: 70 images in batches of 16."""


def test_statistics_are_numpys_of_the_first_output_in_a_recorded_step():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 5), nn.LSTM(5, 2))
    recorder = OutputRecorder(model, ["0", "1"], total_steps=2 * RECORDED_STEPS)
    inputs = torch.randn(2 * 3, 7, 3)
    with recorder, torch.no_grad():
        for step, x in enumerate(inputs):
            recorder.start_step(step)
            model(x)
            model(x + 100)  # the second part of an accumulated batch
    model(inputs[0] + 100)
    assert [(row.step, row.module) for row in recorder.statistics] == [
        (step, module) for step in (0, 2, 4) for module in ("0", "1")
    ]
    for row in recorder.statistics:
        hidden = model[0](inputs[row.step])
        values = (hidden if row.module == "0" else model[1](hidden)[0]).detach().numpy()
        expected = (values.max(), values.mean(), np.std(values), values.min())
        assert (row.max, row.mean, row.std, row.min) == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_a_training_records_the_same_after_a_kill(tmp_path):
    changed = recipe(ema=0.9)  # the averaged network is evaluated; it must not be recorded
    modules = ["2", "6"]
    whole = train_network(
        network(), changed, task(), tmp_path / "whole", CPU, recorded=modules
    ).outputs
    assert [(row.step, row.module) for row in whole] == [
        (step, module) for step in range(EPOCHS * STEPS) for module in modules
    ]
    assert min(row.min for row in whole if row.module == "2") == 0  # a ReLU's
    with pytest.raises(Killed):
        train_network(killed_at(7), changed, task(), tmp_path / "killed", CPU, recorded=modules)
    again = train_network(network(), changed, task(), tmp_path / "killed", CPU, recorded=modules)
    assert again.outputs == whole
