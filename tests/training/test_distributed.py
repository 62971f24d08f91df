"""Two processes that torchrun starts train like one, and resume after a kill."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from headstart.core.errors import UserError
from headstart.core.hdf5_files import create_hdf5
from headstart.store.examples import write_examples
from headstart.store.predictions import load_predictions
from headstart.training import distributed
from tests import cases

SPLITS = ["train"] * 36 + ["tune"] * 15 + ["val"] * 8
STEPS = 2
"""Steps per epoch: 36 images in batches of 16."""

TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
RECIPE = {
    "epochs": 3,
    "batch_size": 16,
    "accumulate": 2,
    "optimizer": {"name": "sgd", "learning_rate": 0.05, "weight_decay": 0.001},
    "schedule": {"name": "plateau", "patience": 0},
    "clip_norm": 1.0,
    "ema": 0.9,
    "mixup": 0.4,
    "cutmix": 1.0,
    "augmentation": {"flip": 0.5, "rotation": 20, "brightness": 0.2},
}
NETWORK = {
    "network": "modified_resnet10",
    "recipe": "short",
    "input_size": 32,
    "arguments": {"filters": [8, 8, 8, 16], "dropout": 0.0},
}
CHANGES = {"recipes": {"short": RECIPE}, "networks": {"small": NETWORK}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    examples = cases.examples(len(SPLITS))
    noise = np.random.default_rng(0).integers(0, 90, (len(SPLITS), 32, 32, 3))
    with create_hdf5(tmp_path / "images.h5") as file:
        file["pixels"] = (noise + examples.labels[:, None, None, None] * 50).astype(np.uint8)
        file["digest"] = np.zeros((len(SPLITS), 32), np.uint8)
        file["split"] = np.array(SPLITS, "S5")
        file["box"] = np.full((len(SPLITS), 4), np.nan, np.float32)
        write_examples(file, examples)
    cases.write_params(tmp_path, **CHANGES)
    return tmp_path


def run_in_two_processes(folder: Path, steps: int = 0) -> subprocess.CompletedProcess[str]:
    """Runs the stage, killed after `steps` unless that is 0; writes to folder/two."""
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(cases.ROOT / "src"), str(cases.ROOT)]),
        "HEADSTART_CACHE": str(folder / "two" / "cache"),
    }
    return subprocess.run(
        [sys.executable, *TORCHRUN, "-m", "tests.in_float32", str(steps), *stage("two")],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def stage(name: str) -> list[str]:
    outputs = ["--model", f"{name}/model", "--predictions", f"{name}/predictions"]
    outputs += ["--results", f"{name}/results"]
    return ["train_scratch", "--images", "images.h5", "--network", "small", *outputs]


def read_curve(path: Path) -> np.ndarray:
    """Returns a training curve [E, 6], one row per epoch, without the empty tune_score."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file, "excel-tab"))
    return np.array([row[:6] for row in rows[1:]], float)


def test_two_processes_train_as_one_does_and_go_on_after_a_kill(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    # No process reaches this step before both have taken the step after the first checkpoint.
    killed = run_in_two_processes(folder, steps=STEPS + 2)
    assert killed.returncode != 0
    assert "SIGKILL" in killed.stderr
    [partial_curve] = (folder / "two" / "cache").rglob("curve.tsv")
    assert len(read_curve(partial_curve)) == 1
    together = run_in_two_processes(folder)
    assert together.returncode == 0, together.stderr

    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)  # in float32
    monkeypatch.setenv("HEADSTART_CACHE", str(folder / "one" / "cache"))
    cases.run_stage(monkeypatch, folder, *stage("one"), **CHANGES)
    one, two = (folder / name / "model" for name in ("one", "two"))
    curves = [read_curve(folder / f"{name}/results/training/small.tsv") for name in ("one", "two")]
    assert len(curves[0]) == RECIPE["epochs"]
    np.testing.assert_allclose(curves[1], curves[0], rtol=1e-4)
    assert {path.name for path in one.iterdir()} == {path.name for path in two.iterdir()}
    weights = load_file(two / "model.safetensors")
    for name, ours in load_file(one / "model.safetensors").items():
        torch.testing.assert_close(ours, weights[name], rtol=1e-3, atol=1e-4)
    ours, theirs = (
        load_predictions(folder / name / "predictions" / "val.h5") for name in ("one", "two")
    )
    np.testing.assert_allclose(ours.logits, theirs.logits, rtol=1e-3, atol=1e-4)
    assert ours.passes == theirs.passes == 3 * (3 * 32 + 15)


def pretend_processes(monkeypatch: pytest.MonkeyPatch, world_size: int, rank: int = 0) -> None:
    """Makes this process appear as one of several."""
    monkeypatch.setattr(distributed, "world_size", lambda: world_size)
    monkeypatch.setattr(distributed, "rank", lambda: rank)


@pytest.mark.parametrize(("world_size", "parts"), [(1, 3), (2, 1), (2, 2), (3, 4), (4, 3)])
def test_shards_cover_a_batch_and_each_of_its_parts(monkeypatch, world_size, parts):
    batch = torch.arange(24)
    whole = [set(part.tolist()) for part in batch.chunk(parts)]
    covered: list[set[int]] = [set() for _ in range(parts)]
    for rank in range(world_size):
        pretend_processes(monkeypatch, world_size, rank)
        distributed.check_batch_shards(len(batch), parts)
        for rows, part in zip(covered, distributed.local_shard(batch).chunk(parts), strict=True):
            assert len(part) == 24 // world_size // parts
            rows |= set(part.tolist())
    assert covered == whole


def test_a_batch_without_equal_shards_names_the_fix(monkeypatch):
    distributed.check_batch_shards(100, 3)
    pretend_processes(monkeypatch, world_size=4)
    with pytest.raises(UserError, match=r"100 images in 3 parts .* 4 processes; .*multiple of 12"):
        distributed.check_batch_shards(100, 3)


def test_batch_norm_that_cant_be_synchronized_is_refused(monkeypatch):
    class Normalized(nn.BatchNorm2d):
        pass

    network = nn.Sequential(nn.Conv2d(3, 4, 3), Normalized(4))
    assert distributed.sync_batch_norm(network) is network
    pretend_processes(monkeypatch, world_size=2)
    with pytest.raises(UserError, match="Normalized can't be trained by several processes on CPUs"):
        distributed.sync_batch_norm(network)


@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 4, 3)])
def test_synchronized_batch_norm_of_one_process_is_torchs(shape):
    torch.manual_seed(0)
    theirs = nn.BatchNorm1d(5) if len(shape) == 2 else nn.BatchNorm2d(5)
    nn.init.normal_(theirs.weight)
    ours = distributed.SyncedBatchNorm(5)
    ours.load_state_dict(theirs.state_dict())
    images = [torch.randn(shape, requires_grad=True) for _ in range(2)]
    images[1].data.copy_(images[0])
    outputs = [norm(x) for norm, x in zip((ours, theirs), images, strict=True)]
    torch.testing.assert_close(*outputs)
    upstream = torch.randn(shape)
    for y in outputs:
        y.backward(upstream)
    torch.testing.assert_close(images[0].grad, images[1].grad)
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad)
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict())
    torch.testing.assert_close(ours.eval()(images[0]), theirs.eval()(images[0]))
