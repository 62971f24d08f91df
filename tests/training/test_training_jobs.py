"""A job's fingerprint changes with everything that determines the result, and only with that."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from torch import nn

from headstart import config
from headstart.store.examples import ClassLabel
from headstart.store.images import Images
from headstart.training.image_transforms import InputSpec, read_pixels
from headstart.training.network_evaluation import ImageTensors
from headstart.training.training_jobs import TrainingJob, job_fingerprint
from headstart.training.training_loop import TrainingTask
from tests import cases

SPLITS = ["train"] * 6 + ["tune"] * 4 + ["val"] * 3
TRAIN, TUNE, VAL = 2, 7, 11
"""The row of one image of each split."""


@pytest.fixture
def images() -> Iterator[Images]:
    digests = np.random.default_rng(0).integers(0, 256, (len(SPLITS), 32)).astype(np.uint8)
    boxes = np.full((len(SPLITS), 4), np.nan, np.float32)
    with h5py.File("pixels", "w", driver="core", backing_store=False) as file:
        pixels = file.create_dataset("pixels", (len(SPLITS), 8, 8, 3), np.uint8)
        yield Images(pixels, digests, np.array(SPLITS), boxes, cases.examples(len(SPLITS)))


@pytest.fixture
def job(tmp_path: Path) -> TrainingJob:
    (tmp_path / "code.py").write_text("pass")
    none = ImageTensors(
        torch.empty(0, 8, 8, 3, dtype=torch.uint8), torch.empty(0, dtype=torch.int64)
    )
    task = TrainingTask(none, none, InputSpec(8, 1.0, (0.5,) * 3, (0.3,) * 3), 4)
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    recipe = config.load_params(cases.ROOT / "params.yaml").recipes["short"]
    return TrainingJob("small", network, task, recipe, {"network": "small"}, [tmp_path / "code.py"])


def relabeled(row: int) -> Callable[[TrainingJob, Images], TrainingJob]:
    def change(job: TrainingJob, images: Images) -> TrainingJob:
        images.examples.labels[row] += 1
        return job

    return change


def repainted(row: int) -> Callable[[TrainingJob, Images], TrainingJob]:
    def change(job: TrainingJob, images: Images) -> TrainingJob:
        images.digests[row, 0] ^= 1
        return job

    return change


def moved(row: int, split: str) -> Callable[[TrainingJob, Images], TrainingJob]:
    def change(job: TrainingJob, images: Images) -> TrainingJob:
        images.splits[row] = split
        return job

    return change


def another_weight(job: TrainingJob, _: Images) -> TrainingJob:
    with torch.no_grad():
        job.network.get_parameter("0.bias")[1] += 1e-6
    return job


def another_buffer(job: TrainingJob, _: Images) -> TrainingJob:
    job.network.get_buffer("1.running_mean")[1] += 1e-6
    return job


def another_class(job: TrainingJob, images: Images) -> TrainingJob:
    images.examples.classes[1] = ClassLabel("n99999999", images.examples.classes[1].name)
    return job


def another_name(job: TrainingJob, images: Images) -> TrainingJob:
    images.examples.classes[1] = ClassLabel(images.examples.classes[1].id, "minibus")
    return job


def other_code(job: TrainingJob, _: Images) -> TrainingJob:
    job.code[0].write_text("pass  # edited")
    return job


DECISIVE: dict[str, Callable[[TrainingJob, Images], TrainingJob]] = {
    "label of train": relabeled(TRAIN),
    "label of tune": relabeled(TUNE),
    "pixels of train": repainted(TRAIN),
    "pixels of tune": repainted(TUNE),
    "split": moved(TRAIN, "tune"),
    "class": another_class,
    "weight": another_weight,
    "buffer": another_buffer,
    "code": other_code,
    "recipe": lambda job, _: replace(job, recipe=job.recipe.model_copy(update={"seed": 1})),
    "first recipe": lambda job, _: replace(job, first_recipe=job.recipe),
    "network": lambda job, _: replace(job, identity={"network": "large"}),
    "snapshots": lambda job, _: replace(job, max_snapshots=2),
}

IRRELEVANT: dict[str, Callable[[TrainingJob, Images], TrainingJob]] = {
    "nothing": lambda job, _: job,
    "label of val": relabeled(VAL),
    "pixels of val": repainted(VAL),
    "name of a class": another_name,
    "name of the training": lambda job, _: replace(job, label="other"),
}


@pytest.mark.parametrize("change", DECISIVE)
def test_what_determines_the_result_changes_the_fingerprint(
    job: TrainingJob, images: Images, change: str
):
    before = job_fingerprint(job, images)
    assert job_fingerprint(DECISIVE[change](job, images), images) != before


@pytest.mark.parametrize("change", IRRELEVANT)
def test_anything_else_leaves_the_fingerprint(job: TrainingJob, images: Images, change: str):
    before = job_fingerprint(job, images)
    assert job_fingerprint(IRRELEVANT[change](job, images), images) == before


@pytest.mark.parametrize("block", [1024, 5])
def test_pixels_are_those_of_the_rows_whatever_is_read_at_once(
    images: Images, monkeypatch: pytest.MonkeyPatch, block: int
):
    monkeypatch.setattr("headstart.training.image_transforms.READ_BLOCK_IMAGES", block)
    numbered: Any = np.empty(images.pixels.shape, np.uint8)
    numbered[:] = np.arange(len(SPLITS))[:, None, None, None]
    rows = np.array([0, 3, 4, 5, 12])
    found = read_pixels(replace(images, pixels=numbered), rows, 8)
    assert found.shape == (5, 8, 8, 3)
    assert (found == torch.from_numpy(rows)[:, None, None, None]).all()
